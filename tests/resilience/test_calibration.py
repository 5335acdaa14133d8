"""Probabilities recalibrated on outcomes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.resilience.calibration import BINS, CalibrationCounts, added, bin_of, calibrated, counted

NOTHING = CalibrationCounts()


def test_without_outcomes_a_probability_means_what_it_says() -> None:
    """The identity."""
    assert [calibrated(NOTHING, p) for p in (0.0, 0.4, 1.0)] == [0.0, 0.4, 1.0]


def test_what_is_always_stated_too_high_is_lowered() -> None:
    """Nine in ten stated, seven in ten came true."""
    rng, counts = random.Random(3), NOTHING
    for _ in range(2000):
        counts = counted(counts, 0.9, right=rng.random() < 0.7)
    assert calibrated(counts, 0.9) == pytest.approx(0.7, abs=0.03)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_probability_never_means_less(outcomes: list[tuple[float, bool]], one: float, other: float) -> None:
    """Isotonic, between 0 and 1, whatever happened."""
    counts = NOTHING
    for probability, right in outcomes:
        counts = counted(counts, probability, right=right)
    low, high = (calibrated(counts, p) for p in sorted((one, other)))
    assert 0 <= low <= high + 1e-12 <= 1 + 1e-9
    assert 0 <= bin_of(one) < BINS


def test_counts_add_up() -> None:
    """Of two processes, say."""
    one, two = counted(NOTHING, 0.8, right=True), counted(NOTHING, 0.8, right=False)
    both = added(one, two)
    assert (sum(both.trials), sum(both.hits), sum(both.stated)) == (2.0, 1.0, 1.6)
