"""Two whole servers over one simulated market and one real Valkey server; and one server before and after a restart."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import anyio
import httpx
import pytest

from cache.valkey import Valkey, valkey_server
from mdagent_mcp.app import open_app
from mdagent_mcp.cli.simulation import simulated_settings
from mdagent_mcp.config.loading import ConfigurationError, load
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.answers import HistoryAnswer
from mdagent_mcp.domain.clock import Clock, SystemClock
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Interval
from mdagent_mcp.domain.questions import HistoryQuestion, QuoteQuestion
from mdagent_mcp.engine.service import Engine
from mdagent_mcp.sandbox.app import Desk, app_of
from mdagent_mcp.sandbox.clock import HeldClock
from mdagent_mcp.sandbox.faults import FaultBoard, Faults
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.sandbox.server import Sandbox
from story.simulated_world import REGULAR, SEED, VENDORS

KEY = "k3y-that-must-not-leak"
AAPL = QuoteQuestion((parse_symbol("AAPL"),))
OCTOBER = HistoryQuestion(parse_symbol("AAPL"), Interval.DAY_1, date(2026, 10, 1), date(2026, 10, 30))
UNTIL_NOW = HistoryQuestion(parse_symbol("AAPL"), Interval.DAY_1, date(2026, 10, 1), date(2026, 11, 24))


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A real server."""
    with valkey_server() as running:
        yield running


@pytest.fixture
def desk() -> Desk:
    """A simulated market that stands still while real time passes."""
    clock = HeldClock(SystemClock(), REGULAR)
    return Desk(market=SimulatedMarket(SEED), clock=clock, board=FaultBoard(Faults.parse(()), SEED))


def settings(**more: str) -> Settings:
    """Of a replica whose sources are the desk's."""
    environ = {f"MDAGENT_SOURCES__{v.upper()}__BASE_URL": f"http://127.0.0.1/{v}" for v in VENDORS}
    return load({**environ, "FINNHUB_API_KEY": KEY, **more}).settings


@asynccontextmanager
async def server(desk: Desk, chosen: Settings, data_dir: Path | None = None) -> AsyncIterator[Engine]:
    """A whole engine."""
    app = app_of(desk)
    async with open_app(
        chosen,
        clock=desk.clock,
        data_dir=data_dir,
        open_transport=lambda _: httpx.ASGITransport(app),
        rng=random.Random(),
    ) as engine:
        yield engine


def calls(desk: Desk) -> int:
    """Requests that the vendors have had so far."""
    return sum(sum(paths.values()) for paths in desk.calls_by_vendor().values())


def shared(valkey: Valkey, database: int) -> Mapping[str, str]:
    """Settings that share through one database of the server."""
    return {"MDAGENT_SHARED__URL": f"{valkey.url[:-1]}{database}", "MDAGENT_SHARED__TIMEOUT_S": "2"}


async def test_two_servers_ask_the_vendors_once(desk: Desk, valkey: Valkey) -> None:
    """For a price and for a history; a longer history costs the second what it would have cost the first."""
    chosen = settings(**shared(valkey, 1))
    async with server(desk, chosen) as one, server(desk, chosen) as other:
        first = await one.quotes(AAPL)
        await anyio.sleep(0.1)
        before = calls(desk)
        second = await other.quotes(AAPL)
        assert (first.quotes[0].price, first.usage.cache_hits) == (second.quotes[0].price, 0)
        assert (calls(desk), second.usage.vendor_calls, second.usage.cache_hits) == (before, 0, 1)
        series = await one.history(OCTOBER)
        await anyio.sleep(0.1)
        before = calls(desk)
        again = await other.history(OCTOBER)
        assert isinstance(series, HistoryAnswer)
        assert isinstance(again, HistoryAnswer)
        assert (again.bars, again.usage.vendor_calls, again.cached) == (series.bars, 0, True)
        assert calls(desk) == before
        longer = await other.history(UNTIL_NOW)
        assert isinstance(longer, HistoryAnswer)
        assert longer.usage.cache_hits == 1
        assert (await other.source_status())[1].cache_state == "ok"


async def test_the_same_history_asked_of_both_at_once_is_asked_of_the_vendors_once(desk: Desk, valkey: Valkey) -> None:
    """One leads, the other finds it known."""
    chosen = settings(**shared(valkey, 2))
    async with server(desk, chosen) as one, server(desk, chosen) as other:
        usages: list[int] = []

        async def ask(engine: Engine) -> None:
            answer = await engine.history(OCTOBER)
            assert isinstance(answer, HistoryAnswer)
            usages.append(answer.usage.vendor_calls)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, one)
            tasks.start_soon(ask, other)
        assert min(usages) == 0
        assert max(usages) > 0


async def test_no_key_and_nothing_of_a_source_that_forbids_it_is_on_the_server(desk: Desk, valkey: Valkey) -> None:
    """In no name and in no value; series of Cboe are not left there at all."""
    chosen = settings(**shared(valkey, 0), MDAGENT_CACHE__OPEN_MARKET_S="600")
    async with server(desk, chosen) as engine:
        await engine.quotes(QuoteQuestion(tuple(map(parse_symbol, ("AAPL", "MSFT", "VOD.L", "ZZZZ")))))
        for source in ("yahoo", "nasdaq", "cboe"):
            await engine.history(HistoryQuestion(parse_symbol("AAPL"), Interval.DAY_1, OCTOBER.first, OCTOBER.last,
                                                 sources=(source,)))  # fmt: skip
        await anyio.sleep(0.3)
        held = await valkey.everything()
    names = b" ".join(held)
    assert KEY.encode() not in names + b" ".join(held.values())
    assert b":series:yahoo|AAPL" in names
    assert b":series:nasdaq|AAPL" in names
    assert b":series:cboe|AAPL" not in names
    assert b":quote:AAPL||" in names


async def test_a_server_that_is_not_there_is_told_and_costs_no_answer(desk: Desk) -> None:
    """Each replica works on alone."""
    chosen = settings(MDAGENT_SHARED__URL="redis://user:s3cret-password@127.0.0.1:1/0")
    async with server(desk, chosen) as engine:
        assert len((await engine.quotes(AAPL)).quotes) == 1
        assert isinstance(await engine.history(OCTOBER), HistoryAnswer)
        state = (await engine.source_status())[1].cache_state
    assert state == "alone: the shared server at 127.0.0.1:1 cannot be used (ConnectionError)"


async def test_past_prices_of_a_source_that_allows_it_outlive_the_process(desk: Desk, tmp_path: Path) -> None:
    """The next start answers without a call; another source is fetched again."""
    chosen = settings(MDAGENT_SOURCES__YAHOO__STORE_HISTORY="true")
    asked = HistoryQuestion(OCTOBER.instrument, OCTOBER.interval, OCTOBER.first, OCTOBER.last, sources=("yahoo",))
    async with server(desk, chosen, tmp_path) as engine:
        first = await engine.history(asked)
    async with server(desk, chosen, tmp_path) as engine:
        second = await engine.history(asked)
    assert isinstance(first, HistoryAnswer)
    assert isinstance(second, HistoryAnswer)
    assert (first.usage.vendor_calls > 0, second.usage.vendor_calls, second.usage.cache_hits) == (True, 0, 1)
    assert (second.bars, second.grade) == (first.bars, first.grade)
    assert (tmp_path / "history.sqlite3").exists()


async def test_nothing_is_stored_without_leave(desk: Desk, tmp_path: Path) -> None:
    """By default no source is; and none at all when the whole is switched off."""
    off = settings(MDAGENT_SOURCES__YAHOO__STORE_HISTORY="true", MDAGENT_CACHE__HISTORY_STORE="false")
    for chosen in (settings(), off):
        async with server(desk, chosen, tmp_path) as engine:
            await engine.history(OCTOBER)
        assert {path.name for path in tmp_path.iterdir()} == {"memory.sqlite3"}


def test_storing_against_a_sources_terms_is_refused() -> None:
    """By name, when the settings are read."""
    with pytest.raises(ConfigurationError, match=r"sources\.cboe\.store_history: the terms of cboe forbid storing"):
        load({"MDAGENT_SOURCES__CBOE__STORE_HISTORY": "true"})


@pytest.mark.parametrize(("asked", "stored"), [(None, False), ("true", True), ("false", False)])
def test_simulated_bars_are_stored_only_when_that_was_asked_for(asked: str | None, *, stored: bool) -> None:
    """Under `--sandbox`."""
    environ = {} if asked is None else {"MDAGENT_CACHE__HISTORY_STORE": asked}
    clock: Clock = SystemClock()
    desk = Desk(market=SimulatedMarket(SEED), clock=clock, board=FaultBoard(Faults.parse(()), SEED))
    simulated = simulated_settings(load(environ).settings, Sandbox("http://127.0.0.1:1", desk))
    assert simulated.cache.history_store is stored
    assert bool(simulated.source("yahoo").store_history) is stored
