"""Rows of a series as vendors send them: a bar each, or nothing but the instant where nobody traded."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.prices import Bar


def bars_and_null_rows(
    rows: Iterable[tuple[datetime, Bar | None]],
) -> tuple[tuple[Bar, ...], tuple[datetime, ...]]:
    """The bars of the rows that were asked for, and the starts of those without prices, both in the rows' order.

    Raises:
        SourceError: NO_DATA when there is not one bar.
    """
    found = tuple(rows)
    bars = tuple(bar for _, bar in found if bar is not None)
    if not bars:
        raise SourceError(FailureKind.NO_DATA, "no bars in the range asked")
    return bars, tuple(start for start, bar in found if bar is None)
