"""Silence of a source: one overdue call begins it, any answer ends it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.resilience.silence import HEARD, InFlight, Silence, began, call_of, ended, is_silent


@pytest.mark.parametrize(
    ("usual_p90_s", "overdue_at"),
    [(None, 10.5), (0.2, 10.3), (0.01, 10.2), (2.0, 13.0)],
    ids=["unknown", "half as much again", "never sooner than a fifth of a second", "a slow source in its own time"],
)
def test_when_a_call_is_overdue_follows_from_how_long_its_kind_usually_takes(
    usual_p90_s: float | None, overdue_at: float
) -> None:
    """A source that is merely slow is measured by itself."""
    call = call_of(10.0, usual_p90_s)
    assert (call.sent_at, round(call.overdue_at, 9)) == (10.0, overdue_at)


def test_one_overdue_call_begins_a_silence_and_the_next_answer_ends_it() -> None:
    """While it is in flight, and after it was given up as well."""
    call = InFlight(0.0, 0.3)
    silence = began(HEARD, call)
    assert [is_silent(silence, now) for now in (0.0, 0.29, 0.3, 5.0)] == [False, False, True, True]
    silence = ended(silence, call, 1.0, answered=False)
    assert silence == Silence((), was_overdue=True)
    later = InFlight(60.0, 60.3)
    silence = began(silence, later)
    assert is_silent(silence, 60.1)
    assert ended(silence, later, 60.2, answered=True) == HEARD


def test_who_leaves_before_a_call_is_overdue_learns_nothing() -> None:
    """The call is forgotten."""
    call = InFlight(0.0, 0.3)
    assert ended(began(HEARD, call), call, 0.2, answered=False) == HEARD


def test_a_call_that_a_later_one_overtook_says_nothing_any_more() -> None:
    """One stalled connection is no silence of the source; a call that began after the answered one still counts."""
    stalled, answered, last = InFlight(0.0, 0.3), InFlight(0.1, 0.4), InFlight(0.2, 0.5)
    silence = began(began(began(HEARD, stalled), answered), last)
    silence = ended(silence, answered, 0.25, answered=True)
    assert silence == Silence((last,))
    silence = ended(silence, stalled, 1.5, answered=False)
    assert silence == Silence((last,))
    assert is_silent(silence, 0.5)


_steps = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 5), st.booleans()), max_size=40)


@settings(deadline=None)  # a busy machine is no failure
@given(_steps)
def test_whatever_happened_before_nothing_is_silent_after_the_last_call_was_answered(
    steps: list[tuple[float, int, bool]],
) -> None:
    """Calls end in any order, answered or not; none that ended is left in flight, and silence needs an overdue one."""
    silence, now, flying = HEARD, 0.0, list[InFlight]()
    for step, place, answered in steps:
        now += step
        if place < len(flying):
            ending = flying.pop(place)
            silence = ended(silence, ending, now, answered=answered)
        else:
            flying.append(call_of(now, step))
            silence = began(silence, flying[-1])
        assert set(silence.in_flight) <= set(flying)
        assert not is_silent(silence, now) or silence.was_overdue or any(c.overdue_at <= now for c in flying)
    last = call_of(now, None)
    assert ended(began(silence, last), last, now + 9.0, answered=True) == HEARD
