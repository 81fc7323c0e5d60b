"""A headless Chromium, driven through chromedriver's WebDriver interface with nothing but HTTP.

https://www.w3.org/TR/webdriver2/
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx

from tests.control_plane import free_port

PACKAGES = {"chromium": "chromium", "chromedriver": "chromium-driver"}
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)


def missing() -> str:
    """Why no browser can be driven here; empty when one can."""
    lacking = [package for command, package in PACKAGES.items() if shutil.which(command) is None]
    return f"not installed: {', '.join(lacking)} (Debian packages)" if lacking else ""


class Browser:
    """One window."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._session = ""

    async def _say(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = await self._http.request(method, path, json=body)
        value = answer.json()["value"]
        if answer.status_code != 200:
            raise AssertionError(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    async def start(self, profile: Path) -> None:
        options = {
            "binary": shutil.which("chromium"),
            "args": [*FLAGS, f"--user-data-dir={profile}"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        body = {"capabilities": {"alwaysMatch": wanted}}
        self._session = f"/session/{(await self._say('POST', '/session', body))['sessionId']}"

    async def close(self) -> None:
        if self._session:
            await self._say("DELETE", self._session)

    async def open(self, url: str) -> None:
        await self._say("POST", f"{self._session}/url", {"url": url})

    async def run(self, script: str, *arguments: Any) -> Any:
        """What a function with this body returns in the page."""
        body = {"script": script, "args": list(arguments)}
        return await self._say("POST", f"{self._session}/execute/sync", body)

    async def text(self, selector: str = "body") -> str:
        """The text that a reader sees there."""
        return str(
            await self.run("return document.querySelector(arguments[0]).innerText", selector)
        )

    async def until(self, selector: str, good: Callable[[str], object], seconds: float = 15) -> str:
        """Wait for a text, and give it."""
        for _ in range(int(seconds * 10)):
            seen = await self.text(selector)
            if good(seen):
                return seen
            await asyncio.sleep(0.1)
        raise AssertionError(f"{selector} still shows after {seconds:g} s:\n{seen}")

    async def look(self, *, width: int, height: int, dark: bool = False) -> None:
        """Set the size of the screen, and whether its owner likes it dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._tell_chromium("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._tell_chromium("Emulation.setEmulatedMedia", {"features": [scheme]})

    async def _tell_chromium(self, command: str, parameters: dict[str, Any]) -> None:
        body = {"cmd": command, "params": parameters}
        await self._say("POST", f"{self._session}/goog/cdp/execute", body)

    async def screenshot(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(await self._say("GET", f"{self._session}/screenshot"))

    async def complaints(self) -> list[str]:
        """What the page made the browser complain about: errors, refused by its policy, …"""
        entries = await self._say("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries]


def start_driver(port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["chromedriver", f"--port={port}"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # its browser is in the same group, and ends with it
    )


@asynccontextmanager
async def browser(directory: Path) -> AsyncIterator[Browser]:
    """A fresh browser with a profile of its own; no process of it outlives the block."""
    port = free_port()
    with (directory / "chromedriver.log").open("wb") as log:
        driver = start_driver(port, log)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False
        ) as http:
            await _until_it_answers(http)
            made = Browser(http)
            await made.start(directory / "profile")
            yield made
            await made.close()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()


async def _until_it_answers(http: httpx.AsyncClient) -> None:
    for _ in range(200):
        with suppress(httpx.TransportError):
            if (await http.get("/status")).status_code == 200:
                return
        await asyncio.sleep(0.1)
    raise AssertionError("chromedriver does not answer")
