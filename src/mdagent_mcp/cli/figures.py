"""Numbers for the eye: prices, ages, volumes, bars of blocks.

The rule of this module: what is not known is a dash, never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

UNKNOWN: Final = "-"
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_PARTS: Final = " ▏▎▍▌▋▊▉"
_VOLUME_UNITS: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_AGE_UNITS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def price_text(value: float | None) -> str:
    """A price with thousands separators, seven significant digits and at least two decimals.

    Some vendors send single-precision numbers, whose digits beyond the seventh are noise.
    """
    if value is None:
        return UNKNOWN
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    exact = f"{value:.{min(max(2, 6 - magnitude), 8)}f}"
    decimals = len(exact.rstrip("0").partition(".")[2])
    return f"{value:,.{max(2, decimals)}f}"


def change_text(value: float | None) -> str:
    """A percentage with its sign."""
    return UNKNOWN if value is None else f"{value:+.2f} %"


def age_text(seconds: float | None) -> str:
    """An age in the largest unit that leaves a whole number."""
    if seconds is None:
        return UNKNOWN
    for size, unit in _AGE_UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def volume_text(value: float | None) -> str:
    """A volume with three significant digits and a unit."""
    if value is None:
        return UNKNOWN
    for size, unit in _VOLUME_UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}" if abs(value) / size < 999.5 else f"{value / size:.0f} {unit}"
    return f"{value:g}"


def time_text(text: str) -> str:
    """An instant or a date of an answer without letters, and without seconds when there are none."""
    return text.replace("T", " ").removesuffix("Z").removesuffix(":00")


def share_text(value: float | None) -> str:
    """A fraction as a percentage."""
    return UNKNOWN if value is None else f"{value * 100:.1f} %"


def sparkline(values: Sequence[float], width: int) -> str:
    """A line of blocks from the lowest to the highest value.

    Args:
        values: in order of time.
        width: characters at most; longer series are thinned by averaging neighbours.
    """
    if not values or width < 1:
        return ""
    points = _thinned(values, width)
    low, high = min(points), max(points)
    if high == low:
        return _BLOCKS[3] * len(points)
    return "".join(_BLOCKS[round((p - low) / (high - low) * (len(_BLOCKS) - 1))] for p in points)


def meter(score: float, width: int) -> str:
    """A bar that is full at 100, padded to `width` characters."""
    eighths = round(min(max(score, 0.0), 100.0) / 100.0 * width * 8)
    full, part = divmod(eighths, 8)
    return f"{'█' * full}{_PARTS[part] if part else ''}".ljust(width, "·")


def _thinned(values: Sequence[float], width: int) -> list[float]:
    count = min(len(values), width)
    bounds = [index * len(values) // count for index in range(count + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
