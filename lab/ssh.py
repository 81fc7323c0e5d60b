"""Waiting until a host answers, and making sure that it is the one we made."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable

from lab.errors import LabError

PORT = 22


def wait(address: str, public_key: str, alive: Callable[[], bool], seconds: float = 90) -> None:
    """Return when sshd answers at an address with the expected host key.

    Args:
        address: where to ask.
        public_key: type and base64 of the key that it must show.
        alive: whether there is still anybody to wait for.
        seconds: how long to wait at most.

    Raises:
        LabError: the host ended, did not answer in time, or showed another key.
    """
    deadline = time.monotonic() + seconds
    while not _greets(address):
        if not alive():
            raise LabError(f"{address} ended while it booted")
        if time.monotonic() > deadline:
            raise LabError(f"{address} port {PORT} did not answer within {seconds:.0f} s")
        time.sleep(0.05)
    kind, key = public_key.split()
    shown = _shown_key(address, kind)
    if shown != key:
        raise LabError(
            f"{address} shows another {kind} host key ({shown or 'none'}) than the one it was "
            "given: something else uses this address, or its key was replaced"
        )


def _greets(address: str) -> bool:
    try:
        with socket.create_connection((address, PORT), timeout=1) as connection:
            greeted = connection.recv(4) == b"SSH-"
            # A greeting of our own, or sshd logs an error about a client that hung up.
            connection.sendall(b"SSH-2.0-lab\r\n")
            return greeted
    except OSError:
        return False


def _shown_key(address: str, kind: str) -> str | None:
    """The base64 of the host key of one type that sshd shows."""
    names = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}
    command = ["ssh-keyscan", "-T", "10", "-t", names.get(kind, "ecdsa"), address]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for line in found.splitlines():
        if not line.startswith("#"):
            return line.split()[2]
    return None
