"""Dividends and the correction for them: which faults are told, what they are corrected to, what is left alone."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.dividend_building import EX_DAYS, adjusted, changed_dividend, judge_adjusted, paying
from consensus.series_building import daily, failed_rules, finding, judge, question, scaled, series
from mdagent_mcp.consensus.history import HistoryJudgement, answer
from mdagent_mcp.domain.answers import Repair
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend
from mdagent_mcp.domain.quality import Grade, Severity, Verdict

BARS, DIVIDENDS = paying()
AMOUNTS = dict(zip(EX_DAYS, (d.amount for d in DIVIDENDS), strict=True))


def right(judged: HistoryJudgement, bars: list[Bar] | None = None) -> bool:
    """Whether every adjusted close is the right one."""
    wanted = BARS if bars is None else bars
    return [b.adjusted_close for b in judged.series.bars] == pytest.approx([b.adjusted_close for b in wanted])


def amounts(judged: HistoryJudgement) -> list[float]:
    """The dividends after the repair."""
    return [d.amount for d in judged.series.history.dividends]


def test_adjusted_closes_that_follow_from_their_dividends_pass_and_are_applied_when_served() -> None:
    """Nothing is repaired; the answer has adjusted prices and no column beside them."""
    judged = judge_adjusted(BARS, DIVIDENDS)
    assert (failed_rules(judged), judged.repairs, judged.assessment.grade) == (set(), (), Grade.B)
    assert finding(judged, "adjustment_gap").detail == "4 dividends were weighed"
    told = answer(judged, "h-1")
    assert told.adjustment is Adjustment.ALL
    assert [b.close for b in told.bars] == [b.adjusted_close for b in BARS]
    assert {b.adjusted_close for b in told.bars} == {None}
    assert told.bars[0].high / told.bars[0].close == pytest.approx(BARS[0].high / BARS[0].close)
    assert told.unrepaired == ()


def test_a_dividend_missing_in_the_adjustment_is_taken_off() -> None:
    """The closes before it are too high by just that share; they are computed, told once, and kept as stated."""
    missing = adjusted(BARS, {n: a for n, a in AMOUNTS.items() if n != 103})
    judged = judge_adjusted(missing, DIVIDENDS)
    assert failed_rules(judged) == {"adjustment_gap"}
    assert right(judged)
    (repair,) = judged.repairs
    assert (repair.rule, repair.field, repair.time) == ("adjustment_gap", "adjusted_close", BARS[0].start)
    assert (repair.until, repair.bars) == (BARS[102].start, 103)
    assert repair.after == pytest.approx(BARS[0].adjusted_close)
    assert "the adjusted prices step by 0.00%" in repair.why
    assert (judged.assessment.grade, finding(judged, "adjustment_gap").cap) == (Grade.B, 85.0)
    told = answer(judged, "h-1")
    assert [b.close for b in told.unrepaired] == [b.adjusted_close for b in missing[:103]]
    assert "103 values repaired" in judged.summary


def test_one_source_before_and_after_the_adjustment_is_looked_at_together() -> None:
    """Two replies of one vendor are one series with its adjusted closes."""
    missing = adjusted(BARS, {n: a for n, a in AMOUNTS.items() if n != 103})
    plain = [replace(b, adjusted_close=None) for b in missing]
    after = [scaled([b], [0], (b.adjusted_close or 0.0) / b.close)[0] for b in missing]
    asked = question(adjustment=Adjustment.ALL)
    judged = judge(
        series(plain, dividends=DIVIDENDS), series(after, dividends=DIVIDENDS, adjustment=Adjustment.ALL), asked=asked
    )
    assert failed_rules(judged) == {"adjustment_gap"}
    assert right(judged)


@pytest.mark.parametrize("follows", [False, True])
def test_a_hundredfold_dividend_is_a_hundredth_of_it_whether_or_not_the_adjustment_follows(follows: bool) -> None:
    """Once the adjusted closes say what it was, once the price."""
    bars, dividends = paying(0.004)
    wrong = changed_dividend(dividends, 1, 100.0)
    known = {n: d.amount for n, d in zip(EX_DAYS, wrong, strict=True)}
    judged = judge_adjusted(adjusted(bars, known) if follows else bars, wrong)
    assert failed_rules(judged) == {"dividend_size"}
    assert amounts(judged) == pytest.approx([d.amount for d in dividends])
    assert right(judged, bars)
    told = next(r for r in judged.repairs if r.field == "dividend")
    assert (told.time, told.before) == (bars[103].start, wrong[1].amount)
    assert told.after == pytest.approx(dividends[1].amount)
    assert judged.assessment.grade is Grade.B


def test_dividends_that_are_all_a_hundredth_of_what_the_price_falls_by_are_told_by_all_falls_together() -> None:
    """None of them alone proves it; all of one size do."""
    bars, dividends = paying(0.03)
    small = tuple(replace(d, amount=d.amount / 100.0) for d in dividends)
    known = {n: d.amount for n, d in zip(EX_DAYS, small, strict=True)}
    judged = judge_adjusted(adjusted(bars, known), small)
    assert failed_rules(judged) == {"dividend_size"}
    assert amounts(judged) == pytest.approx([d.amount for d in dividends])
    assert right(judged, bars)


@pytest.mark.parametrize("currency", ["USD", "GBP"])
def test_usual_dividends_that_the_price_hides_are_left_as_they_are(currency: str) -> None:
    """Falls of one or two percent drown in other moves; what everybody pays is no hundredfold of what nobody does."""
    bars = daily()
    amounts = {n: bars[n - 1].close * 0.013 for n in range(20, 250, 21)}
    dividends = [Dividend(bars[n].day, amount) for n, amount in amounts.items()]
    judged = judge_adjusted(adjusted(bars, amounts), dividends, currency=currency)
    assert "dividend_size" not in failed_rules(judged)
    assert judged.repairs == ()


def test_tiny_dividends_of_a_price_that_does_not_fall_are_tiny_dividends() -> None:
    """A growth company pays next to nothing: small alone is no fault."""
    bars, dividends = paying(0.0001)
    judged = judge_adjusted(bars, dividends)
    assert (failed_rules(judged), judged.repairs) == (set(), ())


def test_a_special_dividend_that_the_price_falls_by_is_no_error_however_large() -> None:
    """Two fifths of the price, paid out of it."""
    bars, dividends = paying(0.4, [103])
    judged = judge_adjusted(bars, dividends)
    assert (failed_rules(judged), judged.repairs) == (set(), ())
    missing = judge_adjusted(adjusted(bars, {}), dividends)
    assert failed_rules(missing) == {"adjustment_gap"}
    assert right(missing, bars)


def test_a_dividend_listed_again_a_week_later_without_a_fall_is_no_dividend() -> None:
    """Nobody pays the same twice in a week; the one that the price shows stays."""
    again = Dividend(BARS[108].day, DIVIDENDS[1].amount)
    listed = (*DIVIDENDS[:2], again, *DIVIDENDS[2:])
    judged = judge_adjusted(adjusted(BARS, AMOUNTS | {108: again.amount}), listed)
    assert failed_rules(judged) == {"dividend_phantom"}
    assert judged.series.history.dividends == DIVIDENDS
    assert right(judged)
    told = next(r for r in judged.repairs if r.field == "dividend")
    assert told == Repair("dividend_phantom", BARS[108].start, "dividend", again.amount, 0.0, told.why)
    assert "nearly the same dividend is listed a few days apart" in told.why


def test_a_fund_that_pays_every_week_has_no_phantoms() -> None:
    """Nearly equal dividends a week apart are its habit."""
    weekly = list(range(20, 240, 5))
    bars, dividends = paying(0.004, weekly)
    judged = judge_adjusted(bars, dividends)
    assert (failed_rules(judged), judged.repairs) == (set(), ())


def test_an_adjustment_on_another_day_than_its_dividend_moves_to_where_the_price_fell() -> None:
    """Listed right, adjusted two weeks late; and listed two weeks late, adjusted right."""
    bars, dividends = paying(0.05)
    known = {n: d.amount for n, d in zip(EX_DAYS, dividends, strict=True)}
    late = {(n if n != 103 else 113): a for n, a in known.items()}
    adjusted_late = judge_adjusted(adjusted(bars, late), dividends)
    moved = (dividends[0], replace(dividends[1], day=bars[113].day), *dividends[2:])
    listed_late = judge_adjusted(bars, moved)
    for judged in (adjusted_late, listed_late):
        assert failed_rules(judged) == {"dividend_date"}
        assert judged.series.history.dividends == dividends
        assert right(judged, bars)


def test_an_adjustment_a_day_beside_its_dividend_is_the_same_event() -> None:
    """Vendors date ex-days by one clock or the other."""
    beside = (DIVIDENDS[0], replace(DIVIDENDS[1], day=BARS[104].day), *DIVIDENDS[2:])
    judged = judge_adjusted(BARS, beside)
    assert (failed_rules(judged), judged.repairs) == (set(), ())


def test_capital_gains_that_the_dividends_hold_are_not_taken_off_again() -> None:
    """The price fell by the dividends alone."""
    bars, dividends = paying(0.08)
    gains = tuple(replace(d, amount=d.amount * 0.9) for d in dividends)
    twice = {n: d.amount * 1.9 for n, d in zip(EX_DAYS, dividends, strict=True)}
    judged = judge_adjusted(adjusted(bars, twice), dividends, capital_gains=gains)
    assert failed_rules(judged) == {"capital_gains"}
    assert (judged.series.history.dividends, judged.series.history.capital_gains) == (dividends, gains)
    assert right(judged, bars)
    once = judge_adjusted(bars, dividends, capital_gains=gains)
    assert (failed_rules(once), once.repairs) == (set(), ())


def test_capital_gains_beside_dividends_that_do_not_hold_them_count() -> None:
    """The price fell by both."""
    bars, paid = paying(0.08)
    dividends = tuple(replace(d, amount=d.amount * 0.25) for d in paid)
    gains = tuple(replace(d, amount=d.amount * 0.75) for d in paid)
    judged = judge_adjusted(bars, dividends, capital_gains=gains)
    assert (failed_rules(judged), judged.repairs) == (set(), ())


@pytest.mark.parametrize("impossible", [-1.7, 0.0, math.inf, -math.inf, math.nan, 4000.0, None])
def test_adjusted_closes_that_cannot_be_are_computed_from_the_dividends(impossible: float | None) -> None:
    """Negative, infinite, missing or a multiple of the price; a repair without a number before says so."""
    spoiled = [replace(b, adjusted_close=impossible) if n < 150 else b for n, b in enumerate(BARS)]
    judged = judge_adjusted(spoiled, DIVIDENDS)
    assert failed_rules(judged) == {"adjusted_close"}
    assert right(judged)
    assert sum(r.bars for r in judged.repairs) == 150
    finite = impossible is not None and math.isfinite(impossible)
    assert judged.repairs[0].before == (impossible if finite else None)
    assert judged.assessment.grade is Grade.B


def test_a_stretch_of_adjusted_closes_by_a_factor_of_its_own_is_brought_back() -> None:
    """The factor changes without a dividend and changes back."""
    spoiled = [
        replace(b, adjusted_close=(b.adjusted_close or 0.0) * 1.07) if 60 <= n < 90 else b for n, b in enumerate(BARS)
    ]
    judged = judge_adjusted(spoiled, DIVIDENDS)
    assert failed_rules(judged) == {"adjustment_gap"}
    assert right(judged)


def test_a_step_without_a_dividend_that_is_never_undone_is_told_and_left() -> None:
    """An unlisted dividend, or an invented one: nothing decides."""
    known = AMOUNTS | {70: 2.5}
    spoiled = adjusted(BARS, known)
    judged = judge_adjusted(spoiled, DIVIDENDS)
    assert finding(judged, "adjustment_gap").cap == 64.0
    assert finding(judged, "adjustment_gap").severity is Severity.MAJOR
    assert [i.time for i in judged.issues] == [BARS[70].start]
    assert (judged.repairs, judged.assessment.grade) == ((), Grade.D)


def test_a_price_of_another_unit_takes_its_adjusted_close_along() -> None:
    """The vendor computed one from the other."""
    spoiled = [scaled([b], [0], 100.0)[0] if n == 80 else b for n, b in enumerate(BARS)]
    spoiled[80] = replace(spoiled[80], adjusted_close=(BARS[80].adjusted_close or 0.0) * 100.0)
    judged = judge_adjusted(spoiled, DIVIDENDS)
    assert failed_rules(judged) == {"unit_error"}
    assert right(judged)
    told = next(r for r in answer(judged, "h-1").repairs if r.field == "close")
    assert told.after == pytest.approx(BARS[80].adjusted_close)


def test_dividends_of_prices_corrected_for_splits_alone_are_not_weighed() -> None:
    """Their prices do not depend on them."""
    judged = judge(series(daily(), dividends=changed_dividend(DIVIDENDS, 1, 100.0)))
    assert finding(judged, "dividend_phantom").verdict is Verdict.NOT_RUN
    assert judged.assessment.grade is Grade.B


@settings(max_examples=30, deadline=None)
@given(st.floats(0.002, 0.05), st.sampled_from(EX_DAYS), st.floats(0.0, 0.004))
def test_what_follows_from_its_dividends_is_never_touched(share: float, last: int, rounding: float) -> None:
    """Whatever they are worth, and with a vendor that rounds its adjusted closes."""
    days = [n for n in EX_DAYS if n <= last]
    bars, dividends = paying(share, days)
    digits = 2 if rounding > 0.002 else 6
    rounded = [replace(b, adjusted_close=round(b.adjusted_close or 0.0, digits)) for b in bars]
    judged = judge_adjusted(rounded, dividends)
    assert (failed_rules(judged), judged.repairs) == (set(), ())
    assert [b.close for b in answer(judged, "h-1").bars] == [b.adjusted_close for b in rounded]


def test_dividends_outside_of_the_range_change_nothing() -> None:
    """One before the first bar, one after the last."""
    outside = (
        Dividend(BARS[0].day - timedelta(days=3), 500.0),
        *DIVIDENDS,
        Dividend(BARS[-1].day + timedelta(days=5), 500.0),
    )
    judged = judge_adjusted(BARS, outside)
    assert (failed_rules(judged), judged.repairs) == (set(), ())
