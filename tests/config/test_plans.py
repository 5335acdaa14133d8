"""The names of plans and entitlements that the contract promises, and what is said to any other."""

from __future__ import annotations

import pytest

from mdagent_mcp.config.loading import ConfigurationError, load
from mdagent_mcp.config.settings import SOURCE_IDS

PLANS = {
    "yahoo": [],
    "nasdaq": [],
    "cboe": [],
    "alpha_vantage": ["premium_75", "premium_150", "premium_300", "premium_600", "premium_1200"],
    "polygon": ["basic", "starter", "developer", "advanced"],
    "twelve_data": ["basic", "grow", "pro", "ultra"],
    "finnhub": ["premium"],
    "iex_cloud": [],
    "tiingo": ["starter", "power"],
}
"""Beside `free`, which every source has."""


def test_every_source_has_its_plans_here_and_the_order_is_the_contracts() -> None:
    """Surfaces list them so."""
    assert list(SOURCE_IDS) == list(PLANS)


@pytest.mark.parametrize(("source", "plan"), [(s, p) for s, plans in PLANS.items() for p in ("free", *plans)])
def test_a_plan_of_the_contract_is_accepted(source: str, plan: str) -> None:
    """Under the vendor's own name in lower case; free everywhere."""
    settings = load({f"MDAGENT_SOURCES__{source.upper()}__PLAN": plan}).settings
    assert settings.source(source).plan == plan


@pytest.mark.parametrize("source", PLANS)
def test_an_unknown_plan_is_answered_with_those_there_are(source: str) -> None:
    """All of them, in the vendor's order."""
    names = ", ".join(("free", *PLANS[source]))
    with pytest.raises(ConfigurationError, match=f"'gold' is not a plan of {source}; use one of: {names}$"):
        load({f"MDAGENT_SOURCES__{source.upper()}__PLAN": "gold"})


@pytest.mark.parametrize("name", ["delayed", "realtime"])
def test_an_entitlement_of_alpha_vantage_is_accepted(name: str) -> None:
    """Beside any plan; an empty one is none."""
    settings = load({"MDAGENT_SOURCES__ALPHA_VANTAGE__ENTITLEMENT": name}).settings
    assert settings.source("alpha_vantage").entitlement == name
    assert (
        load({"MDAGENT_SOURCES__ALPHA_VANTAGE__ENTITLEMENT": ""}).settings.source("alpha_vantage").entitlement is None
    )


def test_an_unknown_entitlement_is_answered_with_those_there_are() -> None:
    """And elsewhere with where there are any."""
    with pytest.raises(ConfigurationError, match="'live' is not sold by alpha_vantage; use one of: delayed, realtime"):
        load({"MDAGENT_SOURCES__ALPHA_VANTAGE__ENTITLEMENT": "live"})
    with pytest.raises(ConfigurationError, match=r"polygon sells none beside its plans.*only: alpha_vantage"):
        load({"MDAGENT_SOURCES__POLYGON__ENTITLEMENT": "realtime"})
