"""The way into a machine: an SSH server whose host key is known beforehand.

Host keys are checked against the pinned one before anything is said. Imports nothing of Pulumi:
what logs in to a hundred machines must start at once.
"""

from __future__ import annotations

import asyncio
import ctypes.util
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# asyncssh looks for two libraries of C by asking the linker's cache and a compiler, which takes
# longer than all else of its import, and a process is started for each machine that joins. They are
# for an exchange of keys and for checksums that no server insists on.
find_library = ctypes.util.find_library
ctypes.util.find_library = lambda name: None  # noqa: ARG005
import asyncssh as asyncssh  # noqa: E402, PLC0414 -- others have it from here
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED  # noqa: E402

ctypes.util.find_library = find_library

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
    """No connection to ``login``, which may be a bastion; ``failure`` says of which kind.

    ``connect``: nobody answers there. ``hung-up``: somebody does, and ends the talk. ``network``:
    this machine finds no way there. ``forwarding``: the bastion lets nobody through. ``login``:
    user or key. ``algorithms``: no cipher in common. ``key-missing``, ``key-text``, ``host-key``:
    the pinned key is not there, is no key, is not the one that is shown. ``key-file``: the
    operator's own.
    """

    def __init__(self, failure: str, detail: str, login: Login) -> None:
        super().__init__(f"{login.where}: {failure} {detail}".strip())
        self.failure = failure
        self.detail = detail
        self.login = login

    @property
    def unreachable(self) -> bool:
        """Nobody is there: the only failure that a dead machine has."""
        return self.failure == "connect"


async def connect(
    login: Login, tunnel: asyncssh.SSHClientConnection | None = None
) -> asyncssh.SSHClientConnection:
    """Log in, or say why not.

    Raises:
        ConnectError: with the kind of failure and the server's or the system's own words.
    """
    pinned = pinned_key(login)
    if login.key:
        check_key_file(login)
    try:
        return await asyncssh.connect(
            login.address,
            login.port,
            username=login.user,
            client_keys=[str(login.key)] if login.key else [],
            known_hosts=([pinned], [], []),
            agent_path=None,
            config=None,
            encryption_algs=CIPHERS,
            tunnel=tunnel or (),
            connect_timeout=DIAL_SECONDS,
            login_timeout=DIAL_SECONDS,
            keepalive_interval=ALIVE_SECONDS,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise ConnectError("host-key", await _shown(login, tunnel, pinned), login) from error
    except (asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost, ConnectionResetError) as error:
        # A server without a key of the pinned kind hangs up before it shows the one it has.
        shown = "" if silent(error) else await _shown(login, tunnel, pinned)
        if shown:
            raise ConnectError("host-key", shown, login) from error
        raise ConnectError(kind(error), words(error), login) from error
    except (OSError, TimeoutError, asyncssh.Error) as error:
        raise ConnectError(kind(error), words(error), login) from error


NOBODY_THERE = {errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EHOSTDOWN}


def kind(error: Exception) -> str:
    """Name the failure that an error is, as far as the error alone tells."""
    match error:
        case asyncssh.PermissionDenied():
            return "login"
        case asyncssh.KeyExchangeFailed():
            return "algorithms"
        case asyncssh.ChannelOpenError() if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED:
            return "forwarding"
        case TimeoutError() | asyncssh.ChannelOpenError():
            return "connect"
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return "hung-up"
        case OSError():
            # Without a number: several addresses, and none of them answered.
            return "connect" if error.errno in {None, *NOBODY_THERE} else "network"
        case _:
            return "connect" if silent(error) else "hung-up"


def silent(error: Exception) -> bool:
    """Whether a server took the connection and said nothing: then it has no key to show, too."""
    return "Login timeout expired" in str(error)


def pinned_key(login: Login) -> asyncssh.SSHKey:
    """Read the only key that a server may show.

    Raises:
        ConnectError: kind ``key-missing`` or ``key-text``.
    """
    if login.host_key is None:
        raise ConnectError("key-missing", "", login)
    try:
        return asyncssh.import_public_key(login.host_key)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise ConnectError("key-text", str(error), login) from error


async def _shown(
    login: Login, tunnel: asyncssh.SSHClientConnection | None, pinned: asyncssh.SSHKey
) -> str:
    """Fingerprint of the key a server shows now; empty when it is the pinned one, or none."""
    try:
        key = await server_key(login, tunnel)
    except (OSError, TimeoutError, asyncssh.Error):
        return ""
    if key is None or key.public_data == pinned.public_data:
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
    if isinstance(error, TimeoutError) or silent(error):
        return f"no answer in {DIAL_SECONDS:.0f} s"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def check_key_file(login: Login) -> None:
    """Refuse a private key that is not there or that others on this machine can read.

    Raises:
        ConnectError: kind ``key-file``.
    """
    key = login.key
    if key is None:
        return
    try:
        mode = key.stat().st_mode & 0o777
        asyncssh.read_private_key(str(key))
    except (OSError, asyncssh.KeyImportError) as error:
        raise ConnectError("key-file", f"{key}: {error}", login) from error
    if mode & 0o077:
        raise ConnectError("key-file", f"{key} has mode {mode:o}: others can read it", login)
