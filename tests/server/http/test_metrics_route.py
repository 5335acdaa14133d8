"""`/metrics` as Prometheus reads it."""

from __future__ import annotations

import httpx

from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.monitoring.metrics import CONTENT_TYPE, Metrics
from mdagent_mcp.server.http.metrics_route import metrics_route
from mdagent_mcp.server.http.tokens import token_hash
from mdagent_mcp.server.lazy_service import LazyService
from monitoring.test_metrics import samples
from server.fake_market_data import FakeMarketData
from server.http.running import running


async def test_the_page_shows_the_sources_as_they_are_to_whoever_has_a_token() -> None:
    """And to nobody else."""
    fake = FakeMarketData()
    service = LazyService(fake.opener(), SystemClock())
    route = metrics_route(Metrics("1.2.3"), service)
    async with (
        service.running(),
        running(fake, extra_routes=(route,), tokens={"prometheus": token_hash("scraper")}) as server,
        httpx.AsyncClient() as web,
    ):
        refused = await web.get(f"{server.url}/metrics")
        reply = await web.get(f"{server.url}/metrics", headers={"Authorization": "Bearer scraper"})
    assert refused.status_code == 401
    assert (reply.status_code, reply.headers["content-type"]) == (200, CONTENT_TYPE)
    found = samples(reply.content)
    assert found["mdagent_source_state{source=finnhub,state=live}"] == 1.0
    assert found["mdagent_source_quota_limit{source=finnhub,window=minute}"] == 60.0
