"""The thin shell around routing: reads what was learned and what is spent, asks the pure policies, keeps the reasons.

The rule of this module: nothing is decided here. Chances come from `routing.expectation`, sets from `routing.waves`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from mdagent_mcp.consensus.context import GradingThresholds
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.plans import AskingPlan
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.status import WeightParts
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.ports import AskedSource
from mdagent_mcp.memory.learning import (
    RECENT_HALF_LIFE_OUTCOMES,
    Cell,
    CellKey,
    as_of,
    doubted,
    family,
    share_left,
)
from mdagent_mcp.memory.store import Memory
from mdagent_mcp.resilience.latency import EMPTY
from mdagent_mcp.routing.doubt import TESTED_AFTER, Standing, compared, doubt_spread
from mdagent_mcp.routing.expectation import (
    NOTHING,
    QUICK_S,
    Evidence,
    Experience,
    chance_right,
    share_complete,
    share_fresh,
    share_of_usual,
    share_quick,
    usual_latency_s,
)
from mdagent_mcp.routing.planning import Candidate, utility
from mdagent_mcp.routing.waves import Need, Wave, choose_wave

PLANS_KEPT: Final = 50
LOAD_MEMORY_S: Final = 60.0
"""Time constant over which calls sent to a source count as its load."""
_RECKONED_S: Final = 60.0
"""How long what was reckoned from unchanged knowledge is good: it fades by the day, not by the second."""
_EARLIER_FOR: Final = 6 * RECENT_HALF_LIFE_OUTCOMES
"""Outcomes after which hardly anything is left of what was known before them."""
_RECKONED_KEPT: Final = 1_000
_BELIEVED: Final = 0.5
"""Belief in memory of a source from which on its exceptions are believed too."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a source is expected to do; the attributes are those of `routing.planning.Candidate`."""

    trust: float
    fresh: float
    current: float
    complete: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class _Reckoned:
    """What was reckoned of a source, from which knowledge, and when."""

    cells: tuple[Cell | None, ...]
    belief: float
    at: float
    expected: Expected


class Heard(NamedTuple):
    """What became of asking a source: whether it was right, how late its price was, whether it stated all there is.

    And how long the call took. None where that is not known.
    """

    right: bool
    delay_s: float | None = None
    complete: bool | None = None
    took_s: float | None = None


class AskedFor(NamedTuple):
    """What a question asks for: which instrument, by which call, with which grade (None for the usual one)."""

    instrument: Instrument
    endpoint: Endpoint
    wanted: Grade | None


@dataclass(frozen=True, slots=True)
class _Choice:
    at: datetime
    about: AskedFor
    wave: Wave
    live: bool
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Routed:
    """What routing would do with a source now.

    Attributes:
        share: of first calls; 0 for one that cannot be asked.
        parts: what that comes from; None for one that cannot be asked.
    """

    share: float = 0.0
    parts: WeightParts | None = None


class Router:
    """Says whom to ask, and remembers why.

    Args:
        clock: time.
        memory: what was learned.
        thresholds: of grading.
        caution: by how much a source is trusted less about an instrument now because of a recurring fault.
    """

    def __init__(
        self,
        clock: Clock,
        memory: Memory,
        thresholds: GradingThresholds,
        caution: Callable[[AskedSource, Instrument], float],
    ) -> None:
        self._clock = clock
        self._caution = caution
        self._memory = memory
        self._thresholds = thresholds
        self._loads: dict[str, tuple[float, float]] = {}
        self._choices: deque[_Choice] = deque(maxlen=PLANS_KEPT)
        self._earlier: dict[CellKey, Cell | None] = {}
        self._standings: dict[str, Standing] = {}
        self._reckoned: dict[tuple[CellKey, float], _Reckoned] = {}

    def candidate(
        self, source: AskedSource, instrument: Instrument, endpoint: Endpoint, wanted: Grade | None = None
    ) -> Candidate:
        """A source as routing sees it for one instrument now."""
        expected = self.expected(source, instrument, endpoint, self.limit_s(wanted))
        return Candidate(
            source=source.vendor.id,
            upstream_group=source.group_of(instrument),
            trust=expected.trust * (1.0 - self._caution(source, instrument)),
            cost_per_call=source.cost_per_call,
            declared_delay_s=source.declared_delay_s,
            wait_s=source.wait_s(),
            fresh=expected.fresh,
            current=expected.current,
            complete=expected.complete,
            latency_s=expected.latency_s,
            scarcity=source.scarcity(),
            load=self._load(source.vendor.id),
        )

    def wave(self, about: AskedFor, candidates: Iterable[Candidate], need: Need, most: int) -> tuple[str, ...]:
        """Whom to ask at once about an instrument; the reasons are kept."""
        found = tuple(candidates)
        wave = choose_wave(found, need, max(1, most))
        if wave.asked:
            self._choices.append(_Choice(self._clock.now(), about, wave, need.live, found))
        return wave.asked

    def sent(self, sources: Iterable[str]) -> None:
        """Count calls as sent."""
        now = self._clock.monotonic()
        for source in sources:
            self._loads[source] = (self._load(source) + 1.0, now)

    def plans(self) -> tuple[AskingPlan, ...]:
        """The last choices, the latest first."""
        return tuple(_plan(choice) for choice in reversed(self._choices))

    def limit_s(self, wanted: Grade | None) -> float:
        """Greatest delay that the wanted grade allows; who asks for none in particular hopes for an A."""
        lines = self._thresholds
        limits = {Grade.B: lines.low_delay_s, Grade.C: lines.acceptable_delay_s, Grade.D: lines.stale_s}
        return lines.real_time_s if wanted is None else limits.get(wanted, lines.real_time_s)

    def _load(self, source: str) -> float:
        count, at = self._loads.get(source, (0.0, 0.0))
        return round(count * math.exp((at - self._clock.monotonic()) / LOAD_MEMORY_S), 1) if count else 0.0

    def expected(self, source: AskedSource, instrument: Instrument, endpoint: Endpoint, limit_s: float) -> Expected:
        """What was learned to expect of a source, its price being at most `limit_s` behind for a fresh one."""
        name, kind = source.vendor.id, family(endpoint)
        *broad, of_symbol = _keys(name, kind, instrument)
        belief = self._standings.get(name, Standing()).belief
        of_class = self._expected_of_class(source, tuple(broad), belief, limit_s)
        own = self._memory.cell(of_symbol) if belief > _BELIEVED else None
        if own is None:
            return of_class
        now = self._clock.now().timestamp()
        share = share_of_usual(_answers(own, now), _answers(self._memory.cell(broad[1]), now))
        return of_class if share == 1.0 else replace(of_class, trust=of_class.trust * share)

    def _expected_of_class(
        self, source: AskedSource, keys: tuple[CellKey, ...], belief: float, limit_s: float
    ) -> Expected:
        """The same of all instruments of a class, which is reckoned anew where knowledge changed."""
        cells = tuple(self._memory.cell(each) for each in keys)
        key = (keys[1], limit_s)
        now = self._clock.now().timestamp()
        known = self._reckoned.get(key)
        unchanged = (
            known is not None
            and known.belief == belief
            and all(a is b for a, b in zip(known.cells, cells, strict=True))
        )
        if known is not None and unchanged and 0.0 <= now - known.at < _RECKONED_S:
            return known.expected
        experience = _experience(source.vendor.weight, self._believed(keys, cells, belief), now)
        expected = Expected(
            trust=chance_right(experience),
            fresh=share_fresh(experience, limit_s, source.declared_delay_s),
            current=share_fresh(experience, self._thresholds.corroboration_age_s, source.declared_delay_s),
            complete=share_complete(experience),
            latency_s=usual_latency_s(experience),
        )
        if len(self._reckoned) >= _RECKONED_KEPT:
            self._reckoned.clear()
        self._reckoned[key] = _Reckoned(cells, belief, now, expected)
        return expected

    def heard(self, source: AskedSource, instrument: Instrument, endpoint: Endpoint, outcome: Heard) -> None:
        """Compare what became of a call with what memory had said of the source."""
        name = source.vendor.id
        whole, of_class, _ = _keys(name, family(endpoint), instrument)
        earlier, now_known = self._earlier.get(of_class), self._memory.cell(of_class)
        if earlier is None or now_known is None:
            return
        if now_known.outcomes - earlier.outcomes > _EARLIER_FOR:
            # What is known by now has taken the place of what was known then, and is tested from here on. It stands on
            # outcomes of this source: that others are no longer what they were says nothing against it.
            self._earlier[whole], self._earlier[of_class] = self._memory.cell(whole), now_known
            self._standings[name] = Standing(outcomes=TESTED_AFTER)
            return
        then = _experience(source.vendor.weight, (self._earlier.get(whole), earlier), earlier.updated_at)
        standing = self._standings.get(name, Standing())
        self._standings[name] = self._compared(standing, outcome, then, source.declared_delay_s)
        self._standings = doubt_spread(self._standings, {key.source for key in self._earlier})

    @property
    def in_doubt(self) -> frozenset[str]:
        """Sources whose latest outcomes speak against what memory says of them, and have not decided yet."""
        return frozenset([name for name, standing in self._standings.items() if standing.is_in_doubt])

    def _compared(self, standing: Standing, heard: Heard, then: Experience, declared_s: float) -> Standing:
        """The standing after what was heard: that it was right, how late it was, whether anything was missing."""
        unknown, lines = Experience(then.trust), self._thresholds
        facets = [(heard.right, chance_right(then), chance_right(unknown))]
        if heard.delay_s is not None:
            facets += [
                (
                    heard.delay_s <= limit_s,
                    share_fresh(then, limit_s, declared_s),
                    share_fresh(unknown, limit_s, declared_s),
                )
                for limit_s in (lines.real_time_s, lines.corroboration_age_s)
            ]
        if heard.complete is not None:
            facets.append((heard.complete, share_complete(then), share_complete(unknown)))
        if heard.took_s is not None:
            facets.append((heard.took_s <= QUICK_S, share_quick(then), share_quick(unknown)))
        return compared(standing, facets)

    def _believed(self, keys: Sequence[CellKey], cells: Sequence[Cell | None], belief: float) -> list[Cell | None]:
        """Cells with what they held at first counting only as far as memory of the source is believed."""
        return [
            None if cell is None else doubted(cell, self._earlier.setdefault(key, cell), belief)
            for key, cell in zip(keys, cells, strict=True)
        ]


def _keys(name: str, kind: str, instrument: Instrument) -> tuple[CellKey, CellKey, CellKey]:
    """The source as a whole, the instrument's class, and the instrument itself."""
    of_class = CellKey(name, kind, f"asset:{instrument.asset_class.value}")
    return CellKey(name), of_class, CellKey(name, kind, f"symbol:{instrument.symbol}")


def weight_parts(candidate: Candidate, *, live: bool) -> WeightParts:
    """What a source's weight is made from."""
    return WeightParts(
        source=candidate.source,
        upstream_group=candidate.upstream_group,
        chance_right=candidate.trust,
        current=candidate.current,
        complete=candidate.complete,
        fresh=candidate.fresh,
        latency_s=candidate.latency_s,
        cost_per_call=candidate.cost_per_call,
        scarcity=candidate.scarcity,
        price=candidate.price,
        wait_s=candidate.wait_s,
        load=candidate.load,
        utility=utility(candidate, live=live),
    )


def _experience(trust: float, cells: Sequence[Cell | None], now: float) -> Experience:
    whole, of_class = (None if cell is None else as_of(cell, now) for cell in cells)
    return Experience(
        trust=trust,
        source=_recent(whole),
        asset_class=_recent(of_class),
        complete=NOTHING if of_class is None else Evidence(of_class.recent_full, of_class.recent_bare),
        delay=EMPTY if of_class is None else of_class.delay,
        seconds=0.0 if of_class is None else of_class.recent_s,
        calls=0.0 if of_class is None else of_class.recent_calls,
        latency=EMPTY if of_class is None else of_class.latency,
    )


def _recent(cell: Cell | None) -> Evidence:
    return NOTHING if cell is None else Evidence(cell.recent_right, cell.recent_wrong)


def _answers(cell: Cell | None, now: float) -> Evidence:
    """Answers over the long run, right ones and contradicted ones; calls that failed say nothing of an instrument."""
    if cell is None:
        return NOTHING
    left = share_left(cell, now)
    return Evidence(max(0.0, cell.right) * left, max(0.0, cell.contradicted) * left)


def _plan(choice: _Choice) -> AskingPlan:
    need = choice.wave.need
    return AskingPlan(
        at=choice.at,
        symbol=choice.about.instrument.symbol,
        endpoint=choice.about.endpoint,
        wanted=choice.about.wanted,
        live=choice.live,
        voices=need.voices,
        needs_fresh=need.fresh,
        needs_complete=need.complete,
        asked=choice.wave.sources,
        spares=choice.wave.spares,
        reserved=choice.wave.reserved,
        chance=choice.wave.chance,
        expected_cost=choice.wave.cost,
        candidates=tuple(weight_parts(c, live=choice.live) for c in choice.candidates),
    )
