"""Which of several claims is chosen, how sure that is, and the laws that hold for any claims."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.consensus.selection import Claim, Known, interval, select

KNOWN = Known(tolerance=5e-4, step=1e-4, centre=0.0, spread=0.02)
_SECOND = 1e-8
"""Variance of one second."""
_laws = settings(max_examples=150, deadline=None)


def claim(value: float, age_s: float = 1.0, fault: float = 0.02, group: str = "", bias: float = 0.0) -> Claim:
    """A claim `age_s` seconds old."""
    return Claim(value, age_s * _SECOND, fault, group=group, bias=bias)


_claims = st.builds(
    claim,
    st.one_of(st.sampled_from([0.0, 1e-4, 6e-4, 0.01, 4.6]), st.floats(-0.03, 0.03)),
    st.sampled_from([0.1, 1.0, 2.0, 30.0, 900.0]),
    st.sampled_from([0.002, 0.02, 0.2, 0.6]),
    st.sampled_from(["a", "b", "c", "d"]),
)


@_laws
@given(claims=st.lists(_claims, min_size=1, max_size=7), seed=st.integers(0, 99))
def test_the_order_of_claims_does_not_matter(claims: list[Claim], seed: int) -> None:
    """The same value is chosen with the same probability."""
    shuffled = list(claims)
    random.Random(seed).shuffle(shuffled)
    first, second = select(claims, KNOWN), select(shuffled, KNOWN)
    assert claims[first.index].value == shuffled[second.index].value
    assert first.probability == pytest.approx(second.probability, abs=1e-12)


@_laws
@given(claims=st.lists(_claims, min_size=1, max_size=6), factor=st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_unit_does_not_matter(claims: list[Claim], factor: float) -> None:
    """All values, tolerances and deviations in another unit: the same choice, equally sure."""
    scaled = [c._replace(value=c.value * factor, drift=c.drift * factor**2) for c in claims]
    known = Known(KNOWN.tolerance * factor, KNOWN.step * factor, KNOWN.centre * factor, KNOWN.spread * factor)
    first, second = select(claims, KNOWN), select(scaled, known)
    assert claims[first.index].value == claims[second.index].value
    assert first.probability == pytest.approx(second.probability, abs=1e-9)


@_laws
@given(claims=st.lists(_claims, min_size=1, max_size=5), copies=st.integers(1, 4))
def test_copies_of_a_group_add_nothing(claims: list[Claim], copies: int) -> None:
    """Sources that pass on the same data are one witness."""
    once, more = select(claims, KNOWN), select([*claims, *[claims[0]] * copies], KNOWN)
    assert [*claims, *[claims[0]] * copies][more.index].value == claims[once.index].value
    assert more.probability == pytest.approx(once.probability, abs=1e-12)


@_laws
@given(claims=st.lists(_claims, min_size=1, max_size=6), chosen=st.data())
def test_only_what_is_eligible_is_chosen_and_the_interval_contains_it(
    claims: list[Claim], chosen: st.DataObject
) -> None:
    """Its own value, never an average; probabilities are probabilities."""
    eligible = chosen.draw(st.lists(st.booleans(), min_size=len(claims), max_size=len(claims)).filter(any))
    selection = select(claims, KNOWN, eligible)
    assert eligible[selection.index]
    assert all(0 <= p <= 1 for p in selection.probabilities)
    value = claims[selection.index].value
    low, high = interval(selection, value)
    assert low <= value <= high


@_laws
@given(age_s=st.floats(0.1, 800), older=st.floats(1.01, 3), apart=st.sampled_from([0.0, 3e-4, 1e-3]))
def test_a_lone_claim_is_less_sure_the_older_it_is(age_s: float, older: float, apart: float) -> None:
    """Monotone in age; the interval widens."""
    young, old = (select([claim(apart, a)], KNOWN) for a in (age_s, age_s * older))
    assert old.probability < young.probability
    low, high = interval(young, apart)
    assert interval(old, apart)[0] < low <= high < interval(old, apart)[1]


@_laws
@given(fault=st.floats(0.01, 0.5), worse=st.floats(1.1, 1.7))
def test_of_two_that_contradict_each_other_the_less_faulty_gains(fault: float, worse: float) -> None:
    """Monotone in the learned probability of a fault."""
    pair = [claim(0.0, group="a", fault=fault), claim(0.01, group="b", fault=0.1)]
    before = select(pair, KNOWN).probabilities[0]
    after = select([pair[0]._replace(fault=fault * worse), pair[1]], KNOWN).probabilities[0]
    assert after < before


def test_a_stale_majority_does_not_outvote_a_young_claim() -> None:
    """Three quarter-hour old claims agree exactly; the young one that moved on is right."""
    old = [claim(0.004, 900.0, group=g) for g in "abc"]
    selection = select([*old, claim(0.0, 1.0, group="d")], KNOWN)
    assert selection.index == 3
    assert selection.probability > 0.8


def test_two_that_agree_expose_a_third_however_young_it_is() -> None:
    """Two independent claims at the same value are no coincidence."""
    selection = select([claim(0.05, 0.1), claim(0.0, 2.0), claim(0.0, 3.0)], KNOWN)
    assert selection.index == 1
    assert selection.probabilities[0] < 0.05


def test_what_was_known_before_decides_between_two() -> None:
    """One is a factor of a hundred away from what was true a minute ago."""
    known = replace(KNOWN, earlier=0.0, earlier_drift=60 * _SECOND)
    selection = select([claim(4.605, 0.5), claim(0.0003, 2.0)], known)
    assert selection.index == 1
    assert selection.probability > 0.9


def test_a_known_wrong_value_is_believed_less() -> None:
    """A price that stands exactly at the previous close is likely to be just that."""
    pair = [claim(0.01, 1.0), claim(0.0, 1.5)]
    plain = select(pair, KNOWN).probabilities[0]
    assert select(pair, replace(KNOWN, suspects=(0.01,))).probabilities[0] < plain / 2


def test_a_usual_bias_is_taken_off_the_evidence_but_the_own_value_is_chosen() -> None:
    """A source that always says 0.001 too much confirms one that does not."""
    plain = [claim(0.0, 1.0, group="a"), claim(0.001, 2.0, group="b")]
    corrected = [plain[0], plain[1]._replace(bias=0.001)]
    assert select(corrected, KNOWN).probability > select(plain, KNOWN).probability
    assert select([claim(0.001)._replace(bias=0.001)], KNOWN).index == 0


def test_nothing_eligible_is_refused() -> None:
    """There must be something to choose from."""
    with pytest.raises(ValueError, match="nothing to choose from"):
        select([claim(0.0)], KNOWN, [False])
