"""What the servers that were reached say the time is, and what that makes of this machine's own clock."""

from __future__ import annotations

from collections.abc import Mapping

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.resilience.machine_clock import ServerDate, ahead_s, clock_error_s, dated


class ServerDates:
    """The latest word of every source's server, in one process.

    Args:
        clock: this machine's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: dict[str, ServerDate] = {}

    def heard(self, source: str, headers: Mapping[str, str]) -> None:
        """A reply came; `headers` by name in lower case."""
        date = dated(headers, self._clock.uptime())
        if date is not None:
            self._latest[source] = date

    def clock_error_s(self) -> float | None:
        """By how much this machine's clock is ahead of the time, seconds, negative when behind; None when unknown."""
        return clock_error_s(ahead_s(self._latest, self._clock.now(), self._clock.uptime()))
