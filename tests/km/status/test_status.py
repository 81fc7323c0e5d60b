"""What km shows: page data, metrics, health, the terminal, the logs."""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import pytest

from km import events as on
from km.core import Core
from km.logs import JsonLines, Logfmt
from km.rules import Rules
from km.status.app import status_app
from km.status.metrics import Metrics
from km.status.serve import PortTakenError, listen
from km.status.terminal import print_status, render
from km.status.view import fill_gauges, fill_shares, page_of
from tests.km.status.scene import Scene

NODE = {
    "name": "agent-1",
    "agent_id": "S0",
    "active": True,
    "phase": "ready",
    "why": "",
    "total": {"cpus": 4, "mem": 4096},
    "ours": {"cpus": 1.11, "mem": 705},
    "promised": {},
    "free": {"cpus": 1.89, "mem": 2367},
    "others": {"spark": {"cpus": 1, "mem": 1024}},
    "offered": {},
    "tasks": 3,
    "pods": ["default/web", "default/db"],
}
AGENT = {**NODE, "name": "agent-2", "phase": "", "ours": {}, "pods": [], "others": {}}
POD = {
    "pod": "default/big",
    "uid": "u1",
    "needs": {"cpus": 8, "mem": 512},
    "since": 1.0,
    "reason": "0/2 nodes: agent-1 has 1.89 of 8 cpus, held by spark",
}
VIEW = {
    "synced": True,
    "suppressed": False,
    "nodes": [AGENT, NODE],
    "pods": [POD],
    "counters": {},
    "totals": {"agents": 2, "offers_held": 1, "nodes_ready": 1},
    "shares": [
        {"holder": "pods", "framework": "", "cpus": 1.0, "mem": 512.0},
        {"holder": "nodes", "framework": "", "cpus": 0.11, "mem": 193.0},
        {"holder": "others", "framework": "spark", "cpus": 1.0, "mem": 1024.0},
        {"holder": "others", "framework": "", "cpus": 0.0, "mem": 0.0},
        {"holder": "free", "framework": "", "cpus": 5.89, "mem": 6463.0},
    ],
}
OVERHEAD = {"cpus": 0.11, "mem": 193}


def page(**base: Any) -> dict[str, Any]:
    mesos = {
        "master": "10.0.0.1:5050",
        "url": "zk://10.0.0.1:2181/mesos",
        "framework": "Kubernetes",
        "framework_id": "F1",
        "roles": ["*"],
    }
    head = {"version": "1", "identity": "me", "leading": True, "leader": "me", "mesos": mesos}
    return {**head, **page_of(VIEW, OVERHEAD, [{"what": "a"}, {"what": "b"}]), **base}


def test_a_nodes_share_is_split_into_pods_and_overhead() -> None:
    nodes = page()["nodes"]

    assert [node["name"] for node in nodes] == ["agent-1", "agent-2"]
    assert nodes[0]["pods"]["count"] == 2
    assert nodes[0]["pods"]["cpus"] == pytest.approx(1.0)
    assert nodes[0]["overhead"] == OVERHEAD
    assert nodes[1]["state"] == "agent"
    assert nodes[1]["overhead"] == {}


def test_the_latest_decision_comes_first() -> None:
    assert [item["what"] for item in page()["recent"]] == ["b", "a"]


def test_the_terminal_shows_nodes_others_and_why_pods_wait() -> None:
    text = render(page())

    assert "km 1, leading as me" in text
    assert "spark   1     1 GiB\nfree    5.89  6.31 GiB" in text
    assert "agent-1  ready  2     1/4   512 MiB/4 GiB  spark: 1 cpus, 1 GiB" in text
    assert "default/big  8 cpus, 512 MiB  0/2 nodes: agent-1 has 1.89 of 8 cpus" in text


def test_the_terminal_says_how_many_nodes_it_does_not_show() -> None:
    shown = page()
    assert "… and" not in render(shown)
    assert "… and 7 more\n" in render({**shown, "agents_total": shown["agents_total"] + 7})


def test_a_standby_says_who_leads() -> None:
    assert "stands by; the leader is other" in render(
        {"version": "1", "leading": False, "leader": "other"}
    )


def test_km_status_says_when_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    from km.cli import status  # noqa: PLC0415

    assert status(["--url=http://127.0.0.1:1"]) == 64
    assert "km status: --url: http://127.0.0.1:1 does not answer" in capsys.readouterr().err
    assert status(["--url=nonsense"]) == 64
    assert "'nonsense' is no URL" in capsys.readouterr().err
    assert print_status is not None


async def ask(path: str, ready: str = "") -> httpx.Response:
    app = status_app(metrics=Metrics(), status=page, ready=lambda: ready)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://km") as http:
        return await http.get(path)


async def test_the_page_stands_alone() -> None:
    answer = await ask("/")

    assert answer.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for foreign in ("http://", "https://", "innerHTML"):
        assert foreign not in answer.text


async def test_status_is_json() -> None:
    assert (await ask("/status.json")).json()["pending_total"] == 1


async def test_health_and_readiness_are_different_things() -> None:
    assert (await ask("/healthz", "not subscribed")).status_code == 200
    answer = await ask("/readyz", "not subscribed")
    assert (answer.status_code, answer.text) == (503, "not subscribed\n")
    assert (await ask("/readyz")).status_code == 200


async def test_metrics_are_what_prometheus_reads() -> None:
    answer = await ask("/metrics")

    assert "km_leader 0.0" in answer.text
    assert 'km_build_info{version="' in answer.text
    assert "process_resident_memory_bytes" in answer.text


def test_gauges_follow_the_core() -> None:
    metrics, core = Metrics(), Core(Rules(), 1)
    fill_gauges(metrics, core.totals(), {"pods.rejected": 3, "action.Revive": 9})
    text = metrics.text().decode()

    assert 'km_nodes{state="ready"} 0.0' in text
    assert 'km_counted{name="pods.rejected"} 3.0' in text
    assert "action.Revive" not in text


def test_who_holds_what_is_measured_and_adds_up() -> None:
    metrics, scene = Metrics(), Scene()
    fill_shares(metrics, scene.stage.core.shares())
    text = metrics.text().decode()

    assert 'km_cpus{framework="spark",holder="others"} 5.0' in text
    assert 'km_cpus{framework="",holder="pods"} 4.31' in text
    assert 'km_memory_bytes{framework="chronos",holder="others"} 5.36870912e+08' in text
    shares = scene.page()["shares"]
    assert sum(share["cpus"] for share in shares) == pytest.approx(4 * 8)
    assert sum(share["mem"] for share in shares) == pytest.approx(4 * 16384)


def test_a_framework_that_left_is_no_longer_measured() -> None:
    metrics = Metrics()
    fill_shares(metrics, VIEW["shares"])
    assert 'framework="spark"' in metrics.text().decode()
    fill_shares(metrics, Core(Rules(), 1).shares())
    assert 'framework="spark"' not in metrics.text().decode()


def test_what_an_unreachable_agent_has_left_is_not_free() -> None:
    scene = Scene()
    scene.stage.tell(on.AgentRemoved(agent_id="S-agent-4"))
    scene.stage.tell(on.AgentRemoved(agent_id="S-agent-1"))
    free = {share["holder"]: share["cpus"] for share in scene.page()["shares"]}

    assert free["free"] == pytest.approx(5.08 + 3.39)
    assert free["pods"] == pytest.approx(4.31), "what runs there may run on"


def test_the_real_core_can_be_shown() -> None:
    shown = page_of(Core(Rules(), 1).view(), OVERHEAD, [])
    assert render(page(**shown)).endswith("No pod waits.\n")


def test_a_taken_port_is_one_line() -> None:
    with listen("127.0.0.1", 0) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"cannot listen on 127.0.0.1:{number}: Address"):
            listen("127.0.0.1", number)


def record(**extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "km", "levelname": "INFO", "msg": "Accept", **extra})
    made.created = 0.0
    return made


def test_log_lines_are_logfmt() -> None:
    line = Logfmt().format(record(reason='a "b"\nc', node="n1", empty=""))
    assert line == (
        "time=1970-01-01T00:00:00.000Z level=info from=km msg=Accept "
        'reason="a \\"b\\"\\nc" node=n1 empty=""'
    )


def test_log_lines_are_json_when_wanted() -> None:
    line = json.loads(JsonLines().format(record(reason="why", error=ValueError("x"))))
    assert line["reason"] == "why"
    assert line["error"] == "x"
