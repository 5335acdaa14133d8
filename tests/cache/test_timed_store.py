"""Behaviour of the answer cache."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.cache import Entry, TimedStore

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_an_entry_is_fresh_until_its_age_reaches_the_limit() -> None:
    """`max_age_s` is exclusive: an answer exactly that old is asked for again."""
    store: TimedStore[str, int] = TimedStore(4)
    store.store("AAPL", 1, NOON)
    assert store.fresh("AAPL", NOON + timedelta(seconds=1.9), 2.0) == Entry(1, NOON)
    assert store.fresh("AAPL", NOON + timedelta(seconds=2), 2.0) is None
    assert store.find("AAPL") == Entry(1, NOON)


def test_an_age_of_zero_finds_nothing() -> None:
    """An asker who tolerates no age always gets a new answer."""
    store: TimedStore[str, int] = TimedStore(4)
    store.store("AAPL", 1, NOON)
    assert store.fresh("AAPL", NOON, 0.0) is None


def test_what_was_stored_before_the_clock_was_set_back_is_not_fresh() -> None:
    """Counted as new, it would be served until the clock had caught up: for hours, and nobody would be asked."""
    assert Entry(1, NOON).age_s(NOON - timedelta(hours=1)) == math.inf
    store: TimedStore[str, int] = TimedStore(4)
    store.store("AAPL", 1, NOON)
    assert store.fresh("AAPL", NOON - timedelta(seconds=1), 600.0) is None
    assert store.find("AAPL") == Entry(1, NOON)


def test_amending_keeps_the_age() -> None:
    """A late answer improves an entry, it does not make it younger."""
    store: TimedStore[str, int] = TimedStore(4)
    store.store("AAPL", 1, NOON)
    store.amend("AAPL", 2)
    store.amend("MSFT", 3)
    assert store.find("AAPL") == Entry(2, NOON)
    assert store.find("MSFT") is None


def test_a_store_without_room_is_refused() -> None:
    """A capacity of nothing is a mistake in the settings."""
    with pytest.raises(ValueError, match="at least one entry"):
        TimedStore(0)


@given(st.lists(st.integers(0, 30), min_size=1), st.integers(1, 8))
def test_the_least_recently_used_leaves_first(keys: list[int], capacity: int) -> None:
    """What stays is exactly the last `capacity` different keys that were touched."""
    store: TimedStore[int, int] = TimedStore(capacity)
    for key in keys:
        store.store(key, key, NOON)
    newest = list(dict.fromkeys(reversed(keys)))[:capacity]
    assert len(store) == len(newest)
    assert all(store.find(key) == Entry(key, NOON) for key in newest)
