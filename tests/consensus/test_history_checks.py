"""Rules about rows: order, duplicates, sessions, the price rule, volumes."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from consensus.series_building import (
    FIRST,
    LAST,
    NOW,
    changed,
    context,
    daily,
    failed_rules,
    finding,
    judge,
    midnight,
    minutes,
    question,
    series,
    walk,
)
from mdagent_mcp.consensus.history_checks import RULES, RULES_BY_ID
from mdagent_mcp.consensus.history_grading import CHECKS
from mdagent_mcp.domain.answers import SeriesIssue
from mdagent_mcp.domain.prices import Bar, Interval
from mdagent_mcp.domain.quality import Dimension, Grade, Severity, Verdict


def test_a_clean_series_of_one_source_passes_every_check_and_is_a_b() -> None:
    """Nothing is wrong with it, but nobody confirms it."""
    judged = judge(series(daily()))
    assert judged.assessment.grade is Grade.B
    assert judged.assessment.score == 88.8
    assert failed_rules(judged) == set()
    assert judged.issues == ()
    assert judged.repairs == ()
    assert judged.series.bars == tuple(daily())


def test_every_rule_is_told_in_every_judgement_and_no_other() -> None:
    """The list of rules is what the documentation is made of."""
    told = [f.rule for f in judge(series(daily())).assessment.findings]
    assert sorted(told) == sorted(RULES_BY_ID)
    assert len(RULES) == len(RULES_BY_ID) == len(told)
    assert len(CHECKS) == len(set(CHECKS))
    assert all(rule.description.endswith(".") and "\n" not in rule.description for rule in RULES)
    assert all(f.dimension is RULES_BY_ID[f.rule].dimension for f in judge(series(daily())).assessment.findings)


def test_rows_out_of_order_are_sorted_and_reported() -> None:
    """Two swapped rows: one of them came after a later one."""
    bars = daily()
    bars[10], bars[11] = bars[11], bars[10]
    judged = judge(series(bars))
    assert judged.series.bars == tuple(daily())
    assert judged.issues == (SeriesIssue("order", "major", daily()[10].start, "came after a later row"),)
    assert judged.assessment.dimensions[Dimension.VALIDITY] == 66.0
    assert judged.assessment.grade is Grade.D


def test_a_reply_that_is_newest_first_throughout_is_in_order() -> None:
    """Some vendors answer so; it is a convention and no defect."""
    judged = judge(series(daily()[::-1]))
    assert judged.issues == ()
    assert judged.series.bars == tuple(daily())


def test_of_two_rows_with_one_date_the_later_in_the_reply_is_kept() -> None:
    """Vendors append the running bar after an older copy of it."""
    bars = daily()
    again = replace(bars[-1], close=bars[-1].close + 0.05, high=bars[-1].high + 0.05)
    judged = judge(series([*bars, again]))
    assert judged.series.bars == (*bars[:-1], again)
    assert [(i.rule, i.severity, i.time) for i in judged.issues] == [("duplicates", "major", again.start)]
    assert judged.assessment.grade is Grade.D


def test_a_second_row_within_one_week_is_not_a_weekly_bar() -> None:
    """The row of the week is kept, the row of a day is dropped and told."""
    mondays = [datetime(2025, 3, 3, tzinfo=UTC) + timedelta(days=7 * n) for n in range(12)]
    bars = walk(mondays, step=0.03)
    stray = replace(bars[-1], start=mondays[-1] + timedelta(days=3))
    asked = question(Interval.WEEK_1, date(2025, 3, 3), date(2025, 5, 25))
    judged = judge(series([*bars, stray], interval=Interval.WEEK_1), asked=asked)
    assert judged.series.bars == tuple(bars)
    assert [(i.rule, i.time) for i in judged.issues] == [("duplicates", stray.start)]


@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
@pytest.mark.parametrize("price", [0.0, -3.0, math.nan, math.inf, -math.inf, 1e300])
def test_a_row_without_four_usable_prices_is_left_out_and_told(price: float, name: str) -> None:
    """Zero, negative, not a number, infinite or absurd: never served."""
    bars = daily()
    judged = judge(series(changed(bars, 20, **{name: price})))
    assert judged.series.bars == (*bars[:20], *bars[21:])
    assert {i.rule for i in judged.issues} == {"null_prices", "coverage"}
    assert judged.assessment.dimensions[Dimension.VALIDITY] == 65.0
    assert judged.assessment.grade is Grade.D


def test_a_null_row_on_a_session_is_told_and_on_a_holiday_is_not() -> None:
    """4 July has no session, 3 July has one."""
    bars = [b for b in daily() if b.day != date(2025, 7, 3)]
    holiday = judge(series(daily(), null_rows=(midnight(date(2025, 7, 4)),)))
    session = judge(series(bars, null_rows=(midnight(date(2025, 7, 3)),)))
    assert finding(holiday, "null_prices").verdict is Verdict.PASSED
    assert finding(session, "null_prices").verdict is Verdict.FAILED
    assert midnight(date(2025, 7, 3)) in {i.time for i in session.issues if i.rule == "null_prices"}


def test_a_null_minute_is_no_defect() -> None:
    """A minute without a trade has no prices."""
    day = date(2025, 12, 30)
    bars = minutes(day)
    asked = question(Interval.MIN_1, day, day)
    judged = judge(series(bars[1:], interval=Interval.MIN_1, null_rows=(bars[0].start,)), asked=asked)
    assert finding(judged, "null_prices").verdict is Verdict.PASSED


@pytest.mark.parametrize("volume", [-1.0, math.nan, math.inf])
def test_a_volume_that_is_no_count_is_left_out_and_told(volume: float) -> None:
    """The bar is served without volume."""
    bars = daily()
    judged = judge(series(changed(bars, 5, volume=volume)))
    assert judged.series.bars == tuple(changed(bars, 5, volume=None))
    assert [(i.rule, i.time) for i in judged.issues] == [("bad_volume", bars[5].start)]


@pytest.mark.parametrize("day", [date(2025, 6, 14), date(2025, 12, 25)])
def test_a_row_on_a_weekend_or_holiday_is_told(day: date) -> None:
    """A Saturday and Christmas."""
    bars = sorted([*daily(), replace(daily()[100], start=midnight(day))], key=lambda b: b.start)
    judged = judge(series(bars))
    assert [(i.rule, i.severity, i.time) for i in judged.issues] == [("off_session", "major", midnight(day))]
    assert judged.assessment.grade is Grade.D


def test_a_row_from_the_future_is_told() -> None:
    """A bar of next week cannot exist yet, though the date is a trading date."""
    day = midnight(date(2026, 1, 7))
    judged = judge(series([*daily(), replace(daily()[-1], start=day)]), asked=question(last=date(2026, 1, 9)))
    assert [(i.rule, i.time, i.detail) for i in judged.issues if i.rule == "off_session"] == [
        ("off_session", day, "lies in the future")
    ]


def test_a_short_bar_at_night_is_told_and_one_in_extended_hours_is_not_served_unless_asked() -> None:
    """02:00 New York is no session; 08:00 is pre-market."""
    day = date(2025, 12, 30)
    bars = minutes(day)
    night = replace(bars[0], start=bars[0].start - timedelta(hours=7, minutes=30))
    early = replace(bars[0], start=bars[0].start - timedelta(hours=1, minutes=30))
    stated = series([night, early, *bars], interval=Interval.MIN_1, extended_hours=True)
    regular = judge(stated, asked=question(Interval.MIN_1, day, day))
    extended = judge(stated, asked=question(Interval.MIN_1, day, day, extended_hours=True))
    assert regular.series.bars == (night, *bars)
    assert extended.series.bars == (night, early, *bars)
    assert [i.time for i in regular.issues if i.rule == "off_session"] == [night.start]
    assert [i.time for i in extended.issues if i.rule == "off_session"] == [night.start]


def test_a_market_without_calendar_leaves_the_sessions_unchecked() -> None:
    """What cannot be checked does not read as passed."""
    bars = daily()
    asked = question(symbol="ABC.TA")
    judged = judge(series(bars, symbol="ABC.TA", currency="ILS"), asked=asked)
    assert finding(judged, "off_session").verdict is Verdict.NOT_RUN


@pytest.mark.parametrize(
    ("excess", "cap"),
    [(0.00001, None), (0.005, 75.0), (0.03, 64.0)],
    ids=["within the tolerance", "small", "large"],
)
def test_an_open_or_close_outside_low_and_high_costs_by_its_size(excess: float, cap: float | None) -> None:
    """A breach of half a tick or 2 bp is rounding."""
    bars = daily()
    judged = judge(series(changed(bars, 30, close=bars[30].high * (1 + excess))))
    assert finding(judged, "ohlc_rule").cap == cap
    assert [i.time for i in judged.issues if i.rule == "ohlc_rule"] == ([] if cap is None else [bars[30].start])


def test_a_price_rule_broken_in_more_than_a_tenth_of_the_bars_is_the_worst_d() -> None:
    """Such a vendor does not know highs and lows."""
    bars = daily()
    for n in range(0, len(bars), 8):
        bars = changed(bars, n, low=min(bars[n].open, bars[n].close) * 1.004)
    judged = judge(series(bars))
    assert finding(judged, "ohlc_rule").cap == 60.0
    assert judged.assessment.grade is Grade.D


def test_a_bar_that_moved_without_volume_is_told_and_one_that_stood_still_is_not() -> None:
    """Illiquid shares have days without a trade; a range without a trade is impossible."""
    bars = daily()
    still = judge(series(changed(bars, 40, volume=0.0, high=100.0, low=100.0, open=100.0, close=100.0)))
    moved = judge(series(changed(bars, 40, volume=0.0)))
    assert finding(still, "zero_volume").verdict is Verdict.PASSED
    assert [(i.rule, i.severity, i.time) for i in moved.issues] == [("zero_volume", "minor", bars[40].start)]
    assert moved.assessment.grade is Grade.C


def test_an_instrument_without_volume_leaves_volume_unchecked() -> None:
    """Currencies have no volume; that is said."""
    days = [midnight(d) for d in (date(2025, 12, 1) + timedelta(days=n) for n in range(26)) if d.weekday() < 5]
    bars = [replace(b, volume=0.0) for b in walk([d for d in days if d.day != 25], price=1.1)]
    asked = question(symbol="EURUSD", first=date(2025, 12, 1), last=date(2025, 12, 26))
    judged = judge(series(bars, symbol="EURUSD"), asked=asked)
    assert finding(judged, "zero_volume").verdict is Verdict.NOT_RUN
    assert finding(judged, "forward_fill").verdict is Verdict.NOT_RUN
    assert judged.assessment.grade is Grade.B


def test_three_equal_bars_with_volume_are_copies_and_two_are_not() -> None:
    """A forward fill claims trades that were not."""
    bars = daily()
    two = [*bars[:51], replace(bars[50], start=bars[51].start, volume=7.0), *bars[52:]]
    three = [*two[:52], replace(bars[50], start=bars[52].start, volume=9.0), *bars[53:]]
    assert finding(judge(series(two)), "forward_fill").verdict is Verdict.PASSED
    judged = judge(series(three))
    assert [i.time for i in judged.issues if i.rule == "forward_fill"] == [bars[51].start, bars[52].start]
    assert finding(judged, "forward_fill").cap == 66.0


def test_equal_bars_of_a_tick_or_two_are_chance_unless_their_volume_is_equal_too() -> None:
    """A share at three dollars that trades between two prices has many equal days."""
    bars = daily()
    for n in range(60, 64):
        bars = changed(bars, n, open=3.0, high=3.01, low=3.0, close=3.01)
    same = [replace(b, volume=5e5) if 60 <= n < 64 else b for n, b in enumerate(bars)]
    assert finding(judge(series(bars)), "forward_fill").verdict is Verdict.PASSED
    assert finding(judge(series(same)), "forward_fill").verdict is Verdict.FAILED


def test_equal_bars_without_volume_are_an_illiquid_share() -> None:
    """No trade, no change."""
    bars = daily()
    for n in range(60, 66):
        bars = changed(bars, n, open=101.0, high=101.0, low=101.0, close=101.0, volume=0.0)
    assert finding(judge(series(bars)), "forward_fill").verdict is Verdict.PASSED


def test_an_answer_lists_the_newest_issues_of_a_rule_and_tells_their_number() -> None:
    """A broken series must not flood the reader."""
    bars = daily()
    spoiled = [replace(b, high=max(b.open, b.close) * 0.97) for b in bars]
    judged = judge(series(spoiled))
    listed = [i.time for i in judged.issues if i.rule == "ohlc_rule"]
    assert listed == [b.start for b in bars[-5:]]
    assert finding(judged, "ohlc_rule").detail.startswith(f"{len(bars)} bars")


def test_severity_follows_from_what_a_failure_may_still_be_worth() -> None:
    """Below a D it is fatal, below a C major, below a B minor."""
    bars = daily()
    fatal = judge(series([b if n % 2 else _hundredth(b) for n, b in enumerate(bars)]))
    assert {f.severity for f in fatal.assessment.findings if f.cap is not None and f.cap < 60} == {Severity.FATAL}
    assert fatal.assessment.grade is Grade.F
    assert finding(judge(series(bars)), "order").severity is Severity.INFO


def test_rows_outside_the_asked_range_are_dropped_silently() -> None:
    """Vendors answer with more than asked."""
    bars = daily()
    judged = judge(series(bars), asked=question(first=date(2025, 3, 3), last=date(2025, 3, 31)))
    assert judged.series.bars == tuple(b for b in bars if b.day.month == 3)
    assert judged.issues == ()


def test_short_bars_belong_to_the_trading_date_of_the_exchange() -> None:
    """20:30 New York of the day before is another date in UTC, and none of the asked one."""
    day = date(2025, 12, 30)
    bars = minutes(day)
    late = replace(bars[0], start=datetime(2025, 12, 30, 0, 30, tzinfo=UTC))
    stated = series([late, *bars], interval=Interval.MIN_1)
    judged = judge(stated, asked=question(Interval.MIN_1, day, day, extended_hours=True))
    assert judged.series.bars == tuple(bars)


def test_the_dates_of_the_fixtures_are_those_of_a_finished_year() -> None:
    """The builders speak of what is completed."""
    assert (daily()[0].day, daily()[-1].day) == (FIRST, LAST)
    assert context().now == NOW


def _hundredth(bar: Bar) -> Bar:
    return Bar(bar.start, bar.open / 100, bar.high / 100, bar.low / 100, bar.close / 100, bar.volume)
