"""What the graph is made of beyond reliability: deviations, dependences, recurring faults, figures of the session.

The rule of this module: `Findings` is what one event or answer taught, what waits, or what is stored; joining two is
the same everywhere. What is waiting is bounded by the backlog's limits; what was touched longest ago goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from mdagent_mcp.domain.answers import QuoteAnswer
from mdagent_mcp.domain.events import Compared, Event, Fetched, Graded
from mdagent_mcp.memory.dependence import Dependence, Pair, SharedErrors, combine_dependences
from mdagent_mcp.memory.deviations import Deviation, DeviationKey, combine_deviations, learn_compared, learn_prices
from mdagent_mcp.memory.patterns import (
    Tally,
    TallyKey,
    combine_tallies,
    fault_of,
    is_confirmed,
    learn_failure,
    learn_voices,
)
from mdagent_mcp.memory.session_figures import EARLY, EARLY_REQUESTS, LATER, SessionFigures, figures_of

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class SymbolFaultKey(NamedTuple):
    """A fault that a source showed about an instrument."""

    symbol: str
    source: str
    fault: str


@dataclass(frozen=True, slots=True)
class SymbolFault:
    """How often, and when last (epoch seconds), with the evidence id of the answer that showed it."""

    n: int
    last_at: float
    evidence_id: str


@dataclass(slots=True)
class Findings:
    """What was found out; all of it can be joined.

    Attributes:
        deviations: of sources, by scope and field.
        dependences: of pairs of sources.
        tallies: of sources by circumstance.
        symbol_faults: what went wrong with instruments.
        figures: of this session, by part.
    """

    deviations: dict[DeviationKey, Deviation] = field(default_factory=dict)
    dependences: dict[Pair, Dependence] = field(default_factory=dict)
    tallies: dict[TallyKey, Tally] = field(default_factory=dict)
    symbol_faults: dict[SymbolFaultKey, SymbolFault] = field(default_factory=dict)
    figures: dict[str, SessionFigures] = field(default_factory=dict)

    def absorb(self, newer: Findings, most: int) -> int:
        """Join what is newer; returns how many entries were dropped because there were more than `most` of a kind."""
        _join(self.deviations, newer.deviations.items(), combine_deviations)
        _join(self.dependences, newer.dependences.items(), combine_dependences)
        _join(self.tallies, newer.tallies.items(), combine_tallies)
        _join(self.symbol_faults, newer.symbol_faults.items(), combine_symbol_faults)
        _join(self.figures, newer.figures.items(), SessionFigures.__add__)
        return _drop(self.deviations, most) + _drop(self.symbol_faults, most) + _drop(self.tallies, most)

    def update(self, newer: Findings) -> None:
        """Put what is newer in the place of what was known of the same things."""
        self.deviations.update(newer.deviations)
        self.dependences.update(newer.dependences)
        self.tallies.update(newer.tallies)
        self.symbol_faults.update(newer.symbol_faults)

    def __bool__(self) -> bool:
        return any((self.deviations, self.dependences, self.tallies, self.symbol_faults, self.figures))


def combine_symbol_faults(older: SymbolFault, newer: SymbolFault) -> SymbolFault:
    """Both, with the evidence of the later one."""
    latest = newer if newer.last_at >= older.last_at else older
    return SymbolFault(older.n + newer.n, latest.last_at, latest.evidence_id)


class FindingsLearner:
    """Turns answers and events into findings; keeps in RAM what it takes to see that two sources err alike."""

    def __init__(self) -> None:
        self._errors = SharedErrors()
        self._requests = 0

    def learn_answer(self, answer: QuoteAnswer) -> Findings:
        """What an answer's voices teach."""
        found = Findings()
        if answer.cached:
            return found
        _join(found.deviations, learn_prices(answer), combine_deviations)
        _join(found.dependences, self._errors.learn_answer(answer), combine_dependences)
        _join(found.tallies, learn_voices(answer), combine_tallies)
        at, confirmed = answer.judged_at.timestamp(), is_confirmed(answer)
        for voice in answer.explanation.voices:
            if fault := fault_of(voice, confirmed=confirmed):
                key = SymbolFaultKey(answer.symbol, voice.source, fault)
                found.symbol_faults[key] = SymbolFault(1, at, answer.evidence_id)
        return found

    def learn_event(self, event: Event) -> Findings:
        """What an event teaches; nothing for those that memory learns from elsewhere."""
        found = Findings()
        match event:
            case Compared():
                _join(found.deviations, learn_compared(event), combine_deviations)
                _join(found.dependences, self._errors.learn_compared(event), combine_dependences)
            case Fetched():
                _join(found.tallies, learn_failure(event), combine_tallies)
                found.figures[self._part(self._requests)] = figures_of(event)
            case Graded():
                found.figures[self._part(self._requests)] = figures_of(event)
                self._requests += 1
            case _:
                pass
        return found

    @staticmethod
    def _part(requests: int) -> str:
        return EARLY if requests < EARLY_REQUESTS else LATER


def _join(
    store: dict[KeyT, ValueT], newer: Iterable[tuple[KeyT, ValueT]], join: Callable[[ValueT, ValueT], ValueT]
) -> None:
    for key, value in newer:
        known = store.pop(key, None)
        store[key] = value if known is None else join(known, value)


def _drop(store: dict[KeyT, ValueT], most: int) -> int:
    dropped = 0
    while len(store) > most:
        del store[next(iter(store))]
        dropped += 1
    return dropped


def whole_sources(findings: Findings) -> Findings:
    """Without what is about single instruments: what a server keeps in RAM."""
    return Findings(_without_symbols(findings.deviations), dict(findings.dependences), dict(findings.tallies), {}, {})


def _without_symbols(deviations: Mapping[DeviationKey, Deviation]) -> dict[DeviationKey, Deviation]:
    return {key: value for key, value in deviations.items() if not key.scope.startswith("symbol:")}
