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


async def test_tiingo() -> None:
    """The reference price without an agreement, days, minutes and crypto; its refusals word for word."""
    base, crypto = "/tiingo", "tickers=btcusd&token=k"
    async with in_process_at(OPEN) as loopback:
        top = await loopback.json(f"{base}/iex/?tickers=AAPL&token=k")
        days = await loopback.json(f"{base}/tiingo/daily/KO/prices?startDate=2026-11-09&endDate=2026-11-13&token=k")
        newest = await loopback.json(f"{base}/tiingo/daily/KO/prices?token=k")
        closes = await loopback.json(f"{base}/tiingo/daily/KO/prices?columns=open,high,low,close,volume&token=k")
        minutes = await loopback.json(f"{base}/iex/KO/prices?resampleFreq=30Min&token=k")
        prices = await loopback.json(f"{base}/tiingo/crypto/prices?resampleFreq=1day&{crypto}")
        book = await loopback.json(f"{base}/tiingo/crypto/top?{crypto}")
        meta = await loopback.json(f"{base}/tiingo/daily/KO?token=k")
        unknown = await loopback.get(f"{base}/tiingo/daily/GONE/prices?token=k")
        invalid = await loopback.get(f"{base}/iex/aapl?token=invalid")
        loopback.sandbox.set_faults("tiingo=throttle")
        throttled = await loopback.get(f"{base}/tiingo/daily/AAPL/prices?token=k")
    assert shape(top) == shapes(recorded("tiingo", "excerpt_iex_unlicensed_2026.json"))
    assert shape(days) == shape(newest) == shapes(recorded("tiingo", "daily_googl_2018.json"))
    assert list(days[0]) == list(recorded("tiingo", "daily_googl_2018.json")[0][0])
    assert shape(closes) == shapes(recorded("tiingo", "daily_googl_columns_2024.json"))
    assert shape(minutes) == shapes(recorded("tiingo", "iex_intraday_*.json"))
    exchanges = {key for key in shapes(recorded("tiingo", "crypto_*_2019.json")) if "exchangeData" in key}
    assert shape(prices) == shapes(recorded("tiingo", "crypto_history_2019.json")) - exchanges
    assert shape(book) == shapes(recorded("tiingo", "crypto_top_2019.json")) - exchanges
    assert shape(meta) == shapes(recorded("tiingo", "meta_*.json"))
    errors = {404: (unknown, "error_404_*"), 403: (invalid, "error_403_*"), 429: (throttled, "error_429_*")}
    for status, (reply, pattern) in errors.items():
        assert (reply.status_code, [reply.json()]) == (status, recorded("tiingo", pattern))


async def test_polygons_bars() -> None:
    """A range of shares, crypto and forex, the previous day, a day of the market and of one share."""
    aggs = "/polygon/v2/aggs"
    async with in_process_at(OPEN) as loopback:
        ranges = [
            await loopback.json(f"{aggs}/ticker/{ticker}/range/1/day/2026-11-09/2026-11-13?apiKey=starter")
            for ticker in ("AAPL", "X:BTCUSD", "C:EURUSD")
        ]
        index = await loopback.json(f"{aggs}/ticker/I:NDX/range/1/day/2026-11-09/2026-11-13?apiKey=starter")
        previous = await loopback.json(f"{aggs}/ticker/AAPL/prev?apiKey=starter")
        grouped = await loopback.json(f"{aggs}/grouped/locale/us/market/stocks/2026-11-13?apiKey=starter")
        summary = await loopback.json("/polygon/v1/open-close/AAPL/2026-11-13?apiKey=starter")
    for told in ranges:
        assert shape(told) == shapes(recorded("polygon", "real/2024_aggs_day_*.json"))
    assert shape(index) - {".adjusted", ".resultsCount"} == shapes(
        recorded("polygon", "doc/massive_indices_custom_bars_ohlc.json")
    )
    assert shape(previous) == shapes(recorded("polygon", "real/2022_prev_AAPL.json"))
    assert shape(grouped) == shapes(recorded("polygon", "real/2020_grouped_daily_one_row.json"))
    assert shape(summary) == shapes(recorded("polygon", "real/2021_open_close_AAPL.json"))


async def test_polygons_snapshots() -> None:
    """Both generations, the last trade and the last quote: nothing that is neither recorded nor documented."""
    second, third = "/polygon/v2/snapshot/locale", "/polygon/v3/snapshot"
    named = "AAPL,TSLAAPL"
    async with in_process_at(OPEN) as loopback:
        one = await loopback.json(f"{second}/us/markets/stocks/tickers/AAPL?apiKey=advanced")
        many = await loopback.json(f"{second}/us/markets/stocks/tickers?tickers=AAPL&apiKey=advanced")
        coin = await loopback.json(f"{second}/global/markets/crypto/tickers/X:BTCUSD?apiKey=advanced")
        pair = await loopback.json(f"{second}/global/markets/forex/tickers/C:EURUSD?apiKey=advanced")
        unified = await loopback.json(f"{third}?ticker.any_of={named}&apiKey=advanced")
        indices = await loopback.json(f"{third}/indices?ticker.any_of=I:DJI,APx&apiKey=advanced")
        trade = await loopback.json("/polygon/v2/last/trade/AAPL?apiKey=advanced")
        quote = await loopback.json("/polygon/v2/last/nbbo/AAPL?apiKey=advanced")
        market = await loopback.json("/polygon/v1/marketstatus/now?apiKey=advanced")
    assert shape(one) == shapes(recorded("polygon", "doc/massive_stocks_single_ticker_snapshot.json"))
    assert shape(many) == shapes(recorded("polygon", "doc/massive_stocks_full_market_snapshot.json"))
    assert shape(coin) == shapes(recorded("polygon", "doc/massive_crypto_single_ticker_snapshot.json"))
    assert shape(pair) - {".ticker.day.vw", ".ticker.min.vw"} == shapes(
        recorded("polygon", "doc/massive_forex_single_ticker_snapshot.json")
    ) - {".ticker.min.vw"}
    documented = shapes(recorded("polygon", "doc/massive_stocks_unified_snapshot.json", "doc/massive_indices_*"))
    assert (
        shape(unified) - documented
        == {
            ".results[].session.price",
            ".results[].session.regular_trading_change",
            ".results[].session.regular_trading_change_percent",
        }
        - documented
    )
    assert shape(indices) == shapes(recorded("polygon", "doc/massive_indices_indices_snapshot.json"))
    assert shape(trade) == shapes(recorded("polygon", "doc/massive_stocks_last_trade.json"))
    assert shape(quote) == shapes(recorded("polygon", "doc/massive_stocks_last_quote.json"))
    groups = {key for key in shape(market) if "indicesGroups" in key}
    assert shape(market) - groups == shapes(recorded("polygon", "doc/massive_stocks_market_status.json"))


async def test_polygons_refusals() -> None:
    """Word for word, apart from the id of the request and the vendor's older name."""
    stocks = "/polygon/v2/snapshot/locale/us/markets/stocks/tickers/AAPL"
    async with in_process_at(OPEN) as loopback:
        unknown_key = await loopback.get(f"{stocks}?apiKey=unknown")
        not_entitled = await loopback.get(f"{stocks}?apiKey=basic")
        loopback.sandbox.set_faults("polygon=throttle")
        throttled = await loopback.get(f"{stocks}?apiKey=advanced")
    errors = {401: (unknown_key, "*error_401*"), 403: (not_entitled, "*error_403*"), 429: (throttled, "*error_429*")}
    for status, (reply, pattern) in errors.items():
        told, real = reply.json(), recorded("polygon", f"real_quoted/{pattern}")[0]
        assert (reply.status_code, shape(told)) == (status, shape(real))
        assert told | {"request_id": ""} == {
            name: value.replace("polygon.io", "massive.com") for name, value in real.items()
        } | {"request_id": ""}


async def test_iex_cloud() -> None:
    """Days, minutes with and without the whole market's, rates, the last generation's quote, and errors as text."""
    stock = "/iex_cloud/v1/stock"
    async with in_process_at(OPEN) as loopback:
        days = await loopback.json(f"{stock}/KO/chart?token=k")
        day = await loopback.json(f"{stock}/KO/chart/date/20261113?chartByDay=true&token=k")
        minutes = await loopback.json(f"{stock}/KO/chart/1d?token=k")
        recorded_minutes = await loopback.json(f"{stock}/KO/chart/date/20261113?token=k")
        dynamic = await loopback.json(f"{stock}/KO/chart/dynamic?token=k")
        ohlc = await loopback.json(f"{stock}/KO/ohlc?token=k")
        core = await loopback.json("/iex_cloud/v1/data/core/quote/ko?token=k")
        unknown = await loopback.get(f"{stock}/INVALID/price?token=k")
        wrong_date = await loopback.get(f"{stock}/KO/chart/date/2026-11-13?chartByDay=true&token=k")
        wrong_key = await loopback.get(f"{stock}/KO/chart/1m?token=invalid")
    assert shape(days) == shapes(recorded("iex_cloud", "real/chart_default_1m_MSFT.json"))
    assert shape(day) == shapes(recorded("iex_cloud", "real/historical_date_chartByDay_MSFT.json")) - {"[].currency"}
    assert shape(minutes) == shapes(recorded("iex_cloud", "real/chart_1d_minutes_MSFT.json"))
    assert shape(recorded_minutes) == shapes(recorded("iex_cloud", "real/historical_date_20201110_minutes_MSFT.json"))
    assert shape(dynamic) == shapes(recorded("iex_cloud", "real/chart_dynamic_MSFT.json"))
    assert shape(ohlc) == shapes(recorded("iex_cloud", "real/ohlc_MSFT.json"))
    assert shape(core) <= shapes(recorded("iex_cloud", "doc/apperate_core_quote_AAPL_array.json"))
    errors = {"price_unknown_symbol_404": unknown, "historical_invalid_date_400": wrong_date}
    for name, reply in (errors | {"historical_invalid_range_403": wrong_key}).items():
        text = (RECORDINGS / "iex_cloud" / "real" / f"{name}.txt").read_text(encoding="utf-8")
        assert (reply.text, str(reply.status_code)) == (text, name[-3:])
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
