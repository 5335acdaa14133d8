"""Whom a question for current prices asks: who could be asked, what the answer lacks, who is explored afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from mdagent_mcp.domain.failures import TRAITS, FailureKind
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.quality import GRADE_FLOORS, Dimension, Grade
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.inquiry import Inquiry
from mdagent_mcp.engine.parts import EngineParts, allowed, is_live, not_asked
from mdagent_mcp.engine.router import AskedFor, Heard
from mdagent_mcp.memory.learning import QUOTE, CellKey
from mdagent_mcp.routing.planning import (
    END_OF_DAY_S,
    LEAST_PRICE,
    Candidate,
    asking_order,
    could_raise_confirmed,
    worth_asking,
)
from mdagent_mcp.routing.waves import RESERVE_PRICE, Need

EXPLORATION: Final = 0.03
"""Share of answers after which a source that was not asked is asked as well, for nobody but the memory."""
DOUBT_EXPLORATION: Final = 0.3
"""The same share while a source was just found to be other than remembered: a few more outcomes settle it."""
DAILY_EXPLORATION: Final = 0.3
"""The same while a cheap source was not heard of today: sources change from one day to another."""
DAILY_S: Final = 12 * 3600.0
DAILY_PRICE: Final = 0.05
"""What a call may cost that is made once a day, or because memory is in doubt, for this alone."""
EXPLORED_PRICE: Final = 0.25
"""What such a call may cost: three in a hundred of them are worth knowing of a source that has become good."""
VOICES: Final[Mapping[Grade, int]] = {Grade.A: 2, Grade.B: 2, Grade.C: 1, Grade.D: 1, Grade.F: 1}
"""Independent groups that have to say the same; one is enough for a B where the symbol is known."""


_COMPLETE: Final = next(floor for floor, grade in GRADE_FLOORS if grade is Grade.A)


class QuoteRouting:
    """Chooses sources for inquiries."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._explored: dict[str, float] = {}

    def order(self, inquiry: Inquiry) -> tuple[str, ...]:
        """Everybody who is left to ask, best first; why others are not is noted among the failures."""
        live = is_live(inquiry.instrument, self._parts.clock.now())
        useful = self._useful(inquiry, live=live)
        groups = {self._parts.sources[name].group_of(inquiry.instrument) for name in inquiry.asked}
        return asking_order(useful, live=live, asked_groups=groups) or self._last_resort(inquiry)

    def wave(self, inquiry: Inquiry, most: int) -> tuple[str, ...]:
        """Whom to ask at once now, at most so many; nobody only where nobody is left."""
        live = is_live(inquiry.instrument, self._parts.clock.now())
        useful = self._useful(inquiry, live=live)
        if not useful:
            return self._last_resort(inquiry)
        asked_for = AskedFor(inquiry.instrument, Endpoint.QUOTE, inquiry.key.min_grade)
        wave = self._parts.router.wave(asked_for, useful, self._need(inquiry, live=live), most)
        return _slowest_first(wave, useful)

    def explore(self, inquiry: Inquiry) -> str | None:
        """Now and then, a cheap source that was not asked: what it says late, or differently, is learned from.

        First one that was just found to be other than remembered, then one that nobody heard of today, then any; of
        several the one not seen longest for what it costs.
        """
        if inquiry.answer is None or inquiry.key.sources:
            return None
        doubted, chance = self._parts.router.in_doubt, self._parts.rng.random()
        if chance >= (DOUBT_EXPLORATION if doubted else DAILY_EXPLORATION):
            return None
        unseen = {c: self._unseen_s(c, inquiry.instrument) for c in self._explorable(inquiry)}
        eligible = [c for c in unseen if c.source in doubted and c.price <= DAILY_PRICE]
        if not eligible and chance < DAILY_EXPLORATION:
            eligible = [c for c in unseen if c.price <= DAILY_PRICE and unseen[c] >= DAILY_S]
        if not eligible and chance < EXPLORATION:
            eligible = list(unseen)
        longest = min(eligible, key=lambda c: (-unseen[c] / (c.price + LEAST_PRICE), c.source), default=None)
        if longest is None:
            return None
        self._explored[longest.source] = self._parts.clock.now().timestamp()
        return longest.source

    def _explorable(self, inquiry: Inquiry) -> list[Candidate]:
        """Sources that were not asked and whose calls may be spent on learning alone."""
        live = is_live(inquiry.instrument, self._parts.clock.now())
        return [
            candidate
            for candidate in self._candidates(inquiry)
            if candidate.price <= EXPLORED_PRICE
            and candidate.scarcity == 0
            and candidate.wait_s == 0
            and not self._parts.sources[candidate.source].rests_quote(inquiry.instrument)
            and not (live and candidate.declared_delay_s >= END_OF_DAY_S)
        ]

    def heard(self, inquiry: Inquiry, source: str, outcome: Heard) -> None:
        """Compare what a source said with what memory had said of it, and likewise those that failed meanwhile."""
        self._compare(inquiry, source, outcome)
        failed = [name for name in inquiry.asked if name in inquiry.failures]
        for name in [name for name in failed if name not in inquiry.told and name not in inquiry.pending]:
            kind = inquiry.failures[name].kind
            if TRAITS[kind].counts_against_reliability and kind is not FailureKind.NETWORK:
                inquiry.told.add(name)
                self._compare(inquiry, name, Heard(right=False))

    def _compare(self, inquiry: Inquiry, source: str, outcome: Heard) -> None:
        self._parts.router.heard(self._parts.sources[source], inquiry.instrument, Endpoint.QUOTE, outcome)

    def _unseen_s(self, candidate: Candidate, instrument: Instrument) -> float:
        """How long a source was neither heard of about this kind of instrument nor explored, seconds."""
        cell = self._parts.memory.cell(CellKey(candidate.source, QUOTE, f"asset:{instrument.asset_class.value}"))
        seen_at = max(0.0 if cell is None else cell.updated_at, self._explored.get(candidate.source, 0.0))
        return self._parts.clock.now().timestamp() - seen_at

    def _candidates(self, inquiry: Inquiry) -> list[Candidate]:
        """Who could be asked next; why the others are not is noted among the failures."""
        parts, instrument = self._parts, inquiry.instrument
        named = bool(inquiry.key.sources)
        candidates = []
        for name, source in allowed(parts.sources, inquiry.key.sources).items():
            if name in inquiry.asked:
                continue
            failure = not_asked(source, source.refuses_quote(instrument), named=named, instrument=instrument)
            if failure is not None:
                inquiry.failures.setdefault(name, failure)
            elif source.is_askable:
                candidates.append(parts.router.candidate(source, instrument, Endpoint.QUOTE, inquiry.key.min_grade))
        return candidates

    def _last_resort(self, inquiry: Inquiry) -> tuple[str, ...]:
        """One source that is being rested, where nothing is in hand and nobody else could be asked."""
        if inquiry.quotes or inquiry.pending or self._candidates(inquiry):
            return ()
        return self._parts.last_resort(inquiry)

    def _useful(self, inquiry: Inquiry, *, live: bool) -> tuple[Candidate, ...]:
        """Those that may still improve the answer, at a price that this is worth."""
        found = tuple(self._candidates(inquiry))
        if inquiry.good_enough:
            return ()
        if not inquiry.key.sources:
            answered = inquiry.judgement is not None or bool(inquiry.pending)
            found = worth_asking(found, live=live, answered=answered)
        if inquiry.key.min_grade is None and inquiry.presentable:
            found = tuple(c for c in found if c.price <= RESERVE_PRICE)
        if inquiry.key.min_grade is None and inquiry.confirmed:
            found = tuple(c for c in found if could_raise_confirmed(c, live=live))
        return found

    def _need(self, inquiry: Inquiry, *, live: bool) -> Need:
        """What the answer still lacks; another voice where nothing else is known to help."""
        wanted, agreeing = inquiry.key.min_grade, inquiry.agreeing
        voices = VOICES[inquiry.wanted]
        if wanted is Grade.B and self._is_known(inquiry.instrument):
            voices = 1
        delay = None if inquiry.judgement is None else inquiry.judgement.delay_s
        fresh = live and (delay is None or delay > self._parts.router.limit_s(wanted))
        complete = live and inquiry.wanted is Grade.A and _is_incomplete(inquiry)
        lacking = max(0, voices - len(agreeing))
        if lacking == 0 and not fresh and not complete:
            lacking = 1
        return Need(lacking, fresh, complete, agreeing, live, urgent=wanted is not None)

    def _is_known(self, instrument: Instrument) -> bool:
        """Whether memory has seen enough of an instrument to vouch for a single source."""
        known = self._parts.memory.symbol_knowledge(instrument.symbol)
        return known is not None and known.observations >= self._parts.thresholds.known_observations


def _slowest_first(wave: Iterable[str], candidates: Iterable[Candidate]) -> tuple[str, ...]:
    """Sources in the order of sending: an answer waits for the slowest, so its request should not wait for others."""
    usual_s = {candidate.source: candidate.latency_s for candidate in candidates}
    return tuple(sorted(wave, key=lambda source: -usual_s[source]))


def _is_incomplete(inquiry: Inquiry) -> bool:
    """Whether something beside the price keeps the answer from an A, as far as can be told yet."""
    if inquiry.judgement is None:
        return True
    return inquiry.judgement.explanation.assessment.dimensions[Dimension.COMPLETENESS] < _COMPLETE
