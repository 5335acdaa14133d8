"""What comparisons with an authority teach: faults, lateness, bias, and how records are joined."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.resilience.track_record import (
    DECAY,
    Comparison,
    TrackRecord,
    believed_age_s,
    compared,
    fault_probability,
    hit_probability,
    joined,
    lag_s,
)

UNIT = 1e-8


def taught(errors: list[float], age_s: float | None = 1.0) -> TrackRecord:
    """A record after these errors."""
    record = TrackRecord()
    for error in errors:
        record = compared(record, Comparison(error, 5e-4, 50e-4, UNIT, age_s))
    return record


def test_a_fault_is_what_no_age_explains() -> None:
    """A hundredfold price is one; the same move over a quarter of an hour is not."""
    assert taught([math.log(100)]).faults == 1
    assert taught([60e-4]).faults == 1
    assert taught([60e-4], age_s=900.0).faults == 0
    assert fault_probability(TrackRecord()) == pytest.approx(0.05)
    assert fault_probability(taught([0.0] * 95 + [4.6] * 5)) == pytest.approx(0.05, abs=0.005)


def test_stamps_that_are_not_true_are_found_out() -> None:
    """Errors as large as a quarter of an hour explains, stamped one second old: the age is believed no more."""
    lag = math.sqrt(900 * UNIT)
    liar, honest = taught([lag, -lag] * 30), taught([1e-4, -1e-4] * 30)
    assert believed_age_s(liar, 1.0, 900.0) == pytest.approx(900.0, rel=0.2)
    assert believed_age_s(honest, 1.0, 900.0) == 1.0
    assert believed_age_s(taught([lag, -lag] * 30, None), None, 60.0) == pytest.approx(900.0, rel=0.2)
    assert believed_age_s(TrackRecord(), None, 60.0) == 60.0
    assert lag_s(TrackRecord()) == 0.0


def test_one_gross_error_does_not_look_like_lateness() -> None:
    """Faults say nothing about time."""
    assert lag_s(taught([1e-4] * 30 + [4.6])) == pytest.approx(lag_s(taught([1e-4] * 30)), rel=0.01)


def test_a_bias_counts_once_it_is_stable() -> None:
    """Many comparisons with little scatter around a distance beyond the tolerance."""
    assert taught([1e-3] * 40).bias == pytest.approx(2.0)
    assert taught([1e-3] * 10).bias == 0.0
    assert taught([1e-3, -1e-3] * 30).bias == 0.0
    assert taught([1e-4] * 40).bias == 0.0
    assert taught([5e-4, -5e-4] * 5).dispersion == pytest.approx(1.0)


def test_a_short_record_leans_on_the_broader_one() -> None:
    """Eight comparisons of the broader weigh as much as eight own ones."""
    broad, none = taught([0.0] * 200), TrackRecord()
    assert hit_probability(none, broad) == pytest.approx(hit_probability(broad))
    assert hit_probability(taught([0.1] * 8), broad) == pytest.approx(hit_probability(broad) / 2, abs=0.01)


@given(first=st.lists(st.floats(-0.01, 0.01), max_size=9), second=st.lists(st.floats(-0.01, 0.01), max_size=9))
def test_records_of_two_processes_make_one(first: list[float], second: list[float]) -> None:
    """Older ones count as if the newer comparisons had followed them."""
    a, b = taught(first), taught(second)
    both = joined(a, b)
    assert both.trials == pytest.approx(a.trials * DECAY**b.trials + b.trials)
    assert joined(TrackRecord(), a) == a
