"""A small, seeded slice of `python benchmarks/never_wrong_a.py`."""

from __future__ import annotations

from never_wrong_a import run


def test_no_a_on_a_wrong_price_while_a_minority_of_groups_is_wrong() -> None:
    """In 1,500 simulated answers, most of them an A; the interval covers the truth about as often as it says."""
    tally = run((1_500, 11))
    assert tally.wrong["A"] == 0
    assert tally.grades["A"] > 600
    assert 0.93 <= sum(tally.covered.values()) / sum(tally.intervals.values()) <= 0.985
