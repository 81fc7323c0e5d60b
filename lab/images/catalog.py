"""The images that a cluster needs before it can pull any, and what is in each of them.

The names are those of the publishers' images where the content is the publisher's program, so
that the same manifests work where registries can be reached. `pause` has the name under which
containerd looks for it, and is ours.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from lab.images.oci import Image

Programs = Callable[[str], tuple[str, Path]]
"""Version and directory of an installed program, by its name."""

USERS = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
GROUPS = b"root:x:0:\nnogroup:x:65534:\n"


def pause(programs: Programs) -> Image:
    _, directory = programs("pause")
    return _single("registry.k8s.io/pause:3.10", "pause", directory / "pause")


def coredns(programs: Programs) -> Image:
    version, directory = programs("coredns")
    return _single(f"docker.io/coredns/coredns:{version}", "coredns", directory / "coredns")


def etcd(programs: Programs) -> Image:
    version, directory = programs("etcd")
    paths = {f"usr/local/bin/{file}": directory / file for file in ("etcd", "etcdctl")}
    return Image(
        name=f"registry.k8s.io/etcd:{version}",
        files=paths,
        executable=frozenset(paths),
        directories={"tmp": 0o1777},
        entrypoint=["/usr/local/bin/etcd"],
    )


def kube2sky(programs: Programs) -> Image:
    _, directory = programs("kube2sky")
    return _single("docker.io/kubernetes-mesos/kube2sky:1", "kube2sky", directory / "kube2sky")


def busybox(programs: Programs) -> Image:
    """A static busybox with all its names."""
    version, directory = programs("busybox")
    binary = directory / "busybox"
    applets = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True)
    names = [name for name in applets.stdout.split() if name != "busybox"]
    return Image(
        name=f"docker.io/library/busybox:{version}",
        files={"bin/busybox": binary, "etc/passwd": USERS, "etc/group": GROUPS},
        executable=frozenset({"bin/busybox"}),
        links={f"bin/{name}": "busybox" for name in names},
        directories={"tmp": 0o1777, "root": 0o700, "home": 0o755, "var": 0o755},
        command=["sh"],
    )


def _single(name: str, file: str, source: Path) -> Image:
    """An image with one program at its root."""
    return Image(
        name=name,
        files={file: source},
        executable=frozenset({file}),
        directories={"tmp": 0o1777},
        entrypoint=[f"/{file}"],
    )
