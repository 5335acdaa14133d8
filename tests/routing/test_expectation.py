"""Behaviour of what is expected of a source."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.resilience.latency import recorded
from mdagent_mcp.routing.expectation import (
    DECLARED_FRESH,
    DECLARED_LATE,
    ENOUGH_ABOUT_SYMBOL,
    UNKNOWN_LATENCY_S,
    Evidence,
    Experience,
    chance_right,
    share_complete,
    share_fresh,
    share_of_usual,
    usual_latency_s,
)

outcomes = st.builds(Evidence, st.floats(0, 200), st.floats(0, 200))
experiences = st.builds(Experience, st.floats(0, 1), outcomes, outcomes, outcomes)


@given(experiences)
def test_a_chance_is_a_chance_between_the_narrowest_and_the_broadest_knowledge(known: Experience) -> None:
    """Whatever was seen."""
    assert 0.0 <= chance_right(known) <= 1.0


@given(experiences, st.floats(0.1, 50))
def test_a_right_outcome_never_lowers_the_chance_and_a_wrong_one_never_raises_it(known: Experience, n: float) -> None:
    """In the instrument's class."""
    seen = known.asset_class
    better = replace(known, asset_class=Evidence(seen.right + n, seen.wrong))
    worse = replace(known, asset_class=Evidence(seen.right, seen.wrong + n))
    assert chance_right(worse) <= chance_right(known) + 1e-9
    assert chance_right(known) <= chance_right(better) + 1e-9


def test_nothing_learned_is_the_static_trust() -> None:
    """And a little learned is close to it."""
    assert chance_right(Experience(0.8)) == pytest.approx(0.8)
    assert 0.6 < chance_right(Experience(0.8, asset_class=Evidence(0.0, 1.0))) < 0.8


def test_one_symbol_may_differ_from_its_class_once_enough_was_seen_of_it() -> None:
    """A source that is right about shares may be wrong about one of them; a single contradiction tells nothing yet."""
    in_class = Evidence(300, 3)
    assert share_of_usual(Evidence(), in_class) == share_of_usual(Evidence(0, 2), in_class) == 1.0
    assert share_of_usual(Evidence(0, 20), in_class) < 0.2
    assert share_of_usual(Evidence(10, 10), in_class) == pytest.approx(0.6726 / 0.9901, abs=1e-4)


def test_one_symbol_is_no_exception_where_the_source_is_as_wrong_about_the_others() -> None:
    """Nor where chance alone may have done it, nor for being better, nor where nothing was ever right."""
    shares = [share_of_usual(Evidence(*seen), Evidence(150, 150)) for seen in ((10, 10), (3, 5), (20, 0))]
    assert [*shares, share_of_usual(Evidence(0, 20), Evidence(0, 50))] == [1.0, 1.0, 1.0, 1.0]
    assert share_of_usual(Evidence(0, 20), Evidence(150, 150)) < 0.3


@given(outcomes, outcomes, st.floats(0.1, 50))
def test_an_answer_about_a_symbol_that_was_right_never_lowers_its_share(
    seen: Evidence, in_class: Evidence, n: float
) -> None:
    """And a contradicted one never raises it, once there are enough; it is a share."""
    right = seen.right + ENOUGH_ABOUT_SYMBOL
    usual, better, worse = (
        share_of_usual(each, in_class)
        for each in (Evidence(right, seen.wrong), Evidence(right + n, seen.wrong), Evidence(right, seen.wrong + n))
    )
    assert 0.0 <= worse <= usual + 1e-9 <= better + 2e-9 <= 1.0 + 2e-9


def test_learned_delays_overrule_what_is_declared() -> None:
    """A source that declares real time and is two minutes late is not fresh, and the other way round."""
    late = Experience(0.8, delay=recorded([120.0] * 40))
    early = Experience(0.8, delay=recorded([0.5] * 40))
    assert share_fresh(late, 2.0, 0.0) < 0.2
    assert share_fresh(early, 2.0, 900.0) > 0.7
    assert share_fresh(Experience(0.8), 2.0, 900.0) == DECLARED_LATE
    assert share_fresh(Experience(0.8), 2.0, 0.0) == DECLARED_FRESH


def test_what_is_stated_beside_the_price_is_known_after_a_few_answers() -> None:
    """It hardly changes."""
    assert share_complete(Experience(0.8, complete=Evidence(0, 8))) < 0.2
    assert share_complete(Experience(0.8, complete=Evidence(8, 0))) > 0.9


def test_the_usual_latency_minds_the_slow_calls() -> None:
    """Nine calls of a tenth of a second and one of two seconds; of an unknown source something is assumed."""
    assert usual_latency_s(Experience(0.8, seconds=2.9, calls=10.0)) == pytest.approx(3.5 / 12)
    assert usual_latency_s(Experience(0.8)) == UNKNOWN_LATENCY_S
