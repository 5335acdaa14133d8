"""IEX Cloud in the sandbox, for whoever configures a gateway that still speaks it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.sandbox.venues import VENUES, VendorView
from sandbox.loopback import CLOSED, OPEN, POST, PRE, SEED, Loopback, in_process_at

STOCK = "/iex_cloud/stable/stock"


async def quote(loopback: Loopback, symbol: str = "KO") -> dict[str, Any]:
    """A quote."""
    told: dict[str, Any] = await loopback.json(f"{STOCK}/{symbol}/quote?token=pk_1")
    return told


async def test_in_the_session_the_price_is_that_of_iex_now() -> None:
    """Milliseconds, a clock time for people, its own book, and a change as a fraction."""
    async with in_process_at(OPEN) as loopback:
        told = await quote(loopback)
        truth = loopback.truth("iex_cloud", "KO")
    regular = truth.regular
    assert (told["latestPrice"], told["latestUpdate"]) == (regular.close, int(truth.event_time.timestamp() * 1000))
    assert (told["latestSource"], told["calculationPrice"], told["latestTime"]) == (
        "IEX real time price",
        "tops",
        "10:04:10 AM",
    )
    assert (told["iexBidPrice"], told["iexAskPrice"]) == (truth.bid, truth.ask)
    assert told["changePercent"] == pytest.approx(regular.close / regular.previous_close - 1, abs=1e-5)
    assert (told["open"], told["close"], told["isUSMarketOpen"]) == (regular.open, None, True)
    assert told["iexVolume"] == int(0.023 * regular.volume)


@pytest.mark.parametrize(("instant", "day"), [(PRE, "November 23"), (POST, "November 24"), (CLOSED, "November 20")])
async def test_outside_the_session_it_is_the_last_close_and_zeros_stand_for_none(instant: datetime, day: str) -> None:
    """Dated by a day for people and by the close for programs."""
    async with in_process_at(instant) as loopback:
        told = await quote(loopback)
        truth = loopback.truth("iex_cloud", "KO")
    assert (told["latestPrice"], told["latestSource"], told["latestTime"]) == (
        truth.regular.close,
        "Close",
        f"{day}, 2026",
    )
    assert told["latestUpdate"] == told["closeTime"] == int(truth.regular.close_time.timestamp() * 1000)
    assert [told[name] for name in ("iexRealtimePrice", "iexBidPrice", "iexAskPrice", "iexLastUpdated")] == [0] * 4
    assert truth.extended is not None
    assert told["extendedPrice"] == truth.extended.price
    assert told["extendedChange"] == pytest.approx(truth.extended.price - truth.regular.close)


@pytest.mark.parametrize("instant", [OPEN, POST])
async def test_listings_of_nasdaq_are_mostly_nulls(instant: datetime) -> None:
    """Without an agreement of its own only the latest price, the previous close and volumes are told."""
    async with in_process_at(instant) as loopback:
        told = await quote(loopback, "AAPL")
        regular = loopback.truth("iex_cloud", "AAPL").regular
    hidden = ("open", "close", "high", "low", "openTime", "closeTime", "delayedPrice", "extendedPrice")
    assert {told[name] for name in hidden} == {None}
    assert (told["latestPrice"], told["previousClose"]) == (regular.close, regular.previous_close)


def test_its_prints_are_off_the_tape_by_a_tick_at_most() -> None:
    """It is a venue of its own."""
    market, gaps = SimulatedMarket(SEED), []
    for minutes in range(120):
        view = VendorView(market, VENUES["iex_cloud"], OPEN + timedelta(minutes=minutes))
        security = view.find("KO")
        assert security is not None
        gaps.append(round(view.snapshot(security).price - market.snapshot("KO", view.seen_at(security)).price, 4))
    assert set(gaps) == {-0.01, 0.0, 0.01}


async def test_a_batch_is_keyed_by_symbol_and_leaves_out_what_is_unknown() -> None:
    """Several types at once; a filter keeps some members; more than a hundred symbols are refused."""
    path = f"{STOCK}/market/batch?token=pk_1&symbols="
    async with in_process_at(OPEN) as loopback:
        told = await loopback.json(f"{path}ko,ZZZZ,BRK.B&types=quote,price,chart&range=5d&chartLast=2")
        filtered = await loopback.json(f"{path}KO&types=quote&filter=latestPrice,symbol")
        single = await quote(loopback)
        many = ",".join(f"SIM{number:03}" for number in range(101))
        refused = [await loopback.get(f"{path}{tail}") for tail in (f"{many}&types=quote", "KO&types=news", "")]
        charged = (await loopback.get(f"{path}KO,BRK.B&types=quote")).headers["iexcloud-messages-used"]
    assert list(told) == ["KO", "BRK.B"]
    assert (told["KO"]["quote"], told["KO"]["price"]) == (single, single["latestPrice"])
    assert [row["date"] for row in told["KO"]["chart"]] == ["2026-11-20", "2026-11-23"]
    assert filtered == {"KO": {"quote": {"latestPrice": single["latestPrice"], "symbol": "KO"}}}
    assert [reply.status_code for reply in refused] == [400] * 3
    assert charged == "2"


async def test_the_last_generation_tells_the_same_quotes_in_an_array() -> None:
    """In the order asked for, without what is unknown; in either case of the path."""
    async with in_process_at(OPEN) as loopback:
        told = await loopback.json("/iex_cloud/v1/data/core/quote/ko,zzzz,brk.b?token=k")
        upper = await loopback.json("/iex_cloud/v1/data/CORE/QUOTE/KO?token=k")
        single = await quote(loopback)
    assert [row["symbol"] for row in told] == ["KO", "BRK.B"]
    assert {name: told[0][name] for name in single} == single
    assert upper == told[:1]


@pytest.mark.parametrize(
    ("span", "first"),
    [
        ("/1m", "2026-10-26"),
        ("", "2026-10-26"),
        ("/3m", "2026-08-24"),
        ("/6m", "2026-05-26"),
        ("/ytd", "2026-01-02"),
        ("/1y", "2025-11-24"),
        ("/2y", "2024-11-25"),
        ("/5y", "2021-11-24"),
        ("/max", "2010-01-04"),
        ("/5d", "2026-11-17"),
    ],
)
async def test_ranges_of_days_end_with_yesterday(span: str, first: str) -> None:
    """And begin so many months before."""
    async with in_process_at(OPEN) as loopback:
        rows = await loopback.json(f"{STOCK}/KO/chart{span}?token=k")
        today = await loopback.json(f"{STOCK}/KO/chart{span}?token=k&includeToday=true&chartLast=1")
    assert (rows[0]["date"], rows[-1]["date"], today[0]["date"]) == (first, "2026-11-23", "2026-11-24")


async def test_days_are_adjusted_for_splits_with_the_prices_as_traded_beside_them() -> None:
    """Changes are of the adjusted closes, in percent; the first row has none."""
    async with in_process_at(OPEN) as loopback:
        rows = {row["date"]: row for row in await loopback.json(f"{STOCK}/NVDA/chart/ytd?token=k")}
        market = loopback.sandbox.market
        adjusted = market.daily_bars("NVDA", date(2026, 3, 13), date(2026, 3, 13), until=OPEN)[0]
        traded = market.daily_bars("NVDA", date(2026, 3, 13), date(2026, 3, 13), as_traded=True)[0]
    before, after = rows["2026-03-13"], rows["2026-03-16"]
    assert (before["close"], before["uClose"]) == (pytest.approx(adjusted.close, abs=1e-4), traded.close)
    assert (before["volume"], before["uVolume"]) == (adjusted.volume, traded.volume)
    assert before["uClose"] / before["close"] == pytest.approx(4)
    assert (after["uClose"], after["label"]) == (after["close"], "Mar 16")
    assert after["changePercent"] == pytest.approx(100 * (after["close"] / before["close"] - 1), abs=1e-3)
    assert [rows["2026-01-02"][name] for name in ("change", "changePercent", "changeOverTime")] == [0, 0, 0]


async def test_minutes_without_a_trade_at_iex_are_nulls_beside_the_markets_numbers() -> None:
    """In New York's time; the tape comes a quarter of an hour late; `1d` has no tape at all."""
    async with in_process_at(OPEN) as loopback:
        friday = await loopback.json(f"{STOCK}/KO/chart/date/20261120?token=k")
        today = await loopback.json(f"{STOCK}/KO/chart/date/20261124?token=k")
        bare = await loopback.json(f"{STOCK}/KO/chart/1d?token=k")
        every_tenth = await loopback.json(f"{STOCK}/KO/chart/1d?token=k&chartInterval=10")
        bars = loopback.sandbox.market.intraday_bars("KO", date(2026, 11, 20), 60)
    empty = [row for row in friday if row["close"] is None]
    assert 0 < len(empty) < 10
    assert all((row["volume"], row["average"]) == (0, None) and row["marketClose"] > 0 for row in empty)
    assert [row["marketClose"] for row in friday] == [bar.close for bar in bars]
    assert [row["close"] for row in friday if row["close"]] == [
        bar.close for bar, row in zip(bars, friday, strict=True) if row["close"]
    ]
    assert (friday[0]["minute"], friday[0]["label"], friday[30]["label"], friday[-1]["label"]) == (
        "09:30",
        "09:30 AM",
        "10 AM",
        "3:59 PM",
    )
    assert sum(row["marketClose"] is None for row in today) == 16
    assert len(bare) == len(today)
    assert not any(name.startswith("market") for name in bare[0])
    assert every_tenth == bare[::10]


async def test_prices_and_rates() -> None:
    """A bare number; a rate for each pair."""
    async with in_process_at(OPEN) as loopback:
        price = await loopback.json(f"{STOCK}/KO/price?token=k")
        versionless = await loopback.json("/iex_cloud/stock/KO/price?token=k")
        rates = await loopback.json("/iex_cloud/stable/fx/latest?symbols=EURUSD,GBPUSD&token=k")
        truth, euro = loopback.truth("iex_cloud", "KO"), loopback.truth("iex_cloud", "EURUSD")
    assert price == versionless == truth.price
    assert [row["symbol"] for row in rates] == ["EURUSD", "GBPUSD"]
    assert (rates[0]["rate"], rates[0]["timestamp"]) == (euro.price, int(euro.event_time.timestamp() * 1000))


async def test_refusals_are_plain_text() -> None:
    """No or a bad token, a spent one, unknown symbols, versions, ranges and dates: never a server error."""
    cases = {
        f"{STOCK}/KO/quote": (403, "The API key provided is not valid."),
        f"{STOCK}/KO/quote?token=invalid": (403, "The API key provided is not valid."),
        f"{STOCK}/KO/quote?token=spent": (402, "You have used all available credits for the month."),
        f"{STOCK}/ZZZZ/quote?token=k": (404, "Unknown symbol"),
        f"{STOCK}/^GSPC/quote?token=k": (404, "Unknown symbol"),
        f"{STOCK}/VOD.L/chart/1m?token=k": (404, "Unknown symbol"),
        f"{STOCK}/BTC-USD/price?token=k": (404, "Unknown symbol"),
        f"{STOCK}/ZZZZ/ohlc?token=k": (404, "Unknown symbol"),
        f"{STOCK}/ZZZZ/chart/date/20261120?token=k": (404, "Unknown symbol"),
        "/iex_cloud/stable/fx/latest?symbols=EURUSD,INVALID&token=k": (404, "Unknown symbol"),
        f"{STOCK}/KO/chart/7w?token=k": (400, "You have supplied invalid values for this request"),
        f"{STOCK}/KO/chart/date/20261399?token=k": (400, "You have supplied invalid values for this request"),
        "/iex_cloud/v9/stock/KO/quote?token=k": (404, "Not Found"),
        f"{STOCK}/KO/chart/date/99991231?token=k": (200, "[]"),
        f"{STOCK}/KO/chart/date/00010101?token=k&chartByDay=true": (200, "[]"),
        f"{STOCK}/KO/chart/date/20261121?token=k&chartByDay=true": (200, "[]"),
    }
    async with in_process_at(OPEN) as loopback:
        replies = {path: await loopback.get(path) for path in cases}
    for path, (status, text) in cases.items():
        assert replies[path].status_code == status, path
        assert replies[path].text.startswith(text)
    assert replies[f"{STOCK}/KO/quote"].headers["content-type"] == "text/html; charset=utf-8"


async def test_an_instant_is_told_to_the_millisecond() -> None:
    """As truth has it."""
    async with in_process_at(OPEN) as loopback:
        told = await quote(loopback)
        truth = loopback.truth("iex_cloud", "KO")
    assert datetime.fromtimestamp(told["lastTradeTime"] / 1000, UTC) == truth.event_time
