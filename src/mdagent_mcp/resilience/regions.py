"""Which of a vendor's base URLs to use: the fastest one that is well, learned from every call.

The rule of this module: pure arithmetic, `(regions, now) -> order` and `(region, now, outcome) -> region`. A region
that fails is rested for longer each time; one that nobody used for a while is measured again by one call, because
distances and loads change; and a small advantage moves nobody, so that connections stay warm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

SMOOTHING: Final = 0.2
"""Weight of the newest latency in the average."""
ADVANTAGE: Final = 0.8
"""Share of the present region's latency below which another one is worth a move."""
MEASURED_EVERY_S: Final = 600.0
"""Seconds after which a region that nobody used is measured again."""
FIRST_REST_S: Final = 5.0
LONGEST_REST_S: Final = 300.0
_MOST_DOUBLINGS: Final = 8


@dataclass(frozen=True, slots=True)
class Region:
    """What is known of one base URL.

    Attributes:
        latency_s: average of the answered calls, seconds; None before the first.
        failures: in a row.
        rest_until: not used before, seconds, unless nothing else is left.
        tried_at: when it was last used; None before.
    """

    latency_s: float | None = None
    failures: int = 0
    rest_until: float = 0.0
    tried_at: float | None = None


def order(regions: Sequence[Region], current: int, now: float, *, measure: bool = True) -> tuple[int, ...]:
    """The places of the regions in the order in which to try them.

    Args:
        regions: at least one, the configured order being the preference among equals.
        current: the place of the one in use.
        now: seconds.
        measure: whether others than the best may be tried for their latency; not where they are only stand-ins.
    """
    well = [place for place, region in enumerate(regions) if now >= region.rest_until]
    resting = sorted(set(range(len(regions))) - set(well), key=lambda place: regions[place].rest_until)
    ranked = sorted(well, key=lambda place: (*_rank(regions, place, current), place))
    due = [place for place in well if place != current and _is_due(regions[place], now)]
    measured = due[:1] if measure and regions[current].tried_at is not None else []
    return tuple(dict.fromkeys((*measured, *ranked, *resting)))


def best(regions: Sequence[Region], current: int, now: float) -> int:
    """The place of the region to use, but for measurements: the present one unless another is clearly faster."""
    well = [place for place, region in enumerate(regions) if now >= region.rest_until]
    return min(well or [current], key=lambda place: (*_rank(regions, place, current), place))


def answered(region: Region, now: float, latency_s: float | None) -> Region:
    """The region after a call that was answered, whatever the answer said; None where latency does not matter."""
    average = region.latency_s
    if latency_s is not None:
        average = latency_s if average is None else average + SMOOTHING * (latency_s - average)
    return Region(average, 0, 0.0, now)


def failed(region: Region, now: float) -> Region:
    """The region after a call that did not reach it, or that it left without an answer."""
    rest = min(FIRST_REST_S * 2.0 ** min(region.failures, _MOST_DOUBLINGS), LONGEST_REST_S)
    return replace(region, failures=region.failures + 1, rest_until=now + rest, tried_at=now)


def _is_due(region: Region, now: float) -> bool:
    return region.tried_at is None or now - region.tried_at >= MEASURED_EVERY_S


def _rank(regions: Sequence[Region], place: int, current: int) -> tuple[bool, float]:
    latency = regions[place].latency_s
    if latency is None:
        return place != current, 0.0
    return False, latency * ADVANTAGE if place == current else latency
