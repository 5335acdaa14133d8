"""The consensus about past prices: which source's series is served, how good it is, and why.

One source's series is served as it stated it; the others corroborate or contradict. Only what `repair` can prove is
changed, and the answer lists it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Final

from mdagent_mcp.consensus.history_checks import Subject
from mdagent_mcp.consensus.history_comparison import (
    HistoryThresholds,
    Relation,
    by_group,
    compare,
)
from mdagent_mcp.consensus.history_coverage import Expectation, expect, find_gaps, off_calendar
from mdagent_mcp.consensus.history_explanation import dissent_of, explain, summarise
from mdagent_mcp.consensus.history_grading import (
    Candidate,
    GradedCandidate,
    Scope,
    coverage_of,
    examine,
    grade,
    repaired,
)
from mdagent_mcp.consensus.history_series import (
    PRICE_FIELDS,
    Series,
    join_adjusted,
    prepare,
    served_bar,
    usable_adjustment,
)
from mdagent_mcp.consensus.repair import Mended, repair_series
from mdagent_mcp.domain.answers import Coverage, Explanation, HistoryAnswer, Repair, SeriesIssue
from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval, require_utc
from mdagent_mcp.domain.quality import Assessment, assess
from mdagent_mcp.domain.questions import HistoryQuestion

DEFAULT_TRUST: Final = 0.8
"""Trust in a source of which nothing is said."""
_ON_BASIS: Final = frozenset({*PRICE_FIELDS, "prices"})
_EARLIEST: Final = date(1900, 1, 1)
_LATEST: Final = date(2199, 12, 31)
_CLOCK_MATTERS: Final = timedelta(days=4)
"""To a range that ended longer ago it is of no account what time it is: two days, and a weekend."""
_CLOCK_MATTERS_FROM_S: Final = 300.0
"""By less than this no bar longer than a minute looks complete that is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryContext:
    """What the judgement depends on besides the series.

    Attributes:
        now: the instant of judging, UTC.
        groups: source -> upstream group for this instrument; a source without an entry is its own group.
        weights: source -> trust between 0 and 1.
        suggestions: sources that could help but were not asked, as clauses for a reader.
        thresholds: when series agree.
        clock_error_s: by how much our own clock is ahead of the time, seconds, negative when behind; None when unknown.
    """

    now: datetime
    groups: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    suggestions: tuple[str, ...] = ()
    thresholds: HistoryThresholds = field(default_factory=HistoryThresholds)
    clock_error_s: float | None = None

    def __post_init__(self) -> None:
        require_utc("now", self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryJudgement:
    """A judged history: all of an answer but its evidence id and what it cost.

    Attributes:
        question: what was asked.
        series: the served series, repaired where listed; with `to_adjust`, before the correction for dividends.
        stated: the same series before any repair.
        coverage: how complete it is.
        issues: what is wrong with it.
        repairs: what was corrected.
        assessment: its grade.
        summary: for an agent, at most 60 words.
        sources_used: the served source first, then those that agree.
        sources_rejected: sources that contradict it.
        explanation: the evidence.
        judged_at: when.
        relations: every other source -> what its series says about the served one.
    """

    question: HistoryQuestion
    series: Series
    stated: Series
    coverage: Coverage
    issues: tuple[SeriesIssue, ...]
    repairs: tuple[Repair, ...]
    assessment: Assessment
    summary: str
    sources_used: tuple[str, ...]
    sources_rejected: tuple[str, ...]
    explanation: Explanation
    judged_at: datetime
    relations: Mapping[str, Relation]


def judge_history(
    question: HistoryQuestion, series: Sequence[History], failures: Mapping[str, str], context: HistoryContext
) -> HistoryJudgement | None:
    """Compare the sources' series, choose and grade the one to serve; None when none has a usable bar.

    Args:
        question: what was asked.
        series: what the sources stated, in any order; other symbols and intervals are ignored.
        failures: sources that did not answer -> reason.
        context: instant, upstream groups and trust.
    """
    return _Judging(question, series, context).judge(failures)


def answer(judgement: HistoryJudgement, evidence_id: str) -> HistoryAnswer:
    """The judgement as the public answer."""
    served, history = judgement.series, judgement.series.history
    return HistoryAnswer(
        symbol=judgement.question.instrument.symbol,
        interval=judgement.question.interval,
        currency=history.currency if history.currency is not None else judgement.question.instrument.currency,
        timezone=history.timezone,
        adjustment=Adjustment.ALL if served.to_adjust else history.adjustment,
        bars=tuple(served_bar(b) for b in served.bars) if served.to_adjust else served.bars,
        coverage=judgement.coverage,
        issues=judgement.issues,
        repairs=_on_served_basis(judgement.repairs, served),
        partial_last_bar=served.partial,
        grade=judgement.assessment.grade,
        score=judgement.assessment.score,
        summary=judgement.summary,
        sources_used=judgement.sources_used,
        sources_rejected=judgement.sources_rejected,
        evidence_id=evidence_id,
        explanation=judgement.explanation,
        judged_at=judgement.judged_at,
        unrepaired=_unrepaired(judgement),
    )


def _unrepaired(judgement: HistoryJudgement) -> tuple[Bar, ...]:
    """The bars that were changed as the source stated them, on the served basis; those it stated no number for not."""
    if not judgement.repairs:
        return ()
    served = judgement.series
    changed = [a for a, b in zip(judgement.stated.bars, served.bars, strict=True) if a != b]
    if not served.to_adjust:
        return tuple(changed)
    return tuple(served_bar(bar) for bar in changed if usable_adjustment(bar))


def _on_served_basis(repairs: Sequence[Repair], served: Series) -> tuple[Repair, ...]:
    """The repairs of prices in the figures that are served: after the correction for dividends, where there is one."""
    if not served.to_adjust:
        return tuple(repairs)
    shown = []
    for repair in repairs:
        bar = served.bars[served.index[repair.time]]
        factor = (bar.adjusted_close or bar.close) / bar.close
        if repair.field in _ON_BASIS:
            before = None if repair.before is None else repair.before * factor
            repair = replace(repair, before=before, after=repair.after * factor)  # noqa: PLW2901 - as it is shown
        shown.append(repair)
    return tuple(shown)


def _clock_error_s(question: HistoryQuestion, context: HistoryContext) -> float | None:
    """The error of our own clock as far as it bears on the bars that were asked for: zero where it does not."""
    error_s = context.clock_error_s
    if error_s is None or question.last < (context.now - _CLOCK_MATTERS).date():
        return None
    least_s = 60.0 if question.interval is Interval.MIN_1 else _CLOCK_MATTERS_FROM_S
    return error_s if abs(error_s) >= least_s else 0.0


class _Judging:
    """The series of one question, compared and graded against the same expectation."""

    def __init__(self, question: HistoryQuestion, series: Sequence[History], context: HistoryContext) -> None:
        first, last = max(question.first, _EARLIEST), min(question.last, _LATEST)
        self._question = replace(question, first=first, last=last)
        self._context = context
        self._calendar: Calendar = calendar_named(question.instrument.calendar)
        self._all = self._prepared(series)
        self._expectation: Expectation = expect(self._question, self._calendar, context.now, self._all)
        starts: dict[str, datetime] = {}
        for each in self._all:
            starts[each.group] = min(each.keys[0], starts.get(each.group, each.keys[0]))
        self._scope = Scope(
            self._question,
            self._expectation,
            self._calendar,
            starts,
            context.thresholds,
            context.suggestions,
            _clock_error_s(self._question, context),
        )

    def judge(self, failures: Mapping[str, str]) -> HistoryJudgement | None:
        if not self._all:
            return None
        candidates = [self._candidate(s) for s in self._all]
        best = max((self._graded(c, [o for o in candidates if o is not c]) for c in candidates), key=self._rank)
        mended = repair_series(best.candidate.subject, self._context.thresholds)
        if mended.repairs:
            best = self._regraded(best, mended, candidates)
        return self._told(best, mended, candidates, failures)

    def _prepared(self, series: Sequence[History]) -> tuple[Series, ...]:
        groups = self._context.groups
        prepared = [
            prepare(self._question, h, groups.get(h.source, h.source), self._calendar)
            for h in self._joined(series)
            if h.symbol == self._question.instrument.symbol and h.interval is self._question.interval
        ]
        usable = [s for s in prepared if s.bars]
        return tuple(sorted(usable, key=lambda s: (s.source, s.basis, s.history.received_at, len(s.bars))))

    def _candidate(self, series: Series) -> Candidate:
        expectation, interval = self._expectation, self._question.interval
        known = self._calendar.known
        subject = Subject(
            series,
            self._question.instrument,
            interval,
            off_calendar(series, expectation, self._calendar, interval) if known else None,
            frozenset(expectation.required or ()),
            tuple(s for s in self._all if s.group != series.group),
        )
        return examine(subject, find_gaps(self._question, series, expectation, self._all))

    def _joined(self, series: Sequence[History]) -> list[History]:
        """The series, one of a source before and one after its correction for dividends as the same one."""
        plain = {h.source: h for h in series if h.adjustment is Adjustment.SPLITS}
        if self._question.adjustment is not Adjustment.ALL:
            return list(series)
        joined = {
            h.source: join_adjusted(plain[h.source], h)
            for h in series
            if h.adjustment is Adjustment.ALL and h.source in plain
        }
        return [*joined.values(), *(h for h in series if h.source not in joined)]

    def _graded(self, candidate: Candidate, others: Sequence[Candidate]) -> GradedCandidate:
        limits = self._context.thresholds
        compared = [(compare(candidate.series, o.series, limits, o.wrong_periods), o) for o in others]
        # A series that is broken by its own evidence has no say about a sound one.
        heard = [c for c, other in compared if candidate.broken or not other.broken]
        voices = by_group(heard, candidate.series.group)
        return grade(self._scope, candidate, tuple(c for c, _ in compared), voices)

    def _rank(self, judged: GradedCandidate) -> tuple[float, float, float, tuple[int, ...]]:
        """Best weakest dimension, then best on the whole, then most trusted; the name makes ties certain."""
        scores = judged.assessment.dimensions.values()
        source = judged.candidate.series.source
        trust = self._context.weights.get(source, DEFAULT_TRUST)
        return min(scores), sum(scores) / len(scores), trust, tuple(-ord(c) for c in source)

    def _regraded(self, best: GradedCandidate, mended: Mended, candidates: Sequence[Candidate]) -> GradedCandidate:
        """The grade after repair: what was mended is worth a B at most."""
        before = best.candidate
        again = examine(replace(before.subject, series=mended.series), before.gaps)
        judged = self._graded(again, [c for c in candidates if c is not before])
        shown = repaired(judged.observed, mended.repairs, mended.caps)
        assessment = assess(judged.dimensions, tuple(o.finding for o in shown))
        return replace(judged, observed=shown, assessment=assessment)

    def _told(
        self,
        best: GradedCandidate,
        mended: Mended,
        candidates: Sequence[Candidate],
        failures: Mapping[str, str],
    ) -> HistoryJudgement:
        series = best.candidate.series
        relations, dissent = self._relations(best, candidates)
        used = (series.source, *sorted(n for n, r in relations.items() if r in {Relation.AGREES, Relation.PARTLY}))
        rejected = tuple(sorted(n for n, r in relations.items() if r is Relation.CONTRADICTS))
        coverage = coverage_of(best.candidate, self._expectation)
        return HistoryJudgement(
            question=self._question,
            series=series,
            stated=mended.stated or series,
            coverage=coverage,
            issues=tuple(sorted((i for o in best.observed for i in o.issues), key=_issue_order)),
            repairs=mended.repairs,
            assessment=best.assessment,
            summary=summarise(
                series,
                coverage,
                best.assessment,
                used=used,
                companions={s.source for s in self._all if s.group == series.group},
                rejected=rejected,
                repairs=sum(r.bars for r in mended.repairs),
            ),
            sources_used=used,
            sources_rejected=rejected,
            explanation=explain(
                self._question,
                series,
                best.assessment,
                calendar=self._calendar,
                now=self._context.now,
                used=used,
                dissent=dissent,
                failures=failures,
            ),
            judged_at=self._context.now,
            relations=MappingProxyType(relations),
        )

    def _relations(
        self, best: GradedCandidate, candidates: Sequence[Candidate]
    ) -> tuple[dict[str, Relation], list[str]]:
        """What every other source says about the served series, and why the dissenting ones were not taken."""
        served = best.candidate
        broken = {} if served.broken else {id(c.series): c.broken for c in candidates}
        relations: dict[str, Relation] = {}
        dissent: list[str] = []
        for comparison in best.comparisons:
            source, reason = comparison.reference.source, broken.get(id(comparison.reference), "")
            if source == served.series.source or (
                comparison.relation is Relation.NOT_COMPARABLE and source in relations
            ):
                continue
            relation = Relation.CONTRADICTS if reason else comparison.relation
            relations[source] = relation
            if relation not in {Relation.AGREES, Relation.PARTLY}:
                dissent.append(dissent_of(comparison, reason))
        return relations, dissent


def _issue_order(issue: SeriesIssue) -> tuple[int, str, str]:
    order = {"fatal": 0, "major": 1, "minor": 2, "info": 3}
    return order[issue.severity], issue.rule, "" if issue.time is None else issue.time.isoformat()
