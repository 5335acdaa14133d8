"""Behaviour of the shadow price of a quota."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.quota import QuotaUsage
from mdagent_mcp.resilience.scarcity import dearest, shadow_price

DAY = Quota(800, 86_400.0, "day", resets="day")
MINUTE = Quota(60, 60.0, "minute")
elapsed = st.none() | st.floats(0, 1)


@given(st.floats(0, 1000), st.floats(0, 1000), elapsed)
def test_more_left_is_never_dearer(used: float, more: float, passed: float | None) -> None:
    """And nothing is ever paid for spending."""
    assert 0.0 <= shadow_price(used, 1000, passed) <= shadow_price(used + more, 1000, passed)


@given(st.floats(0, 1000), st.floats(0, 1), st.floats(0, 1))
def test_nearer_to_the_renewal_is_never_dearer(used: float, first: float, second: float) -> None:
    """The same calls are less of a lead later."""
    early, late = sorted((first, second))
    assert shadow_price(used, 1000, late) <= shadow_price(used, 1000, early)


def test_an_even_pace_is_free_and_a_lead_over_it_is_not() -> None:
    """Half of the day's calls at half of the day; at a quarter of it they are a third of what is left too many."""
    assert shadow_price(400, 800, 0.5) == 0.0
    assert shadow_price(400, 800, 0.25) == pytest.approx(0.5)
    assert shadow_price(799, 800, 0.25) > 100


def test_the_first_calls_after_a_renewal_are_free() -> None:
    """Nobody has to wait for a pace to begin with."""
    assert shadow_price(80, 800, 0.0) == 0.0


def test_half_of_a_sliding_window_is_free() -> None:
    """A burst is served; then calls become dearer until the window is full."""
    assert [shadow_price(used, 60, None) for used in (30, 45)] == [0.0, pytest.approx(1.0)]


def test_the_quota_that_is_shortest_decides() -> None:
    """A day's quota that is spent too fast, and a minute's that is not; without quotas nothing is short."""
    usages = (QuotaUsage(DAY, 400, 86_400.0 * 0.75), QuotaUsage(MINUTE, 3, 10.0))
    assert dearest(usages, 0.0) == pytest.approx(0.5)
    assert dearest((QuotaUsage(DAY, 0, None),), 0.0) == 0.0
    assert dearest((), 0.0) == 0.0
