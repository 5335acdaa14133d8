"""Laws of the vote's shortcuts: what is seen at once is what the long way finds."""

from __future__ import annotations

from itertools import combinations, permutations

import hypothesis.strategies as st
from hypothesis import given

from consensus.quote_building import ACME, MID_SESSION, context, quote
from mdagent_mcp.consensus.alignment import Observation, align, in_order
from mdagent_mcp.consensus.cliques import Relation, relate, widest_gap
from mdagent_mcp.consensus.market import market_at
from mdagent_mcp.consensus.tolerance import tolerance_for

_MARKET = market_at(ACME, context().calendar, MID_SESSION)


def _observed(source: str, price: float, age_s: float | None) -> Observation:
    return align(quote(source, price, age_s), _MARKET, context())


_OBSERVATIONS = st.lists(
    st.builds(
        _observed,
        st.sampled_from(("finnhub", "yahoo", "nasdaq", "tiingo")),
        st.floats(189.0, 191.0).map(lambda price: round(price, 2)),
        st.none() | st.floats(0.1, 900.0),
    ),
    min_size=1,
    max_size=5,
)


@given(_OBSERVATIONS)
def test_the_widest_gap_is_the_greatest_difference_of_any_two(observations: list[Observation]) -> None:
    """It is told as the distance within which the sources agree."""
    pairwise = [abs(a.log_price - b.log_price) for a, b in combinations(observations, 2)]

    assert widest_gap(observations) == max(pairwise, default=0.0)


@given(_OBSERVATIONS)
def test_prices_within_the_tolerance_of_no_time_apart_agree_whatever_their_ages(
    observations: list[Observation],
) -> None:
    """So that nobody has to be compared with anybody in the usual case."""
    tolerance = tolerance_for(ACME, 190.0, None)
    if widest_gap(observations) <= tolerance.agreement(0.0):
        assert all(relate(a, b, tolerance) is Relation.AGREE for a, b in combinations(observations, 2))


@given(_OBSERVATIONS)
def test_the_order_of_observations_does_not_depend_on_the_order_of_arrival(observations: list[Observation]) -> None:
    """Not even where one source speaks twice."""
    by_key = sorted(observations, key=lambda o: o.key)

    assert all(in_order(arrived) == by_key for arrived in permutations(observations))
