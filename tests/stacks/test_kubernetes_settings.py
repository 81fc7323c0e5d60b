"""Settings of Kubernetes on Mesos: what km takes as well, and km's own defaults."""

from __future__ import annotations

import pytest

from km.settings import Settings as KmSettings
from km.values import cpus, duration, mebibytes
from stacks.kubernetes_settings import Kubernetes, in_seconds
from stacks.problems import SettingsError
from stacks.settings import parse_settings


def parsed(**kubernetes):
    return parse_settings("local", {"hosts": {"on": "lab"}, "kubernetes": kubernetes}).kubernetes


def test_the_defaults_are_kms_own():
    stack, km = (
        Kubernetes(),
        {name: f.default for name, f in KmSettings.__dataclass_fields__.items()},
    )

    assert duration(stack.idle_timeout) == km["idle_timeout"]
    assert duration(stack.offer_hold) == km["offer_hold"]
    assert stack.default_requests.cpus == km["default_container_cpu_limit"]
    assert stack.default_requests.memory_mb == km["default_container_mem_limit"]
    assert stack.node_overhead.cpus == km["executor_cpus"]
    assert stack.node_overhead.memory_mb == km["executor_mem"]


@pytest.mark.parametrize("text", ["1s", "90s", "1m30s", "1.5h", "500ms", "1h0m0.5s"])
def test_durations_mean_the_same_to_km(text):
    assert in_seconds(text) == pytest.approx(duration(text))


def test_the_smallest_amounts_are_some_that_km_takes():
    given = parsed(default_requests={"cpus": 0.001, "memory_mb": 1})

    assert cpus(str(given.default_requests.cpus)) == 0.001
    assert mebibytes(str(given.default_requests.memory_mb)) == 1


@pytest.mark.parametrize(
    ("given", "place", "allowed"),
    [
        ({"idle_timeout": "0s"}, "idle_timeout", "1s or more"),
        ({"idle_timeout": "5mins"}, "idle_timeout", "numbers with ms, s, m or h"),
        ({"idle_timeout": "-5m"}, "idle_timeout", "numbers with ms, s, m or h"),
        ({"idle_timeout": 300}, "idle_timeout", "text"),
        ({"offer_hold": "20ms"}, "offer_hold", "100ms to 1m"),
        ({"offer_hold": "2m"}, "offer_hold", "100ms to 1m"),
        ({"default_requests": {"cpus": 0}}, "default_requests.cpus", "0.001 or more"),
        ({"default_requests": {"memory_mb": 0.5}}, "default_requests.memory_mb", "whole number"),
        ({"default_requests": {"memory": 5}}, "default_requests.memory", "memory_mb"),
        ({"node_overhead": {"memory_mb": 64}}, "node_overhead.memory_mb", "128 or more"),
        ({"node_overhead": {"cpus": 0.001}}, "node_overhead.cpus", "0.01 or more"),
    ],
)
def test_what_km_could_not_work_with_is_refused(given, place, allowed):
    with pytest.raises(SettingsError) as raised:
        parsed(**given)

    assert f"cluster.kubernetes.{place}: " in str(raised.value)
    assert allowed in str(raised.value)
