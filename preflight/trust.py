"""Host keys: read once from the hosts, shown, written into the stack file.

The file is edited where the YAML parser says the mappings lie, so comments and layout stay. A key
that is already in the file is never replaced: a changed key may be an impostor's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.ssh import ConnectError, Login, asyncssh, connect, server_key, words
from preflight import stack_file

HOSTS = ("config", "kubernetes-mesos:cluster", "hosts")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A mapping in the stack file that a host key belongs to, and the server it is about."""

    name: str
    path: tuple[str | int, ...]
    login: Login


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a server showed: a key, or why there is none."""

    place: Place
    key: asyncssh.SSHKey | None = None
    error: str = ""

    @property
    def text(self) -> str:
        """The key as the stack file has it: kind and base64, no comment."""
        if self.key is None:
            return ""
        return " ".join(self.key.export_public_key("openssh").decode().split()[:2])

    @property
    def verdict(self) -> str:
        """``new``, ``known``, ``CHANGED`` or the error."""
        if self.key is None:
            return self.error
        if self.place.login.host_key is None:
            return "new"
        return "known" if self.place.login.host_key == self.text else "CHANGED"


def places(hosts: dict[str, Any], logins: Sequence[Login]) -> list[Place]:
    """Bastions first, each place once; ``logins`` are the machines', in the file's order."""
    found: list[Place] = []
    for index, (machine, login) in enumerate(zip(hosts["machines"], logins, strict=True)):
        at = (*HOSTS, "machines", index)
        if login.bastion:
            own = "bastion" in machine
            path = (*at, "bastion") if own else (*HOSTS, "bastion")
            name = f"{machine['name']}'s bastion" if own else "bastion"
            found.append(Place(name=name, path=path, login=login.bastion))
        if not machine.get("gone"):
            found.append(Place(name=machine["name"], path=at, login=login))
    once = {place.path: place for place in found}
    return sorted(once.values(), key=lambda place: place.path[-1] != "bastion")


async def read_keys(wanted: Sequence[Place]) -> list[Seen]:
    """Ask every server for its host key; machines behind a bastion through it."""
    bastions = [place for place in wanted if place.path[-1] == "bastion"]
    first = await asyncio.gather(*(_read_key(place, {}) for place in bastions))
    keys = {seen.place.login.where: seen.text for seen in first if seen.key}
    machines = [place for place in wanted if place.path[-1] != "bastion"]
    return [*first, *await asyncio.gather(*(_read_key(place, keys) for place in machines))]


async def _read_key(place: Place, bastion_keys: dict[str, str]) -> Seen:
    login, bastion = place.login, place.login.bastion
    try:
        if bastion is None:
            return Seen(place=place, key=await _server_key(login, None))
        trusted = bastion.host_key or bastion_keys.get(bastion.where)
        tunnel = await connect(_with_key(bastion, trusted))
        try:
            return Seen(place=place, key=await _server_key(login, tunnel))
        finally:
            tunnel.close()
    except ConnectError as error:
        said = error.detail or "its key is not known"
        return Seen(place=place, error=f"bastion: {error.failure.replace('-', ' ')}: {said}")
    except (OSError, TimeoutError, asyncssh.Error) as error:
        return Seen(place=place, error=words(error))


def _with_key(login: Login, host_key: str | None) -> Login:
    return Login(
        address=login.address, user=login.user, port=login.port, key=login.key, host_key=host_key
    )


async def _server_key(
    login: Login, tunnel: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHKey | None:
    """Prefer Ed25519; take what the server has when it has none. A pinned key's kind wins."""
    pinned = (login.host_key or "ssh-ed25519").partition(" ")[0]
    try:
        return await server_key(login, tunnel, (pinned,))
    except (asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost, ConnectionResetError):
        return await server_key(login, tunnel)


def with_keys(text: str, seen: Sequence[Seen], cluster_id: str) -> str:
    """Put new keys, and a cluster id where there is none, into a stack file's text.

    Raises:
        ValueError: the edited text would not say what it should; the file stays as it is.
    """
    additions = [(one.place.path, "host_key", one.text) for one in seen if one.verdict == "new"]
    data = stack_file.load(text)
    if "cluster_id" not in _at(data, HOSTS):
        additions.append((HOSTS, "cluster_id", cluster_id))
    root = stack_file.nodes(text)
    edits = sorted((_edit(text, _node(root, path), key, value) for path, key, value in additions))
    for position, insertion in reversed(edits):
        text = text[:position] + insertion + text[position:]
    for path, key, value in additions:
        _at(data, path)[key] = value
    if stack_file.load(text) != data:
        raise ValueError("this file's layout is too unusual to be edited: add the keys by hand")
    return text


def new_cluster_id(stack: str) -> str:
    """A name that no other cluster has, and that still says which one it is."""
    return f"{stack}-{secrets.token_hex(4)}"


def _edit(text: str, mapping: yaml.MappingNode, key: str, value: str) -> tuple[int, str]:
    """Where to insert what, so that ``mapping`` gets one more key."""
    if mapping.flow_style:
        comma = ", " if mapping.value else ""
        before = text.rindex("}", 0, mapping.end_mark.index)
        while text[before - 1].isspace():
            before -= 1
        if text[before - 1] == ",":
            comma = " "
        return before, f'{comma}{key}: "{value}"'
    first = mapping.value[0][0].start_mark
    anchor = next((item for name, item in mapping.value if name.value in {"address", "on"}), None)
    last = anchor.end_mark if anchor else mapping.value[0][1].end_mark
    end = text.find("\n", last.index)
    position = len(text) if end == -1 else end
    return position, f"\n{' ' * first.column}{key}: {value}"


def _node(root: yaml.Node | None, path: Sequence[str | int]) -> yaml.MappingNode:
    node = root
    for part in path:
        assert isinstance(node, yaml.CollectionNode)
        if isinstance(part, int):
            node = node.value[part]
        else:
            node = next(value for name, value in node.value if name.value == part)
    assert isinstance(node, yaml.MappingNode)
    return node


def _at(data: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        data = data[part]
    return data


def write(path: Path, text: str) -> None:
    """Replace a file at once: whoever reads it sees the old or the new one."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)
