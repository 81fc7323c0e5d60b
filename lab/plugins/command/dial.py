"""Dialling one host by SSH, and saying clearly why it did not work."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import asyncssh

from lab.plugins.command.output import Show
from lab.plugins.provider import ProviderError
from lab.plugins.values import Properties

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


async def dial(
    properties: Properties, tunnel: Any, noun: str, show: Show
) -> asyncssh.SSHClientConnection:
    """Connect, trying `dialErrorLimit` times again (-1: for ever), as a booting machine needs it.

    Raises ProviderError with host, reason and remedy. A host key other than the pinned one is never
    tried again: waiting does not make it right.
    """
    check = KeyCheck(properties.get("hostKey"))
    options = await dial_options(properties, check, noun)
    limit = int(properties.get("dialErrorLimit", 10))
    failed, pause, began = 0, FIRST_PAUSE, time.monotonic()
    while True:
        try:
            return await asyncssh.connect(tunnel=tunnel, **options)
        except asyncssh.HostKeyNotVerifiable:
            raise ProviderError(changed_key(place(properties, noun), check)) from None
        except (OSError, asyncssh.Error, TimeoutError) as error:
            failed += 1
            if 0 <= limit < failed:
                effort = f"{failed} attempts in {time.monotonic() - began:.0f} s"
                raise ProviderError(no_connection(properties, noun, error, effort)) from None
        await show(f"dial {failed}/{'inf' if limit < 0 else limit} failed: retrying")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


class KeyCheck(asyncssh.SSHClient):
    """Compares the server's host key with the pinned one and remembers what it saw."""

    def __init__(self, pinned: str | None) -> None:
        self.pinned = asyncssh.import_public_key(pinned) if pinned else None
        self.seen = ""

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        del host, addr, port
        self.seen = f"{key.get_algorithm()} {key.get_fingerprint()}"
        return self.pinned is not None and key.public_data == self.pinned.public_data

    def options(self) -> dict[str, Any]:
        if self.pinned is None:  # as in the real plugin: no `hostKey`, no check
            return {"known_hosts": None}
        kinds = [name.decode() for name in self.pinned.sig_algorithms if b"@" not in name]
        return {
            "known_hosts": ([], [], []),
            "client_factory": lambda: self,
            "server_host_key_algs": kinds,
        }


async def dial_options(properties: Properties, check: KeyCheck, noun: str) -> dict[str, Any]:
    keys: list[Any] = []
    try:
        if "privateKey" in properties:
            passphrase = properties.get("privateKeyPassword")
            keys.append(asyncssh.import_private_key(properties["privateKey"], passphrase))
        if agent := properties.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK"):
            keys += await (await asyncssh.connect_agent(agent)).get_keys()
    except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ProviderError(
            f"{place(properties, noun)}: the private key cannot be used: {error}; give an "
            "unencrypted OpenSSH or PEM key as connection.privateKey, or its privateKeyPassword"
        ) from None
    return {
        "host": properties["host"],
        "port": int(properties.get("port", 22)),
        "username": properties.get("user", "root"),
        "password": properties.get("password"),
        "client_keys": keys or None,
        "agent_path": None,
        "config": None,
        "connect_timeout": properties.get("perDialTimeout", 15) or None,
        "keepalive_interval": 15,
        **check.options(),
    }


def place(properties: Properties, noun: str) -> str:
    user, port = properties.get("user", "root"), int(properties.get("port", 22))
    return f"{noun} {properties['host']} (port {port}, user {user})"


def no_connection(properties: Properties, noun: str, error: Exception, effort: str) -> str:
    """One sentence of what happened and one of what to do."""
    where = place(properties, noun)
    if isinstance(error, asyncssh.PermissionDenied):
        return (
            f"{where} does not accept the SSH key or password, after {effort}. Put the public half "
            "of connection.privateKey into that user's ~/.ssh/authorized_keys, or name the right "
            "key and user."
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return (
            f"{where} and this machine agree on no host key or cipher: {error}. If it has no host "
            "key of the kind that connection.hostKey names, pin another one."
        )
    reason = str(error) or f"no answer within {properties.get('perDialTimeout', 15)} s"
    return (
        f"{where} cannot be reached: {reason}, after {effort}. See that it is up, that its sshd "
        "listens on this port and that no firewall is in between; raise "
        "connection.dialErrorLimit for a machine that boots longer."
    )


def changed_key(where: str, check: KeyCheck) -> str:
    assert check.pinned is not None
    wanted = f"{check.pinned.get_algorithm()} {check.pinned.get_fingerprint()}"
    return (
        f"{where} shows another host key than the pinned one: expected {wanted}, got {check.seen}. "
        "If the machine was installed anew, pin its new key (connection.hostKey); if not, somebody "
        "else answers at this address. Nothing was run there."
    )
