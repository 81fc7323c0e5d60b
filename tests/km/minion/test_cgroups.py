"""Where a node and its pods live, by what the kernel shows."""

from __future__ import annotations

import pytest

from km.minion.cgroups import CgroupError, Tree, levels, parse_mounts, plan
from km.minion.guard import escapes
from km.minion.state import tree_from, tree_notes

CONTAINER = "4ac7a2b6-90e3-41bd-99a9-3a5a79bb4b23"
DEBIAN_V1 = """\
25 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,name=systemd
33 30 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
34 30 0:33 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory
35 30 0:34 / /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
36 30 0:35 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
37 25 0:33 / /mnt/memory rw - cgroup cgroup rw,memory
"""
IN_CONTAINER = f"""\
12:name=systemd:/system.slice/mesos-agent.service
11:cpu,cpuacct:/mesos/{CONTAINER}
10:memory:/mesos/{CONTAINER}
9:pids:/system.slice/mesos-agent.service
8:freezer:/mesos/{CONTAINER}
0::/system.slice/mesos-agent.service
"""
V2 = "29 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def make(mountinfo: str, membership: str, container: str = CONTAINER) -> Tree:
    return plan(
        mountinfo=mountinfo, membership=membership, container_id=container, executor_id="km-a"
    )


def test_under_mesos_isolators_the_container_is_the_tree() -> None:
    tree = make(DEBIAN_V1, IN_CONTAINER)

    assert (tree.version, tree.path, tree.granted) == (1, f"/mesos/{CONTAINER}", True)
    assert tree.pods == f"/mesos/{CONTAINER}/pods"
    assert tree.home == tree.path
    assert tree.directory("memory", tree.pods) == f"/sys/fs/cgroup/memory{tree.pods}"
    assert tree.directory("cpu", tree.pods) == f"/sys/fs/cgroup/cpu,cpuacct{tree.pods}"


def test_what_mesos_does_not_manage_is_ours_to_make_and_remove() -> None:
    tree = make(DEBIAN_V1, IN_CONTAINER)

    assert [mount.point for mount in tree.ours] == [
        "/sys/fs/cgroup/systemd",
        "/sys/fs/cgroup/pids",
        "/sys/fs/cgroup/unified",
    ]
    assert dict(zip((m.point for m in tree.mounts), tree.origins, strict=True)) == {
        "/sys/fs/cgroup/systemd": "/sys/fs/cgroup/systemd/system.slice/mesos-agent.service",
        "/sys/fs/cgroup/cpu,cpuacct": f"/sys/fs/cgroup/cpu,cpuacct/mesos/{CONTAINER}",
        "/sys/fs/cgroup/memory": f"/sys/fs/cgroup/memory/mesos/{CONTAINER}",
        "/sys/fs/cgroup/pids": "/sys/fs/cgroup/pids/system.slice/mesos-agent.service",
        "/sys/fs/cgroup/freezer": f"/sys/fs/cgroup/freezer/mesos/{CONTAINER}",
        "/sys/fs/cgroup/unified": "/sys/fs/cgroup/unified/system.slice/mesos-agent.service",
    }


def test_the_guard_leaves_only_what_mesos_kills() -> None:
    assert escapes(make(DEBIAN_V1, IN_CONTAINER)) == [
        "/sys/fs/cgroup/cpu,cpuacct/cgroup.procs",
        "/sys/fs/cgroup/memory/cgroup.procs",
        "/sys/fs/cgroup/freezer/cgroup.procs",
    ]
    assert escapes(make(V2, "0::/")) == []


def test_version_2_gets_a_tree_of_its_own() -> None:
    tree = make(V2, "0::/system.slice/mesos-agent.service\n")

    assert (tree.version, tree.path, tree.granted) == (2, "/mesos/km-a", False)
    assert tree.home == "/mesos/km-a/node"
    assert tree.ours == tree.mounts
    assert tree.origins == ("/sys/fs/cgroup/system.slice/mesos-agent.service",)
    assert tree.directory("memory", tree.pods) == "/sys/fs/cgroup/mesos/km-a/pods"


def test_version_1_with_the_posix_launcher_as_well() -> None:
    tree = make(DEBIAN_V1, "10:memory:/system.slice/mesos-agent.service\n0::/\n")

    assert (tree.version, tree.path, tree.granted) == (1, "/mesos/km-a", False)
    assert tree.ours == tree.mounts


def test_paths_are_seen_from_the_mount_point() -> None:
    inside = DEBIAN_V1.replace("0:33 / /sys", "0:33 /lab/host-1 /sys").replace(
        "0:33 / /mnt", "0:33 /lab/host-1 /mnt"
    )
    membership = IN_CONTAINER.replace("memory:/mesos", "memory:/lab/host-1/mesos")

    tree = make(inside, membership)

    assert (tree.path, tree.granted) == (f"/mesos/{CONTAINER}", True)


def test_without_cgroups_it_says_so() -> None:
    with pytest.raises(CgroupError, match="neither cgroup v1's memory controller nor v2"):
        make("25 1 254:0 / / rw - ext4 /dev/vda rw\n", "")


def test_each_hierarchy_once_at_its_ordinary_place() -> None:
    first, second = parse_mounts(DEBIAN_V1.replace("/sys/fs/cgroup/memory", "/zzz"))
    assert [m.point for m in first if "memory" in m.controllers] == ["/zzz"]

    first, second = parse_mounts(DEBIAN_V1)
    assert [m.point for m in first if "memory" in m.controllers] == ["/sys/fs/cgroup/memory"]
    assert [m.point for m in second] == ["/sys/fs/cgroup/unified"]


def test_a_tree_is_found_again_from_its_notes() -> None:
    for tree in (make(DEBIAN_V1, IN_CONTAINER), make(V2, "0::/\n")):
        assert tree_from(tree_notes(tree)) == tree


def test_levels() -> None:
    assert levels("/a/b/c") == ["/a", "/a/b", "/a/b/c"]
    assert levels("/") == []
