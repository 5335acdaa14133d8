"""A day of demand against the sandbox, which counts by the vendors' own windows and refuses what is beyond.

A short, seeded run of what `benchmarks/quotas.py` does at length for every plan.
"""

from __future__ import annotations

import pytest

from mdagent_mcp.vendors.registry import VENDORS
from quotas import WANTED_SHARE, day

PLANS = {(vendor.id, name): (vendor, plan) for vendor in VENDORS for name, plan in vendor.plans.items()}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("nasdaq", "free"),
        ("alpha_vantage", "free"),
        ("alpha_vantage", "premium_75"),
        ("polygon", "basic"),
        ("finnhub", "free"),
    ],
)
async def test_a_day_of_demand_is_never_refused_by_the_vendor_and_uses_nearly_all_of_the_quota(
    source: str, name: str
) -> None:
    """Not one call too many, at the vendor's or in any sliding window, and at least 95 % used."""
    vendor, plan = PLANS[source, name]
    spending = await day(vendor, name, plan, calls=20, seed=1)
    assert (spending.refused, spending.over) == (0, ())
    assert spending.share >= WANTED_SHARE
    assert spending.calls > 20
