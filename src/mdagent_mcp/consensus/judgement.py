"""A judgement about one quote: numbers and grade at once, the words only when somebody asks for them.

The rule of this module: an inquiry judges again with every reply and serves the last judgement only, so what is read by
people and agents alone is made when it is read. The words follow from the facts; equal judgements read the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Final

from mdagent_mcp.consensus.explanation import Wording, explain
from mdagent_mcp.consensus.facts import QuoteFacts
from mdagent_mcp.consensus.selection import interval
from mdagent_mcp.domain.answers import Explanation, QuoteAnswer, VoiceVerdict
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Assessment, Grade, Verdict

_FINEST_DECIMALS: Final = 10


@dataclass(frozen=True, slots=True)
class Belief:
    """How sure the price is; what the teacher checks later.

    Attributes:
        probability: that it is within tolerance of the truth, not yet recalibrated.
        calibrated: what such a probability has turned out to mean.
        groups: upstream groups that confirm it, its own included.
        below: how far below the price the truth may lie, of logarithms, before recalibration.
        above: how far above it.
    """

    probability: float
    calibrated: float
    groups: int
    below: float
    above: float


@dataclass(frozen=True, kw_only=True)
class QuoteJudgement:
    """The consensus about one instrument's current price: a `QuoteAnswer` before it is filed as evidence.

    Attributes are those of `domain.answers.QuoteAnswer`, its words and its interval being made when they are read, and
        facts: what was judged.
        assessment: the grade with its reasons.
        failures: sources that did not answer: id -> reason.
    """

    facts: QuoteFacts = field(repr=False)
    assessment: Assessment
    failures: Mapping[str, str]
    symbol: str
    price: float
    currency: str | None
    session: Session
    price_time: datetime | None
    delay_s: float | None
    grade: Grade
    score: float
    sources_used: tuple[str, ...]
    judged_at: datetime
    change: float | None = None
    change_percent: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    previous_close: float | None = None
    volume: float | None = None
    bid: float | None = None
    ask: float | None = None

    @cached_property
    def belief(self) -> Belief:
        """How sure the price is."""
        fusion, own = self.facts.fusion, self.facts.served.log_price
        low, high = interval(fusion.selection, own)
        sure = self.facts.context.track.calibrated(fusion.probability)
        return Belief(fusion.probability, sure, fusion.groups, own - low, high - own)

    @property
    def price_low(self) -> float:
        """Lower end of the interval that covers the truth in 95 of 100 cases."""
        return self._interval[0]

    @property
    def price_high(self) -> float:
        """Upper end."""
        return self._interval[1]

    @cached_property
    def _interval(self) -> tuple[float, float]:
        """It ends on the grid of the quoted step and reaches one step to each side at least: by less no trade moves.

        What contradicts the price without an explanation lies in it, and so does what agrees from too far off to
        confirm it: it may be the price that moved since, or that the younger one is wrong.
        """
        fusion, price = self.facts.fusion, self.price
        widening = self.facts.context.track.widening(fusion.groups)
        step = self.facts.tolerance.quoted_step
        prices = [price - step, price + step, *(o.quote.price for o in fusion.opponents if fusion.contested)]
        if not self.confirmed:
            prices += [price * math.exp(m.log_price - self.facts.served.log_price) for m in self.facts.seconding]
        decimals = min(max(0, -math.floor(math.log10(step))), _FINEST_DECIMALS)
        low = _rounded(min(*prices, price * math.exp(-widening * self.belief.below)), decimals, math.floor)
        high = _rounded(max(*prices, price * math.exp(widening * self.belief.above)), decimals, math.ceil)
        return min(low, price) if low > 0 else min(prices), max(high, price)

    @cached_property
    def _wording(self) -> Wording:
        return explain(self.facts, self.assessment, self.failures)

    @property
    def summary(self) -> str:
        """One or two sentences for an agent."""
        return self._wording.summary

    @property
    def sources_rejected(self) -> tuple[str, ...]:
        """Sources whose word was refused."""
        return self._wording.sources_rejected

    @property
    def explanation(self) -> Explanation:
        """The evidence."""
        return self._wording.explanation

    @property
    def confirmed(self) -> bool:
        """Whether two independent groups say the same."""
        return self.facts.confirmed


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """What a judgement says about one source, for learning its reliability.

    Attributes:
        source: source id.
        agreed: it agreed with an independent group; False when it was rejected; None when there was nobody
            independent to compare it with or it spoke of another session.
        fault: id of the fault it showed, such as `unit`; empty without one.
    """

    source: str
    agreed: bool | None
    fault: str = ""


def _rounded(value: float, decimals: int, direction: Callable[[float], int]) -> float:
    """`value` on the grid of the price step, moved outwards."""
    scale = 10.0**decimals
    return float(direction(round(value * scale, 4)) / scale)


_ANSWERED: Final = tuple([each.name for each in fields(QuoteAnswer) if each.name not in {"evidence_id", "cached"}])


def answer(judgement: QuoteJudgement, evidence_id: str) -> QuoteAnswer:
    """The judgement as an answer that can be looked up under `evidence_id`, words included."""
    return QuoteAnswer(evidence_id=evidence_id, **{name: getattr(judgement, name) for name in _ANSWERED})


def source_outcomes(judgement: QuoteJudgement) -> tuple[SourceOutcome, ...]:
    """What the judgement teaches about each source: agreement counts only with another upstream group."""
    voices = judgement.explanation.voices
    taken = [v for v in voices if v.verdict in {VoiceVerdict.SERVED, VoiceVerdict.AGREES} and v.weight > 0]
    findings = judgement.assessment.findings
    contested = any(f.rule == "cross_source" and f.verdict is Verdict.FAILED for f in findings)
    outcomes = []
    for voice in voices:
        agreed: bool | None = None
        if voice in taken:
            agreed = True if any(v.upstream_group != voice.upstream_group for v in taken) else None
        elif voice.verdict in {VoiceVerdict.OUTLIER, VoiceVerdict.UNUSABLE}:
            agreed = None if contested and voice.verdict is VoiceVerdict.OUTLIER else False
        faultless = voice in taken or voice.verdict is VoiceVerdict.DELAYED
        fault = "" if faultless else voice.cause.partition(" ")[0].rstrip(":")
        outcomes.append(SourceOutcome(voice.source, agreed, fault))
    return tuple(outcomes)
