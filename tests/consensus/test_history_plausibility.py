"""Rules about levels: units, splits, wicks, jumps, dividends and their adjustment."""

from __future__ import annotations

import math

import pytest

from consensus.series_building import (
    changed,
    context,
    daily,
    failed_rules,
    finding,
    judge,
    noisy,
    question,
    scaled,
    series,
)
from mdagent_mcp.consensus.history_levels import power_of_ten
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, Split
from mdagent_mcp.domain.quality import Dimension, Grade, Severity, Verdict

CRASH = 120
"""Where a made-up crash happens."""


@pytest.mark.parametrize(
    ("ratio", "exponent"),
    [(100.0, 2), (0.01, -2), (10.5, 1), (0.09, -1), (1010.0, 3), (1.0, 0), (2.0, 0), (50.0, 0), (20.0, 0), (1e5, 0)],
)
def test_a_power_of_ten_is_recognised_within_fifteen_percent(ratio: float, exponent: int) -> None:
    """Prices move meanwhile, so the ratio is never exact; beyond a thousand no unit is meant."""
    assert power_of_ten(math.log(ratio)) == exponent


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_a_first_bar_off_by_ten_is_flagged_and_not_repaired(factor: float) -> None:
    """Ten for one is also a split, and the first bar has nothing before it that would decide."""
    judged = judge(series(scaled(daily(), [0], factor)))
    assert judged.repairs == ()
    assert failed_rules(judged) & {"unit_error", "split_error"}
    assert judged.assessment.grade in {Grade.D, Grade.F}
    assert judged.series.bars == tuple(scaled(daily(), [0], factor))


@pytest.mark.parametrize("factor", [100.0, 0.01])
@pytest.mark.parametrize("count", [1, 20])
def test_a_switch_of_the_unit_in_the_first_tenth_is_decided_by_all_the_other_bars(count: int, factor: float) -> None:
    """They are many and the newest is among them."""
    judged = judge(series(scaled(daily(), range(count), factor)))
    assert [b.close for b in judged.series.bars] == pytest.approx([b.close for b in daily()])
    assert {r.field for r in judged.repairs} == {"prices"}
    assert judged.assessment.grade is Grade.B


def test_a_switch_of_the_unit_in_the_middle_is_made_consistent_and_stays_fatal() -> None:
    """Pounds until June, pence from then on: the newest side is taken as the measure, and that proves nothing."""
    bars = daily()
    judged = judge(series(scaled(bars, range(120, len(bars)), 100.0)))
    assert finding(judged, "unit_error").cap == 45.0
    assert judged.assessment.grade is Grade.F
    assert judged.assessment.limited_by.dimension is Dimension.PLAUSIBILITY
    assert finding(judged, "unit_error").severity is Severity.FATAL
    (repair,) = judged.repairs
    assert (repair.field, repair.time, repair.until, repair.bars) == ("prices", bars[0].start, bars[119].start, 120)
    assert repair.why == "1/100 of the bars after them; the newest bars are taken as the measure"
    assert judged.series.bars[0].close == pytest.approx(bars[0].close * 100.0)


def test_every_other_bar_in_another_unit_is_fatal() -> None:
    """Two nodes of one vendor that disagree about the unit answer in turns."""
    bars = daily()
    judged = judge(series(scaled(bars, range(0, len(bars), 2), 0.01)))
    assert judged.assessment.grade is Grade.F
    assert "unit_error" in failed_rules(judged)


@pytest.mark.parametrize("ratio", [2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 0.5, 1.5])
def test_a_split_that_is_not_applied_to_older_prices_is_fatal(ratio: float) -> None:
    """Prices before it are too high by the ratio, and nothing on that day looks like trading."""
    judged = judge(series(scaled(daily(), range(CRASH), ratio)))
    assert finding(judged, "split_error").cap == 50.0
    assert [i.time for i in judged.issues if i.rule == "split_error"] == [daily()[CRASH].start]
    assert judged.assessment.grade is Grade.F


@pytest.mark.parametrize("after", [1, 4, 10])
def test_a_recent_split_that_is_not_applied_is_a_failed_check(after: int) -> None:
    """Vendors need some days to adjust; most of the series is consistent."""
    bars = daily()
    judged = judge(series(scaled(bars, range(len(bars) - after, len(bars)), 0.25)))
    assert finding(judged, "split_error").cap == 62.0
    assert judged.assessment.grade is Grade.D


def test_a_factor_on_a_single_row_is_a_split_error() -> None:
    """A split applied to one row only."""
    judged = judge(series(scaled(daily(), [90], 0.5)))
    assert finding(judged, "split_error").cap == 62.0


def test_a_listed_split_whose_step_still_shows_is_an_error_and_one_that_is_applied_is_none() -> None:
    """Split-adjusted prices must not step on the split's day."""
    day = daily()[CRASH].day
    applied = judge(series(daily(), splits=(Split(day, 4.0),)))
    missing = judge(series(scaled(daily(), range(CRASH), 4.0), splits=(Split(day, 4.0),)))
    assert failed_rules(applied) == set()
    assert "split_error" in failed_rules(missing)


def test_unadjusted_prices_must_step_on_the_day_of_a_split() -> None:
    """As traded, a four for one split is a step to a quarter."""
    day = daily()[CRASH].day
    asked = question(adjustment=Adjustment.NONE)
    listed = (Split(day, 4.0),)
    stepped = scaled(daily(), range(CRASH), 4.0)
    stepping = judge(series(stepped, adjustment=Adjustment.NONE, splits=listed), asked=asked)
    smooth = judge(series(daily(), adjustment=Adjustment.NONE, splits=listed), asked=asked)
    assert failed_rules(stepping) == set()
    assert failed_rules(smooth) == {"split_error"}


def test_unadjusted_prices_that_step_like_a_split_nobody_lists_are_a_c() -> None:
    """As traded they should step; that it was a split is likely, and not told by anyone."""
    asked = question(adjustment=Adjustment.NONE)
    raw = series(scaled(daily(), range(CRASH), 4.0), adjustment=Adjustment.NONE)
    judged = judge(raw, asked=asked)
    assert finding(judged, "split_error").cap == 79.0
    assert judged.issues[0].detail.endswith("as by a split that no source lists")
    listed = judge(raw, series(noisy(daily()), "beta", splits=(Split(daily()[CRASH].day, 4.0),)), asked=asked)
    assert (listed.sources_used, failed_rules(listed)) == (("alpha",), set())
    adjusted = judge(raw, series(noisy(daily()), "beta"), asked=asked)
    assert (adjusted.sources_used, failed_rules(adjusted)) == (("alpha",), set())


def test_a_crash_with_a_wide_range_and_heavy_volume_is_a_jump_and_no_split_error() -> None:
    """Half the value in a day happens; one source alone is worth a C then."""
    judged = judge(series(crashed()))
    assert failed_rules(judged) == {"price_jump"}
    assert finding(judged, "price_jump").cap == 79.0
    assert judged.assessment.grade is Grade.C


def test_a_crash_that_an_independent_source_shows_too_is_no_error() -> None:
    """A crash is a crash: both see it, nothing is wrong."""
    judged = judge(series(crashed()), series(noisy(crashed()), "beta"))
    assert failed_rules(judged) == set()
    assert judged.assessment.grade is Grade.A
    assert "1 confirmed" in finding(judged, "price_jump").detail


def test_a_jump_without_volume_is_worse_than_one_with_it() -> None:
    """Nobody traded more, yet the price moved by a fifth and stayed."""
    bars = daily()
    judged = judge(series(scaled(bars, range(CRASH, len(bars)), 0.8)))
    assert failed_rules(judged) == {"price_jump"}
    assert finding(judged, "price_jump").cap == 66.0
    assert [i.time for i in judged.issues] == [bars[CRASH].start]


def test_a_jump_confirmed_only_by_the_same_upstream_stays_unconfirmed() -> None:
    """Two vendors that pass on one feed repeat its error."""
    bars = daily()
    jumping = scaled(bars, range(CRASH, len(bars)), 0.8)
    same = judge(series(jumping), series(jumping, "beta"), within=context(alpha="feed", beta="feed"))
    assert "price_jump" in failed_rules(same)
    assert same.assessment.dimensions[Dimension.CORROBORATION] == 89.0


def test_a_fall_by_a_listed_dividend_is_no_jump() -> None:
    """A special dividend of a third of the price is paid out of it."""
    bars = daily()
    paid = bars[CRASH - 1].close * 0.33
    falling = scaled(bars, range(CRASH, len(bars)), 0.67)
    judged = judge(series(falling, dividends=(Dividend(bars[CRASH].day, paid),)))
    assert "price_jump" not in failed_rules(judged)
    assert "dividend_size" not in failed_rules(judged)


def test_a_dividend_above_a_quarter_of_the_price_is_told_where_prices_depend_on_it() -> None:
    """A hundredfold dividend is one in pence; prices corrected for splits alone are right all the same."""
    bars, asked = daily(), question(adjustment=Adjustment.ALL)
    dividends = (Dividend(bars[CRASH].day, bars[CRASH].close * 0.6),)
    wrong = judge(series(bars, dividends=dividends, adjustment=Adjustment.ALL), asked=asked)
    harmless = judge(series(bars, dividends=dividends))
    usual = judge(series(bars, dividends=(Dividend(bars[CRASH].day, bars[CRASH].close * 0.006),)))
    assert finding(wrong, "dividend_size").cap == 62.0
    assert (finding(harmless, "dividend_size").severity, harmless.assessment.grade) == (Severity.INFO, Grade.B)
    assert finding(usual, "dividend_size").verdict is Verdict.PASSED
    assert finding(judge(series(bars)), "dividend_size").verdict is Verdict.NOT_RUN


@pytest.mark.parametrize(("name", "factor"), [("low", 0.7), ("high", 1.4), ("low", 0.3)])
def test_a_wick_that_nobody_confirms_is_told(name: str, factor: float) -> None:
    """A slipped digit in a low or high; open and close are ordinary."""
    bars = daily()
    spoiled = changed(bars, 77, **{name: getattr(bars[77], name) * factor})
    judged = judge(series(spoiled))
    assert failed_rules(judged) == {"wick"}
    assert [(i.severity, i.time) for i in judged.issues] == [("major", bars[77].start)]
    assert judged.series.bars == tuple(spoiled)


def test_a_wick_on_the_day_of_a_crash_is_part_of_it() -> None:
    """A low 8 % under the close of a day that lost half."""
    bars = crashed()
    judged = judge(series(changed(bars, CRASH, low=bars[CRASH].close * 0.92)))
    assert failed_rules(judged) == {"price_jump"}


def test_a_wick_that_an_independent_source_shows_is_a_flash_crash() -> None:
    """It happened."""
    bars = daily()
    spoiled = changed(bars, 77, low=bars[77].low * 0.7)
    judged = judge(series(spoiled), series(noisy(spoiled), "beta"))
    assert failed_rules(judged) == set()
    assert judged.assessment.grade is Grade.A


def test_the_adjustment_is_unchecked_without_a_series_before_it() -> None:
    """With the adjusted series alone nothing can be told."""
    asked = question(adjustment=Adjustment.ALL)
    judged = judge(series(daily(), adjustment=Adjustment.ALL), asked=asked)
    assert finding(judged, "adjustment_gap").verdict is Verdict.NOT_RUN


@pytest.mark.parametrize("count", [1, 2])
def test_very_short_series_leave_levels_unchecked(count: int) -> None:
    """Two bars show no level; that is said, not passed."""
    bars = daily()[-count:]
    judged = judge(series(bars), asked=question(first=bars[0].day))
    assert finding(judged, "unit_error").verdict is Verdict.NOT_RUN
    assert finding(judged, "price_jump").verdict is Verdict.NOT_RUN
    assert judged.assessment.grade is Grade.B


def crashed() -> list[Bar]:
    """A year with one genuine crash to less than half: a wide range, twelve times the volume."""
    bars = scaled(daily(), range(CRASH, len(daily())), 0.48)
    bar = bars[CRASH]
    return changed(bars, CRASH, open=bar.close * 1.3, high=bar.close * 1.35, volume=(bar.volume or 0.0) * 12)
