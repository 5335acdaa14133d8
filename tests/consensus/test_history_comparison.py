"""What sources say about each other's series: agreement, contradiction, majority, and which one is served."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from consensus.series_building import (
    NOW,
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
from mdagent_mcp.consensus.history import HistoryContext, judge_history
from mdagent_mcp.consensus.history_comparison import HistoryThresholds, Relation
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.quality import Dimension, Grade, Verdict

OTHER_STOCK = {"seed": 99, "price": 131.0}


def test_two_independent_sources_that_agree_are_an_a() -> None:
    """Different data, the same prices within some basis points."""
    judged = judge(series(daily()), series(noisy(daily()), "beta"))
    assert judged.assessment.grade is Grade.A
    assert judged.assessment.dimensions[Dimension.CORROBORATION] == 98.0
    assert judged.sources_used == ("alpha", "beta")
    assert judged.sources_rejected == ()
    assert judged.series.bars == tuple(daily())


def test_two_vendors_of_one_upstream_are_one_voice() -> None:
    """They agree, and that says nothing."""
    within = context(alpha="feed", beta="feed")
    judged = judge(series(daily()), series(noisy(daily()), "beta"), within=within)
    assert judged.assessment.grade is Grade.B
    assert judged.assessment.dimensions[Dimension.CORROBORATION] == 89.0
    assert judged.sources_used == ("alpha", "beta")
    assert finding(judged, "cross_source").verdict is Verdict.NOT_RUN


def test_two_sources_that_contradict_each_other_are_an_f() -> None:
    """Two different stocks under one symbol: nobody can say which is the one."""
    judged = judge(series(daily()), series(daily(**OTHER_STOCK), "beta"))
    assert judged.assessment.grade is Grade.F
    assert judged.assessment.dimensions[Dimension.CORROBORATION] == 52.0
    assert (judged.sources_used, judged.sources_rejected) == (("alpha",), ("beta",))
    assert judged.explanation.dissent[0].startswith("beta: median difference")


def test_two_against_one_outvote_it() -> None:
    """The third is rejected and named; the rest is still an A."""
    judged = judge(series(daily(**OTHER_STOCK)), series(daily(), "beta"), series(noisy(daily()), "gamma"))
    assert judged.assessment.grade is Grade.A
    assert judged.assessment.dimensions[Dimension.CORROBORATION] == 92.0
    assert judged.sources_used == ("beta", "gamma")
    assert judged.sources_rejected == ("alpha",)
    assert judged.relations == {"alpha": Relation.CONTRADICTS, "gamma": Relation.AGREES}


def test_two_vendors_of_one_upstream_do_not_outvote_one() -> None:
    """One voice against one voice."""
    within = context(beta="feed", gamma="feed")
    stated = [series(daily(**OTHER_STOCK)), series(daily(), "beta"), series(daily(), "gamma")]
    assert judge(*stated, within=within).assessment.grade is Grade.F


def test_two_against_two_is_no_majority() -> None:
    """Nothing decides."""
    judged = judge(
        series(daily()),
        series(noisy(daily()), "beta"),
        series(daily(**OTHER_STOCK), "gamma"),
        series(noisy(daily(**OTHER_STOCK)), "delta"),
    )
    assert judged.assessment.dimensions[Dimension.CORROBORATION] == 52.0


def test_a_constant_gap_beyond_two_percent_is_a_contradiction_and_a_small_one_undecided() -> None:
    """A median difference of 3 % is another thing; 1 % is not the same either; half a basis point is."""
    grades = {}
    for gap in (1.03, 1.01, 1.0001):
        judged = judge(series(daily()), series(scaled(daily(), range(250), gap), "beta"))
        grades[gap] = (judged.assessment.dimensions[Dimension.CORROBORATION], judged.assessment.grade)
    assert grades == {1.03: (52.0, Grade.F), 1.01: (79.0, Grade.C), 1.0001: (98.0, Grade.A)}


@pytest.mark.parametrize("step", [0.004, 0.009])
def test_a_series_shifted_by_a_day_never_confirms(step: float) -> None:
    """A calm stock moves less than 2 % a day, so no bar is off; its moves a day later are the same, which tells."""
    calm = daily(step=step)
    shifted = [replace(b, start=a.start) for a, b in pairwise(calm)]
    judged = judge(series(calm), series(shifted, "beta"))
    assert judged.relations == {"beta": Relation.CONTRADICTS}
    assert (judged.sources_used, judged.sources_rejected) == (("alpha",), ("beta",))
    assert judged.assessment.grade is Grade.F
    assert judged.explanation.dissent == (
        "beta: its bars are those of the session before the served ones' (dates shifted).",
    )


def test_a_day_cut_at_another_hour_is_apart_and_no_shift() -> None:
    """Another closing hour: most closes differ a little, and no shift of the dates makes them the same."""
    calm = daily(step=0.004)
    others = [
        replace(b, close=c, high=max(b.high, c), low=min(b.low, c))
        for a, b in pairwise(calm)
        for c in (a.close + (b.close - a.close) * 0.3,)
    ]
    judged = judge(series(calm), series(others, "beta"))
    assert judged.relations == {"beta": Relation.APART}
    assert judged.assessment.grade is Grade.C


@pytest.mark.parametrize(("factor", "score"), [(1.04, 79.0), (1.13, 66.0)])
def test_a_few_bars_off_cost_by_how_far_they_are(factor: float, score: float) -> None:
    """One word against another on three days, with nothing to decide which is wrong."""
    chosen = [40, 41, 42]
    judged = judge(
        series(daily()), series(scaled(daily(), chosen, factor), "beta"), within=HistoryContext(now=NOW, weights={})
    )
    assert judged.assessment.dimensions[Dimension.CORROBORATION] == score
    assert [i.time for i in judged.issues if i.rule == "cross_source"] == [daily()[n].start for n in chosen]


def test_a_bad_print_of_another_source_does_not_spoil_its_word_on_the_rest() -> None:
    """One close 13 % off and back the next day, on ordinary volume, is its own error."""
    judged = judge(series(daily()), series(scaled(noisy(daily()), [40], 1.13), "beta"))
    assert judged.sources_used == ("alpha", "beta")
    assert judged.assessment.grade is Grade.A


def test_a_reference_that_covers_too_little_does_not_corroborate() -> None:
    """Half the bars confirmed is not the series confirmed."""
    judged = judge(series(daily()), series(noisy(daily()[125:]), "beta"))
    assert judged.assessment.dimensions[Dimension.CORROBORATION] == 89.0
    assert judged.relations == {"beta": Relation.PARTLY}
    assert judged.assessment.grade is Grade.B


def test_a_series_broken_by_its_own_evidence_does_not_discredit_a_sound_one() -> None:
    """The other source missed a split: that explains the difference, and corroborates nothing."""
    judged = judge(series(daily()), series(scaled(daily(), range(120), 4.0), "beta"))
    assert judged.sources_used == ("alpha",)
    assert judged.sources_rejected == ("beta",)
    assert judged.assessment.grade is Grade.B
    assert "split" in judged.explanation.dissent[0]


def test_single_wrong_cells_of_another_source_do_not_spoil_its_word_on_the_rest() -> None:
    """Two bars a hundred times too high explain themselves; 248 others confirm."""
    judged = judge(series(daily()), series(scaled(noisy(daily()), [30, 200], 100.0), "beta"))
    assert judged.sources_used == ("alpha", "beta")
    assert judged.assessment.grade is Grade.A
    assert judged.issues == ()


def test_a_high_that_only_one_of_two_sources_shows_is_undecided() -> None:
    """Closes agree; a high 5.5 % above the other's may be either tape."""
    judged = judge(
        series(daily(), currency="USD"), series(changed(noisy(daily()), 77, high=daily()[77].high * 1.055), "beta")
    )
    assert finding(judged, "cross_source").cap == 79.0
    assert [i.time for i in judged.issues] == [daily()[77].start]
    assert "beta says" in judged.issues[0].detail


def test_a_high_that_a_third_source_confirms_is_decided() -> None:
    """Two of three show it as served."""
    judged = judge(
        series(daily()),
        series(changed(noisy(daily()), 77, high=daily()[77].high * 1.3), "beta"),
        series(noisy(daily(), seed=4), "gamma"),
    )
    assert judged.sources_used[0] != "beta"
    assert judged.assessment.grade is Grade.A


def test_series_of_another_basis_are_never_compared_by_level() -> None:
    """Prices as traded before a split are no contradiction."""
    other = series(scaled(daily(), range(120), 4.0), "beta", adjustment=Adjustment.NONE)
    judged = judge(series(daily()), other)
    assert judged.assessment.dimensions[Dimension.CORROBORATION] == 89.0
    assert judged.relations == {"beta": Relation.NOT_COMPARABLE}
    assert judged.explanation.dissent == ("beta: its prices are adjusted otherwise (none).",)


def test_series_adjusted_for_dividends_are_compared_by_return() -> None:
    """Their levels drift apart by each vendor's way of counting dividends; their returns do not."""
    asked = question(adjustment=Adjustment.ALL)
    stated = [
        series(daily(), adjustment=Adjustment.ALL),
        series(scaled(noisy(daily()), range(250), 0.9), "beta", adjustment=Adjustment.ALL),
    ]
    judged = judge(*stated, asked=asked)
    assert judged.assessment.grade is Grade.A
    other = judge(stated[0], series(daily(**OTHER_STOCK, step=0.05), "beta", adjustment=Adjustment.ALL), asked=asked)
    assert other.assessment.grade is Grade.F


def test_crypto_and_currencies_have_one_basis_whatever_a_source_calls_it() -> None:
    """Nothing is ever split there."""
    bars = daily()
    first = series(bars, symbol="BTC-USD")
    second = series(noisy(bars), "beta", symbol="BTC-USD", adjustment=Adjustment.NONE)
    assert judge(first, second, asked=question(symbol="BTC-USD")).relations == {"beta": Relation.AGREES}


def test_series_in_another_currency_are_not_compared() -> None:
    """And the one in the usual currency is served."""
    judged = judge(series(scaled(daily(), range(250), 0.78), currency="GBP"), series(daily(), "beta"))
    assert judged.sources_used == ("beta",)
    assert judged.relations == {"alpha": Relation.NOT_COMPARABLE}
    alone = judge(series(daily(), currency="GBP"))
    assert finding(alone, "currency").cap == 79.0


def test_a_basis_that_was_not_asked_is_the_last_resort_and_is_said() -> None:
    """Better than nothing, never silently."""
    judged = judge(series(daily(), adjustment=Adjustment.NONE))
    assert failed_rules(judged) == {"basis"}
    assert judged.assessment.grade is Grade.D
    both = judge(series(daily(), adjustment=Adjustment.NONE), series(daily()[:-3], "beta"))
    assert both.sources_used == ("beta",)


def test_the_more_complete_of_two_agreeing_series_is_served_whatever_the_trust() -> None:
    """Then the more trusted, then the first by name."""
    complete, holed = daily(), [b for n, b in enumerate(daily()) if n not in {9, 99, 199}]
    trusted = HistoryContext(now=NOW, weights={"alpha": 0.9, "beta": 0.2})
    assert judge(series(holed), series(complete, "beta"), within=trusted).sources_used == ("beta", "alpha")
    assert judge(series(complete, "beta"), series(complete), within=trusted).sources_used == ("alpha", "beta")
    distrusted = HistoryContext(now=NOW, weights={"alpha": 0.2, "beta": 0.9})
    assert judge(series(complete), series(complete, "beta"), within=distrusted).sources_used == ("beta", "alpha")
    assert judge(series(complete, "beta"), series(complete)).sources_used == ("alpha", "beta")


def test_of_two_equally_limited_series_the_one_with_less_wrong_elsewhere_is_served() -> None:
    """Both are a B for want of an independent source; one lacks a bar, and trust does not make up for it."""
    holed = [b for n, b in enumerate(daily()) if n != 99]
    within = HistoryContext(now=NOW, groups={"alpha": "feed", "beta": "feed"}, weights={"alpha": 0.9, "beta": 0.2})
    judged = judge(series(holed), series(daily(), "beta"), within=within)
    assert (judged.assessment.grade, judged.sources_used) == (Grade.B, ("beta", "alpha"))


def test_series_of_other_symbols_or_intervals_are_ignored() -> None:
    """Nobody asked for them."""
    other = series(daily(**OTHER_STOCK), "beta")
    assert judge(series(daily()), replace(other, symbol="OTHER")).relations == {}
    assert judge(series(daily()), replace(other, interval=Interval.WEEK_1)).relations == {}


def test_without_a_usable_bar_there_is_no_judgement() -> None:
    """No series, empty series, only unusable rows."""
    unusable = [replace(b, close=0.0) for b in daily()]
    for stated in ([], [series([])], [series(unusable)], [series(daily(), symbol="OTHER")]):
        assert judge_history(question(), stated, {}, context()) is None


def test_thresholds_refuse_nonsense() -> None:
    """A share is between 0 and 1, and the limits rise."""
    with pytest.raises(ValueError, match="off_share must lie between 0 and 1, got 0"):
        HistoryThresholds(off_share=0.0)
    with pytest.raises(ValueError, match="the limits must rise"):
        HistoryThresholds(off=0.2)


def test_stricter_thresholds_see_more() -> None:
    """The limits are options."""
    stated = [series(daily()), series(noisy(daily(), basis_points=30), "beta")]
    strict = HistoryContext(now=NOW, thresholds=HistoryThresholds(off=0.001, loose=0.0005, slight=0.0005))
    assert judge(*stated).assessment.grade is Grade.A
    assert judge(*stated, within=strict).assessment.grade is Grade.F


def test_the_running_bar_is_not_compared() -> None:
    """Two sources catch it at two moments."""
    last = daily()[-1]
    stated = [
        series(daily(), partial_last_bar=True),
        series(changed(daily(), -1, close=last.close * 1.2, high=last.high * 1.2), "beta", partial_last_bar=True),
    ]
    judged = judge(*stated)
    assert finding(judged, "cross_source").verdict is Verdict.PASSED
    assert set(judged.relations.values()) == {Relation.AGREES}
