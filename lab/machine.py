"""Whole machines: emulated by qemu, with a kernel, control groups and a power plug of their own.

Emulated and not virtualised, so that one runs wherever a lab does; it is ten times slower than the
processor below. Its disk is one file with one filesystem, its kernel comes from the base that the
filesystem was filled with, and its link lives exactly as long as its process.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import shutil
import struct
from pathlib import Path

from lab import cgroups, disk, identity, mounts, namespace
from lab.commands import run
from lab.errors import LabError
from lab.nspawn import launch
from lab.processes import Process
from lab.spec import HostSpec
from lab.state import Network

PROGRAM = "qemu-system-x86_64"
PACKAGE = "qemu-system-x86"
INTERFACES = "en* eth*"
TRANSLATED_MB = 256
"""Memory in which qemu keeps what it has translated; its own default is a gigabyte."""
OVERHEAD_MB = 256 + TRANSLATED_MB
"""What the emulation may use beside the memory that the machine has."""

TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA
LINK_FLAGS = 0x0002 | 0x1000 | 0x4000
"""IFF_TAP, IFF_NO_PI and IFF_VNET_HDR: whole frames, and checksums left to the kernel."""


def is_whole(base: str) -> bool:
    """Whether hosts on this base are whole machines."""
    return base.endswith("-machine")


def check() -> None:
    """What has to be there before a machine can be started.

    Raises:
        LabError: naming what is missing and the command that helps.
    """
    if shutil.which(PROGRAM) is None:
        raise LabError(f"{PROGRAM} is missing; run: apt-get install {PACKAGE}")
    if not Path(TUN).exists():
        raise LabError(f"{TUN} is missing: this kernel has no tun module, or hides it")


def start(spec: HostSpec, directory: Path, base: Path, network: Network) -> Process:
    """Switch a machine on; it goes on when we end. Its disk is made at the first time."""
    check()
    image = directory / "disk.img"
    disk.make_image(image, spec.disk_gb, content=base)
    _write_identity(image, directory / "root", spec, network)
    groups = cgroups.create(spec.lab, spec.name)
    cgroups.limit(spec.lab, spec.name, spec.cpus, spec.memory_mb + OVERHEAD_MB)
    link = _link(network.bridge)
    try:
        return launch(_command(spec, image, base, link), groups, directory, links=[link])
    finally:
        os.close(link)


def _write_identity(image: Path, root: Path, spec: HostSpec, network: Network) -> None:
    """Mount the disk where only this process sees it, and make the machine its own."""
    namespace.create()
    root.mkdir(exist_ok=True)
    mounts.mount("-o", "loop", str(image), str(root))
    try:
        identity.write(root, spec, network, interfaces=INTERFACES)
    finally:
        mounts.unmount_all(root)


def _link(bridge: str) -> int:
    """A new link on the bridge, as a file: it goes when nobody has the file open any more."""
    handle = os.open(TUN, os.O_RDWR)
    try:
        made = fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", b"km-tap%d", LINK_FLAGS))
        name = made[:16].rstrip(b"\0").decode()
        run("ip", "link", "set", name, "master", bridge, "up")
    except BaseException:
        os.close(handle)
        raise
    return handle


def _command(spec: HostSpec, image: Path, base: Path, link: int) -> list[str]:
    return [
        PROGRAM,
        "-nographic",
        *("-accel", f"tcg,thread=multi,tb-size={TRANSLATED_MB}"),
        *("-cpu", "max", "-smp", str(math.ceil(spec.cpus)), "-m", str(spec.memory_mb)),
        *("-kernel", str(_boot_file(base, "vmlinuz")), "-initrd", str(_boot_file(base, "initrd"))),
        *("-append", "console=ttyS0 root=/dev/vda rw quiet"),
        *("-drive", f"file={image},format=raw,if=virtio,discard=unmap"),
        *("-netdev", f"tap,id=net,fd={link}"),
        *("-device", f"virtio-net-pci,netdev=net,mac={_hardware_address(spec)}"),
        *("-device", "virtio-rng-pci"),
    ]


def _boot_file(base: Path, name: str) -> Path:
    found = sorted(base.glob(f"boot/{name}*"))
    if not found:
        raise LabError(f"{base}/boot has no {name}*: a base without a kernel starts no machine")
    return found[-1]


def _hardware_address(spec: HostSpec) -> str:
    """The same one at each start, and another one for each machine; 52:54:00 is qemu's."""
    digest = hashlib.sha256(f"{spec.lab}/{spec.name}".encode()).hexdigest()
    return ":".join(["52", "54", "00", digest[0:2], digest[2:4], digest[4:6]])
