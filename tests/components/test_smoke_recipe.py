"""The recipe of the smoke test itself, with a kubectl that answers what it is told to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from components import dns_answer
from components.recipe import render, script

RIGHT = """\
Server:\t\t10.10.10.10
Address:\t10.10.10.10:53

Name:\tkubernetes.default.svc.cluster.local
Address: 10.10.10.1

** server can't find kubernetes.cluster.local: NXDOMAIN
"""
OTHER_ADDRESS = RIGHT.replace("10.10.10.1\n", "10.10.10.99\n")
OTHER_SERVER = RIGHT.replace("10.10.10.10", "8.8.8.8")
NO_ANSWER = "nslookup: can't resolve 'kubernetes'\n"
NO_POD = 'Error from server (NotFound): pods "busybox" not found\n'

KUBECTL = """\
#!/bin/sh
echo "$*" >>{asked}
number=$(wc -l <{asked})
[ -e {answers}/$number ] || number=last
cat {answers}/$number
echo 'command terminated with exit code 1' >&2
exit 1
"""
"""busybox exits 1 also with a right answer, because other search domains have no such name."""

Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run the recipe with these answers, the last one for ever, and perhaps not a minute to wait
    for a better one."""

    def run(*answers: str, seconds: int = 60) -> subprocess.CompletedProcess[str]:
        told = tmp_path / "answers"
        told.mkdir()
        for number, answer in enumerate(answers, start=1):
            (told / str(number)).write_text(answer)
        (told / "last").write_text(answers[-1])
        kubectl = tmp_path / "opt/bin/kubectl"
        kubectl.parent.mkdir(parents=True)
        kubectl.write_text(KUBECTL.format(asked=tmp_path / "asked", answers=told))
        kubectl.chmod(0o755)
        return subprocess.run(
            ["bash", "-s", "--", "up"],
            input=recipe(seconds),
            capture_output=True,
            text=True,
            check=False,
        )

    def recipe(seconds: int) -> str:
        text = script("smoke-test")
        assert text.count("try_until 60 right") == 1
        text = text.replace("try_until 60 right", f"try_until {seconds} right")
        for there, here in (("/etc", "etc"), ("/opt", "opt"), ("/var/lib", "var")):
            text = text.replace(f"{there}/kubernetes-mesos", str(tmp_path / here))
        values = {
            "RECIPE": "smoke-test",
            "SMOKE_POD": "busybox",
            "SMOKE_POD_UID": "1",
            "SMOKE_NAMESPACE": "default",
            "SMOKE_NAME": "kubernetes",
            "SMOKE_SERVER": "10.10.10.10",
            "SMOKE_ADDRESS": "10.10.10.1",
            "SMOKE_JUDGE": Path(dns_answer.__file__).read_text(),
        }
        return render(text, values)

    return run


def test_the_right_answer_is_what_the_recipe_prints(ask: Ask, tmp_path: Path) -> None:
    done = ask(RIGHT)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == RIGHT.strip()
    asked = f"--kubeconfig {tmp_path}/etc/kubernetes/admin.kubeconfig --namespace default"
    assert (tmp_path / "asked").read_text() == f"{asked} exec busybox -- nslookup kubernetes\n"


def test_it_asks_again_until_the_answer_is_right(ask: Ask, tmp_path: Path) -> None:
    done = ask(NO_POD, NO_ANSWER, RIGHT)

    assert done.returncode == 0
    assert done.stdout.strip() == RIGHT.strip()
    assert len((tmp_path / "asked").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (OTHER_ADDRESS, "got 10.10.10.99, expected 10.10.10.1"),
        (OTHER_SERVER, "answered by 8.8.8.8, expected 10.10.10.10"),
        (NO_ANSWER, "answered by nobody, expected 10.10.10.10"),
        (NO_POD, "answered by nobody, expected 10.10.10.10"),
        ("", "answered by nobody, expected 10.10.10.10"),
    ],
    ids=["another address", "another server", "no answer", "no pod", "nothing"],
)
def test_an_answer_that_stays_wrong_fails_with_what_was_got(
    ask: Ask, answer: str, verdict: str
) -> None:
    done = ask(answer, seconds=1)

    assert done.returncode == 1
    assert done.stdout == ""
    assert (
        f"nslookup kubernetes: {verdict}; the pod's answer was:\n{answer.rstrip()}" in done.stderr
    )
