"""Behaviour of the doubt about what was learned earlier."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.routing.doubt import (
    FULL_ODDS,
    LEAST_ODDS,
    Standing,
    compared,
    doubt_spread,
)

KNOWN_GOOD = 0.95
UNKNOWN = 0.7
outcomes = st.lists(st.booleans(), max_size=40)


def after(seen: list[bool], remembered: float = KNOWN_GOOD) -> Standing:
    """The standing of a source after these outcomes."""
    standing = Standing()
    for good in seen:
        standing = compared(standing, [(good, remembered, UNKNOWN)])
    return standing


def test_memory_that_holds_is_believed() -> None:
    """A failure now and then is what memory had said."""
    assert after([True] * 30).belief > 0.9
    assert after([True] * 20 + [False] + [True] * 5).belief > 0.9


def test_a_good_source_that_fails_again_and_again_is_no_longer_what_it_was() -> None:
    """Four failures in a row are enough, whatever its record; so are four right answers of a bad one."""
    assert after([True] * 100 + [False] * 4).belief < 0.2
    assert after([True] * 4, remembered=0.1).belief < 0.2


def test_what_most_tested_sources_disprove_is_not_believed_of_the_others_either() -> None:
    """One source that changed says nothing of them, nor do two when nobody else was tested."""
    held, changed = after([True] * 10), after([False] * 6)
    few, mixed, most = (
        {"a": held, "b": held, "c": changed},
        {"a": changed, "b": changed},
        {"a": changed, "b": changed, "c": held},
    )
    assert doubt_spread(few, ["a", "b", "c", "other"]) == few
    assert doubt_spread(mixed, ["a", "b", "other"]) == mixed
    spread = doubt_spread(most, ["a", "b", "c", "other"])
    assert spread["other"].belief < 0.4
    assert {name: spread[name] for name in most} == most
    assert doubt_spread({}, ["other"]) == {}


def test_doubted_memory_of_an_untested_source_has_to_prove_itself_again() -> None:
    """By outcomes that are as it had said; that others recover meanwhile does not restore it."""
    changed = after([False] * 6)
    spread = doubt_spread({"a": changed, "b": changed, "c": changed}, ["other"])
    assert spread["other"].odds == LEAST_ODDS
    held = after([True] * 10)
    assert doubt_spread({"a": held, "b": held, "c": held, "other": spread["other"]}, ["other"]) == {
        "a": held,
        "b": held,
        "c": held,
        "other": spread["other"],
    }
    recovering = spread["other"]
    for _ in range(30):
        recovering = compared(recovering, [(True, KNOWN_GOOD, UNKNOWN)])
    assert recovering.belief > 0.9


@given(outcomes, st.floats(0, 1), st.floats(0, 1))
def test_the_odds_stay_within_their_bounds(seen: list[bool], remembered: float, unknown: float) -> None:
    """So that a change is noticed after any record, and a return after any failure."""
    standing = Standing()
    for good in seen:
        standing = compared(standing, [(good, remembered, unknown)] * 2)
        assert LEAST_ODDS <= standing.odds <= FULL_ODDS
        assert 0.0 < standing.belief < 1.0
    assert standing.outcomes == len(seen)


def test_one_outcome_that_memory_took_for_improbable_leaves_it_in_doubt_until_it_is_settled() -> None:
    """A source that was mostly wrong is right: in doubt; a few more and memory is refuted, or holds after all."""
    better, as_ever = (True, 0.2, 0.8), (False, 0.2, 0.8)
    assert not Standing().is_in_doubt
    once = compared(Standing(), [better])
    assert once.is_in_doubt
    assert not compared(compared(once, [better]), [better]).is_in_doubt
    assert not compared(once, [as_ever]).is_in_doubt


def test_what_speaks_against_memory_is_not_made_up_for_by_what_stayed_as_it_was() -> None:
    """A source that used to fail answers, as fresh and as complete as ever: it is in doubt what it is."""
    answers, on_time, complete = (True, 0.5, 0.8), (True, 0.97, 0.85), (True, 0.95, 0.7)
    told = compared(Standing(), [answers, on_time, complete])
    assert told == compared(Standing(), [answers])
    assert told.is_in_doubt
    assert compared(Standing(odds=0.0), [on_time, complete]).odds > compared(Standing(odds=0.0), [on_time]).odds > 0.0


def test_hardly_tested_memory_that_is_refuted_at_once_leaves_open_what_the_source_is_now() -> None:
    """One outcome that memory took for impossible refutes it; two more tell of the source itself."""
    once = compared(Standing(), [(True, 0.01, 0.8)])
    assert (once.belief < 0.5, once.is_in_doubt) == (True, True)
    assert not compared(compared(once, [(True, 0.01, 0.8)]), [(True, 0.01, 0.8)]).is_in_doubt
