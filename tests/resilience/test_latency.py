"""The latency histogram: quantiles, decay, and its text form. Its laws are in `tests/properties`."""

from __future__ import annotations

import math

import pytest

from mdagent_mcp.resilience.latency import (
    EMPTY,
    LatencyHistogram,
    decay,
    from_json,
    merge,
    quantile,
    record,
    recorded,
    to_json,
)


def test_quantiles_are_within_two_percent() -> None:
    """Of 1 ms to 1000 ms the median and the 95th percentile come back to within the promised error."""
    histogram = recorded(n / 1000 for n in range(1, 1001))
    assert [quantile(histogram, share) for share in (0.0, 0.5, 0.95, 1.0)] == pytest.approx(
        [0.001, 0.5, 0.95, 1.0], rel=0.02
    )


def test_nothing_recorded_has_no_quantile() -> None:
    """Absence is None and not zero."""
    assert quantile(EMPTY, 0.5) is None


@pytest.mark.parametrize("latency_s", [-0.1, math.nan, math.inf])
def test_what_is_no_latency_is_left_out(latency_s: float) -> None:
    """Negative and non-finite values change nothing."""
    assert record(EMPTY, latency_s) == EMPTY


def test_extreme_latencies_are_recorded_at_the_ends() -> None:
    """Zero and absurdly long ones do not vanish and do not make buckets without bound."""
    histogram = recorded([0.0, 1e-9, 1e9, 1e300])
    assert len(histogram.weights) == 2
    assert quantile(histogram, 0.0) == pytest.approx(1e-5, rel=0.02)
    assert quantile(histogram, 1.0) == pytest.approx(1e5, rel=0.02)


def test_decay_makes_new_latencies_count_more() -> None:
    """After a hundred slow and, decayed, ten fast calls, the median is a fast one."""
    slow = decay(recorded([2.0] * 100), 0.05)
    assert quantile(merge(slow, recorded([0.1] * 10)), 0.5) == pytest.approx(0.1, rel=0.02)
    assert slow.total == pytest.approx(5.0)


def test_decayed_to_nothing_is_forgotten() -> None:
    """Buckets do not stay for ever."""
    assert decay(recorded([1.0]), 0.0) == EMPTY


def test_text_form_is_compact_and_reads_back() -> None:
    """A histogram of a day's calls fits a table cell."""
    histogram = recorded([0.2] * 7 + [0.25] * 3 + [4.0])
    text = to_json(histogram)
    assert from_json(text) == histogram
    assert len(text) < 30


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "[1,2,3]", '["a",1]', "[0,-1]", "[99999999,1]", "[true,1]", "[NaN,1]", "null"]
)
def test_other_text_is_refused(text: str) -> None:
    """What is not ours is a ValueError, whatever it is."""
    with pytest.raises(ValueError, match=r"histogram|Expecting"):
        from_json(text)


def test_nonsense_shares_and_factors_are_refused() -> None:
    """A share or factor beyond 0 to 1 is the caller's mistake."""
    with pytest.raises(ValueError, match="quantile"):
        quantile(EMPTY, 1.1)
    with pytest.raises(ValueError, match="decay"):
        decay(LatencyHistogram(), -0.1)
