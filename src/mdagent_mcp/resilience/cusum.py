"""Noticing that failures became frequent: a Bernoulli CUSUM whose idea of "normal" is learned.

The rule of this module: pure arithmetic, `(detector, now, weight) -> (detector, alarm)`. Every outcome adds its
log-likelihood ratio between "as many failures as usual" (`p0`) and "many more" (`p1`) to a score that never falls
below zero; the score's threshold follows the rate of calls, so that a false alarm is as rare per day at five calls a
minute as at ten a second. Consecutive-failure counters and ratio-in-a-window rules need many calls at vendors' rates,
or never open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FALSE_ALARMS_PER_DAY: Final = 0.2
"""What the threshold aims at: by Lorden's bound a run of `e^threshold` outcomes lies between two false alarms."""
HIGHEST_THRESHOLD: Final = 16.0
FAILURES_FOR_ALARM: Final = 2.2
"""At least this many full failures in a row are needed, however rare the calls."""
MEMORY_S: Final = 300.0
"""The score halves in this time, or in that of ten calls where they are rarer: old trouble is no new evidence."""
LEARNING_SHARE: Final = 0.3
"""Above this share of the threshold the usual rate is not learned, so that an outage does not become usual."""
INERTIA: Final = 50.0
"""Outcomes that the first guess of the usual rate is worth."""
_GAP_WEIGHT: Final = 0.1
_GAP_RANGE_S: Final = (0.01, 3600.0)
_RATE_FLOOR: Final = 0.002
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Detector:
    """What the outcomes so far amount to.

    Attributes:
        score: evidence that failures became frequent, in nats.
        failure_rate: the usual share of failures, learned.
        observed: outcomes it was learned from.
        gap_s: usual seconds between outcomes.
        at: when the last outcome came, seconds; None before the first.
    """

    score: float = 0.0
    failure_rate: float = 0.03
    observed: int = 0
    gap_s: float = 10.0
    at: float | None = None


def threshold(detector: Detector) -> float:
    """The score at which the alarm is raised."""
    lowest = FAILURES_FOR_ALARM * _failure_step(detector)
    wanted = math.log(_DAY_S / detector.gap_s / FALSE_ALARMS_PER_DAY)
    return min(max(wanted, lowest), HIGHEST_THRESHOLD)


def observe(detector: Detector, now: float, weight: float, *, learn: bool = True) -> tuple[Detector, bool]:
    """Take in one outcome.

    Args:
        detector: as it was.
        now: seconds.
        weight: 0 for a success; for a failure how much it speaks against this source, up to 1.
        learn: whether the idea of what is usual may follow; not where peers show that it is not usual at all.

    Returns:
        The detector after it, and whether the alarm is raised.
    """
    current = _aged(detector, now)
    usual, frequent = _rates(current)
    if weight > 0:
        score = current.score + weight * _failure_step(current)
    else:
        score = max(0.0, current.score + math.log((1.0 - frequent) / (1.0 - usual)))
    limit = threshold(current)
    rate, observed = current.failure_rate, current.observed
    if learn and score < LEARNING_SHARE * limit:
        rate += ((1.0 if weight > 0 else 0.0) - rate) / (min(observed, 1000) + INERTIA)
        rate, observed = max(rate, _RATE_FLOOR), observed + 1
    return Detector(score, rate, observed, current.gap_s, now), score >= limit


def calmed(detector: Detector) -> Detector:
    """The detector with its score at zero and what is usual kept: after a break."""
    return Detector(0.0, detector.failure_rate, detector.observed, detector.gap_s, detector.at)


def _rates(detector: Detector) -> tuple[float, float]:
    usual = min(max(1.5 * detector.failure_rate + 0.005, 0.02), 0.35)
    return usual, min(max(2.5 * usual, 0.5), 0.9)


def _failure_step(detector: Detector) -> float:
    usual, frequent = _rates(detector)
    return math.log(frequent / usual)


def _aged(detector: Detector, now: float) -> Detector:
    if detector.at is None:
        return detector
    elapsed = max(0.0, now - detector.at)
    shortest, longest = _GAP_RANGE_S
    seen = min(max(elapsed, shortest), longest)
    gap = detector.gap_s + _GAP_WEIGHT * (seen - detector.gap_s)
    half_life = max(MEMORY_S, 10.0 * gap)
    score = detector.score * math.exp2(-elapsed / half_life) if elapsed < 100 * half_life else 0.0
    return Detector(score, detector.failure_rate, detector.observed, gap, detector.at)
