"""What an agent reads first about a history: the worst thing, in few words, and few issues."""

from __future__ import annotations

from consensus.series_building import changed, daily, judge, noisy, scaled, series
from mdagent_mcp.consensus.history_checks import ISSUES_PER_RULE


def test_what_makes_a_series_bad_comes_before_what_there_is_of_it() -> None:
    """A D names its defect first; a B its bars."""
    wick = judge(series(changed(daily(), 77, high=round(daily()[77].high * 1.4, 2))))
    assert wick.summary.startswith("Limited by plausibility: 1 extreme far beyond open and close that nobody confirms")
    assert wick.summary.endswith("250 of 250 expected bars from alpha only.")
    assert judge(series(daily())).summary.startswith(
        "250 of 250 expected bars from alpha only. Limited by corroboration"
    )
    confirmed = judge(series(daily()), series(noisy(daily()), "beta"))
    assert confirmed.summary == "250 of 250 expected bars from alpha, confirmed by beta."


def test_a_repair_is_told_once_in_a_summary() -> None:
    """As the limit, with its evidence, where it is the limit."""
    judged = judge(series(scaled(daily(), range(60, 110), 0.01)))
    assert judged.summary == (
        "250 of 250 expected bars from alpha only. Limited by plausibility: 50 values repaired: 1/100 of the bars on "
        "both sides."
    )


def test_a_rule_that_fails_everywhere_lists_its_newest_bars_only() -> None:
    """The finding has the number."""
    bars = [b if n % 2 else changed([b], 0, volume=0.0)[0] for n, b in enumerate(daily())]
    judged = judge(series(bars))
    listed = [i for i in judged.issues if i.rule == "zero_volume"]
    assert len(listed) == ISSUES_PER_RULE
    assert listed[-1].time == bars[248].start
    assert "125 bars" in next(f.detail for f in judged.assessment.findings if f.rule == "zero_volume")
