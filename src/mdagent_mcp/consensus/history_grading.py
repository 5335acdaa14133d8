"""From checks and comparisons to the score of every dimension of one candidate series.

The rule of this module: every score follows the table of the rubric, and nothing that could not be checked reads as
good: without a calendar completeness is at most a C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from mdagent_mcp.consensus import history_checks as checks
from mdagent_mcp.consensus import history_dividend_checks as dividends
from mdagent_mcp.consensus import history_plausibility as plausibility
from mdagent_mcp.consensus.history_checks import Observed, Subject, failed, not_run, passed
from mdagent_mcp.consensus.history_comparison import Comparison, HistoryThresholds, check_cross_source, corroboration
from mdagent_mcp.consensus.history_coverage import (
    MISSING_LISTED,
    Expectation,
    Gaps,
    completeness_score,
    staleness_score,
)
from mdagent_mcp.consensus.history_series import Series, basis_of
from mdagent_mcp.consensus.repair import REPAIRED_CAP
from mdagent_mcp.consensus.wording import clock_error_text, joined, plural
from mdagent_mcp.domain.answers import Coverage, Repair
from mdagent_mcp.domain.calendar import Calendar
from mdagent_mcp.domain.prices import Adjustment
from mdagent_mcp.domain.quality import Assessment, Dimension, DimensionScore, Verdict, assess
from mdagent_mcp.domain.questions import HistoryQuestion

Check = Callable[[Subject], Observed]

CHECKS: Final[tuple[Check, ...]] = (
    checks.check_order,
    checks.check_duplicates,
    checks.check_null_prices,
    checks.check_bad_volume,
    checks.check_off_session,
    checks.check_ohlc_rule,
    checks.check_repeated_close,
    checks.check_zero_volume,
    checks.check_volume_basis,
    checks.check_forward_fill,
    plausibility.check_unit_error,
    plausibility.check_split_error,
    plausibility.check_wick,
    plausibility.check_price_jump,
    plausibility.check_frozen_bar,
    dividends.check_adjusted_close,
    dividends.check_dividend_size,
    dividends.check_dividend_phantom,
    dividends.check_dividend_date,
    dividends.check_capital_gains,
    dividends.check_adjustment_gap,
)
"""The checks of a single series, in the order of reporting; a new one is a function and its name here."""

_SELF_EVIDENT: Final = ("unit_error", "split_error", "wick", "forward_fill", "repeated_close")
"""Rules whose failure names the wrong bars by the series' own evidence."""
UNCHECKED_CAP: Final = 79.0
"""Completeness without a calendar."""
OTHER_BASIS_CAP: Final = 61.0
"""Consistency of prices on another basis than asked: the last resort before a series that is wrong by construction."""
WRONG_CLOCK_CAP: Final = 66.0
PARTLY_CHECKED_CAP: Final = 89.0
"""Completeness when the calendar covers only a part of the range."""


@dataclass(frozen=True)
class Candidate:
    """One series with everything that was found out about it by itself.

    Attributes:
        subject: the series as examined.
        observed: the results of `CHECKS`.
        gaps: what it lacks; None when the calendar cannot tell.
    """

    subject: Subject
    observed: tuple[Observed, ...]
    gaps: Gaps | None

    @property
    def series(self) -> Series:
        """The series."""
        return self.subject.series

    def failure(self, rule: str) -> Observed | None:
        """The result of a check when it failed."""
        return next((o for o in self.observed if o.finding.rule == rule and o.finding.verdict is Verdict.FAILED), None)

    @property
    def broken(self) -> str:
        """Why its level cannot be trusted at all (a unit or split mixed up); empty when it can."""
        units = self.failure("unit_error")
        if units is not None and (units.finding.cap or 0.0) < 60.0:
            return units.finding.detail
        splits = self.failure("split_error")
        return "" if splits is None or (splits.finding.cap or 0.0) >= 60.0 else splits.finding.detail

    @property
    def wrong_periods(self) -> frozenset[datetime]:
        """Periods where it is wrong by its own evidence; they explain a difference and say nothing about others."""
        wrong = frozenset[datetime]()
        for rule in _SELF_EVIDENT:
            failure = self.failure(rule)
            wrong |= frozenset() if failure is None else failure.keys
        jumps = self.failure("price_jump")
        if jumps is None or (jumps.finding.cap or 0.0) >= 70.0:
            return wrong
        # A bar that is jumped to and away from without volume is a bad print.
        return wrong | {a for a, b in pairwise(self.series.keys) if a in jumps.keys and b in jumps.keys}


@dataclass(frozen=True)
class GradedCandidate:
    """A candidate with its score among the others.

    Attributes:
        candidate: the series.
        comparisons: with every other series.
        observed: all results, those on coverage, consistency and other sources included.
        dimensions: the score of every dimension before the findings bound it.
        assessment: its grade.
    """

    candidate: Candidate
    comparisons: tuple[Comparison, ...]
    observed: tuple[Observed, ...]
    dimensions: Mapping[Dimension, DimensionScore]
    assessment: Assessment


def examine(subject: Subject, gaps: Gaps | None) -> Candidate:
    """Run every check on one series."""
    return Candidate(subject, tuple(check(subject) for check in CHECKS), gaps)


@dataclass(frozen=True)
class Scope:
    """What all candidates of one question are graded against.

    Attributes:
        question: what was asked.
        expectation: what the calendar demands.
        calendar: of the instrument.
        starts: the first bar of every upstream group.
        limits: when series agree.
        suggestions: what could corroborate beyond the sources asked.
        clock_error_s: how far our own clock is ahead of the time, where the question reaches up to now; None when that
            is unknown, or of no account.
    """

    question: HistoryQuestion
    expectation: Expectation
    calendar: Calendar
    starts: Mapping[str, datetime]
    limits: HistoryThresholds
    suggestions: tuple[str, ...] = ()
    clock_error_s: float | None = None


def grade(
    scope: Scope, candidate: Candidate, comparisons: tuple[Comparison, ...], voices: Mapping[str, Comparison]
) -> GradedCandidate:
    """The grade of one candidate.

    Args:
        scope: what it is graded against.
        candidate: the series and what its checks said.
        comparisons: with every other series.
        voices: the word of every other group.
    """
    question, expectation, limits = scope.question, scope.expectation, scope.limits
    observed = (
        *candidate.observed,
        check_machine_clock(scope.clock_error_s),
        check_partial_bar(candidate.series),
        check_missing_at_end(candidate.gaps, expectation),
        check_coverage(candidate, expectation, voices),
        check_late_start(scope, candidate),
        check_basis(question, candidate.series),
        check_currency(candidate.subject),
        check_cross_source(candidate.series, voices, limits),
    )
    dimensions = {dimension: DimensionScore(100.0) for dimension in Dimension}
    dimensions[Dimension.COMPLETENESS] = _completeness(candidate.gaps, expectation)
    support = corroboration(voices, limits)
    if scope.suggestions and support.raises_to.startswith("A with"):
        support = DimensionScore(
            support.score, support.because, f"{support.raises_to}, such as {joined(scope.suggestions)}"
        )
    dimensions[Dimension.CORROBORATION] = support
    assessment = assess(dimensions, tuple(o.finding for o in observed))
    return GradedCandidate(candidate, comparisons, observed, dimensions, assessment)


def coverage_of(candidate: Candidate, expectation: Expectation) -> Coverage:
    """How complete the series is, bars that are welcome but not demanded counted when they are there."""
    series, gaps = candidate.series, candidate.gaps
    if gaps is None or expectation.required is None:
        return Coverage(None, len(series.bars), ())
    strangers = set(candidate.subject.off_calendar or ())
    welcome = sum(1 for key in series.keys if key not in expectation.required and key not in strangers)
    missing = tuple(expectation.required[key] for key in gaps.missing[-MISSING_LISTED:])
    return Coverage(gaps.expected + welcome, gaps.expected + welcome - len(gaps.missing), missing)


def check_machine_clock(error_s: float | None) -> Observed:
    """Our own clock says which bars are complete and which should be there."""
    if error_s is None:
        return not_run("machine_clock", "no server has said what time it is, or the range ends long before now")
    if not error_s:
        return passed("machine_clock", "the vendors' servers have the same time")
    detail = f"{clock_error_text(error_s)}, so the last bars may be incomplete or missing: set the clock"
    return failed("machine_clock", WRONG_CLOCK_CAP, detail)


def check_partial_bar(series: Series) -> Observed:
    """A running period's bar must be marked by its source; then it costs nothing."""
    if not series.partial:
        return passed("partial_bar", "the last bar is complete")
    if series.history.partial_last_bar:
        return passed("partial_bar", "the last bar is partial and marked so")
    detail = "the last bar's period had not ended, and the source did not say so"
    return failed("partial_bar", 79.0, detail, [(series.keys[-1], detail)])


def check_missing_at_end(gaps: Gaps | None, expectation: Expectation) -> Observed:
    """Completed sessions that should follow the last bar."""
    if gaps is None:
        return not_run("missing_at_end", expectation.because)
    if not gaps.at_end:
        return passed("missing_at_end", "the last completed session is there")
    detail = f"{plural(gaps.at_end, 'completed session')} missing at the end"
    return failed("missing_at_end", staleness_score(gaps.at_end), detail)


def check_coverage(candidate: Candidate, expectation: Expectation, voices: Mapping[str, Comparison]) -> Observed:
    """Every missing bar, with who has it. Missing bars are told, never filled in."""
    gaps = candidate.gaps
    if gaps is None or expectation.required is None:
        return not_run("coverage", expectation.because)
    if not gaps.missing:
        return passed("coverage", f"{gaps.expected} of {gaps.expected} expected bars")
    detail = f"{len(gaps.missing)} of {gaps.expected} expected bars are missing"
    if gaps.scattered:
        detail += f", {gaps.scattered} of them likely without a trade"
    rows = []
    for key in gaps.missing[-checks.ISSUES_PER_RULE :]:
        having = sorted(v.reference.source for v in voices.values() if key in v.reference.index)
        rows.append((expectation.required[key], f"missing; {joined(having)} has it" if having else "missing"))
    return failed("coverage", completeness_score(gaps.ratio), detail, rows)


def check_late_start(scope: Scope, candidate: Candidate) -> Observed:
    """A series that begins later than asked is young, or its source keeps less: two groups tell which."""
    gaps, series, question = candidate.gaps, candidate.series, scope.question
    if gaps is None:
        return not_run("late_start", "no calendar for this market")
    if not gaps.leading:
        return passed("late_start", "begins where it was asked to")
    begins = series.keys[0]
    if question.first < scope.calendar.first:
        return passed("late_start", f"everything there is was asked for; it begins {begins:%Y-%m-%d}")
    agreeing = sum(1 for start in scope.starts.values() if abs((start - begins).days) <= 5)
    if agreeing >= 2:
        return passed("late_start", f"{agreeing} independent sources begin about {begins:%Y-%m-%d}")
    # Short bars are kept for weeks only, so a late beginning is no listing: less than half is a failed answer.
    severe = question.interval.is_intraday and gaps.leading > len({k.date() for k in series.keys})
    detail = f"asked from {question.first}, begins {begins:%Y-%m-%d}"
    return failed("late_start", 66.0 if severe else 79.0, detail)


def check_basis(question: HistoryQuestion, series: Series) -> Observed:
    """Whether the prices are adjusted as asked."""
    asked = basis_of(question.instrument, question.adjustment)
    if series.basis is asked:
        return passed("basis", f"adjusted for {_ADJUSTED[asked]}")
    detail = f"asked for prices adjusted for {_ADJUSTED[asked]}, these are adjusted for {_ADJUSTED[series.basis]}"
    return failed("basis", OTHER_BASIS_CAP, detail)


def check_currency(subject: Subject) -> Observed:
    """Whether the source's currency is the one the listing is quoted in."""
    stated, usual = subject.series.history.currency, subject.instrument.currency
    if stated is None or usual is None:
        return not_run("currency", "the source states no currency" if stated is None else "no usual currency known")
    if stated == usual:
        return passed("currency", f"in {stated}")
    return failed("currency", 79.0, f"in {stated}, while the listing is usually quoted in {usual}")


def repaired(
    observed: Sequence[Observed], repairs: Sequence[Repair], caps: Mapping[str, float]
) -> tuple[Observed, ...]:
    """The results with a repaired rule shown as what it is: mended, and worth its cap at most."""
    shown = []
    for each in observed:
        rule = each.finding.rule
        cap = caps.get(rule, 100.0)
        if rule not in caps or (each.finding.verdict is Verdict.FAILED and (each.finding.cap or 0.0) <= cap):
            shown.append(each)
            continue
        told = [r for r in repairs if r.rule == rule]
        count = sum(r.bars for r in told)
        mended = failed(rule, cap, f"{plural(count, 'value')} repaired: {told[0].why}")
        # A repair is listed as such; as an issue it counts only where something stays in doubt.
        shown.append(mended if cap < REPAIRED_CAP else Observed(mended.finding))
    return tuple(shown)


_ADJUSTED: Final = {
    Adjustment.SPLITS: "splits",
    Adjustment.ALL: "splits and dividends",
    Adjustment.NONE: "nothing",
}


def _completeness(gaps: Gaps | None, expectation: Expectation) -> DimensionScore:
    if gaps is None:
        return DimensionScore(UNCHECKED_CAP, f"{expectation.because}: missing bars cannot be told", "")
    score = completeness_score(gaps.ratio)
    if expectation.because and score > PARTLY_CHECKED_CAP:
        return DimensionScore(PARTLY_CHECKED_CAP, f"the calendar does not reach the bars {expectation.because}")
    if score == 100.0:
        return DimensionScore(100.0)
    there = gaps.expected - len(gaps.missing)
    return DimensionScore(score, f"{there} of {gaps.expected} expected bars", "A with the missing bars")
