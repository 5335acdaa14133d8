"""Stretches on another level: which are brought back, on what evidence, and how it is told."""

from __future__ import annotations

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
from mdagent_mcp.consensus.history import answer
from mdagent_mcp.domain.answers import Repair
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, Split
from mdagent_mcp.domain.quality import Grade

SPLIT = 120
"""Where a made-up split happens."""


def same(bars: tuple[Bar, ...], wanted: list[Bar]) -> bool:
    """Whether prices and volumes are those wanted."""
    return all(
        (a.open, a.high, a.low, a.close, a.volume)
        == pytest.approx((b.open, b.high, b.low, b.close, b.volume), rel=1e-5)
        for a, b in zip(bars, wanted, strict=True)
    )


@pytest.mark.parametrize("ratio", [2.0, 4.0, 7.0, 0.1])
@pytest.mark.parametrize("twice", [False, True])
def test_old_prices_on_the_wrong_side_of_a_listed_split_are_brought_back_with_their_volumes(
    ratio: float, twice: bool
) -> None:
    """Not applied or applied twice; its volumes stepped the other way. Told once for prices and once for volumes."""
    bars = daily()
    factor = 1.0 / ratio if twice else ratio
    wrong = scaled(bars, range(SPLIT), factor, volume=1.0 / factor)
    judged = judge(series(wrong, splits=(Split(bars[SPLIT].day, ratio),)))
    assert same(judged.series.bars, bars)
    assert failed_rules(judged) == {"split_error"}
    assert [(r.field, r.time, r.until, r.bars) for r in judged.repairs] == [
        ("prices", bars[0].start, bars[SPLIT - 1].start, SPLIT),
        ("volume", bars[0].start, bars[SPLIT - 1].start, SPLIT),
    ]
    assert (judged.assessment.grade, finding(judged, "split_error").cap) == (Grade.B, 85.0)
    assert "the listed split of" in judged.repairs[0].why
    assert same(answer(judged, "h-1").unrepaired, wrong[:SPLIT])


def test_volumes_on_the_right_basis_are_left_where_only_the_prices_are_wrong() -> None:
    """Their own step is nearer to nothing than to the split."""
    bars = daily()
    judged = judge(series(scaled(bars, range(SPLIT), 4.0), splits=(Split(bars[SPLIT].day, 4.0),)))
    assert same(judged.series.bars, bars)
    assert [r.field for r in judged.repairs] == ["prices"]


def test_a_split_that_nobody_lists_is_not_applied() -> None:
    """Likely, and not proven: a factor of three may be anything."""
    wrong = scaled(daily(), range(SPLIT), 3.0)
    judged = judge(series(wrong))
    assert judged.repairs == ()
    assert judged.assessment.grade is Grade.F


def test_a_split_that_is_months_away_explains_no_step() -> None:
    """A listed event counts near the step."""
    bars = daily()
    judged = judge(series(scaled(bars, range(SPLIT), 4.0), splits=(Split(bars[40].day, 4.0),)))
    assert judged.repairs == ()
    assert judged.assessment.grade is Grade.F


def test_weeks_in_another_unit_are_decided_by_both_sides_with_the_dividend_paid_within() -> None:
    """Prices and the dividend are in that unit; volumes are what they were."""
    bars = daily()
    wrong = scaled(bars, range(60, 110), 0.01)
    judged = judge(series(wrong, dividends=(Dividend(bars[80].day, bars[80].close * 0.0001),)))
    assert same(judged.series.bars, bars)
    assert judged.repairs == (
        Repair(
            "unit_error",
            bars[60].start,
            "prices",
            wrong[60].close,
            judged.repairs[0].after,
            "1/100 of the bars on both sides",
            bars[109].start,
            50,
        ),
    )
    assert judged.series.history.dividends[0].amount == pytest.approx(bars[80].close * 0.01)
    assert judged.assessment.grade is Grade.B


def test_a_power_of_ten_whose_volumes_step_the_other_way_is_a_split() -> None:
    """A unit leaves volumes alone."""
    bars = daily()
    judged = judge(series(scaled(bars, range(60, 110), 100.0, volume=0.01)))
    assert same(judged.series.bars, bars)
    assert failed_rules(judged) == {"split_error"}
    assert judged.repairs[0].why.endswith("and volumes step the other way")


def test_a_step_that_an_independent_source_shows_is_none_of_ours_to_undo() -> None:
    """Two groups step alike: then that is the price."""
    wrong = scaled(daily(), range(60, 110), 100.0)
    judged = judge(series(wrong), series(noisy(wrong), "beta"))
    assert judged.repairs == ()
    same_feed = judge(series(wrong), series(wrong, "beta"), within=context(alpha="feed", beta="feed"))
    assert len(same_feed.repairs) == 1


def test_prices_as_traded_keep_their_steps() -> None:
    """There a split has to show."""
    bars = daily()
    stepping = scaled(bars, range(SPLIT), 4.0)
    asked = question(adjustment=Adjustment.NONE)
    listed = (Split(bars[SPLIT].day, 4.0),)
    judged = judge(series(stepping, adjustment=Adjustment.NONE, splits=listed), asked=asked)
    assert judged.repairs == ()
    assert failed_rules(judged) == set()


def test_a_switch_on_the_last_two_bars_is_left_alone() -> None:
    """Two bars are no measure for all the others."""
    wrong = scaled(daily(), range(248, 250), 0.01)
    judged = judge(series(wrong))
    assert judged.repairs == ()
    assert judged.series.bars == tuple(wrong)


def test_a_split_and_a_real_move_on_the_same_day_are_told_apart_by_the_volumes() -> None:
    """Ten for one and a fall by a third: the step alone fits no factor, the volumes do."""
    bars = scaled(daily(), range(SPLIT, 250), 0.66)
    wrong = scaled(bars, range(SPLIT), 10.0, volume=0.1)
    judged = judge(series(wrong, splits=(Split(bars[SPLIT].day, 10.0),)))
    assert same(judged.series.bars, bars)


def test_the_low_of_a_wrong_close_is_bounded_by_what_is_right() -> None:
    """Vendors take the low from all prints, the wrong one included."""
    bars = daily()
    bar = bars[80]
    wrong = round(bar.close / 100.0, 4)
    judged = judge(series(changed(bars, 80, close=wrong, low=wrong)))
    assert judged.series.bars[80].close == pytest.approx(bar.close, rel=1e-4)
    assert judged.series.bars[80].low == pytest.approx(min(bar.open, bar.close), rel=1e-4)
    assert [(r.field, r.why.rpartition("; ")[2]) for r in judged.repairs] == [
        ("low", "it is that of the wrong print" if bar.open < bar.close else "scaled it fits its bar"),
        ("close", "scaled it fits its bar"),
    ]
