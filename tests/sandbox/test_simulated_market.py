"""The simulated market is one consistent truth, whoever asks and however often."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from statistics import pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.domain.prices import Bar, Dividend, Session, Split
from mdagent_mcp.sandbox.market import SimulatedMarket, UnknownSymbolError
from mdagent_mcp.sandbox.universe import FIRST_DAY, securities

MARKET = SimulatedMarket(11)
OPEN = datetime(2026, 11, 24, 15, 4, 11, tzinfo=UTC)
TUESDAY = date(2026, 11, 24)

symbols = st.sampled_from([s for s in securities() if s != "NKLA"]) | st.from_regex(r"SIM[0-9]{3}", fullmatch=True)
instants = st.datetimes(datetime(2012, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zone added


@settings(max_examples=120, deadline=None)
@given(symbols, instants)
def test_every_snapshot_is_consistent_in_itself(symbol: str, instant: datetime) -> None:
    """Bid, price and ask are in order, high and low hold open and close, and no time stamp is from the future."""
    seen = MARKET.snapshot(symbol, instant)
    regular = seen.regular
    assert 0 < seen.bid <= seen.price <= seen.ask
    assert seen.bid < seen.ask
    assert regular.low <= min(regular.open, regular.close) <= max(regular.open, regular.close) <= regular.high
    assert regular.close_time <= instant
    assert seen.event_time <= instant
    assert regular.previous_close > 0
    assert regular.volume >= 0


@settings(max_examples=60, deadline=None)
@given(symbols, instants, st.integers(1, 7200))
def test_a_session_only_widens_its_range_and_adds_volume(symbol: str, instant: datetime, seconds: int) -> None:
    """Later within one session the high is no lower, the low no higher, the volume no smaller, the open the same."""
    before = MARKET.snapshot(symbol, instant).regular
    after = MARKET.snapshot(symbol, instant + timedelta(seconds=seconds)).regular
    if after.day == before.day and not MARKET.security(symbol).splits:
        assert after.open == before.open
        assert after.previous_close == before.previous_close
        assert (after.high >= before.high, after.low <= before.low, after.volume >= before.volume) == (True,) * 3


@settings(max_examples=60, deadline=None)
@given(symbols, st.dates(date(2012, 1, 1), date(2027, 6, 1)))
def test_a_daily_bar_is_what_the_session_ended_with(symbol: str, day: date) -> None:
    """The daily bar equals the snapshot at the close, and the next session's previous close is its close."""
    bars = MARKET.daily_bars(symbol, day - timedelta(days=14), day)
    last = bars[-1]
    closing = datetime.combine(last.day + timedelta(days=1), time(0), UTC)
    seen = MARKET.snapshot(symbol, closing).regular
    if not MARKET.security(symbol).splits and seen.day == last.day and seen.over:
        told = Bar(last.start, seen.open, seen.high, seen.low, seen.close, seen.volume)
        assert last == told
        assert seen.previous_close == bars[-2].close


def test_minute_bars_add_up_to_the_day() -> None:
    """390 minutes; their extremes and volume are the day's, the first opens it, none breaks its own range."""
    for symbol in ("AAPL", "SPY", "F", "SIM007"):
        minutes = MARKET.minute_bars(symbol, TUESDAY)
        day = MARKET.daily_bars(symbol, TUESDAY, TUESDAY)[0]
        assert len(minutes) == 390
        assert minutes[0].open == day.open
        assert (max(b.high for b in minutes), min(b.low for b in minutes)) == (day.high, day.low)
        assert sum(b.volume or 0 for b in minutes) == day.volume
        assert all(b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high for b in minutes)


def test_a_quote_lies_within_its_minute_bar() -> None:
    """Every print of a minute is between that minute's low and high, the last one is its close."""
    start = datetime(2026, 11, 24, 15, 4, tzinfo=UTC)
    bar = next(b for b in MARKET.minute_bars("MSFT", TUESDAY) if b.start == start)
    prices = [MARKET.price("MSFT", start + timedelta(seconds=n)) for n in range(60)]
    assert (prices[0], prices[-1]) == (bar.open, bar.close)
    assert (max(prices), min(prices)) == (bar.high, bar.low)


def test_high_and_low_so_far_are_those_of_the_prints_so_far() -> None:
    """Second by second through the first minutes, the range is exactly that of the prices shown."""
    opening = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
    shown: list[float] = []
    for second in range(240):
        seen = MARKET.snapshot("TSLA", opening + timedelta(seconds=second))
        shown.append(seen.price)
        assert (seen.regular.high, seen.regular.low) == (max(shown), min(shown))


def test_longer_bars_hold_the_minutes_they_cover() -> None:
    """An hour's bar has the first open, the extremes, the last close and the volume of its sixty minutes."""
    minutes = MARKET.minute_bars("KO", TUESDAY)[:60]
    hour = MARKET.intraday_bars("KO", TUESDAY, 3600)[0]
    merged = Bar(
        minutes[0].start,
        minutes[0].open,
        max(b.high for b in minutes),
        min(b.low for b in minutes),
        minutes[-1].close,
        sum(b.volume or 0 for b in minutes),
    )
    assert hour == merged


def test_nothing_later_than_asked_is_told() -> None:
    """Bars until an instant end with the running one, as far as it has gone."""
    minutes = MARKET.minute_bars("AAPL", TUESDAY, until=OPEN)
    seen = MARKET.snapshot("AAPL", OPEN)
    assert minutes[-1].start == datetime(2026, 11, 24, 15, 4, tzinfo=UTC)
    assert minutes[-1].close == seen.price
    today = MARKET.daily_bars("AAPL", TUESDAY, date(2026, 12, 31), until=OPEN)
    regular = seen.regular
    start = datetime(2026, 11, 24, tzinfo=UTC)
    assert today == (Bar(start, regular.open, regular.high, regular.low, regular.close, regular.volume),)


def test_the_same_question_has_the_same_answer_in_another_process() -> None:
    """Neither the order of questions nor the process nor its hash seed matters; the market's seed does."""
    program = (
        "from datetime import *; from mdagent_mcp.sandbox.market import SimulatedMarket; import sys\n"
        "m = SimulatedMarket(11); t = datetime(2026, 11, 24, 15, 4, 11, tzinfo=UTC)\n"
        "m.snapshot('GOOG', t)\n"
        "print(m.snapshot('AAPL', t), m.daily_bars('BTC-USD', date(2026, 1, 1), date(2026, 1, 9)), sep='\\n')"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={})
    days = MARKET.daily_bars("BTC-USD", date(2026, 1, 1), date(2026, 1, 9))
    assert told.stdout.splitlines() == [str(MARKET.snapshot("AAPL", OPEN)), str(days)]
    assert SimulatedMarket(12).snapshot("AAPL", OPEN) != MARKET.snapshot("AAPL", OPEN)


@pytest.mark.parametrize(
    ("at", "state", "session"),
    [
        (datetime(2026, 11, 24, 8, 59, tzinfo=UTC), MarketState.CLOSED, Session.CLOSED),
        (datetime(2026, 11, 24, 12, 0, tzinfo=UTC), MarketState.PRE, Session.PRE),
        (datetime(2026, 11, 24, 15, 0, tzinfo=UTC), MarketState.OPEN, Session.REGULAR),
        (datetime(2026, 11, 24, 22, 0, tzinfo=UTC), MarketState.POST, Session.POST),
        (datetime(2026, 11, 26, 15, 0, tzinfo=UTC), MarketState.CLOSED, Session.CLOSED),
        (datetime(2026, 11, 27, 18, 30, tzinfo=UTC), MarketState.POST, Session.POST),
    ],
)
def test_shares_follow_the_exchange_calendar(at: datetime, state: MarketState, session: Session) -> None:
    """Pre, regular, post and closed, with Thanksgiving and the half day after it."""
    seen = MARKET.snapshot("AAPL", at)
    assert (seen.state, seen.session) == (state, session)


def test_what_has_no_extended_hours_is_closed_outside_regular_ones() -> None:
    """An index and a London share have no pre-market; a coin never closes; currencies rest at the weekend."""
    early, weekend = datetime(2026, 11, 24, 12, 0, tzinfo=UTC), datetime(2026, 11, 21, 15, 0, tzinfo=UTC)
    states = {s: (MARKET.state(s, early), MARKET.state(s, weekend)) for s in ("^GSPC", "VOD.L", "BTC-USD", "EURUSD")}
    assert states == {
        "^GSPC": (MarketState.CLOSED, MarketState.CLOSED),
        "VOD.L": (MarketState.OPEN, MarketState.CLOSED),
        "BTC-USD": (MarketState.OPEN, MarketState.OPEN),
        "EURUSD": (MarketState.OPEN, MarketState.CLOSED),
    }


def test_prices_stand_still_while_nothing_trades() -> None:
    """The whole weekend shows Friday's official close, dated Friday 16:00 New York."""
    hours = [datetime(2026, 11, 21, 2, tzinfo=UTC) + timedelta(hours=n) for n in range(54)]
    seen = {(s.price, s.event_time) for s in (MARKET.snapshot("JPM", at) for at in hours)}
    close = MARKET.daily_bars("JPM", date(2026, 11, 20), date(2026, 11, 20))[0].close
    assert seen == {(close, datetime(2026, 11, 20, 21, tzinfo=UTC))}


def test_a_split_divides_older_prices_and_nothing_else() -> None:
    """Before NVDA's four for one prices are as traded; a series told afterwards is on the new basis throughout."""
    friday, monday = date(2026, 3, 13), date(2026, 3, 16)
    assert MARKET.splits("NVDA", friday, monday) == (Split(monday, 4.0),)
    as_traded = MARKET.snapshot("NVDA", datetime(2026, 3, 13, 21, tzinfo=UTC)).regular.close
    told_later = MARKET.daily_bars("NVDA", friday, monday)[0].close
    assert as_traded / told_later == pytest.approx(4)
    after = MARKET.snapshot("NVDA", datetime(2026, 3, 16, 15, tzinfo=UTC)).regular
    assert after.previous_close == pytest.approx(told_later, abs=0.005)
    assert 0.9 < after.open / told_later < 1.1


def test_dividends_come_quarterly_on_trading_days() -> None:
    """KO pays four equal dividends a year; a date that is a Sunday moves to Monday; AMZN pays none."""
    paid = MARKET.dividends("KO", date(2026, 1, 1), date(2026, 12, 31))
    days = (date(2026, 2, 10), date(2026, 5, 11), date(2026, 8, 10), date(2026, 11, 10))
    assert paid == tuple(Dividend(day, 0.504) for day in days)
    assert MARKET.dividends("AMZN", date(2010, 1, 1), date(2026, 12, 31)) == ()


@pytest.mark.parametrize("symbol", ["ZZZZ", "NKLA", "SIM1000", "SIM01", "OCDO.L", "DOGE-USD"])
def test_other_symbols_are_unknown(symbol: str) -> None:
    """Neither an invented symbol nor the delisted company is traded."""
    with pytest.raises(UnknownSymbolError):
        MARKET.snapshot(symbol, OPEN)


def test_ten_years_of_days_have_no_gap() -> None:
    """One bar for each trading date, none before the market began."""
    bars = MARKET.daily_bars("AAPL", date(1999, 1, 1), date(2026, 11, 24))
    assert bars[0].day == FIRST_DAY
    assert len([b for b in bars if b.day.year == 2025]) == 250


@pytest.mark.parametrize(("symbol", "measured_bp"), [("AAPL", 5.4), ("SPY", 3.1), ("BAC", 6.7), ("IBM", 4.6)])
def test_minute_returns_are_as_wide_as_measured_ones(symbol: str, measured_bp: float) -> None:
    """One-minute returns of five days have the calibrated standard deviation within a fifth."""
    returns = []
    for day in range(16, 21):
        closes = [bar.close for bar in MARKET.minute_bars(symbol, date(2026, 11, day))]
        returns += [1e4 * (b / a - 1) for a, b in pairwise(closes)]
    assert pstdev(returns) == pytest.approx(measured_bp, rel=0.2)


def test_volume_is_heaviest_at_the_open_and_the_close() -> None:
    """The first and the last half-hour each trade more than any between them."""
    volumes = [bar.volume or 0 for bar in MARKET.intraday_bars("MSFT", TUESDAY, 1800)]
    assert len(volumes) == 13
    assert min(volumes[0], volumes[-1]) > max(volumes[1:-1])


@pytest.mark.parametrize(
    ("symbol", "day", "ratio"), [("NVDA", date(2026, 3, 16), 4.0), ("PLUG", date(2026, 1, 12), 0.1)]
)
def test_bars_as_traded_are_each_on_the_basis_of_their_own_day(symbol: str, day: date, ratio: float) -> None:
    """Before a split they are the adjusted ones times its ratio, from it on the same; the running day too."""
    first = day - timedelta(days=7)
    adjusted = MARKET.daily_bars(symbol, first, TUESDAY, until=OPEN)
    traded = MARKET.daily_bars(symbol, first, TUESDAY, until=OPEN, as_traded=True)
    assert [bar.day for bar in traded] == [bar.day for bar in adjusted]
    factors = [ratio if bar.day < day else 1.0 for bar in adjusted]
    assert [bar.close for bar in traded] == pytest.approx(
        [bar.close * factor for bar, factor in zip(adjusted, factors, strict=True)]
    )
    assert traded[-1] == adjusted[-1]
    assert traded[-1].day == TUESDAY
