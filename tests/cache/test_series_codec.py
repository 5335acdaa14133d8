"""A known series survives being written, and nothing else that is found in its place is taken for one."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.simulated_series import CALENDAR, SimulatedSeries
from mdagent_mcp.cache.known import KnownSeries, SeriesKey, extended, first_known
from mdagent_mcp.cache.market_days import MarketDays
from mdagent_mcp.cache.ranges import Span
from mdagent_mcp.cache.series_codec import MOST_BYTES, decode, encode
from mdagent_mcp.domain.prices import Adjustment, Dividend, Interval

NOW = datetime(2026, 11, 24, 16, 30, 0, 123456, tzinfo=UTC)
KEY = SeriesKey("one", "AAPL", Interval.DAY_1, Adjustment.SPLITS, extended_hours=False)
DAILY = MarketDays(CALENDAR, Interval.DAY_1)


def some_series(at: datetime = NOW) -> KnownSeries:
    """Two parts, a tail and events."""
    source = SimulatedSeries(splits={date(2026, 9, 15): 2.0})
    early = Span(date(2026, 9, 1), date(2026, 10, 1))
    known = first_known(early, source.say(early, at - timedelta(hours=1)), DAILY)
    assert known is not None
    late = Span(date(2026, 10, 1), date(2026, 11, 24))
    told = replace(source.say(late, at), dividends=(Dividend(date(2026, 11, 9), 0.26),), notes=("a note",))
    together = extended(known, late, told, DAILY)
    assert together is not None
    return together


def changed(**changes: Any) -> bytes:
    """A series as we write it, but for these."""
    body = encode(KEY, some_series())
    assert body is not None
    return zlib.compress(json.dumps({**json.loads(zlib.decompress(body)), **changes}).encode())


def test_what_was_written_is_read_as_it_was() -> None:
    """Every price, every instant to the microsecond, and when each part had arrived."""
    body = encode(KEY, some_series())
    assert body is not None
    assert decode(KEY, body, NOW) == some_series()
    assert decode(KEY, changed(), NOW) == some_series()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"source": "two"},
        {"symbol": "MSFT"},
        {"asked": "all"},
        {"interval": "2d"},
        {"bars": []},
        {"bars": [[0, 1.0, 1.0, 1.0, 1.0, None]]},
        {"bars": [[1, 1.0, 1.0, 1.0, 1.0, None, None], [0, 1.0, 1.0, 1.0, 1.0, None, None]]},
        {"bars": [[0, float("nan"), 1.0, 1.0, 1.0, None, None]]},
        {"bars": [[10**18, 1.0, 1.0, 1.0, 1.0, None, None]]},
        {"received_at": int(NOW.timestamp() * 1e6) + 60 * 10**6},
        {"verified_at": int(NOW.timestamp() * 1e6) + 60 * 10**6},
        {"settled": [[["2026-09-01", "2027-09-01"], int(NOW.timestamp() * 1e6)]]},
        {"settled": [[["2026-09-02", "2026-09-01"], int(NOW.timestamp() * 1e6)]]},
        {"notes": ["x" * 301]},
        {"something": "else"},
    ],
)
def test_what_cannot_be_true_is_not_read(changes: dict[str, Any]) -> None:
    """Another version, another series, disorder, no numbers, the future."""
    assert decode(KEY, changed(**changes), NOW) is None


def test_a_bomb_is_not_unpacked() -> None:
    """Nor is what is cut short."""
    assert decode(KEY, zlib.compress(b" " * (MOST_BYTES + 1)), NOW) is None
    body = encode(KEY, some_series())
    assert body is not None
    assert decode(KEY, body[:-10], NOW) is None


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_byte_is_noticed(place: int, value: int) -> None:
    """Whatever it becomes, nothing is raised and nothing else is read."""
    body = bytearray(BODY)
    body[place % len(body)] = value
    assert decode(KEY, bytes(body), NOW) in (None, SERIES)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Never an error."""
    assert decode(KEY, body, NOW) is None


SERIES = some_series()
BODY = encode(KEY, SERIES) or b""
