"""HTTP servers inside km's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


class PortTakenError(OSError):
    """The address cannot be listened on: one line that says which and why."""


def listen(address: str, port: int) -> socket.socket:
    """Take a port now, before anything else is touched. Raises PortTakenError."""
    try:
        family, kind, proto, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(512)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise PortTakenError(
            f"cannot listen on {address}:{port}: {error.strerror or error}"
        ) from error
    listener.setblocking(False)
    return listener


class Server(uvicorn.Server):
    """uvicorn, leaving signals to km."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                http="h11",
                loop="asyncio",
                log_config=None,
                access_log=False,
                # A watch of the page must not keep a stopping km alive.
                timeout_graceful_shutdown=1,
                timeout_keep_alive=75,
            )
        )

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone: uvicorn would take SIGTERM for itself, once per server."""
        yield


async def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until cancelled; then let answers under way finish for a second."""
    server = Server(app)
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        server.should_exit = True
        await running
        raise
