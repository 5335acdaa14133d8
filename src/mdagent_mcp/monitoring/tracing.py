"""OpenTelemetry traces: the protocol's spans are the SDK's own; a call to a vendor becomes a span below them.

The rule of this module: a span says which source, which kind of call and what became of it, never a symbol, a message
or a key. Everything is loaded only where traces are exported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.events import Event, Fetched

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

SERVICE: Final = "mdagent-mcp"
INSTALL: Final = "pip install 'mdagent-mcp[otel]'"
_NANOSECONDS: Final = 1_000_000_000


def is_installed() -> bool:
    """Whether the SDK and the exporter are there."""
    return find_spec("opentelemetry.sdk") is not None and find_spec("opentelemetry.exporter.otlp") is not None


class VendorSpans:
    """Listens to events and makes spans of vendor calls, under whatever span was current when they were made.

    Args:
        tracer: makes them; None for the global provider's.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - only where traces are exported

        self._tracer = tracer or trace.get_tracer(SERVICE)
        self._clock = SystemClock()
        self._kind = trace.SpanKind.CLIENT
        self._failed = trace.Status(trace.StatusCode.ERROR)

    def __call__(self, event: Event) -> None:
        """Make a span of a call that ended."""
        if not isinstance(event, Fetched):
            return
        ended = self._clock.now()  # not the event's: a simulated market has a time of its own
        begun = ended - timedelta(seconds=event.latency_s)
        span = self._tracer.start_span(
            f"{event.source} {event.endpoint.value}",
            kind=self._kind,
            start_time=_nanoseconds(begun.timestamp()),
            attributes={
                "mdagent.source": event.source,
                "mdagent.endpoint": event.endpoint.value,
                "mdagent.symbols": len(event.symbols),
                "mdagent.outcome": "ok" if event.kind is None else event.kind.value,
            },
        )
        if event.kind is not None:
            span.set_status(self._failed)
        span.end(_nanoseconds(ended.timestamp()))


@contextmanager
def exporting_traces(otlp_url: str | None, version: str) -> Iterator[None]:
    """Send spans to a collector during the body, in a thread of the exporter's own; without an address do nothing.

    Args:
        otlp_url: base URL of a collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`.
        version: of the program.
    """
    if otlp_url is None:
        yield
        return
    from opentelemetry import trace  # noqa: PLC0415 - only where traces are exported
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: SERVICE, SERVICE_VERSION: version}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{otlp_url}/v1/traces", timeout=5)))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def _nanoseconds(epoch_s: float) -> int:
    return int(epoch_s * _NANOSECONDS)
