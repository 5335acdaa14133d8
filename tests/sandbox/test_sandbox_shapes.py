"""Our replies have the shape of real recorded ones: no key that the recordings do not show, all that parsers need.

The recordings are evidence beside the project, not part of it; without them these tests are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest

from sandbox.loopback import CLOSED, OPEN, POST, PRE, RECORDINGS, Loopback, in_process_at

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="no vendor recordings beside the project (../shared/recordings)"
)
every_session = pytest.mark.parametrize("instant", [PRE, OPEN, POST, CLOSED], ids=["pre", "open", "post", "closed"])


def shape(value: Any, path: str = "") -> set[str]:
    """Every key with the path to it; elements of a list and stamped events share one path."""
    if isinstance(value, dict):
        names = {name: "*" if name.isdecimal() else name for name in value}
        return {f"{path}.{names[n]}" for n in value}.union(*(shape(v, f"{path}.{names[n]}") for n, v in value.items()))
    if isinstance(value, list):
        return set().union(*(shape(element, f"{path}[]") for element in value))
    return set()


def recorded(vendor: str, *patterns: str) -> list[Any]:
    """The bodies of recordings."""
    files = [file for pattern in patterns for file in sorted((RECORDINGS / vendor).glob(pattern))]
    assert files, f"no recording of {vendor} matches {patterns}"
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def shapes(bodies: Iterable[Any]) -> set[str]:
    """All keys of all bodies."""
    return set().union(*map(shape, bodies))


async def chart(loopback: Loopback, symbol: str, query: str) -> Any:
    """A chart reply."""
    return await loopback.json(f"/yahoo/v8/finance/chart/{symbol}?{query}")


@every_session
async def test_yahoo_daily_chart(instant: datetime) -> None:
    """As the recorded daily chart with a split and a dividend, key for key."""
    real = shapes(recorded("yahoo", "chart_aapl_daily_2020q4_with_split_dividend.json"))
    async with in_process_at(instant) as loopback:
        ours = shape(await chart(loopback, "NVDA", "interval=1d&range=1y&events=div|split"))
    assert ours == real


@every_session
@pytest.mark.parametrize(("extended", "recording"), [("false", "*_1m_2024.json"), ("true", "*_tsla_30m.json")])
async def test_yahoo_intraday_chart(instant: datetime, extended: str, recording: str) -> None:
    """As recorded without and with extended hours; the older recording lacks keys that the newer one has."""
    real = shapes(recorded("yahoo", f"chart_hist{recording}"))
    newer = shapes(recorded("yahoo", "chart_aapl_1m_2025.json", "chart_hist_aapl_1m_2024.json"))
    async with in_process_at(instant) as loopback:
        ours = shape(await chart(loopback, "AAPL", f"interval=30m&range=5d&includePrePost={extended}"))
    assert real <= ours
    assert ours <= real | newer


async def test_yahoo_chart_without_data() -> None:
    """A weekend has no time stamps and an empty quote, as recorded."""
    (real,) = recorded("yahoo", "chart_aapl_1m_2025.json")
    async with in_process_at(CLOSED) as loopback:
        ours = await chart(loopback, "AAPL", "interval=1m&period1=1795237200&period2=1795280400")
    assert ours["chart"]["result"][0]["indicators"] == real["chart"]["result"][0]["indicators"] == {"quote": [{}]}
    assert shape(ours) - shape(real) <= {key for key in shape(ours) if "tradingPeriods" in key}


NOT_SIMULATED = frozenset(
    "averageDailyVolume10Day averageDailyVolume3Month fiftyDayAverage fiftyDayAverageChange "
    "fiftyDayAverageChangePercent messageBoardId twoHundredDayAverage twoHundredDayAverageChange "
    "twoHundredDayAverageChangePercent".split()
)
"""In every recorded row with a price, and of no use to anybody who asks for one."""
PRE_MARKET = frozenset(f"preMarket{name}" for name in ("Price", "Time", "Change", "ChangePercent"))
"""Documented, but no recording was made at such an hour."""


@every_session
@pytest.mark.parametrize("symbol", ["AAPL", "QQQ", "VOD.L", "BTC-USD", "EURUSD=X", "^GSPC", "NKLA"])
async def test_yahoo_quote(instant: datetime, symbol: str) -> None:
    """No invented key; all that every recorded row with a price has; a company that is gone is the recorded stub."""
    rows = [row for body in recorded("yahoo", "quote_*.json") for row in body["quoteResponse"]["result"]]
    priced = [set(row) for row in rows if "regularMarketPrice" in row and len(row) > 40]
    (stub,) = (set(row) for row in rows if row["quoteType"] == "NONE")
    async with in_process_at(instant) as loopback:
        await loopback.get("/yahoo/")
        crumb = (await loopback.get("/yahoo/v1/test/getcrumb")).text
        body = await loopback.json(f"/yahoo/v7/finance/quote?symbols={symbol}&crumb={crumb}")
    (ours,) = body["quoteResponse"]["result"]
    assert set(ours) <= set().union(*rows) | PRE_MARKET
    required = stub if symbol == "NKLA" else set.intersection(*priced) - NOT_SIMULATED
    assert required - set(ours) == set()


async def test_yahoo_errors() -> None:
    """The 404 of a chart and an empty batch are byte for byte the recorded ones."""
    (missing,), (empty,) = recorded("yahoo", "chart_hist_404_mdly.json"), recorded("yahoo", "quote_asx_aps.json")
    async with in_process_at(OPEN) as loopback:
        reply = await loopback.get("/yahoo/v8/finance/chart/ZZZZ?interval=1d&range=1d")
        await loopback.get("/yahoo/")
        crumb = (await loopback.get("/yahoo/v1/test/getcrumb")).text
        batch = await loopback.json(f"/yahoo/v7/finance/quote?symbols=ZZZZ&crumb={crumb}")
        refused = await loopback.get("/yahoo/", **{"User-Agent": ""})
    assert (reply.status_code, reply.json(), batch) == (404, missing, empty)
    assert len(crumb) == len((RECORDINGS / "yahoo" / "crumb_ok.txt").read_text(encoding="utf-8").strip())
    real = (RECORDINGS / "yahoo" / "error_429_too_many.txt").read_text(encoding="utf-8")
    assert (refused.status_code, refused.text.strip()) == (429, real.strip())


@every_session
@pytest.mark.parametrize("path", ["AAPL/info?assetclass=stocks", "SPY/info?assetclass=etf"])
async def test_nasdaq_info(instant: datetime, path: str) -> None:
    """Every key is recorded; every key of today's full recording is there, but the second block only when due."""
    real = shapes(recorded("nasdaq", "info_*.json", "excerpt_info_*.json", "old2019_info_*.json"))
    needed = shapes(recorded("nasdaq", "info_aapl_afterhours_2023.json"))
    async with in_process_at(instant) as loopback:
        ours = shape(await loopback.json(f"/nasdaq/api/quote/{path}"))
    assert ours <= real
    second = {key for key in needed if ".secondaryData." in key}
    assert needed - ours == (set() if instant in (PRE, POST) else second)


async def test_nasdaq_lists() -> None:
    """Watchlist rows, historical rows and the refusal are shaped as recorded."""
    async with in_process_at(OPEN) as loopback:
        watched = await loopback.json("/nasdaq/api/quote/watchlist?symbol=aapl%7Cstocks&symbol=spy%7Cetf")
        past = await loopback.json(
            "/nasdaq/api/quote/AAPL/historical?assetclass=stocks&fromdate=2026-11-01&todate=2026-11-23&limit=9999"
        )
        unknown = await loopback.json("/nasdaq/api/quote/ZZZZ/info?assetclass=stocks")
    assert shape(watched) == shapes(recorded("nasdaq", "excerpt_watchlist_2026.json"))
    assert shape(past) == shapes(recorded("nasdaq", "historical_capr_2026.json"))
    assert [unknown] == recorded("nasdaq", "error_unknown_symbol.json")


@every_session
async def test_cboe(instant: datetime) -> None:
    """Quote and daily file have exactly the recorded keys."""
    base = "/cboe/api/global/delayed_quotes"
    async with in_process_at(instant) as loopback:
        quotes = [await loopback.json(f"{base}/quotes/{name}.json") for name in ("AAPL", "_VIX", "_TNX", "NKLA")]
        daily = await loopback.json(f"{base}/charts/historical/AAPL.json")
    real = shapes(recorded("cboe", "quote_aapl_weekend_2026.json"))
    assert [shape(quote) for quote in quotes] == [real] * 4
    assert shape(daily) == shapes(recorded("cboe", "history_daily_aapl_tail30_2026.json"))


async def test_finnhub() -> None:
    """Quote, zeros, market status, candles and the refusal as recorded or documented."""
    base = "/finnhub/api/v1"
    async with in_process_at(OPEN) as loopback:
        quote = await loopback.json(f"{base}/quote?symbol=AAPL&token=k")
        unknown = await loopback.json(f"{base}/quote?symbol=ZZZZ&token=k")
        status = await loopback.json(f"{base}/stock/market-status?exchange=US&token=k")
        query = "symbol=AAPL&resolution=D&from=1794000000&to=1795500000"
        candles = await loopback.json(f"{base}/stock/candle?{query}&token=premium")
        refused = await loopback.get(f"{base}/stock/candle?{query}&token=k")
    assert shape(quote) == shapes(recorded("finnhub", "real_quoted/quote_intraday_2023.json"))
    assert [unknown] == recorded("finnhub", "real_quoted/quote_unknown_symbol.json")
    assert shape(status) == shapes(recorded("finnhub", "real_quoted/market_status_US_regular.json"))
    assert shape(candles) == shapes(recorded("finnhub", "doc/swagger_sample_stock_candle.json"))
    assert refused.status_code == 403
    assert [refused.json()] == recorded("finnhub", "real_quoted/error_403_no_access.json")
