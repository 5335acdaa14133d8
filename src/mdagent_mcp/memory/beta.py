"""The beta distribution's quantile, without loading a scientific library at start.

The rule of this module: plain arithmetic. The regularised incomplete beta function is evaluated by its continued
fraction (modified Lentz) and inverted by Newton steps kept within a bracket; a test compares it with `scipy.special`.
"""

from __future__ import annotations

import math
from typing import Final

_TINY: Final = 1e-300
_PRECISION: Final = 1e-12
_MOST_TERMS: Final = 500
_MOST_STEPS: Final = 60
_CLOSE: Final = 1e-11


def beta_quantile(share: float, alpha: float, beta: float) -> float:
    """The value below which `share` of a Beta(alpha, beta) lies, to about 1e-10.

    Raises:
        ValueError: when the share is not within 0 and 1, or a parameter is not positive.
    """
    if not 0.0 <= share <= 1.0 or not alpha > 0.0 or not beta > 0.0:
        raise ValueError(f"no quantile {share} of Beta({alpha}, {beta})")
    low, high = 0.0, 1.0
    x = alpha / (alpha + beta)
    for _ in range(_MOST_STEPS):
        excess = beta_share_below(x, alpha, beta) - share
        low, high = (low, x) if excess > 0 else (x, high)
        log_density = (alpha - 1.0) * math.log(x) + (beta - 1.0) * math.log1p(-x) - _log_beta(alpha, beta)
        newton = x - excess / math.exp(log_density) if abs(log_density) < 300.0 else low
        following = newton if low < newton < high else (low + high) / 2.0
        if abs(following - x) < _CLOSE or not 0.0 < following < 1.0:
            return following
        x = following
    return x


def beta_share_below(x: float, alpha: float, beta: float) -> float:
    """The share of a Beta(alpha, beta) that lies below `x`."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    log_front = alpha * math.log(x) + beta * math.log1p(-x) - _log_beta(alpha, beta)
    if x < (alpha + 1.0) / (alpha + beta + 2.0):
        return math.exp(log_front) * _fraction(x, alpha, beta) / alpha
    return 1.0 - math.exp(log_front) * _fraction(1.0 - x, beta, alpha) / beta


def _log_beta(alpha: float, beta: float) -> float:
    return math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)


def _fraction(x: float, alpha: float, beta: float) -> float:
    """The continued fraction of the incomplete beta function, converging fast for x below the mean."""
    numerator, denominator = 1.0, _inverse(1.0 - (alpha + beta) * x / (alpha + 1.0))
    value = denominator
    for m in range(1, _MOST_TERMS):
        even = m * (beta - m) * x / ((alpha + 2 * m - 1) * (alpha + 2 * m))
        odd = -(alpha + m) * (alpha + beta + m) * x / ((alpha + 2 * m) * (alpha + 2 * m + 1))
        for term in (even, odd):
            denominator = _inverse(1.0 + term * denominator)
            numerator = _not_zero(1.0 + term / numerator)
            step = numerator * denominator
            value *= step
        if abs(step - 1.0) < _PRECISION:
            break
    return value


def _inverse(value: float) -> float:
    return 1.0 / _not_zero(value)


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
