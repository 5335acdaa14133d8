"""Behaviour of the resource that tells why sources were asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from mcp.types import TextResourceContents

from mdagent_mcp.domain.plans import AskingPlan
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.vendor import Endpoint
from server.fake_market_data import PARTS, FakeMarketData
from server.test_tools_answers import Era, both_eras, client_of
from server.test_tools_status_and_explanation import FINNHUB_JSON

PLAN = AskingPlan(
    at=datetime(2026, 11, 23, 15, 4, tzinfo=UTC),
    symbol="AAPL",
    endpoint=Endpoint.QUOTE,
    wanted=Grade.A,
    live=True,
    voices=2,
    needs_fresh=True,
    needs_complete=True,
    asked=("finnhub",),
    spares=("nasdaq",),
    reserved=("alpha_vantage",),
    chance=0.97123,
    expected_cost=0.12,
    candidates=(PARTS,),
)


@both_eras
async def test_the_last_plans_are_read_as_json(era: Era) -> None:
    """Who was asked, who was kept in reserve, what was expected, and of every candidate what that was made from."""
    async with client_of(FakeMarketData(planned=(PLAN,)), era) as client:
        (content,) = (await client.read_resource("mdagent://plans")).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    assert json.loads(content.text) == {
        "plans": [
            {
                "at": "2026-11-23T15:04:00Z",
                "symbol": "AAPL",
                "endpoint": "quote",
                "wanted": "A",
                "live": True,
                "needs": {"voices": 2, "fresh": True, "complete": True},
                "asked": ["finnhub"],
                "spares": ["nasdaq"],
                "reserved": ["alpha_vantage"],
                "chance": 0.9712,
                "expected_cost": 0.12,
                "candidates": [FINNHUB_JSON["weight_parts"]],
            }
        ]
    }
