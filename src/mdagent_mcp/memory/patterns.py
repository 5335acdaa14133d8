"""Recurring faults: a source, a fault and a circumstance in which it shows it more often than it otherwise does.

The rule of this module: pure. Of every source it is counted how often it was heard and what was wrong, in all and by
circumstance (venue, asset class, time bucket of the trading day). A pattern is what stands out of the source's own
rate by more than chance: the lower bound of a discounted beta within the circumstance lies above the upper bound of
the one over everything, with a minimum count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple

from mdagent_mcp.domain.answers import QuoteAnswer, Voice, VoiceVerdict
from mdagent_mcp.domain.calendar import Calendar, MarketState, calendar_named
from mdagent_mcp.domain.events import Fetched
from mdagent_mcp.domain.failures import TRAITS, clean_text
from mdagent_mcp.domain.instruments import AssetClass, InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.quality import Dimension
from mdagent_mcp.memory.beta import beta_quantile
from mdagent_mcp.memory.learning import HALF_LIFE_OUTCOMES, HALF_LIFE_S, QUOTE, SYMBOLS_PER_EVENT, asset_class, family

EVERYTHING: Final = ""
"""The circumstance that always holds."""
PRIOR_WEIGHT: Final = 10.0
"""Outcomes that a source's own rate is worth within a circumstance (empirical Bayes)."""
FEWEST_FAULTS: Final = 5
"""Faults within a circumstance before they may make a pattern."""
LEAST_RATE: Final = 0.05
"""A fault that is rarer than this by its lower bound is not worth a caution."""
MOST_EVIDENCE: Final = 1e4
"""More outcomes than the discounting ever leaves."""
QUANTILE: Final = 0.05
"""Of the lower bound within a circumstance, and from above of the bound over everything."""
EVIDENCE_KEPT: Final = 3
"""Evidence ids kept of a fault, the latest."""
FAULTS_KEPT: Final = 20
"""Kinds of faults counted of one source in one circumstance."""
OPENING_S: Final = 60.0
HALF_HOUR_S: Final = 1800.0
BUCKETS: Final[Mapping[str, str]] = {
    "first_minute": "in the first minute after the open",
    "first_half_hour": "in the first half hour after the open",
    "last_half_hour": "in the last half hour before the close",
    "midday": "between the first and the last half hour of trading",
    "pre": "in pre-market trading",
    "post": "in post-market trading",
    "break": "in the midday break",
    "closed": "while the market is closed",
}
"""Parts of a trading day, whatever its length, and how they read."""
_NO_EVIDENCE: Final[tuple[str, ...]] = ()
_REFUSED: Final = frozenset({VoiceVerdict.UNUSABLE, VoiceVerdict.STALE})
_CONFIRMED: Final = 90.0
_LEAST: Final = 0.01


class TallyKey(NamedTuple):
    """A source in a circumstance.

    Attributes:
        source: source id.
        context: `asset:…`, `venue:…` or `bucket:…`; empty for everything.
    """

    source: str
    context: str


@dataclass(frozen=True, slots=True)
class FaultTrace:
    """What is kept of a fault in a circumstance.

    Attributes:
        weight: discounted number.
        n: number, not discounted.
        last_at: of the latest one, epoch seconds.
        evidence: evidence ids of the latest ones, the latest at the end.
    """

    weight: float
    n: int
    last_at: float
    evidence: tuple[str, ...] = _NO_EVIDENCE


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a source was heard in a circumstance, and what was wrong.

    Attributes:
        trials: discounted number of times it was heard.
        updated_at: of the latest one, epoch seconds.
        faults: by the fault's id.
    """

    trials: float
    updated_at: float
    faults: Mapping[str, FaultTrace] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A recurring fault.

    Attributes:
        source: source id.
        fault: its id.
        context: the circumstance.
        rate: share of the times it was heard there that it showed the fault, leaning on its own rate.
        lower_bound: cautious lower bound of it.
        usual: its own rate, over everything.
        count: how often it was seen.
        last_at: of the latest one, epoch seconds.
        evidence: evidence ids of the latest ones.
    """

    source: str
    fault: str
    context: str
    rate: float
    lower_bound: float
    usual: float
    count: int
    last_at: float
    evidence: tuple[str, ...]

    @property
    def told(self) -> str:
        """As a sentence without a full stop."""
        shown = f"{self.source} shows {self.fault} {context_text(self.context)}"
        return f"{shown}: {self.rate:.0%} of the time against {self.usual:.0%} in all, seen {self.count} times"


class PatternBook:
    """The patterns of all sources, for asking before a source is asked or believed."""

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        self.all = tuple(sorted(patterns, key=lambda p: (p.source, p.context, p.fault)))
        grouped = groupby(self.all, key=lambda p: (p.source, p.context))
        self._by_place = {place: tuple(found) for place, found in grouped}

    def of(self, source: str, contexts: Iterable[str]) -> tuple[Pattern, ...]:
        """What a source is prone to in these circumstances."""
        return tuple(p for context in contexts for p in self._by_place.get((source, context), ()))

    def caution(self, source: str, contexts: Iterable[str]) -> float | None:
        """The probability, cautiously low, with which a source shows a fault here; None where it is not prone to any.

        The largest of those that apply: patterns overlap (a venue and its asset class), so they do not add up.
        """
        return max((p.lower_bound for p in self.of(source, contexts)), default=None)


def pattern_caution(book: PatternBook, source: str, symbol: str, at: datetime) -> float | None:
    """By how much a source is to be trusted less for an instrument at an instant: multiply by one minus this."""
    return book.caution(source, contexts_of(symbol, at)) if book.all else None


def contexts_of(symbol: str, at: datetime) -> tuple[str, ...]:
    """The circumstances of an instrument at an instant, `EVERYTHING` not among them."""
    kind, venue = _placed(symbol)
    calendar = calendar_named(venue) if venue else None
    bucket = None if calendar is None else bucket_of(calendar, at)
    found = [f"asset:{kind}"]
    if kind == AssetClass.FOREIGN_EQUITY.value:  # elsewhere the asset class says it already
        found.append(f"venue:{venue}")
    if bucket is not None:
        found.append(f"bucket:{bucket}")
    return tuple(found)


def venue_of(symbol: str) -> str:
    """The market whose hours rule an instrument (ISO 10383, `24/7` or `24/5`); empty for what is no symbol."""
    return _placed(symbol)[1]


def bucket_of(calendar: Calendar, at: datetime) -> str | None:
    """Which part of the trading day an instant falls in; None for a market that never closes or is not known."""
    if calendar.always_open:
        return None
    state, session = calendar.placed_at(at)
    if state is MarketState.UNKNOWN:
        return None
    if state is not MarketState.OPEN or session is None:
        return state.value
    since, left = (at - session.open).total_seconds(), (session.close - at).total_seconds()
    if since < OPENING_S:
        return "first_minute"
    if since < HALF_HOUR_S:
        return "first_half_hour"
    return "last_half_hour" if left <= HALF_HOUR_S else "midday"


def context_text(context: str) -> str:
    """A circumstance in words."""
    kind, _, name = context.partition(":")
    if kind == "bucket":
        return BUCKETS.get(name, f"in the time bucket {name}")
    return f"on {name}" if kind == "venue" else f"for {name.replace('_', ' ')}"


def fault_of(voice: Voice, *, confirmed: bool) -> str:
    """The fault a voice shows; empty when none.

    Args:
        voice: what a source said and what became of it.
        confirmed: whether two independent sources confirm the answer: only then is a rejected one certainly wrong.
    """
    if voice.verdict in _REFUSED or (confirmed and voice.verdict is VoiceVerdict.OUTLIER):
        return clean_text(voice.cause.partition(" ")[0].rstrip(":"), 40) or voice.verdict.value
    return ""


def is_confirmed(answer: QuoteAnswer) -> bool:
    """Whether two independent sources confirm an answer."""
    return answer.explanation.assessment.dimensions[Dimension.CORROBORATION] >= _CONFIRMED


def learn_voices(answer: QuoteAnswer) -> Iterator[tuple[TallyKey, Tally]]:
    """What an answer's voices add to the tallies: each was heard once, with or without a fault."""
    if answer.cached:
        return
    at, confirmed = answer.judged_at.timestamp(), is_confirmed(answer)
    contexts = (EVERYTHING, *contexts_of(answer.symbol, answer.judged_at))
    for voice in answer.explanation.voices:
        if voice.verdict is not VoiceVerdict.OTHER_SESSION:
            tally = _heard(fault_of(voice, confirmed=confirmed), at, (answer.evidence_id,))
            for context in contexts:
                yield TallyKey(voice.source, context), tally


def learn_failure(event: Fetched) -> Iterator[tuple[TallyKey, Tally]]:
    """What a failed call for prices adds; what is nobody's fault, or ours, adds nothing."""
    if event.kind is None or event.own_network or family(event.endpoint) != QUOTE:
        return
    if not TRAITS[event.kind].counts_against_reliability:
        return
    tally = _heard(event.kind.value, event.at.timestamp(), _NO_EVIDENCE)
    symbols = event.symbols[:SYMBOLS_PER_EVENT]
    for context in dict.fromkeys((EVERYTHING, *(c for s in symbols for c in contexts_of(s, event.at)))):
        yield TallyKey(event.source, context), tally


def combine_tallies(older: Tally, newer: Tally) -> Tally:
    """Both, the older part discounted for the outcomes and the time since, as reliability is."""
    elapsed = max(0.0, newer.updated_at - older.updated_at)
    kept = math.exp2(-newer.trials / HALF_LIFE_OUTCOMES - elapsed / HALF_LIFE_S)
    return Tally(
        older.trials * kept + newer.trials,
        max(older.updated_at, newer.updated_at),
        _joined_faults(older.faults, newer.faults, kept),
    )


def find_patterns(tallies: Mapping[TallyKey, Tally]) -> PatternBook:
    """What stands out of each source's own rate.

    A circumstance in which a source was not heard for long counts less, in time as reliability does.
    """
    found = []
    for (source, context), tally in tallies.items():
        whole = tallies.get(TallyKey(source, EVERYTHING))
        if context == EVERYTHING or whole is None:
            continue
        kept = math.exp2(-max(0.0, whole.updated_at - tally.updated_at) / HALF_LIFE_S)
        for fault, trace in tally.faults.items():
            pattern = _pattern(TallyKey(source, context), (fault, trace), tally.trials * kept, (whole, kept))
            if pattern is not None:
                found.append(pattern)
    return PatternBook(found)


def _pattern(key: TallyKey, shown: tuple[str, FaultTrace], trials: float, own: tuple[Tally, float]) -> Pattern | None:
    fault, trace = shown
    whole, kept = own
    weight, trials = _evidence(trace.weight * kept), _evidence(trials)
    in_all = _evidence(whole.faults[fault].weight if fault in whole.faults else 0.0)
    heard = _evidence(whole.trials)
    usual = min(1.0, in_all / heard) if heard > 0 else 0.0
    if trace.n < FEWEST_FAULTS or weight < FEWEST_FAULTS / 2 or weight <= usual * trials:
        return None
    alpha = weight + PRIOR_WEIGHT * usual
    beta = max(0.0, trials - weight) + PRIOR_WEIGHT * (1.0 - usual)
    lower = _quantile(QUANTILE, max(_LEAST, round(alpha, 2)), max(_LEAST, round(beta, 2)))
    upper = _quantile(1.0 - QUANTILE, round(in_all, 2) + 0.5, round(max(0.0, heard - in_all), 2) + 0.5)
    if lower < LEAST_RATE or lower <= upper:
        return None
    return Pattern(
        key.source, fault, key.context, alpha / (alpha + beta), lower, usual, trace.n, trace.last_at, trace.evidence
    )


def _evidence(weight: float) -> float:
    """An imported store may hold any number; one that learned holds no larger ones than this lets through."""
    return min(max(weight, 0.0), MOST_EVIDENCE)


def _heard(fault: str, at: float, evidence: tuple[str, ...]) -> Tally:
    return Tally(1.0, at, {fault: FaultTrace(1.0, 1, at, evidence)} if fault else {})


def _joined_faults(
    older: Mapping[str, FaultTrace], newer: Mapping[str, FaultTrace], kept: float
) -> dict[str, FaultTrace]:
    if not older and not newer:  # the usual case: nothing was ever wrong
        return {}
    joined = {
        fault: FaultTrace(seen.weight * kept, seen.n, seen.last_at, seen.evidence) for fault, seen in older.items()
    }
    for fault, seen in newer.items():
        known = joined.pop(fault, None)
        joined[fault] = seen if known is None else _joined_traces(known, seen)
    latest = sorted(joined, key=lambda fault: joined[fault].last_at)[-FAULTS_KEPT:]
    return {fault: joined[fault] for fault in latest} if len(joined) > FAULTS_KEPT else joined


def _joined_traces(older: FaultTrace, newer: FaultTrace) -> FaultTrace:
    evidence = tuple(dict.fromkeys((*older.evidence, *newer.evidence)))[-EVIDENCE_KEPT:]
    return FaultTrace(older.weight + newer.weight, older.n + newer.n, max(older.last_at, newer.last_at), evidence)


@lru_cache(maxsize=4096)
def _placed(symbol: str) -> tuple[str, str]:
    """Asset class and calendar."""
    try:
        return asset_class(symbol), parse_symbol(symbol).calendar
    except InvalidSymbolError:
        return asset_class(symbol), ""


@lru_cache(maxsize=4096)
def _quantile(share: float, alpha: float, beta: float) -> float:
    return beta_quantile(share, alpha, beta)
