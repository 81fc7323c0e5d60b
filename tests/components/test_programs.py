"""Versions of programs: the same that set-up installs."""

from __future__ import annotations

from components.programs import program_versions, sources_digest
from tools import programs


def test_versions_are_those_that_set_up_installs():
    assert dict(program_versions()) == {
        name: program.version for name, program in programs.programs().items()
    }


def test_a_digest_changes_with_a_byte_and_with_a_name(tmp_path):
    (tmp_path / "a.py").write_text("one")
    before = sources_digest(["*.py"], tmp_path)
    (tmp_path / "a.py").write_text("two")
    changed = sources_digest(["*.py"], tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    renamed = sources_digest(["*.py"], tmp_path)

    assert len({before, changed, renamed}) == 3
