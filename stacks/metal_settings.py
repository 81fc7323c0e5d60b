"""``hosts.on: metal``: machines people own, each named, each with its way in.

Key files and host keys are looked at by preflight, not here: a stack file is also read on machines
that have no key, and before ``make trust`` has written the host keys.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

from stacks.problems import Problem, wrong

DNS_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_KEY_KINDS = {
    "ssh-ed25519": 2,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
    "ssh-rsa": 3,
}
"""Kind of a public key → how many parts one has."""

LABEL_VALUE = r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
LABEL_KEY = rf"({DNS_LABEL}(\.{DNS_LABEL})*/)?[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?"


class Strict(BaseModel):
    """Immutable, and strict about spelling."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )


class Role(StrEnum):
    """What a machine is for."""

    CONTROL = "control"
    AGENT = "agent"


def _name(value: str) -> str:
    if not re.fullmatch(DNS_LABEL, value):
        raise wrong(
            "a DNS label: a-z, 0-9 and -, at most 63 characters, no - at its ends",
            "rename it; the name becomes the Mesos agent's and the Kubernetes node's name",
        )
    return value


def _address(value: str) -> str:
    try:
        return str(IPv4Address(value))
    except ValueError as error:
        raise wrong(
            "an IPv4 address, such as 10.0.0.11",
            "give the address that the other machines reach it at",
        ) from error


def _host_key(value: str) -> str:
    kind, text, *_ = [*value.split(), "", ""]
    if not _is_key(kind, text):
        raise wrong(
            f"a public key: one of {', '.join(HOST_KEY_KINDS)}, a space, and all of its base64 "
            "text",
            "remove the line and let `make trust` write it",
        )
    return f"{kind} {text}"


def _is_key(kind: str, text: str) -> bool:
    """Whether a public key is whole: parts, each after its length, the first of them the kind."""
    try:
        rest = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    parts: list[bytes] = []
    while rest:
        end = 4 + int.from_bytes(rest[:4], "big")
        if len(rest) < end:
            return False
        parts.append(rest[4:end])
        rest = rest[end:]
    return len(parts) == HOST_KEY_KINDS.get(kind) and parts[0] == kind.encode()


def _key_file(value: str) -> str:
    if not value.startswith(("~", "/")):
        raise wrong("an absolute path, or one that begins with ~/", "write the whole path")
    return value


def _attributes(values: dict[str, str]) -> dict[str, str]:
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not re.fullmatch(LABEL_VALUE, value):
            raise wrong(
                "names and values of letters, digits, _, . and -; values up to 63 characters",
                f"correct {name}: {value}; it becomes a Mesos attribute and a node label",
            )
    return values


def _labels(values: dict[str, str]) -> dict[str, str]:
    for name, value in values.items():
        if not re.fullmatch(LABEL_KEY, name) or not re.fullmatch(LABEL_VALUE, value):
            raise wrong("Kubernetes labels", f"correct {name}: {value}")
    return values


def _share(value: str) -> str:
    if not re.fullmatch(r"(100|[1-9]\d?)%|[1-9]\d{0,3}", value):
        raise wrong('a share such as "25%", or a number of agents such as "2"', "correct it")
    return value


def _bundle(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"(/|~/)\S*[^\s/]", value):
        raise wrong(
            "true, false, or the path of a file of `make bundle`: absolute, or beginning with ~/",
            "write the whole path, without blanks in it",
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
Bundle = Annotated[bool | str, PlainValidator(_bundle)]
Address = Annotated[str, AfterValidator(_address)]
HostKey = Annotated[str, AfterValidator(_host_key)]
KeyFile = Annotated[str, AfterValidator(_key_file)]
Port = Annotated[int, Field(ge=1, le=65535)]
Attributes = Annotated[dict[str, str], AfterValidator(_attributes)]
Labels = Annotated[dict[str, str], AfterValidator(_labels)]
Share = Annotated[str, AfterValidator(_share)]


class FaultDomain(Strict):
    """Where a machine stands, in Mesos' words."""

    region: str = Field(min_length=1)
    """Far apart from other regions; also the label topology.kubernetes.io/region."""

    zone: str = Field(min_length=1)
    """Fails as one: a rack, a room; also the label topology.kubernetes.io/zone."""


class BastionSettings(Strict):
    """The SSH server that machines are reached through."""

    address: str = Field(min_length=1)
    """Its address or name, as seen from the operator's machine."""

    host_key: HostKey | None = None
    """The only key it may show; `make trust` writes it."""

    user: str | None = None
    """Who logs in there; unset: as on the machines."""

    port: Port = 22
    """Where its SSH server listens."""

    key: KeyFile | None = None
    """Private key file; unset: the machines' one."""


class MetalMachine(Strict):
    """One machine. What it does not say, the list's owner says for all."""

    name: Name
    """Its name in Mesos and Kubernetes; what belongs to it keeps this name."""

    address: Address
    """IPv4 address that this machine and the others reach it at."""

    roles: frozenset[Role] = Field(min_length=1)
    """control, agent, or both."""

    host_key: HostKey | None = None
    """The only key its SSH server may show; `make trust` writes it."""

    user: str | None = None
    """Who logs in; unset: `hosts.user`."""

    port: Port | None = None
    """Where its SSH server listens; unset: `hosts.port`."""

    key: KeyFile | None = None
    """Private key file; unset: `hosts.key`."""

    bastion: BastionSettings | None = None
    """The way in; unset: `hosts.bastion`."""

    attributes: Attributes = Field(default_factory=dict)
    """Mesos attributes; also node labels k8s.mesosphere.io/attribute-<name>."""

    fault_domain: FaultDomain | None = None
    """Where it stands; all machines have one, or none has."""

    labels: Labels = Field(default_factory=dict)
    """Labels of its Kubernetes node."""

    gone: bool = False
    """The machine is dead: take it out without logging in, and never ask it again."""


class MetalHostsSettings(Strict):
    """The whole list."""

    on: Literal["metal"]
    """The kind of hosts."""

    machines: tuple[MetalMachine, ...]
    """All machines; an odd number of control hosts, at least one agent."""

    user: str = "root"
    """Who logs in; not root: needs sudo without a password."""

    port: Port = 22
    """Where the machines' SSH servers listen."""

    key: KeyFile = "~/.ssh/id_ed25519"
    """The operator's private key file, mode 600."""

    bastion: BastionSettings | None = None
    """An SSH server in front of all machines."""

    cluster_id: str | None = Field(default=None, min_length=1, max_length=100)
    """What the machines remember they belong to; `make trust` makes one, unset: project/stack."""

    bundle: Bundle = False
    """Machines reach no mirror; packages come from `make bundle`: `true`, or the file it wrote."""

    change_at_once: Share = "25%"
    """How many agents may change at the same time; the next only when these are healthy again."""

    @property
    def alive(self) -> tuple[MetalMachine, ...]:
        """Machines that are not gone."""
        return tuple(machine for machine in self.machines if not machine.gone)

    @property
    def agent_count(self) -> int:
        """How many agents need a part of the pods' network."""
        return sum(Role.AGENT in machine.roles for machine in self.alive)

    @property
    def reserved(self) -> dict[str, IPv4Network]:
        """Addresses that are the machines' own, by their place in the file."""
        return {
            f"cluster.hosts.machines.{index}.address": IPv4Network(machine.address)
            for index, machine in enumerate(self.machines)
        }

    def contradictions(self) -> Iterator[Problem]:
        """Find what cannot be true together within the list, all of it."""
        yield from self._twice("name", range(len(self.machines)))
        alive = [index for index, machine in enumerate(self.machines) if not machine.gone]
        yield from self._twice("address", alive)
        yield from self._roles()
        yield from self._fault_domains()

    def _twice(self, key: str, indexes: Iterable[int]) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for index in indexes:
            value = getattr(self.machines[index], key)
            if value in first:
                yield Problem(
                    place=f"cluster.hosts.machines.{index}.{key}",
                    given=value,
                    allowed=f"each {key} once; cluster.hosts.machines.{first[value]} has it",
                    remedy="change one of the two",
                )
            first.setdefault(value, index)

    def _roles(self) -> Iterator[Problem]:
        control = [machine.name for machine in self.alive if Role.CONTROL in machine.roles]
        dead = [one.name for one in self.machines if one.gone and Role.CONTROL in one.roles]
        if len(control) % 2 == 0 and dead:
            yield Problem(
                place="cluster.hosts.machines",
                given=f"{len(control)} with role control, and {', '.join(dead)} gone",
                allowed="1, 3 or 5 that live; the cluster's data lies on a majority of them",
                remedy="install a machine in its place, under the same name and address; remove "
                "`gone: true` and its `host_key:`, then make trust (docs/metal.md, When a control "
                "host dies)",
            )
        elif len(control) % 2 == 0:
            yield Problem(
                place="cluster.hosts.machines",
                given=f"{len(control)} with role control ({', '.join(control) or 'none'})",
                allowed="1, 3 or 5: an even number has no better majority than one less",
                remedy="give one machine more, or one less, `roles: [control]`",
            )
        if not self.agent_count:
            yield Problem(
                place="cluster.hosts.machines",
                given="no machine with role agent",
                allowed="at least one",
                remedy="give a machine `roles: [agent]`, or `[control, agent]`",
            )

    def _fault_domains(self) -> Iterator[Problem]:
        without = [machine.name for machine in self.alive if not machine.fault_domain]
        if without and len(without) < len(self.alive):
            yield Problem(
                place="cluster.hosts.machines",
                given=f"no fault_domain for {', '.join(without)}",
                allowed="one for every machine, or for none: Mesos compares all with all",
                remedy="add `fault_domain: {region: …, zone: …}` there",
            )


def key_path(key: str) -> Path:
    """Find the file that a stack file calls ``~/.ssh/id_ed25519``."""
    return Path(key).expanduser()
