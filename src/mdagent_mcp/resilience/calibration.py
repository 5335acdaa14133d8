"""Probabilities that mean what they say: recalibrated on what became of earlier ones.

The rule of this module: outcomes are counted in fixed bins of the stated probability's log-odds; the counts are
additive and can be joined; the map read from them never falls (pool adjacent violators; Zadrozny and Elkan,
"Transforming classifier scores into accurate multiclass probability estimates", KDD 2002) and is the identity before
there are outcomes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

BINS: Final = 16
_STEP: Final = 0.5
_LOWEST: Final = -1.5
_PRIOR: Final = 2.0
"""Outcomes that a bin's own stated probability is worth."""
_DECAY: Final = 0.9998


@dataclass(frozen=True, slots=True)
class CalibrationCounts:
    """Outcomes by bin of the stated probability.

    Attributes:
        trials: discounted number of statements.
        hits: those that came true.
        stated: sum of the stated probabilities.
    """

    trials: tuple[float, ...] = (0.0,) * BINS
    hits: tuple[float, ...] = (0.0,) * BINS
    stated: tuple[float, ...] = (0.0,) * BINS


def bin_of(probability: float) -> int:
    """The bin of a stated probability."""
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return min(max(int((math.log(clipped / (1 - clipped)) - _LOWEST) / _STEP), 0), BINS - 1)


def counted(counts: CalibrationCounts, probability: float, *, right: bool) -> CalibrationCounts:
    """The counts with one more outcome of a statement."""
    trials, hits, stated = (list(map(_DECAY.__mul__, part)) for part in (counts.trials, counts.hits, counts.stated))
    k = bin_of(probability)
    trials[k] += 1.0
    hits[k] += float(right)
    stated[k] += probability
    return CalibrationCounts(tuple(trials), tuple(hits), tuple(stated))


def added(first: CalibrationCounts, second: CalibrationCounts) -> CalibrationCounts:
    """Both."""
    return CalibrationCounts(
        *(
            tuple(a + b for a, b in zip(x, y, strict=True))
            for x, y in ((first.trials, second.trials), (first.hits, second.hits), (first.stated, second.stated))
        )
    )


def calibrated(counts: CalibrationCounts, probability: float) -> float:
    """What a stated probability has turned out to mean; the stated one while there are no outcomes."""
    if not any(counts.trials):
        return probability
    # blocks of (weight, hits) with rising shares
    blocks: list[tuple[float, float, int]] = []
    for k in range(BINS):
        weight, hits = counts.trials[k], counts.hits[k]
        middle = _middle(k) if weight == 0 else counts.stated[k] / weight
        block = (weight + _PRIOR, hits + _PRIOR * middle, 1)
        while blocks and blocks[-1][1] / blocks[-1][0] >= block[1] / block[0]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
        blocks.append(block)
    reached, wanted = 0, bin_of(probability)
    for weight, hits, size in blocks:
        reached += size
        if reached > wanted:
            return hits / weight
    return probability


def _middle(k: int) -> float:
    return 1.0 / (1.0 + math.exp(-(_LOWEST + (k + 0.5) * _STEP)))
