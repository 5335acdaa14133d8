"""How many calls a source is given at once: as many as it answers without becoming slow.

The rule of this module: pure arithmetic, `(state, options, signal) -> state`. Additive increase and multiplicative
decrease (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989; Netflix's
`AIMDLimit` takes a call that exceeds a time limit as dropped in the same way). The limit begins at the figure that is
known to be polite and only ever learns to stay below it; it rises by one for each round of as many answers as it
allows, because one for every answer would outweigh the decreases until more than half of all calls were dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

_FASTER: Final = 0.1
"""Share by which the usual latency follows an answer that was faster."""
_SLOWER: Final = 0.01
"""Share by which it follows one that was slower: a queue at the source must not become what is usual."""


class Signal(StrEnum):
    """What one call told about how much the source can take."""

    ANSWERED = "answered"
    DROPPED = "dropped"
    """No answer in time."""
    THROTTLED = "throttled"
    """The source asked us to slow down."""


@dataclass(frozen=True, slots=True)
class ConcurrencyOptions:
    """The bounds of a limit, and how it moves.

    Attributes:
        most: calls at once when all is well.
        least: calls at once that are always allowed.
        after_drop: the limit after a call without an answer in time, as a share of the one before.
        after_throttle: the same after the source asked us to slow down.
        slow_factor: an answer that takes so many times the usual counts as a call without an answer in time.
        known_from: answers after which it is known what is usual.
    """

    most: int = 8
    least: int = 1
    after_drop: float = 0.9
    after_throttle: float = 0.7
    slow_factor: float = 3.0
    known_from: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"a limit needs 1 <= least <= most, got {self.least} and {self.most}")
        if not 0 < self.after_throttle <= self.after_drop < 1 < self.slow_factor:
            raise ValueError("a limit needs 0 < after_throttle <= after_drop < 1 < slow_factor")


@dataclass(frozen=True, slots=True)
class ConcurrencyState:
    """The limit of one source.

    Attributes:
        limit: calls it may have at once; the whole part counts.
        in_flight: calls it has now.
        usual_s: what an answer takes when the source is not busy; None before the first.
        answers: how many were heard, counted up to where it no longer matters.
    """

    limit: float
    in_flight: int = 0
    usual_s: float | None = None
    answers: int = 0

    @property
    def allowed(self) -> int:
        """Calls it may have at once."""
        return math.floor(self.limit)


def new_limit(options: ConcurrencyOptions) -> ConcurrencyState:
    """The limit of a source of which nothing is known."""
    return ConcurrencyState(float(options.most))


def enter(state: ConcurrencyState) -> tuple[ConcurrencyState, bool]:
    """Count one more call if there is room for it."""
    if state.in_flight >= state.allowed:
        return state, False
    return replace(state, in_flight=state.in_flight + 1), True


def leave(state: ConcurrencyState) -> ConcurrencyState:
    """One call has ended, however it did.

    Raises:
        ValueError: when none is in flight.
    """
    if state.in_flight < 1:
        raise ValueError("no call is in flight that could end")
    return replace(state, in_flight=state.in_flight - 1)


def hear(
    state: ConcurrencyState, options: ConcurrencyOptions, signal: Signal, latency_s: float = 0.0
) -> ConcurrencyState:
    """Learn from a call that is about to end; it still counts as in flight.

    Args:
        state: the limit so far.
        options: its bounds.
        signal: how the call ended.
        latency_s: how long its answer took; without meaning where none came.
    """
    if signal is not Signal.ANSWERED:
        share = options.after_throttle if signal is Signal.THROTTLED else options.after_drop
        return replace(state, limit=max(float(options.least), state.limit * share))
    slow = is_slow(state, options, latency_s)
    learned = replace(
        state, usual_s=_usual(state.usual_s, latency_s), answers=min(state.answers + 1, options.known_from)
    )
    if slow:
        return replace(learned, limit=max(float(options.least), state.limit * options.after_drop))
    if 2 * state.in_flight < state.limit:
        return learned  # a limit that is not needed proves nothing
    return replace(learned, limit=min(float(options.most), state.limit + 1.0 / state.limit))


def is_slow(state: ConcurrencyState, options: ConcurrencyOptions, latency_s: float) -> bool:
    """Whether an answer took so much longer than usual that the source must be busy."""
    known = state.usual_s is not None and state.answers >= options.known_from
    return known and latency_s > options.slow_factor * (state.usual_s or 0.0)


def turn_in_s(state: ConcurrencyState, ahead: int) -> float:
    """How long a call behind `ahead` waiting ones will wait, seconds; 0 while it is not known what is usual."""
    if state.usual_s is None or state.in_flight + ahead < state.allowed:
        return 0.0
    return state.usual_s * (ahead // state.allowed + 1)


def _usual(before: float | None, latency_s: float) -> float:
    """The latency of a source that is not busy: follows faster answers quickly and slower ones slowly."""
    if before is None:
        return latency_s
    return before + (latency_s - before) * (_FASTER if latency_s < before else _SLOWER)
