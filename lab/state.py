"""What is known about labs: one directory each, with a record of its network and of its hosts.

    /var/lib/kubernetes-mesos/labs/<lab>/network.json
    /var/lib/kubernetes-mesos/labs/<lab>/hosts/<name>/{host.json,host_key,disk.img,console.log}

Records are written before what they describe is made, so that whatever exists can be found again.
Directories double as locks: a lock file would be one more thing to leave behind.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lab import paths
from lab.errors import LabError
from lab.processes import Process

Record = TypeVar("Record")


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network that a lab has claimed."""

    lab: str
    network: ipaddress.IPv4Network
    bridge: str
    owner: str
    boot: str
    """The boot of this machine that it was made in; bridges do not survive another."""

    @property
    def gateway(self) -> ipaddress.IPv4Address:
        return self.network[1]

    def result(self) -> dict[str, str]:
        """What `network up` prints."""
        return {
            "network": str(self.network),
            "gateway": str(self.gateway),
            "bridge": self.bridge,
        }


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host as it was last brought up."""

    spec: dict[str, Any]
    """The public part of its HostSpec."""
    address: str
    identity: str
    """Digest of what needs a restart when it changes: address, keys, user."""
    lower: str = ""
    """The base filesystem that it was made on. It stays that one for life, whatever the packages
    of a later version are: a disk means nothing on top of another."""
    process: Process | None = None
    """Its supervisor; None before the first start."""

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    def lives(self) -> bool:
        return self.process is not None and self.process.lives()

    def with_process(self, process: Process | None) -> Host:
        return replace(self, process=process)


def lab_path(lab: str) -> Path:
    return paths.LABS / lab


def host_path(lab: str, name: str) -> Path:
    return lab_path(lab) / "hosts" / name


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory alone, making it first. It may be removed while it is held."""
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _same(handle, directory):
                yield
                return
        finally:
            os.close(handle)


def read_network(lab: str) -> Network | None:
    """A lab's network; None when it has claimed none.

    Raises:
        LabError: the record is damaged.
    """
    return _read(lab, lab_path(lab) / "network.json", _network)


def _network(found: dict[str, Any]) -> Network:
    return Network(**{**found, "network": ipaddress.IPv4Network(found["network"])})


def write_network(network: Network) -> None:
    kept = {**asdict(network), "network": str(network.network)}
    _write(lab_path(network.lab) / "network.json", kept)


def read_host(lab: str, name: str) -> Host | None:
    """A host's record; None when it has none yet.

    Raises:
        LabError: the record is damaged.
    """
    return _read(lab, host_path(lab, name) / "host.json", _host)


def _host(found: dict[str, Any]) -> Host:
    process = found.pop("process")
    return Host(**found, process=Process(**process) if process else None)


def write_host(lab: str, host: Host, key: str) -> None:
    """Keep a host's record, and its private key where root alone reads it."""
    directory = host_path(lab, host.name)
    _write(directory / "host.json", asdict(host))
    if read_host_key(lab, host.name) != key:
        partial = directory / "host_key.partial"
        partial.touch(mode=0o600)
        partial.write_text(key)
        partial.rename(directory / "host_key")


def read_host_key(lab: str, name: str) -> str | None:
    try:
        return (host_path(lab, name) / "host_key").read_text()
    except FileNotFoundError:
        return None


def labs() -> list[str]:
    """Every lab that has a directory."""
    return _names(paths.LABS)


def host_names(lab: str) -> list[str]:
    """Every host of a lab that has a directory, whether or not it got as far as a record."""
    return _names(lab_path(lab) / "hosts")


def hosts(lab: str) -> list[Host]:
    """Every recorded host of a lab."""
    return [host for name in host_names(lab) if (host := read_host(lab, name))]


def damages(lab: str) -> list[str]:
    """What is wrong with a lab's records, and what to do about it."""
    reads: list[Callable[[], object]] = [partial(read_network, lab)]
    reads += [partial(read_host, lab, name) for name in host_names(lab)]
    found = []
    for read in reads:
        try:
            read()
        except LabError as error:
            found.append(str(error))
    return found


def readable_network(lab: str) -> Network | None:
    """A lab's network, for whoever only looks around: a damaged record is none."""
    try:
        return read_network(lab)
    except LabError:
        return None


def readable_hosts(lab: str) -> list[Host]:
    """A lab's hosts, for whoever only looks around: those whose record is not damaged."""
    found = []
    for name in host_names(lab):
        with suppress(LabError):
            if host := read_host(lab, name):
                found.append(host)
    return found


def remove_empty(lab: str) -> None:
    """Remove the directories of a lab, and ours above, as far as nothing is in them."""
    for path in (lab_path(lab) / "hosts", lab_path(lab), paths.LABS, paths.LABS.parent):
        try:
            path.rmdir()
        except OSError:
            continue


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _names(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    except FileNotFoundError:
        return []


def _read(lab: str, path: Path, made: Callable[[dict[str, Any]], Record]) -> Record | None:
    try:
        return made(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LabError(
            f"{path} is damaged, or another version wrote it ({type(error).__name__}: {error}); "
            f"remove the lab with its data: python3 -m lab down --lab {lab}"
        ) from error


def _write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all: a kill in the middle must not leave half a record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.rename(path)
