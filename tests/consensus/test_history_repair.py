"""What is repaired, on which evidence, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

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
from mdagent_mcp.domain.answers import Repair
from mdagent_mcp.domain.quality import Dimension, Grade, Severity


@pytest.mark.parametrize("factor", [100.0, 0.01, 10.0, 0.1, 1000.0])
def test_a_bar_of_another_unit_between_sound_ones_is_scaled_back(factor: float) -> None:
    """Both neighbours and its own shape decide; the answer says so and is a B at most."""
    bars = daily()
    judged = judge(series(scaled(bars, [80], factor)))
    assert [(r.rule, r.time, r.field) for r in judged.repairs] == [
        ("unit_error", bars[80].start, name) for name in ("open", "high", "low", "close")
    ]
    repaired = judged.series.bars[80]
    assert (repaired.open, repaired.high, repaired.low, repaired.close, repaired.volume) == pytest.approx(
        (bars[80].open, bars[80].high, bars[80].low, bars[80].close, bars[80].volume), rel=1e-9
    )
    assert judged.assessment.dimensions[Dimension.PLAUSIBILITY] == 85.0
    assert judged.assessment.grade is Grade.B
    assert judged.issues == ()
    assert finding(judged, "unit_error").severity is Severity.INFO
    assert "4 values repaired" in judged.summary


def test_a_single_price_of_another_unit_is_scaled_back_alone() -> None:
    """Only the low is in another unit, and scaled it is one the bar can have."""
    bars = daily()
    low = bars[80].low
    judged = judge(series(changed(bars, 80, low=round(low / 100, 4))))
    (repair,) = judged.repairs
    assert (repair.field, repair.before) == ("low", round(low / 100, 4))
    assert repair.after == pytest.approx(low)
    assert judged.series.bars[80].close == bars[80].close


def test_a_slipped_digit_that_does_not_fit_once_scaled_is_left_alone() -> None:
    """A low of a tenth that would lie above the open is no unit; nobody knows what it was."""
    bars = daily()
    spoiled = changed(bars, 80, low=bars[80].high * 0.101)
    judged = judge(series(spoiled))
    assert judged.repairs == ()
    assert judged.series.bars == tuple(spoiled)
    assert judged.assessment.grade is Grade.D


def test_the_last_bar_of_another_unit_is_left_alone() -> None:
    """Nothing after it decides: a split of ten for one looks the same."""
    spoiled = scaled(daily(), [249], 0.1)
    judged = judge(series(spoiled))
    assert judged.repairs == ()
    assert judged.series.bars == tuple(spoiled)
    assert judged.assessment.grade is Grade.D


def test_a_series_with_more_than_a_twentieth_wrong_is_refused_rather_than_rebuilt() -> None:
    """Too much is wrong with its source."""
    spoiled = scaled(daily(), range(20, 240, 10), 100.0)
    judged = judge(series(spoiled))
    assert judged.repairs == ()
    assert judged.assessment.grade is Grade.F


def test_a_wick_is_cut_to_what_an_independent_source_shows() -> None:
    """Same close, no such low: the other's low is taken, and only that."""
    bars, other = daily(), noisy(daily()[:200])
    judged = judge(series(changed(bars, 77, low=bars[77].low * 0.6)), series(other, "beta"))
    assert judged.repairs == (
        Repair("wick", bars[77].start, "low", bars[77].low * 0.6, other[77].low, judged.repairs[0].why),
    )
    assert "beta shows the same close and no such low" in judged.repairs[0].why
    assert judged.assessment.dimensions[Dimension.PLAUSIBILITY] == 85.0
    assert judged.assessment.grade is Grade.B
    assert failed_rules(judged) == {"wick"}


@pytest.mark.parametrize("place", [0, 249])
def test_a_price_of_another_unit_at_an_end_has_bars_on_one_side_only_and_is_left_alone(place: int) -> None:
    """One neighbour is no proof."""
    spoiled = changed(daily(), place, low=daily()[place].low / 100)
    judged = judge(series(spoiled))
    assert judged.repairs == ()
    assert finding(judged, "unit_error").cap == 62.0
    assert judged.series.bars == tuple(spoiled)


def test_a_bar_alone_has_no_usual_range_and_is_not_cut() -> None:
    """A series of one bar is judged without a word about wicks."""
    bar = daily()[-1]
    tall = replace(bar, high=bar.high * 1.4)
    judged = judge(series([tall]), series([bar], "beta"), asked=question(first=bar.day, last=bar.day))
    assert (judged.repairs, "wick" in failed_rules(judged)) == ((), False)


def test_a_wick_is_not_cut_by_a_source_that_disagrees_on_the_close() -> None:
    """Who has another close speaks of another bar."""
    bars = daily()
    other = changed(bars[:200], 77, close=bars[77].close * 1.007, high=bars[77].high * 1.007)
    spoiled = changed(bars, 77, low=bars[77].low * 0.6)
    assert judge(series(spoiled), series(other, "beta")).repairs == ()


def test_a_wick_is_not_cut_on_the_word_of_the_same_upstream() -> None:
    """Its other vendor is no second opinion."""
    bars = daily()
    spoiled = changed(bars, 77, low=bars[77].low * 0.6)
    within = context(alpha="feed", beta="feed")
    judged = judge(series(spoiled), series(noisy(bars[:100]), "beta"), within=within)
    assert judged.repairs == ()
    assert judged.series.bars == tuple(spoiled)


def test_a_close_that_two_groups_contradict_with_one_voice_is_replaced() -> None:
    """The best series has one close off by 3 %; two others agree on another one."""
    bars = daily()
    wrong = bars[60].close * 1.03
    spoiled = changed(bars, 60, close=wrong, high=max(bars[60].high, wrong))
    two, three = noisy(bars[5:]), noisy(bars[5:], seed=5)
    judged = judge(series(spoiled), series(two[:-10], "beta"), series(three[:-10], "gamma"))
    assert judged.sources_used[0] == "alpha"
    (repair,) = judged.repairs
    assert (repair.rule, repair.field, repair.before, repair.after) == ("cross_source", "close", wrong, two[55].close)
    assert repair.why == f"beta and gamma agree on {two[55].close:g}"
    assert judged.assessment.dimensions[Dimension.CORROBORATION] <= 85.0


def test_two_sources_that_do_not_agree_with_each_other_replace_nothing() -> None:
    """Three words, no majority."""
    bars = daily()
    spoiled = changed(bars, 60, close=bars[60].close * 1.03, high=bars[60].high * 1.03)
    other = changed(bars, 60, close=bars[60].close * 0.96, low=bars[60].low * 0.95)
    judged = judge(series(spoiled), series(noisy(bars[:-5]), "beta"), series(noisy(other)[:-5], "gamma"))
    assert judged.sources_used[0] == "alpha"
    assert judged.repairs == ()


def test_a_clean_series_is_served_instead_of_a_repaired_one() -> None:
    """Repair is for when nobody has it right."""
    judged = judge(series(scaled(daily(), [80], 100.0)), series(noisy(daily()), "beta"))
    assert judged.sources_used == ("beta", "alpha")
    assert judged.repairs == ()
    assert judged.assessment.grade is Grade.A
