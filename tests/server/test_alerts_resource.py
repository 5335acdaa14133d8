"""`mdagent://alerts` through a real client, and its change notices."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import anyio
from mcp import Client
from mcp_types import TextResourceContents

from mdagent_mcp.domain.status import Overall, SourceStatus
from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.monitoring.alerting import AlertKey, Condition, Severity
from mdagent_mcp.server.alerts_resource import ALERTS_URI
from mdagent_mcp.server.server import build_server
from mdagent_mcp.testing import ManualClock
from server.fake_market_data import NOW, OVERALL, STATUS, FakeMarketData
from server.test_tools_answers import Era, both_eras

RELOAD = Condition(AlertKey("settings_rejected", ""), Severity.WARNING, "The file is not TOML.", timedelta(0))
SHOWN = {
    "rule": "settings_rejected",
    "subject": None,
    "severity": "warning",
    "text": "The file is not TOML.",
    "since": "2026-11-23T15:04:12.5Z",
}


async def status() -> tuple[list[SourceStatus], Overall]:
    """All is well."""
    return [STATUS], OVERALL


async def read(client: Client) -> Any:
    """The resource's JSON."""
    content = (await client.read_resource(ALERTS_URI)).contents[0]
    assert isinstance(content, TextResourceContents)
    return json.loads(content.text)


@both_eras
async def test_what_is_wrong_is_listed_and_then_what_was(era: Era) -> None:
    """With since when, and until when."""
    clock = ManualClock(NOW)
    alerts = Alerts(clock)
    server = build_server(FakeMarketData().opener(), clock, "0.0.1", alerts=alerts)
    async with Client(server, mode=era) as client:
        assert ALERTS_URI in [str(resource.uri) for resource in (await client.list_resources()).resources]
        assert await read(client) == {"firing": [], "resolved": []}
        alerts.report(RELOAD, timedelta(minutes=5))
        await alerts.look(status)
        assert await read(client) == {"firing": [SHOWN], "resolved": []}
        alerts.withdraw(RELOAD.key)
        await clock.advance(60)
        await alerts.look(status)
        ended = SHOWN | {"resolved_at": "2026-11-23T15:05:12.5Z"}
        assert await read(client) == {"firing": [], "resolved": [ended]}


async def test_a_subscriber_is_told_of_the_change() -> None:
    """Over the stream of its choice."""
    clock = ManualClock(NOW)
    alerts = Alerts(clock)
    server = build_server(FakeMarketData().opener(), clock, "0.0.1", alerts=alerts)
    async with Client(server) as client, client.listen(resource_subscriptions=[ALERTS_URI]) as changes:
        alerts.report(RELOAD, timedelta(minutes=5))
        await alerts.look(status)
        with anyio.fail_after(5):
            change = await anext(aiter(changes))
        assert getattr(change, "uri", None) == ALERTS_URI
