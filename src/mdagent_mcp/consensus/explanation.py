"""The words of a judgement: headline, summary, dissent, advice. Deterministic, with numbers, for an agent to act on.

The rule of this module: no sentence says more than the facts; what could not be checked is never told as checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Final

from mdagent_mcp.consensus.alignment import Observation, Standing
from mdagent_mcp.consensus.causes import Reference, likely_cause
from mdagent_mcp.consensus.cliques import Relation, widest_gap
from mdagent_mcp.consensus.evidence import SAME_PRICE
from mdagent_mcp.consensus.facts import QuoteFacts
from mdagent_mcp.consensus.grading import sources_used
from mdagent_mcp.consensus.wording import (
    basis_points,
    count_text,
    duration_text,
    joined,
    local_minute,
    plural,
    price_text,
)
from mdagent_mcp.domain.answers import Explanation, MarketView, Voice, VoiceVerdict
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.prices import UNIT_NOTE, Session
from mdagent_mcp.domain.quality import Assessment, Grade

SUMMARY_WORDS: Final = 60
"""Words a summary may have; longer ones lose their last sentences."""

_REFUSED: Final = frozenset({VoiceVerdict.OUTLIER, VoiceVerdict.UNUSABLE, VoiceVerdict.STALE})
_TAKEN: Final = frozenset({VoiceVerdict.SERVED, VoiceVerdict.AGREES})
_VERDICT_ORDER: Final[Mapping[VoiceVerdict, int]] = {verdict: place for place, verdict in enumerate(VoiceVerdict)}
_FINDINGS_TOLD: Final = 2
_BECAUSE_LIMIT: Final = 220
_OUTCOMES_TOLD: Final = 100.0
"""Answers graded by an authority from which it is told how often such answers were right."""
_OFFSET_TOLD_S: Final = 0.05
_HABITS_LIMIT: Final = 400


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences that go beside the explanation.

    Attributes:
        summary: one or two sentences for an agent.
        explanation: the evidence.
        sources_used: agreeing sources, the served one first.
        sources_rejected: sources whose word was refused.
    """

    summary: str
    explanation: Explanation
    sources_used: tuple[str, ...]
    sources_rejected: tuple[str, ...]


def explain(facts: QuoteFacts, assessment: Assessment, failures: Mapping[str, str]) -> Wording:
    """Put a judgement into words."""
    voices = describe_voices(facts)
    used = sources_used(facts)
    refused = (v.source for v in voices if v.verdict in _REFUSED and v.source not in used)
    return Wording(
        summary=summary(facts, assessment, voices),
        explanation=Explanation(
            headline=headline(facts),
            assessment=assessment,
            voices=tuple([v for v in voices if math.isfinite(v.price)]),  # what is no number has no place in JSON
            dissent=tuple([_dissent(v, facts) for v in voices if v.verdict not in _TAKEN]),
            failures=MappingProxyType({source: clean_text(reason) for source, reason in sorted(failures.items())}),
            learned=MappingProxyType(learned(facts)),
            use=MappingProxyType(advice(facts, assessment)),
            market=MarketView(facts.market.state, facts.served.session, facts.market.now, facts.market.next_open),
        ),
        sources_used=used,
        sources_rejected=tuple(dict.fromkeys(refused)),
    )


def headline(facts: QuoteFacts) -> str:
    """Price, time and number of independent sources in one sentence."""
    count = facts.groups
    sources = f"{count_text(count)} independent source{'' if count == 1 else 's'}"
    amount = f"{price_text(facts.served.quote.price)} {facts.currency or ''}".strip()
    return f"{facts.instrument.symbol} {amount}, {when(facts)}, {sources}."


def when(facts: QuoteFacts) -> str:
    """When the price was true: its age while the market trades, else which close it is."""
    served, market = facts.served, facts.market
    stamp = served.event_time
    if stamp is None:
        return "time unknown"
    if served.standing is Standing.EARLIER:
        return f"of {local_minute(stamp, market.calendar)}, before the current session"
    if served.session is Session.CLOSED and market.last is not None:
        if not served.delay_s:
            return f"official close of {local_minute(market.last.close, market.calendar)}"
        return f"of {local_minute(stamp, market.calendar)}, {duration_text(served.delay_s)} before the close"
    return _when_trading(facts, stamp)


def _when_trading(facts: QuoteFacts, stamp: datetime) -> str:
    served, market = facts.served, facts.market
    if served.session in {Session.PRE, Session.POST}:
        return f"{served.session}-market print of {local_minute(stamp, market.calendar)}"
    if facts.halted_since is not None:
        return f"last trade of {local_minute(stamp, market.calendar)}, nothing traded since"
    if market.paused_at is not None:
        return f"last price before the midday break ({local_minute(stamp, market.calendar)})"
    return "" if served.delay_s is None else f"{duration_text(served.delay_s)} old"


def summary(facts: QuoteFacts, assessment: Assessment, voices: Iterable[Voice]) -> str:
    """Verdict, sources and their spread, age, what limits the grade, who dissents; at most `SUMMARY_WORDS` words."""
    sentences = [f"{_opening(assessment.grade)}{_support(facts)}; {when(facts)}."]
    if assessment.grade is not Grade.A and assessment.limited_by.because:
        because = clean_text(assessment.limited_by.because, _BECAUSE_LIMIT)
        sentences.append(f"Limited by {assessment.limited_by.dimension}: {because}.")
    sentences.extend(f"At {facts.served.quote.source} {note}." for note in _unit_notes(facts))
    rejected = [v for v in voices if v.verdict in {VoiceVerdict.OUTLIER, VoiceVerdict.UNUSABLE}]
    word = "Unresolved" if facts.contested else "Rejected"
    sentences.extend(f"{word}: {v.source} {price_text(v.price)} ({v.cause})." for v in rejected[:2])
    told = sentences[0]
    for sentence in sentences[1:]:
        if len(f"{told} {sentence}".split()) <= SUMMARY_WORDS:
            told = f"{told} {sentence}"
    return told


def _unit_notes(facts: QuoteFacts) -> tuple[str, ...]:
    """That the served price was converted from hundredths, which an agent may have to tell."""
    return tuple(note for note in facts.served.quote.notes if note.startswith(UNIT_NOTE))


def describe_voices(facts: QuoteFacts) -> tuple[Voice, ...]:
    """Every quote with what became of it, the served one first, then by verdict and source."""
    fusion = facts.fusion
    voters = {id(o): share for o, share in zip(_voters(facts), fusion.shares, strict=True)}
    relations = {id(o): relation for o, relation in fusion.outsiders}
    members = set(map(id, fusion.members))
    voices = []
    for observation in facts.observations:
        if observation is facts.served:
            verdict, cause = VoiceVerdict.SERVED, observation.cause
        elif id(observation) in members:
            verdict, cause = VoiceVerdict.AGREES, observation.cause
        else:
            reference = _reference(facts)
            verdict, cause = _outside(observation, relations.get(id(observation)), reference)
            if verdict is VoiceVerdict.DELAYED and facts.unit_is_settled:
                verdict, cause = _in_its_unit(observation, reference, cause)
        voices.append(_voice(observation, voters.get(id(observation), 0.0), verdict, cause))
    return tuple(sorted(voices, key=lambda v: (_VERDICT_ORDER[v.verdict], v.source, v.session, v.price)))


def _reference(facts: QuoteFacts) -> Reference:
    """What outliers are measured by."""
    served = facts.served
    closes = () if served.session is Session.CLOSED else _closes(facts.observations)
    return Reference(
        served=served,
        previous_close=facts.reference_close,
        closes=closes,
        tolerance=facts.tolerance,
        thresholds=facts.lines,
    )


def _closes(observations: Iterable[Observation]) -> tuple[float, ...]:
    return tuple([o.quote.price for o in observations if o.session is Session.CLOSED])


def advice(facts: QuoteFacts, assessment: Assessment) -> dict[str, str]:
    """What the number may be used for."""
    grade, limit = assessment.grade, assessment.limited_by
    if grade is Grade.A:
        return {"display": "yes", "analysis": "yes", "order_decision": "yes"}
    because = clean_text(limit.because, 100)
    if grade is Grade.B:
        lifted = limit.raises_to.partition(" with ")[2] or limit.raises_to
        return {"display": "yes", "analysis": "yes", "order_decision": f"confirm first: {lifted or because}"}
    if grade is Grade.C:
        stated = f"yes, stating its time ({when(facts)})"
        return {"display": stated, "analysis": f"with care: {because}", "order_decision": "no"}
    if grade is Grade.D:
        stated = f"only together with its defect: {because}"
        return {"display": stated, "analysis": "no", "order_decision": "no"}
    refused = f"do not state the number as fact: {because}"
    return {"display": refused, "analysis": "no", "order_decision": "no"}


def learned(facts: QuoteFacts) -> dict[str, str]:
    """What memory contributed, and what stands on documented defaults because memory does not know enough."""
    known = facts.context.learned
    told = {"tolerance": _tolerance_origin(facts), **_confidence(facts), **_clock_offsets(facts), **_habits(facts)}
    if known is None:
        return told
    told = {"observations": f"{known.observations} outcomes of {facts.instrument.symbol}", **told}
    if known.previous_official_close is not None:
        told["previous_close"] = f"remembered as {price_text(known.previous_official_close)}"
    gap = known.gap_q95_s.get(facts.served.quote.source)
    if gap is not None:
        told["trade_gap"] = f"{facts.served.quote.source} usually trades every {duration_text(gap)} or sooner"
    return told


def _confidence(facts: QuoteFacts) -> dict[str, str]:
    """How often an answer as sure as this one was right, once enough of them were graded by what was seen later.

    Only prices of regular trading are graded so, and only theirs is told.
    """
    track = facts.context.track
    outcomes = sum(track.calibration.trials)
    if facts.served.session is not Session.REGULAR or outcomes < _OUTCOMES_TOLD:
        return {}
    within = basis_points(max(SAME_PRICE, facts.tolerance.tick))
    sure = track.calibrated(facts.fusion.probability)
    told = f"answers as sure as this one were right within {within} in {sure:.1%}, by {outcomes:.0f} graded since"
    return {"confidence": told}


def _tolerance_origin(facts: QuoteFacts) -> str:
    """How close prices must be, and which of it was learned."""
    known = facts.context.learned
    within = basis_points(facts.tolerance.agreement(facts.lines.real_time_s))
    figures = (None,) * 3 if known is None else (known.volatility_per_sqrt_s, known.relative_spread, known.tick)
    origin = _figures_origin(*[figure is not None for figure in figures])
    return f"prices {facts.lines.real_time_s:g} s apart agree within {within}: {origin}"


@cache
def _figures_origin(*learned_ones: bool) -> str:
    """Which of volatility, spread and price step are learned, as words."""
    named = list(zip(("volatility", "spread", "price step"), learned_ones, strict=True))
    known, assumed = [name for name, yes in named if yes], [name for name, yes in named if not yes]
    parts = [f"learned {joined(known)}"] if known else []
    if assumed:
        parts.append(f"documented default{'' if len(assumed) == 1 else 's'} for {joined(assumed)}")
    return ", ".join(parts)


def _clock_offsets(facts: QuoteFacts) -> dict[str, str]:
    """The corrections of the sources' clocks that were made; none are told where all clocks are right."""
    offsets = facts.context.clock_offsets
    asked = dict.fromkeys([o.quote.source for o in facts.observations])
    told = [
        f"{source} {abs(offsets[source]):.1f} s {'ahead' if offsets[source] > 0 else 'behind'}"
        for source in asked
        if abs(offsets.get(source, 0.0)) >= _OFFSET_TOLD_S
    ]
    return {"clock_offsets": f"corrected for {joined(told)}"} if told else {}


def _habits(facts: QuoteFacts) -> dict[str, str]:
    """What recurs with the sources that answered, and made them count less; none told where nothing does."""
    habits = facts.context.habits
    asked = dict.fromkeys([o.quote.source for o in facts.observations])
    told = [habits[source] for source in asked if source in habits] if habits else []
    return {"recurring_faults": clean_text("; ".join(told), _HABITS_LIMIT)} if told else {}


def _voters(facts: QuoteFacts) -> tuple[Observation, ...]:
    return (*facts.fusion.members, *(o for o, _ in facts.fusion.outsiders))


def _outside(observation: Observation, relation: Relation | None, reference: Reference) -> tuple[VoiceVerdict, str]:
    """The verdict on a quote outside the winning clique."""
    if observation.standing is Standing.REFUSED:
        return VoiceVerdict.UNUSABLE, observation.cause
    if observation.standing is Standing.OTHER:
        return VoiceVerdict.OTHER_SESSION, observation.cause
    if relation is Relation.CONFLICT:
        return VoiceVerdict.OUTLIER, likely_cause(observation, reference)
    if relation is not None:
        apart = abs(observation.log_price - reference.served.log_price)
        return (
            VoiceVerdict.DIFFERS,
            f"differs by {basis_points(apart)}, too much to confirm and too little to contradict",
        )
    if observation.standing is Standing.UNDATED or observation.cause or observation.delay_s is None:
        return VoiceVerdict.STALE, observation.cause
    return VoiceVerdict.DELAYED, f"delayed by {duration_text(observation.delay_s)}"


def _in_its_unit(observation: Observation, reference: Reference, otherwise: str) -> tuple[VoiceVerdict, str]:
    """A delayed quote in another unit is rejected: time explains another price, but not another unit."""
    cause = likely_cause(observation, reference)
    return (VoiceVerdict.OUTLIER, cause) if cause.startswith("unit") else (VoiceVerdict.DELAYED, otherwise)


def _voice(observation: Observation, weight: float, verdict: VoiceVerdict, cause: str) -> Voice:
    quote = observation.quote
    return Voice(
        source=quote.source,
        upstream_group=observation.group,
        price=quote.price,
        currency=quote.currency,
        session=observation.session,
        event_time=quote.event_time,
        received_at=quote.received_at,
        delay_s=None if observation.delay_s is None else round(observation.delay_s, 3),
        weight=weight,
        verdict=verdict,
        cause=cause,
    )


_VERBS: Final[Mapping[VoiceVerdict, str]] = MappingProxyType(
    {
        VoiceVerdict.OUTLIER: "rejected",
        VoiceVerdict.UNUSABLE: "refused",
        VoiceVerdict.DELAYED: "no say about now",
        VoiceVerdict.STALE: "no say about now",
        VoiceVerdict.OTHER_SESSION: "not compared",
        VoiceVerdict.DIFFERS: "not counted",
    }
)


def _dissent(voice: Voice, facts: QuoteFacts) -> str:
    share = voice.price / facts.served.quote.price - 1
    compared = voice.verdict in {VoiceVerdict.OUTLIER, VoiceVerdict.DELAYED, VoiceVerdict.STALE} and abs(share) < 1
    away = f", {share:+.2%}," if compared else ""
    return f"{voice.source} {price_text(voice.price)}{away} {_VERBS[voice.verdict]}: {voice.cause}."


def _opening(grade: Grade) -> str:
    return "Do not state this number as fact: " if grade is Grade.F else ""


def _support(facts: QuoteFacts) -> str:
    if facts.confirmed:
        within = basis_points(widest_gap(facts.confirming))
        return f"{plural(facts.groups, 'independent source')} agree within {within}"
    return f"1 independent source ({joined(sources_used(facts))})"
