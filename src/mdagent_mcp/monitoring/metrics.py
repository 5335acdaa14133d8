"""Prometheus metrics: what events count, and what the sources' state comes to when somebody looks.

The rule of this module: a label's values are few and known beforehand (source, endpoint, failure code, grade, state);
symbols, messages and keys are never among them. Names and units follow https://prometheus.io/docs/practices/naming/.
The library is loaded when the first `Metrics` is made.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from mdagent_mcp.domain.events import Event, Fetched, Graded, Hedged, Judged
from mdagent_mcp.domain.status import Overall, SourceState, SourceStatus

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0, 10.0)
"""Upper bounds, seconds; the user's targets of 100 and 500 ms are among them."""
LAG_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
MOST_FAULTS: Final = 40
"""Kinds of fault that get a label of their own, should there ever be more; later ones are counted as `other`."""
OTHER: Final = "other"


class Metrics:
    """Everything that is counted; listens to events and is told the sources' state before it is read.

    Args:
        version: of the program, for `mdagent_build_info`.
    """

    def __init__(self, version: str) -> None:
        from prometheus_client import (  # noqa: PLC0415 - 9 ms that only a server which is watched pays
            GC_COLLECTOR,
            PROCESS_COLLECTOR,
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
            Info,
        )

        self._registry = CollectorRegistry()
        self._registry.register(PROCESS_COLLECTOR)
        self._registry.register(GC_COLLECTOR)
        counter = functools.partial(Counter, registry=self._registry)
        gauge = functools.partial(Gauge, registry=self._registry)
        seconds = functools.partial(Histogram, registry=self._registry, buckets=LATENCY_BUCKETS_S)
        Info("mdagent_build", "Version of the program.", registry=self._registry).info({"version": version})

        self._requests = counter(
            "mdagent_source_requests", "Calls to a vendor by their outcome.", ["source", "endpoint", "outcome"]
        )
        self._request_seconds = seconds(
            "mdagent_source_request_duration_seconds",
            "Time of a call to a vendor, the wait for our own limiter not counted.",
            ["source", "endpoint"],
        )
        self._answers = counter(
            "mdagent_answers", "Symbols asked for by the grade of the answer.", ["endpoint", "grade", "cached"]
        )
        self._answer_seconds = seconds(
            "mdagent_answer_duration_seconds", "Time that an asker waited.", ["endpoint", "cached"]
        )
        self._verdicts = counter(
            "mdagent_source_verdicts", "What the consensus made of a source's word.", ["source", "endpoint", "verdict"]
        )
        self._faults = counter("mdagent_source_faults", "Faults a source's word showed, by kind.", ["source", "fault"])
        self._hedges = counter(
            "mdagent_hedges", "Further sources asked early because the first were slow.", ["outcome"]
        )
        self._lag = Histogram(
            "mdagent_event_loop_lag_seconds",
            "How much later than due the event loop woke a sleeper.",
            registry=self._registry,
            buckets=LAG_BUCKETS_S,
        )

        self._state = gauge("mdagent_source_state", "1 for the state that a source is in.", ["source", "state"])
        self._circuits = gauge(
            "mdagent_source_circuits_not_closed",
            "Circuits that are open or half-open, by level.",
            ["source", "level"],
        )
        self._quota_limit = gauge("mdagent_source_quota_limit", "Calls a key may make.", ["source", "window"])
        self._quota_used = gauge("mdagent_source_quota_used", "Calls it has made.", ["source", "window"])
        self._reliability = gauge("mdagent_source_reliability_ratio", "Learned share of right outcomes.", ["source"])
        self._reliability_bound = gauge(
            "mdagent_source_reliability_lower_bound_ratio", "Its 10 % quantile.", ["source"]
        )
        self._weight = gauge("mdagent_source_routing_weight_ratio", "Share of requests it would get.", ["source"])
        self._offset = gauge("mdagent_source_clock_offset_seconds", "How far its clock is off.", ["source"])
        self._memory_symbols = gauge("mdagent_memory_symbols", "Symbols that memory knows.")
        self._memory_observations = gauge("mdagent_memory_observations", "Outcomes that memory has learned from.")
        self._memory_healthy = gauge("mdagent_memory_healthy", "1 while memory is kept as configured, else 0.")
        self._known_faults: set[str] = set()

    @property
    def registry(self) -> CollectorRegistry:
        """Where everything is registered, for exporters."""
        return self._registry

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event:
            case Fetched():
                outcome = "ok" if event.kind is None else event.kind.value
                self._requests.labels(event.source, event.endpoint.value, outcome).inc()
                self._request_seconds.labels(event.source, event.endpoint.value).observe(event.latency_s)
            case Graded():
                cached = "true" if event.cached else "false"
                grade = "none" if event.grade is None else event.grade.value
                self._answers.labels(event.endpoint.value, grade, cached).inc()
                self._answer_seconds.labels(event.endpoint.value, cached).observe(event.elapsed_s)
            case Judged():
                self._verdicts.labels(event.source, event.endpoint.value, _verdict(event.agreed)).inc()
                if event.fault:
                    self._faults.labels(event.source, self._bounded(event.fault)).inc()
            case Hedged():
                self._hedges.labels("sent" if event.sent else "over_budget").inc()

    def lagged(self, seconds: float) -> None:
        """Note how much later than due the event loop woke a sleeper."""
        self._lag.observe(seconds)

    def show(self, statuses: Sequence[SourceStatus], overall: Overall) -> None:
        """Take over what the sources and the memory are doing now."""
        for gauge in (self._circuits, self._quota_limit, self._quota_used):
            gauge.clear()
        for status in statuses:
            self._show_source(status)
        self._memory_symbols.set(overall.symbols)
        self._memory_observations.set(overall.observations)
        self._memory_healthy.set(1 if overall.memory_state == "ok" else 0)

    def page(self) -> bytes:
        """Everything in the text format of Prometheus; `CONTENT_TYPE` says which."""
        from prometheus_client import generate_latest  # noqa: PLC0415 - loaded already

        return generate_latest(self._registry)

    def _show_source(self, status: SourceStatus) -> None:
        source = status.source
        for state in SourceState:
            self._state.labels(source, state.value).set(1 if status.state is state else 0)
        for level, count in _not_closed(status.circuit).items():
            self._circuits.labels(source, level).set(count)
        for budget in status.budget:
            self._quota_limit.labels(source, budget.window).set(budget.limit)
            self._quota_used.labels(source, budget.window).set(budget.used)
        self._weight.labels(source).set(status.weight)
        if status.reliability is not None:
            self._reliability.labels(source).set(status.reliability.estimate)
            self._reliability_bound.labels(source).set(status.reliability.lower_bound)
        if status.clock_offset_s is not None:
            self._offset.labels(source).set(status.clock_offset_s)

    def _bounded(self, fault: str) -> str:
        if fault not in self._known_faults and len(self._known_faults) >= MOST_FAULTS:
            return OTHER
        self._known_faults.add(fault)
        return fault


def _verdict(agreed: bool | None) -> str:  # noqa: FBT001 - the event's own value
    return {True: "agreed", False: "contradicted", None: "uncompared"}[agreed]


def _not_closed(circuit: Mapping[str, str]) -> dict[str, int]:
    """Circuits that are not closed on each level: the source's own, an endpoint's, one instrument's at an endpoint."""
    counts = {"source": 0, "endpoint": 0, "symbol": 0}
    for cell, state in circuit.items():
        level = "source" if cell == "source" else "symbol" if ":" in cell else "endpoint"
        counts[level] += state != "closed"
    return counts
