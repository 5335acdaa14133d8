"""What each vendor shows before, in and after the regular session, and at the weekend."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.sandbox.venues import VENUES, VendorView
from sandbox.loopback import CLOSED, OPEN, POST, PRE, SEED, Loopback, in_process_at

MONDAY_CLOSE = int(datetime(2026, 11, 23, 21, tzinfo=UTC).timestamp())
TUESDAY_CLOSE = int(datetime(2026, 11, 24, 21, tzinfo=UTC).timestamp())
FRIDAY_CLOSE = int(datetime(2026, 11, 20, 21, tzinfo=UTC).timestamp())


async def yahoo(loopback: Loopback, symbol: str = "AAPL") -> dict[str, Any]:
    """The row of Yahoo's batch quote."""
    await loopback.get("/yahoo/")
    crumb = (await loopback.get("/yahoo/v1/test/getcrumb")).text
    body = await loopback.json(f"/yahoo/v7/finance/quote?symbols={symbol}&crumb={crumb}")
    row: dict[str, Any] = body["quoteResponse"]["result"][0]
    return row


async def nasdaq(loopback: Loopback, symbol: str = "AAPL") -> dict[str, Any]:
    """The data of Nasdaq's info."""
    body = await loopback.json(f"/nasdaq/api/quote/{symbol}/info?assetclass=stocks")
    data: dict[str, Any] = body["data"]
    return data


async def cboe(loopback: Loopback, symbol: str = "AAPL") -> dict[str, Any]:
    """The data of Cboe's quote file."""
    body = await loopback.json(f"/cboe/api/global/delayed_quotes/quotes/{symbol}.json")
    data: dict[str, Any] = body["data"]
    return data


async def finnhub(loopback: Loopback, symbol: str = "AAPL") -> dict[str, Any]:
    """Finnhub's quote."""
    body: dict[str, Any] = await loopback.json(f"/finnhub/api/v1/quote?symbol={symbol}", **{"X-Finnhub-Token": "k"})
    return body


async def twelve_data(loopback: Loopback, symbol: str = "AAPL") -> dict[str, Any]:
    """Twelve Data's quote."""
    row: dict[str, Any] = await loopback.json(f"/twelve_data/quote?symbol={symbol}&apikey=ultra")
    return row


async def alpha_vantage(loopback: Loopback, symbol: str = "AAPL") -> dict[str, Any]:
    """Alpha Vantage's quote."""
    path = f"/alpha_vantage/query?function=GLOBAL_QUOTE&symbol={symbol}&apikey=premium1200"
    row: dict[str, Any] = (await loopback.json(path))["Global Quote"]
    return row


def official_close(loopback: Loopback, day: date, symbol: str = "AAPL") -> float:
    """The market's own record."""
    return loopback.sandbox.market.daily_bars(symbol, day, day)[0].close


async def test_yahoo_shows_the_extended_print_beside_the_regular_price() -> None:
    """State, extended fields and the time of the regular price in all four states."""
    shown = []
    for instant in (PRE, OPEN, POST, CLOSED):
        async with in_process_at(instant) as loopback:
            row = await yahoo(loopback)
        extended = [name for name in ("preMarketPrice", "postMarketPrice") if name in row]
        shown.append((row["marketState"], extended, row["regularMarketTime"]))
    assert shown == [
        ("PRE", ["preMarketPrice"], MONDAY_CLOSE + 1),
        ("REGULAR", [], int(OPEN.timestamp()) - 1),
        ("POST", ["postMarketPrice"], TUESDAY_CLOSE + 1),
        ("CLOSED", ["postMarketPrice"], FRIDAY_CLOSE + 1),
    ]


async def test_nasdaq_shows_the_newest_print_first_and_the_close_second() -> None:
    """Status, both time stamps and whether the print is live, in Nasdaq's own words."""
    shown = []
    for instant in (PRE, OPEN, POST, CLOSED):
        async with in_process_at(instant) as loopback:
            data = await nasdaq(loopback)
        second = data["secondaryData"]
        first = data["primaryData"]
        close = None if second is None else second["lastTradeTimestamp"]
        shown.append((data["marketStatus"], first["lastTradeTimestamp"], first["isRealTime"], close))
    assert shown == [
        ("Pre-Market", "Nov 24, 2026 7:20 AM ET", True, "Closed at Nov 23, 2026 4:00 PM ET"),
        ("Open", "Nov 24, 2026 10:04 AM ET", True, None),
        ("After-Hours", "Nov 24, 2026 5:14 PM ET", True, "Closed at Nov 24, 2026 4:00 PM ET"),
        ("Closed", "Nov 20, 2026", False, None),
    ]


async def test_nasdaq_counts_changes_from_the_close_before_the_print() -> None:
    """After hours from today's close, in session from yesterday's; signs and percent are shown."""
    async with in_process_at(POST) as loopback:
        late = await nasdaq(loopback)
        seen = loopback.truth("nasdaq", "AAPL")
    change = seen.price - seen.regular.close
    assert late["primaryData"]["lastSalePrice"] == f"${seen.price:.2f}"
    assert late["primaryData"]["netChange"] == f"{change:+.2f}"
    assert late["primaryData"]["percentageChange"] == f"{100 * change / seen.regular.close:+.2f}%"
    day_change = seen.regular.close - seen.regular.previous_close
    assert late["secondaryData"]["netChange"] == f"{day_change:+.2f}"


async def test_finnhub_shows_regular_prices_only() -> None:
    """Outside the session the last official close, stamped exactly 16:00 New York."""
    stamps = []
    for instant in (PRE, OPEN, POST, CLOSED):
        async with in_process_at(instant) as loopback:
            quote = await finnhub(loopback)
            if instant is not OPEN:
                day = datetime.fromtimestamp(quote["t"], UTC).date()
                assert quote["c"] == official_close(loopback, day)
        stamps.append(quote["t"])
    assert stamps == [MONDAY_CLOSE, int(OPEN.timestamp()) - 1, TUESDAY_CLOSE, FRIDAY_CLOSE]


async def test_cboe_in_session_is_fifteen_minutes_late_and_straightforward() -> None:
    """`close` is the current price, the previous close is right, the file is new and the trade old."""
    async with in_process_at(OPEN) as loopback:
        body = await loopback.json("/cboe/api/global/delayed_quotes/quotes/AAPL.json")
        data = body["data"]
        monday = official_close(loopback, date(2026, 11, 23))
    assert body["timestamp"] == "2026-11-24 15:04:11"
    traded = datetime.fromisoformat(data["last_trade_time"]) + timedelta(hours=5)
    assert 900 <= (OPEN.replace(tzinfo=None) - traded).total_seconds() < 923
    assert data["current_price"] == data["close"]
    assert data["prev_day_close"] == monday
    assert data["price_change"] == pytest.approx(data["close"] - monday, abs=1e-4)


@pytest.mark.parametrize(
    ("instant", "day"), [(POST, date(2026, 11, 24)), (CLOSED, date(2026, 11, 20)), (PRE, date(2026, 11, 23))]
)
async def test_cboe_after_the_session_has_its_traps(instant: datetime, day: date) -> None:
    """Official close, rolled previous close, own last print, and a percent of the wrong base."""
    async with in_process_at(instant) as loopback:
        data = await cboe(loopback)
        close = official_close(loopback, day)
        before = loopback.sandbox.market.daily_bars("AAPL", day - timedelta(days=5), day)[-2].close
    assert (data["close"], data["prev_day_close"]) == (close, close)
    assert data["close"] - data["price_change"] == pytest.approx(before, abs=1e-4)
    assert data["price_change_percent"] == pytest.approx(100 * data["price_change"] / close, abs=1e-3)
    assert data["last_trade_time"] == f"{day}T15:59:58"
    assert data["current_price"] != close
    assert data["current_price"] == pytest.approx(close, rel=0.01)


async def test_after_the_close_all_vendors_tell_the_same_official_close() -> None:
    """Yahoo, Nasdaq, Cboe's `close`, Finnhub, Twelve Data and Alpha Vantage agree to the cent."""
    async with in_process_at(CLOSED) as loopback:
        for symbol in ("AAPL", "JPM", "F", "SIM123"):
            told = {
                float((await nasdaq(loopback, symbol))["primaryData"]["lastSalePrice"].replace("$", "")),
                (await yahoo(loopback, symbol))["regularMarketPrice"],
                (await cboe(loopback, symbol))["close"],
                (await finnhub(loopback, symbol))["c"],
                round(float((await twelve_data(loopback, symbol))["close"]), 2),
                float((await alpha_vantage(loopback, symbol))["05. price"]),
            }
            assert told == {official_close(loopback, date(2026, 11, 20), symbol)}


async def test_in_session_vendors_differ_no_more_than_delay_and_venue_allow() -> None:
    """The live four within a few basis points; Cboe by fifteen minutes' worth."""
    async with in_process_at(OPEN) as loopback:
        for symbol in ("AAPL", "MSFT", "JPM"):
            live = (await yahoo(loopback, symbol))["regularMarketPrice"]
            shown = float((await nasdaq(loopback, symbol))["primaryData"]["lastSalePrice"].replace("$", ""))
            assert shown == pytest.approx(live, rel=5e-4)
            assert (await finnhub(loopback, symbol))["c"] == pytest.approx(live, rel=5e-4)
            assert float((await twelve_data(loopback, symbol))["close"]) == pytest.approx(live, rel=5e-4)
            assert (await cboe(loopback, symbol))["close"] == pytest.approx(live, rel=0.02)


async def test_yahoo_is_late_for_london_and_quotes_pence() -> None:
    """Fifteen minutes are declared and true; a coin trades at the weekend, a currency does not."""
    async with in_process_at(OPEN) as loopback:
        share = await yahoo(loopback, "AZN.L")
    async with in_process_at(CLOSED) as loopback:
        coin, currency = await yahoo(loopback, "BTC-USD"), await yahoo(loopback, "EURUSD=X")
    assert (share["currency"], share["exchangeDataDelayedBy"], share["marketState"]) == ("GBp", 15, "REGULAR")
    assert 900 <= OPEN.timestamp() - share["regularMarketTime"] < 912
    assert share["regularMarketPrice"] > 5000
    assert (coin["marketState"], currency["marketState"]) == ("REGULAR", "CLOSED")


def test_finnhubs_prints_are_its_own_by_half_a_tick() -> None:
    """Against the tape at the same instant four in ten are off, all by half a cent, none outside its own range."""
    market = SimulatedMarket(SEED)
    off = []
    for minutes in range(0, 200, 40):
        view = VendorView(market, VENUES["finnhub"], OPEN + timedelta(minutes=minutes))
        for number in range(200):
            security = view.find(f"SIM{number:03}")
            assert security is not None
            regular = view.snapshot(security).regular
            off.append(round(regular.close - market.price(security.symbol, regular.close_time), 4))
            assert regular.low <= regular.close <= regular.high
    assert set(off) == {-0.005, 0.0, 0.005}
    assert 1 - off.count(0) / len(off) == pytest.approx(0.4, abs=0.055)  # three and a half standard errors


async def reference_and_snapshot_prices(loopback: Loopback, symbol: str) -> dict[str, float]:
    """Tiingo's, Polygon's and IEX Cloud's price of the regular session."""
    stocks = "/polygon/v2/snapshot/locale/us/markets/stocks/tickers"
    tiingo = await loopback.json(f"/tiingo/iex/{symbol}?token=power")
    iex_cloud = await loopback.json(f"/iex_cloud/stable/stock/{symbol}/quote?token=k")
    told = {"tiingo": tiingo[0]["tngoLast"], "iex_cloud": iex_cloud["latestPrice"]}
    for plan in ("advanced", "starter"):
        ticker = (await loopback.json(f"{stocks}/{symbol}?apiKey={plan}"))["ticker"]
        told[plan] = ticker["day"]["c"] or ticker["prevDay"]["c"]
    return told


async def test_after_the_close_tiingo_polygon_and_iex_cloud_tell_the_official_close_too() -> None:
    """To the cent, in the evening and at the weekend."""
    for instant, day in ((POST, date(2026, 11, 24)), (CLOSED, date(2026, 11, 20))):
        async with in_process_at(instant) as loopback:
            for symbol in ("AAPL", "JPM", "F", "SIM123"):
                told = await reference_and_snapshot_prices(loopback, symbol)
                assert set(told.values()) == {official_close(loopback, day, symbol)}


async def test_in_session_tiingo_polygon_and_iex_cloud_differ_no_more_than_delay_and_venue_allow() -> None:
    """The live three within a few basis points; Polygon's delayed plans by fifteen minutes' worth."""
    async with in_process_at(OPEN) as loopback:
        for symbol in ("AAPL", "MSFT", "JPM"):
            live = (await yahoo(loopback, symbol))["regularMarketPrice"]
            told = await reference_and_snapshot_prices(loopback, symbol)
            assert [told[name] for name in ("tiingo", "iex_cloud", "advanced")] == pytest.approx(3 * [live], rel=5e-4)
            assert told["starter"] == pytest.approx(live, rel=0.02)
