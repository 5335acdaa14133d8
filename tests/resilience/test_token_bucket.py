"""The token bucket: bursts, waits, level."""

from __future__ import annotations

import pytest

from mdagent_mcp.resilience.token_bucket import FULL, BucketOptions, Drawing, draw, level

OPTIONS = BucketOptions(rate=2.0, burst=4.0)


def test_a_burst_is_served_and_the_next_call_waits() -> None:
    """Four at once, then one every half second."""
    bucket = FULL
    for _ in range(4):
        bucket, drawing = draw(bucket, OPTIONS, 100.0)
        assert drawing == Drawing(allowed=True)
    bucket, drawing = draw(bucket, OPTIONS, 100.0)
    assert drawing == Drawing(allowed=False, wait_s=0.5)
    assert draw(bucket, OPTIONS, 100.5)[1] == Drawing(allowed=True)


def test_a_refused_draw_takes_nothing() -> None:
    """Asking in vain does not make the wait longer."""
    bucket, _ = draw(FULL, OPTIONS, 0.0, 4.0)
    for _ in range(5):
        after, drawing = draw(bucket, OPTIONS, 0.0, 2.0)
        assert (after, drawing) == (bucket, Drawing(allowed=False, wait_s=1.0))


def test_the_level_grows_to_the_burst_and_no_further() -> None:
    """After a long rest the bucket is full, not fuller."""
    bucket, _ = draw(FULL, OPTIONS, 10.0, 3.0)
    assert [level(bucket, OPTIONS, now) for now in (10.0, 10.5, 11.5, 1000.0)] == [1.0, 2.0, 4.0, 4.0]


def test_more_than_the_bucket_holds_is_never_there() -> None:
    """No wait is promised where none would help."""
    assert draw(FULL, OPTIONS, 0.0, 4.5) == (FULL, Drawing(allowed=False, wait_s=None))


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.5), (float("inf"), 1.0)])
def test_nonsense_options_are_refused(rate: float, burst: float) -> None:
    """A bucket that never fills or holds no token is a mistake."""
    with pytest.raises(ValueError, match="bucket"):
        BucketOptions(rate=rate, burst=burst)


def test_drawing_nothing_is_refused() -> None:
    """A draw takes something."""
    with pytest.raises(ValueError, match="positive"):
        draw(FULL, OPTIONS, 0.0, 0.0)
