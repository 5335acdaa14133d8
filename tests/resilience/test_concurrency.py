"""How the limit of calls at once moves, and what is taken for slow."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.resilience.concurrency import (
    KNOWN_FROM,
    SLOW_FACTOR,
    ConcurrencyOptions,
    ConcurrencyState,
    Signal,
    Usual,
    enter,
    hear,
    leave,
    new_limit,
    observe,
    regained,
    turn_in_s,
)

EIGHT = ConcurrencyOptions(most=8)


def test_the_limit_begins_at_the_polite_figure_and_never_rises_above_it() -> None:
    """However many answers come in."""
    state = new_limit(EIGHT, 0.0)
    assert state == ConcurrencyState(8.0)
    for _ in range(8):
        state, entered = enter(state, EIGHT, 0.0)
        assert entered
    assert enter(state, EIGHT, 0.0) == (state, False)
    assert hear(state, EIGHT, 0.0, Signal.ANSWERED) == state


@pytest.mark.parametrize(
    ("signal", "limit"), [(Signal.DROPPED, 7.2), (Signal.SLOW, 7.2), (Signal.THROTTLED, 8.0 * 0.7)]
)
def test_a_call_that_was_held_up_lowers_it(signal: Signal, limit: float) -> None:
    """A source that asks us to slow down lowers it further than one that is late."""
    assert hear(new_limit(EIGHT, 0.0), EIGHT, 0.0, signal).limit == pytest.approx(limit)


def test_a_round_of_answers_raises_it_by_one() -> None:
    """Four answers at a limit of four: about five; where less than half of it is needed it stays."""
    state = ConcurrencyState(4.0, in_flight=4)
    for _ in range(4):
        state = hear(state, EIGHT, 0.0, Signal.ANSWERED)
    assert state.limit == pytest.approx(4.9, abs=0.1)
    idle = ConcurrencyState(4.0, in_flight=1)
    assert hear(idle, EIGHT, 0.0, Signal.ANSWERED) == idle


def test_what_takes_far_longer_than_usual_is_slow_once_it_is_known_what_is_usual() -> None:
    """And what is usual follows slow answers slowly: a queue at the source must not become what is usual."""
    usual = Usual()
    for _ in range(KNOWN_FROM):
        usual, slow = observe(usual, 0.1)
        assert not slow
    assert usual.seconds == pytest.approx(0.1)
    assert usual.answers == KNOWN_FROM
    after, slow = observe(usual, 0.1 * SLOW_FACTOR + 0.01)
    assert slow
    assert after.seconds == pytest.approx(0.1031, abs=1e-4)
    assert observe(usual, 0.1 * SLOW_FACTOR - 0.01)[1] is False
    assert observe(Usual(0.1, KNOWN_FROM - 1), 9.0)[1] is False
    faster, _ = observe(usual, 0.05)
    assert faster.seconds == pytest.approx(0.0975)


def test_the_wait_for_a_place_is_as_many_rounds_as_there_are_ahead() -> None:
    """Two at once, a tenth of a second each: the fifth in the queue waits for three rounds."""
    full, known = ConcurrencyState(2.9, in_flight=2), Usual(0.1, KNOWN_FROM)
    waits = [turn_in_s(full, known, ahead) for ahead in range(5)]
    assert waits == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3])
    assert turn_in_s(full, Usual(), 4) == 0.0
    assert turn_in_s(ConcurrencyState(2.0, in_flight=1), known, 0) == 0.0


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"least": 0}, "1 <= least <= most"),
        ({"least": 9}, "1 <= least <= most"),
        ({"after_drop": 1.0}, "after_drop < 1"),
        ({"after_throttle": 0.95}, "after_throttle <= after_drop"),
    ],
)
def test_bounds_that_contradict_each_other_are_refused(figures: dict[str, float], message: str) -> None:
    """They would let a limit reach nothing, or grow by failures."""
    with pytest.raises(ValueError, match=message):
        ConcurrencyOptions(**figures)  # type: ignore[arg-type]


def test_a_call_that_never_began_cannot_end() -> None:
    """It would give away a place that nobody took."""
    with pytest.raises(ValueError, match="no call is in flight"):
        leave(new_limit(EIGHT, 0.0))


def test_places_come_back_with_time_where_nobody_needs_them() -> None:
    """One in two and a half seconds, up to what the vendor declares; a clock that goes back changes nothing."""
    state = ConcurrencyState(1.0, at=100.0)
    assert regained(state, EIGHT, 105.0) == ConcurrencyState(3.0, at=105.0)
    assert regained(state, EIGHT, 1000.0) == ConcurrencyState(8.0, at=1000.0)
    assert regained(state, EIGHT, 50.0) == state
    assert hear(state, EIGHT, 105.0, Signal.DROPPED).limit == pytest.approx(2.7)


_signals = st.lists(st.tuples(st.floats(0.0, 5.0), st.sampled_from([*Signal, "enter", "leave"])), max_size=200)


@settings(deadline=None)
@given(_signals, st.integers(1, 16), st.integers(1, 4))
def test_the_limit_stays_within_its_bounds_and_no_more_calls_enter_than_it_allows(
    signals: list[tuple[float, Signal | str]], most: int, least: int
) -> None:
    """Whatever is heard; answers never lower it, anything else never raises it, and places are never lost."""
    options = ConcurrencyOptions(most=most, least=min(least, most))
    state, inside, now = new_limit(options, 0.0), 0, 0.0
    for step, signal in signals:
        now += step
        before = regained(state, options, now)
        if signal == "enter":
            state, entered = enter(state, options, now)
            assert entered == (inside < before.allowed)
            inside += entered
        elif signal == "leave":
            if inside:
                state, inside = leave(state), inside - 1
        else:
            state = hear(state, options, now, Signal(signal))
            assert (state.limit >= before.limit) if signal is Signal.ANSWERED else (state.limit <= before.limit)
        assert options.least <= state.allowed <= options.most
        assert state.in_flight == inside


@settings(deadline=None)
@given(st.integers(1, 16), st.lists(st.sampled_from(Signal), max_size=60))
def test_a_source_that_is_well_again_gets_all_its_calls_back(most: int, trouble: list[Signal]) -> None:
    """Within a round of answers for each place, without the help of time."""
    options = ConcurrencyOptions(most=most)
    state = new_limit(options, 0.0)
    for signal in trouble:
        state = hear(state, options, 0.0, signal)
    for _ in range(most * (most + 1)):
        while enter(state, options, 0.0)[1]:
            state, _ = enter(state, options, 0.0)
        state = leave(hear(state, options, 0.0, Signal.ANSWERED))
    assert state.allowed == most
