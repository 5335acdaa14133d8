"""Tiingo in the sandbox: what is told in each session, adjustment, periods, allocations and refusals."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.sandbox.venues import VENUES, VendorView
from mdagent_mcp.testing import ManualClock
from sandbox.loopback import CLOSED, OPEN, POST, PRE, SEED, Loopback, in_process_at, in_process_on

DAILY = "/tiingo/tiingo/daily"


async def top(loopback: Loopback, ticker: str = "KO", plan: str = "k") -> dict[str, Any]:
    """The one row of a ticker."""
    rows: list[dict[str, Any]] = await loopback.json(f"/tiingo/iex/{ticker}?token={plan}")
    assert len(rows) == 1
    return rows[0]


async def test_without_an_agreement_the_price_is_a_reference_and_the_book_is_null() -> None:
    """In the session: the derived price with New York time to the nanosecond, and IEX's share of the volume."""
    async with in_process_at(OPEN) as loopback:
        row = await top(loopback)
        truth = loopback.truth("tiingo", "KO")
    stamp, offset = row["timestamp"][:26], row["timestamp"][29:]
    assert datetime.fromisoformat(stamp + offset).astimezone(UTC) == truth.event_time
    assert len(row["timestamp"]) == len("2026-11-24T10:04:10.000000195-05:00")
    assert row["tngoLast"] == truth.price
    assert (row["open"], row["prevClose"]) == (truth.regular.open, truth.regular.previous_close)
    assert [row[name] for name in ("bidPrice", "askPrice", "bidSize", "askSize")] == [None] * 4
    assert row["volume"] == int(0.02 * truth.regular.volume)
    assert "last" not in row


async def test_with_an_agreement_the_book_is_that_of_iex_alone() -> None:
    """Trade and book are shown; the book is far wider than the market's."""
    async with in_process_at(OPEN) as loopback:
        row = await top(loopback, plan="licensed-1")
        truth = loopback.truth("tiingo", "KO")
    assert (row["last"], row["tngoLast"]) == (truth.price, truth.price)
    assert row["bidPrice"] <= truth.bid < truth.ask < row["askPrice"]
    assert row["askPrice"] - row["bidPrice"] > 10 * (truth.ask - truth.bid)


@pytest.mark.parametrize("instant", [POST, CLOSED])
async def test_after_the_close_the_official_close_is_told_at_its_instant(instant: datetime) -> None:
    """UTC this time, thrice the same; no book, no middle, no size; the whole market's volume."""
    async with in_process_at(instant) as loopback:
        row = await top(loopback)
        regular = loopback.truth("tiingo", "KO").regular
    stamps = {row[name] for name in ("timestamp", "lastSaleTimestamp", "quoteTimestamp")}
    assert stamps == {f"{regular.day}T21:00:00+00:00"}
    assert (row["tngoLast"], row["last"], row["volume"]) == (regular.close, regular.close, int(regular.volume))
    assert {row[name] for name in ("mid", "lastSize", "bidPrice", "askPrice", "bidSize", "askSize")} == {None}


async def test_before_the_open_the_days_figures_are_still_those_of_the_session_before() -> None:
    """Only the price is of this morning."""
    async with in_process_at(PRE) as loopback:
        row = await top(loopback)
        truth = loopback.truth("tiingo", "KO")
    assert truth.extended is not None
    assert row["tngoLast"] == truth.extended.price
    assert (row["open"], row["high"], row["prevClose"]) == (
        truth.regular.open,
        truth.regular.high,
        truth.regular.previous_close,
    )


def test_the_reference_price_is_off_the_tape_by_a_tick_at_most() -> None:
    """And often not at all."""
    market, gaps = SimulatedMarket(SEED), []
    for minutes in range(120):
        view = VendorView(market, VENUES["tiingo"], OPEN + timedelta(minutes=minutes))
        security = view.find("KO")
        assert security is not None
        told = view.snapshot(security).price
        gaps.append(round(told - market.snapshot("KO", view.seen_at(security)).price, 4))
    assert set(gaps) == {-0.01, 0.0, 0.01}
    assert gaps.count(0.0) > 60


async def test_a_list_leaves_out_what_it_does_not_know_and_spells_share_classes_with_a_hyphen() -> None:
    """A dot, an index, London, a coin and nonsense are unknown; case does not matter."""
    async with in_process_at(OPEN) as loopback:
        rows = await loopback.json("/tiingo/iex/?tickers=aapl,BRK-B,BRK.B,^GSPC,VOD-L,BTC-USD,ZZZZ,NKLA&token=k")
        nothing = await loopback.json("/tiingo/iex/ZZZZ?token=k")
        everything = await loopback.json("/tiingo/iex?token=k")
    assert [row["ticker"] for row in rows] == ["AAPL", "BRK-B"]
    assert nothing == []
    assert len(everything) > 50


async def test_daily_rows_are_as_traded_beside_adjusted_ones() -> None:
    """Around a four-for-one split: the raw close falls, the adjusted one does not; dividends only lower the past."""
    async with in_process_at(OPEN) as loopback:
        path = f"{DAILY}/NVDA/prices?startDate=2026-03-13&endDate=2026-03-16&token=k"
        before, after = await loopback.json(path)
        traded = loopback.sandbox.market.daily_bars("NVDA", date(2026, 3, 13), date(2026, 3, 16), as_traded=True)
        quarters = await loopback.json(f"{DAILY}/KO/prices?startDate=2026-08-07&endDate=2026-08-11&token=k")
    assert [row["close"] for row in (before, after)] == [bar.close for bar in traded]
    assert (before["splitFactor"], after["splitFactor"]) == (1.0, 4.0)
    assert before["adjVolume"] == 4 * before["volume"]
    assert before["adjClose"] == pytest.approx(before["close"] / 4, rel=0.01)
    paid = {row["date"][:10]: row["divCash"] for row in quarters if row["divCash"]}
    assert paid == {"2026-08-10": 0.504}
    ratios = [row["adjClose"] / row["close"] for row in quarters]
    assert ratios[0] / ratios[1] == pytest.approx(1 - 0.504 / quarters[0]["close"])
    assert ratios[1] == pytest.approx(ratios[2])


async def test_without_dates_only_the_newest_finished_day_is_told() -> None:
    """Ninety minutes after its close, not before; written with another offset than a range is."""
    async with in_process_at(POST) as loopback:
        early = await loopback.json(f"{DAILY}/KO/prices?token=k")
    async with in_process_at(POST + timedelta(minutes=20)) as loopback:
        late = await loopback.json(f"{DAILY}/KO/prices?token=k")
        ranged = await loopback.json(f"{DAILY}/KO/prices?startDate=2026-11-24&token=k")
    assert [row["date"] for row in early + late] == ["2026-11-23T00:00:00+00:00", "2026-11-24T00:00:00+00:00"]
    assert [row["date"] for row in ranged] == ["2026-11-24T00:00:00.000Z"]


async def test_weeks_carry_their_friday_begin_whole_and_leave_out_the_last_day_asked_for() -> None:
    """As recorded: a range up to a Friday ends with the close of its Thursday."""
    async with in_process_at(OPEN) as loopback:
        span = "startDate=2026-11-11&endDate=2026-11-20&token=k"
        weeks = await loopback.json(f"{DAILY}/KO/prices?resampleFreq=weekly&{span}")
        days = await loopback.json(f"{DAILY}/KO/prices?startDate=2026-11-09&endDate=2026-11-20&token=k")
        months = await loopback.json(f"{DAILY}/KO/prices?resampleFreq=monthly&startDate=2026-09-15&token=k")
        years = await loopback.json(f"{DAILY}/KO/prices?resampleFreq=annually&startDate=2025-03-01&token=k")
    assert [row["date"][:10] for row in weeks] == ["2026-11-13", "2026-11-20"]
    assert [row["open"] for row in weeks] == [days[0]["open"], days[5]["open"]]
    assert [row["close"] for row in weeks] == [days[4]["close"], days[8]["close"]]
    assert weeks[0]["volume"] == sum(day["volume"] for day in days[:5])
    assert weeks[0]["divCash"] == 0.504
    assert [row["date"][:10] for row in months] == ["2026-09-30", "2026-10-30", "2026-11-30"]
    assert [row["date"][:10] for row in years] == ["2025-12-31", "2026-12-31"]


async def test_daily_rows_as_csv_carry_plain_dates() -> None:
    """The same numbers under a head."""
    async with in_process_at(OPEN) as loopback:
        query = "startDate=2026-11-19&endDate=2026-11-20&columns=close,volume&token=k"
        told = await loopback.get(f"{DAILY}/KO/prices?format=csv&{query}")
        rows = await loopback.json(f"{DAILY}/KO/prices?{query}")
    lines = [f"{row['date'][:10]},{row['close']},{row['volume']}" for row in rows]
    assert told.text.splitlines() == ["date,close,volume", *lines]
    assert told.headers["content-type"].startswith("text/csv")


async def test_minutes_are_as_traded_and_tell_volume_only_when_asked() -> None:
    """UTC, stamped with their start, today's without dates; nothing for what is unknown."""
    async with in_process_at(OPEN) as loopback:
        path = "/tiingo/iex/KO/prices?resampleFreq=15min&token=k"
        today = await loopback.json(path)
        friday = await loopback.json(f"{path}&startDate=2026-11-20&endDate=2026-11-20&columns=close,volume")
        bars = loopback.sandbox.market.intraday_bars("KO", date(2026, 11, 20), 900)
        nothing = await loopback.json("/tiingo/iex/ZZZZ/prices?token=k")
    assert [row["date"] for row in today] == [f"2026-11-24T{t}:00.000Z" for t in ("14:30", "14:45", "15:00")]
    assert set(today[0]) == {"date", "open", "high", "low", "close"}
    assert friday == [
        {
            "date": f"{bar.start:%Y-%m-%dT%H:%M:%S}.000Z",
            "close": bar.close,
            "volume": float(int(0.02 * (bar.volume or 0))),
        }
        for bar in bars
    ]
    assert nothing == []


async def test_crypto_is_told_by_pair_in_coins_and_in_dollars() -> None:
    """Days from midnight UTC, the running one included; unknown pairs are left out."""
    async with in_process_at(OPEN) as loopback:
        query = "tickers=BTCUSD,fldcbtc&token=k"
        path = "/tiingo/tiingo/crypto/prices"
        days = await loopback.json(f"{path}?{query}&resampleFreq=1day&startDate=2026-11-23")
        hours = await loopback.json(f"{path}?{query}&resampleFreq=4hour&startDate=2026-11-23&endDate=2026-11-23")
        book = await loopback.json(f"/tiingo/tiingo/crypto/top?{query}")
        truth = loopback.truth("tiingo", "BTC-USD")
        bar = loopback.sandbox.market.daily_bars("BTC-USD", date(2026, 11, 23), date(2026, 11, 23))[0]
    assert [row["ticker"] for row in days] == ["btcusd"]
    assert [row["date"] for row in days[0]["priceData"]] == ["2026-11-23T00:00:00+00:00", "2026-11-24T00:00:00+00:00"]
    first = days[0]["priceData"][0]
    assert (first["close"], first["volumeNotional"], first["volume"] * first["close"]) == (
        bar.close,
        bar.volume,
        pytest.approx(bar.volume),
    )
    assert len(hours[0]["priceData"]) == 6
    assert book[0]["topOfBookData"][0]["lastPrice"] == truth.price


async def test_the_hourly_and_the_daily_allocation_are_enforced() -> None:
    """The fifty-first call of an hour and the thousand-and-first of a day are refused; each token has its own."""
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    clock = ManualClock(midnight)
    async with in_process_on(clock) as loopback:
        path = f"{DAILY}/KO?token="
        statuses = [(await loopback.get(f"{path}a")).status_code for _ in range(51)]
        other = (await loopback.get(f"{path}b")).status_code
        clock.jump_to(midnight + timedelta(hours=1))
        following = (await loopback.get(f"{path}a")).status_code
        for hour in range(2, 21):
            clock.jump_to(midnight + timedelta(hours=hour))
            for _ in range(50):
                refused = await loopback.get(f"{path}a")
        power = {(await loopback.get(f"{path}power")).status_code for _ in range(60)}
        clock.jump_to(midnight + timedelta(hours=24))
        tomorrow = (await loopback.get(f"{path}a")).status_code
    assert statuses == [200] * 50 + [429]
    assert (other, following, tomorrow, power) == (200, 200, 200, {200})
    assert refused.json() == {"detail": "Error: You have run over your daily request allocation."}


async def test_more_than_five_hundred_symbols_a_month_are_refused_in_plain_text_with_a_200() -> None:
    """As others saw it; the paid plan has no such limit."""
    many = ",".join(f"SIM{number:03}" for number in range(500))
    async with in_process_at(OPEN) as loopback:
        first = await loopback.json(f"/tiingo/iex/?tickers={many}&token=k")
        again = await loopback.get("/tiingo/iex/?tickers=SIM001&token=k")
        beyond = await loopback.get("/tiingo/iex/?tickers=AAPL&token=k")
        paid = await loopback.json(f"/tiingo/iex/?tickers={many},AAPL&token=power")
    assert (len(first), again.json() != [], len(paid)) == (500, True, 501)
    assert (beyond.status_code, beyond.text[:33]) == (200, "Error: You have run over your 500")


async def test_tokens_and_questions_that_are_wrong() -> None:
    """No token, a bad one, an unknown ticker, frequencies and dates that are none: never a server error."""
    wrong = {
        f"{DAILY}/KO/prices": 401,
        f"{DAILY}/KO/prices?token=invalid": 403,
        f"{DAILY}/GONE?token=k": 404,
        f"{DAILY}/BRK.B/prices?token=k": 404,
        f"{DAILY}/KO/prices?token=k&startDate=yesterday": 400,
        f"{DAILY}/KO/prices?token=k&resampleFreq=hourly": 400,
        f"{DAILY}/KO/prices?token=k&startDate=0001-01-01&endDate=9999-12-31&resampleFreq=weekly": 200,
        f"{DAILY}/KO/prices?token=k&startDate=2026-12-01&endDate=2026-11-01": 200,
        "/tiingo/iex/KO/prices?token=k&resampleFreq=daily": 400,
        "/tiingo/iex/KO/prices?token=k&startDate=x": 400,
        "/tiingo/iex/KO/prices?token=k&startDate=0001-01-01&resampleFreq=9999hour": 200,
        "/tiingo/tiingo/crypto/prices?token=k&tickers=btcusd&resampleFreq=soon": 400,
        "/tiingo/tiingo/crypto/prices?token=k&tickers=%00,": 200,
        "/tiingo/iex/%F0%9F%98%80?token=k": 200,
    }
    async with in_process_at(OPEN) as loopback:
        statuses = {path: (await loopback.get(path)).status_code for path in wrong}
        header = await loopback.get(f"{DAILY}/KO", Authorization="Token k")
    assert statuses == wrong
    assert header.status_code == 200
