"""Time as a seam: every layer that waits, measures or dates something is handed a `Clock`.

The rule of this module: `SystemClock` is the only reader of the machine's time in the package, so a test that
hands in another clock turns every timeout, time-to-live and session by hand.
"""

from __future__ import annotations

import sys
import time
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import anyio

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_COUNTS_SLEEP: Final = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC_RAW"}
"""By platform: the clock that goes on while the machine sleeps."""
_TIME_NAMESPACE: Final = Path("/proc/self/ns/time")


@dataclass(frozen=True, slots=True)
class Uptime:
    """A reading of a clock that nobody can set.

    Attributes:
        seconds: since the machine was started, those it slept included where the system counts them.
        boot: names that start. Readings of the same boot can be compared, also when different processes took them.
    """

    seconds: float
    boot: str


class Clock(Protocol):
    """What the package knows about time."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back; only differences mean anything."""
        ...

    def uptime(self) -> Uptime:
        """How long the machine has run: what tells a wall clock that was set from time that has passed."""
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

    def uptime(self) -> Uptime:
        """How long the machine has run, sleep included, so that waking up is not taken for a clock that was set.

        Linux stops `monotonic` while it sleeps and counts on in CLOCK_BOOTTIME, macOS in CLOCK_MONOTONIC_RAW; Windows
        never stops it. Elsewhere, and in a virtual machine that was paused, the time asleep is missing. Only Linux
        names its start (boot_id); elsewhere the name is this process's own, and other processes' readings are strange.
        """
        boot = _boot()  # read from a file at first, before the time is
        return Uptime(_running_s(), boot)

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await anyio.sleep(max(0.0, seconds))  # noqa: TID251 - the one place that really waits

    def limit(self, seconds: float) -> AbstractContextManager[object]:
        """The time limit of anyio."""
        return anyio.fail_after(max(0.0, seconds))


def _running_s() -> float:
    with_sleep = _COUNTS_SLEEP.get(sys.platform)
    if with_sleep is None:
        return time.monotonic()  # noqa: TID251 - the one reader of monotonic time
    return time.clock_gettime(getattr(time, with_sleep))


@cache
def _boot() -> str:
    """Which start of the machine this is, and of which view of its time: a container may have one of its own."""
    try:
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()} {_TIME_NAMESPACE.readlink().name}"
    except (OSError, ValueError):
        return uuid.uuid4().hex
