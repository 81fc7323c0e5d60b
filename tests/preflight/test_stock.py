"""Machines without the internet get what is here; what is not is a problem beforehand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from preflight.ask import Answer
from preflight.stock import Stock, lacking, stock
from tests.preflight.test_judge import GOOD, TARGET

PAUSE, BUSYBOX = "registry.k8s.io/pause:3.10", "docker.io/library/busybox:1.35"
OWN = "registry.lan/busybox:1.35"


def on(version: str, system: str = "debian") -> Answer:
    return Answer(target=TARGET, facts=dataclasses.replace(GOOD, os_id=system, os_version=version))


@pytest.mark.parametrize(
    ("answer", "images", "found", "remedy"),
    [
        (on("12"), [PAUSE], None, None),
        (on("13"), [PAUSE], "no bundle for trixie", "make bundle RELEASE=trixie"),
        (on("22.04", "ubuntu"), [], "no bundle for jammy", "make bundle RELEASE=jammy"),
        (on("11"), [PAUSE], None, None),
        (Answer(target=TARGET, failure="connect"), [PAUSE], None, None),
        (on("12"), [PAUSE, BUSYBOX], f"no {BUSYBOX} in the cache", "make setup"),
        (on("12"), [PAUSE, OWN], None, None),
    ],
)
def test_what_is_not_here_is_a_problem(
    answer: Answer, images: list[str], found: str | None, remedy: str | None
) -> None:
    has = Stock(bundles={"bookworm"}, images={PAUSE})

    problems = list(lacking([answer], images, has))

    assert [problem.found for problem in problems] == ([found] if found else [])
    assert all(remedy and remedy in problem.remedy for problem in problems)


def test_a_release_that_a_file_does_not_have_is_packed_with_the_others() -> None:
    has = Stock(bundles={"trixie"}, images={PAUSE}, file="/b.tar")

    (problem,) = lacking([on("12"), on("13")], [PAUSE], has)

    assert problem.found == "no packages of bookworm in /b.tar"
    assert 'make bundle RELEASE="bookworm trixie"' in problem.remedy


def test_of_a_file_that_is_of_no_use_nothing_else_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path))
    has = stock(f"{tmp_path}/b.tar")

    (problem,) = lacking([on("12"), on("13")], [PAUSE], has)

    assert problem.found == f"{tmp_path}/b.tar: No such file or directory"
    assert "make setup" in problem.remedy
