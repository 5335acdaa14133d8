"""What many symbols cost in calls: the engine asks in batches, and the sandbox counts."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest

from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import load
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.sandbox.app import Desk, app_of
from mdagent_mcp.sandbox.faults import FaultBoard, Faults
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.testing import ManualClock
from sandbox.loopback import SEED
from story.simulated_world import turning

NOON = datetime(2026, 11, 24, 17, 0, 20, tzinfo=UTC)


async def calls_for(source: str, count: int, **settings: str) -> tuple[dict[str, dict[str, int]], int]:
    """The calls by vendor and path that prices of so many symbols from one source take, and how many were priced."""
    clock = ManualClock(NOON)
    app = app_of(Desk(SimulatedMarket(SEED), clock, FaultBoard(Faults(), SEED)))
    prefix = f"MDAGENT_SOURCES__{source.upper()}__"
    environ = {prefix + name.upper(): value for name, value in settings.items()}
    chosen = load({f"{prefix}BASE_URL": f"http://127.0.0.1/{source}", **environ}).settings
    question = QuoteQuestion(tuple(parse_symbol(f"SIM{number:03}") for number in range(count)), sources=(source,))
    web = httpx.ASGITransport(app)
    opening = open_app(chosen, clock=clock, data_dir=None, open_transport=lambda _: web, rng=random.Random(5))
    async with opening as engine, httpx.AsyncClient(transport=web, base_url="http://127.0.0.1") as client:
        answer = await turning(clock, lambda: engine.quotes(question))
        counted: dict[str, dict[str, int]] = (await client.get("/sandbox/calls")).json()
    return {vendor: paths for vendor, paths in counted.items() if paths}, len(answer.quotes)


@pytest.mark.parametrize(
    ("source", "settings", "path", "batch"),
    [
        ("tiingo", {"api_key": "free-1"}, "/iex/", 50),
        ("polygon", {"api_key": "starter-1", "plan": "starter"}, "/v3/snapshot", 250),
        ("polygon", {"api_key": "basic-1"}, "/v2/aggs/grouped/locale/{locale}/market/{market}/{date}", 250),
        ("iex_cloud", {"api_key": "pk_1"}, "/{version}/stock/market/batch", 100),
    ],
)
async def test_fifty_symbols_cost_one_call_for_each_full_batch(
    source: str, settings: dict[str, Any], path: str, batch: int
) -> None:
    """And no other call at all; every symbol gets its price."""
    counted, priced = await calls_for(source, 50, **settings)
    assert counted == {source: {path: -(-50 // batch)}}
    assert priced == 50


@pytest.mark.parametrize(
    ("source", "settings", "path", "most", "count"),
    [
        ("tiingo", {"api_key": "free-1"}, "/iex/", 50, 20),
        ("tiingo", {"api_key": "free-1"}, "/iex/", 50, 60),
        ("nasdaq", {}, "/api/quote/watchlist", 25, 30),
        ("yahoo", {}, "/v7/finance/quote", 50, 20),
        ("polygon", {"api_key": "starter-1", "plan": "starter"}, "/v3/snapshot", 250, 20),
    ],
)
async def test_many_tool_calls_at_once_cost_no_more_calls_than_one_about_all_their_symbols(
    source: str, settings: dict[str, Any], path: str, most: int, count: int
) -> None:
    """One `get_quote` for each symbol: as many calls as full batches, and every one gets its own price."""
    clock = ManualClock(NOON)
    market = SimulatedMarket(SEED)
    desk = Desk(market, clock, FaultBoard(Faults(), SEED))
    prefix = f"MDAGENT_SOURCES__{source.upper()}__"
    environ = {prefix + name.upper(): value for name, value in settings.items()}
    chosen = load({f"{prefix}BASE_URL": f"http://127.0.0.1/{source}", **environ}).settings
    symbols = [f"SIM{number:03}" for number in range(count)]
    prices: dict[str, float] = {}
    web = httpx.ASGITransport(app_of(desk))
    opening = open_app(chosen, clock=clock, data_dir=None, open_transport=lambda _: web, rng=random.Random(5))
    async with opening as engine:

        async def ask(symbol: str) -> None:
            answer = await engine.quotes(QuoteQuestion((parse_symbol(symbol),), sources=(source,)))
            prices.update({quote.symbol: quote.price for quote in answer.quotes})

        async with anyio.create_task_group() as tasks:
            for symbol in symbols:
                tasks.start_soon(ask, symbol)
            await clock.advance(3.0)
    assert desk.calls_by_vendor()[source][path] == -(-count // most)
    assert prices == pytest.approx({s: market.snapshot(s, NOON).price for s in symbols}, rel=0.05)
