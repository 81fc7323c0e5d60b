"""The children of a language host: the program, a plugin, pip. None outlives it."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any, BinaryIO, cast

GRACE_SECONDS = 5


class Children:
    def __init__(self) -> None:
        self.running: set[subprocess.Popen[bytes]] = set()

    def end(self) -> None:
        """Ask all children to end, then make them."""
        for child in (children := list(self.running)):
            child.terminate()
        for child in children:
            try:
                child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()

    def run(self, command: list[str], env: Mapping[str, str], context: Any) -> int:
        """Run a command whose output is ours; returns its exit code. It ends with the call."""
        child = subprocess.Popen(command, env=env)
        self.running.add(child)
        context.add_callback(lambda: stop(child))
        try:
            return child.wait()
        finally:
            self.running.discard(child)

    def stream(
        self,
        command: list[str],
        env: Mapping[str, str],
        cwd: str,
        context: Any,
        response: Callable[..., Any],
    ) -> Generator[Any, None, int]:
        """Run a command and yield its output as responses; the value is its exit code."""
        pipe = subprocess.PIPE
        child = subprocess.Popen(command, env=env, cwd=cwd, stdout=pipe, stderr=pipe)
        self.running.add(child)
        context.add_callback(lambda: stop(child))
        output: queue.Queue[Any] = queue.Queue()

        def pump(field: str, source: BinaryIO) -> None:
            while data := os.read(source.fileno(), 65536):
                output.put(response(**{field: data}))
            output.put(None)

        for field, source in (("stdout", child.stdout), ("stderr", child.stderr)):
            arguments = (field, cast("BinaryIO", source))
            threading.Thread(target=pump, args=arguments, daemon=True).start()
        for _ in range(2):
            yield from iter(output.get, None)
        code = child.wait()
        self.running.discard(child)
        return code


def stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
