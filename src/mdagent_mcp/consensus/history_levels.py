"""Steps in the level of a series: where it jumps, whether it comes back, and what kind of error the ratio looks like.

A step is explained by its ratio (a power of ten is a unit, a small whole number a split) and by how the market behaved
on that bar: a real crash comes with a wide range and heavy volume, a wrong factor with an ordinary day at another
level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Final, Literal

from mdagent_mcp.consensus.history_series import Series, pays_dividend, prices_of
from mdagent_mcp.domain.prices import Adjustment

StepKind = Literal["unit", "split", "move", "applied"]
"""Wrong unit, split factor, a move of the market, or a listed split as it should show in unadjusted prices."""

SPLIT_FACTORS: Final = (1.5, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)
"""Split ratios that a step is compared with, beside those the source lists."""
_ANY_FACTOR: Final = math.log(3.0)
"""From this size on any step without signs of trading is a wrong factor: a day's own move hides the exact ratio."""
_NO_MARKET: Final = math.log(20.0)
"""No market makes a step of this size one day and undoes it soon after."""
_SMALLEST_STEP: Final = math.log(1.25)
_WILD: Final = 12.0
"""Deviations that a step must have to be a split that nobody lists: a wild series hits any small ratio by chance."""
_UNIT_TOLERANCE: Final = 0.15
_LN10: Final = math.log(10.0)
_NEIGHBOURS: Final = 10
EVENT_WINDOW: Final = timedelta(days=3)
"""How far the listed day of a split may lie from the step it makes."""
_WIDE: Final = 4.0
"""A bar is looked at for wrong cells when its high exceeds its low this many times."""


@dataclass(frozen=True, slots=True)
class Step:
    """A break in the level.

    Attributes:
        begin: the first bar at the other level.
        end: the bar after the last one at that level; the series' length when it never comes back.
        size: logarithm of the ratio.
        returns: whether the series comes back to where it was.
        kind: what it looks like.
    """

    begin: int
    end: int
    size: float
    returns: bool
    kind: StepKind

    def affected(self, length: int) -> range:
        """The bars on the shorter side: those more likely wrong."""
        if self.returns or length - self.begin <= self.begin:
            return range(self.begin, self.end)
        return range(self.begin)

    @property
    def shown(self) -> str:
        """The ratio for people."""
        return f"{math.exp(abs(self.size)):.4g} times {'higher' if self.size > 0 else 'lower'}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One price that is off by a power of ten.

    Attributes:
        index: which bar.
        name: which of the four prices.
        exponent: of ten; positive when it is too large.
        level: what its neighbours say.
    """

    index: int
    name: str
    exponent: int
    level: float


@dataclass(frozen=True, slots=True)
class Levels:
    """The steps of a series and its cells of a wrong unit.

    Attributes:
        steps: every break, in order.
        cells: single prices off by a power of ten that the series' own neighbours show.
    """

    steps: tuple[Step, ...]
    cells: tuple[Cell, ...]


def find_levels(series: Series) -> Levels:
    """The steps and wrong cells of a series; empty for fewer than three bars."""
    if len(series.bars) < 3:
        return Levels((), ())
    steps = tuple(_steps(series))
    blocks = {n for s in steps if s.kind == "unit" and s.returns for n in range(s.begin, s.end)}
    wide = [n for n, bar in enumerate(series.bars) if n not in blocks and bar.high > _WIDE * bar.low]
    cells = [c for n in sorted(blocks.union(wide)) for c in _wrong_cells(series, n, blocks)]
    return Levels(steps, tuple(cells))


def power_of_ten(size: float) -> int:
    """The exponent when the logarithm of a ratio is close to a power of ten up to 1000, else 0."""
    exponent = round(size / _LN10)
    return exponent if 0 < abs(exponent) <= 3 and abs(size - exponent * _LN10) <= _UNIT_TOLERANCE else 0


def level_around(series: Series, index: int, left_out: set[int]) -> float | None:
    """The median close of up to five bars on either side; None when there are none."""
    before: list[float] = []
    after: list[float] = []
    for closes, places in ((before, range(index - 1, -1, -1)), (after, range(index + 1, len(series.bars)))):
        for n in places:
            if len(closes) == 5:
                break
            if n not in left_out:
                closes.append(series.closes[n])
    return median(before + after) if before or after else None


def volume_burst(series: Series, index: int, factor: float) -> bool | None:
    """Whether the bar's volume exceeds the median of the 20 before it so many times; None when it cannot be told."""
    volume = series.bars[index].volume
    usual = [b.volume for b in series.bars[max(0, index - 20) : index] if b.volume is not None]
    if volume is None or not usual or (volume == 0 and not any(usual)):
        return None
    return volume > factor * median(usual)


def _steps(series: Series) -> list[Step]:
    # Many wrong bars inflate even a median; a threefold step is looked at however wild the series is.
    threshold = min(max(_SMALLEST_STEP, 5.0 * series.deviation), _ANY_FACTOR)
    breaks = [n for n, r in enumerate(series.returns) if abs(r) > threshold]
    steps: list[Step] = []
    taken: set[int] = set()
    for place, begin in enumerate(breaks):
        if begin in taken:
            continue
        size = series.returns[begin]
        end = _return_of(series, size, breaks[place + 1 : place + 4])
        taken.update(n for n in breaks if end is not None and begin <= n <= end)
        last = len(series.bars) if end is None else end
        kind = _kind(series, begin, size, returns=end is not None)
        if end is not None and kind == "move":
            # Two moves of the market that happen to cancel out are two moves.
            taken.discard(end)
            last, end = len(series.bars), None
        steps.append(Step(begin, last, size, end is not None, kind))
    return steps


def _return_of(series: Series, size: float, following: Sequence[int]) -> int | None:
    return next((n for n in following if abs(size + series.returns[n]) <= 0.25 * abs(size)), None)


def _kind(series: Series, begin: int, size: float, *, returns: bool) -> StepKind:
    near = _event_at(series, begin)
    if near is not None and abs(size + math.log(near)) <= 0.12:
        return "applied" if series.basis is Adjustment.NONE else "split"
    exponent = abs(power_of_ten(size))
    if exponent >= 2 or (exponent == 1 and returns):
        return "unit"
    if returns and abs(size) > _NO_MARKET:
        return "split"
    if pays_dividend(series, begin) or not (returns or _sustained(series, begin, size)):
        return "move"
    if abs(size) < _ANY_FACTOR and (not _near_factor(series, size) or _is_wild(series, size)):
        return "move"
    return "move" if _is_trading(series, begin, size) else "split"


def _near_factor(series: Series, size: float) -> bool:
    listed = [s.ratio for s in series.history.splits if 0 < s.ratio < math.inf]
    factors = (*SPLIT_FACTORS, *(max(r, 1.0 / r) for r in listed))
    return any(abs(abs(size) - math.log(k)) <= min(0.12, 0.12 * math.log(k)) for k in factors if k >= 1.25)


def _is_wild(series: Series, size: float) -> bool:
    """Whether a series hits a small ratio by chance: its moves are large, or most of its bars repeat the last trade."""
    moved = [abs(r) for r in series.returns[1:] if r]
    if 2 * len(moved) <= len(series.returns):
        return True
    return abs(size) < _WILD * 1.4826 * median(moved)


def _event_at(series: Series, index: int) -> float | None:
    day = series.keys[index].date()
    near = [s.ratio for s in series.history.splits if abs(s.day - day) <= EVENT_WINDOW and s.ratio > 0]
    return near[0] if near else None


def _sustained(series: Series, begin: int, size: float) -> bool:
    before = median(series.closes[max(0, begin - _NEIGHBOURS) : begin])
    after = median(series.closes[begin : begin + _NEIGHBOURS])
    return math.log(after / before) / size >= 0.6


def _is_trading(series: Series, index: int, size: float) -> bool:
    """Whether the bar looks like a day on which the market itself moved: wide, and busier than a split explains.

    After a split that is applied nowhere, k times as many shares change hands at 1/k of the price.
    """
    bar = series.bars[index]
    if (bar.high - bar.low) / bar.close <= max(1.5 * series.median_range, 0.02):
        return False
    return volume_burst(series, index, 2.5 * max(1.0, math.exp(-size))) is not False


def _wrong_cells(series: Series, index: int, blocks: set[int]) -> list[Cell]:
    level = level_around(series, index, blocks)
    if level is None:
        return []
    found = []
    for name, price in prices_of(series.bars[index]).items():
        exponent = power_of_ten(math.log(price / level))
        if exponent:
            found.append(Cell(index, name, exponent, level))
    return found
