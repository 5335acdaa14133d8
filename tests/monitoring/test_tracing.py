"""Traces: spans of the protocol and of vendor calls, on their way to a collector."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from mcp import Client, StdioServerParameters
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from mdagent_mcp.domain.events import Fetched, Hedged
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.monitoring.tracing import VendorSpans
from monitoring.loopback_http import QuietHandler, served, until

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)


def test_a_vendor_call_is_a_span_below_the_current_one_without_a_symbol() -> None:
    """With its outcome and the time it took."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    listener = VendorSpans(tracer)
    with tracer.start_as_current_span("tools/call") as parent:
        listener(Fetched("yahoo", Endpoint.QUOTE, ("AAPL", "MSFT"), NOON, 0.25, None))
        listener(Fetched("cboe", Endpoint.QUOTE, ("AAPL",), NOON, 0.1, FailureKind.TIMEOUT, "AAPL: silent"))
        listener(Hedged("AAPL", NOON, sent=True))
    yahoo, cboe, _ = exporter.get_finished_spans()
    assert [(s.name, s.parent and s.parent.span_id) for s in (yahoo, cboe)] == [
        ("yahoo quote", parent.get_span_context().span_id),
        ("cboe quote", parent.get_span_context().span_id),
    ]
    assert dict(cboe.attributes or {}) == {
        "mdagent.source": "cboe",
        "mdagent.endpoint": "quote",
        "mdagent.symbols": 1,
        "mdagent.outcome": "timeout",
    }
    assert (yahoo.status.status_code, cboe.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
    assert ((yahoo.end_time or 0) - (yahoo.start_time or 0)) == pytest.approx(250_000_000, abs=1000)
    assert "AAPL" not in f"{yahoo.to_json()}{cboe.to_json()}"


class _Collector(QuietHandler):
    """Remembers the names of the spans it is sent."""

    parents: ClassVar[dict[str, bool]] = {}

    def do_POST(self) -> None:  # noqa: N802 - the library's name
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.body())
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.parents.update({span.name: bool(span.parent_span_id) for span in scope.spans})
        self.answer(200)


@pytest.fixture
def collector() -> Iterator[str]:
    """A collector of our own."""
    _Collector.parents.clear()
    with served(_Collector) as port:
        yield f"http://127.0.0.1:{port}"


async def test_a_running_server_sends_its_calls_and_those_to_vendors_to_a_collector(
    collector: str, tmp_path: Path
) -> None:
    """All by one setting; what was not sent yet is sent at the end."""
    environment = {**os.environ, "MDAGENT_TRACING__OTLP_URL": collector}
    words = ["-m", "mdagent_mcp", "serve", "--sandbox", "--data-dir", str(tmp_path)]
    async with Client(StdioServerParameters(command=sys.executable, args=words, env=environment)) as client:
        result = await client.call_tool("get_quote", {"symbols": "AAPL"})
        assert not result.is_error
    await until(lambda: "nasdaq quote" in _Collector.parents)
    assert any("get_quote" in name for name in _Collector.parents)
