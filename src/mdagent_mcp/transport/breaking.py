"""The circuit breakers of one source: for itself, for each endpoint, and for each instrument in trouble.

All that concern a call are asked before it. While a circuit is open nobody who waits for an answer is let through:
whether the source is well again is found out by probes in the background, or by a question that has nobody else left
to ask.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.resilience.circuit_breaker import (
    WEIGHTS,
    Breaker,
    Circuit,
    Level,
    Permit,
    Refusal,
    allow,
    contradict,
    report,
    retry_at,
    suspected,
    warned,
)
from mdagent_mcp.resilience.cusum import Detector, observe
from mdagent_mcp.resilience.latency import EMPTY, decay, quantile, record
from mdagent_mcp.transport.peers import Peers
from mdagent_mcp.transport.pipeline import AnswerT, Call, Priority, Proceed

REPEATED_WITHIN_S: Final = 60.0
REPEATED_SHARE: Final = 0.1
"""Weight against an endpoint of another failure of the same instrument within a minute: it may be the instrument."""
SYMBOLS_WATCHED: Final = 4096
SLOW_FACTOR: Final = 3.0
"""A call is slow that takes so many times the median, and longer than 99 of 100."""
SLOW_KNOWN_FROM: Final = 20.0
"""Calls after which it is known what is slow."""
SLOW_FOR_S: Final = 60.0
"""How long a source stays degraded after its calls became slow."""
_LATENCY_KEPT: Final = 0.995


@dataclass(frozen=True, slots=True)
class Cell:
    """What one breaker stands for.

    Attributes:
        endpoint: None for the source as a whole.
        symbol: empty for all instruments.
    """

    endpoint: Endpoint | None = None
    symbol: str = ""

    @property
    def level(self) -> Level:
        """On which level it stands."""
        if self.endpoint is None:
            return Level.SOURCE
        return Level.SYMBOL if self.symbol else Level.ENDPOINT

    def __str__(self) -> str:
        if self.endpoint is None:
            return "source"
        return f"{self.endpoint}:{self.symbol}" if self.symbol else str(self.endpoint)


WHOLE: Final = Cell()
"""The source as a whole."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A circuit that is not closed.

    Attributes:
        cell: what it stands for.
        because: the failure that opened it.
        retry_in_s: seconds until it is tried again; 0 while it is being tried.
    """

    cell: Cell
    because: str
    retry_in_s: float


class Breaking:
    """Rests a source, one of its endpoints or one instrument there that fails; tries it again with few calls.

    Args:
        source: source id.
        clock: time.
        rng: chance, for the jitter of breaks.
        peers: the other sources.
    """

    name = "breaker"

    def __init__(self, source: str, clock: Clock, rng: random.Random, peers: Peers | None = None) -> None:
        self._source = source
        self._clock = clock
        self._rng = rng
        self._peers = Peers() if peers is None else peers
        self._breakers: OrderedDict[Cell, Breaker] = OrderedDict()
        self._breakers[WHOLE] = Breaker(Level.SOURCE, clock.monotonic())
        self._because: dict[Cell, str] = {}
        self._failed_at: OrderedDict[Cell, float] = OrderedDict()
        self._latency = EMPTY
        self._slowness = Detector(failure_rate=0.02)
        self._slow_until = 0.0
        self._answered_at = float("-inf")

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed when all breakers allow it, and report to each what became of the call."""
        permits: dict[Cell, Permit] = {}
        for cell in self._cells(call):
            granted = self._allow(cell, call)
            if isinstance(granted, Refusal):
                self._report(call, permits, Failure(self._source, FailureKind.CANCELLED, ""))
                return self._refused(cell, granted)
            permits[cell] = granted
        outcome: Outcome[AnswerT] | None = None
        try:
            outcome = await proceed()
        finally:
            ended = Failure(self._source, FailureKind.CANCELLED, "") if outcome is None else outcome
            self._report(call, permits, ended)
        return outcome

    def is_own_network(self, kind: FailureKind | None) -> bool:
        """Whether a call that ended like this met our own network's outage and not the source's."""
        now = self._clock.monotonic()
        self._tell_peers(kind, now)
        return kind is FailureKind.NETWORK and self._peers.offline(now)

    def took(self, latency_s: float) -> None:
        """An answered call took so long; a source whose calls become slow is degraded, never rested."""
        now = self._clock.monotonic()
        known = self._latency.total >= SLOW_KNOWN_FROM
        usual, rare = quantile(self._latency, 0.5) or 0.0, quantile(self._latency, 0.99) or 0.0
        slow = known and latency_s > max(SLOW_FACTOR * usual, rare)
        self._slowness, alarm = observe(self._slowness, now, 1.0 if slow else 0.0)
        if alarm:
            self._slow_until = now + SLOW_FOR_S
            self._slowness = Detector(failure_rate=self._slowness.failure_rate, observed=self._slowness.observed)
        if not slow:
            self._latency = record(decay(self._latency, _LATENCY_KEPT), latency_s)

    def contradicted(self, endpoint: Endpoint, symbol: str) -> None:
        """The consensus found the source's price of an instrument wrong."""
        now = self._clock.monotonic()
        for cell in (WHOLE, Cell(endpoint), Cell(endpoint, symbol)):
            before = self._breakers.get(cell) or Breaker(cell.level, now)
            self._keep(cell, contradict(before, now, self._rng), "its prices were found wrong")

    def warn(self, endpoint: Endpoint | None, rest_s: float, told_ago_s: float, because: str) -> bool:
        """Another replica rests the source or an endpoint of it; whether the source is rested here for that.

        What answered us since then is not rested. An endpoint is only suspected.
        """
        now, cell = self._clock.monotonic(), Cell(endpoint)
        before = self._breakers.get(cell) or Breaker(cell.level, now)
        if self._answered_at > now - told_ago_s or before.circuit is not Circuit.CLOSED:
            return False
        after = warned(before, now, rest_s) if endpoint is None else suspected(before)
        self._keep(cell, after, because)
        return after.circuit is Circuit.OPEN

    def state(self) -> SourceState:
        """Open while the source itself is rested or tried, degraded while it is slow or an endpoint is rested."""
        if self._breakers[WHOLE].circuit is not Circuit.CLOSED:
            return SourceState.OPEN
        unwell = any(b.circuit is not Circuit.CLOSED for cell, b in self._breakers.items() if not cell.symbol)
        slow = self._clock.monotonic() < self._slow_until
        return SourceState.DEGRADED if unwell or slow else SourceState.LIVE

    def circuits(self) -> Mapping[str, str]:
        """The state of the circuit on every level that has one; of instruments only where it is not closed."""
        shown = ((c, b) for c, b in self._breakers.items() if not c.symbol or b.circuit is not Circuit.CLOSED)
        return {str(cell): breaker.circuit.value for cell, breaker in shown}

    def troubles(self) -> tuple[Trouble, ...]:
        """Every circuit that is not closed, the source's own first."""
        return tuple(sorted(self._troubles(), key=lambda t: (t.cell.level is not Level.SOURCE, bool(t.cell.symbol))))

    def rests(self, endpoint: Endpoint, symbol: str = "") -> bool:
        """Whether a circuit on any level keeps calls back from those who wait for an answer."""
        cells = (WHOLE, Cell(endpoint), Cell(endpoint, symbol)) if symbol else (WHOLE, Cell(endpoint))
        return any(self._circuit(cell) is not Circuit.CLOSED for cell in cells)

    def since_s(self) -> float:
        """Seconds since the source's own circuit last moved."""
        return self._clock.monotonic() - self._breakers[WHOLE].since

    def to_probe(self) -> tuple[Cell, ...]:
        """The circuits whose break is over and which nobody is trying."""
        now = self._clock.monotonic()
        return tuple(cell for cell, breaker in self._breakers.items() if _is_to_be_tried(breaker, now))

    def _troubles(self) -> Iterator[Trouble]:
        now = self._clock.monotonic()
        for cell, breaker in self._breakers.items():
            if breaker.circuit is not Circuit.CLOSED:
                instant = retry_at(breaker)
                wait = 0.0 if instant is None else max(0.0, instant - now)
                yield Trouble(cell, self._because.get(cell, ""), wait)

    def _cells(self, call: Call) -> Iterator[Cell]:
        yield WHOLE
        yield Cell(call.endpoint)
        if len(call.symbols) == 1:
            yield Cell(call.endpoint, call.symbols[0])

    def _allow(self, cell: Cell, call: Call) -> Permit | Refusal:
        now = self._clock.monotonic()
        breaker = self._breakers.get(cell) or Breaker(cell.level, now)
        if breaker.circuit is not Circuit.CLOSED and call.priority is not Priority.BACKGROUND and not call.last_resort:
            instant = retry_at(breaker)
            return Refusal(0.0 if instant is None else max(0.0, instant - now))
        breaker, granted = allow(breaker, now, early=call.last_resort)
        self._keep(cell, breaker)
        return granted

    def _report(self, call: Call, permits: Mapping[Cell, Permit], outcome: Outcome[AnswerT]) -> None:
        now = self._clock.monotonic()
        failure = outcome if isinstance(outcome, Failure) else None
        kind = None if failure is None else failure.kind
        self._tell_peers(kind, now)
        if kind is None:
            self._answered_at = now
        if kind is FailureKind.NETWORK and self._peers.offline(now):
            kind = FailureKind.CANCELLED  # nobody can be reached: that is our own network
        because = "" if failure is None else f"{failure.kind}: {failure.detail}"
        for cell, permit in permits.items():
            before = self._breakers.get(cell) or Breaker(cell.level, now)
            after = report(
                before,
                permit,
                kind,
                now,
                self._rng,
                retry_after_s=None if failure is None else failure.retry_after_s,
                share=self._share(cell, call, kind, now),
                learn=self._peers.may_call_usual(self._source, before.detector.failure_rate),
            )
            self._keep(cell, after, because)
        if permits:
            self._peers.usual_rate(self._source, self._breakers[WHOLE].detector.failure_rate)
            if kind is not None and WEIGHTS[kind].symbol > 0 and len(call.symbols) == 1:
                self._remember_failure(Cell(call.endpoint, call.symbols[0]), now)

    def _tell_peers(self, kind: FailureKind | None, now: float) -> None:
        if kind is FailureKind.NETWORK:
            self._peers.unreached(self._source, now)
        elif kind is None or WEIGHTS[kind].answered:
            self._peers.reached(self._source, now)

    def _share(self, cell: Cell, call: Call, kind: FailureKind | None, now: float) -> float:
        """The same instrument failing again says little more about the endpoint."""
        if kind is None or cell.symbol or len(call.symbols) != 1 or WEIGHTS[kind].symbol == 0:
            return 1.0
        before = self._failed_at.get(Cell(call.endpoint, call.symbols[0]))
        return REPEATED_SHARE if before is not None and now - before < REPEATED_WITHIN_S else 1.0

    def _remember_failure(self, cell: Cell, now: float) -> None:
        if now - self._failed_at.get(cell, -REPEATED_WITHIN_S) < REPEATED_WITHIN_S:
            return
        self._failed_at[cell] = now
        self._failed_at.move_to_end(cell)
        while len(self._failed_at) > SYMBOLS_WATCHED:
            self._failed_at.popitem(last=False)

    def _keep(self, cell: Cell, breaker: Breaker, because: str = "") -> None:
        """Keep a breaker; that of an instrument only while it has something to tell."""
        opened = breaker.circuit is Circuit.OPEN and self._circuit(cell) is not Circuit.OPEN
        if opened and because:
            self._because[cell] = because
        healthy = breaker.circuit is Circuit.CLOSED and breaker.detector.score == 0.0
        if cell.symbol and healthy:
            self._breakers.pop(cell, None)
            self._because.pop(cell, None)
            return
        self._breakers[cell] = breaker
        if cell.symbol:
            self._breakers.move_to_end(cell)
            self._forget_oldest()

    def _circuit(self, cell: Cell) -> Circuit:
        breaker = self._breakers.get(cell)
        return Circuit.CLOSED if breaker is None else breaker.circuit

    def _forget_oldest(self) -> None:
        if len(self._breakers) > SYMBOLS_WATCHED:
            oldest = next(cell for cell in self._breakers if cell.symbol)
            del self._breakers[oldest]
            self._because.pop(oldest, None)

    def _refused(self, cell: Cell, refusal: Refusal) -> Failure:
        what = {Level.SOURCE: "the source", Level.ENDPOINT: f"its {cell.endpoint} endpoint"}.get(
            cell.level, f"its {cell.endpoint} of {cell.symbol}"
        )
        detail = f"{what} failed repeatedly and is being rested"
        return Failure(self._source, FailureKind.CIRCUIT_OPEN, detail, round(refusal.retry_after_s, 1))


def _is_to_be_tried(breaker: Breaker, now: float) -> bool:
    if breaker.circuit is Circuit.OPEN:
        return now >= breaker.rest_until
    if breaker.circuit is Circuit.HALF_OPEN:
        return sum(probe.expires_at > now for probe in breaker.probes) <= breaker.recovered
    return False
