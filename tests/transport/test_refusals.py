"""What a key may not do is learned once; what is spent is left alone until it is whole; what is unknown is nobody's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.refusals import REST_AFTER_QUOTA_S, rest_s
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint, ErrorRule, Plan, Quota
from mdagent_mcp.vendors.twelve_data import TWELVE_DATA
from transport.invented_vendor import INVENTED, NOON, Bench, prices, quote

SINGLE = replace(INVENTED, quotes=None)


def daily(zone: str) -> dict[str, Plan]:
    """One plan whose quota begins anew at midnight there."""
    return {"free": Plan(quotas=(Quota(60, 60.0, "minute"), Quota(800, 86_400.0, "day", resets="day", zone=zone)))}


def refused(text: bytes = b"not in your plan", status: int = 403) -> httpx.Response:
    """A refusal of what the plan does not include."""
    return httpx.Response(status, content=text)


async def test_an_endpoint_that_is_refused_for_two_symbols_is_asked_no_more_and_trips_nothing() -> None:
    """The key is not entitled to it: every circuit stays closed, and the source says why it cannot."""
    bench = Bench(lambda _: refused(), vendor=SINGLE)
    for symbol in ("AAPL", "AAPL", "MSFT"):
        failure = (await bench.ask(symbol))[symbol]
        assert isinstance(failure, Failure)
        assert failure.kind is FailureKind.NOT_ENTITLED
    assert bench.source.excluded == {Endpoint.QUOTE}
    told = "the plan of this key does not include current quotes at Invented"
    assert bench.source.refuses_quote(parse_symbol("IBM")) == told
    assert (bench.source.state(), set(bench.source.breaker.circuits().values())) == (SourceState.LIVE, {"closed"})


async def test_one_symbol_that_is_refused_says_nothing_about_the_others() -> None:
    """Another one is answered, and the count begins anew."""
    bench = Bench(prices(AAPL=1.0), vendor=SINGLE)
    for _ in range(3):
        bench.web.handler = lambda _: refused()
        await bench.ask("MSFT")
        bench.web.handler = prices(AAPL=1.0)
        assert (await bench.ask("AAPL"))["AAPL"] == Answered((quote("AAPL", 1.0),))
    assert bench.source.excluded == set()


async def test_a_batch_that_the_plan_lacks_gives_way_to_single_calls() -> None:
    """It speaks of several symbols at once, so once is enough."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/batch":
            return refused()
        symbol = request.url.path.rpartition("/")[2]
        return httpx.Response(200, content=b'{"%s": 1.0}' % symbol.encode())

    bench = Bench(answer, vendor=replace(INVENTED, token=None))
    await bench.ask("AAPL", "MSFT", "IBM")
    assert bench.source.excluded == {Endpoint.QUOTES}
    answers = await bench.ask("AAPL", "MSFT", "IBM")
    assert all(isinstance(found, Answered) for found in answers.values())
    assert bench.source.state() is SourceState.LIVE


async def test_a_spent_quota_closes_the_source_for_an_hour_when_nobody_says_when_it_resets() -> None:
    """A 402 without any number; no circuit opens, and nothing is sent meanwhile."""
    bench = Bench(lambda _: httpx.Response(402, content=b"over quota"), vendor=SINGLE)
    failure = (await bench.ask("AAPL"))["AAPL"]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.retry_after_s) == (FailureKind.QUOTA_EXHAUSTED, REST_AFTER_QUOTA_S)
    assert bench.source.state() is SourceState.EXHAUSTED
    await bench.ask("AAPL")
    assert len(bench.web.requests) == 1
    assert set(bench.source.breaker.circuits().values()) == {"closed"}
    await bench.clock.advance(REST_AFTER_QUOTA_S)
    assert bench.source.state() is SourceState.LIVE


async def test_a_daily_quota_closes_the_source_until_the_vendors_own_midnight() -> None:
    """Noon in New York: seven hours to 00:00 UTC, and two minutes for clocks that differ."""
    rule = ErrorRule(FailureKind.QUOTA_EXHAUSTED, contains=b"for the day", retry_after_s=3600.0)
    vendor = replace(SINGLE, errors=(rule,), plans=daily("UTC"))
    bench = Bench(lambda _: httpx.Response(429, content=b"no credits for the day"), vendor=vendor)
    failure = (await bench.ask("AAPL"))["AAPL"]
    assert isinstance(failure, Failure)
    assert failure.retry_after_s == timedelta(hours=7, minutes=2).total_seconds()
    assert bench.source.state() is SourceState.EXHAUSTED


def test_twelve_data_is_left_alone_until_midnight_utc() -> None:
    """Its change log says when the day begins."""
    at = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
    assert rest_s(TWELVE_DATA, FailureKind.QUOTA_EXHAUSTED, 3600.0, at) == 32 * 60
    assert rest_s(TWELVE_DATA, FailureKind.THROTTLED, None, at) == 60.0


@given(
    now=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo"]),
)
def test_the_wait_for_midnight_ends_after_it_and_within_a_day(now: datetime, zone: str) -> None:
    """In the vendor's zone, also where a day has 23 or 25 hours."""
    wait = rest_s(replace(INVENTED, plans=daily(zone)), FailureKind.QUOTA_EXHAUSTED, None, now)
    assert wait is not None
    assert 0 < wait <= 86_400
    end = (now + timedelta(seconds=wait)).astimezone(ZoneInfo(zone))
    assert (end.hour, end.minute) in {(0, 2), (1, 2), (23, 2)}


@pytest.mark.parametrize("kind", [FailureKind.UNKNOWN_SYMBOL, FailureKind.NOT_ENTITLED, FailureKind.NO_DATA])
def test_other_failures_ask_for_no_rest(kind: FailureKind) -> None:
    """They speak of what was asked, not of us."""
    assert rest_s(INVENTED, kind, None, NOON) is None


async def test_unknown_symbols_close_nothing_and_exclude_nothing() -> None:
    """However many there are."""
    bench = Bench(prices(), vendor=SINGLE)
    for place in range(30):
        await bench.ask(f"Z{chr(65 + place % 26)}{chr(65 + place // 26)}")
    assert (bench.source.state(), bench.source.excluded) == (SourceState.LIVE, frozenset())
    assert bench.source.limiter.resting() is None
