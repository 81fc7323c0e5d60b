"""The way into a machine: an SSH server whose host key is known beforehand.

Host keys are checked against the pinned one before anything is said. Imports nothing of Pulumi:
what logs in to a hundred machines must start at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

DIAL_SECONDS = 15.0
ALIVE_SECONDS = 10.0
"""So often a server is asked whether it lives; three times without an answer, and it does not."""

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com")
"""What processors have instructions for comes first: hundreds of megabytes may follow."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """An SSH server and who logs in there. Without a host key nobody logs in."""

    address: str
    user: str
    port: int = 22
    key: Path | None = None
    """Private key file of the operator."""

    host_key: str | None = None
    """``ssh-ed25519 AAAA…``: the only key the server may show."""

    bastion: Login | None = None

    @property
    def where(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"


class ConnectError(Exception):
    """No connection: ``failure`` is ``key-missing``, ``key-file``, ``host-key``, ``login`` or
    ``connect``.
    """

    def __init__(self, failure: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


async def connect(
    login: Login, tunnel: asyncssh.SSHClientConnection | None = None
) -> asyncssh.SSHClientConnection:
    """Log in, or say why not.

    Raises:
        ConnectError: with the kind of failure and the server's or the system's own words.
    """
    if login.host_key is None:
        raise ConnectError("key-missing", "")
    if login.key:
        check_key_file(login.key)
    try:
        return await asyncssh.connect(
            login.address,
            login.port,
            username=login.user,
            client_keys=[str(login.key)] if login.key else [],
            known_hosts=_known_hosts(login.host_key),
            agent_path=None,
            config=None,
            encryption_algs=CIPHERS,
            tunnel=tunnel or (),
            connect_timeout=DIAL_SECONDS,
            login_timeout=DIAL_SECONDS,
            keepalive_interval=ALIVE_SECONDS,
        )
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
        raise ConnectError("host-key", await _shown(login, tunnel)) from error
    except (asyncssh.ConnectionLost, ConnectionResetError) as error:
        # A server without a key of the pinned kind hangs up before it shows the one it has.
        shown = await _shown(login, tunnel)
        raise ConnectError("host-key" if shown else "connect", shown or words(error)) from error
    except asyncssh.PermissionDenied as error:
        raise ConnectError("login", str(error)) from error
    except (OSError, TimeoutError, asyncssh.Error) as error:
        raise ConnectError("connect", words(error)) from error


async def _shown(login: Login, tunnel: asyncssh.SSHClientConnection | None) -> str:
    """Fingerprint of the key a server shows now; empty when it is the pinned one, or none."""
    try:
        key = await server_key(login, tunnel)
    except (OSError, TimeoutError, asyncssh.Error):
        return ""
    if (
        key is None
        or key.public_data == asyncssh.import_public_key(login.host_key or "").public_data
    ):
        return ""
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


async def server_key(
    login: Login, tunnel: asyncssh.SSHClientConnection | None, kinds: Sequence[str] = ()
) -> asyncssh.SSHKey | None:
    """Let a server show its host key, without logging in."""
    return await asyncio.wait_for(
        asyncssh.get_server_host_key(
            login.address,
            login.port,
            tunnel=tunnel or (),
            server_host_key_algs=kinds,
            config=None,
        ),
        DIAL_SECONDS,
    )


def words(error: Exception) -> str:
    """Say an error as a person would: asyncio hides "Connection refused" in a number."""
    if isinstance(error, TimeoutError):
        return f"no answer in {DIAL_SECONDS:.0f} s"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def check_key_file(key: Path) -> None:
    """Refuse a private key that is not there or that others on this machine can read.

    Raises:
        ConnectError: kind ``key-file``.
    """
    try:
        mode = key.stat().st_mode & 0o777
        asyncssh.read_private_key(str(key))
    except (OSError, asyncssh.KeyImportError) as error:
        raise ConnectError("key-file", f"{key}: {error}") from error
    if mode & 0o077:
        raise ConnectError("key-file", f"{key} has mode {mode:o}: others can read it")


def _known_hosts(host_key: str) -> tuple[list[asyncssh.SSHKey], list[str], list[str]]:
    return [asyncssh.import_public_key(host_key)], [], []
