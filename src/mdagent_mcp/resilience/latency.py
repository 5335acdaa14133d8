"""Latencies remembered as a histogram with logarithmic buckets: small, decaying, mergeable, and of known error.

The rule of this module: pure arithmetic on a frozen value. Bucket `k` holds what lies in `(g^(k-1), g^k]` seconds with
`g = (1 + e) / (1 - e)`, so a quantile read from it is within the relative error `e` of the value that was recorded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

RELATIVE_ERROR: Final = 0.01
"""How far a quantile may lie from the recorded value, relative to it."""
SHORTEST_S: Final = 1e-5
"""Shorter latencies are recorded as this one."""
LONGEST_S: Final = 1e5
"""Longer latencies are recorded as this one."""
_NEGLIGIBLE: Final = 1e-3
"""A bucket that decayed below this weight is forgotten."""

_SLACK: Final = 1e-9
"""Share that rounding may add to a sum of weights."""
_GROWTH: Final = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR)
_LOG_GROWTH: Final = math.log(_GROWTH)
_LOWEST: Final = math.ceil(math.log(SHORTEST_S) / _LOG_GROWTH)
_HIGHEST: Final = math.ceil(math.log(LONGEST_S) / _LOG_GROWTH)
_NOTHING: Final[Mapping[int, float]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LatencyHistogram:
    """Weights by logarithmic bucket.

    Attributes:
        weights: bucket number -> how much was recorded in it; never holds a zero.
    """

    weights: Mapping[int, float] = field(default_factory=lambda: _NOTHING)

    @property
    def total(self) -> float:
        """The effective number of recorded latencies."""
        return math.fsum(self.weights.values())


EMPTY: Final = LatencyHistogram()
"""Nothing recorded yet."""


def record(histogram: LatencyHistogram, latency_s: float, weight: float = 1.0) -> LatencyHistogram:
    """The histogram with one more latency in it; anything that is not a latency (negative, not finite) is left out."""
    if not math.isfinite(latency_s) or latency_s < 0 or not math.isfinite(weight) or weight <= 0:
        return histogram
    bucket = _bucket(latency_s)
    weights = dict(histogram.weights)
    weights[bucket] = weights.get(bucket, 0.0) + weight
    return LatencyHistogram(weights)


def recorded(latencies_s: Iterable[float]) -> LatencyHistogram:
    """A histogram of all these latencies, in seconds."""
    histogram = EMPTY
    for latency_s in latencies_s:
        histogram = record(histogram, latency_s)
    return histogram


def merge(first: LatencyHistogram, second: LatencyHistogram) -> LatencyHistogram:
    """What one histogram would hold that had recorded everything of both."""
    if not second.weights:
        return first
    weights = dict(first.weights)
    for bucket, weight in second.weights.items():
        weights[bucket] = weights.get(bucket, 0.0) + weight
    return LatencyHistogram(weights)


def decay(histogram: LatencyHistogram, factor: float) -> LatencyHistogram:
    """The histogram with every weight multiplied by `factor` (0 to 1), so that newer latencies count more.

    Raises:
        ValueError: when the factor is not between 0 and 1.
    """
    if not 0.0 <= factor <= 1.0:
        raise ValueError(f"a decay factor lies between 0 and 1, got {factor}")
    if factor == 1.0:
        return histogram
    return LatencyHistogram(
        {bucket: kept for bucket, weight in histogram.weights.items() if (kept := weight * factor) >= _NEGLIGIBLE}
    )


def without(histogram: LatencyHistogram, taken: LatencyHistogram) -> LatencyHistogram:
    """What is left of a histogram after another one is taken out of it."""
    left = {bucket: weight - taken.weights.get(bucket, 0.0) for bucket, weight in histogram.weights.items()}
    return LatencyHistogram({bucket: weight for bucket, weight in left.items() if weight >= _NEGLIGIBLE})


def quantile(histogram: LatencyHistogram, share: float) -> float | None:
    """The latency in seconds below which `share` (0 to 1) of what was recorded lies; None when nothing was.

    It is the shortest one such that those up to it make up `share` of all weights, so decay as a whole changes nothing.

    Raises:
        ValueError: when the share is not between 0 and 1.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a quantile's share lies between 0 and 1, got {share}")
    if not histogram.weights:
        return None
    wanted = (share - _SLACK) * histogram.total
    reached = 0.0
    buckets = sorted(histogram.weights)
    for bucket in buckets:
        reached += histogram.weights[bucket]
        if reached >= wanted:
            return _middle(bucket)
    return _middle(buckets[-1])


def share_within(histogram: LatencyHistogram, seconds: float) -> float:
    """The share of what was recorded that lies within `seconds`, to the width of a bucket; 0 when nothing was."""
    total = histogram.total
    if total <= 0:
        return 0.0
    last = _bucket(seconds)
    return min(1.0, math.fsum(weight for bucket, weight in histogram.weights.items() if bucket <= last) / total)


def to_json(histogram: LatencyHistogram) -> str:
    """Compact text: the lowest bucket, then pairs of steps upwards and weights."""
    flat: list[float] = []
    previous = 0
    for bucket in sorted(histogram.weights):
        weight = round(histogram.weights[bucket], 4)
        flat += [bucket - previous, int(weight) if weight.is_integer() else weight]
        previous = bucket
    return json.dumps(flat, separators=(",", ":"))


def from_json(text: str) -> LatencyHistogram:
    """Read what `to_json` wrote.

    Raises:
        ValueError: when it is something else.
    """
    flat: Any = json.loads(text)
    if not isinstance(flat, list) or len(flat) % 2 or not all(_is_number(entry) for entry in flat):
        raise ValueError("a latency histogram is a flat list of bucket steps and weights")
    weights: dict[int, float] = {}
    bucket = 0
    for step, weight in zip(flat[::2], flat[1::2], strict=True):
        bucket += int(step)
        if not _LOWEST <= bucket <= _HIGHEST or weight < 0:
            raise ValueError(f"a latency histogram has no bucket {bucket} of weight {weight}")
        if weight > 0:
            weights[bucket] = float(weight)
    return LatencyHistogram(weights)


def _bucket(latency_s: float) -> int:
    bounded = min(max(latency_s, SHORTEST_S), LONGEST_S)
    return min(max(math.ceil(math.log(bounded) / _LOG_GROWTH), _LOWEST), _HIGHEST)


def _middle(bucket: int) -> float:
    return 2.0 * math.exp(bucket * _LOG_GROWTH) / (1.0 + _GROWTH)


def _is_number(entry: object) -> bool:
    return isinstance(entry, int | float) and not isinstance(entry, bool) and math.isfinite(entry)
