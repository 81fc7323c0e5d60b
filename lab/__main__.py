"""`python3 -m lab`: hosts and networks on this machine. Specs come as JSON on standard input."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from lab import base, capacity, host, images, inventory, network, shell, spec
from lab.commands import say
from lab.errors import LabError


def main() -> int:
    """Do what the command line says; 1 with one message on standard error when it cannot be."""
    arguments = _parser().parse_args()
    run: Callable[[argparse.Namespace], Any] = arguments.run
    try:
        result = run(arguments)
    except LabError as error:
        say(f"lab: {error}")
        return 1
    if result is not None:
        print(json.dumps(result, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for name, help_, up, down in (
        ("network", "a bridge with a /24 of its own", _network_up, _network_down),
        ("host", "one host, ready when sshd answers", _host_up, _host_down),
    ):
        actions = commands.add_parser(name, help=help_).add_subparsers(required=True)
        actions.add_parser("up", help="make it, or bring it to what the spec says").set_defaults(
            run=up
        )
        actions.add_parser("down", help="remove it and all that is in it").set_defaults(run=down)
        if name == "host":
            cut = actions.add_parser("cut", help="take its power away; `up` starts it again")
            cut.set_defaults(run=_host_cut)

    up_ = commands.add_parser("up", help="start the recorded hosts of a lab that do not run")
    up_.add_argument("--lab", required=True)
    up_.set_defaults(run=_up)
    down_ = commands.add_parser("down", help="remove a lab, or all that nobody runs any more")
    which = down_.add_mutually_exclusive_group(required=True)
    which.add_argument("--lab", metavar="ID")
    which.add_argument("--all-dead", action="store_true")
    down_.add_argument("--owner", default="", help="with --all-dead: only whose owner begins so")
    down_.set_defaults(run=_down)
    commands.add_parser("check", help="whether a whole lab fits; makes nothing").set_defaults(
        run=_check
    )
    commands.add_parser("list", help="every lab with its hosts, as JSON").set_defaults(
        run=lambda _: inventory.listing()
    )
    enter = commands.add_parser("enter", help="a shell, or one command, on a host")
    enter.add_argument("--lab", required=True, metavar="ID")
    enter.add_argument("host")
    enter.add_argument("command", nargs=argparse.REMAINDER)
    enter.set_defaults(run=_enter)
    base_ = commands.add_parser("base", help="build base filesystems into the cache")
    base_.add_argument("names", nargs="*", default=["bookworm"], metavar="NAME")
    base_.add_argument("--check", action="store_true", help="build nothing; fail if one is missing")
    base_.set_defaults(run=_base)
    images_ = commands.add_parser("images", help="pack container images into the cache")
    images_.add_argument("versions", nargs="*", metavar="PROGRAM=VERSION", type=_version)
    images_.set_defaults(run=lambda given: images.ensure_images(dict(given.versions)))
    return parser


def _version(text: str) -> tuple[str, str]:
    program, equals, version = text.partition("=")
    if not (program and equals and version):
        raise argparse.ArgumentTypeError(f"{text!r} must be PROGRAM=VERSION, such as etcd=3.6.14")
    return program, version


def _base(arguments: argparse.Namespace) -> list[str]:
    if arguments.check:
        for path in map(base.base_path, arguments.names):
            if not path.is_dir():
                raise LabError(f"{path} is not built yet; run: python3 -m lab base")
    return [str(base.ensure_base(name)) for name in arguments.names]


def _network_up(_: argparse.Namespace) -> dict[str, str]:
    wanted = spec.read_network(sys.stdin.read())
    _need_root()
    return network.up(wanted)


def _network_down(_: argparse.Namespace) -> None:
    wanted = spec.read_network(sys.stdin.read())
    _need_root()
    inventory.remove(wanted.lab)


def _host_up(_: argparse.Namespace) -> dict[str, str]:
    return host.up(spec.read_host(sys.stdin.read()))


def _host_down(_: argparse.Namespace) -> None:
    lab, name = spec.read_host_name(sys.stdin.read())
    _need_root()
    host.down(lab, name)


def _host_cut(_: argparse.Namespace) -> None:
    lab, name = spec.read_host_name(sys.stdin.read())
    _need_root()
    host.cut(lab, name)


def _check(_: argparse.Namespace) -> None:
    wanted = spec.read_lab(sys.stdin.read())
    refusals = list(capacity.lab_refusals(wanted))
    try:
        network.choose(wanted.lab, wanted.network)
    except LabError as error:
        refusals.append(str(error))
    if refusals:
        raise LabError("\n     ".join(refusals))


def _up(arguments: argparse.Namespace) -> list[dict[str, str]]:
    _need_root()
    return inventory.start(spec.check_lab(arguments.lab))


def _down(arguments: argparse.Namespace) -> None:
    _need_root()
    if arguments.all_dead:
        inventory.remove_dead(arguments.owner)
    else:
        inventory.remove(spec.check_lab(arguments.lab))


def _enter(arguments: argparse.Namespace) -> None:
    _need_root()
    shell.enter(spec.check_lab(arguments.lab), arguments.host, arguments.command)


def _need_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab needs root for networks, mounts and control groups; use sudo")


if __name__ == "__main__":
    sys.exit(main())
