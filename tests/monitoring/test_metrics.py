"""What is counted, under which names, and how it leaves a server that nobody can scrape."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import load
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.events import Event, Fetched, Graded, Hedged, Judged
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.status import BudgetView, Overall, Reliability, SourceState, SourceStatus
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.monitoring.exporting import MetricsExport, export_metrics, watch_event_loop
from mdagent_mcp.monitoring.metrics import MOST_FAULTS, Metrics
from mdagent_mcp.testing import ManualClock
from monitoring.loopback_http import QuietHandler, served, until

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
OVERALL = Overall(0.99, 0.5, sessions=3, symbols=42, observations=977)
EVENTS: tuple[Event, ...] = (
    Fetched("yahoo", Endpoint.QUOTE, ("AAPL",), NOON, 0.08, None),
    Fetched("yahoo", Endpoint.QUOTE, ("AAPL",), NOON, 0.12, FailureKind.THROTTLED, "slow down"),
    Graded("AAPL", Endpoint.QUOTE, NOON, Grade.A, cached=False, elapsed_s=0.2),
    Graded("ZZZZ", Endpoint.QUOTE, NOON, None, cached=False, elapsed_s=0.3),
    Graded("AAPL", Endpoint.QUOTE, NOON, Grade.A, cached=True, elapsed_s=0.001),
    Judged("yahoo", "AAPL", Endpoint.QUOTE, NOON, agreed=False, fault="unit"),
    Judged("cboe", "AAPL", Endpoint.QUOTE, NOON, agreed=True),
    Judged("nasdaq", "AAPL", Endpoint.QUOTE, NOON, agreed=None),
    Hedged("AAPL", NOON, sent=True),
    Hedged("AAPL", NOON, sent=False),
)


def status(**changed: object) -> SourceStatus:
    """Yahoo with an open circuit and a budget."""
    values: dict[str, object] = {
        "source": "yahoo",
        "title": "Yahoo Finance",
        "state": SourceState.DEGRADED,
        "since": NOON,
        "reason": "",
        "upstream_group": "utp",
        "capabilities": ("quote",),
        "circuit": {"source": "closed", "quote": "closed", "history": "open", "quote:AAPL": "half_open"},
        "weight": 0.25,
        "cost_per_call": 0.0,
        "budget": (BudgetView("minute", 60, 12, NOON),),
        "reliability": Reliability(0.97, 0.95, 120.0),
        "clock_offset_s": -0.4,
    }
    return SourceStatus(**{**values, **changed})  # type: ignore[arg-type] # a test's shorthand


def samples(metrics: Metrics | bytes) -> dict[str, float]:
    """Every sample of ours, by `name{label="value"}`, buckets and creation times left out."""
    page = (metrics if isinstance(metrics, bytes) else metrics.page()).decode()
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name.startswith("mdagent_") and not sample.name.endswith(("_bucket", "_created")):
                labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_events_are_counted_by_source_outcome_grade_and_verdict() -> None:
    """The whole of what ten events come to."""
    metrics = Metrics("1.2.3")
    for event in EVENTS:
        metrics(event)
    counted = {name: value for name, value in samples(metrics).items() if value and "duration" not in name}
    assert counted == {
        "mdagent_build_info{version=1.2.3}": 1.0,
        "mdagent_source_requests_total{endpoint=quote,outcome=ok,source=yahoo}": 1.0,
        "mdagent_source_requests_total{endpoint=quote,outcome=throttled,source=yahoo}": 1.0,
        "mdagent_answers_total{cached=false,endpoint=quote,grade=A}": 1.0,
        "mdagent_answers_total{cached=false,endpoint=quote,grade=none}": 1.0,
        "mdagent_answers_total{cached=true,endpoint=quote,grade=A}": 1.0,
        "mdagent_source_verdicts_total{endpoint=quote,source=yahoo,verdict=contradicted}": 1.0,
        "mdagent_source_verdicts_total{endpoint=quote,source=cboe,verdict=agreed}": 1.0,
        "mdagent_source_verdicts_total{endpoint=quote,source=nasdaq,verdict=uncompared}": 1.0,
        "mdagent_source_faults_total{fault=unit,source=yahoo}": 1.0,
        "mdagent_hedges_total{outcome=sent}": 1.0,
        "mdagent_hedges_total{outcome=over_budget}": 1.0,
    }


def test_times_are_summed_in_seconds() -> None:
    """Of calls and of answers, cached ones apart."""
    metrics = Metrics("1.2.3")
    for event in EVENTS:
        metrics(event)
    sums = {
        name: round(value, 3) for name, value in samples(metrics).items() if name.partition("{")[0].endswith("_sum")
    }
    assert sums == {
        "mdagent_source_request_duration_seconds_sum{endpoint=quote,source=yahoo}": 0.2,
        "mdagent_answer_duration_seconds_sum{cached=false,endpoint=quote}": 0.5,
        "mdagent_answer_duration_seconds_sum{cached=true,endpoint=quote}": 0.001,
        "mdagent_event_loop_lag_seconds_sum{}": 0.0,
    }


def test_no_symbol_is_ever_a_label() -> None:
    """Labels stay few: neither events nor circuits of one instrument name it."""
    metrics = Metrics("1.2.3")
    for event in EVENTS:
        metrics(event)
    metrics.show([status()], OVERALL)
    assert b"AAPL" not in metrics.page()
    assert b"slow down" not in metrics.page()


def test_faults_beyond_the_known_ones_are_counted_together() -> None:
    """However many kinds there come to be."""
    metrics = Metrics("1.2.3")
    for number in range(MOST_FAULTS + 7):
        metrics(Judged("yahoo", "AAPL", Endpoint.QUOTE, NOON, agreed=False, fault=f"fault{number}"))
    counted = {name: value for name, value in samples(metrics).items() if name.startswith("mdagent_source_faults")}
    assert len(counted) == MOST_FAULTS + 1
    assert counted["mdagent_source_faults_total{fault=other,source=yahoo}"] == 7.0


def test_the_state_of_sources_and_memory_is_shown_as_it_is_now() -> None:
    """A source that recovers leaves no trace of its old state."""
    metrics = Metrics("1.2.3")
    metrics.show([status()], OVERALL)
    found = samples(metrics)
    assert {name: value for name, value in found.items() if "source_state" in name and value} == {
        "mdagent_source_state{source=yahoo,state=degraded}": 1.0
    }
    assert {name: value for name, value in found.items() if "circuits" in name} == {
        "mdagent_source_circuits_not_closed{level=source,source=yahoo}": 0.0,
        "mdagent_source_circuits_not_closed{level=endpoint,source=yahoo}": 1.0,
        "mdagent_source_circuits_not_closed{level=symbol,source=yahoo}": 1.0,
    }
    assert {name: found[name] for name in found if "quota" in name or "reliability" in name or "offset" in name} == {
        "mdagent_source_quota_limit{source=yahoo,window=minute}": 60.0,
        "mdagent_source_quota_used{source=yahoo,window=minute}": 12.0,
        "mdagent_source_reliability_ratio{source=yahoo}": 0.97,
        "mdagent_source_reliability_lower_bound_ratio{source=yahoo}": 0.95,
        "mdagent_source_clock_offset_seconds{source=yahoo}": -0.4,
    }
    assert {name: found[name] for name in found if "memory" in name} == {
        "mdagent_memory_symbols{}": 42.0,
        "mdagent_memory_observations{}": 977.0,
        "mdagent_memory_healthy{}": 1.0,
    }
    metrics.show([status(state=SourceState.LIVE, circuit={"source": "closed"})], Overall(None, None, 1, 0, 0, "full"))
    found = samples(metrics)
    assert found["mdagent_source_state{source=yahoo,state=degraded}"] == 0.0
    assert found["mdagent_source_circuits_not_closed{level=symbol,source=yahoo}"] == 0.0
    assert found["mdagent_memory_healthy{}"] == 0.0


class _Gateway(QuietHandler):
    """Remembers what is pushed and withdrawn."""

    requests: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_PUT(self) -> None:  # noqa: N802 - the library's name
        self.requests.append(("PUT", self.path, self.body()))
        self.answer(202)

    def do_DELETE(self) -> None:  # noqa: N802 - the library's name
        self.requests.append(("DELETE", self.path, b""))
        self.answer(202)


@pytest.fixture
def gateway() -> Iterator[str]:
    """A Pushgateway of our own."""
    _Gateway.requests.clear()
    with served(_Gateway) as port:
        yield f"http://127.0.0.1:{port}"


async def _status() -> tuple[list[SourceStatus], Overall]:
    return [status()], OVERALL


async def test_metrics_are_pushed_and_withdrawn_at_the_end(gateway: str) -> None:
    """Under an instance of its own, since several servers run on one machine."""
    metrics, clock = Metrics("1.2.3"), SystemClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(export_metrics, metrics, _status, clock, MetricsExport(None, gateway, 60.0))
        await until(lambda: bool(_Gateway.requests))
        tasks.cancel_scope.cancel()
    methods = [(method, path.split("/")[:5]) for method, path, _ in _Gateway.requests]
    assert methods == [
        ("PUT", ["", "metrics", "job", "mdagent_mcp", "instance"]),
        ("DELETE", ["", "metrics", "job", "mdagent_mcp", "instance"]),
    ]
    assert samples(_Gateway.requests[0][2])["mdagent_source_quota_used{source=yahoo,window=minute}"] == 12.0


async def test_metrics_stay_while_another_engine_of_the_process_pushes_them(gateway: str) -> None:
    """As after a change of the settings, when the next one begins before the one in its place ends."""
    metrics, clock, export = Metrics("1.2.3"), SystemClock(), MetricsExport(None, gateway, 60.0)
    async with anyio.create_task_group() as later:
        async with anyio.create_task_group() as earlier:
            earlier.start_soon(export_metrics, metrics, _status, clock, export)
            await until(lambda: len(_Gateway.requests) == 1)
            later.start_soon(export_metrics, metrics, _status, clock, export)
            await until(lambda: len(_Gateway.requests) == 2)
            earlier.cancel_scope.cancel()
        assert [method for method, _, _ in _Gateway.requests] == ["PUT", "PUT"]
        later.cancel_scope.cancel()
    assert [method for method, _, _ in _Gateway.requests] == ["PUT", "PUT", "DELETE"]


async def test_what_cannot_be_written_is_logged_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the file is there as soon as it can be."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    metrics, clock = Metrics("1.2.3"), ManualClock(NOON)
    export = MetricsExport(blocked / "mdagent.prom", None, 15.0)
    turned = anyio.Event()

    async def ask() -> tuple[list[SourceStatus], Overall]:
        if clock.monotonic() >= 30:
            turned.set()
        return await _status()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(export_metrics, metrics, ask, clock, export)
        with anyio.fail_after(10):
            while not turned.is_set():
                await clock.advance(5.0)
                await anyio.sleep(0.01)
            told = [record.getMessage() for record in caplog.records]
            assert told == [f"metrics are not exported: {export.file}: File exists"]
            blocked.unlink()
            while not export.file or not export.file.exists():
                await clock.advance(5.0)
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert samples((blocked / "mdagent.prom").read_bytes())["mdagent_memory_symbols{}"] == 42.0


async def test_a_late_event_loop_shows() -> None:
    """A sleeper that is woken 0.2 s late."""

    class LateClock(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds + 0.2)

    metrics, clock = Metrics("1.2.3"), LateClock(NOON)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_event_loop, metrics, clock)
        await clock.advance(1.5)
        tasks.cancel_scope.cancel()
    assert samples(metrics)["mdagent_event_loop_lag_seconds_sum{}"] == pytest.approx(0.4)


async def test_the_settings_have_metrics_written(tmp_path: Path) -> None:
    """`[metrics] file` is all that a server on stdio needs."""
    file = tmp_path / "mdagent.prom"
    settings = load({"MDAGENT_METRICS__FILE": str(file)}).settings
    async with open_app(settings, clock=SystemClock(), data_dir=None):
        await until(file.exists)
    found = samples(file.read_bytes())
    assert found["mdagent_source_state{source=iex_cloud,state=retired}"] == 1.0
    assert found["mdagent_source_state{source=yahoo,state=live}"] == 1.0
