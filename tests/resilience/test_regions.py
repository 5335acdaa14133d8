"""Base URLs of one vendor: the fastest that is well is used, the others are measured now and then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.resilience.regions import (
    FIRST_REST_S,
    LONGEST_REST_S,
    MEASURED_EVERY_S,
    Region,
    answered,
    best,
    failed,
    order,
)

NEW = (Region(), Region(), Region())


def _measured(*latencies: float, at: float = 100.0) -> list[Region]:
    return [answered(Region(), at, latency) for latency in latencies]


def test_the_preferred_one_is_used_first_and_the_others_are_measured_one_by_one() -> None:
    """The configured order decides while nothing is known."""
    assert order(NEW, 0, 0.0) == (0, 1, 2)
    used = [answered(NEW[0], 0.0, 0.1), NEW[1], NEW[2]]
    assert order(used, 0, 1.0)[0] == 1
    used[1] = answered(NEW[1], 1.0, 0.2)
    assert order(used, 0, 2.0)[0] == 2


def test_a_clearly_faster_one_takes_over_and_a_slightly_faster_one_does_not() -> None:
    """A fifth at least, so that connections stay warm."""
    assert best(_measured(0.1, 0.09), 0, 101.0) == 0
    assert best(_measured(0.1, 0.07), 0, 101.0) == 1
    assert order(_measured(0.1, 0.07), 0, 101.0) == (1, 0)


def test_one_that_fails_is_rested_for_longer_each_time_and_tried_last() -> None:
    """Five seconds, ten, twenty; five minutes at most; an answer forgives all of it."""
    region, now, rests = Region(), 0.0, []
    for _ in range(9):
        region = failed(region, now)
        rests.append(region.rest_until - now)
        now = region.rest_until
    assert rests == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, LONGEST_REST_S, LONGEST_REST_S, LONGEST_REST_S]
    assert answered(region, now, 0.1) == Region(0.1, 0, 0.0, now)
    two = [failed(Region(0.01, tried_at=0.0), 0.0), Region(0.5, tried_at=0.0)]
    assert (order(two, 0, 1.0), best(two, 0, 1.0)) == ((1, 0), 1)
    assert order(two, 1, FIRST_REST_S + 1.0)[0] == 0


def test_one_that_nobody_used_for_ten_minutes_is_measured_again() -> None:
    """By a single call; it may have become the nearer one."""
    two = _measured(0.1, 0.5)
    assert order(two, 0, 100.0 + MEASURED_EVERY_S - 1.0) == (0, 1)
    assert order(two, 0, 100.0 + MEASURED_EVERY_S) == (1, 0)


_region = st.builds(
    Region,
    st.one_of(st.none(), st.floats(0.001, 5.0)),
    st.integers(0, 12),
    st.floats(0.0, 1000.0),
    st.one_of(st.none(), st.floats(0.0, 1000.0)),
)


@given(st.lists(_region, min_size=1, max_size=5), st.integers(0, 4), st.floats(0.0, 2000.0))
def test_every_region_is_tried_in_the_end_and_a_resting_one_never_before_one_that_is_well(
    regions: list[Region], current: int, now: float
) -> None:
    """The order is a permutation; and what is best is one that is well, where there is one."""
    current %= len(regions)
    tried = order(regions, current, now)
    assert sorted(tried) == list(range(len(regions)))
    well = [now >= regions[place].rest_until for place in tried]
    assert well == sorted(well, reverse=True)
    assert now >= regions[best(regions, current, now)].rest_until or not any(well)
