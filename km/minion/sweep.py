"""Takes away everything a node leaves on its host: pods, mounts, network, cgroups.

Used by a minion that leaves, by the guard of one that was killed, and by the next one to start.
Every step is safe to repeat and goes on when there is nothing to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from km.minion import hierarchy, mounts, network
from km.minion.cgroups import Tree
from km.minion.cri import Runtime, RuntimeCallError
from km.minion.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Sandboxes taken down side by side; more make two cores slower, not faster."""
KILL_SECONDS = 5.0
SHIM_SECONDS = 2.0
SHIM_POLL = 0.05
LOG_LINKS = Path("/var/log/containers")
"""Where the kubelet links to the logs of containers, for collectors."""


async def sweep(
    settings: Settings, tree: Tree | None, *, grace: float, prefix: Sequence[str]
) -> list[str]:
    """Take everything away; return what could not be, in words.

    Args:
        settings: of this host.
        tree: cgroups of the node; None when not known.
        grace: seconds that pods get between SIGTERM and SIGKILL.
        prefix: command that enters the host's mount namespace, or nothing.
    """
    left: list[str] = []
    if tree:
        if grace > 0:
            await hierarchy.terminate(tree, grace)
        stubborn = await hierarchy.kill(tree, KILL_SECONDS)
        left += [f"process {pid}" for pid in sorted(stubborn)]
    refused = await remove_sandboxes(Runtime(settings.container_runtime_endpoint))
    if not refused:
        await end_shims(settings.container_runtime_endpoint, SHIM_SECONDS)
        forget_network(settings)
    left += refused
    left += remove_volumes(settings.kubelet_root, prefix)
    remove_logs(settings.pod_logs)
    remove_network()
    if tree:
        left += await remove_cgroups(tree)
    return left


async def remove_sandboxes(runtime: Runtime) -> list[str]:
    """Stop and remove all pods of the runtime; shims, network namespaces and mounts go along."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(sandbox: str) -> str | None:
        async with gate:
            try:
                await runtime.stop(sandbox)
                await runtime.remove(sandbox)
            except RuntimeCallError as error:
                return f"sandbox {sandbox}: {error}"
        return None

    problems: list[str] = []
    try:
        # One that the kubelet was just having made appears only now.
        while not problems and (sandboxes := await runtime.sandboxes()):
            problems = [found for found in await asyncio.gather(*map(one, sandboxes)) if found]
    except RuntimeCallError as error:
        return [f"pod sandboxes: {error}"]
    return problems


async def end_shims(endpoint: str, seconds: float) -> None:
    """Wait for the processes that watched over pods, and kill those that nobody remembers.

    containerd forgets a shim whose pod was given up while it was being made. Only shims of this
    host's own runtime count: a machine that has hosts in containers sees theirs as well.
    """
    end = asyncio.get_running_loop().time() + seconds
    while shims := list(_shims(endpoint)):
        if asyncio.get_running_loop().time() > end:
            for pid in shims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        await asyncio.sleep(SHIM_POLL)


def _shims(endpoint: str) -> Iterator[int]:
    here = Path("/proc/self/ns/pid").readlink()
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if is_shim(words, endpoint) and (directory / "ns/pid").readlink() == here:
                yield int(directory.name)


def is_shim(words: Sequence[bytes], endpoint: str) -> bool:
    """Whether a command line is that of a shim of Kubernetes' containers in one runtime."""
    pairs = set(itertools.pairwise(words))
    ours = {(b"-namespace", b"k8s.io"), (b"-address", endpoint.removeprefix("unix://").encode())}
    return words[0].rpartition(b"/")[2].startswith(b"containerd-shim") and ours <= pairs


def remove_volumes(kubelet_root: str, prefix: Sequence[str]) -> list[str]:
    """Unmount all volumes of pods and delete what they kept on this host."""
    pods = f"{kubelet_root}/pods"
    left = mounts.unmount_below(pods, prefix)
    if not left:
        # --one-file-system is a second guard: a volume of someone else is never emptied.
        _run(["rm", "--recursive", "--force", "--one-file-system", pods])
    return [f"mount {target}" for target in left]


def remove_logs(directory: str) -> None:
    """Delete the logs of pods; the next kubelet would look for the container of each it finds."""
    shutil.rmtree(directory, ignore_errors=True)
    for link in LOG_LINKS.glob("*"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{directory}/"):
            link.unlink(missing_ok=True)


def remove_network() -> None:
    """Remove links, addresses and packet filter rules of the pod network."""
    remove_pod_network()
    _run(["ip", "link", "delete", network.VXLAN])
    for family in ("iptables", "ip6tables"):
        saved = _run([f"{family}-save"])
        if rules := network.removal_rules(saved):
            _run([f"{family}-restore", "--noflush", "--wait", "5"], rules)


def forget_network(settings: Settings) -> None:
    """Take the network away from the runtime, when no sandbox of it is left.

    It refuses to stop one whose network it does not know, also after a shutdown of the host, where
    it ends before us: such a sandbox would stay for ever.
    """
    Path(settings.cni_conf_dir, network.CONFLIST).unlink(missing_ok=True)


def remove_pod_network() -> None:
    """Remove what belongs to one podCIDR, so that another can follow."""
    _run(["ip", "link", "delete", network.BRIDGE])
    shutil.rmtree(network.ADDRESSES, ignore_errors=True)


async def remove_cgroups(tree: Tree) -> list[str]:
    """Remove the tree, but for what Mesos made: that goes when Mesos ends the container."""
    hierarchy.leave(tree)
    left = await hierarchy.remove(tree.mounts, tree.pods, KILL_SECONDS)
    left += await hierarchy.remove(tree.ours, tree.path, KILL_SECONDS)
    for mount in tree.ours:
        # Other executors' containers, or Mesos itself, may still have theirs beside it.
        with contextlib.suppress(OSError):
            Path(mount.point + tree.path).parent.rmdir()
    return [f"cgroup {directory}" for directory in left]


def _run(command: Sequence[str], text: str = "") -> str:
    """Run a small program of the host; what fails has nothing to remove, or says so later."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.debug("%s: %s", command[0], error)
        return ""
    return done.stdout
