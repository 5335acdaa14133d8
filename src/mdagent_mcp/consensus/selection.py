"""Which of several claims about one quantity is right, how sure that is, and between which values the truth lies.

The rules of this module: it knows numbers, not markets, so that prices and any other field go the same way; the value
chosen is always one of the claims' own; a group of claims that pass on the same data is one witness.

The model. Claims are put in order of what may have happened since they were true (their `drift`: volatility squared
times age for a price, the learned mean square error where there is no time). Each is either sound, and then a younger
sound claim differs from it by a random walk of the drift between them, or faulty, and then it may be anything. Summing
over which claims are sound (a hidden Markov chain over the last sound claim; forward and backward sums as in
Rabiner, "A tutorial on hidden Markov models", Proc. IEEE 77, 1989) gives the probability that each claim is the
youngest sound one. An old majority therefore never outvotes a young claim it merely lags behind, while two claims that
independently state the same value expose a third that does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

LEAST_FAULT: Final = 0.002
MOST_FAULT: Final = 0.9
_NARROW: Final = 0.85
_WIDE_PART: Final = 0.15
_SCALE: Final = 3.0
"""Steps of prices have fat tails: two normal parts, their shares, and how much wider the second one is."""
_WIDE_HEIGHT: Final = _WIDE_PART / _SCALE
_WIDE_EXPONENT: Final = -0.5 / _SCALE**2
_exp, _sqrt = math.exp, math.sqrt  # looked up some dozen times per judgement
_FARTHEST: Final = 9000.0
_ROOT_TAU: Final = math.sqrt(2 * math.pi)
_ROOT_2: Final = math.sqrt(2.0)
_STEP_NOISE: Final = 0.17
"""Variance that rounding of two values to the step adds, in squared steps (2 / 12)."""
_WIDE: Final = 0.006
"""Density of a fault that may lie anywhere, per `spread`: wide enough for a price of another unit."""
_SUSPECT_SHARE: Final = 0.3
"""Share of faults that show a known wrong value, such as the previous close."""
_ANYWHERE: Final = 0.001
"""Density with which the truth lies far from what was known last (a jump), per `spread`."""
_ALL_FAULTY: Final = 0.05
"""Weight of the case that no claim is sound, per `spread`."""
_NEGLIGIBLE: Final = 1e-9
_LIGHT: Final = 1e-3
_HALVINGS: Final = 13
_REACH: Final = 6.0


class Claim(NamedTuple):
    """What one source says.

    Attributes:
        value: on an additive scale; the logarithm of a price.
        drift: variance of what may have happened since it was true.
        fault: probability that the source says something that is not so.
        noise: variance of the source's own deviation, in addition to the step's rounding.
        group: whose data it is; claims without one stand for themselves.
        bias: how far the source usually lies above the truth; subtracted where it is evidence, never when served.
    """

    value: float
    drift: float
    fault: float
    noise: float = 0.0
    group: str = ""
    bias: float = 0.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the quantity besides the claims.

    Attributes:
        tolerance: greatest distance at which two values mean the same.
        step: smallest step of the values.
        centre: where faults of moderate size are scattered around.
        spread: standard deviation of those, such as a day's move.
        earlier: a value known to have been true; None when there is none.
        earlier_drift: variance of what may have happened since.
        suspects: values that faults are known to show, such as the previous close.
    """

    tolerance: float
    step: float
    centre: float
    spread: float
    earlier: float | None = None
    earlier_drift: float = 0.0
    suspects: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """The choice.

    Attributes:
        index: of the chosen claim.
        probability: that its value lies within the tolerance of the truth; not yet recalibrated.
        probabilities: the same for every claim.
        parts: where the truth lies, as weight, centre and variance of a step each; the input of `interval`.
    """

    index: int
    probability: float
    probabilities: tuple[float, ...]
    parts: tuple[tuple[float, float, float], ...]


def select(claims: Sequence[Claim], known: Known, eligible: Sequence[bool] | None = None) -> Selection:
    """Choose the claim that most probably lies within the tolerance of the truth.

    Args:
        claims: at least one.
        known: what else is known.
        eligible: which of them may be chosen; the others are evidence only. None for all; at least one.

    Raises:
        ValueError: when there is nothing to choose from.
    """
    allowed = [True] * len(claims) if eligible is None else list(eligible)
    if not any(allowed):
        raise ValueError("nothing to choose from")
    witnesses = _witnesses(claims, known)
    weights = _youngest_sound(witnesses, known)
    rounding = _STEP_NOISE * known.step * known.step
    parts = [
        (weight, w.value - w.bias, max(w.drift + w.noise + rounding, _NEGLIGIBLE * known.tolerance**2))
        for weight, w in zip(weights, witnesses, strict=True)
        if weight > _NEGLIGIBLE
    ]
    rooted = _rooted(parts)
    chances = {value: _within(value, known.tolerance, rooted) for value in {claim.value for claim in claims}}
    probabilities = tuple([chances[c.value] for c in claims])
    best = _best(claims, probabilities, allowed, known)
    return Selection(best, probabilities[best], probabilities, tuple(parts))


def _best(claims: Sequence[Claim], probabilities: Sequence[float], allowed: Sequence[bool], known: Known) -> int:
    """The most probable claim; among equals the one with the least drift, then fault, then distance from the centre."""
    rounded = [round(p, 9) if yes else -1.0 for p, yes in zip(probabilities, allowed, strict=True)]
    most = max(rounded)
    return max(
        [i for i, p in enumerate(rounded) if p == most],
        key=lambda i: (
            -claims[i].drift,
            -claims[i].fault,
            -abs(claims[i].value - known.centre),
            -claims[i].value,
        ),
    )


def interval(selection: Selection, value: float) -> tuple[float, float]:
    """The equal-tailed 95 % interval of the truth, widened to contain `value`."""
    heavy = max((weight for weight, _, _ in selection.parts), default=0.0)
    parts = [part for part in selection.parts if part[0] >= _LIGHT * heavy]
    if not parts:
        return value, value
    rooted = _rooted(parts)
    return min(_quantile(0.025, rooted), value), max(_quantile(0.975, rooted), value)


def _witnesses(claims: Sequence[Claim], known: Known) -> list[Claim]:
    """The claims in order of drift, those left out that a younger one of their group already says."""
    kept: list[Claim] = []
    for claim in sorted(claims, key=lambda c: (c.drift, c.fault, abs(c.value - known.centre), c.value, c.group)):
        same = [k for k in kept if k.group == claim.group] if claim.group else ()
        if not any(abs(k.value - claim.value) <= known.tolerance for k in same):
            kept.append(claim)
    return kept


def _youngest_sound(ordered: Sequence[Claim], known: Known) -> list[float]:
    """The probability of each witness to be the youngest sound one."""
    n = len(ordered)
    fault = [min(max(c.fault, LEAST_FAULT), MOST_FAULT) for c in ordered]
    wrong = [p * _fault_density(c, known) for p, c in zip(fault, ordered, strict=True)]
    rounding = _STEP_NOISE * known.step * known.step
    least = 0.25 * known.step * known.step + _NEGLIGIBLE * known.tolerance * known.tolerance
    # ahead[last] = likelihood of the witnesses from j on when `last` is the youngest sound one before j
    ahead = [1.0] * n
    for j in range(n - 1, 0, -1):
        now, right, after = ordered[j], 1.0 - fault[j], ahead[j]
        at, common = now.value - now.bias, now.noise + rounding
        for last in range(j):
            then = ordered[last]
            variance = now.drift - then.drift
            variance = max(variance, least) + common + then.noise
            step = _density(at - then.value + then.bias, variance)
            ahead[last] = wrong[j] * ahead[last] + right * step * after
    weights, before = [], 1.0
    for k, witness in enumerate(ordered):
        weights.append(before * (1.0 - fault[k]) * ahead[k] * _prior(witness, known, rounding))
        before *= wrong[k]
    total = sum(weights) + before * _ALL_FAULTY * known.spread
    return [w / total for w in weights] if total > 0 else [1.0 / n] * n


def _fault_density(claim: Claim, known: Known) -> float:
    z = (claim.value - known.centre) / known.spread
    density = 0.5 * math.exp(-0.5 * z * z) / (known.spread * _ROOT_TAU) + 0.5 * _WIDE / known.spread
    half_step = known.step / 2
    for suspect in known.suspects:
        if abs(claim.value - suspect) < half_step:
            return density + _SUSPECT_SHARE / known.step
    return density


def _prior(witness: Claim, known: Known, rounding: float) -> float:
    if known.earlier is None:
        return 1.0
    variance = known.earlier_drift + rounding + witness.noise
    return _density(witness.value - witness.bias - known.earlier, max(variance, rounding)) + _ANYWHERE / known.spread


def _density(distance: float, variance: float) -> float:
    square = distance * distance / variance
    if square > _FARTHEST:
        return 0.0
    height = _NARROW * _exp(-0.5 * square) + _WIDE_HEIGHT * _exp(_WIDE_EXPONENT * square)
    return height / (_ROOT_TAU * _sqrt(variance))


def _rooted(parts: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Parts as half weight, centre and root of twice the variance."""
    return [(0.5 * weight, centre, math.sqrt(variance) * _ROOT_2) for weight, centre, variance in parts]


def _within(value: float, tolerance: float, rooted: Sequence[tuple[float, float, float]]) -> float:
    """The probability that the truth lies within `tolerance` of `value`."""
    erf, total = math.erf, 0.0
    for half, centre, root in rooted:
        away = value - centre
        low, high = (away - tolerance) / root, (away + tolerance) / root
        near = _NARROW * (erf(high) - erf(low))
        total += half * (near + _WIDE_PART * (erf(high / _SCALE) - erf(low / _SCALE)))
    return min(1.0, total)


def _quantile(share: float, rooted: Sequence[tuple[float, float, float]]) -> float:
    """Where the weight below reaches `share` of all."""
    erf = math.erf
    wanted = share * sum([2.0 * half for half, _, _ in rooted])
    low = min([centre - _REACH * root for _, centre, root in rooted])
    high = max([centre + _REACH * root for _, centre, root in rooted])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = 0.0
        for half, centre, root in rooted:
            z = (middle - centre) / root
            below += half * (1.0 + _NARROW * erf(z) + _WIDE_PART * erf(z / _SCALE))
        if below < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
