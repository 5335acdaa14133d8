"""Fakes that ship with the package: what a test of a program built on it needs.

`ManualClock` is time turned by hand: nothing waits, timeouts fire when the test says so.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from mdagent_mcp.domain.clock import Uptime
from mdagent_mcp.domain.prices import require_utc

_UP_FOR_S: Final = 86_400.0
_boots: Final = count(1)


class ManualClock:
    """A `Clock` that stands still until it is turned.

    Args:
        start: the first instant, UTC.
        settle_rounds: event-loop rounds given to waiting tasks before and after each turn, so that they reach their
            next wait.
    """

    def __init__(self, start: datetime, *, settle_rounds: int = 40) -> None:
        require_utc("start", start)
        self._now = start.astimezone(UTC)
        self._elapsed = 0.0
        self._rounds = settle_rounds
        self._boot = f"hand-turned {next(_boots)}"
        self._order = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> datetime:
        """The instant the hands show."""
        return self._now

    def monotonic(self) -> float:
        """Seconds turned so far."""
        return self._elapsed

    def uptime(self) -> Uptime:
        """Of a machine that had run for a day before; no two of these clocks are the same machine."""
        return Uptime(_UP_FOR_S + self._elapsed, self._boot)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been turned past `seconds` from now."""
        if seconds <= 0:
            await checkpoint()
            return
        event = anyio.Event()
        self._schedule(seconds, event.set)
        await event.wait()

    def limit(self, seconds: float) -> AbstractContextManager[object]:
        """Cancel the body once the clock has been turned past `seconds` from now."""
        return self._limit(seconds)

    async def advance(self, seconds: float) -> None:
        """Turn the clock forward, waking everything that falls due on the way, in order."""
        target = self._elapsed + seconds
        await self.settle()
        while self._due and self._due[0][0] <= target:
            due, _, wake = heapq.heappop(self._due)
            self._turn_to(max(due, self._elapsed))
            wake()
            await self.settle()
        self._turn_to(target)
        await self.settle()

    async def settle(self) -> None:
        """Let every task that can run do so, without time passing."""
        for _ in range(self._rounds):
            await checkpoint()

    def jump_to(self, instant: datetime) -> None:
        """Set the wall clock alone, as a changed system time would; nothing wakes."""
        require_utc("instant", instant)
        self._now = instant

    def _turn_to(self, elapsed: float) -> None:
        self._now += timedelta(seconds=elapsed - self._elapsed)
        self._elapsed = elapsed

    def _schedule(self, seconds: float, wake: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self._elapsed + seconds, next(self._order), wake))

    @contextmanager
    def _limit(self, seconds: float) -> Iterator[object]:
        with anyio.CancelScope() as scope:
            if seconds <= 0:
                scope.cancel()
            else:
                self._schedule(seconds, scope.cancel)
            yield scope
        if scope.cancelled_caught:
            raise TimeoutError
