"""What the benchmark reads of the machine, whichever control groups it has."""

from __future__ import annotations

import pytest

from bench import stack

FIRST = "cache 9\nrss 1\nmapped_file 1\ntotal_rss 40\ntotal_mapped_file 2\n"
SECOND = "anon 40\nfile 9\nfile_mapped 2\n"


@pytest.mark.parametrize(
    ("path", "stat"),
    [("memory/kubernetes-mesos/ab", FIRST), ("kubernetes-mesos/ab", SECOND)],
    ids=["version 1", "version 2"],
)
def test_a_labs_memory_is_read_from_either_version_of_control_groups(tmp_path, path, stat):
    (tmp_path / path).mkdir(parents=True)
    (tmp_path / path / "memory.stat").write_text(stat)

    assert stack.in_memory(stack.memory_stat("ab", tmp_path)) == 42
