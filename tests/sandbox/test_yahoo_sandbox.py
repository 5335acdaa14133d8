"""Yahoo in the sandbox: the crumb handshake, chart series and their conventions, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mdagent_mcp.domain.prices import Bar
from sandbox.loopback import CLOSED, OPEN, Loopback, in_process_at

NEW_YORK = ZoneInfo("America/New_York")


async def chart(loopback: Loopback, symbol: str, query: str) -> Any:
    """The only result of a chart reply."""
    body = await loopback.json(f"/yahoo/v8/finance/chart/{symbol}?{query}")
    (result,) = body["chart"]["result"]
    return result


async def refusal(loopback: Loopback, query: str) -> tuple[int, str, str]:
    """Status, code and description of a refused chart."""
    reply = await loopback.get(f"/yahoo/v8/finance/chart/AAPL?{query}")
    error = reply.json()["chart"]["error"]
    return reply.status_code, error["code"], error["description"]


async def test_the_batch_needs_the_crumb_of_its_own_cookie() -> None:
    """No cookie no crumb; no crumb, a made-up one or another session's no quote; then it works."""
    invalid = {"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}
    path = "/yahoo/v7/finance/quote?symbols=AAPL"
    async with in_process_at(OPEN) as loopback:
        no_cookie = await loopback.get("/yahoo/v1/test/getcrumb")
        bare = await loopback.get(path)
        first = await loopback.get("/yahoo/")
        crumb = (await loopback.get("/yahoo/v1/test/getcrumb")).text
        made_up = await loopback.get(f"{path}&crumb=CRUMBCRUMB1")
        good = await loopback.get(f"{path}&crumb={crumb}")
        loopback.client.cookies.clear()
        stolen = await loopback.get(f"{path}&crumb={crumb}", Cookie="A3=another")
    assert (no_cookie.status_code, first.status_code, good.status_code) == (401, 404, 200)
    assert first.headers["set-cookie"].startswith("A3=")
    assert [(r.status_code, r.json()) for r in (bare, made_up, stolen)] == [(401, invalid)] * 3


async def test_unknown_symbols_are_missing_from_the_batch() -> None:
    """Class shares have a dash and pairs `=X`; other spellings are as unknown as invented symbols."""
    asked = "BRK-B,ZZZZ,BRK.B,EURUSD,EURUSD%3DX,^GSPC,BTC-USD,AAPL,AAPL"
    async with in_process_at(OPEN) as loopback:
        await loopback.get("/yahoo/")
        crumb = (await loopback.get("/yahoo/v1/test/getcrumb")).text
        body = await loopback.json(f"/yahoo/v7/finance/quote?symbols={asked}&crumb={crumb}")
        subset = await loopback.json(f"/yahoo/v7/finance/quote?symbols=AAPL&fields=bid&crumb={crumb}")
        many = ",".join(f"SIM{n:03}" for n in range(100))
        refused = await loopback.get(f"/yahoo/v7/finance/quote?symbols={many}&crumb={crumb}")
    rows = body["quoteResponse"]["result"]
    assert [row["symbol"] for row in rows] == ["BRK-B", "EURUSD=X", "^GSPC", "BTC-USD", "AAPL"]
    (row,) = subset["quoteResponse"]["result"]
    assert ("bid" in row, "ask" in row, "regularMarketPrice" in row) == (True, False, True)
    assert refused.status_code == 400


@pytest.mark.parametrize("agent", ["", "curl/8.5.0", "python-requests/2.32"])
async def test_the_edge_refuses_clients_that_do_not_look_like_browsers(agent: str) -> None:
    """429 in plain text, which is no JSON."""
    async with in_process_at(OPEN) as loopback:
        reply = await loopback.get("/yahoo/v8/finance/chart/AAPL", **{"User-Agent": agent})
    assert (reply.status_code, reply.text) == (429, "Too Many Requests\r\n")
    assert reply.headers["content-type"].startswith("text/plain")


async def test_daily_rows_are_stamped_with_the_sessions_open() -> None:
    """09:30 New York in summer and in winter, split-adjusted, as stored in 32 bits; no row for today's future."""
    async with in_process_at(OPEN) as loopback:
        result = await chart(loopback, "AAPL", "interval=1d&range=1y")
        truth = loopback.sandbox.market.daily_bars(
            "AAPL", datetime(2025, 11, 23, tzinfo=UTC).date(), OPEN.date(), until=OPEN
        )
    stamps = [datetime.fromtimestamp(t, NEW_YORK) for t in result["timestamp"]]
    assert {(at.hour, at.minute) for at in stamps} == {(9, 30)}
    assert [at.date() for at in stamps] == [bar.day for bar in truth]
    columns = result["indicators"]["quote"][0]
    assert columns["close"][:-1] == [pytest.approx(bar.close, rel=1e-7) for bar in truth][:-1]
    assert columns["volume"][:-1] == [bar.volume for bar in truth][:-1]
    assert result["meta"]["dataGranularity"] == "1d"
    assert "previousClose" not in result["meta"]


async def test_events_and_adjusted_closes_fit_each_other() -> None:
    """Across a dividend adjclose falls behind close by its share; after the last one they are equal."""
    async with in_process_at(OPEN) as loopback:
        result = await chart(loopback, "KO", "interval=1d&range=3mo&events=div")
    (dividend,) = result["events"]["dividends"].values()
    closes = result["indicators"]["quote"][0]["close"]
    adjusted = result["indicators"]["adjclose"][0]["adjclose"]
    at = result["timestamp"].index(dividend["date"])
    factor = 1 - dividend["amount"] / closes[at - 1]
    assert adjusted[at:] == closes[at:]
    assert adjusted[:at] == [pytest.approx(close * factor, rel=1e-6) for close in closes[:at]]


async def test_a_split_is_an_event_and_prices_before_it_are_divided() -> None:
    """NVDA 4:1 in March 2026: no jump in the series, the ratio as text and numbers."""
    query = "interval=1d&period1=1772582400&period2=1774224000&events=div,splits"
    async with in_process_at(OPEN) as loopback:
        result = await chart(loopback, "NVDA", query)
        reverse = await chart(loopback, "PLUG", "interval=1d&range=1y&events=split")
    ((stamp, split),) = result["events"]["splits"].items()
    expected = {"date": int(stamp), "numerator": 4, "denominator": 1, "splitRatio": "4:1"}
    assert split == expected
    assert datetime.fromtimestamp(int(stamp), NEW_YORK).date().isoformat() == "2026-03-16"
    closes = result["indicators"]["quote"][0]["close"]
    assert all(0.8 < b / a < 1.25 for a, b in pairwise(closes))
    assert [s["splitRatio"] for s in reverse["events"]["splits"].values()] == ["1:10"]


async def test_a_full_day_of_minutes_has_one_row_more_and_a_few_nulls() -> None:
    """391 points: 09:30 to 15:59 and the official close at 16:00:00; some rows are null throughout."""
    async with in_process_at(CLOSED) as loopback:
        result = await chart(loopback, "AAPL", "interval=1m&range=5d")
        official = loopback.sandbox.market.daily_bars("AAPL", datetime(2026, 11, 20, tzinfo=UTC).date(), CLOSED.date())
    friday = [n for n, t in enumerate(result["timestamp"]) if datetime.fromtimestamp(t, UTC).day == 20]
    columns = result["indicators"]["quote"][0]
    assert len(result["timestamp"]) == 5 * 391
    assert len(friday) == 391
    assert datetime.fromtimestamp(result["timestamp"][-1], NEW_YORK).strftime("%H:%M:%S") == "16:00:00"
    assert columns["close"][-1] == pytest.approx(official[0].close, rel=1e-7)
    nulls = [n for n, close in enumerate(columns["close"]) if close is None]
    assert 0 < len(nulls) < 20
    assert {columns[name][n] for name in columns for n in nulls} == {None}


async def test_extended_hours_are_added_on_request() -> None:
    """From 04:00 to 19:55 New York with zero volume outside the session; without it from 09:30 on."""
    async with in_process_at(CLOSED) as loopback:
        extended = await chart(loopback, "AAPL", "interval=5m&range=1d&includePrePost=true")
        regular = await chart(loopback, "AAPL", "interval=5m&range=1d")
    stamps = [datetime.fromtimestamp(t, NEW_YORK).strftime("%H:%M") for t in extended["timestamp"]]
    assert (stamps[0], stamps[-1], len(stamps)) == ("04:00", "19:55", 192)
    assert len(regular["timestamp"]) == 78
    volumes = extended["indicators"]["quote"][0]["volume"]
    assert (sum(volumes[:66]), sum(volumes[144:])) == (0, 0)
    assert min(volumes[66:144]) > 0
    assert set(extended["meta"]["tradingPeriods"]) == {"pre", "regular", "post"}


async def test_minutes_before_a_split_are_divided_too() -> None:
    """Intraday series of the days around the split have no jump either."""
    instant = datetime(2026, 3, 17, 18, tzinfo=UTC)
    async with in_process_at(instant) as loopback:
        result = await chart(loopback, "NVDA", "interval=1h&range=5d")
    closes = result["indicators"]["quote"][0]["close"]
    assert max(closes) / min(closes) < 1.25


async def test_weeks_and_months_are_merged_days() -> None:
    """Stamped with the Monday or the first, midnight New York; the last one is the one running."""
    async with in_process_at(OPEN) as loopback:
        weeks = await chart(loopback, "MSFT", "interval=1wk&range=3mo")
        months = await chart(loopback, "MSFT", "interval=1mo&range=1y")
        days = loopback.sandbox.market.daily_bars(
            "MSFT", datetime(2026, 11, 16, tzinfo=UTC).date(), datetime(2026, 11, 20, tzinfo=UTC).date()
        )
    starts = [datetime.fromtimestamp(t, NEW_YORK) for t in weeks["timestamp"]]
    assert {(at.weekday(), at.hour) for at in starts} == {(0, 0)}
    assert {datetime.fromtimestamp(t, NEW_YORK).day for t in months["timestamp"]} == {1}
    columns = weeks["indicators"]["quote"][0]
    row = {name: columns[name][-2] for name in ("open", "high", "low", "close", "volume")}
    merged = _merged(days)
    assert row == {name: pytest.approx(merged[name], rel=1e-7) for name in row}


def _merged(days: tuple[Bar, ...]) -> dict[str, float]:
    return {
        "open": days[0].open,
        "high": max(bar.high for bar in days),
        "low": min(bar.low for bar in days),
        "close": days[-1].close,
        "volume": sum(bar.volume or 0 for bar in days),
    }


async def test_the_longest_range_is_silently_coarsened() -> None:
    """`range=max&interval=1d` answers quarters; only dataGranularity says so."""
    async with in_process_at(OPEN) as loopback:
        result = await chart(loopback, "AAPL", "interval=1d&range=max")
    assert result["meta"]["dataGranularity"] == "3mo"
    assert 60 < len(result["timestamp"]) < 75


async def test_ranges_that_yahoo_does_not_serve_are_refused() -> None:
    """422 for what is never possible, 400 for instants without data, each with Yahoo's words."""
    async with in_process_at(OPEN) as loopback:
        told = [
            await refusal(loopback, query)
            for query in (
                "interval=7m&range=1d",
                "interval=1d&range=4d",
                "interval=1m&range=3mo",
                "interval=1m&period1=1793500000&period2=1795500000",
                "interval=1d&period1=2000&period2=1000",
                "interval=1d&period1=300000000&period2=400000000",
                "interval=1d&period1=x",
            )
        ]
    assert [status for status, _, _ in told] == [422, 422, 422, 422, 400, 400, 400]
    starts = (
        "Invalid input - interval=7m is not supported",
        "Invalid input - range=4d is not supported",
        "1m data not available for startTime=",
        "1m data not available for startTime=1793500000 and endTime=1795500000. Only 8 days",
        "Invalid input - start date cannot be after end date",
        "Data doesn't exist for startDate = 300000000, endDate = 400000000",
        "Invalid input - period1",
    )
    assert all(text.startswith(start) for (_, _, text), start in zip(told, starts, strict=True))
