"""By how much a source's clock differs from ours, from the time stamps on what it sends.

The rule of this module: what arrives cannot be younger than nothing, so the least time ever seen between a stamp and
its arrival is the difference of the clocks plus the shortest way here. The least leaks upwards slowly, so that a clock
that was set right is noticed. Only small differences are taken for clocks; a source that is never less than several
seconds behind is late, not slow of clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEAK_PER_S: Final = 0.001
"""Seconds that the least rises per second."""
FEWEST: Final = 20
"""Stamps before a difference is believed."""
USUAL_S: Final = 0.3
"""The least time from an event to its arrival that is nobody's clock: half a round trip and the source's own work.

Too small a figure flatters every delay: with 0.1 s twice as many grades near the line of 2 s were too good.
"""
MOST_BEHIND_S: Final = 2.5
"""A source that never is less behind than this is late."""
MOST_AHEAD_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What the stamps of one source show.

    Attributes:
        least_s: least time from stamp to arrival, leaking upwards; negative when the clock runs ahead.
        samples: stamps seen.
        seen_at: of the last one, epoch seconds.
    """

    least_s: float
    samples: int
    seen_at: float


def stamped(known: ClockOffset | None, behind_s: float, at: float) -> ClockOffset:
    """With one more stamp, `behind_s` seconds before its arrival at `at`."""
    return merged(known, ClockOffset(behind_s, 1, at))


def merged(older: ClockOffset | None, newer: ClockOffset) -> ClockOffset:
    """What both show together."""
    if older is None:
        return newer
    risen = older.least_s + LEAK_PER_S * max(0.0, newer.seen_at - older.seen_at)
    return ClockOffset(
        min(risen, newer.least_s), min(older.samples + newer.samples, 1_000_000), max(older.seen_at, newer.seen_at)
    )


def offset_s(known: ClockOffset | None) -> float:
    """Seconds by which the source's clock runs ahead of ours; negative when behind, 0 while nothing is certain."""
    if known is None or known.samples < FEWEST:
        return 0.0
    ahead = USUAL_S - known.least_s
    if abs(ahead) <= USUAL_S or ahead < -MOST_BEHIND_S or ahead > MOST_AHEAD_S:
        return 0.0
    return ahead
