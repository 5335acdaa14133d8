"""`/metrics`: what Prometheus reads, with the state of the sources as it is at that moment."""

from __future__ import annotations

from typing import Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mdagent_mcp.monitoring.metrics import CONTENT_TYPE, Metrics
from mdagent_mcp.server.http.application import ExtraRoute
from mdagent_mcp.server.lazy_service import LazyService, ServiceUnavailableError

METRICS_PATH: Final = "/metrics"


def metrics_route(metrics: Metrics, service: LazyService) -> ExtraRoute:
    """The route; whoever may call tools may read it, since it tells what is asked and how often."""

    async def answer(_: Request) -> Response:
        try:
            engine = await service.get()
        except ServiceUnavailableError as error:
            return PlainTextResponse(str(error), 503)
        metrics.show(*await engine.source_status())
        page = await to_thread.run_sync(metrics.page)  # several milliseconds, which answers need not wait for
        return Response(page, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})

    return ExtraRoute(METRICS_PATH, answer)
