"""The status server: page, its data, metrics, liveness and readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from km.status.metrics import Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HEADERS = {
    "Cache-Control": "no-store",
    # The page needs nothing but itself.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; img-src data:",
    "X-Content-Type-Options": "nosniff",
}


def status_app(
    *, metrics: Metrics, status: Callable[[], dict[str, Any]], ready: Callable[[], str]
) -> Starlette:
    """Make the ASGI application.

    Args:
        metrics: what /metrics shows.
        status: the content of /status.json, made when somebody asks.
        ready: empty when km does its work (or stands by for it), else what is missing.
    """
    page = files("km.status").joinpath("page.html").read_text(encoding="utf-8")

    async def show_page(_: Request) -> Response:
        return HTMLResponse(page, headers=HEADERS)

    async def show_status(_: Request) -> Response:
        return JSONResponse(status(), headers=HEADERS)

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def alive(_: Request) -> Response:
        # That this is answered shows that the loop turns, which is all there is to liveness.
        await asyncio.sleep(0)
        return PlainTextResponse("ok\n")

    async def show_ready(_: Request) -> Response:
        missing = ready()
        return PlainTextResponse(f"{missing or 'ok'}\n", status_code=503 if missing else 200)

    return Starlette(
        routes=[
            Route("/", show_page),
            Route("/status.json", show_status),
            Route("/metrics", show_metrics),
            Route("/healthz", alive),
            Route("/readyz", show_ready),
        ]
    )
