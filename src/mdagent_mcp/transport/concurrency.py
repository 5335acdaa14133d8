"""The outermost strategy of a source: as many calls at once as it takes without becoming slow, the others in order.

A person's quote goes before a series before what nobody waits for, and within one priority the first call about each
symbol before the second about any. Who would wait beyond the end of the question, or find too many waiting already, is
refused at once with the time at which a place is likely to be free.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import Final

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.resilience.concurrency import (
    ConcurrencyOptions,
    Signal,
    Usual,
    enter,
    hear,
    leave,
    new_limit,
    observe,
    regained,
    turn_in_s,
)
from mdagent_mcp.transport.pipeline import AnswerT, Call, Proceed

MOST_WAITING: Final = 1024
"""Calls that may wait for a place at one source: two questions of the largest size that are asked symbol by symbol."""
_DROPS: Final[Mapping[FailureKind, Signal | None]] = MappingProxyType(
    {
        FailureKind.TIMEOUT: Signal.DROPPED,
        FailureKind.THROTTLED: Signal.THROTTLED,
        FailureKind.QUOTA_EXHAUSTED: None,
        FailureKind.NETWORK: None,
        FailureKind.SOURCE_ERROR: None,
        FailureKind.CANCELLED: None,
    }
)
"""What a failure says of how much the source can take; None for nothing. Every other kind is an answer."""


@dataclass(order=True)
class _Waiting:
    """A call without a place."""

    rank: tuple[int, int, int]
    symbols: tuple[str, ...] = field(compare=False)
    turn: anyio.Event = field(default_factory=anyio.Event, compare=False)


class Concurrency:
    """Limits the calls that a source has at once, by what it was seen to take.

    Args:
        source: source id.
        clock: time.
        options: the bounds of the limit.
    """

    name = "concurrency"

    def __init__(self, source: str, clock: Clock, options: ConcurrencyOptions) -> None:
        self._source = source
        self._clock = clock
        self._options = options
        self._state = new_limit(options, clock.monotonic())
        self._usual: dict[Endpoint, Usual] = {}
        self._queue: list[_Waiting] = []
        self._about: Counter[tuple[str, ...]] = Counter()
        self._arrivals = count()

    @property
    def allowed(self) -> int:
        """Calls that the source may have at once now."""
        return regained(self._state, self._options, self._clock.monotonic()).allowed

    @property
    def most(self) -> int:
        """Calls that it may have at once when all is well."""
        return self._options.most

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed when there is a place, or say when there is likely to be one."""
        refusal = await self._refusal(call)
        if refusal is not None:
            return refusal
        try:
            return self._late() if self._clock.monotonic() >= call.ends_at else await proceed()
        finally:
            self._state = leave(self._state)
            self._admit_waiting()

    def heard(self, endpoint: Endpoint, latency_s: float, kind: FailureKind | None) -> None:
        """An exchange took so long and ended like this; None for an answer.

        A series takes as long as it is: how busy the source is only quotes tell.
        """
        signal = Signal.ANSWERED if kind is None else _DROPS.get(kind, Signal.ANSWERED)
        if signal is Signal.ANSWERED:
            self._usual[endpoint], slow = observe(self._usual.get(endpoint, Usual()), latency_s)
            signal = Signal.SLOW if slow and endpoint is not Endpoint.HISTORY else signal
        if signal is not None:
            self._state = hear(self._state, self._options, self._clock.monotonic(), signal)

    async def _refusal(self, call: Call) -> Failure | None:
        """None once the call has a place; else why it gets none."""
        self._admit_waiting()
        if not self._queue and self._enters():
            return None
        waiting = _Waiting((call.priority, self._about[call.symbols], next(self._arrivals)), call.symbols)
        wait = turn_in_s(self._state, self._usual.get(call.endpoint, Usual()), bisect_left(self._queue, waiting))
        left = call.ends_at - self._clock.monotonic()
        if left <= 0:
            return self._late()
        if len(self._queue) >= MOST_WAITING or wait >= left:
            return self._refused(wait)
        return None if await self._has_waited(waiting, call) else self._late()

    async def _has_waited(self, waiting: _Waiting, call: Call) -> bool:
        """Wait for a place until the question ends; whether there was one."""
        insort(self._queue, waiting)
        self._about[waiting.symbols] += 1
        entered = False
        try:
            with self._clock.limit(call.ends_at - self._clock.monotonic()):
                await waiting.turn.wait()
            entered = True
        except TimeoutError:
            entered = False
        finally:
            if not entered:
                self._give_back(waiting)
        return entered

    def _give_back(self, waiting: _Waiting) -> None:
        """Leave the queue, or the place that was given in the very moment of leaving."""
        if waiting.turn.is_set():
            self._state = leave(self._state)
            self._admit_waiting()
        else:
            self._leave_queue(self._queue.index(waiting))

    def _admit_waiting(self) -> None:
        while self._queue and self._enters():
            self._leave_queue(0).turn.set()

    def _enters(self) -> bool:
        self._state, entered = enter(self._state, self._options, self._clock.monotonic())
        return entered

    def _leave_queue(self, place: int) -> _Waiting:
        waiting = self._queue.pop(place)
        self._about[waiting.symbols] -= 1
        if not self._about[waiting.symbols]:
            del self._about[waiting.symbols]
        return waiting

    def _late(self) -> Failure:
        """A question that ended before the source could be asked blames nobody."""
        return Failure(self._source, FailureKind.TIMEOUT, "no time was left to ask")

    def _refused(self, wait_s: float) -> Failure:
        detail = f"{self._state.in_flight} calls of ours are with it and {len(self._queue)} wait already"
        return Failure(self._source, FailureKind.THROTTLED, detail, round(wait_s, 3))
