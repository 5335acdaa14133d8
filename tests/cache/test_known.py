"""What of a known series is reused, and what is fetched."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from cache.simulated_series import CALENDAR, SimulatedSeries
from mdagent_mcp.cache.known import (
    PARTS_KEPT,
    FetchPlan,
    KnownSeries,
    Part,
    ReuseLimits,
    cut,
    extended,
    first_known,
    plan,
)
from mdagent_mcp.cache.market_days import MarketDays
from mdagent_mcp.cache.ranges import Span
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.prices import Adjustment, Interval

TUESDAY = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)
"""Tuesday 11:30 in New York: the session is on."""
EVENING = TUESDAY.replace(hour=22)
LIMITS = ReuseLimits(tail_s=60.0, settled_s=30 * 86_400.0)
DAILY = MarketDays(CALENDAR, Interval.DAY_1)
AUTUMN = Span(date(2026, 9, 1), date(2026, 11, 24))


def known_of(asked: Span, at: datetime, source: SimulatedSeries | None = None) -> KnownSeries:
    """What one answer made known."""
    known = first_known(asked, (source or SimulatedSeries()).say(asked, at), DAILY)
    assert known is not None
    return known


def planned(known: KnownSeries, asked: Span, at: datetime, *, adjusts: bool = True) -> FetchPlan:
    """What a question needs."""
    return plan(known, asked, DAILY, at, LIMITS, adjusts=adjusts)


def test_a_session_that_is_on_is_not_settled_and_the_one_before_it_is() -> None:
    """The last bar lives for a minute, the completed ones for long."""
    known = known_of(AUTUMN, TUESDAY)
    assert known.spans == (Span(date(2026, 9, 1), date(2026, 11, 23)),)
    assert known.tail == Span(date(2026, 11, 24), date(2026, 11, 24))
    assert planned(known, AUTUMN, TUESDAY + timedelta(seconds=59)) == FetchPlan(None, reuses=True)
    later = FetchPlan(Span(date(2026, 11, 23), date(2026, 11, 24)), reuses=True)
    assert planned(known, AUTUMN, TUESDAY + timedelta(seconds=60)) == later


def test_a_range_inside_what_is_known_needs_nothing() -> None:
    """Whatever its length."""
    known = known_of(AUTUMN, TUESDAY)
    inside = Span(date(2026, 10, 1), date(2026, 10, 31))
    assert planned(known, inside, TUESDAY + timedelta(hours=2)) == FetchPlan(None, reuses=True)
    told = cut(known, inside, DAILY)
    assert told is not None
    assert told.bars == tuple(SimulatedSeries().bars(inside, TUESDAY))
    assert (told.received_at, told.partial_last_bar) == (TUESDAY, False)


def test_only_what_is_missing_is_fetched_from_the_last_completed_bar_on() -> None:
    """On either side, or both at once in one range."""
    known = known_of(Span(date(2026, 9, 1), date(2026, 9, 30)), TUESDAY)
    until_now = Span(date(2026, 9, 10), date(2026, 11, 24))
    assert planned(known, until_now, TUESDAY).fetch == Span(date(2026, 9, 30), date(2026, 11, 24))
    from_before = Span(date(2026, 8, 3), date(2026, 9, 15))
    assert planned(known, from_before, TUESDAY).fetch == Span(date(2026, 8, 3), date(2026, 9, 1))
    both = Span(date(2026, 8, 3), date(2026, 11, 24))
    assert planned(known, both, TUESDAY) == FetchPlan(both, reuses=False)


def test_days_without_a_session_and_days_to_come_are_not_missing() -> None:
    """After a Friday's close a question up to Sunday needs nothing, nor does one up to a Monday that has not begun."""
    friday = datetime(2026, 11, 20, 22, tzinfo=UTC)
    known = known_of(Span(date(2026, 11, 2), date(2026, 11, 20)), friday)
    for last in (date(2026, 11, 21), date(2026, 11, 22), date(2026, 11, 23)):
        asked = Span(date(2026, 11, 2), last)
        assert planned(known, asked, datetime(2026, 11, 23, 13, tzinfo=UTC)) == FetchPlan(None, reuses=True)


def test_a_bar_that_was_not_published_in_the_evening_is_asked_for_again() -> None:
    """What a source has not told is not known, although the session is over."""
    series = SimulatedSeries()
    told = series.say(AUTUMN, EVENING)
    known = first_known(AUTUMN, replace(told, bars=told.bars[:-1], partial_last_bar=False), DAILY)
    assert known is not None
    assert known.spans == (Span(date(2026, 9, 1), date(2026, 11, 23)),)
    fetch = planned(known, AUTUMN, EVENING + timedelta(hours=1)).fetch
    assert fetch == Span(date(2026, 11, 23), date(2026, 11, 24))


def test_an_adjusted_series_is_compared_with_its_source_once_after_every_open() -> None:
    """By one bar; prices as traded, and what is never adjusted, are not."""
    asked = Span(date(2026, 9, 1), date(2026, 9, 30))
    known = known_of(asked, TUESDAY)
    tomorrow = TUESDAY + timedelta(days=1)
    assert planned(known, asked, tomorrow).fetch == Span(date(2026, 9, 30), date(2026, 9, 30))
    assert planned(known, asked, tomorrow, adjusts=False) == FetchPlan(None, reuses=True)
    as_traded = known_of(asked, TUESDAY, SimulatedSeries(adjustment=Adjustment.NONE))
    assert planned(as_traded, asked, tomorrow) == FetchPlan(None, reuses=True)


def test_a_split_after_a_part_was_fetched_makes_the_two_contradict_each_other() -> None:
    """Then nothing of the old is used; a corrected bar as traded takes the place of the old one instead."""
    series = SimulatedSeries(splits={date(2026, 11, 24): 4.0})
    asked, now = Span(date(2026, 9, 1), date(2026, 11, 20)), TUESDAY
    known = known_of(asked, now - timedelta(days=1), series)
    part = Span(date(2026, 11, 20), date(2026, 11, 24))
    assert extended(known, part, series.say(part, now), DAILY) is None
    as_traded = SimulatedSeries(adjustment=Adjustment.NONE)
    old, new = known_of(asked, now - timedelta(days=1), as_traded), as_traded.say(part, now)
    corrected = replace(new, bars=(replace(new.bars[0], close=1.0), *new.bars[1:]))
    together = extended(old, part, corrected, DAILY)
    assert together is not None
    assert [bar.close for bar in together.history.bars if bar.day == date(2026, 11, 20)] == [1.0]


def test_a_dividend_shows_in_the_adjusted_close_alone() -> None:
    """A series that tells both is compared by both."""
    asked, part = Span(date(2026, 9, 1), date(2026, 11, 20)), Span(date(2026, 11, 20), date(2026, 11, 24))
    series = SimulatedSeries()
    old, new = series.say(asked, TUESDAY - timedelta(days=1)), series.say(part, TUESDAY)
    known = first_known(asked, replace(old, bars=tuple(replace(b, adjusted_close=b.close) for b in old.bars)), DAILY)
    paid = replace(new, bars=tuple(replace(b, adjusted_close=b.close * 0.998) for b in new.bars))
    same = replace(new, bars=tuple(replace(b, adjusted_close=b.close) for b in new.bars))
    assert known is not None
    assert extended(known, part, paid, DAILY) is None
    assert extended(known, part, same, DAILY) is not None


def test_where_a_bar_came_from_stays_known() -> None:
    """The joined series was received with its newest part, and a note says when the rest was."""
    series, early, part = SimulatedSeries(), TUESDAY - timedelta(days=1), Span(date(2026, 11, 20), date(2026, 11, 24))
    known = known_of(Span(date(2026, 9, 1), date(2026, 11, 20)), early, series)
    together = extended(known, part, series.say(part, TUESDAY), DAILY)
    assert together is not None
    assert together.settled == (
        Part(Span(date(2026, 9, 1), date(2026, 11, 19)), early),
        Part(Span(date(2026, 11, 20), date(2026, 11, 23)), TUESDAY),
    )
    told = cut(together, AUTUMN, DAILY)
    assert told is not None
    assert told.received_at == TUESDAY
    assert told.notes == ("bars of 2026-09-01 to 2026-11-19 were received 2026-11-23 16:30:00 UTC",)


def test_a_reply_out_of_order_or_with_a_bar_twice_is_never_kept() -> None:
    """It is judged as it came; one that is newest first throughout is in order."""
    told = SimulatedSeries().say(AUTUMN, TUESDAY)
    swapped = (told.bars[1], told.bars[0], *told.bars[2:])
    assert first_known(AUTUMN, replace(told, bars=swapped), DAILY) is None
    assert first_known(AUTUMN, replace(told, bars=(*told.bars, told.bars[-1])), DAILY) is None
    assert first_known(AUTUMN, replace(told, bars=()), DAILY) is None
    backwards = first_known(AUTUMN, replace(told, bars=told.bars[::-1]), DAILY)
    assert backwards is not None
    assert backwards.history.bars == told.bars


def test_a_series_that_began_late_is_believed_only_for_questions_as_wide() -> None:
    """A source that has 20 years at most says nothing about the time before, also when one asks only for that."""
    wide, began = Span(date(2000, 1, 1), date(2026, 11, 23)), date(2026, 9, 1)
    told = SimulatedSeries().say(Span(began, date(2026, 11, 23)), TUESDAY)
    known = first_known(wide, told, DAILY)
    assert known is not None
    assert planned(known, wide, TUESDAY) == FetchPlan(None, reuses=True)
    assert planned(known, Span(date(2000, 1, 1), date(2026, 10, 1)), TUESDAY).fetch == Span(date(2000, 1, 1), began)


def test_old_knowledge_is_not_used_at_all() -> None:
    """After the limit the series is fetched whole."""
    known = known_of(AUTUMN, TUESDAY)
    assert planned(known, AUTUMN, TUESDAY + timedelta(days=30)) == FetchPlan(AUTUMN, reuses=False)


def test_too_many_parts_become_fewer_and_no_younger() -> None:
    """The instants of the oldest are given up first, for the older of the two."""
    series, at = SimulatedSeries(adjustment=Adjustment.NONE), datetime(2026, 9, 1, 22, tzinfo=UTC)
    known = known_of(Span(date(2026, 8, 3), date(2026, 9, 1)), at, series)
    sessions = CALENDAR.sessions_between(date(2026, 9, 1), date(2026, 10, 30))
    for before, session in pairwise(sessions):
        span = Span(before.day, session.day)
        joined = extended(known, span, series.say(span, session.close + timedelta(hours=2)), DAILY)
        assert joined is not None
        known = joined
    assert len(known.settled) == PARTS_KEPT
    assert known.oldest == at
    assert known.spans == (Span(date(2026, 8, 3), date(2026, 10, 30)),)


@pytest.mark.parametrize(
    ("market", "interval", "at", "through"),
    [
        ("XNYS", Interval.DAY_1, datetime(2026, 11, 24, 21, 19, tzinfo=UTC), date(2026, 11, 23)),
        ("XNYS", Interval.DAY_1, datetime(2026, 11, 24, 21, 20, tzinfo=UTC), date(2026, 11, 24)),
        ("XNYS", Interval.DAY_1, datetime(2026, 11, 20, 22, 0, tzinfo=UTC), date(2026, 11, 22)),
        ("XNYS", Interval.WEEK_1, datetime(2026, 11, 20, 22, 0, tzinfo=UTC), date(2026, 11, 22)),
        ("XNYS", Interval.WEEK_1, datetime(2026, 11, 19, 22, 0, tzinfo=UTC), date(2026, 11, 15)),
        ("XNYS", Interval.MONTH_1, datetime(2026, 11, 30, 23, 0, tzinfo=UTC), date(2026, 11, 30)),
        ("XNYS", Interval.MONTH_1, datetime(2026, 11, 27, 23, 0, tzinfo=UTC), date(2026, 10, 31)),
        ("24/7", Interval.DAY_1, datetime(2026, 11, 24, 0, 19, tzinfo=UTC), date(2026, 11, 22)),
        ("24/7", Interval.DAY_1, datetime(2026, 11, 24, 0, 20, tzinfo=UTC), date(2026, 11, 23)),
        ("XXXX", Interval.DAY_1, datetime(2026, 11, 24, 12, 0, tzinfo=UTC), date(2026, 11, 22)),
    ],
)
def test_until_when_bars_are_settled(market: str, interval: Interval, at: datetime, through: date) -> None:
    """Twenty minutes after the close, whole weeks and months only; two days later where there is no calendar."""
    assert MarketDays(calendar_named(market), interval).settled_through(at) == through
