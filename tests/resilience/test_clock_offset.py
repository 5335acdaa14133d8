"""Clock differences from time stamps."""

from __future__ import annotations

import random

import pytest

from mdagent_mcp.resilience.clock_offset import ClockOffset, merged, offset_s, stamped


def seen(behind_s: list[float], step_s: float = 10.0) -> ClockOffset:
    """After stamps this many seconds before their arrival."""
    known: ClockOffset | None = None
    for number, behind in enumerate(behind_s):
        known = stamped(known, behind, number * step_s)
    assert known is not None
    return known


@pytest.mark.parametrize("skew", [-2.0, -0.7, 0.8, 2.0, 5.0])
def test_a_skewed_clock_is_found(skew: float) -> None:
    """To a few tenths of a second from forty stamps of prices up to two seconds old; positive runs ahead."""
    rng = random.Random(4)
    known = seen([0.1 + rng.uniform(0, 2) - skew for _ in range(40)])
    assert offset_s(known) == pytest.approx(skew, abs=0.35)


def test_a_source_that_is_always_late_is_late_and_not_slow_of_clock() -> None:
    """Beyond two and a half seconds a delay is a delay; and few stamps prove nothing."""
    assert offset_s(seen([15.0] * 40)) == 0.0
    assert offset_s(seen([-2.0] * 5)) == 0.0
    assert offset_s(seen([0.15] * 40)) == 0.0
    assert offset_s(None) == 0.0


def test_a_clock_that_was_set_right_is_noticed() -> None:
    """The least leaks upwards, a millisecond a second."""
    known = seen([-2.0] * 40)
    later = merged(known, ClockOffset(0.2, 40, known.seen_at + 3 * 3600))
    assert offset_s(later) == 0.0
