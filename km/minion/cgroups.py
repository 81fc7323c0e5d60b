"""Where the node and its pods live in the kernel's cgroups, version 1 and 2. Pure.

Version 1, under Mesos' isolators: the container's cgroup is Mesos', in the controllers that it
manages; in the others the same path is ours. Otherwise (version 2, which Mesos 1.11 cannot
manage, or a posix launcher): a tree of our own, ``/mesos/<executor id>``.

    <path>                    held by Mesos, or by us: executor + pods
    ├── node                  only in a tree of our own: minion, kubelet, kube-proxy, flanneld
    └── pods                  ours: held to the sum of the pods' tasks
        └── kubepods          the kubelet's, who resets its limits whenever it starts

That is why ``pods`` is a level of its own and not the kubelet's ``kubepods``.
"""

from __future__ import annotations

from dataclasses import dataclass

ROOT = "/sys/fs/cgroup"
OWN_PARENT = "/mesos"
MOUNT_OPTIONS = frozenset({"rw", "ro", "xattr", "clone_children", "noprefix", "none"})
V2_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "io", "hugetlb")
"""What the kubelet wants to find in its root."""


class CgroupError(Exception):
    """This host's cgroups cannot hold a node: one line saying why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One hierarchy."""

    point: str
    root: str
    """Path within the hierarchy that is seen at ``point``."""
    controllers: frozenset[str]
    """Version 1: as in /proc/self/cgroup, ``name=systemd`` included. Version 2: empty."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The cgroups of one node; paths are relative to each mount point."""

    version: int
    path: str
    granted: bool
    """Whether ``path`` is the container that Mesos made and limits."""
    mounts: tuple[Mount, ...]
    ours: tuple[Mount, ...]
    """Mounts in which ``path`` itself is made and removed by us."""
    origins: tuple[str, ...]
    """For each mount, the directory of the cgroup that this process was started in."""

    @property
    def pods(self) -> str:
        """The kubelet's ``cgroupRoot``."""
        return f"{self.path}/pods"

    @property
    def home(self) -> str:
        """Where the node's own processes are. A v2 group with children cannot hold any itself."""
        return self.path if self.granted else f"{self.path}/node"

    def directory(self, controller: str, path: str) -> str:
        """Where the files of a controller are for a path of this tree."""
        for mount in self.mounts:
            if self.version == 2 or controller in mount.controllers:
                return mount.point + path
        raise CgroupError(f"no cgroup hierarchy with the {controller} controller is mounted")


def parse_mounts(mountinfo: str) -> tuple[tuple[Mount, ...], tuple[Mount, ...]]:
    """The hierarchies in /proc/self/mountinfo: of version 1, of version 2; each once."""
    found: dict[str, dict[frozenset[str], Mount]] = {"cgroup": {}, "cgroup2": {}}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(rest) < 3 or rest[0] not in found:
            continue
        options = frozenset(rest[2].split(",")) if rest[0] == "cgroup" else frozenset[str]()
        controllers = frozenset(
            option
            for option in options - MOUNT_OPTIONS
            if "=" not in option or option.startswith("name=")
        )
        mount = Mount(point=fields[4], root=fields[3], controllers=controllers)
        known = found[rest[0]].get(controllers)
        # Bind mounts show a hierarchy more than once; the ordinary place is under ROOT.
        if known is None or (mount.point.startswith(ROOT) and not known.point.startswith(ROOT)):
            found[rest[0]][controllers] = mount
    return tuple(found["cgroup"].values()), tuple(found["cgroup2"].values())


def parse_membership(text: str) -> dict[str, str]:
    """/proc/self/cgroup as controller -> path; version 2 has the empty name."""
    paths = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def plan(*, mountinfo: str, membership: str, container_id: str, executor_id: str) -> Tree:
    """Decide where this executor's node lives.

    Args:
        mountinfo: /proc/self/mountinfo.
        membership: /proc/self/cgroup.
        container_id: Mesos' name of this container, the last part of its cgroup's path.
        executor_id: names the tree where Mesos gave no cgroup.

    Raises:
        CgroupError: no usable cgroups are mounted.
    """
    first, second = parse_mounts(mountinfo)
    own = f"{OWN_PARENT}/{executor_id}"
    # A hybrid host mounts v2 beside v1 without controllers; runc makes its cgroups there as well.
    every = first + second
    members = parse_membership(membership)
    memory = next((mount for mount in first if "memory" in mount.controllers), None)
    if memory is None:
        if not second:
            raise CgroupError(f"neither cgroup v1's memory controller nor v2 is mounted in {ROOT}")
        unified = second[:1]
        return Tree(
            version=2,
            path=own,
            granted=False,
            mounts=unified,
            ours=unified,
            origins=_origins(unified, members),
        )
    origins = _origins(every, members)
    container = _relative(memory, members.get("memory", "/"))
    if container.rsplit("/", 1)[-1] != container_id:
        return Tree(version=1, path=own, granted=False, mounts=every, ours=every, origins=origins)
    ours = tuple(
        mount
        for mount, origin in zip(every, origins, strict=True)
        if origin != mount.point + container
    )
    return Tree(version=1, path=container, granted=True, mounts=every, ours=ours, origins=origins)


def _origins(mounts: tuple[Mount, ...], members: dict[str, str]) -> tuple[str, ...]:
    names = [min(mount.controllers, default="") for mount in mounts]
    return tuple(
        mount.point + _relative(mount, members.get(name, "/")).rstrip("/")
        for mount, name in zip(mounts, names, strict=True)
    )


def _relative(mount: Mount, path: str) -> str:
    """A path of /proc/self/cgroup as seen below the mount point."""
    root = mount.root.rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        return path[len(root) :] or "/"
    return path


def levels(path: str) -> list[str]:
    """``/a/b`` -> ``["/a", "/a/b"]``."""
    parts = [part for part in path.split("/") if part]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]
