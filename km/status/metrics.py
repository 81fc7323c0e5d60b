"""Prometheus metrics of km. Each object of this class has a registry of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from km import __version__, actions, events

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FINE = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)


class Metrics:
    """What km counts and measures, and the text that Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        Info("km_build", "Version of km.", registry=self.registry).info({"version": __version__})
        self.leader = self._gauge("km_leader", "1 while this km leads.")
        self.subscribed = self._gauge("km_mesos_subscribed", "1 while subscribed to a master.")
        self._events = self._counter("km_events_total", "What the core was told.", "event")
        self._actions = self._counter("km_actions_total", "What the core decided.", "action")
        self._failures = self._counter(
            "km_action_failures_total", "Actions that could not be carried out.", "action"
        )
        self._binds = self._counter("km_binds_total", "Answers to bind requests.", "result")
        self._judged = self._counter("km_filter_nodes_total", "Nodes judged for pods.", "result")
        self._handling = self._histogram(
            "km_handle_seconds", "Time the core took for one event.", FINE
        )
        self._answering = Histogram(
            "km_extender_seconds",
            "Time from kube-scheduler's question to the answer.",
            ["verb"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.pods = self._labelled("km_pods", "Pods by state.", "state")
        self.nodes = self._labelled("km_nodes", "Nodes by state.", "state")
        self.agents = self._gauge("km_agents", "Mesos agents known.")
        self.offers = self._gauge("km_offers_held", "Offers held at the moment.")
        self.tasks = self._gauge("km_tasks", "Live tasks, of nodes and of pods.")
        self.cpus = self._shared("km_cpus", "CPUs of all agents, by who holds them.")
        self.memory = self._shared("km_memory_bytes", "Memory of all agents, by who holds it.")
        self.counted = self._labelled(
            "km_counted", "What the core counted since this term began, by name.", "name"
        )
        self._before_scrape: list[Callable[[], None]] = []

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Have gauges filled when somebody looks."""
        self._before_scrape.append(refresh)

    def text(self) -> bytes:
        """The exposition format."""
        for refresh in self._before_scrape:
            refresh()
        return generate_latest(self.registry)

    def handled(self, event: events.Event, seconds: float) -> None:
        self._events.labels(type(event).__name__).inc()
        self._handling.observe(seconds)
        if isinstance(event, events.Subscribed):
            self.subscribed.set(1)
        elif isinstance(event, events.Disconnected):
            self.subscribed.set(0)

    def decided(self, action: actions.Action) -> None:
        self._actions.labels(type(action).__name__).inc()
        if isinstance(action, actions.AnswerFilter):
            self._judged.labels("fits").inc(len(action.nodes))
            self._judged.labels("rejected").inc(len(action.failed) + len(action.unresolvable))
        elif isinstance(action, actions.AnswerBind):
            self._binds.labels("error" if action.error else "bound").inc()

    def failed(self, action: actions.Action) -> None:
        self._failures.labels(type(action).__name__).inc()

    def asked(self, question: events.Event, answer: asyncio.Future[Any]) -> None:
        """Measure until the answer is there."""
        started = time.perf_counter()
        verb = type(question).__name__.removesuffix("Requested").lower()
        observe = self._answering.labels(verb).observe
        answer.add_done_callback(lambda _: observe(time.perf_counter() - started))

    def _gauge(self, name: str, words: str) -> Gauge:
        return Gauge(name, words, registry=self.registry)

    def _labelled(self, name: str, words: str, label: str) -> Gauge:
        return Gauge(name, words, [label], registry=self.registry)

    def _shared(self, name: str, words: str) -> Gauge:
        return Gauge(name, words, ["holder", "framework"], registry=self.registry)

    def _counter(self, name: str, words: str, label: str) -> Counter:
        return Counter(name, words, [label], registry=self.registry)

    def _histogram(self, name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, words, buckets=buckets, registry=self.registry)
