"""Figures and tables of the fusion benchmarks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_Z = 1.959964


def wilson(hits: float, trials: float) -> tuple[float, float]:
    """The 95 % Wilson interval of a share (Wilson, JASA 22, 1927)."""
    if trials <= 0:
        return 0.0, 1.0
    share, square = hits / trials, _Z * _Z
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials)) / (1 + square / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def calibration_error(outcomes: Iterable[tuple[float, bool]], bins: int = 10) -> float:
    """Expected calibration error over equally wide bins of the stated probability."""
    cells = [[0.0, 0.0, 0.0] for _ in range(bins)]
    for stated, right in outcomes:
        cell = cells[min(int(stated * bins), bins - 1)]
        cell[0] += 1
        cell[1] += right
        cell[2] += stated
    total = sum(cell[0] for cell in cells)
    return sum(abs(cell[1] - cell[2]) for cell in cells) / total if total else 0.0


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
