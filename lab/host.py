"""Hosts: up is idempotent and keeps data, down leaves nothing."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from lab import (
    base,
    capacity,
    cgroups,
    disk,
    identity,
    machine,
    namespace,
    network,
    nspawn,
    paths,
    ssh,
    state,
)
from lab.commands import say
from lab.errors import LabError
from lab.processes import Process
from lab.spec import HostSpec
from lab.state import Host, Network

CONTAINER_SECONDS = 90.0
MACHINE_SECONDS = 300.0
"""How long a host may take until its sshd answers; an idle machine needs a tenth of it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One host to bring up: what is asked, and what there is."""

    spec: HostSpec
    before: Host | None
    wanted: Host
    network: Network
    lower: Path
    directory: Path


def up(spec: HostSpec) -> dict[str, str]:
    """Make a host, start it, or give it its new sizes; returns when sshd answers.

    Leaves this process in the host's mount namespace: it can bring up only one.

    Raises:
        LabError: it does not fit, its index is taken, or it did not come up.
    """
    nspawn.check()
    claimed = network.ensure(spec.lab)
    directory = state.host_path(spec.lab, spec.name)
    with state.locked(directory):
        before = state.read_host(spec.lab, spec.name)
        lower = _lower(spec, before)
        with state.locked(paths.LABS):
            _check(spec, before)
            wanted = _record(spec, claimed, before, lower)
            state.write_host(spec.lab, wanted, spec.host_key)
        job = Job(
            spec=spec,
            before=before,
            wanted=wanted,
            network=claimed,
            lower=lower,
            directory=directory,
        )
        _bring_up(job)
    return {"name": wanted.name, "address": wanted.address}


def down(lab: str, name: str) -> None:
    """Kill a host and remove everything of it; nothing happens when there is none."""
    directory = state.host_path(lab, name)
    with state.locked(directory):
        cgroups.remove(lab, name)
        nspawn.forget(lab, name, directory / "root")
        disk.detach(directory)
        existed = (directory / "host.json").exists()
        shutil.rmtree(directory)
    state.remove_empty(lab)
    if existed:
        say(f"host {lab}/{name}: removed")


def cut(lab: str, name: str) -> None:
    """Take a host's power away: it is asked nothing before, and `up` starts it again.

    Raises:
        LabError: there is no such host.
    """
    if state.read_host(lab, name) is None:
        raise LabError(f"host {name}: lab {lab} has none of this name; `lab list` shows them")
    with state.locked(state.host_path(lab, name)):
        cgroups.remove(lab, name)


def _check(spec: HostSpec, before: Host | None) -> None:
    if before and before.spec["base"] != spec.base:
        raise LabError(
            f"host {spec.name}: base: {spec.base!r} asked, it was made from "
            f"{before.spec['base']!r}; remove the host first"
        )
    if before and before.spec["disk_gb"] > spec.disk_gb:
        raise LabError(
            f"host {spec.name}: disk_gb: {spec.disk_gb} asked, the disk has "
            f"{before.spec['disk_gb']} GB and cannot shrink; remove the host first"
        )
    if before and before.lives() and machine.is_whole(spec.base):
        _refuse_change(spec, before)
    for other in state.hosts(spec.lab):
        if other.name != spec.name and other.spec["index"] == spec.index:
            raise LabError(
                f"host {spec.name}: index: {spec.index} ({other.address}) is in use by host "
                f"{other.name}; choose another"
            )
    capacity.check_host(spec)


def _refuse_change(spec: HostSpec, before: Host) -> None:
    """Nobody looks into a whole machine that runs: it takes a change over when it is started."""
    now = {**spec.public(), "roles": before.spec["roles"]}
    changed = [key for key, value in before.spec.items() if value != now[key]]
    if state.read_host_key(spec.lab, spec.name) != spec.host_key:
        changed.append("host_key")
    if changed:
        raise LabError(
            f"host {spec.name}: {', '.join(changed)}: a whole machine that runs cannot change; "
            "switch it off first: lab host cut"
        )


def _lower(spec: HostSpec, before: Host | None) -> Path:
    if before is None or not before.lower:
        return base.ensure_base(spec.base)
    if not Path(before.lower).is_dir():
        raise LabError(
            f"host {spec.name}: {before.lower}, the filesystem that it was made on, is gone from "
            "the cache; remove the host and make it again"
        )
    return Path(before.lower)


def _record(spec: HostSpec, claimed: Network, before: Host | None, lower: Path) -> Host:
    return Host(
        lower=str(lower),
        spec=spec.public(),
        address=identity.address(spec, claimed),
        identity=identity.digest(spec, claimed),
        process=before.process if before else None,
    )


def _bring_up(job: Job) -> None:
    process = job.wanted.process
    if process is None or not process.lives():
        process = _start(job)
    elif reason := _restart_reason(job):
        say(f"host {job.spec.name}: restarts, since {reason}")
        nspawn.stop(process)
        process = _start(job)
    elif not machine.is_whole(job.spec.base):
        _adjust(job, process)
    _wait(job, process)


def _restart_reason(job: Job) -> str | None:
    if job.before is None:
        return None
    if job.before.identity != job.wanted.identity:
        return "its address, key or user changed"
    if job.before.spec["disk_gb"] != job.spec.disk_gb:
        # Growing a mounted filesystem takes a right (CAP_SYS_RESOURCE) that not every root has.
        return "its disk grows"
    return None


def _adjust(job: Job, process: Process) -> None:
    """Give a running host its sizes and the key that may log in."""
    spec = job.spec
    namespace.enter(process.pid)
    root = disk.attach(job.directory, job.lower, spec.disk_gb)
    cgroups.limit(spec.lab, spec.name, spec.cpus, spec.memory_mb)
    identity.authorize(root, spec)


def _start(job: Job) -> Process:
    started = time.monotonic()
    spec = job.spec
    # What a killed supervisor left running would hold the disk and the address.
    cgroups.remove(spec.lab, spec.name)
    nspawn.forget(spec.lab, spec.name, job.directory / "root")
    disk.detach(job.directory, seconds=5)
    if machine.is_whole(spec.base):
        process = machine.start(spec, job.directory, job.lower, job.network)
    else:
        process = _start_container(job)
    state.write_host(spec.lab, job.wanted.with_process(process), spec.host_key)
    say(
        f"host {spec.lab}/{spec.name}: booting at {job.wanted.address} "
        f"(prepared in {time.monotonic() - started:.1f} s)"
    )
    return process


def _start_container(job: Job) -> Process:
    namespace.create()
    root = disk.attach(job.directory, job.lower, job.spec.disk_gb)
    identity.write(root, job.spec, job.network)
    return nspawn.start(job.spec, job.directory, job.network.bridge)


def _wait(job: Job, process: Process) -> None:
    started = time.monotonic()
    console = job.directory / "console.log"
    key = identity.public_key(job.directory / "host_key")
    seconds = MACHINE_SECONDS if machine.is_whole(job.spec.base) else CONTAINER_SECONDS
    try:
        ssh.wait(job.wanted.address, key, process.lives, seconds)
    except LabError as error:
        last = "\n".join(console.read_text(errors="replace").splitlines()[-15:])
        raise LabError(f"host {job.spec.name}: {error}; {console} ends with:\n{last}") from error
    say(f"host {job.spec.name}: sshd answers after {time.monotonic() - started:.1f} s")
