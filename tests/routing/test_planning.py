"""Behaviour of the asking order."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.routing.planning import Candidate, asking_order, utility, worth_asking
from mdagent_mcp.routing.waves import request_shares

FINNHUB = Candidate("finnhub", "finnhub", 0.9, cost_per_call=0.02)
NASDAQ = Candidate("nasdaq", "nasdaq_last_sale", 0.85)
YAHOO = Candidate("yahoo", "nasdaq_last_sale", 0.8)
CBOE = Candidate("cboe", "cboe", 0.75, declared_delay_s=900)
ALL = (FINNHUB, NASDAQ, YAHOO, CBOE)

candidates = st.lists(
    st.builds(
        Candidate,
        st.sampled_from("abcdefgh"),
        st.sampled_from(["x", "y", "z"]),
        st.floats(0, 1),
        st.floats(0, 1),
        st.sampled_from([0.0, 900.0, 86_400.0]),
        st.floats(0, 5),
    ),
    unique_by=lambda c: c.source,
)


def test_independent_groups_come_before_a_second_voice_of_the_same_group() -> None:
    """Yahoo passes on what Nasdaq passes on: it comes last although it is trusted more than Cboe."""
    assert asking_order(ALL, live=False) == ("finnhub", "nasdaq", "cboe", "yahoo")


def test_a_delayed_source_waits_while_the_market_trades() -> None:
    """A price of fifteen minutes ago has no say about now."""
    assert asking_order(ALL, live=True) == ("finnhub", "nasdaq", "yahoo", "cboe")


def test_a_group_that_was_asked_already_is_no_new_voice() -> None:
    """With Nasdaq's group asked, Cboe comes first."""
    assert asking_order((YAHOO, CBOE), live=False, asked_groups=["nasdaq_last_sale"]) == ("cboe", "yahoo")


def test_going_on_for_a_grade_spends_the_free_calls_first() -> None:
    """A scarce key is used when nothing free is left."""
    scarce = replace(FINNHUB, cost_per_call=1.0, trust=1.0)
    assert asking_order((scarce, NASDAQ, YAHOO), live=True, cheapest_first=True) == ("nasdaq", "yahoo", "finnhub")


def test_waiting_for_a_limiter_costs_utility() -> None:
    """A source that would make us wait is worth less now."""
    assert utility(replace(NASDAQ, wait_s=1.0), live=True) < utility(YAHOO, live=True)


@given(candidates, st.booleans(), st.booleans())
def test_everybody_is_asked_exactly_once(found: list[Candidate], live: bool, cheapest: bool) -> None:
    """An order is a permutation of the candidates, and does not depend on theirs."""
    order = asking_order(found, live=live, cheapest_first=cheapest)
    assert sorted(order) == sorted(c.source for c in found)
    assert order == asking_order(list(reversed(found)), live=live, cheapest_first=cheapest)


@settings(deadline=None)  # eight sources make many sets
@given(candidates)
def test_shares_are_shares(found: list[Candidate]) -> None:
    """They are not negative and add up to one, or to nothing when nobody is worth asking."""
    shares = request_shares(found, live=True)
    assert all(share >= 0 for share in shares.values())
    assert not any(shares.values()) or abs(sum(shares.values()) - 1) < 0.001


CLOSES = Candidate("closes", "closes", 0.9, cost_per_call=0.2, declared_delay_s=86_400.0)


def test_closes_are_not_asked_for_while_the_market_trades_and_somebody_else_is_left() -> None:
    """A price of fifteen minutes ago still is one of today."""
    assert worth_asking((CLOSES, CBOE), live=True) == (CBOE,)
    assert worth_asking((CLOSES, CBOE), live=False) == (CLOSES, CBOE)
    assert worth_asking((CLOSES,), live=True) == (CLOSES,)
    assert worth_asking((CLOSES,), live=True, answered=True) == ()
    assert request_shares((CLOSES, CBOE), live=True) == {"closes": 0.0, "cboe": 1.0}


@given(candidates, st.booleans(), st.booleans())
def test_whoever_is_left_out_tells_closes_only(found: list[Candidate], live: bool, answered: bool) -> None:
    """And somebody is left whenever there was somebody and nothing was said."""
    kept = worth_asking(found, live=live, answered=answered)
    assert all(c.declared_delay_s >= 86_400.0 for c in found if c not in kept)
    assert kept or not found or answered
