"""Questions to many hosts before anything is changed on any of them.

``require`` is called at the edge, by ``__main__.py``, in preview and up alike. It only reads. It
either raises one error with all problems of all hosts, or says what each host remembers of us and
what of it is no longer as our recipes left it. Machines that the program makes are asked by an
``Asker`` instead, when they are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pulumi
from pydantic import BaseModel

from preflight import drift, lab
from preflight.ask import Answer, ask
from preflight.asker import Asker
from preflight.hosts import NO_MORE, Chosen, chosen, targets
from preflight.judge import concerns, judge, newcomers
from preflight.problems import Problem, table
from preflight.stock import lacking, stock
from preflight.targets import Target
from stacks.metal_settings import MetalHostsSettings
from stacks.settings import LabHosts

__all__ = [
    "Asker",
    "Finding",
    "Findings",
    "PreflightError",
    "check",
    "chosen",
    "finding",
    "require",
]


class PreflightError(pulumi.RunError):
    """Hosts that cannot be made, or become or stay part of the cluster; nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What preflight knows of one host."""

    member: bool = False
    """It already belongs to this cluster: changing it disturbs what runs there."""

    repairs: Mapping[str, str] = field(default_factory=dict)
    """Recipe → the words of its last or next repair; part of the recipe's inputs."""

    differences: tuple[str, ...] = ()
    """What is not as our recipes left it, one sentence each."""


Findings = Mapping[str, Finding]
"""By host name; empty where hosts cannot be asked because the program makes them itself."""


def require(
    hosts: BaseModel, default_cluster: str, images: Sequence[str], more: Chosen = NO_MORE
) -> Findings:
    """Ask all hosts of ``cluster.hosts``, in parallel, and judge their answers.

    Hosts that the program makes on this machine cannot be asked; whether they fit can.

    Args:
        hosts: The setting.
        default_cluster: What the cluster is called where the setting does not say it.
        images: What nodes should have before pods ask for it.
        more: What runs on control hosts because the stack file asks for it.

    Raises:
        PreflightError: something is wrong with at least one host, or the lab does not fit.
    """
    if isinstance(hosts, LabHosts) and (why := lab.refusal(hosts, pulumi.get_stack())):
        raise PreflightError(why)
    if not isinstance(hosts, MetalHostsSettings):
        return {}
    answers, problems = check(hosts, default_cluster, images, more)
    if problems:
        raise PreflightError(message(problems, len(answers)))
    for concern in concerns(answers):
        pulumi.warn(concern)
    for newcomer in newcomers(answers, hosts.cluster_id or default_cluster):
        pulumi.info(newcomer)
    found = {answer.target.name: finding(answer) for answer in answers}
    for name, one in found.items():
        for difference in one.differences:
            pulumi.warn(f"{name}: {difference}; {drift.outlook(difference)}")
    return found


def check(
    hosts: MetalHostsSettings,
    default_cluster: str,
    images: Sequence[str],
    more: Chosen = NO_MORE,
) -> tuple[list[Answer], list[Problem]]:
    """Ask and judge, without raising."""
    answers = asked(targets(hosts, more))
    problems = judge(answers, hosts.cluster_id or default_cluster)
    missing = lacking(answers, images, stock(hosts.bundle)) if hosts.bundle else ()
    return answers, [*problems, *missing]


def asked(whom: Sequence[Target]) -> list[Answer]:
    """Ask from inside a program: Pulumi has an event loop there, asyncssh gets one in a thread."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(ask, whom).result()


def finding(answer: Answer) -> Finding:
    facts, recipes = answer.facts, answer.target.recipes
    if facts is None:
        return Finding()
    return Finding(
        member=facts.cluster is not None,
        repairs=drift.repairs(facts, recipes, answer.target.chosen),
        differences=tuple(drift.found(facts, recipes)),
    )


def message(problems: list[Problem], asked: int) -> str:
    bad = len({problem.host for problem in problems})
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return f"{count} on {bad} of {asked} hosts; nothing was changed on any host.\n{table(problems)}"
