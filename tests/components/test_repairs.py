"""What a recipe is told to repair, and what stays as it is where nobody could be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from pulumi_command import local

from components.recipe import run_recipe
from components.repairs import asked, kept_if_silent, told
from tests.components.machines import host

UP = "timeout --kill-after=10 900 bash -s -- up"


@pytest.mark.parametrize(
    ("repairs", "line"),
    [
        pytest.param({}, "run up", id="nothing"),
        pytest.param({"etcd": "repair 1: x"}, "run up", id="another recipe"),
        pytest.param({"demo": "repair 2: it's"}, """run up 'repair 2: it'"'"'s'""", id="words"),
        pytest.param(None, "run up", id="silent"),
    ],
)
@pytest.mark.parametrize("later", [False, True], ids=["known", "output"])
def test_a_command_gets_the_words_of_its_recipe(
    run: Any, repairs: Mapping[str, str] | None, line: str, later: bool
) -> None:
    given = pulumi.Output.from_input(repairs) if later or repairs is None else repairs

    assert run(lambda: told("run up", "demo", given)) == line


def transform(repairs: Mapping[str, str] | None) -> pulumi.ResourceTransformResult | None:
    async def body() -> pulumi.ResourceTransformResult | None:
        (keep,) = kept_if_silent(pulumi.Output.from_input(repairs)).transforms or []
        opts = pulumi.ResourceOptions(protect=True, ignore_changes=["stdin"])
        args = pulumi.ResourceTransformArgs(
            custom=True, type_="command:local:Command", name="x", props={"create": "a"}, opts=opts
        )
        found: Any = keep(args)
        return await found

    return asyncio.run(body())


def test_a_silent_host_keeps_its_command_and_everything_else_changes() -> None:
    kept = transform(None)

    assert kept is not None
    assert kept.props == {"create": "a"}
    assert kept.opts.ignore_changes == ["stdin", "create"]
    assert kept.opts.protect is True


@pytest.mark.parametrize("repairs", [{}, {"demo": "repair 1: x"}])
def test_a_host_that_answers_keeps_nothing(repairs: Mapping[str, str]) -> None:
    assert transform(repairs) is None


def test_where_the_words_are_known_beforehand_nothing_is_kept() -> None:
    assert kept_if_silent({"demo": "repair 1: x"}).transforms is None


def test_a_host_is_asked_after_what_it_waits_for_and_what_it_says_is_no_secret(
    recorder: Any, run: Any
) -> None:
    asked_with: list[Any] = []

    async def ask(name: str, roles: Any, way: Any) -> dict[str, str]:
        asked_with.append((name, roles, way, [made.name for made in recorder.made]))
        return {"zookeeper": "repair 1: x"}

    def program() -> pulumi.Output[Any]:
        first = local.Command("machine")
        way = {"address": pulumi.Output.secret("10.0.0.1"), "bastion": {"port": 22}}
        repairs = asked(ask, "control-1", {"control"}, way, [first])
        made = run_recipe(
            "zookeeper-control-1",
            "zookeeper",
            host("control-1", repairs=repairs),
            {},
            pulumi.ResourceOptions(),
        )
        return pulumi.Output.all(made.id, pulumi.Output.from_input(repairs.is_secret()))

    (_, secret) = run(program)

    way = {"address": "10.0.0.1", "bastion": {"port": 22}}
    assert asked_with == [("control-1", {"control"}, way, ["machine"])]
    assert secret is False
    assert recorder["zookeeper-control-1"].inputs["create"] == f"{UP} 'repair 1: x'"
    assert recorder["zookeeper-control-1"].depends_on == ("machine",)
    assert recorder["zookeeper-control-1"].transforms == 1


def test_what_only_undoes_has_no_command_to_keep(recorder: Any, run: Any) -> None:
    run(
        lambda: (
            run_recipe(
                "departure-control-1",
                "departure",
                host("control-1", repairs=pulumi.Output.from_input(None)),
                {},
                pulumi.ResourceOptions(),
                only_down=True,
            ).id
        )
    )

    assert "create" not in recorder["departure-control-1"].inputs
    assert recorder["departure-control-1"].transforms == 0
