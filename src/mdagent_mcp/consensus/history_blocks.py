"""Stretches of a series on another level, and what brings them back to the level of the rest.

A stretch that is left again is decided by the bars on both sides. A step that is never undone leaves two sides of
which one is wrong: a listed split says which (the older one, because vendors correct the past), and volumes that step
the other way say that it is a split and no unit. Without either the newest side is taken as the measure, because the
vendor's currency label and its quotes speak of today; unless the older side is but a tenth of the series the answer
says that this is not proven.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Final

from mdagent_mcp.consensus.history_levels import Levels, Step, power_of_ten
from mdagent_mcp.consensus.history_series import Series, prices_of
from mdagent_mcp.domain.prices import Adjustment

_LISTED_WINDOW: Final = timedelta(days=14)
"""How far a listed split may lie from the step that it was applied wrongly at."""
_EXACT: Final = 0.12
_LOOSE: Final = 0.3
"""Part of a step that may be a move of the market on the same day, where volumes confirm the split."""
_VOLUME_LIKENESS: Final = math.log(3.0)
_LEAST_NEWEST: Final = 3
"""Bars that the newest side must have to be the measure of the others."""
_FEW: Final = 0.1
"""Share of the bars up to which the oldest ones are outvoted by all the others, the newest among them."""
_LONG: Final = 2
"""Stretches longer than this are scaled as a whole; in shorter ones every price is looked at by itself."""


@dataclass(frozen=True, slots=True)
class Block:
    """Bars that are brought back by one factor.

    Attributes:
        first: the first of them.
        last: the bar after the last one.
        prices: what their prices are multiplied by.
        volumes: what their volumes are multiplied by.
        rule: under which it is told.
        why: the evidence.
        proven: whether the evidence says which side is right.
    """

    first: int
    last: int
    prices: float
    volumes: float
    rule: str
    why: str
    proven: bool = True


def find_blocks(series: Series, levels: Levels) -> tuple[Block, ...]:
    """The stretches of a series that a factor brings back, oldest first; steps without an exact factor are left."""
    found = (_block(series, step) for step in levels.steps)
    return tuple(_apart(block for block in found if block is not None))


def volume_shift(series: Series, begin: int, end: int) -> float | None:
    """Logarithm of how much larger volumes are outside of a stretch than in it; None where there are none."""
    inside = [b.volume for b in series.bars[max(begin, end - 20) : end] if b.volume]
    near = (*series.bars[max(0, begin - 20) : begin], *series.bars[end : end + 20])
    outside = [b.volume for b in near if b.volume]
    return math.log(median(outside) / median(inside)) if inside and outside else None


def _block(series: Series, step: Step) -> Block | None:
    if step.kind == "move" and _listed_factor(series, step) is None:
        return None
    if step.kind == "applied" or series.basis is Adjustment.NONE:
        return None
    first, last = (step.begin, step.end) if step.returns else (0, step.begin)
    # Seen from the stretch that is corrected: how much higher it is than the rest.
    height = step.size if step.returns else -step.size
    listed = _listed_factor(series, step)
    if listed is not None:
        return _split_block(series, first, last, height, listed)
    return _unit_block(series, step, first, last, height)


def _split_block(series: Series, first: int, last: int, height: float, listed: float) -> Block:
    factor = listed if height > 0 else 1.0 / listed
    shift = volume_shift(series, first, last)
    # Volumes are on the other basis too when their own step is nearer to the split than to nothing.
    inverse = shift is not None and abs(shift - math.log(factor)) < abs(shift)
    why = f"{math.exp(abs(height)):.4g} times the level of the other bars, as by the listed split of {listed:g}"
    return Block(first, last, 1.0 / factor, factor if inverse else 1.0, "split_error", why)


def _unit_block(series: Series, step: Step, first: int, last: int, height: float) -> Block | None:
    exponent = power_of_ten(height)
    if not exponent or (step.returns and not _is_whole(series, first, last)):
        return None
    if not step.returns and (abs(exponent) < 2 or len(series.bars) - step.begin < _LEAST_NEWEST):
        return None
    factor = 10.0**exponent
    shift = volume_shift(series, first, last)
    inverse = shift is not None and abs(shift - math.log(factor)) < _VOLUME_LIKENESS and last - first > _LONG
    rule = "split_error" if inverse else "unit_error"
    times = f"{10**exponent} times" if exponent > 0 else f"1/{10**-exponent} of"
    why = f"{times} the bars {'on both sides' if step.returns else 'after them'}"
    if inverse:
        why += ", and volumes step the other way"
    proven = step.returns or last <= max(1.0, _FEW * len(series.bars))
    return Block(first, last, 1.0 / factor, factor if inverse else 1.0, rule, why, proven)


def _listed_factor(series: Series, step: Step) -> float | None:
    """The factor, above 1, of a listed split that a step shows, alone or with a move of the market beside it."""
    day = series.keys[step.begin].date()
    for split in series.history.splits:
        if not 0 < split.ratio < math.inf or split.ratio == 1.0 or abs(split.day - day) > _LISTED_WINDOW:
            continue
        factor = max(split.ratio, 1.0 / split.ratio)
        off = abs(abs(step.size) - math.log(factor))
        if off <= min(_EXACT, 0.5 * math.log(factor)):
            return factor
        if off <= _LOOSE * abs(step.size) and _volumes_agree(series, step, factor):
            return factor
    return None


def _volumes_agree(series: Series, step: Step, factor: float) -> bool:
    shift = volume_shift(series, step.begin, step.end)
    wanted = math.log(factor) * math.copysign(1.0, step.size)
    return shift is not None and factor >= 3.0 and abs(shift - wanted) < _VOLUME_LIKENESS


def _is_whole(series: Series, first: int, last: int) -> bool:
    """Whether every price of a longer stretch is on its level; mixed bars are looked at price by price."""
    if last - first <= _LONG:
        return False
    level = median(series.closes[first:last])
    return all(
        abs(math.log(price / level)) < math.log(3.0) for b in series.bars[first:last] for price in prices_of(b).values()
    )


def _apart(blocks: Iterable[Block]) -> Iterable[Block]:
    """Without those that overlap an earlier one: two explanations of one bar explain nothing."""
    reached = 0
    for block in blocks:
        if block.first >= reached or block.first == 0:
            yield block
            reached = max(reached, block.last)
