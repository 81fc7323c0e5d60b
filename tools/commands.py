"""The command line: one subcommand for each target of the Makefile, and some for programs."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from tools import (
    checks,
    doctor,
    engine,
    install,
    labs,
    machine,
    packing,
    places,
    release,
    setup,
    stack,
    state,
)
from tools.errors import ToolsError
from tools.mesos import archive
from tools.programs import named, programs

Given = argparse.Namespace


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; 1 with one message when it cannot be done."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given) or 0)
    except ToolsError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        return 130


def _set_up(given: Given) -> None:
    setup.set_up(given.stack, tests=given.tests, refresh=given.refresh)


def _up(given: Given) -> None:
    stack.check_root(given.stack)
    setup.set_up(given.stack)
    stack.up(given.stack)


def _preview(given: Given) -> None:
    setup.set_up(given.stack)
    stack.preview(given.stack)


def _down(given: Given) -> None:
    stack.check_root(given.stack)
    setup.set_up(given.stack)
    stack.down(given.stack)


def _env(given: Given) -> None:
    """Print what a shell has to do to have pulumi and kubectl."""
    machine.refuse_old_python()
    with_output_elsewhere(lambda: setup.set_up(given.stack))
    with_output_elsewhere(lambda: state.ensure(given.stack))
    for name, value in engine.additions(given.stack).items():
        print(f"export {name}={shlex.quote(value)};")


def with_output_elsewhere(run: Callable[[], None]) -> None:
    """Run with standard output sent to standard error: a shell will evaluate the former."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        run()
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _kubeconfig(given: Given) -> None:
    print(stack.write_kubeconfig(given.stack))


def _enter(given: Given) -> None:
    stack.check_root(given.stack)
    labs.enter(given.stack, given.host, given.command)


def _lock(_: Given) -> None:
    release.write_lock(programs().values())


def _install(given: Given) -> None:
    table = [named(name) for name in given.names] or list(programs().values())
    unsourced = [p.name for p in table if not p.has_sources]
    if unsourced and given.names:
        raise ToolsError(f"{', '.join(unsourced)}: its sources are not in this checkout")
    install.install(table)
    for program in table:
        if program.is_installed:
            print(program.directory)


def _version(given: Given) -> None:
    print(named(given.name).version)


def _mesos_archive(_: Given) -> None:
    """Pack Mesos, and print what a stack file says to use it elsewhere."""
    program = named("mesos")
    with_output_elsewhere(lambda: install.install([program]))
    path, sha256 = archive.pack(program)
    print(f"mesos:\n  source:\n    archive:\n      url: {path}\n      sha256: {sha256}")


def _bundle(given: Given) -> None:
    packing.make(given.stack, given.releases)


def _check(_: Given) -> None:
    checks.run(checks.checks())


def _test(given: Given) -> None:
    setup.set_up("local", tests=True)
    if not given.arguments:
        _check(given)
    checks.test(given.arguments)


def _clean(_: Given) -> None:
    """Remove what belongs to the checkout alone and can be made again."""
    if labs.of("local"):
        raise ToolsError("Stack local has a lab on this machine. First: make down")
    for name in (".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"):
        shutil.rmtree(places.ROOT / name, ignore_errors=True)
    for directory in places.ROOT.rglob("__pycache__"):
        shutil.rmtree(directory, ignore_errors=True)
    print(f"Kept, for other checkouts and the next set-up: {places.cache()}")


def _bench(given: Given) -> int:
    setup.set_up(given.stack, tests=True)
    runner = places.ROOT / "bench/__main__.py"
    if not runner.exists():
        raise ToolsError(f"{runner}: not there.")
    command = [places.VENV / "bin/python", "-m", "bench", given.stack, *given.arguments]
    return subprocess.run(
        command, cwd=places.ROOT, env=engine.environment(given.stack), check=False
    ).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tools", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Given], object], help_: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_)
        command.set_defaults(run=run)
        return command

    def add_of_stack(
        name: str, run: Callable[[Given], object], help_: str
    ) -> argparse.ArgumentParser:
        command = add(name, run, help_)
        command.add_argument("stack", nargs="?", default="local")
        return command

    set_up = add_of_stack("setup", _set_up, "everything that a stack needs on this machine")
    set_up.add_argument("--tests", action="store_true", help="and what tests need")
    set_up.add_argument("--refresh", action="store_true", help="ask again which plugins are real")
    add_of_stack("up", _up, "bring a stack up")
    add_of_stack("preview", _preview, "show what `up` would change")
    add_of_stack("down", _down, "take a stack away")
    add_of_stack("env", _env, "shell lines that make pulumi and kubectl work")
    add_of_stack("kubeconfig", _kubeconfig, "write a stack's kubeconfig, print its path")
    add_of_stack("doctor", lambda given: min(doctor.examine(given.stack), 1), "what is installed")
    bundle = add("bundle", _bundle, "all that machines without the internet need, in one file")
    bundle.add_argument("stack")
    bundle.add_argument("releases", nargs="+", metavar="release")
    enter = add_of_stack("enter", _enter, "a shell, or one command, on a host of a lab")
    enter.add_argument("host")
    enter.add_argument("command", nargs="?", default="", help="for a shell on the host")
    add("lock", _lock, "write releases.lock from the publishers' checksum files")
    add("check", _check, "linters and type checkers")
    add("format", lambda _: checks.formatted(), "bring the code into its form")
    add("test", _test, "checks and tests").add_argument("arguments", nargs=argparse.REMAINDER)
    add("clean", _clean, "remove what belongs to this checkout alone")
    add_of_stack("bench", _bench, "measure").add_argument("arguments", nargs=argparse.REMAINDER)
    add("install", _install, "install programs").add_argument("names", nargs="*")
    add("mesos-archive", _mesos_archive, "pack the lab's build of Mesos; prints path and sha256")
    add("version", _version, "a program's version").add_argument("name")
    km = add("km", _install, "pack km; prints its directory")
    km.set_defaults(names=["km"])
    return parser
