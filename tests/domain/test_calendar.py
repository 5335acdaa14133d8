"""When markets are open: sessions, half days, clock changes, breaks, markets that hardly ever close."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.calendar import MarketState, TradingSession, calendar_named, known_calendars

NEW_YORK = calendar_named("XNYS")
CRYPTO = calendar_named("24/7")
FOREX = calendar_named("24/5")

instants = st.datetimes(datetime(2001, 1, 1), datetime(2026, 12, 20), timezones=st.just(UTC))  # noqa: DTZ001


def utc(text: str) -> datetime:
    """An instant written as `2026-11-23 15:04`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_an_ordinary_day_in_new_york_has_its_four_bounds() -> None:
    """04:00, 09:30, 16:00 and 20:00 of winter time."""
    assert NEW_YORK.session_on(date(2026, 11, 23)) == TradingSession(
        date(2026, 11, 23),
        open=utc("2026-11-23 14:30"),
        close=utc("2026-11-23 21:00"),
        pre_open=utc("2026-11-23 09:00"),
        post_close=utc("2026-11-24 01:00"),
    )


def test_a_half_day_closes_early_and_so_does_its_post_market() -> None:
    """The day after Thanksgiving: 13:00, and four hours of post-market trading."""
    session = NEW_YORK.session_on(date(2026, 11, 27))
    assert session is not None
    assert (session.close, session.post_close) == (utc("2026-11-27 18:00"), utc("2026-11-27 22:00"))
    assert session.regular_length == timedelta(hours=3, minutes=30)
    assert NEW_YORK.state_at(utc("2026-11-27 17:59")) is MarketState.OPEN
    assert NEW_YORK.state_at(utc("2026-11-27 18:00")) is MarketState.POST


@pytest.mark.parametrize(
    ("day", "opening"),
    [
        (date(2026, 3, 6), "2026-03-06 14:30"),
        (date(2026, 3, 9), "2026-03-09 13:30"),
        (date(2026, 10, 30), "2026-10-30 13:30"),
        (date(2026, 11, 2), "2026-11-02 14:30"),
    ],
    ids=["before spring", "after spring", "before autumn", "after autumn"],
)
def test_the_opening_moves_in_utc_when_the_clocks_change(day: date, opening: str) -> None:
    """09:30 New York is another instant in summer."""
    session = NEW_YORK.session_on(day)
    assert session is not None
    assert session.open == utc(opening)


@pytest.mark.parametrize(
    "day",
    [
        date(2026, 1, 1),
        date(2026, 1, 19),
        date(2026, 4, 3),
        date(2026, 6, 19),
        date(2026, 7, 3),
        date(2026, 11, 26),
        date(2026, 12, 25),
        date(2026, 11, 21),
        date(2001, 9, 11),
        date(2012, 10, 29),
        date(2025, 1, 9),
    ],
)
def test_holidays_weekends_and_closures_have_no_session(day: date) -> None:
    """Fixed and moving holidays, an observed one, a Saturday, and three days that nobody planned."""
    assert not NEW_YORK.is_session(day)
    assert NEW_YORK.session_on(day) is None
    assert NEW_YORK.state_at(datetime(day.year, day.month, day.day, 17, tzinfo=UTC)) is MarketState.CLOSED


@pytest.mark.parametrize(
    ("at", "state"),
    [
        ("2026-11-23 08:59:59", MarketState.CLOSED),
        ("2026-11-23 09:00", MarketState.PRE),
        ("2026-11-23 14:29:59", MarketState.PRE),
        ("2026-11-23 14:30", MarketState.OPEN),
        ("2026-11-23 20:59:59", MarketState.OPEN),
        ("2026-11-23 21:00", MarketState.POST),
        ("2026-11-24 00:59:59", MarketState.POST),
        ("2026-11-24 01:00", MarketState.CLOSED),
        ("2026-11-22 15:00", MarketState.CLOSED),
    ],
)
def test_the_state_changes_at_the_bounds(at: str, state: MarketState) -> None:
    """Each session begins at its bound and ends just before the next."""
    assert NEW_YORK.state_at(utc(at)) is state


@pytest.mark.parametrize(
    ("name", "at", "state"),
    [
        ("XTKS", "2026-11-24 02:29", MarketState.OPEN),
        ("XTKS", "2026-11-24 02:30", MarketState.BREAK),
        ("XTKS", "2026-11-24 03:30", MarketState.OPEN),
        ("XTKS", "2026-11-24 06:29", MarketState.OPEN),
        ("XTKS", "2026-11-24 06:30", MarketState.CLOSED),
        ("XHKG", "2026-11-24 04:00", MarketState.BREAK),
        ("XHKG", "2026-11-24 05:00", MarketState.OPEN),
        ("XKRX", "2026-11-24 03:30", MarketState.OPEN),
        ("XLON", "2026-11-24 04:30", MarketState.CLOSED),
        ("XLON", "2026-11-24 16:29", MarketState.OPEN),
    ],
)
def test_midday_breaks_are_no_trading_and_no_close(name: str, at: str, state: MarketState) -> None:
    """Tokyo pauses from 11:30 to 12:30, Hong Kong from 12:00 to 13:00; Seoul gave it up in 2000."""
    assert calendar_named(name).state_at(utc(at)) is state


def test_a_break_is_not_regular_trading_time() -> None:
    """Tokyo: two and a half hours, and three."""
    session = calendar_named("XTKS").session_on(date(2026, 11, 24))
    assert session is not None
    assert session.regular_length == timedelta(hours=5, minutes=30)


def test_crypto_is_always_open_and_its_day_is_that_of_utc() -> None:
    """Saturday, Christmas, midnight."""
    assert CRYPTO.always_open
    assert not NEW_YORK.always_open
    for at in ("2026-11-21 12:00", "2026-12-25 00:00", "2026-01-01 23:59:59"):
        assert CRYPTO.state_at(utc(at)) is MarketState.OPEN
    session = CRYPTO.session_on(date(2026, 11, 21))
    assert session is not None
    assert (session.open, session.close) == (utc("2026-11-21 00:00"), utc("2026-11-22 00:00"))
    assert CRYPTO.latest_completed(utc("2026-11-21 12:00")) == CRYPTO.session_on(date(2026, 11, 20))


@pytest.mark.parametrize(
    ("at", "state"),
    [
        ("2026-11-22 21:59:59", MarketState.CLOSED),
        ("2026-11-22 22:00", MarketState.OPEN),
        ("2026-11-23 22:00", MarketState.OPEN),
        ("2026-11-27 21:59:59", MarketState.OPEN),
        ("2026-11-27 22:00", MarketState.CLOSED),
        ("2026-11-28 12:00", MarketState.CLOSED),
        ("2026-07-05 20:59", MarketState.CLOSED),
        ("2026-07-05 21:00", MarketState.OPEN),
    ],
)
def test_forex_runs_from_sunday_to_friday_at_five_in_new_york(at: str, state: MarketState) -> None:
    """22:00 UTC in winter, 21:00 in summer."""
    assert FOREX.state_at(utc(at)) is state


def test_the_forex_monday_begins_on_sunday() -> None:
    """A trading date is the one on which it ends."""
    session = FOREX.session_on(date(2026, 11, 23))
    assert session is not None
    assert (session.open, session.close) == (utc("2026-11-22 22:00"), utc("2026-11-23 22:00"))
    assert FOREX.next_open(utc("2026-11-28 12:00")) == utc("2026-11-29 22:00")


@pytest.mark.parametrize(
    ("at", "opened", "completed", "next_open"),
    [
        ("2026-11-23 10:00", date(2026, 11, 20), date(2026, 11, 20), "2026-11-23 14:30"),
        ("2026-11-23 14:30", date(2026, 11, 23), date(2026, 11, 20), "2026-11-24 14:30"),
        ("2026-11-23 20:59", date(2026, 11, 23), date(2026, 11, 20), "2026-11-24 14:30"),
        ("2026-11-23 21:00", date(2026, 11, 23), date(2026, 11, 23), "2026-11-24 14:30"),
        ("2026-11-26 15:00", date(2026, 11, 25), date(2026, 11, 25), "2026-11-27 14:30"),
        ("2026-11-28 15:00", date(2026, 11, 27), date(2026, 11, 27), "2026-11-30 14:30"),
        ("2001-09-16 15:00", date(2001, 9, 10), date(2001, 9, 10), "2001-09-17 13:30"),
    ],
    ids=["before", "at the open", "during", "at the close", "holiday", "weekend", "the long closure"],
)
def test_the_latest_and_the_next_session(at: str, opened: date, completed: date, next_open: str) -> None:
    """Opened counts from its first instant, completed from its last."""
    instant = utc(at)
    latest_opened, latest_completed = NEW_YORK.latest_opened(instant), NEW_YORK.latest_completed(instant)
    assert latest_opened is not None
    assert latest_completed is not None
    assert (latest_opened.day, latest_completed.day) == (opened, completed)
    assert NEW_YORK.next_open(instant) == utc(next_open)


def test_the_session_of_an_instant_includes_its_extended_hours() -> None:
    """20:30 UTC+1 of the evening belongs to the day; the night belongs to none."""
    monday = NEW_YORK.session_on(date(2026, 11, 23))
    assert NEW_YORK.session_at(utc("2026-11-23 09:30")) == monday
    assert NEW_YORK.session_at(utc("2026-11-24 00:30")) == monday
    assert NEW_YORK.session_at(utc("2026-11-24 02:00")) is None


def test_the_sessions_between_two_dates_include_both() -> None:
    """Thanksgiving week has four sessions; a range that ends before it begins has none."""
    days = [s.day.day for s in NEW_YORK.sessions_between(date(2026, 11, 23), date(2026, 11, 29))]
    assert days == [23, 24, 25, 27]
    assert [s.day.day for s in NEW_YORK.sessions_between(date(2026, 11, 24), date(2026, 11, 24))] == [24]
    assert NEW_YORK.sessions_between(date(2026, 11, 24), date(2026, 11, 23)) == ()


def test_a_market_without_table_says_so_and_guesses_nothing() -> None:
    """Tel Aviv trades on Sundays; nobody here knows when."""
    unknown = calendar_named("XTAE")
    now = utc("2026-11-23 15:00")
    assert not unknown.known
    assert unknown.state_at(now) is MarketState.UNKNOWN
    assert unknown.latest_opened(now) is None
    assert unknown.latest_completed(now) is None
    assert unknown.next_open(now) is None
    assert unknown.session_at(now) is None
    assert unknown.sessions_between(date(2026, 11, 1), date(2026, 11, 30)) == ()
    assert not unknown.covers(date(2026, 11, 23))


def test_beyond_the_table_nothing_is_known() -> None:
    """Before 2000 and after its last day a known market's state is unknown too."""
    assert NEW_YORK.state_at(utc("1999-06-01 15:00")) is MarketState.UNKNOWN
    assert not NEW_YORK.covers(NEW_YORK.first - timedelta(days=1))
    assert NEW_YORK.covers(NEW_YORK.first)
    assert NEW_YORK.covers(NEW_YORK.last)
    assert not NEW_YORK.is_session(NEW_YORK.last + timedelta(days=3))


def test_every_suffix_with_a_table_and_both_continuous_markets_are_listed() -> None:
    """At least thirty exchanges; the two that need no table come first."""
    names = known_calendars()
    assert names[:2] == ("24/7", "24/5")
    assert {"XNYS", "XLON", "XTKS", "XHKG", "XETR", "XASX", "XBOM"} <= set(names)
    assert len(names) >= 32
    assert all(calendar_named(name).known for name in names)


@given(st.sampled_from(known_calendars()), instants)
def test_what_an_instant_belongs_to_is_consistent(name: str, instant: datetime) -> None:
    """The latest session is never in the future, the next one never in the past, and the state is the session's."""
    calendar = calendar_named(name)
    opened, completed = calendar.latest_opened(instant), calendar.latest_completed(instant)
    session, following = calendar.session_at(instant), calendar.next_open(instant)
    assert opened is not None
    assert completed is not None
    assert completed.close <= instant
    assert opened.open <= instant
    assert completed.open <= opened.open
    assert following is None or following > instant
    expected = MarketState.CLOSED if session is None else session.state_at(instant)
    assert calendar.state_at(instant) is expected


@given(st.sampled_from(known_calendars()), st.dates(date(2000, 1, 6), date(2026, 12, 20)))
def test_sessions_are_well_formed_and_do_not_overlap(name: str, day: date) -> None:
    """Bounds in order, the break inside, and the day before has ended."""
    calendar = calendar_named(name)
    session = calendar.session_on(day)
    assert (session is not None) == calendar.is_session(day)
    if session is None:
        return
    assert session.pre_open <= session.open < session.close <= session.post_close
    assert timedelta(0) < session.regular_length <= timedelta(hours=25)
    if session.break_start is not None:
        assert session.break_end is not None
        assert session.open < session.break_start < session.break_end < session.close
    before = calendar.session_on(day - timedelta(days=1))
    assert before is None or before.close <= session.open
