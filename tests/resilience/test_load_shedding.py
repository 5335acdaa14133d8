"""How many questions are worked on at once, and when the next one is worth asking."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.resilience.load_shedding import (
    IDLE,
    LATEST_RETRY_S,
    SOONEST_RETRY_S,
    Load,
    SheddingOptions,
    Verdict,
    begin,
    end,
)

TWO = SheddingOptions(most=2)


def test_beyond_the_bound_a_question_is_refused_with_the_time_the_others_usually_take() -> None:
    """And has a place as soon as one of them has ended."""
    load = Load(1, usual_s=0.8)
    load, verdict = begin(load, TWO)
    assert (load, verdict) == (Load(2, 0.8), Verdict(allowed=True))
    assert begin(load, TWO) == (load, Verdict(allowed=False, retry_after_s=0.8))
    load = end(load, 1.8)
    assert load.in_flight == 1
    assert load.usual_s == pytest.approx(0.9)
    assert begin(load, TWO)[1].allowed


@pytest.mark.parametrize(
    ("usual_s", "wait_s"), [(None, SOONEST_RETRY_S), (0.001, SOONEST_RETRY_S), (600.0, LATEST_RETRY_S)]
)
def test_the_time_to_come_again_is_neither_nothing_nor_endless(usual_s: float | None, wait_s: float) -> None:
    """Whatever the questions take."""
    assert begin(Load(2, usual_s), TWO)[1] == Verdict(allowed=False, retry_after_s=wait_s)


def test_what_makes_no_sense_is_refused() -> None:
    """A bound of nothing, and a question that ends without having begun."""
    with pytest.raises(ValueError, match="at least one question"):
        SheddingOptions(most=0)
    with pytest.raises(ValueError, match="no question is in flight"):
        end(IDLE, 1.0)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0.0, 100.0)), max_size=100), st.integers(1, 9))
def test_never_more_questions_are_in_flight_than_the_bound_and_a_place_is_never_lost(
    steps: list[float | None], most: int
) -> None:
    """A question begins (None) or one ends after so many seconds; refused exactly when all places are taken."""
    load, inside = IDLE, 0
    for step in steps:
        if step is None:
            load, verdict = begin(load, SheddingOptions(most))
            assert verdict.allowed == (inside < most)
            assert verdict.allowed or SOONEST_RETRY_S <= verdict.retry_after_s <= LATEST_RETRY_S
            inside += verdict.allowed
        elif inside:
            load, inside = end(load, step), inside - 1
        assert load.in_flight == inside <= most
