"""Clocks that let a sandbox show the market at another time than the present one.

Both wait in real time: only the instant they tell differs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Final

from mdagent_mcp.domain.calendar import MarketState, TradingSession, calendar_named
from mdagent_mcp.domain.clock import Clock, Uptime
from mdagent_mcp.domain.prices import require_utc

_MARKET: Final = "XNYS"
_SHORTEST_LEAD: Final = timedelta(minutes=30)
_STARTING_SECOND: Final = 15
"""Of the minute: sources that stamp only the minute look as late as the minute is old, so it is young at the start."""


class ShiftedClock:
    """A clock that starts at an instant of one's choice and runs on from there.

    Args:
        clock: the real one.
        start: what it tells at first, UTC.
    """

    def __init__(self, clock: Clock, start: datetime) -> None:
        require_utc("start", start)
        self._clock = clock
        self._start = start
        self._begun = clock.monotonic()

    def now(self) -> datetime:
        """The start plus the time since then."""
        return self._start + timedelta(seconds=self._clock.monotonic() - self._begun)

    def monotonic(self) -> float:
        """As the real clock tells it."""
        return self._clock.monotonic()

    def uptime(self) -> Uptime:
        """As the real clock tells it, under another name: its wall time is another."""
        real = self._clock.uptime()
        return Uptime(real.seconds, f"{real.boot} from {self._start.isoformat()}")

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await self._clock.sleep(seconds)

    def limit(self, seconds: float) -> AbstractContextManager[object]:
        """Limit in real time."""
        return self._clock.limit(seconds)


class HeldClock(ShiftedClock):
    """A clock on which one instant lasts: the market stands still while waiting takes real time."""

    def now(self) -> datetime:
        """The instant that it is held at."""
        return self._start


def market_hours_clock(clock: Clock) -> Clock:
    """A clock under which the US market is open: the given one when it is, else one shifted into the latest session.

    The shifted clock starts at the same minute of the day if the market is open then, else in the middle of the
    session, and never in its last half hour, so that a demonstration has time to run.

    Raises:
        ValueError: when the packaged calendar knows no session before the present.
    """
    now = clock.now()
    calendar = calendar_named(_MARKET)
    if calendar.state_at(now) is MarketState.OPEN:
        return clock
    session = calendar.latest_completed(now)
    if session is None:
        raise ValueError(f"the calendar knows no trading session before {now.isoformat()}")
    start = _open_instant(session, now)
    return ShiftedClock(clock, start.replace(second=_STARTING_SECOND, microsecond=0))


def _open_instant(session: TradingSession, now: datetime) -> datetime:
    same_time = datetime.combine(session.open.date(), now.timetz())
    if session.open + _SHORTEST_LEAD <= same_time <= session.close - _SHORTEST_LEAD:
        return same_time
    return session.open + (session.close - session.open) / 2
