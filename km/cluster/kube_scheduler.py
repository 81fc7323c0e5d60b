"""Upstream kube-scheduler as a child process: configured to ask km, started again when it ends.

It runs only while this km leads, so it elects no leader of its own.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from km.futures import within

log = logging.getLogger("km.kube-scheduler")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds between two starts."""

HEALTHY_AFTER = 30.0
"""Seconds after which an end counts as a new trouble, not as the old one."""

STOP_WITHIN = 5.0

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def configuration(kubeconfig: Path, extender_port: int) -> dict[str, Any]:
    """KubeSchedulerConfiguration, as JSON (which is YAML)."""
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        # The defaults (50 and 100 a second) would be what limits a burst of pods.
        "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 500, "burst": 1000},
        "leaderElection": {"leaderElect": False},
        "extenders": [
            {
                "urlPrefix": f"http://127.0.0.1:{extender_port}",
                "filterVerb": "filter",
                "prioritizeVerb": "prioritize",
                "bindVerb": "bind",
                "weight": 1,
                "nodeCacheCapable": True,
                # A bind is answered when its task runs; longer than --bind-timeout.
                "httpTimeout": "60s",
            }
        ],
    }


def write_configuration(directory: Path, kubeconfig: Path, extender_port: int) -> Path:
    """Write the configuration into the runtime directory and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "kube-scheduler.json"
    path.write_text(json.dumps(configuration(kubeconfig, extender_port), indent=2) + "\n")
    return path


def command(program: Path, config: Path, port: int) -> list[str]:
    """The command line. Its own metrics stay on this host; everything else is in the file."""
    line = [str(program), f"--config={config}", f"--secure-port={port}", "--bind-address=127.0.0.1"]
    if port:
        open_paths = "/healthz,/livez,/readyz,/metrics"
        line += [f"--authorization-always-allow-paths={open_paths}"]
        line += ["--authentication-skip-lookup=true"]
    return line


async def keep_running(line: Sequence[str]) -> None:
    """Run the child until cancelled; then stop it."""
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while True:
        started = loop.time()
        # Should km be killed, its child must not go on beside the next leader's.
        child = await asyncio.create_subprocess_exec(
            *line, stdin=asyncio.subprocess.DEVNULL, preexec_fn=die_with_parent
        )
        log.info("started", extra={"pid": child.pid})
        try:
            status = await child.wait()
        finally:
            await stop(child)
        if loop.time() - started > HEALTHY_AFTER:
            pause = FIRST_PAUSE
        log.error("ended", extra={"status": status, "again_in": pause})
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def die_with_parent() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def stop(child: asyncio.subprocess.Process) -> None:
    """End it, gently first; nothing if it has ended."""
    if child.returncode is not None:
        return
    child.terminate()
    try:
        await within(STOP_WITHIN, child.wait())
    except asyncio.TimeoutError:
        child.kill()
        await child.wait()
