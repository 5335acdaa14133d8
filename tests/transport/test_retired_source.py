"""A source whose service was shut down: told as retired, never asked, and like any other once it has a host."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from mdagent_mcp.app import open_app
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.domain.status import SourceState, SourceStatus
from mdagent_mcp.engine.service import Engine
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import host_sets
from mdagent_mcp.vendors.finnhub import FINNHUB
from mdagent_mcp.vendors.iex_cloud import IEX_CLOUD
from transport.invented_vendor import NOON, Web

GATEWAY = "http://archive.invalid/iex"
FINNHUB_QUOTE = {"c": 189.5, "o": 188.0, "h": 190.0, "l": 187.5, "pc": 188.25, "t": int(NOON.timestamp()) - 1}
IEX_QUOTE = {
    "symbol": "AAPL",
    "latestPrice": 189.5,
    "latestSource": "IEX real time price",
    "latestUpdate": int(NOON.timestamp() * 1000) - 1000,
    "currency": "USD",
}


def answer(request: httpx.Request) -> httpx.Response:
    """A web in which both services answer."""
    body: Mapping[str, Any] = FINNHUB_QUOTE if request.url.host == "finnhub.io" else IEX_QUOTE
    return httpx.Response(200, content=json.dumps(body).encode())


@asynccontextmanager
async def engine(patch: pytest.MonkeyPatch, **iex: Any) -> AsyncIterator[tuple[Engine, Web]]:
    """The engine over Finnhub and IEX Cloud, the latter configured so."""
    patch.setattr("mdagent_mcp.app.VENDORS", (FINNHUB, IEX_CLOUD))
    settings = Settings.model_validate({"sources": {"finnhub": {"api_key": "f"}, "iex_cloud": iex}})
    web = Web(answer)
    clock = ManualClock(NOON)
    async with open_app(
        settings, clock=clock, data_dir=None, open_transport=lambda _: web, rng=random.Random(1)
    ) as opened:
        yield opened, web


def question(*sources: str) -> QuoteQuestion:
    """What AAPL costs, by these sources."""
    return QuoteQuestion((parse_symbol("AAPL"),), sources=sources)


async def status_of(opened: Engine) -> SourceStatus:
    """What the engine says of IEX Cloud."""
    ((status,), _) = await opened.source_status("iex_cloud")
    return status


async def test_it_says_since_when_and_what_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key for it changes nothing, and nothing of the requests would go to it."""
    for configured in ({}, {"api_key": "pk_old"}, {"enabled": False}):
        async with engine(monkeypatch, **configured) as (opened, _):
            status = await status_of(opened)
        assert (status.state, status.reason) == (SourceState.RETIRED, "IEX Cloud shut down on 2024-08-31")
        assert (status.since, status.successors) == (datetime(2024, 8, 31, tzinfo=UTC), ("tiingo",))
        assert (status.weight, status.next_retry_at, status.last_error) == (0.0, None, None)


async def test_it_is_never_asked_and_never_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither among the failures nor in the availability nor among what could help."""
    async with engine(monkeypatch) as (opened, web):
        (quote,) = (await opened.quotes(question())).quotes
        assert (quote.price, quote.sources_used) == (189.5, ("finnhub",))
        assert {request.url.host for request in web.requests} == {"finnhub.io"}
        assert "iex" not in repr(quote).lower()
        ((_, retired), overall) = await opened.source_status()
        assert (retired.state, overall.availability_24h) == (SourceState.RETIRED, 1.0)


async def test_who_names_it_is_told_that_it_is_retired(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no outage, and no call is made."""
    async with engine(monkeypatch, api_key="pk_old") as (opened, web):
        (failure,) = (await opened.quotes(question("iex_cloud"))).failures
        assert failure.kind is FailureKind.RETIRED
        assert web.requests == []


async def test_with_a_host_it_is_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked there with its key, and no successor is named."""
    async with engine(monkeypatch, base_url=GATEWAY, api_key="pk_mine") as (opened, web):
        (quote,) = (await opened.quotes(question("iex_cloud"))).quotes
        assert (quote.price, quote.sources_used) == (189.5, ("iex_cloud",))
        assert [str(request.url) for request in web.requests] == [f"{GATEWAY}/stable/stock/AAPL/quote?token=pk_mine"]
        status = await status_of(opened)
        assert (status.state, status.since, status.successors) == (SourceState.LIVE, NOON, ())
        assert status.weight > 0


@pytest.mark.parametrize(
    "gone",
    [
        "https://cloud.iexapis.com/stable",
        "https://CLOUD.IEXAPIS.COM.",
        "https://sandbox.iexapis.com:443/v1",
        "https://api.iextrading.com/1.0",
        "https://apis.iex.cloud/v1",
    ],
)
async def test_its_old_hosts_are_no_hosts(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever still has one in the settings, with a token, is told what became of it instead of a connection error."""
    async with engine(monkeypatch, base_url=gone, api_key="pk_old") as (opened, web):
        (failure,) = (await opened.quotes(question("iex_cloud"))).failures
        assert failure.kind is FailureKind.RETIRED
        assert "IEX Cloud shut down on 2024-08-31; instead: tiingo" in failure.message
        status = await status_of(opened)
        assert (status.state, status.reason) == (SourceState.RETIRED, "IEX Cloud shut down on 2024-08-31")
        assert web.requests == []


def test_a_host_that_only_looks_like_an_old_one_is_one() -> None:
    """What stands is asked, and only that."""
    alike = ("http://notiexapis.com", "http://iexapis.com.example", GATEWAY, "http://[")
    assert IEX_CLOUD.standing((*alike, "https://cloud.iexapis.com/stable")) == alike
    assert host_sets(IEX_CLOUD, ("https://cloud.iexapis.com", GATEWAY)) == ({"api": GATEWAY},)


async def test_with_a_host_it_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hands out keys for it any more, so no place to get one is named."""
    async with engine(monkeypatch, base_url=GATEWAY) as (opened, web):
        status = await status_of(opened)
        assert (status.state, status.reason) == (SourceState.NO_KEY, "set IEX_TOKEN")
        await opened.quotes(question())
        assert {request.url.host for request in web.requests} == {"finnhub.io"}


def test_it_has_no_host_of_its_own() -> None:
    """A configured one is the only one."""
    assert host_sets(IEX_CLOUD) == ()
    assert host_sets(IEX_CLOUD, (f"{GATEWAY}/",)) == ({"api": GATEWAY},)
