"""Another framework on the same Mesos: Chronos, a Spark dispatcher, Hadoop's JobTracker.

Makes a remote command for each host that it runs on, and one that tears it down when it goes.
Does not install what the framework needs of its host, such as Java.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.hosts import Host
from components.mesos_masters import master_addresses
from components.mesos_sharing import OPERATOR_API
from components.recipe import run_recipe


@dataclass(frozen=True, kw_only=True)
class MesosFrameworkArgs:
    """What runs, where, and as whom."""

    hosts: Sequence[Host]
    """The control hosts: a master runs on each."""

    mesos_master: pulumi.Input[str]
    """How it finds Mesos: ``zk://…``."""

    name: str
    """Name of its unit and directory; a DNS label."""

    command: str
    """Bash that runs it in the foreground."""

    mesos_name: str
    """What it is called in Mesos."""

    role: str = "*"
    user: str = "nobody"
    environment: Mapping[str, str] = field(default_factory=dict)

    uris: Mapping[str, str] = field(default_factory=dict)
    """Files that it needs: URL → sha256."""

    ports: Sequence[int] = ()
    """What it listens on; the first is where Mesos answers it."""

    cpus: float = 1.0
    """What its own process may use of its host."""

    memory_mb: int = 1024
    """The same of memory, in MiB."""

    on_every_host: bool = False
    """Not on the first host alone: its instances choose a leader themselves."""

    after: Sequence[pulumi.Resource] = ()
    """What has to be there before it registers."""


class MesosFramework(pulumi.ComponentResource):
    """A framework's scheduler as a systemd unit that is always started again.

    Makes: ``<name>-<host>`` for each host it runs on, which ends when it has registered, and
    ``teardown-<its name in Mesos>``, which does nothing until it goes, after the units: then what
    has that name in Mesos is torn down. Another name there is another teardown.
    """

    def __init__(
        self, name: str, args: MesosFrameworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:MesosFramework", name, {}, opts)

        asking: dict[str, pulumi.Input[str]] = {
            "FRAMEWORK_API": OPERATOR_API,
            "FRAMEWORK_MASTERS": master_addresses(args.hosts),
            "FRAMEWORK_MESOS_NAME": args.mesos_name,
        }
        # Made first, so that it goes last: what still runs would register again.
        teardown = run_recipe(
            f"teardown-{args.mesos_name}",
            "teardown",
            args.hosts[0],
            asking,
            pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
            only_down=True,
            subject=args.name,
        )
        for host in args.hosts if args.on_every_host else args.hosts[:1]:
            run_recipe(
                f"{name}-{host.name}",
                "mesos-framework",
                host,
                {**asking, **unit_values(args, host)},
                pulumi.ResourceOptions(parent=self, depends_on=[teardown, *args.after]),
                subject=args.name,
            )
        self.register_outputs({})


def framework_args(
    wanted: Any,
    hosts: Sequence[Host],
    mesos_master: pulumi.Input[str],
    after: Sequence[pulumi.Resource],
) -> MesosFrameworkArgs:
    """Turn an entry of the setting ``frameworks`` into what the component is told."""
    return MesosFrameworkArgs(
        hosts=hosts,
        mesos_master=mesos_master,
        name=wanted.name,
        command=wanted.command,
        mesos_name=wanted.mesos_name,
        role=wanted.role,
        user=wanted.user,
        environment=wanted.environment,
        ports=wanted.ports,
        uris={uri.url: uri.sha256 for uri in wanted.uris},
        cpus=wanted.cpus,
        memory_mb=wanted.memory_mb,
        on_every_host=wanted.runs_on == "every",
        after=after,
    )


def unit_values(args: MesosFrameworkArgs, host: Host) -> dict[str, pulumi.Input[str]]:
    """What the recipe needs besides the way to the masters."""
    known = pulumi.Output.all(master=args.mesos_master, address=host.address)
    return {
        "FRAMEWORK_NAME": args.name,
        "FRAMEWORK_COMMAND": args.command,
        "FRAMEWORK_ROLE": args.role,
        "FRAMEWORK_USER": args.user,
        "FRAMEWORK_URIS": "\n".join(f"{sha256} {url}" for url, sha256 in args.uris.items()),
        "FRAMEWORK_CPU_QUOTA": f"{args.cpus * 100:g}%",
        "FRAMEWORK_MEMORY_MB": str(args.memory_mb),
        "FRAMEWORK_ENVIRONMENT": known.apply(
            lambda known: environment_text(
                {
                    "MESOS_MASTER": known["master"],
                    "MESOS_ROLE": args.role,
                    # Otherwise libmesos takes what the host's name resolves to: often loopback.
                    "LIBPROCESS_IP": known["address"],
                    **({"LIBPROCESS_PORT": str(args.ports[0])} if args.ports else {}),
                    **args.environment,
                }
            )
        ),
    }


def environment_text(variables: Mapping[str, str]) -> str:
    """Write variables the way systemd reads an EnvironmentFile, see systemd.exec(5)."""
    return "\n".join(f'{name}="{quoted(text)}"' for name, text in sorted(variables.items()))


def quoted(text: str) -> str:
    """Escape what means something between systemd's double quotes."""
    return "".join(f"\\{letter}" if letter in '\\"`$' else letter for letter in text)
