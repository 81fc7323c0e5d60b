"""Who shares Mesos with Kubernetes, and how: roles with weights and quota, other frameworks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, Field

from stacks.metal_settings import Name, Strict
from stacks.problems import Problem, wrong

ROLE_PART = r"[A-Za-z0-9_.][A-Za-z0-9_.-]*"
KUBERNETES = "Kubernetes"
"""The name that km registers with."""

OUR_PORTS = frozenset(
    (2181, 2379, 2380, 2381, 2888, 3888, 5050, 5051, 6443, 6444, *range(10248, 10263))
)
"""TCP ports that the cluster's own programs use on some host."""

TASK_PORTS = (31000, 32000)
"""What agents offer to tasks; a scheduler on a host that is an agent as well keeps out of it."""


def _role(value: str) -> str:
    parts = value.split("/")
    if value != "*" and any(
        part in {".", ".."} or not re.fullmatch(ROLE_PART, part) for part in parts
    ):
        raise wrong(
            "a Mesos role: letters, digits, '_', '.' and '-', '/' between levels, or '*' alone",
            "write a name such as kubernetes or analytics/spark",
        )
    return value


def _different(values: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := _repeated(values):
        raise wrong("each role once", f"remove one of the two {repeated[0]!r}")
    if not values:
        raise wrong("at least one role", 'write ["*"], the role of whoever names none')
    return values


def _environment(values: dict[str, str]) -> dict[str, str]:
    for name, text in values.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or re.search(r"[\n\r\0]", text):
            raise wrong(
                "names of letters, digits and '_', values of one line",
                f"correct {name}; what needs several lines belongs in a file among uris",
            )
    return values


def _user(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", value):
        raise wrong("a Unix user: a-z, 0-9, '_' and '-', at most 32", "write for example nobody")
    return value


def _url(value: str) -> str:
    if not re.fullmatch(r"(https?://[^\s/]+|file://)/\S*[^\s/]", value):
        raise wrong(
            "a URL of a file: https://…, http://… or file:///…, without blanks",
            "write where it is downloaded from",
        )
    return value


def _mesos_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9 _.-]{0,126}[A-Za-z0-9])?", value):
        raise wrong(
            "letters, digits, blanks, '_', '.' and '-', at most 128, with a letter or digit at "
            "each end",
            "give the framework such a name, with the option of its own for that",
        )
    return value


def _port(value: int) -> int:
    if not 1024 <= value < TASK_PORTS[0] or value in OUR_PORTS:
        raise wrong(
            f"a port from 1024 to {TASK_PORTS[0] - 1} that the cluster does not use itself (not "
            f"{', '.join(str(port) for port in sorted(OUR_PORTS))})",
            "write for example 9050",
        )
    return value


def _line(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise wrong("a command for bash", "write what starts the framework, in the foreground")
    return value


RoleName = Annotated[str, AfterValidator(_role)]
RoleNames = Annotated[tuple[RoleName, ...], AfterValidator(_different)]
Environment = Annotated[dict[str, str], AfterValidator(_environment)]
User = Annotated[str, AfterValidator(_user)]
Url = Annotated[str, AfterValidator(_url)]
MesosName = Annotated[str, AfterValidator(_mesos_name)]
Command = Annotated[str, AfterValidator(_line)]
Port = Annotated[int, AfterValidator(_port)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Quantities(Strict):
    """Amounts of what agents offer."""

    cpus: Amount | None = None
    """Processors."""

    memory_mb: Amount | None = None
    """Memory, in MiB."""

    disk_gb: Amount | None = None
    """Disk, in GiB."""

    gpus: Amount | None = None
    """Graphics processors; of use only with agents from elsewhere, ours offer none."""

    @property
    def in_mesos(self) -> dict[str, float]:
        """The amounts that are given, by Mesos' names and in its units."""
        disk = None if self.disk_gb is None else self.disk_gb * 1024
        named = {"cpus": self.cpus, "mem": self.memory_mb, "disk": disk, "gpus": self.gpus}
        return {name: amount for name, amount in named.items() if amount is not None}


class RoleSettings(Strict):
    """What the frameworks of one role get."""

    name: RoleName
    """The role, as frameworks register with it; what is not said of it here is Mesos' default."""

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Its part when roles compete: with 2 it gets twice as much as with 1."""

    guarantees: Quantities = Quantities()
    """What is kept for it, also while it does not use it."""

    limits: Quantities = Quantities()
    """What it never gets more of."""


class Uri(Strict):
    """A file that a framework needs."""

    url: Url
    """Where it is downloaded from; archives (.tar.*, .tgz, .zip) are unpacked."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """What its content must be."""


class FrameworkSettings(Strict):
    """Another framework, which comes up with the cluster."""

    name: Name
    """Its unit is `framework-<name>`, its directory /var/lib/kubernetes-mesos/frameworks/<name>."""

    command: Command
    """Bash that runs it; `$MESOS_MASTER`, `$MESOS_ROLE`, `$LIBPROCESS_IP` are set for it."""

    registers_as: MesosName | None = None
    """Its name in Mesos; unset: `name`. When it leaves, what has this name is torn down."""

    role: RoleName = "*"
    """The role it registers with."""

    user: User = "nobody"
    """Who runs it, and mostly its tasks: a user that agents have as well."""

    environment: Environment = Field(default={})
    """More variables."""

    ports: tuple[Port, ...] = ()
    """TCP ports it listens on, for Mesos and its tasks; the first is its `$LIBPROCESS_PORT`."""

    uris: tuple[Uri, ...] = ()
    """Files put into its directory before it starts."""

    cpus: float = Field(default=1.0, ge=0.01, allow_inf_nan=False)
    """Processors its own process may use; its tasks run on agents."""

    memory_mb: int = Field(default=1024, ge=16)
    """Memory its own process may use, in MiB."""

    runs_on: Literal["first", "every"] = "first"
    """One control host, or every one: then its instances choose a leader themselves."""

    @property
    def mesos_name(self) -> str:
        """What Mesos calls it."""
        return self.registers_as or self.name


class Mesos(Protocol):
    @property
    def roles(self) -> Sequence[RoleSettings]: ...


class Shared(Protocol):
    """The part of the settings that the checks look at."""

    @property
    def mesos(self) -> Mesos: ...
    @property
    def frameworks(self) -> Sequence[FrameworkSettings]: ...


def sharing(settings: Shared) -> Iterator[Problem]:
    """Find what cannot be true together among roles and frameworks."""
    roles, frameworks = settings.mesos.roles, settings.frameworks
    yield from _named_twice("cluster.mesos.roles", [role.name for role in roles])
    yield from _named_twice("cluster.frameworks", [one.name for one in frameworks])
    for index, role in enumerate(roles):
        yield from _quota(f"cluster.mesos.roles.{index}", role)
    yield from _names_in_mesos(frameworks)
    yield from _ports(frameworks)


def _quota(place: str, role: RoleSettings) -> Iterator[Problem]:
    """Quota that Mesos would refuse."""
    kept, most = role.guarantees.in_mesos, role.limits.in_mesos
    if "/" in role.name and (kept or most):
        yield Problem(
            place=f"{place}.{'guarantees' if kept else 'limits'}",
            given=f"quota for {role.name}",
            allowed="a weight alone: Mesos has no quota for a role below another",
            remedy=f"give the quota to {role.name.partition('/')[0]}, or remove it",
        )
    for kind in kept.keys() & most.keys():
        if kept[kind] > most[kind]:
            yield Problem(
                place=f"{place}.guarantees",
                given=f"{kind} {kept[kind]:g}",
                allowed=f"at most the limit of {role.name}: {kind} {most[kind]:g}",
                remedy="lower the guarantee, or raise the limit",
            )


def _names_in_mesos(frameworks: Sequence[FrameworkSettings]) -> Iterator[Problem]:
    """Names that do not tell frameworks apart: the wrong one would be torn down."""
    taken = [KUBERNETES]
    for index, framework in enumerate(frameworks):
        if framework.mesos_name in taken:
            yield Problem(
                place=f"cluster.frameworks.{index}.registers_as",
                given=framework.mesos_name,
                allowed=f"a name that no other framework has: not {', '.join(taken)}",
                remedy="give the framework another name, with the option of its own for that",
            )
        taken.append(framework.mesos_name)


def _ports(frameworks: Sequence[FrameworkSettings]) -> Iterator[Problem]:
    """Ports of two frameworks: all of them run on the first control host."""
    taken: dict[int, str] = {}
    for index, framework in enumerate(frameworks):
        for port in framework.ports:
            if port in taken:
                yield Problem(
                    place=f"cluster.frameworks.{index}.ports",
                    given=str(port),
                    allowed=f"ports that nobody else has; {taken[port]} has this one",
                    remedy="give it another port",
                )
            taken.setdefault(port, framework.name)


def _named_twice(place: str, names: Sequence[str]) -> Iterator[Problem]:
    for name in _repeated(names):
        yield Problem(
            place=place,
            given=f"{name} twice",
            allowed="each name once",
            remedy="put what is said of it into one place",
        )


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
