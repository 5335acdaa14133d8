"""Every rule of a history matters: with its check taken out, the judgement of a made-up case changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from consensus.dividend_building import EX_DAYS, adjusted, changed_dividend, judge_adjusted, paying
from consensus.series_building import NOW, changed, daily, failed_rules, judge, noisy, question, scaled, series
from mdagent_mcp.consensus import history_checks, history_grading
from mdagent_mcp.consensus.history import HistoryContext, HistoryJudgement
from mdagent_mcp.consensus.history_adjustment import AdjustmentReview, review_adjustment
from mdagent_mcp.consensus.history_checks import RULES, Observed, not_run
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.prices import Adjustment, Split

Case = Callable[[], HistoryJudgement]


def running() -> HistoryJudgement:
    """The bar of a session that has not ended, not marked."""
    session = calendar_named("XNYS").session_on(daily()[-1].day)
    assert session is not None
    now = session.close - timedelta(hours=1)
    return judge(series(daily(), received_at=now))


def weekend() -> HistoryJudgement:
    """A row on a Saturday."""
    bars = daily()
    friday = next(n for n, b in enumerate(bars) if b.day.weekday() == 4)
    bars.insert(friday + 1, replace(bars[friday], start=bars[friday].start + timedelta(days=1)))
    return judge(series(bars))


def swapped() -> HistoryJudgement:
    """Two rows that changed places."""
    bars = daily()
    bars[50], bars[52] = bars[52], bars[50]
    return judge(series(bars))


def filled() -> HistoryJudgement:
    """Four copies of a bar."""
    bars = daily()
    return judge(series([replace(bars[50], start=b.start) if 50 <= n < 55 else b for n, b in enumerate(bars)]))


def todays_price_in_the_past() -> HistoryJudgement:
    """The newest close written into bars of another level; nothing lies between them and it."""
    bars = daily()
    bars[60:63] = [replace(b, close=round(b.close * 1.5, 2)) for b in (bars[60],) * 3]
    starts = [b.start for b in daily()[60:63]]
    return judge(series([replace(b, start=starts[n - 60]) if 60 <= n < 63 else b for n, b in enumerate(bars)]))


def volumes_of_another_basis() -> HistoryJudgement:
    """Volumes before a split of five that prices know and volumes do not."""
    bars = daily()
    old = [replace(b, volume=(b.volume or 0.0) / 5.0) if n < 120 else b for n, b in enumerate(bars)]
    return judge(series(old, splits=(Split(bars[120].day, 5.0),)))


def jumped() -> HistoryJudgement:
    """A fifth less from a day on, without volume."""
    return judge(series(scaled(daily(), range(120, 250), 0.8)))


def hundredfold_dividend() -> HistoryJudgement:
    """One in the other unit."""
    bars, dividends = paying(0.004)
    return judge_adjusted(bars, changed_dividend(dividends, 1, 100.0))


def phantom() -> HistoryJudgement:
    """One listed twice."""
    bars, dividends = paying()
    again = replace(dividends[1], day=bars[108].day)
    known = dict(zip(EX_DAYS, (d.amount for d in dividends), strict=True)) | {108: again.amount}
    return judge_adjusted(adjusted(bars, known), (*dividends[:2], again, *dividends[2:]))


def moved() -> HistoryJudgement:
    """One listed two weeks late."""
    bars, dividends = paying(0.05)
    return judge_adjusted(bars, (dividends[0], replace(dividends[1], day=bars[113].day), *dividends[2:]))


def gains_twice() -> HistoryJudgement:
    """Gains in the dividends and beside them."""
    bars, dividends = paying(0.08)
    twice = {n: d.amount * 1.9 for n, d in zip(EX_DAYS, dividends, strict=True)}
    gains = tuple(replace(d, amount=d.amount * 0.9) for d in dividends)
    return judge_adjusted(adjusted(bars, twice), dividends, capital_gains=gains)


def unadjusted() -> HistoryJudgement:
    """A dividend that the adjusted closes do not know."""
    bars, dividends = paying()
    known = {n: d.amount for n, d in zip(EX_DAYS, dividends, strict=True) if n != 103}
    return judge_adjusted(adjusted(bars, known), dividends)


def impossible() -> HistoryJudgement:
    """Adjusted closes below zero."""
    bars, dividends = paying()
    return judge_adjusted([replace(b, adjusted_close=-1.0) if n < 50 else b for n, b in enumerate(bars)], dividends)


def frozen() -> HistoryJudgement:
    """The last day as it stood at noon; another source has all of it."""
    bars = daily()
    last = bars[-1]
    narrow = replace(last, high=max(last.open, last.close), low=min(last.open, last.close), volume=3e5)
    return judge(series([*bars[:-1], narrow]), series([b for n, b in enumerate(noisy(bars)) if n % 4], "beta"))


CASES: Mapping[str, Case] = {
    "order": swapped,
    "duplicates": lambda: judge(series([*daily(), replace(daily()[-1], volume=1.0)])),
    "null_prices": lambda: judge(series([b for n, b in enumerate(daily()) if n != 9], null_rows=(daily()[9].start,))),
    "bad_volume": lambda: judge(series(changed(daily(), 9, volume=-5.0))),
    "off_session": weekend,
    "ohlc_rule": lambda: judge(series(changed(daily(), 9, high=daily()[9].low))),
    "repeated_close": todays_price_in_the_past,
    "zero_volume": lambda: judge(series(changed(daily(), 9, volume=0.0))),
    "volume_basis": volumes_of_another_basis,
    "forward_fill": filled,
    "unit_error": lambda: judge(series(scaled(daily(), [249], 100.0))),
    "split_error": lambda: judge(series(scaled(daily(), range(120), 4.0))),
    "wick": lambda: judge(series(changed(daily(), 77, high=daily()[77].high * 1.4))),
    "price_jump": jumped,
    "adjusted_close": impossible,
    "dividend_size": hundredfold_dividend,
    "dividend_phantom": phantom,
    "dividend_date": moved,
    "capital_gains": gains_twice,
    "adjustment_gap": unadjusted,
    "machine_clock": lambda: judge(series(daily()), within=HistoryContext(now=NOW, clock_error_s=86_400.0)),
    "partial_bar": running,
    "frozen_bar": frozen,
    "missing_at_end": lambda: judge(series(daily()[:-3])),
    "coverage": lambda: judge(series([b for n, b in enumerate(daily()) if n % 20])),
    "late_start": lambda: judge(series(daily()[60:])),
    "basis": lambda: judge(series(daily()), asked=question(adjustment=Adjustment.ALL)),
    "currency": lambda: judge(series(daily(), currency="CHF")),
    "cross_source": lambda: judge(
        series(daily()), series(changed(noisy(daily()), 77, close=daily()[77].close * 1.04), "beta")
    ),
}
"""By rule, a case that it alone, or it first, speaks of."""


def test_the_table_has_a_case_for_every_rule() -> None:
    """A rule without one could be taken out unseen."""
    assert list(CASES) == [rule.id for rule in RULES]


@pytest.mark.parametrize("rule", CASES)
def test_without_its_rule_a_case_reads_otherwise(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule fails on its case; with its check silent it no longer does, and nothing is repaired in its name."""
    with_it = CASES[rule]()
    assert rule in failed_rules(with_it)
    _silence(rule, monkeypatch)
    without = CASES[rule]()
    assert rule not in failed_rules(without)
    assert rule not in {i.rule for i in without.issues} | {r.rule for r in without.repairs}
    assert (without.assessment.score, without.issues) != (with_it.assessment.score, with_it.issues)


@pytest.mark.parametrize("rule", sorted(set(CASES) - {"volume_basis"}))
def test_a_case_costs_the_grade_what_its_rule_says(rule: str) -> None:
    """No case is worth an A, and what is not repaired is worth less than a clean series alone."""
    judged = CASES[rule]()
    clean = judge(series(daily()))
    assert judged.assessment.score < clean.assessment.score


def test_a_clean_series_fails_no_rule() -> None:
    """Otherwise the table proves nothing."""
    assert failed_rules(judge(series(daily()))) == set()
    bars, dividends = paying()
    assert failed_rules(judge_adjusted(bars, dividends)) == set()
    assert datetime.combine(daily()[-1].day, time(0), UTC) < NOW


def _silence(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> Observed:
        return not_run(rule, "silenced")

    def without_its_faults(*arguments: object, **options: object) -> AdjustmentReview:
        review = review_adjustment(*arguments, **options)  # type: ignore[arg-type]
        return replace(review, faults=tuple(f for f in review.faults if f.rule != rule))

    monkeypatch.setattr(history_checks, "review_adjustment", without_its_faults)
    name = f"check_{rule}"
    checks = tuple(silent if check.__name__ == name else check for check in history_grading.CHECKS)
    if checks == history_grading.CHECKS:
        monkeypatch.setattr(history_grading, name, silent)
    monkeypatch.setattr(history_grading, "CHECKS", checks)
