"""Whatever is asked, in whatever order: what is served from what is known is what the source itself would say now."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache.simulated_series import CALENDAR, SimulatedSeries
from mdagent_mcp.cache.known import KnownSeries, ReuseLimits, cut, extended, first_known, plan
from mdagent_mcp.cache.market_days import MarketDays
from mdagent_mcp.cache.ranges import Span
from mdagent_mcp.domain.prices import Adjustment, History, Interval

START = datetime(2026, 9, 1, 0, 0, tzinfo=UTC)
ALWAYS = ReuseLimits(tail_s=0.0, settled_s=1e9)

questions = st.tuples(
    st.sampled_from([0, 7, 60, 390, 1440]) | st.integers(0, 60 * 24 * 2),  # minutes that pass before it
    st.sampled_from([0, 0, 1, 2]) | st.integers(0, 90),  # days back of its last date
    st.integers(0, 60),  # its length
)
worlds = st.tuples(
    st.sampled_from([Interval.DAY_1, Interval.HOUR_1, Interval.WEEK_1]),
    st.sampled_from(list(Adjustment)),
    st.dictionaries(st.integers(0, 20), st.sampled_from([2.0, 4.0, 0.1]), max_size=2),
)


def answered(
    known: KnownSeries | None,
    source: SimulatedSeries,
    asked: Span,
    days: MarketDays,
    at: datetime,
    limits: ReuseLimits = ALWAYS,
) -> tuple[KnownSeries | None, History | None]:
    """What a client does: fetch what the plan says, join, or fetch whole when the two contradict each other."""
    step = plan(known, asked, days, at, limits, adjusts=True)
    if step.fetch is None:
        assert known is not None
        return known, cut(known, asked, days)
    told = source.say(step.fetch, at)
    if step.reuses:
        assert known is not None
        together = extended(known, step.fetch, told, days)
        if together is not None:
            assert {b.start for b in known.history.bars if b.start < days.begin(step.fetch.first)} <= {
                b.start for b in together.history.bars
            }
            return together, cut(together, asked, days)
        told = source.say(asked, at)
    joined = extended(known, asked, told, days) if known is not None else None
    return joined or first_known(asked, told, days), told


@given(st.lists(questions, min_size=1, max_size=8), worlds)
@example(
    [(1434, 0, 0), (2666, 0, 0), (7, 0, 0)], (Interval.HOUR_1, Adjustment.SPLITS, {})
)  # an hour that the close cuts short
@settings(max_examples=60)
def test_what_is_served_is_what_the_source_would_say_now(
    asked: list[tuple[int, int, int]], world: tuple[Interval, Adjustment, dict[int, float]]
) -> None:
    """Also over splits; in at most two calls, and the bars are in order, each once."""
    interval, adjustment, splits = world
    source = SimulatedSeries(interval, adjustment, {session_day(n): ratio for n, ratio in splits.items()})
    days, at, known = MarketDays(CALENDAR, interval), START, None
    for minutes, back, length in asked:
        at += timedelta(minutes=minutes)
        last = at.date() - timedelta(days=back)
        span = days.from_whole_period(Span(last - timedelta(days=length), last))
        source.fetched.clear()
        known, served = answered(known, source, span, days, at)
        assert len(source.fetched) <= 2
        assert (() if served is None else served.bars) == tuple(source.bars(span, at))
        if known is not None:
            starts = [bar.start for bar in known.history.bars]
            assert starts == sorted(set(starts))
            covered = [part.span for part in known.settled]
            assert all(a.common(b) is None for n, a in enumerate(covered) for b in covered[:n])


@given(st.lists(questions, min_size=1, max_size=8), worlds, st.floats(60, 4000))
@example(
    [(0, 20, 0), (2240, 84, 45), (208, 0, 8), (2240, 0, 1), (1203, 21, 49)],
    (Interval.HOUR_1, Adjustment.SPLITS, {}),
    3587.0,
)  # the end that is known is old, and nobody asks for it
@settings(max_examples=40)
def test_the_end_that_may_still_change_is_never_served_older_than_allowed(
    asked: list[tuple[int, int, int]], world: tuple[Interval, Adjustment, dict[int, float]], tail_s: float
) -> None:
    """Every bar is what the source says now, or said within the limit; none is left out that existed then."""
    interval, _, _ = world
    source = SimulatedSeries(interval, Adjustment.NONE)
    days, at, known = MarketDays(CALENDAR, interval), START, None
    for minutes, back, length in asked:
        at += timedelta(minutes=minutes)
        last = at.date() - timedelta(days=back)
        span = days.from_whole_period(Span(last - timedelta(days=length), last))
        known, served = answered(known, source, span, days, at, ReuseLimits(tail_s, 1e9))
        then = at if known is None or known.tail is None else known.tail_at
        shown = () if served is None else served.bars
        if shown != tuple(source.bars(span, at)):
            assert shown == tuple(source.bars(span, then))
            assert (at - then).total_seconds() < tail_s


def session_day(number: int) -> date:
    """The trading date of that number from the start on."""
    return CALENDAR.sessions_between(START.date(), START.date() + timedelta(days=60))[number].day
