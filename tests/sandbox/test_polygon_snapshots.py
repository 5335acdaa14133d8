"""Polygon's snapshots in the sandbox: what a day shows in each session, units of time, plans, and errors in a list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mdagent_mcp.sandbox.venues import VENUES, VendorView
from sandbox.loopback import CLOSED, OPEN, POST, PRE, Loopback, in_process_at

STOCKS = "/polygon/v2/snapshot/locale/us/markets/stocks/tickers"
GLOBAL = "/polygon/v2/snapshot/locale/global/markets"
UNIFIED = "/polygon/v3/snapshot"
NIGHT = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
"""One o'clock in the morning in New York."""
CLEARED = datetime(2026, 11, 25, 8, 45, tzinfo=UTC)


async def snapshot(loopback: Loopback, ticker: str = "KO", key: str = "advanced") -> dict[str, Any]:
    """The second version's snapshot of a share."""
    reply = await loopback.json(f"{STOCKS}/{ticker}?apiKey={key}")
    told: dict[str, Any] = reply["ticker"]
    return told


async def unified(loopback: Loopback, tickers: str, key: str = "advanced", query: str = "&limit=250") -> list[Any]:
    """The third version's list."""
    reply = await loopback.json(f"{UNIFIED}?ticker.any_of={tickers}{query}&apiKey={key}")
    items: list[Any] = reply["results"]
    return items


def instant(nanoseconds: int) -> datetime:
    """To the microsecond."""
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC) + timedelta(
        microseconds=nanoseconds % 1_000_000_000 // 1000
    )


async def test_in_the_session_the_day_runs_and_the_times_are_nanoseconds() -> None:
    """Day, previous day, last trade and book are the market's; `p` is the bid and `P` the ask."""
    async with in_process_at(OPEN) as loopback:
        told = await snapshot(loopback)
        truth = loopback.truth("polygon", "KO")
    regular = truth.regular
    assert [told["day"][name] for name in "ohlcv"] == [
        regular.open,
        regular.high,
        regular.low,
        regular.close,
        regular.volume,
    ]
    assert told["prevDay"]["c"] == regular.previous_close
    assert told["todaysChange"] == pytest.approx(truth.price - regular.previous_close)
    assert told["todaysChangePerc"] == pytest.approx(100 * (truth.price / regular.previous_close - 1), abs=1e-5)
    assert (told["lastTrade"]["p"], instant(told["lastTrade"]["t"])) == (truth.price, truth.event_time)
    assert (told["lastQuote"]["p"], told["lastQuote"]["P"]) == (truth.bid, truth.ask)
    assert instant(told["updated"]) == truth.event_time
    assert (told["min"]["c"], told["min"]["av"]) == (regular.close, regular.volume)
    assert datetime.fromtimestamp(told["min"]["t"] / 1000, UTC) == truth.event_time.replace(second=0)


async def test_before_the_open_the_day_is_zeros_and_the_previous_one_is_yesterday() -> None:
    """The trade, the minute and the change are of this morning."""
    async with in_process_at(PRE) as loopback:
        told = await snapshot(loopback)
        truth = loopback.truth("polygon", "KO")
    assert truth.extended is not None
    assert set(told["day"].values()) == {0}
    assert told["prevDay"]["c"] == truth.regular.close
    assert told["lastTrade"]["p"] == told["min"]["c"] == truth.extended.price
    assert told["todaysChange"] == pytest.approx(truth.extended.price - truth.regular.close)


@pytest.mark.parametrize("at", [POST, NIGHT])
async def test_after_the_close_the_day_stays_until_half_past_three(at: datetime) -> None:
    """Its close is the official one, the trade and the change are of the evening."""
    async with in_process_at(at) as loopback:
        told = await snapshot(loopback)
        truth = loopback.truth("polygon", "KO")
    assert truth.extended is not None
    assert (told["day"]["c"], told["prevDay"]["c"]) == (truth.regular.close, truth.regular.previous_close)
    assert told["lastTrade"]["p"] == truth.extended.price != truth.regular.close
    assert told["todaysChange"] == pytest.approx(truth.extended.price - truth.regular.previous_close)


@pytest.mark.parametrize("at", [CLEARED, CLOSED])
async def test_when_cleared_the_day_is_zeros_and_nothing_has_changed(at: datetime) -> None:
    """Early on a trading day and at weekends: the day that was is now the previous one."""
    async with in_process_at(at) as loopback:
        told = await snapshot(loopback)
        items = await unified(loopback, "KO")
        close = loopback.truth("polygon", "KO").regular.close
    assert set(told["day"].values()) == {0}
    assert told["min"] == {"av": 0, "c": 0, "h": 0, "l": 0, "o": 0, "v": 0, "vw": 0, "t": 0, "n": 0}
    assert (told["prevDay"]["c"], told["todaysChange"], told["todaysChangePerc"]) == (close, 0, 0)
    assert items[0]["session"]["previous_close"] == close
    assert "close" not in items[0]["session"]


async def test_trades_and_quotes_are_shown_to_those_who_pay_for_them() -> None:
    """Both on the advanced plan, trades on the developer's, neither on the starter's; the same in a list."""
    async with in_process_at(OPEN) as loopback:
        second = {key: await snapshot(loopback, key=key) for key in ("starter", "developer", "advanced")}
        third = {key: (await unified(loopback, "KO", key))[0] for key in second}
    assert {key: ("lastTrade" in told, "lastQuote" in told) for key, told in second.items()} == {
        "starter": (False, False),
        "developer": (True, False),
        "advanced": (True, True),
    }
    assert {key: ("last_trade" in told, "last_quote" in told) for key, told in third.items()} == {
        "starter": (False, False),
        "developer": (True, False),
        "advanced": (True, True),
    }
    assert {key: told["timeframe"] for key, told in third.items()} == {
        "starter": "DELAYED",
        "developer": "DELAYED",
        "advanced": "REAL-TIME",
    }


async def test_delayed_plans_are_a_quarter_of_an_hour_late() -> None:
    """Exactly what the advanced plan told then."""
    async with in_process_at(OPEN) as loopback:
        told = await snapshot(loopback, key="developer")
        reply = await loopback.json(f"{STOCKS}/KO?apiKey=developer")
        view = VendorView(loopback.sandbox.market, VENUES["polygon"], OPEN - timedelta(minutes=15))
        security = view.find("KO")
        assert security is not None
        then = view.snapshot(security)
    assert reply["status"] == "DELAYED"
    assert (told["lastTrade"]["p"], instant(told["lastTrade"]["t"])) == (then.price, then.event_time)


async def test_a_list_leaves_out_what_is_unknown_and_without_names_holds_the_whole_market() -> None:
    """A single unknown ticker is not found."""
    async with in_process_at(OPEN) as loopback:
        some = await loopback.json(f"{STOCKS}?tickers=BRK.B,ZZZZ,KO,I:SPX&apiKey=advanced")
        everything = await loopback.json(f"{STOCKS}?apiKey=advanced")
        coins = await loopback.json(f"{GLOBAL}/crypto/tickers?apiKey=advanced")
        unknown = await loopback.get(f"{STOCKS}/ZZZZ?apiKey=advanced")
    assert [row["ticker"] for row in some["tickers"]] == ["BRK.B", "KO"]
    assert everything["count"] == len(everything["tickers"]) > 50
    assert [row["ticker"] for row in coins["tickers"]] == ["X:BTCUSD", "X:ETHUSD"]
    assert (unknown.status_code, unknown.json()["message"]) == (404, "Ticker not found.")


@pytest.mark.parametrize("at", [PRE, OPEN, POST, CLOSED])
async def test_crypto_and_forex_are_timed_in_milliseconds_and_their_update_is_no_time(at: datetime) -> None:
    """It lies in the night to come; the days are of UTC."""
    async with in_process_at(at) as loopback:
        coin = (await loopback.json(f"{GLOBAL}/crypto/tickers/X:BTCUSD?apiKey=advanced"))["ticker"]
        pair = (await loopback.json(f"{GLOBAL}/forex/tickers/C:EURUSD?apiKey=advanced"))["ticker"]
        bitcoin, euro = loopback.truth("polygon", "BTC-USD"), loopback.truth("polygon", "EURUSD")
    assert (coin["lastTrade"]["p"], coin["lastTrade"]["t"]) == (
        bitcoin.price,
        int(bitcoin.event_time.timestamp() * 1000),
    )
    assert (pair["lastQuote"]["b"], pair["lastQuote"]["a"]) == (euro.bid, euro.ask)
    assert pair["lastQuote"]["t"] == int(euro.event_time.timestamp() * 1000)
    assert coin["updated"] == pair["updated"] > at.timestamp() * 1000
    assert coin["prevDay"]["c"] == bitcoin.regular.previous_close
    assert (coin["day"]["vw"], coin["day"]["o"]) == (0, bitcoin.regular.open)


@pytest.mark.parametrize(
    ("at", "status", "present"),
    [
        (PRE, "early_trading", {"early_trading_change"}),
        (OPEN, "open", {"open", "close", "regular_trading_change"}),
        (POST, "late_trading", {"open", "close", "regular_trading_change", "late_trading_change"}),
        (CLOSED, "closed", set()),
    ],
)
async def test_a_session_shows_only_the_parts_it_has_had(at: datetime, status: str, present: set[str]) -> None:
    """Its changes are counted from the previous close, those after hours from the close."""
    names = {"open", "close", "early_trading_change", "regular_trading_change", "late_trading_change"}
    async with in_process_at(at) as loopback:
        item = (await unified(loopback, "KO"))[0]
        truth = loopback.truth("polygon", "KO")
    session = item["session"]
    assert item["market_status"] == status
    assert names & set(session) == present
    price = truth.regular.close if truth.extended is None else truth.extended.price
    assert session["price"] == price
    if "late_trading_change" in present:
        assert session["late_trading_change"] == pytest.approx(price - truth.regular.close)
        assert session["regular_trading_change"] == pytest.approx(truth.regular.close - session["previous_close"])
    if status != "closed":
        assert session["change"] == pytest.approx(price - session["previous_close"])


async def test_a_list_of_all_classes_has_errors_in_place_of_what_is_not_there() -> None:
    """Sorted by ticker; an index has a value and no trade; a currency has a quote and no trade."""
    names = "KO,C:EURUSD,X:BTCUSD,I:SPX,TSLAAPL"
    async with in_process_at(OPEN) as loopback:
        items = {item["ticker"]: item for item in await unified(loopback, names)}
        limited = {item["ticker"]: item for item in await unified(loopback, names, "advanced-stocks")}
        indices = await loopback.json(f"{UNIFIED}/indices?ticker.any_of=I:SPX,KO&apiKey=starter")
        level = loopback.truth("polygon", "^GSPC").price
    assert list(items) == ["C:EURUSD", "I:SPX", "KO", "TSLAAPL", "X:BTCUSD"]
    assert {ticker: item.get("type") for ticker, item in items.items()} == {
        "C:EURUSD": "fx",
        "I:SPX": "indices",
        "KO": "stocks",
        "TSLAAPL": None,
        "X:BTCUSD": "crypto",
    }
    assert items["TSLAAPL"] == {"ticker": "TSLAAPL", "error": "NOT_FOUND", "message": "Ticker not found."}
    assert (items["I:SPX"]["value"], "last_trade" in items["I:SPX"]) == (level, False)
    assert ("last_trade" in items["C:EURUSD"], "last_quote" in items["C:EURUSD"]) == (False, True)
    assert [ticker for ticker, item in limited.items() if item.get("error") == "NOT_ENTITLED"] == [
        "C:EURUSD",
        "I:SPX",
        "X:BTCUSD",
    ]
    assert [(item["ticker"], item.get("error")) for item in indices["results"]] == [
        ("I:SPX", None),
        ("KO", "NOT_FOUND"),
    ]


async def test_without_a_limit_ten_of_any_number_are_told_and_more_than_250_are_refused() -> None:
    """Silently: nothing says that there were more."""
    many = ",".join(f"SIM{number:03}" for number in range(251))
    async with in_process_at(OPEN) as loopback:
        usual = await unified(loopback, many[: 30 * 7 - 1], query="")
        most = await unified(loopback, many[: 250 * 7 - 1], query="&limit=999")
        refused = await loopback.get(f"{UNIFIED}?ticker.any_of={many}&apiKey=advanced")
    assert (len(usual), len(most), refused.status_code) == (10, 250, 400)


async def test_the_last_trade_and_the_last_quote() -> None:
    """Nanoseconds; the exchange's own time a little before the tape's."""
    async with in_process_at(POST) as loopback:
        trade = (await loopback.json("/polygon/v2/last/trade/KO?apiKey=advanced"))["results"]
        quote = (await loopback.json("/polygon/v2/last/nbbo/KO?apiKey=advanced"))["results"]
        unknown = await loopback.get("/polygon/v2/last/trade/ZZZZ?apiKey=advanced")
        truth = loopback.truth("polygon", "KO")
    assert truth.extended is not None
    assert (trade["T"], trade["p"], instant(trade["t"])) == ("KO", truth.extended.price, truth.extended.event_time)
    assert trade["y"] < trade["f"] < trade["t"]
    assert (quote["p"], quote["P"]) == (truth.bid, truth.ask)
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    ("at", "market", "early", "after"),
    [
        (PRE, "extended-hours", True, False),
        (OPEN, "open", False, False),
        (POST, "extended-hours", False, True),
        (CLOSED, "closed", False, False),
    ],
)
async def test_the_state_of_the_market(at: datetime, market: str, early: bool, after: bool) -> None:
    """On every plan; New York's time with its offset."""
    async with in_process_at(at) as loopback:
        told = await loopback.json("/polygon/v1/marketstatus/now?apiKey=k")
    assert (told["market"], told["earlyHours"], told["afterHours"]) == (market, early, after)
    assert told["exchanges"]["nasdaq"] == market
    assert datetime.fromisoformat(told["serverTime"]) == at.replace(microsecond=0)
    assert told["serverTime"].endswith("-05:00")
    assert told["currencies"]["crypto"] == "open"
