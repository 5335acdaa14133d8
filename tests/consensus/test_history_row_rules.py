"""Rules on closes and volumes of single bars: prices written into the past, volumes of another basis or none."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from consensus.series_building import daily, failed_rules, finding, judge, minutes, question, scaled, series
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval, Split
from mdagent_mcp.domain.quality import Grade, Verdict


def overwritten(count: int, close: float) -> list[Bar]:
    """The first bars with one close instead of their own."""
    return [replace(b, close=close) if n < count else b for n, b in enumerate(daily())]


@pytest.mark.parametrize(("count", "cap"), [(5, 62.0), (60, 45.0)])
def test_todays_price_in_the_closes_of_the_past_is_told(count: int, cap: float) -> None:
    """Their own highs rule it out; from a twentieth of the bars on the series is none."""
    bars = scaled(daily(), range(230, 250), 1.6)
    judged = judge(series([replace(b, close=bars[-1].close) if n < count else b for n, b in enumerate(bars)]))
    assert finding(judged, "repeated_close").cap == cap


def test_closes_of_a_thin_market_that_repeat_the_last_trade_are_none() -> None:
    """Open and close are the last trade, high and low are quotes: no close was written over."""
    bars = daily()
    thin = [replace(b, open=100.0, close=100.0, high=72.0, low=70.0) if n < 9 else b for n, b in enumerate(bars)]
    assert finding(judge(series(thin)), "repeated_close").verdict is Verdict.PASSED


def test_one_close_outside_of_its_range_that_nothing_repeats_is_a_matter_of_the_price_rule() -> None:
    """A single slip is no price written over others."""
    judged = judge(series(overwritten(1, 200.0)))
    assert finding(judged, "repeated_close").verdict is Verdict.PASSED
    assert "ohlc_rule" in failed_rules(judged)


@pytest.mark.parametrize("ratio", [3.0, 10.0, 0.2])
def test_volumes_that_step_with_a_split_that_the_prices_know_are_told(ratio: float) -> None:
    """Prices are adjusted for it, old volumes are not."""
    bars = [replace(b, volume=(b.volume or 0.0) / ratio) if n < 120 else b for n, b in enumerate(daily())]
    judged = judge(series(bars, splits=(Split(bars[120].day, ratio),)))
    assert failed_rules(judged) == {"volume_basis"}
    assert [i.time for i in judged.issues if i.rule == "volume_basis"] == [bars[120].start]
    assert judged.assessment.grade is Grade.C


def test_volumes_on_the_basis_of_the_prices_pass_and_small_splits_or_raw_prices_are_not_looked_at() -> None:
    """A step of a half hides in what volumes do anyway; prices as traded have volumes as traded."""
    day = daily()[120].day
    assert finding(judge(series(daily(), splits=(Split(day, 4.0),))), "volume_basis").verdict is Verdict.PASSED
    assert finding(judge(series(daily(), splits=(Split(day, 2.0),))), "volume_basis").verdict is Verdict.NOT_RUN
    raw = series(daily(), splits=(Split(day, 4.0),), adjustment=Adjustment.NONE)
    judged = judge(raw, asked=question(adjustment=Adjustment.NONE))
    assert finding(judged, "volume_basis").verdict is Verdict.NOT_RUN


def test_prices_without_volume_before_the_opening_are_usual_and_during_trading_a_defect() -> None:
    """Vendors that show extended hours often have no volumes there."""
    day = date(2025, 12, 30)
    regular = minutes(day, length=5)
    early = [replace(b, start=b.start - timedelta(hours=2), volume=0.0) for b in regular[:24]]
    asked = question(Interval.MIN_5, day, day, extended_hours=True)
    before = judge(series([*early, *regular], interval=Interval.MIN_5, extended_hours=True), asked=asked)
    spoiled = [replace(b, volume=0.0) if n < 20 else b for n, b in enumerate(regular)]
    during = judge(series(spoiled, interval=Interval.MIN_5, extended_hours=True), asked=asked)
    assert finding(before, "zero_volume").verdict is Verdict.PASSED
    assert finding(during, "zero_volume").cap == 75.0
