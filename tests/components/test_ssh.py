"""Each way in which no connection comes about has its own name: only one means a dead machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from components import ssh
from components.ssh import ConnectError, Login, connect
from tests.preflight.light_hosts import free_port

HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")
OTHER_KEY = asyncssh.generate_private_key("ssh-ed25519")
OPERATOR = asyncssh.generate_private_key("ssh-ed25519")


def text(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key().decode().split()[:2])


class Forwarding(asyncssh.SSHServer):
    """A bastion."""

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        return True


class Closed(asyncssh.SSHServer):
    """A bastion with ``AllowTcpForwarding no``, as OpenSSH words it."""

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        raise asyncssh.ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")


@asynccontextmanager
async def server(
    key: asyncssh.SSHKey = HOST_KEY,
    *,
    kind: type[asyncssh.SSHServer] = Closed,
    ciphers: tuple[str, ...] = (),
) -> AsyncIterator[int]:
    """Listen as an SSH server; give the port."""
    operators = asyncssh.import_authorized_keys(text(OPERATOR))
    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=kind,
        server_host_keys=[key],
        authorized_client_keys=operators,
        encryption_algs=ciphers,
    )
    try:
        yield listener.get_port()
    finally:
        listener.close()


@asynccontextmanager
async def raw(says: bytes | None) -> AsyncIterator[int]:
    """Listen as something that is no SSH server: it says that and hangs up; None: it is silent."""

    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if says is None:
            await reader.read()
            ended.set()
        else:
            writer.write(says)
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        if says is None:
            await ended.wait()
        listener.close()


@pytest.fixture
def login(tmp_path: Path) -> Login:
    key = tmp_path / "id"
    key.write_bytes(OPERATOR.export_private_key())
    key.chmod(0o600)
    return Login(address="127.0.0.1", user="ops", key=key, host_key=text(HOST_KEY))


async def failure(login: Login, tunnel: asyncssh.SSHClientConnection | None = None) -> ConnectError:
    with pytest.raises(ConnectError) as raised:
        await connect(login, tunnel)
    return raised.value


async def another_key(login: Login) -> ConnectError:
    async with server(OTHER_KEY) as port:
        return await failure(replace(login, port=port))


async def no_cipher_in_common(login: Login) -> ConnectError:
    async with server(ciphers=("aes256-ctr",)) as port:
        return await failure(replace(login, port=port))


async def a_key_cut_short(login: Login) -> ConnectError:
    async with server() as port:
        return await failure(replace(login, port=port, host_key=text(HOST_KEY)[:-8]))


async def no_pinned_key(login: Login) -> ConnectError:
    return await failure(replace(login, host_key=None))


async def another_operator(login: Login) -> ConnectError:
    assert login.key
    login.key.write_bytes(OTHER_KEY.export_private_key())
    async with server() as port:
        return await failure(replace(login, port=port))


async def no_key_file(login: Login) -> ConnectError:
    assert login.key
    return await failure(replace(login, key=login.key.with_name("none")))


async def nobody_listens(login: Login) -> ConnectError:
    return await failure(replace(login, port=free_port()))


async def silence(login: Login) -> ConnectError:
    async with raw(None) as port:
        return await failure(replace(login, port=port))


async def hangs_up(login: Login) -> ConnectError:
    async with raw(b"") as port:
        return await failure(replace(login, port=port))


async def another_protocol(login: Login) -> ConnectError:
    async with raw(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        return await failure(replace(login, port=port))


async def no_such_name(login: Login) -> ConnectError:
    return await failure(replace(login, address="none.invalid"))


async def a_bastion_that_forwards_nothing(login: Login) -> ConnectError:
    async with server() as port, await connect(replace(login, port=port)) as tunnel:
        return await failure(login, tunnel)


async def nobody_behind_the_bastion(login: Login) -> ConnectError:
    async with server(kind=Forwarding) as port, await connect(replace(login, port=port)) as tunnel:
        return await failure(replace(login, port=free_port()), tunnel)


@pytest.mark.parametrize(
    ("case", "kind", "words"),
    [
        (another_key, "host-key", "ssh-ed25519 SHA256:"),
        (no_cipher_in_common, "algorithms", "No matching encryption algorithm"),
        (a_key_cut_short, "key-text", "Invalid public key"),
        (no_pinned_key, "key-missing", ""),
        (another_operator, "login", "Permission denied"),
        (no_key_file, "key-file", "No such file"),
        (nobody_listens, "connect", "Connection refused"),
        (silence, "connect", "no answer in 1 s"),
        (hangs_up, "hung-up", "onnection"),
        (another_protocol, "hung-up", ""),
        (no_such_name, "network", "ame"),
        (a_bastion_that_forwards_nothing, "forwarding", "open failed"),
        (nobody_behind_the_bastion, "connect", "onnect"),
    ],
)
def test_each_failure_has_its_own_name(
    login: Login,
    monkeypatch: pytest.MonkeyPatch,
    case: Callable[[Login], Awaitable[ConnectError]],
    kind: str,
    words: str,
) -> None:
    monkeypatch.setattr(ssh, "DIAL_SECONDS", 1.0)

    async def run() -> ConnectError:
        return await case(login)

    error = asyncio.run(run())

    assert error.failure == kind
    assert words in error.detail
    assert error.login.user == "ops"
    assert error.unreachable == (kind == "connect")
