"""Rows of a series: bars, and instants at which nobody traded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.domain.rows import bars_and_null_rows

FIRST = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)


def test_rows_are_told_apart_and_keep_their_order() -> None:
    """A volume of nothing is a bar; only a row without prices is none."""
    starts = [FIRST + n * timedelta(minutes=1) for n in range(4)]
    bars = [Bar(start, 5.0, 6.0, 4.0, 5.5, 0.0) for start in starts]
    rows = [(starts[0], bars[0]), (starts[1], None), (starts[2], bars[2]), (starts[3], None)]
    assert bars_and_null_rows(iter(rows)) == ((bars[0], bars[2]), (starts[1], starts[3]))


@pytest.mark.parametrize("rows", [[], [(FIRST, None)]])
def test_a_series_without_a_bar_is_no_data(rows: list[tuple[datetime, Bar | None]]) -> None:
    """Rows without prices alone are nothing to serve."""
    with pytest.raises(SourceError) as caught:
        bars_and_null_rows(rows)
    assert (caught.value.kind, caught.value.detail) == (FailureKind.NO_DATA, "no bars in the range asked")
