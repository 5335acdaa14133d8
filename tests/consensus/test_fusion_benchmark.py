"""What the fusion benchmark says can be hoped for."""

from __future__ import annotations

import math

import pytest

from fusion_learning import freshest_faultless, most_by_distance, older_instead
from fusion_streams import Query


def _query(**said: tuple[float, float | None]) -> Query:
    return Query("2026-11-23", 600.0, "acme", 100.0, 1500.0, said)


def test_the_next_older_faultless_value_is_compared_with_the_youngest() -> None:
    """Right instead, wrong instead, as right; faulty values and liars are left out, undated ones count as old."""
    members = ("a", "b", "c", "liar")
    moved = _query(a=(100.2, 1.0), b=(100.0, 20.0), c=(10_000.0, 0.5), liar=(100.4, 0.1))
    assert (freshest_faultless(moved, members), older_instead(moved, members)[1]) == (False, 1)  # type: ignore[index]
    far, near = (older_instead(_query(a=(100.0, 1.0), b=(b, None)), members) for b in (100.3, 100.04))
    assert far is not None
    assert near is not None
    assert (far[1], near[1]) == (-1, 0)
    assert (far[0], near[0]) == pytest.approx((math.log(1.003), math.log(1.0004)))
    assert older_instead(_query(a=(100.0, 1.0), b=(100.0, 20.0)), members) is None


def test_the_best_limits_of_distance_are_found_in_hindsight() -> None:
    """The greatest sum between two limits; nothing where every change is for the worse."""
    assert most_by_distance([(5.0, -1), (1.0, 1), (4.0, 1), (2.0, -1), (3.0, 1), (6.0, 1)]) == 2
    assert most_by_distance([(1.0, -1), (2.0, -1)]) == 0
    assert most_by_distance([(1.0, 1), (2.0, 0), (3.0, 1)]) == 2
