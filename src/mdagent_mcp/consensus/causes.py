"""Why a price is off: the likely cause of an outlier, named from what is known to go wrong with vendors' data.

The rule of this module: a cause begins with its fault's id (`unit`, `stale`, `other_session`, `split`, `digit`,
`wrong_instrument`, `unexplained`), so that it reads as a sentence and can be counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mdagent_mcp.consensus.alignment import Observation
from mdagent_mcp.consensus.context import GradingThresholds
from mdagent_mcp.consensus.tolerance import Tolerance
from mdagent_mcp.consensus.wording import basis_points, duration_text, price_text

_SPLIT_RATIOS: Final = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0)
_SPLIT_CLOSENESS: Final = 0.01
_HIGHEST_POWER: Final = 3
_SAME_POWER: Final = (0.4, 2.5)
"""Ratios between these are nearest to one: nothing to compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What an outlier is measured by.

    Attributes:
        served: the served quote.
        previous_close: the agreed or remembered previous close; None when unknown.
        closes: prices that are the close of another session.
        tolerance: of the symbol.
        thresholds: the rubric's lines.
    """

    served: Observation
    previous_close: float | None
    closes: tuple[float, ...]
    tolerance: Tolerance
    thresholds: GradingThresholds


def power_of_ten(ratio: float, closeness: float) -> int:
    """The power of ten, 1 to 3 up or down, that `ratio` is close to; 0 for none."""
    if _SAME_POWER[0] < ratio < _SAME_POWER[1] or not 0 < ratio < math.inf:
        return 0
    power = round(math.log10(ratio))
    if power == 0 or abs(power) > _HIGHEST_POWER:
        return 0
    return power if abs(ratio / 10.0**power - 1) <= closeness else 0


def likely_cause(outlier: Observation, reference: Reference) -> str:
    """The first cause that explains the outlier; `unexplained` with the difference when none does."""
    for test in _TESTS:
        if cause := test(outlier, reference):
            return cause
    share = outlier.quote.price / reference.served.quote.price - 1
    return f"unexplained: {basis_points(abs(share))} {'above' if share > 0 else 'below'} the served price"


def unit_cause(power: int, against: str) -> str:
    """How a mix-up of units reads."""
    factor = f"{10**power}x" if power > 0 else f"{10.0**power:g}x"
    kind = "pence or cents" if abs(power) == 2 else "misplaced decimal point"
    return f"unit: {factor} {against}, {kind}"


def _unit(outlier: Observation, reference: Reference) -> str:
    closeness = reference.thresholds.unit_closeness
    served = reference.served.quote.price
    if power := power_of_ten(outlier.quote.price / served, closeness):
        return unit_cause(power, "the served price")
    close = reference.previous_close
    if close is None:
        return ""
    power = power_of_ten(outlier.quote.price / close, closeness)
    return unit_cause(power, "the previous close") if power else ""


def _stale(outlier: Observation, reference: Reference) -> str:
    late = outlier.vote_age_s - reference.served.vote_age_s
    if outlier.delay_s is None or late <= reference.thresholds.explained_lag_s:
        return ""
    return f"stale by {duration_text(outlier.delay_s)}"


def _other_session(outlier: Observation, reference: Reference) -> str:
    price = outlier.quote.price
    half_tick = reference.tolerance.tick_size / 2
    closes = [c for c in (reference.previous_close, *reference.closes) if c is not None]
    if any(abs(price - close) <= half_tick for close in closes):
        return f"other_session: {price_text(price)} is the close of another session"
    return ""


def _split(outlier: Observation, reference: Reference) -> str:
    ratio = outlier.quote.price / reference.served.quote.price
    for factor in _SPLIT_RATIOS:
        for wanted, way in ((factor, "before"), (1 / factor, "after")):
            if abs(ratio / wanted - 1) <= _SPLIT_CLOSENESS:
                return f"split: looks like a price from {way} a {factor:g}:1 split"
    return ""


def _wrong_instrument(outlier: Observation, reference: Reference) -> str:
    own, usual = outlier.quote.previous_close, reference.previous_close
    if own is None or usual is None or abs(own / usual - 1) <= reference.thresholds.previous_close_gap:
        return ""
    return f"wrong_instrument: its previous close {price_text(own)} is not {price_text(usual)}"


def _digit(outlier: Observation, reference: Reference) -> str:
    """One wrong digit, or two neighbours exchanged."""
    ours, theirs = (f"{o.quote.price:.2f}" for o in (reference.served, outlier))
    if len(ours) != len(theirs):
        return ""
    differing = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    if len(differing) == 2 and differing[1] - differing[0] == 1:
        i, j = differing
        if (ours[i], ours[j]) == (theirs[j], theirs[i]):
            return f"digit: {theirs} has two digits of {ours} exchanged"
    return f"digit: {theirs} is {ours} with one digit changed" if len(differing) == 1 else ""


_TESTS: Final[Sequence[Callable[[Observation, Reference], str]]] = (
    _unit,
    _stale,
    _other_session,
    _wrong_instrument,
    _split,
    _digit,
)
