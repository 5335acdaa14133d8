"""A token bucket that spreads bursts over time, for vendors that dislike them and say no number.

The rule of this module: pure arithmetic, `(bucket, options, now, weight) -> (bucket, verdict)`. Vendors' stated quotas
are kept by `quota`, exactly; this only smooths. The level is not summed up but derived from one instant, when the
bucket will be full again, so no rounding ever loses the last token of a burst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mdagent_mcp.resilience.quota import seconds_until


@dataclass(frozen=True, slots=True)
class BucketOptions:
    """How fast a bucket fills and how much it holds.

    Attributes:
        rate: tokens per second.
        burst: tokens it holds when full, at least 1.
    """

    rate: float = 5.0
    burst: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.rate < float("inf") or not 1 <= self.burst < float("inf"):
            raise ValueError(f"a bucket needs a positive rate and a burst of at least 1, got {self.rate}, {self.burst}")


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A bucket.

    Attributes:
        full_at: when it will be full if nothing more is drawn, seconds on the scale of `now`.
    """

    full_at: float = 0.0


FULL: Final = TokenBucket()
"""Nothing drawn yet."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Whether the tokens were there.

    Attributes:
        allowed: they were, and have been taken.
        wait_s: when not, seconds until they would be if nothing else is drawn; 0 when allowed; None when they never
            would, because the bucket holds less.
    """

    allowed: bool
    wait_s: float | None = 0.0


def draw(bucket: TokenBucket, options: BucketOptions, now: float, weight: float = 1.0) -> tuple[TokenBucket, Drawing]:
    """Take `weight` tokens if they are there, else none.

    Raises:
        ValueError: when the weight is not positive.
    """
    if not weight > 0:
        raise ValueError(f"a call draws a positive number of tokens, got {weight}")
    if weight > options.burst:
        return bucket, Drawing(allowed=False, wait_s=None)
    enough_at = bucket.full_at - (options.burst - weight) / options.rate
    if now < enough_at:
        return bucket, Drawing(allowed=False, wait_s=seconds_until(enough_at, now))
    return TokenBucket(max(bucket.full_at, now) + weight / options.rate), Drawing(allowed=True)


def level(bucket: TokenBucket, options: BucketOptions, now: float) -> float:
    """Tokens in the bucket now."""
    return min(options.burst, max(0.0, options.burst - (bucket.full_at - now) * options.rate))
