"""What the dates of replies tell about this machine's own clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.clock import Uptime
from mdagent_mcp.resilience.machine_clock import KEPT_S, LEAST_S, MOST_S, ServerDate, ahead_s, clock_error_s, dated

NOON: Final = datetime(2026, 11, 24, 17, 0, 0, tzinfo=UTC)
UP: Final = Uptime(1000.0, "this start")
ERRORS: Final = st.dictionaries(st.sampled_from("abcdefghi"), st.floats(-MOST_S, MOST_S), min_size=1)


def test_a_reply_is_dated_by_its_server() -> None:
    """RFC 9110: to the second, in GMT."""
    assert dated({"date": "Tue, 24 Nov 2026 17:00:00 GMT"}, UP) == ServerDate(NOON.timestamp(), UP)


def test_what_a_cache_has_held_is_older_by_its_age() -> None:
    """RFC 9111: the origin's date, and for how long it lay in between."""
    assert dated({"date": "Tue, 24 Nov 2026 16:58:40 GMT", "age": "80"}, UP) == ServerDate(NOON.timestamp(), UP)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"date": ""},
        {"date": "0"},
        {"date": "soon"},
        {"date": "Tue, 99 Nov 2026 17:00:00 GMT"},
        {"date": "Tue, 24 Nov 99999999999 17:00:00 GMT"},
        {"date": "Tue, 24 Nov 2026 17:00:00 -0000"},
        {"date": "Tue, 24 Nov 2026 17:00:00 GMT", "age": "a while"},
        {"date": "Tue, 24 Nov 2026 17:00:00 GMT", "age": "nan"},
        {"date": "Tue, 24 Nov 2026 17:00:00 GMT", "age": "-5"},
        {"date": "Tue, 24 Nov 2026 17:00:00 GMT", "age": "1e300"},
    ],
)
def test_what_tells_no_time_is_no_date(headers: dict[str, str]) -> None:
    """Nothing is concluded from it, and nothing fails."""
    assert dated(headers, UP) is None


def test_a_date_runs_on_with_the_uptime_so_that_a_clock_set_since_is_noticed() -> None:
    """Ten minutes later by the uptime, the clock shows an hour and ten minutes more."""
    dates = {"yahoo": ServerDate(NOON.timestamp(), UP)}
    later = Uptime(UP.seconds + 600.0, UP.boot)
    assert ahead_s(dates, NOON + timedelta(minutes=10), later) == {"yahoo": 0.0}
    assert ahead_s(dates, NOON + timedelta(minutes=70), later) == {"yahoo": 3600.0}


def test_what_was_heard_long_ago_or_at_another_start_counts_no_more() -> None:
    """Clocks drift, and uptimes of two starts cannot be compared; who is days away tells no time at all."""
    dates = {"yahoo": ServerDate(NOON.timestamp(), UP)}
    assert ahead_s(dates, NOON, Uptime(UP.seconds + KEPT_S + 1.0, UP.boot)) == {}
    assert ahead_s(dates, NOON, Uptime(UP.seconds, "another start")) == {}
    assert ahead_s(dates, NOON + timedelta(days=3), UP) == {}


@pytest.mark.parametrize(
    ("ahead", "error_s"),
    [
        ({}, None),
        ({"a": 0.4}, 0.0),
        ({"a": 3600.0}, 3600.0),
        ({"a": 3600.0, "b": 0.0}, 0.0),
        ({"a": 3600.4, "b": 3599.8}, 3599.8),
        ({"a": 3600.0, "b": 3601.0, "c": 0.0}, 3600.0),
        ({"a": -61.0, "b": -60.0, "c": -0.5}, -60.0),
        ({"a": -3600.0, "b": 3600.0}, 0.0),
        ({"a": 29.0, "b": 29.0}, 0.0),
    ],
)
def test_the_clock_is_wrong_where_most_servers_say_so(ahead: dict[str, float], error_s: float | None) -> None:
    """In one direction, by more than half a minute; one of two proves nothing, one alone is doubt enough."""
    assert clock_error_s(ahead) == error_s


@given(ERRORS)
def test_the_error_is_none_or_one_that_a_majority_exceeds(ahead: dict[str, float]) -> None:
    """Never invented, never more than what most say, and the other way round for a clock that is behind."""
    error = clock_error_s(ahead)
    assert error is not None
    if error == 0.0:
        return
    as_far = [s for s in ahead.values() if (s >= error if error > 0 else s <= error)]
    assert abs(error) > LEAST_S
    assert 2 * len(as_far) > len(ahead)
    assert clock_error_s({name: -seconds for name, seconds in ahead.items()}) == -error
