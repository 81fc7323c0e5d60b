"""Set-up: everything between an empty machine and a stack that can be brought up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tools import engine, install, labs, machine, places, plugins, state, unpacking, venv
from tools.errors import ToolsError
from tools.programs import Program, architecture, programs
from tools.progress import Steps


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that set-up does unless it is done already."""

    name: str
    what: str
    seconds: int
    is_done: Callable[[], bool]
    run: Callable[[Steps], None]


def set_up(stack: str, *, tests: bool = False, refresh: bool = False, bundled: bool = True) -> None:
    """Bring this machine to where a stack can be brought up (and, if asked, tested).

    Not `bundled`, it takes nothing from the bundle that the stack names: another one is made.
    """
    machine.refuse_old_python()
    on_lab = state.hosts_are_on(stack) == "lab"
    if bundled:
        unpacking.use(stack)
    install.refuse_architecture(programs().values(), architecture())
    machine.ensure(_purposes(on_lab=on_lab, tests=tests))
    steps_to_do = [step for step in _steps(on_lab=on_lab) if not step.is_done()]
    steps = Steps({step.name: step.seconds for step in steps_to_do})
    for step in steps_to_do:
        step.run(steps)
    if not on_lab or os.geteuid() == 0:
        pack_images()  # machines anywhere get them from here: kube2sky is in no registry
    plugins.ensure(refresh=refresh)
    if engine.own_backend() is None:
        places.backend().mkdir(parents=True, exist_ok=True, mode=0o700)
        engine.passphrase_file()


def _purposes(*, on_lab: bool, tests: bool) -> Iterable[str]:
    """What the machine's own packages are needed for: compilers only while something is built."""
    yield "set-up"
    if install.lacking(programs().values()):
        yield "building"
    if on_lab:
        yield "lab"
    if tests:
        yield "tests"
    if tests and os.environ.get("SLOW"):
        yield "slow tests"


def _steps(*, on_lab: bool) -> list[Step]:
    """The virtual environment first: pip, which it has, fetches parts of the programs."""
    steps = [
        Step(
            name="venv",
            what="virtual environment",
            seconds=90,
            is_done=venv.is_ready,
            run=_in_step("venv", "virtual environment .venv: installing", venv.make),
        )
    ]
    steps += [_program(program) for program in programs().values() if program.has_sources]
    if on_lab and os.geteuid() == 0:
        steps.append(
            Step(
                name="base",
                what="root filesystem of lab hosts",
                seconds=70,
                is_done=lambda: labs.run("base", "--check", quiet=True),
                run=_in_step("base", "root filesystem of lab hosts: making", make_base),
            )
        )
    return steps


def make_base() -> None:
    """Build what lab hosts are copies of.

    Raises:
        ToolsError: It could not be built; `lab` has said why.
    """
    if not labs.run("base"):
        raise ToolsError("The root filesystem of lab hosts could not be made (see above).")


def pack_images() -> None:
    """Have the images of today's programs in the cache; a moment when they are there.

    Raises:
        ToolsError: They could not be packed; `lab` has said why.
    """
    versions = [f"{program.name}={program.version}" for program in programs().values()]
    if not labs.run("images", *versions):
        raise ToolsError("The container images could not be packed (see above).")


def _in_step(name: str, what: str, run: Callable[[], None]) -> Callable[[Steps], None]:
    def running(steps: Steps) -> None:
        with steps.step(name, what):
            run()

    return running


def _program(program: Program) -> Step:
    return Step(
        name=program.name,
        what=program.label,
        seconds=program.seconds,
        is_done=lambda: program.is_installed,
        run=lambda steps: install.install_one(program, steps),
    )
