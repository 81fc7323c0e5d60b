"""The status page as people see it: a real browser, the real server, a real core's data."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from km.status.app import status_app
from km.status.metrics import Metrics
from km.status.serve import listen, serve
from tests.km.status import browser as browsers
from tests.km.status.browser import Browser
from tests.km.status.scene import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    if reason := browsers.missing():
        pytest.skip(reason)
    async with browsers.browser(tmp_path) as made:
        yield made


@pytest.fixture
async def served() -> AsyncIterator[Callable[..., str]]:
    """Serve a status page; give its URL."""
    servers = []

    def start(status: Callable[[], dict[str, Any]]) -> str:
        listener = listen("127.0.0.1", 0)
        app = status_app(metrics=Metrics(), status=status, ready=lambda: "")
        servers.append(asyncio.ensure_future(serve(app, listener)))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield start
    for server in servers:
        server.cancel()
    await asyncio.gather(*servers, return_exceptions=True)


def keep(name: str) -> Path | None:
    """Where a screenshot goes, if somebody wants them."""
    directory = os.environ.get("KUBERNETES_MESOS_SCREENSHOTS")
    return Path(directory) / f"{name}.png" if directory else None


async def rows(browser: Browser, place: str) -> list[list[str]]:
    """A table's cells, as a reader sees them."""
    script = """return [...document.querySelectorAll(arguments[0] + " tbody tr")].map(
        (row) => [...row.cells].map((cell) => cell.innerText))"""
    found: list[list[str]] = await browser.run(script, place)
    return found


async def test_nodes_their_holders_and_waiting_pods_are_shown(
    browser: Browser, served: Callable[..., str], scene: Scene
) -> None:
    await browser.open(served(scene.page))
    await browser.until("#nodes", lambda text: "agent-4" in text)

    nodes = {row[0]: row for row in await rows(browser, "#nodes")}
    assert list(nodes) == ["agent-1", "agent-2", "agent-3", "agent-4"]
    assert [row[1] for row in nodes.values()] == ["ready", "ready", "ready", "agent"]
    assert nodes["agent-1"][2:5] == ["6", "3 of 8", "3 GiB of 16 GiB"]
    assert nodes["agent-3"][5].split("\n") == [
        "spark: 2.5 cpus, 6 GiB", "chronos: 1 cpus, 512 MiB",
    ]  # fmt: skip
    assert nodes["agent-2"][6] == "5.08 cpus, 9.23 GiB"

    (pending,) = await rows(browser, "#pending")
    assert pending[:3] == ["default/analytics-0", "6 cpus, 4 GiB", "95 s"]
    assert "agent-2 offered 5.08 of 6 cpus, held by spark" in pending[3]

    holders = await browser.text("#shares .legend")
    assert " ".join(holders.split()) == (
        "pods 4.31 cpus, 5.59 GiB nodes themselves 0.33 cpus, 579 MiB "
        "chronos 1 cpus, 512 MiB spark 5 cpus, 12 GiB free 21.36 cpus, 45.35 GiB"
    )
    assert "subscribed to 10.90.7.10:5050" in await browser.text("#mesos")
    assert await browser.run("return document.title") == "(1) km · Kubernetes"
    assert await browser.complaints() == []


async def test_bars_are_as_long_as_what_is_held(
    browser: Browser, served: Callable[..., str], scene: Scene
) -> None:
    await browser.open(served(scene.page))
    await browser.until("#nodes", lambda text: "agent-4" in text)
    widths: list[float] = await browser.run(
        """const row = document.querySelectorAll("#nodes tbody tr")[2];
        const bar = row.cells[3].querySelector(".bar");
        const whole = bar.getBoundingClientRect().width;
        return [...bar.children].map((part) => part.getBoundingClientRect().width / whole)"""
    )

    # Of 8 cpus of agent-3: pods 1, the node itself 0.11, Spark 2.5, Chronos 1.
    assert widths == [pytest.approx(part / 8, abs=0.01) for part in (1, 0.11, 2.5, 1)]


async def test_what_changes_shows_by_itself(
    browser: Browser, served: Callable[..., str], scene: Scene
) -> None:
    await browser.open(served(scene.page))
    await browser.until("#nodes", lambda text: "agent-4" in text)
    await browser.run("document.querySelector('#nodes details').open = true; window.same = true")

    scene.drain("agent-3")
    scene.ask("default/analytics-1", 7, 1024)
    scene.run("default/late", "agent-2", 1, 512)
    await browser.until("#pending", lambda text: "default/analytics-1" in text)

    nodes = await rows(browser, "#nodes")
    assert nodes[0][:2] == ["agent-3", "draining"]
    assert nodes[0][7] == "Mesos drains the agent"
    assert {row[0]: row[2].split("\n")[0] for row in nodes}["agent-2"] == "2"
    assert len(await rows(browser, "#pending")) == 2
    assert await browser.run("return window.same"), "the page was not loaded anew"
    assert "default/guestbook-5" in await browser.text("#nodes"), "what was opened stays open"


async def test_a_name_is_text_and_never_markup(
    browser: Browser, served: Callable[..., str], scene: Scene
) -> None:
    page = scene.page()
    page["pending"][0]["reason"] = "<img src=x onerror='window.hit=1'><b>bold</b>"
    await browser.open(served(lambda: page))
    await browser.until("#pending", lambda text: "<b>bold</b>" in text)

    images = "return window.hit || document.querySelectorAll('#pending img').length"
    assert await browser.run(images) == 0


async def test_a_standby_names_the_leader_and_an_old_page_says_so(
    browser: Browser, served: Callable[..., str], scene: Scene
) -> None:
    answers: list[Any] = [{"version": "1", "leading": False, "leader": "other", "identity": "me"}]

    def status() -> dict[str, Any]:
        if not answers:
            raise RuntimeError("away")
        found: dict[str, Any] = answers[0]
        return found

    await browser.open(served(status))
    await browser.until("#role", lambda text: text == "standing by; leader: other")
    assert not await browser.run("return document.getElementById('leading').checkVisibility()")

    answers[0] = scene.page()
    await browser.until("#role", lambda text: text == "leading as control-1_812_5f0c")
    answers.clear()
    await browser.until("#trouble", lambda text: "what is shown is old" in text)
    assert "agent-1" in await browser.text("#nodes")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 900, 1280])
async def test_the_page_fits_every_screen(
    browser: Browser, served: Callable[..., str], scene: Scene, width: int, dark: bool
) -> None:
    scene.drain("agent-3")
    await browser.look(width=width, height=1500, dark=dark)
    await browser.open(served(scene.page))
    await browser.until("#nodes", lambda text: "agent-4" in text)

    wide = await browser.run("return document.documentElement.scrollWidth")
    assert wide <= width, "nobody has to scroll sideways"
    hidden = """return [...document.querySelectorAll(".card")]
        .filter((card) => card.scrollWidth > card.clientWidth).map((card) => card.id)"""
    assert await browser.run(hidden) == []
    if path := keep(f"{width}-{'dark' if dark else 'light'}"):
        path.write_bytes(await browser.screenshot())
    assert await contrast(browser, "body") > 7
    for place in (".soft", ".chip.good", ".chip.busy", "td", "th"):
        assert await contrast(browser, f"#leading {place}") > 4.5, place


async def contrast(browser: Browser, selector: str) -> float:
    """How well a text stands out from its ground (WCAG 2: 4.5 is enough, 7 is good)."""
    script = """
      const read = (color) => color.match(/[\\d.]+/g).map(Number);
      const light = (color) => {
        const [r, g, b] = read(color).map((part) => part / 255)
          .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const element = document.querySelector(arguments[0]);
      let ground = element;
      const behind = (place) => getComputedStyle(place).backgroundColor;
      while (read(behind(ground))[3] === 0) ground = ground.parentElement;
      const pair = [light(getComputedStyle(element).color), light(behind(ground))];
      return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);"""
    found: float = await browser.run(script, selector)
    return found
