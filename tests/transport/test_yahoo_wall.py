"""Yahoo behind its wall: how its refusals are taken, and its crumb kept."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import httpx
import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.source import Source, SourceOptions
from mdagent_mcp.vendors.yahoo import YAHOO
from transport.invented_vendor import NOON, Handler, Web

SYMBOLS = tuple(map(parse_symbol, ("AAPL", "MSFT", "KO")))
QUARTER_OF_AN_HOUR = 900.0


class YahooBench:
    """Yahoo as the application asks it, on a hand-turned clock."""

    def __init__(self, handler: Handler) -> None:
        self.clock, self.web = ManualClock(NOON), Web(handler)
        client = VendorClient(YAHOO, host_sets(YAHOO), None, self.clock, lambda _: self.web)
        options = SourceOptions(quotas=YAHOO.default_plan.quotas)
        self.source = Source(YAHOO, options, client, clock=self.clock, emit=lambda _: None, rng=random.Random(1))

    async def batch(self) -> list[Outcome[tuple[Quote, ...]]]:
        """What it says of three symbols, which is a batch."""
        answers = (await self.source.quotes(SYMBOLS, 10.0)).answer
        return [answers[i.symbol] for i in SYMBOLS]

    async def one(self) -> Outcome[tuple[Quote, ...]]:
        """What it says of one symbol."""
        return (await self.source.quotes(SYMBOLS[:1], 10.0)).answer["AAPL"]


def batch_reply() -> httpx.Response:
    """Three quotes in the shape of v7."""
    rows = [
        {
            "symbol": i.symbol,
            "quoteType": "EQUITY",
            "currency": "USD",
            "marketState": "REGULAR",
            "regularMarketPrice": 100.0 + place,
            "regularMarketTime": int(NOON.timestamp()) - 2,
            "exchangeTimezoneName": "America/New_York",
        }
        for place, i in enumerate(SYMBOLS)
    ]
    return httpx.Response(200, content=json.dumps({"quoteResponse": {"result": rows, "error": None}}).encode())


def web(crumbs: Iterator[httpx.Response], accepted: str = "gOOd.crumb1") -> Handler:
    """Yahoo's hosts: a cookie, crumbs in turn, and a batch for who brings both."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "fc.yahoo.com":
            return httpx.Response(404, headers={"set-cookie": "A3=c; Domain=.yahoo.com; Path=/; Secure"})
        if request.url.path == "/v1/test/getcrumb":
            return next(crumbs)
        if request.url.params.get("crumb") == accepted and "A3=c" in request.headers.get("cookie", ""):
            return batch_reply()
        refused = {"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}
        return httpx.Response(401, content=json.dumps(refused).encode())

    return answer


GOOD = httpx.Response(200, content=b"gOOd.crumb1")


def kinds(outcomes: list[Outcome[tuple[Quote, ...]]]) -> set[FailureKind | None]:
    """What became of them."""
    return {o.kind if isinstance(o, Failure) else None for o in outcomes}


def crumbs_in(bench: YahooBench) -> list[str]:
    """The crumbs that batch requests carried."""
    return [r.url.params["crumb"] for r in bench.web.requests if r.url.path == "/v7/finance/quote"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (httpx.Response(200, content=b""), FailureKind.MALFORMED_REPLY),
        (httpx.Response(200, content=b"<html><body>consent</body></html>"), FailureKind.MALFORMED_REPLY),
        (httpx.Response(200, content=b"a" * 41), FailureKind.MALFORMED_REPLY),
        (httpx.Response(200, content=b"two words"), FailureKind.MALFORMED_REPLY),
        (httpx.Response(200, content=b'{"finance":{}}'), FailureKind.MALFORMED_REPLY),
        (httpx.Response(200, content=b"\xff\xfe"), FailureKind.MALFORMED_REPLY),
    ],
)
async def test_what_is_no_crumb_is_never_sent_and_asked_for_anew(reply: httpx.Response, kind: FailureKind) -> None:
    """The next batch fetches another one, and gets its answer."""
    bench = YahooBench(web(iter([reply, GOOD])))
    assert kinds(await bench.batch()) == {kind}
    assert crumbs_in(bench) == []
    assert kinds(await bench.batch()) == {None}
    assert crumbs_in(bench) == ["gOOd.crumb1"]


@pytest.mark.parametrize("text", [b"Too Many Requests", b"Edge: Too Many Requests"])
@pytest.mark.parametrize("status", [200, 429])
async def test_too_many_requests_in_place_of_a_crumb_is_a_refusal_and_no_crumb(text: bytes, status: int) -> None:
    """With any status; Yahoo is left alone for a quarter of an hour and then asked for another one."""
    bench = YahooBench(web(iter([httpx.Response(status, content=text), GOOD])))
    assert kinds(await bench.batch()) == {FailureKind.THROTTLED}
    asked = len(bench.web.requests)
    await bench.clock.advance(QUARTER_OF_AN_HOUR - 2)
    assert (kinds(await bench.batch()), len(bench.web.requests)) == ({FailureKind.THROTTLED}, asked)
    await bench.clock.advance(2)
    assert (kinds(await bench.batch()), crumbs_in(bench)) == ({None}, ["gOOd.crumb1"])


async def test_a_refused_crumb_is_fetched_again_once() -> None:
    """One that has gone stale heals within the call."""
    bench = YahooBench(web(iter([httpx.Response(200, content=b"stale.crumb"), GOOD])))
    assert kinds(await bench.batch()) == {None}
    assert crumbs_in(bench) == ["stale.crumb", "gOOd.crumb1"]


async def test_a_crumb_that_is_refused_twice_is_given_up() -> None:
    """And not kept: the next batch begins with another one."""
    bench = YahooBench(web(iter([httpx.Response(200, content=c) for c in (b"stale.1", b"stale.2", b"gOOd.crumb1")])))
    assert kinds(await bench.batch()) == {FailureKind.UNAUTHORIZED}
    assert crumbs_in(bench) == ["stale.1", "stale.2"]
    await bench.clock.advance(10.5)
    assert kinds(await bench.batch()) == {None}


async def test_a_crumb_is_kept_and_its_requests_count_among_ours() -> None:
    """Cookie, crumb and batch are three of the five in ten seconds; the second batch is one."""
    bench = YahooBench(web(iter([GOOD])))
    for used in (3, 4):
        assert all(isinstance(o, Answered) for o in await bench.batch())
        assert [view.used for view in bench.source.limiter.usage()] == [used, used]
    assert len(bench.web.requests) == 4


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "5"}, {"Retry-After": "0"}])
async def test_a_429_rests_yahoo_for_a_quarter_of_an_hour_whatever_it_says(headers: dict[str, str]) -> None:
    """Its blocks last at least that long, and asking into them prolongs them."""
    bench = YahooBench(lambda _: httpx.Response(429, content=b"Edge: Too Many Requests", headers=headers))
    failure = await bench.one()
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.retry_after_s) == (FailureKind.THROTTLED, QUARTER_OF_AN_HOUR)
    await bench.clock.advance(QUARTER_OF_AN_HOUR - 2)
    assert bench.source.state() is SourceState.THROTTLED
    assert (await bench.one(), len(bench.web.requests)) != (failure, 2)
    assert len(bench.web.requests) == 1
    await bench.clock.advance(2)
    assert bench.source.state() is SourceState.LIVE


async def test_a_longer_rest_that_yahoo_asks_for_is_granted() -> None:
    """An hour is an hour."""
    bench = YahooBench(lambda _: httpx.Response(429, headers={"Retry-After": "3600"}))
    failure = await bench.one()
    assert isinstance(failure, Failure)
    assert failure.retry_after_s == 3600.0
