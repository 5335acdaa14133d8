"""Time for chaos runs: a hand-turned clock that jumps over idle time, and a view of it that is set wrong.

The sandbox and the network live by the true clock. The server lives by a `SkewedClock`, whose wall time can be set
forwards and back while its monotonic time goes on, as a machine's does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final
from unittest import mock

import aiosqlite
import anyio.to_thread
from anyio.lowlevel import checkpoint

from mdagent_mcp.domain.clock import Uptime
from mdagent_mcp.testing import ManualClock

MOST_ROUNDS: Final = 400
"""Rounds of the event loop after which it counts as idle although a cancelled task is still being told so."""
THREAD_PAUSE_S: Final = 0.0005
"""Real time given to threads and sockets that work is waiting for."""
IN_TURN_S: Final = 2.0
"""Real time that work in one thread waits for what began before it in another, so that both end in that order."""


class RealWork:
    """Counts what waits for a thread or a socket, during which no hand-turned time passes.

    What began first also ends first, however fast threads are, or two runs of one seed would differ.
    """

    def __init__(self) -> None:
        self._ends: dict[int, asyncio.Event] = {}
        self._begun = 0

    @property
    def pending(self) -> int:
        """How many such calls have not ended."""
        return len(self._ends)

    def counted(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """The same function, counted while it runs."""

        async def run(*args: Any, **kwargs: Any) -> Any:
            turn = self._begun = self._begun + 1
            earlier = tuple(self._ends.values())
            self._ends[turn] = asyncio.Event()
            try:
                result = await function(*args, **kwargs)
                await self._in_turn(earlier)
                return result
            finally:
                self._ends.pop(turn).set()

        return run

    async def ended(self, most_s: float) -> None:
        """Wait until nothing is under way, at most so many real seconds: a thread may watch something for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                while self.pending:  # noqa: ASYNC110 - threads know nothing of events
                    await asyncio.sleep(THREAD_PAUSE_S)

    async def _in_turn(self, earlier: Iterable[asyncio.Event]) -> None:
        """Wait for what began earlier, unless that waits for us in turn."""
        with suppress(TimeoutError):
            async with asyncio.timeout(IN_TURN_S):
                for end in earlier:
                    await end.wait()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Count every call to a thread and to SQLite while the body runs."""
        with ExitStack() as stack:
            for owner, name in ((anyio.to_thread, "run_sync"), (aiosqlite.Connection, "_execute")):
                stack.enter_context(mock.patch.object(owner, name, self.counted(getattr(owner, name))))
            yield


class EventClock(ManualClock):
    """A `ManualClock` that turns exactly to what falls due next, once nothing is left to run before.

    Args:
        start: the first instant, UTC.
        real: what has to end before time passes.
    """

    def __init__(self, start: datetime, real: RealWork) -> None:
        super().__init__(start, settle_rounds=1)
        self._real = real

    async def settle(self) -> None:
        """Run every task that can run."""
        # Nobody else is ready when the queue is empty as we come up again: asyncio has no public word for that.
        ready = getattr(asyncio.get_running_loop(), "_ready")  # noqa: B009 - a private name, on purpose
        rounds = 0
        while True:
            await checkpoint()
            rounds += 1
            if ready and rounds < MOST_ROUNDS:
                continue
            if not self._real.pending:
                return
            await asyncio.sleep(THREAD_PAUSE_S)  # the one real wait: other threads and sockets need it

    async def run_until(self, done: Callable[[], bool], limit_s: float, step_s: float = 0.5) -> None:
        """Let time pass until `done`, for at most `limit_s`."""
        end = self._elapsed + limit_s
        await self.settle()
        while not done() and self._elapsed < end:
            next_due = self._due[0][0] if self._due else self._elapsed + step_s
            await self.advance(max(0.0, min(next_due, end) - self._elapsed))


class SkewedClock:
    """The server's clock: runs with the true one, and tells another hour.

    Args:
        true: the clock that everybody else lives by.
    """

    def __init__(self, true: ManualClock) -> None:
        self._true = true
        self.offset_s = 0.0

    def now(self) -> datetime:
        """The true instant plus the offset."""
        return self._true.now() + timedelta(seconds=self.offset_s)

    def monotonic(self) -> float:
        """As the true clock."""
        return self._true.monotonic()

    def uptime(self) -> Uptime:
        """As the true clock."""
        return self._true.uptime()

    async def sleep(self, seconds: float) -> None:
        """As the true clock."""
        await self._true.sleep(seconds)

    def limit(self, seconds: float) -> AbstractContextManager[object]:
        """As the true clock."""
        return self._true.limit(seconds)
