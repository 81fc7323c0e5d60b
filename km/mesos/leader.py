"""Who leads: masters by address, or found in ZooKeeper.

Mesos' candidates are sequence nodes `json.info_0000000012` below the path of the `zk://` URL;
the lowest one leads and holds a MasterInfo as JSON. Older `info_…` nodes (protobuf) are ignored,
as every master since 0.24 writes the JSON one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.exceptions import KazooException, NoNodeError  # type: ignore[import-untyped]
from kazoo.handlers.threading import KazooTimeoutError  # type: ignore[import-untyped]

from km.mesos.errors import UnavailableError

DEFAULT_PORT = 5050
ZOOKEEPER_PORT = 2181
PREFIX = "json.info_"


class Directory(Protocol):
    """Something that knows which master to ask."""

    async def leader(self) -> str:
        """`host:port` to try now. Raises UnavailableError when nobody leads."""

    async def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class MasterUrl:
    """A parsed `--mesos-master`: addresses of masters, or of ZooKeeper servers with a path."""

    hosts: tuple[str, ...]
    path: str | None = None
    """The ZooKeeper path; None when `hosts` are the masters themselves."""
    user: str | None = None
    """`user:password` for ZooKeeper's digest authentication, as in `zk://user:password@…`."""

    def __str__(self) -> str:
        hosts = ",".join(self.hosts)
        return hosts if self.path is None else f"zk://{hosts}{self.path}"


def parse_master(text: str) -> MasterUrl:
    """Read `host:port[,host:port…]`, `http://host:port` or `zk://[user:password@]host:port,…/path`.

    Raises:
        ValueError: with one line that says what is allowed.
    """
    allowed = "host:port, host:port,host:port,… or zk://host:port,host:port,…/path"
    if not text.startswith("zk://"):
        rest = text[len("http://") :].rstrip("/") if text.startswith("http://") else text
        return MasterUrl(hosts=split_hosts(rest, text, DEFAULT_PORT, allowed))
    user, at, rest = text[len("zk://") :].rpartition("@")
    hosts, slash, path = rest.partition("/")
    if not path.strip("/"):
        raise ValueError(f"{text!r} has no path; allowed: {allowed}")
    if at and not all(user.partition(":")):
        raise ValueError(f"{text!r} names no user:password before '@'; allowed: {allowed}")
    return MasterUrl(
        hosts=split_hosts(hosts, text, ZOOKEEPER_PORT, allowed),
        path=slash + path.strip("/"),
        user=user or None,
    )


def split_hosts(text: str, whole: str, port: int, allowed: str) -> tuple[str, ...]:
    """Split a comma-separated list and give every host a port."""
    hosts = []
    for item in text.split(","):
        # An IPv6 address has colons of its own and is written in brackets.
        host, colon, number = item.rpartition(":") if not item.endswith("]") else (item, "", "")
        host, number = (host, number) if colon else (item, str(port))
        if not host or set(host) & set("/ @?#") or not number.isdecimal():
            raise ValueError(f"{whole!r}: {item!r} is no host:port; allowed: {allowed}")
        if not 0 < int(number) < 65536:
            raise ValueError(f"{whole!r}: {number} is no port; allowed: 1 to 65535")
        hosts.append(f"{host}:{number}")
    return tuple(hosts)


class FixedMasters:
    """Masters given by address. Each question names the next one: a follower redirects."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._turn = itertools.cycle(hosts)

    async def leader(self) -> str:
        return next(self._turn)

    async def close(self) -> None:
        """Nothing is open."""


class ZooKeeperDirectory:
    """Masters found in ZooKeeper. kazoo's threads stay inside this class."""

    def __init__(
        self, url: MasterUrl, *, timeout: float = 5.0, client: Callable[..., Any] = KazooClient
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._make_client = client
        self._client: Any = None
        # It reports every lost connection by itself, in words of its own; ours name the URL.
        logging.getLogger("kazoo").setLevel(logging.CRITICAL)

    async def leader(self) -> str:
        """Read the lowest candidate.

        Raises:
            UnavailableError: ZooKeeper does not answer, or holds no candidate.
        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> str:
        try:
            client = self._connected()
            # The plain calls would wait for ever while ZooKeeper is away.
            names = client.get_children_async(self._url.path).get(timeout=self._timeout)
            first = lowest(names)
            if first is None:
                raise UnavailableError(f"{self._url}: no master leads")
            found = client.get_async(f"{self._url.path}/{first}").get(timeout=self._timeout)
        except NoNodeError as error:
            raise UnavailableError(f"{self._url}: no master has registered there yet") from error
        except (KazooException, KazooTimeoutError, OSError) as error:
            words = str(error) or type(error).__name__
            raise UnavailableError(f"{self._url}: ZooKeeper does not answer: {words}") from error
        return address_of(found[0])

    def _connected(self) -> Any:
        if self._client is None:
            client = self._make_client(
                hosts=",".join(self._url.hosts),
                timeout=self._timeout,
                auth_data=[("digest", self._url.user)] if self._url.user else None,
            )
            try:
                client.start(timeout=self._timeout)
            except BaseException:
                client.stop()
                client.close()
                raise
            self._client = client
        return self._client

    async def close(self) -> None:
        """Stop kazoo's threads."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.stop)
            await asyncio.to_thread(client.close)


def lowest(names: Sequence[str]) -> str | None:
    """The candidate with the lowest sequence number, or None."""
    candidates = [name for name in names if name.startswith(PREFIX)]
    return min(candidates, key=lambda name: int(name[len(PREFIX) :]), default=None)


def address_of(data: bytes) -> str:
    """`host:port` of a MasterInfo in JSON.

    Raises:
        UnavailableError: the node holds something else.
    """
    try:
        address = json.loads(data)["address"]
        # What the master bound (or advertises) is what it answers on; its hostname is a courtesy.
        return f"{address.get('ip') or address['hostname']}:{int(address['port'])}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnavailableError(
            f"a master's node in ZooKeeper holds no MasterInfo: {data[:80]!r}"
        ) from error


def directory(url: MasterUrl) -> Directory:
    """Choose the kind of directory that a URL asks for."""
    return FixedMasters(url.hosts) if url.path is None else ZooKeeperDirectory(url)
