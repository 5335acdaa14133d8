"""A day of greedy demand against every plan of every vendor: no window of the vendor's is ever exceeded, none wasted.

The vendor counts by its own rules, independently of ours: every sliding window, and every fixed one of its calendar.
Calls reach it up to half a second after they were sent, as unevenly as may be.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from mdagent_mcp.domain.vendor import Plan, Quota
from mdagent_mcp.resilience.quota import MARGIN_SHARE
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.budgets import ARRIVAL_MARGIN_S, Budget, PrivateStore
from mdagent_mcp.vendors.registry import VENDORS

START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
DAY_S = 86_400.0
MOST_CALLS = 3_000
"""Calls of a simulation; where a plan allows more in a day, each costs several credits, or the day is shorter."""

PLANS = [(vendor.id, name, plan) for vendor in VENDORS for name, plan in vendor.plans.items() if plan.quotas]


class CountingVendor:
    """Counts what arrives, by windows of its own."""

    def __init__(self, quotas: tuple[Quota, ...]) -> None:
        self.arrivals: list[tuple[float, int]] = []
        self.quotas = quotas

    def worst(self, quota: Quota) -> int:
        """The most that one window of a quota ever held."""
        if quota.resets is not None:
            periods: Counter[object] = Counter()
            for at, cost in self.arrivals:
                local = datetime.fromtimestamp(at, ZoneInfo(quota.zone))
                periods[local.date() if quota.resets == "day" else (local.year, local.month)] += cost
            return max(periods.values())
        worst, inside, first = 0, 0, 0
        for at, cost in self.arrivals:
            inside += cost
            while self.arrivals[first][0] <= at - quota.window_s:
                inside -= self.arrivals[first][1]
                first += 1
            worst = max(worst, inside)
        return worst


def _rate_per_day(quota: Quota) -> float:
    return quota.limit if quota.resets == "day" else quota.limit * DAY_S / quota.window_s


def _allowed_in(quota: Quota, span_s: float) -> float:
    """What a quota allows from the start on for so long."""
    if quota.resets is None:
        return quota.limit * max(1.0, span_s / quota.window_s)
    first = START.astimezone(ZoneInfo(quota.zone)).date()
    last = (START + timedelta(seconds=span_s)).astimezone(ZoneInfo(quota.zone)).date()
    return quota.limit * (1 + (last - first).days)


def _cost(plan: Plan) -> int:
    """As many credits a call as keep the day short, and as divide every limit."""
    common = math.gcd(*(quota.limit for quota in plan.quotas))
    wanted = max(1.0, min(map(_rate_per_day, plan.quotas)) / MOST_CALLS)
    return max(divisor for divisor in range(1, common + 1) if common % divisor == 0 and divisor <= wanted)


@pytest.mark.parametrize(("source", "name", "plan"), PLANS, ids=[f"{source}-{name}" for source, name, _ in PLANS])
async def test_a_day_of_greedy_demand_exceeds_no_quota_and_uses_nearly_all(source: str, name: str, plan: Plan) -> None:
    """1.00 times the limit at most, and at least 95 % of what the tightest quota allows in the day."""
    clock, rng = ManualClock(START, settle_rounds=0), random.Random(f"{source} {name}")
    budget = Budget(f"{source}-{name}", plan.quotas, clock, PrivateStore())
    vendor, sent, cost, spent = CountingVendor(plan.quotas), CountingVendor(plan.quotas), _cost(plan), 0
    span_s = min(DAY_S, DAY_S * MOST_CALLS * cost / min(map(_rate_per_day, plan.quotas)))
    while True:
        admission = await budget.admit(cost)
        if admission.allowed:
            spent += cost
            sent.arrivals.append((clock.now().timestamp(), cost))
            vendor.arrivals.append((clock.now().timestamp() + rng.uniform(0.0, ARRIVAL_MARGIN_S), cost))
            continue
        assert admission.wait_s is not None
        if clock.monotonic() + admission.wait_s >= span_s:
            break
        await clock.advance(admission.wait_s)
    vendor.arrivals.sort()
    for quota in plan.quotas:
        assert sent.worst(quota) <= quota.limit, quota
        # A margin of half a second would cost most of a window of seconds: those are kept as calls are sent.
        if quota.resets is not None or quota.window_s * MARGIN_SHARE >= ARRIVAL_MARGIN_S:
            assert vendor.worst(quota) <= quota.limit, quota
    assert spent >= 0.95 * min(_allowed_in(quota, span_s) for quota in plan.quotas)
