"""How a history is explained: verdict, what limits it, who disagrees, what it may be used for.

The rule of this module: figures and names, no adjectives; the same judgement reads the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mdagent_mcp.consensus.history_comparison import Comparison
from mdagent_mcp.consensus.history_series import Series
from mdagent_mcp.consensus.wording import joined, plural
from mdagent_mcp.domain.answers import Coverage, Explanation, MarketView
from mdagent_mcp.domain.calendar import Calendar
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.prices import UNIT_NOTE, Session
from mdagent_mcp.domain.quality import Assessment, Grade, at_least
from mdagent_mcp.domain.questions import HistoryQuestion
from mdagent_mcp.domain.sessions import session_of

SUMMARY_WORDS: Final = 60
"""Words a summary has at most."""

USE: Final[Mapping[Grade, Mapping[str, str]]] = MappingProxyType(
    {
        Grade.A: {"display": "yes", "analysis": "yes", "order_decision": "yes"},
        Grade.B: {
            "display": "yes",
            "analysis": "yes",
            "order_decision": "confirm with a second independent source first",
        },
        Grade.C: {
            "display": "yes, with what limits it",
            "analysis": "with the stated limits in mind",
            "order_decision": "no",
        },
        Grade.D: {
            "display": "only with the stated defect",
            "analysis": "leave out the bars listed under issues",
            "order_decision": "no",
        },
        Grade.F: {
            "display": "do not state these prices as fact; say what failed",
            "analysis": "no",
            "order_decision": "no",
        },
    }
)
"""Advice by grade and use."""


def summarise(
    series: Series,
    coverage: Coverage,
    assessment: Assessment,
    *,
    used: Sequence[str],
    companions: Collection[str],
    rejected: Sequence[str],
    repairs: int,
) -> str:
    """What limits a grade below B, bars, sources, repairs, dissent: at most 60 words.

    `companions` are those of the sources used that pass on the same upstream as the served one: they show the same
    bars, which confirms nothing.
    """
    bars = (
        plural(len(series.bars), "bar")
        if coverage.expected is None
        else f"{coverage.present} of {plural(coverage.expected, 'expected bar')}"
    )
    confirming = [source for source in used[1:] if source not in companions]
    same = [source for source in used[1:] if source in companions]
    told = f"{used[0]} (and {joined(same)}, the same upstream)" if same else used[0]
    parts = [f"{bars} from {told}, confirmed by {joined(confirming)}." if confirming else f"{bars} from {told} only."]
    if series.partial:
        parts.append("The last bar is partial.")
    if repairs and "repaired" not in assessment.limited_by.because:
        parts.append(f"{plural(repairs, 'value')} repaired.")
    if assessment.limited_by.because:
        limit = f"Limited by {assessment.limited_by.dimension}: {assessment.limited_by.because}."
        # What makes a series worse than one good source alone comes before what there is of it.
        parts.insert(len(parts) if at_least(assessment.grade, Grade.B) else 0, limit)
    parts.extend(f"At {used[0]} {note}." for note in series.history.notes if note.startswith(UNIT_NOTE))
    if rejected:
        parts.append(f"Contradicted by {joined(rejected)}.")
    words = " ".join(parts).split()
    return " ".join(words) if len(words) <= SUMMARY_WORDS else " ".join(words[: SUMMARY_WORDS - 1]) + " …"


def explain(
    question: HistoryQuestion,
    series: Series,
    assessment: Assessment,
    *,
    calendar: Calendar,
    now: datetime,
    used: Sequence[str],
    dissent: Sequence[str],
    failures: Mapping[str, str],
) -> Explanation:
    """The evidence behind a history's grade."""
    first, last = series.keys[0], series.keys[-1]
    form = "%Y-%m-%d %H:%M UTC" if question.interval.is_intraday else "%Y-%m-%d"
    headline = (
        f"{question.instrument.symbol}: {plural(len(series.bars), 'bar')} of {question.interval}, "
        f"{first:{form}} to {last:{form}}, from {plural(len(used), 'agreeing source')}."
    )
    return Explanation(
        headline=headline,
        assessment=assessment,
        voices=(),
        dissent=tuple(dissent),
        failures={source: clean_text(reason) for source, reason in sorted(failures.items())},
        learned={},
        use=USE[assessment.grade],
        market=_market(series, calendar, now),
    )


def dissent_of(comparison: Comparison, reason: str = "") -> str:
    """Why a source was not taken, as a sentence."""
    return f"{comparison.reference.source}: {reason or comparison.because}."


def _market(series: Series, calendar: Calendar, now: datetime) -> MarketView:
    """The market now; the last bar belongs to the running session only when it is partial."""
    state = calendar.state_at(now)
    session = session_of(state) if series.partial else Session.CLOSED
    return MarketView(state.value, session, now, calendar.next_open(now) if calendar.known else None)
