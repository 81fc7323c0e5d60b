"""Three control hosts: an ensemble of each kind, and the work goes on when the leader dies."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.integration.checkout import Checkout
from tests.leftovers import leftovers

pytestmark = [pytest.mark.lab, pytest.mark.integration]

TAKEOVER_S = 20


@pytest.fixture
def three(checkout: Checkout) -> Iterator[Checkout]:
    path = checkout.directory / "stacks" / "Pulumi.local.yaml"
    before = path.read_text()
    path.write_text(before.replace("      agents: 2", "      control: 3\n      agents: 1"))
    yield checkout
    checkout.run("make down", check=False)
    path.write_text(before)


def leading_host(checkout: Checkout) -> str | None:
    """The control host whose km leads, by what the kms themselves say."""
    for host in checkout.lab()["hosts"]:
        if host["name"].startswith("control-"):
            url = f"http://{host['address']}:10251/status.json"
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if json.load(answer).get("leading"):
                        return str(host["name"])
            except OSError:
                continue
    return None


def test_another_km_takes_over_when_the_leader_ends_and_down_leaves_nothing(three):
    up = three.run("make up")
    assert "Address: 10.10.10.1\n" in up.output
    first = leading_host(three)
    assert first

    # The unit would start it again within a second; a host that died would not.
    three.on_host(first, "systemctl disable --quiet --now km-scheduler")
    started = time.monotonic()
    while (second := leading_host(three)) in (None, first):
        assert time.monotonic() - started < TAKEOVER_S, "nobody took over"
        time.sleep(0.5)

    three.shell("kubectl run after --image=docker.io/library/busybox:1.35 -- sleep 60")
    three.shell("kubectl wait --for=condition=Ready pod/after --timeout=60s")
    assert second != first

    lab = three.lab()["lab"]
    three.run("make down")
    assert leftovers(lab) == []
