"""Time as a seam: every layer that waits, measures or dates something is handed a `Clock`.

The rule of this module: `SystemClock` is the only reader of the machine's time in the package, so a test that
hands in another clock turns every timeout, time-to-live and session by hand.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the package knows about time."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once when it is not positive."""
        ...

    def limit(self, seconds: float) -> AbstractContextManager[object]:
        """Cancel the body after `seconds`.

        Raises:
            TimeoutError: on leaving the body, when it was cut short by this limit.
        """
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one reader of wall time

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()  # noqa: TID251 - the one reader of monotonic time

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await anyio.sleep(max(0.0, seconds))  # noqa: TID251 - the one place that really waits

    def limit(self, seconds: float) -> AbstractContextManager[object]:
        """The time limit of anyio."""
        return anyio.fail_after(max(0.0, seconds))
