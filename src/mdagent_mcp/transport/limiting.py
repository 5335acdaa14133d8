"""The limiter of a source: keeps its budget, and decides in which order calls wait for it.

Calls that must wait stand in one queue: a person's quote before a series before what nobody waits for, and within one
priority the first call about each symbol before the second about any. The queue is bounded, and a call whose turn
would come after its deadline, or later than another source would have answered, is refused at once with the time at
which it could go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.quota import Admission, QuotaUsage
from mdagent_mcp.transport.budgets import Budget
from mdagent_mcp.transport.pipeline import AnswerT, Call, Proceed

LONGEST_QUEUE_S: Final = 1.0
"""A call that its own limiter would hold back longer is refused at once; another source is the better answer."""
MOST_WAITING: Final = 64
"""Calls that may wait for one source at a time."""
_SCARCE_FROM_S: Final = 3600.0
"""A quota of at least this window is a stock that is used up, not a pace that is exceeded."""


@dataclass(eq=False)
class _Waiting:
    """A call in the queue."""

    rank: tuple[int, int, int]
    symbols: tuple[str, ...]
    cost: int
    turn: anyio.Event = field(default_factory=anyio.Event)


class Limiting:
    """Keeps the vendor's quotas exactly; lets calls wait a moment in fair order, refuses when the wait would be long.

    Args:
        source: source id.
        clock: time.
        budget: what may be spent.
    """

    name = "limiter"

    def __init__(self, source: str, clock: Clock, budget: Budget) -> None:
        self._source = source
        self._clock = clock
        self.budget = budget
        self._queue: list[_Waiting] = []
        self._arrivals = count()

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed within the quotas, or say how long it would take."""
        refusal = await self._refusal(call)
        if refusal is not None:
            return refusal
        outcome = await proceed()
        if isinstance(outcome, Failure):
            await self._heed(outcome)
        return outcome

    async def correct(self, left: Mapping[str, int]) -> None:
        """Heed what the vendor says is left of its quotas, by their names."""
        for name, remaining in left.items():
            await self.budget.correct(name, remaining)

    async def charge(self) -> None:
        """Count a request that a call brings along, which is sent whatever the quotas say."""
        await self.budget.charge(1)

    def wait_s(self, cost: int = 1) -> float:
        """How long a call would have to wait now, seconds; those that wait already included."""
        wait = self._wait_behind(sum(w.cost for w in self._queue), cost)
        return 0.0 if wait is None else wait

    def usage(self) -> tuple[QuotaUsage, ...]:
        """How much of each quota is spent."""
        return self.budget.usage()

    def resting(self) -> tuple[FailureKind, float] | None:
        """Why and for how many more seconds the vendor wants us to rest; None when it does not."""
        return self.budget.resting()

    async def _refusal(self, call: Call) -> Failure | None:
        """None once the call has been charged; else why it is not sent."""
        rank = (call.priority, self._waiting_about(call.symbols), next(self._arrivals))
        waiting = _Waiting(rank, call.symbols, call.cost)
        if not self._queue:
            admission = await self.budget.admit(call.cost)
            if admission.allowed:
                return None
        else:
            admission = Admission(allowed=False, wait_s=self._wait_behind(self._cost_before(waiting), call.cost))
        if len(self._queue) >= MOST_WAITING or not self._worth_waiting(call, admission.wait_s):
            return self._refused(admission)
        return await self._queued(call, waiting)

    async def _queued(self, call: Call, waiting: _Waiting) -> Failure | None:
        self._queue.append(waiting)
        self._queue.sort(key=lambda w: w.rank)
        try:
            while True:
                if self._queue[0] is not waiting:
                    await self._until_turn(waiting, call)
                    if self._clock.monotonic() >= call.ends_at:
                        return self._refused(self.budget.peek(call.cost))
                    continue
                admission = await self.budget.admit(call.cost)
                if admission.allowed:
                    return None
                if not self._worth_waiting(call, admission.wait_s):
                    return self._refused(admission)
                await self._clock.sleep(admission.wait_s or 0.0)
        finally:
            self._queue.remove(waiting)
            if self._queue:
                self._queue[0].turn.set()

    async def _until_turn(self, waiting: _Waiting, call: Call) -> None:
        waiting.turn = anyio.Event()
        try:
            with self._clock.limit(max(0.0, call.ends_at - self._clock.monotonic())):
                await waiting.turn.wait()
        except TimeoutError:
            return

    def _waiting_about(self, symbols: tuple[str, ...]) -> int:
        """How many calls about the same symbols wait already."""
        return sum(w.symbols == symbols for w in self._queue)

    def _cost_before(self, waiting: _Waiting) -> int:
        return sum(w.cost for w in self._queue if w.rank < waiting.rank)

    def _wait_behind(self, ahead: int, cost: int) -> float | None:
        """How long a call would wait behind others; None when it never could go."""
        admission = self.budget.peek(ahead + cost)
        if admission.allowed or admission.wait_s is not None or ahead == 0:
            return admission.wait_s
        # The queue ahead costs more than a whole quota: so many of that quota's windows have to pass first.
        alone = self.budget.peek(cost).wait_s
        if alone is None or admission.quota is None:
            return None
        return alone + admission.quota.window_s * ((ahead + cost - 1) // admission.quota.limit)

    def _worth_waiting(self, call: Call, wait_s: float | None) -> bool:
        return wait_s is not None and wait_s <= LONGEST_QUEUE_S and self._clock.monotonic() + wait_s < call.ends_at

    def _refused(self, admission: Admission) -> Failure:
        resting = self.resting()
        if admission.quota is None and resting is not None:
            kind, left = resting
            return Failure(self._source, kind, "resting because the vendor asked for it", left)
        if admission.quota is None:
            return Failure(self._source, FailureKind.THROTTLED, "too many calls wait for it already", admission.wait_s)
        scarce = admission.quota.window_s >= _SCARCE_FROM_S
        kind = FailureKind.QUOTA_EXHAUSTED if scarce else FailureKind.THROTTLED
        return Failure(self._source, kind, _reached(admission.quota), admission.wait_s)

    async def _heed(self, failure: Failure) -> None:
        """A vendor that refuses to serve us is left alone for as long as it says."""
        if failure.kind in {FailureKind.THROTTLED, FailureKind.QUOTA_EXHAUSTED} and failure.retry_after_s:
            await self.budget.rest(failure.retry_after_s, failure.kind)


def _reached(quota: Quota) -> str:
    return f"our own limit of {quota.limit} calls per {quota.name} is reached"
