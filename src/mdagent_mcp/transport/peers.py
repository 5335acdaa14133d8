"""What one source's trouble means in the light of the others': our own network, or really the source.

The rule of this module: no network at all is no failure of a source, and a source that fails far more often than its
peers does not get to call that usual.
"""

from __future__ import annotations

from statistics import median
from typing import Final

OFFLINE_WINDOW_S: Final = 5.0
"""Failures to reach sources that lie this close together are one event."""
OFFLINE_SHARE: Final = 0.6
"""Share of the sources asked lately that must be out of reach for it to be our own network."""
OFFLINE_LEAST: Final = 2
"""One source alone never tells whose network it is."""
UNUSUAL_FACTOR: Final = 3.0
UNUSUAL_RATE: Final = 0.3


class Peers:
    """All sources of one process."""

    def __init__(self) -> None:
        self._unreached: dict[str, float] = {}
        self._reached: dict[str, float] = {}
        self._rates: dict[str, float] = {}

    def unreached(self, source: str, now: float) -> None:
        """A source could not be reached."""
        self._unreached[source] = now

    def reached(self, source: str, now: float) -> None:
        """A source was reached, whatever it said."""
        self._reached[source] = now

    def offline(self, now: float) -> bool:
        """Whether it is this machine that has no network: hardly anybody asked lately could be reached."""
        lately = now - OFFLINE_WINDOW_S
        failed = {source for source, at in self._unreached.items() if at >= lately}
        answered = {source for source, at in self._reached.items() if at >= lately}
        out_of_reach = failed - answered
        asked = failed | answered
        return len(out_of_reach) >= OFFLINE_LEAST and len(out_of_reach) >= OFFLINE_SHARE * len(asked)

    def usual_rate(self, source: str, rate: float) -> None:
        """What share of a source's calls usually fails."""
        self._rates[source] = rate

    def may_call_usual(self, source: str, rate: float) -> bool:
        """Whether a source's failures may become its own idea of usual, given those of at least two others."""
        others = [usual for name, usual in self._rates.items() if name != source]
        if len(others) < OFFLINE_LEAST or rate < UNUSUAL_RATE:
            return True
        return rate <= UNUSUAL_FACTOR * median(others)
