"""Which bars are demanded, which are missing, and what that costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from consensus.series_building import (
    NOW,
    context,
    daily,
    failed_rules,
    finding,
    judge,
    midnight,
    minutes,
    noisy,
    question,
    series,
    trading_days,
    walk,
)
from mdagent_mcp.consensus.history import HistoryContext
from mdagent_mcp.consensus.history_coverage import completeness_score, staleness_score
from mdagent_mcp.domain.answers import Coverage
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.prices import Interval
from mdagent_mcp.domain.quality import Dimension, Grade, Verdict

DAY = date(2025, 12, 30)


@pytest.mark.parametrize(
    ("ratio", "score"),
    [(1.0, 100), (0.9995, 100), (0.995, 90), (0.9825, 85), (0.97, 80), (0.93, 70), (0.85, 60), (0.5, 20), (0.0, 0)],
)
def test_completeness_follows_the_rubric(ratio: float, score: float) -> None:
    """The points of the table, and straight lines between them."""
    assert completeness_score(ratio) == pytest.approx(score)


@pytest.mark.parametrize(("sessions", "score"), [(0, 100), (1, 76), (2, 66), (5, 66), (6, 50), (100, 50)])
def test_staleness_follows_the_rubric(sessions: int, score: float) -> None:
    """One session is a C, up to five a D, more an F."""
    assert staleness_score(sessions) == score


def test_a_complete_year_has_the_sessions_of_the_calendar() -> None:
    """250 sessions in 2025: no weekends, no holidays, half days included."""
    assert judge(series(daily())).coverage == Coverage(250, 250, ())


@pytest.mark.parametrize(
    ("lost", "letter"),
    [((100,), "B"), (range(100, 105), "B"), (range(100, 112), "C"), (range(100, 125), "D"), (range(60, 122), "F")],
    ids=["1", "5", "12", "25", "62"],
)
def test_missing_days_cost_by_their_share(lost: tuple[int, ...] | range, letter: str) -> None:
    """Of 250: one and five are a B, twelve a C, a tenth a D, a quarter severely incomplete."""
    bars = daily()
    kept = [b for n, b in enumerate(bars) if n not in set(lost)]
    judged = judge(series(kept))
    missing = tuple(bars[n].start for n in lost)
    assert judged.coverage == Coverage(250, 250 - len(missing), missing[-50:])
    assert judged.assessment.dimensions[Dimension.COMPLETENESS] == pytest.approx(
        completeness_score(1 - len(missing) / 250), abs=0.06
    )
    assert judged.assessment.grade == letter
    assert [i.time for i in judged.issues if i.rule == "coverage"] == list(missing[-5:])


def test_missing_days_are_not_filled_in_but_told_with_who_has_them() -> None:
    """The other source has the day; the served series stays one source's word."""
    bars = daily()
    holed = [b for n, b in enumerate(bars) if n not in {50, 51}]
    judged = judge(series(holed), series(noisy(bars[:240]), "beta"))
    assert judged.sources_used[0] == "alpha"
    assert judged.series.bars == tuple(holed)
    assert {(i.time, i.detail) for i in judged.issues} == {
        (bars[50].start, "missing; beta has it"),
        (bars[51].start, "missing; beta has it"),
    }


@pytest.mark.parametrize(("lost", "score", "letter"), [(1, 76.0, "C"), (4, 66.0, "D"), (10, 50.0, "F")])
def test_completed_sessions_missing_at_the_end_are_staleness(lost: int, score: float, letter: str) -> None:
    """A series that ends early is old, whatever its bars say."""
    judged = judge(series(daily()[:-lost]))
    assert judged.assessment.dimensions[Dimension.TIMELINESS] == score
    assert judged.assessment.grade == letter
    assert f"{lost} completed session" in finding(judged, "missing_at_end").detail


def test_the_running_session_is_welcome_but_not_demanded() -> None:
    """At noon of the last day its bar may be there, marked as partial, or not: both cost nothing."""
    noon = datetime(2025, 12, 31, 17, 0, tzinfo=UTC)
    bars, within = daily(), context(noon)
    there = judge(series(bars, received_at=noon, partial_last_bar=True), within=within)
    absent = judge(series(bars[:-1], received_at=noon), within=within)
    assert (there.coverage, there.series.partial, failed_rules(there)) == (Coverage(250, 250, ()), True, set())
    assert (absent.coverage, absent.series.partial, failed_rules(absent)) == (Coverage(249, 249, ()), False, set())
    assert there.assessment.score == absent.assessment.score == 88.8
    assert "The last bar is partial." in there.summary


def test_a_running_bar_that_is_not_marked_costs_and_is_marked_for_the_asker() -> None:
    """The source passes off half a day as a day."""
    noon = datetime(2025, 12, 31, 17, 0, tzinfo=UTC)
    judged = judge(series(daily(), received_at=noon), within=context(noon))
    assert judged.series.partial is True
    assert finding(judged, "partial_bar").cap == 79.0
    assert judged.assessment.grade is Grade.C


def test_by_a_wrong_clock_of_ours_the_end_of_a_range_cannot_be_judged() -> None:
    """A D that says so; a range that ended long ago needs no clock."""
    wrong = HistoryContext(now=NOW, clock_error_s=-3600.0)
    judged = judge(series(daily()), within=wrong)
    told = (
        "this machine's clock is 60 min behind the vendors' servers, so the last bars may be incomplete or missing:"
        " set the clock"
    )
    assert (judged.assessment.grade, finding(judged, "machine_clock").detail) == (Grade.D, told)
    past = judge(series(daily()[:-20]), asked=question(last=daily()[-21].day), within=wrong)
    assert (past.assessment.grade, finding(past, "machine_clock").verdict) == (Grade.B, Verdict.NOT_RUN)
    for little_s in (0.0, 61.0):
        right = judge(series(daily()), within=HistoryContext(now=NOW, clock_error_s=little_s))
        assert (right.assessment.grade, finding(right, "machine_clock").verdict) == (Grade.B, Verdict.PASSED)


def test_a_session_that_has_just_closed_is_demanded_after_vendors_had_time_to_settle_it() -> None:
    """21:00 UTC is the close; 20 minutes later its bar is due."""
    closing = datetime(2025, 12, 31, 21, 0, tzinfo=UTC)
    for minutes_after, missing in ((19, 0), (21, 1)):
        now = closing + timedelta(minutes=minutes_after)
        judged = judge(series(daily()[:-1], received_at=now), within=context(now))
        assert judged.coverage == Coverage(249 + missing, 249, tuple(b.start for b in daily()[-1:][:missing]))


def test_sessions_in_the_future_are_not_demanded() -> None:
    """The asked range may reach beyond today."""
    judged = judge(series(daily()), asked=question(last=date(2026, 2, 27)))
    assert judged.coverage == Coverage(250, 250, ())


def test_a_market_without_calendar_has_no_expected_bars_and_is_a_c_at_most() -> None:
    """Nobody can tell what is missing, so nobody claims it is complete."""
    judged = judge(series(daily(), symbol="ABC.TA", currency="ILS"), asked=question(symbol="ABC.TA"))
    assert judged.coverage == Coverage(None, 250, ())
    assert judged.assessment.dimensions[Dimension.COMPLETENESS] == 79.0
    assert finding(judged, "coverage").verdict is Verdict.NOT_RUN
    assert judged.assessment.grade is Grade.C
    assert "250 bars from alpha only" in judged.summary


def test_crypto_is_demanded_every_day() -> None:
    """It never closes."""
    days = [date(2025, 11, 1) + timedelta(days=n) for n in range(60)]
    bars = walk([midnight(d) for d in days])
    asked = question(symbol="BTC-USD", first=days[0], last=days[-1])
    full = judge(series(bars, symbol="BTC-USD"), asked=asked)
    weekdays = judge(series([b for b in bars if b.day.weekday() < 5], symbol="BTC-USD"), asked=asked)
    assert full.coverage == Coverage(60, 60, ())
    assert weekdays.coverage.present == 42
    assert weekdays.coverage.expected == 60


def test_forex_is_demanded_on_weekdays_but_not_on_christmas_and_may_have_sundays() -> None:
    """Vendors differ in whether the hours from Sunday evening on are a bar of their own."""
    days = [d for d in (date(2025, 12, 1) + timedelta(days=n) for n in range(28)) if d.weekday() != 5]
    bars = [replace(b, volume=None) for b in walk([midnight(d) for d in days if d.day != 25], price=1.1)]
    asked = question(symbol="EURUSD", first=days[0], last=date(2025, 12, 28))
    judged = judge(series(bars, symbol="EURUSD"), asked=asked)
    assert judged.coverage == Coverage(23, 23, ())
    assert failed_rules(judged) == set()


@pytest.mark.parametrize("interval", [Interval.WEEK_1, Interval.MONTH_1])
def test_weeks_and_months_are_demanded_when_whole_and_completed(interval: Interval) -> None:
    """Whether a vendor dates them by their first day or by their first trading date."""
    first_days: dict[tuple[int, int], date] = {}
    for day in trading_days(date(2025, 3, 3), date(2025, 8, 29)):
        key = (day.year, day.month) if interval is Interval.MONTH_1 else day.isocalendar()[:2]
        first_days.setdefault(key, day)
    bars = walk([midnight(d) for d in first_days.values()], step=0.03)
    asked = question(interval, date(2025, 3, 3), date(2025, 8, 29))
    judged = judge(series(bars, interval=interval), asked=asked)
    holed = judge(series([b for n, b in enumerate(bars) if n != 2], interval=interval), asked=asked)
    assert judged.coverage == Coverage(len(bars), len(bars), ())
    assert holed.coverage == Coverage(len(bars), len(bars) - 1, (bars[2].start,))


def test_a_week_cut_by_the_range_is_welcome_but_not_demanded() -> None:
    """Asked from Wednesday on, some vendors answer with the whole week and some begin with the next."""
    mondays = [datetime(2025, 3, 3, tzinfo=UTC) + timedelta(days=7 * n) for n in range(9)]
    bars = walk(mondays, step=0.03)
    asked = question(Interval.WEEK_1, date(2025, 3, 5), date(2025, 5, 2))
    whole = judge(series(bars, interval=Interval.WEEK_1), asked=asked)
    later = judge(series(bars[1:], interval=Interval.WEEK_1), asked=asked)
    assert whole.coverage == Coverage(9, 9, ())
    assert later.coverage == Coverage(8, 8, ())


def test_the_minutes_of_a_session_are_demanded() -> None:
    """390 on an ordinary day, 210 on a half day."""
    ordinary = judge(series(minutes(DAY), interval=Interval.MIN_1), asked=question(Interval.MIN_1, DAY, DAY))
    half = date(2025, 12, 24)
    short = judge(series(minutes(half), interval=Interval.MIN_1), asked=question(Interval.MIN_1, half, half))
    assert ordinary.coverage == Coverage(390, 390, ())
    assert short.coverage == Coverage(210, 210, ())
    assert (ordinary.assessment.grade, short.assessment.grade) == (Grade.B, Grade.B)


def test_scattered_missing_minutes_weigh_less_than_a_hole() -> None:
    """A minute without a trade has no bar; half an hour without one is a defect."""
    thin = judge(
        series(minutes(DAY, lambda n: n % 13 != 5), interval=Interval.MIN_1), asked=question(Interval.MIN_1, DAY, DAY)
    )
    holed = judge(
        series(minutes(DAY, lambda n: not 100 <= n < 130), interval=Interval.MIN_1),
        asked=question(Interval.MIN_1, DAY, DAY),
    )
    assert (thin.coverage.present, holed.coverage.present) == (360, 360)
    assert thin.assessment.dimensions[Dimension.COMPLETENESS] == pytest.approx(completeness_score(1 - 3 / 390), abs=0.1)
    assert holed.assessment.dimensions[Dimension.COMPLETENESS] == pytest.approx(completeness_score(360 / 390), abs=0.1)
    assert "30 of them likely without a trade" in finding(thin, "coverage").detail


def test_a_minute_that_another_source_has_was_traded() -> None:
    """Then it is missing in full."""
    asked = question(Interval.MIN_1, DAY, DAY)
    full, thin = minutes(DAY), minutes(DAY, lambda n: n % 13 != 5)
    judged = judge(
        series(thin, interval=Interval.MIN_1),
        series(noisy(full[:200]), "beta", interval=Interval.MIN_1),
        asked=asked,
    )
    assert judged.sources_used[0] == "alpha"
    assert "15 of them likely without a trade" in finding(judged, "coverage").detail


def test_a_thinly_traded_instrument_is_a_c_at_worst_for_its_missing_minutes() -> None:
    """Two of five minutes with a trade, evenly spread: nothing is lost, but little is known."""
    kept = minutes(DAY, lambda n: n % 5 in {0, 2})
    judged = judge(series(kept, interval=Interval.MIN_1), asked=question(Interval.MIN_1, DAY, DAY))
    assert judged.assessment.dimensions[Dimension.COMPLETENESS] >= 70.0
    assert judged.coverage == Coverage(390, 156, judged.coverage.missing)
    assert len(judged.coverage.missing) == 50


def test_hours_may_be_cut_at_the_opening_or_at_the_full_hour() -> None:
    """09:30 and 09:00 are both the first bar of New York: seven hours either way."""
    session = calendar_named("XNYS").session_on(DAY)
    assert session is not None
    asked = question(Interval.HOUR_1, DAY, DAY)
    for begin in (session.open, session.open - timedelta(minutes=30)):
        bars = walk([begin + timedelta(hours=n) for n in range(7)], step=0.002)
        judged = judge(series(bars, interval=Interval.HOUR_1), asked=asked)
        assert judged.coverage == Coverage(7, 7, ())
        assert failed_rules(judged) == set()


def test_the_midday_break_is_not_demanded() -> None:
    """Hong Kong pauses from 12:00 to 13:00."""
    session = calendar_named("XHKG").session_on(DAY)
    assert session is not None
    starts = [session.open + timedelta(minutes=30 * n) for n in range(13)]
    starts = [s for s in starts if not (session.break_start or s) <= s < (session.break_end or s)]
    bars = walk(starts, step=0.002)
    asked = question(Interval.MIN_30, DAY, DAY, symbol="0700.HK")
    judged = judge(series(bars, interval=Interval.MIN_30, symbol="0700.HK", currency="HKD"), asked=asked)
    assert judged.coverage == Coverage(11, 11, ())


def test_minutes_of_the_running_session_are_demanded_up_to_twenty_minutes_ago() -> None:
    """A delayed feed has no newer ones."""
    noon = datetime(2025, 12, 30, 17, 0, tzinfo=UTC)
    bars = minutes(DAY, lambda n: n < 130)
    judged = judge(
        series(bars, interval=Interval.MIN_1, received_at=noon),
        asked=question(Interval.MIN_1, DAY, DAY),
        within=context(noon),
    )
    assert judged.coverage == Coverage(130, 130, ())
    assert judged.series.partial is False


def test_sessions_without_any_minute_at_the_end_are_staleness() -> None:
    """Asked for three days, the last one is not there."""
    first, last = date(2025, 12, 29), date(2025, 12, 31)
    bars = [*minutes(first), *minutes(DAY)]
    judged = judge(series(bars, interval=Interval.MIN_1), asked=question(Interval.MIN_1, first, last))
    assert judged.assessment.dimensions[Dimension.TIMELINESS] == 76.0
    assert judged.coverage.expected == 1170


def test_a_series_that_begins_late_is_a_c_unless_two_groups_begin_together() -> None:
    """One source may keep less; two independent ones that begin on one day show a listing."""
    young = daily()[150:]
    alone = judge(series(young))
    together = judge(series(young), series(noisy(young), "beta"))
    longer = judge(series(young), series(noisy(daily()), "beta"))
    assert finding(alone, "late_start").cap == 79.0
    assert alone.coverage == Coverage(100, 100, ())
    assert alone.assessment.grade is Grade.C
    assert together.assessment.grade is Grade.A
    assert longer.sources_used == ("beta", "alpha")
    assert longer.coverage == Coverage(250, 250, ())


def test_everything_there_is_may_begin_at_any_day() -> None:
    """Who asks from 1970 on asks for all."""
    judged = judge(series(daily()), asked=question(first=date(1970, 1, 1)))
    assert finding(judged, "late_start").verdict is Verdict.PASSED
    assert judged.coverage == Coverage(250, 250, ())


def test_short_bars_of_less_than_half_the_asked_time_are_a_d() -> None:
    """Vendors keep minutes for days or weeks; a week of the two months asked is not what was asked."""
    judged = judge(
        series(minutes(DAY), interval=Interval.MIN_1), asked=question(Interval.MIN_1, date(2025, 11, 3), DAY)
    )
    assert finding(judged, "late_start").cap == 66.0
    assert judged.assessment.grade is Grade.D


def test_a_range_too_long_to_count_minute_by_minute_is_not_judged_complete() -> None:
    """Nothing is claimed, and nothing takes long."""
    bars = [*minutes(date(2024, 1, 2)), *minutes(DAY)]
    judged = judge(series(bars, interval=Interval.MIN_1), asked=question(Interval.MIN_1, date(2024, 1, 2), DAY))
    assert finding(judged, "coverage").verdict is Verdict.NOT_RUN
    assert judged.assessment.dimensions[Dimension.COMPLETENESS] == 79.0


def test_bars_before_the_calendar_begins_are_served_and_not_called_complete() -> None:
    """The table begins in 2000; what lies before is a B at most."""
    days = [date(1999, 6, 1) + timedelta(days=n) for n in range(500)]
    known = calendar_named("XNYS")
    bars = walk([midnight(d) for d in days if (known.is_session(d) if known.covers(d) else d.weekday() < 5)])
    judged = judge(
        series([*bars, *daily(price=bars[-1].close)]),
        series([*noisy(bars)], "beta"),
        asked=question(first=date(1999, 6, 1), last=bars[-1].day),
        within=context(NOW),
    )
    assert judged.assessment.dimensions[Dimension.COMPLETENESS] == 89.0
    assert judged.series.bars[0].day == date(1999, 6, 1)
