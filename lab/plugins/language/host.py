# ruff: noqa: N802, ARG002 -- names and parameters of the service's methods are gRPC's
"""The language host: runs programs, component plugins and policy packs written in Python.

A stand-in for pulumi-language-python with the `pip` toolchain. The engine starts it with its
address, reads the port from the first line of stdout and speaks the LanguageRuntime service. What a
program prints becomes messages of the stack.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from lab.plugins.language.environment import (
    environment,
    host_python,
    python_of,
    semver,
    site_packages,
    venv_of,
    version_of,
)
from lab.plugins.language.processes import Children
from lab.plugins.protocol import NO_LIMIT, grpc, messages, well_known

pb = messages("language_pb2")
pb_grpc = messages("language_pb2_grpc")
plugin_pb2 = messages("plugin_pb2")
Empty = well_known("empty_pb2").Empty

SHIM = Path(__file__).parents[3] / "pulumi-language-python-exec"
"""Pulumi's own script around a program; `install` puts it beside the copy of this code."""

ALREADY_REPORTED = 32
"""Exit code of that script after it has shown the error itself."""


def aborts(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an exception into a gRPC error whose text is the message, without a traceback."""

    def wrapped(self: LanguageHost, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    return wrapped


class LanguageHost(pb_grpc.LanguageRuntimeServicer):  # type: ignore[misc,name-defined]
    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.children = Children()

    def Handshake(self, request: Any, context: Any) -> Any:
        self.engine = request.engine_address
        return pb.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=version("pulumi"))

    @aborts
    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        """The provider plugins that the program's SDK packages name."""
        packages = []
        for file in sorted(site_packages(request.info).glob("*/pulumi-plugin.json")):
            plugin = json.loads(file.read_text())
            named = file.parent.name.removeprefix("pulumi_").replace("_", "-")
            if plugin.get("resource"):
                packages.append(
                    plugin_pb2.PackageDependency(
                        name=plugin.get("name") or named,
                        kind="resource",
                        version=semver(plugin.get("version", "")),
                        server=plugin.get("server") or "",
                    )
                )
        return pb.GetRequiredPackagesResponse(packages=packages)

    @aborts
    def Run(self, request: Any, context: Any) -> Any:
        flags = {
            "monitor": request.monitor_address,
            "engine": self.engine,
            "project": request.project,
            "root_directory": request.info.root_directory,
            "stack": request.stack,
            "pwd": request.pwd,
            "dry_run": "true" if request.dryRun else "",
            "parallel": str(request.parallel),
            "organization": request.organization,
        }
        options = [part for name, value in flags.items() if value for part in (f"--{name}", value)]
        program = Path(request.info.program_directory) / request.info.entry_point
        command = [python_of(request.info), "-u", str(SHIM), *options, str(program)]
        config = {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        env = environment(request.info, config.items())
        code = self.children.run([*command, *request.args], env, context)
        if code == ALREADY_REPORTED:
            return pb.RunResponse(bail=True)
        error = f"program exited with non-zero exit code: {code}" if code else ""
        return pb.RunResponse(error=error)

    def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
        """A component plugin (`kind` resource) or a policy pack (`kind` analyzer)."""
        directory = request.info.program_directory
        command = [python_of(request.info), "-u"]
        if request.kind == "analyzer":
            command += ["-m", "pulumi.policy", *request.args, directory]
        elif (Path(directory) / "__main__.py").exists():
            command += [directory, *request.args]
        else:
            command += ["-m", "pulumi.run.plugin", Path(directory).name, *request.args]
        env = environment(request.info, (item.split("=", 1) for item in request.env))
        cwd = directory if request.kind == "analyzer" else request.pwd
        code = yield from self.children.stream(command, env, cwd, context, pb.RunPluginResponse)
        yield pb.RunPluginResponse(exitcode=code)

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        directory = Path(request.info.program_directory or request.directory)
        venv = venv_of(request.info)
        python = host_python()
        if venv:
            python = str(venv / "bin" / "python")
            if not Path(python).exists():
                yield pb.InstallDependenciesResponse(stdout=f"Creating {venv}\n".encode())
                yield from self.checked(
                    [host_python(), "-m", "venv", str(venv)], directory, context
                )
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
        if (directory / "requirements.txt").exists():
            yield from self.checked([*pip, "-r", "requirements.txt"], directory, context)
        elif (directory / "pyproject.toml").exists():
            yield from self.checked([*pip, "-e", "."], directory, context)

    def checked(self, command: list[str], cwd: Path, context: Any) -> Iterator[Any]:
        """Run a command of an installation; its failure is the call's."""
        code = yield from self.children.stream(
            command, os.environ, str(cwd), context, pb.InstallDependenciesResponse
        )
        if code:
            status = f"{' '.join(command)} exited with status {code}"
            context.abort(grpc.StatusCode.UNKNOWN, status)

    @aborts
    def About(self, request: Any, context: Any) -> Any:
        python = python_of(request.info)
        return pb.AboutResponse(executable=python, version=version_of(python))

    @aborts
    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        packages = distributions(path=[str(site_packages(request.info))])
        found = {package.name: package.version for package in packages}
        names = sorted(found, key=str.lower)
        dependencies = [pb.DependencyInfo(name=name, version=found[name]) for name in names]
        return pb.GetProgramDependenciesResponse(dependencies=dependencies)

    def Cancel(self, request: Any, context: Any) -> Any:
        self.children.end()
        return Empty()


def serve_language_host(engine: str) -> None:
    """Run until the engine says so (it sends SIGINT) or is gone."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=NO_LIMIT)
    host = LanguageHost(engine)
    pb_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(port, flush=True)
    parent = os.getppid()
    while not stop.wait(1) and os.getppid() == parent:
        pass
    host.children.end()
    server.stop(grace=0)
