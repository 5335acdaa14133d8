"""How many calls a source is given at once: as many as it answers without becoming slow.

The rule of this module: pure arithmetic, `(state, options, now, signal) -> state`. Additive increase and multiplicative
decrease (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989; Netflix's
`AIMDLimit` takes a call that exceeds a time limit as dropped in the same way). The limit begins at the figure that is
known to be polite and only ever learns to stay below it; it rises by one for each round of as many answers as it
allows, because one for every answer would outweigh the decreases until more than half of all calls were dropped. Where
few calls are made it rises with time as well, or a bad minute would be held against a source for a day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

_FASTER: Final = 0.05
"""Share by which the usual latency follows an answer that was faster."""
_SLOWER: Final = 0.01
"""Share by which it follows one that was slower: a queue at the source must not become what is usual."""
KNOWN_FROM: Final = 20
"""Answers after which it is known what is usual."""
SLOW_FACTOR: Final = 4.0
"""An answer that takes so many times the usual was held up: 1 in 50 where latencies are lognormal with a sigma of one
half, which a limit outgrows at once."""

REGAINED_IN_S: Final = 2.5
"""A place comes back in so many seconds, whether it is needed or not."""


class Signal(StrEnum):
    """What one call told about how much the source can take."""

    ANSWERED = "answered"
    SLOW = "slow"
    """An answer that took far longer than usual."""
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
        after_drop: the limit after a slow answer or none in time, as a share of the one before.
        after_throttle: the same after the source asked us to slow down.
    """

    most: int = 8
    least: int = 1
    after_drop: float = 0.9
    after_throttle: float = 0.7

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"a limit needs 1 <= least <= most, got {self.least} and {self.most}")
        if not 0 < self.after_throttle <= self.after_drop < 1:
            raise ValueError("a limit needs 0 < after_throttle <= after_drop < 1")


@dataclass(frozen=True, slots=True)
class ConcurrencyState:
    """The limit of one source.

    Attributes:
        limit: calls it may have at once; the whole part counts.
        in_flight: calls it has now.
        at: when the limit was last brought up to date, seconds on the scale of `now`.
    """

    limit: float
    in_flight: int = 0
    at: float = 0.0

    @property
    def allowed(self) -> int:
        """Calls it may have at once."""
        return math.floor(self.limit)


@dataclass(frozen=True, slots=True)
class Usual:
    """What an answer of one endpoint takes while the source is not busy.

    Attributes:
        seconds: None before the first.
        answers: how many were heard, counted up to `KNOWN_FROM`.
    """

    seconds: float | None = None
    answers: int = 0


def new_limit(options: ConcurrencyOptions, now: float) -> ConcurrencyState:
    """The limit of a source of which nothing is known."""
    return ConcurrencyState(float(options.most), at=now)


def regained(state: ConcurrencyState, options: ConcurrencyOptions, now: float) -> ConcurrencyState:
    """The limit as it is now, with the places that time brought back."""
    limit = state.limit + max(0.0, now - state.at) / REGAINED_IN_S
    return replace(state, limit=min(float(options.most), limit), at=max(now, state.at))


def enter(state: ConcurrencyState, options: ConcurrencyOptions, now: float) -> tuple[ConcurrencyState, bool]:
    """Count one more call if there is room for it."""
    state = regained(state, options, now)
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


def hear(state: ConcurrencyState, options: ConcurrencyOptions, now: float, signal: Signal) -> ConcurrencyState:
    """Learn from a call that is about to end; it still counts as in flight."""
    state = regained(state, options, now)
    if signal is not Signal.ANSWERED:
        share = options.after_throttle if signal is Signal.THROTTLED else options.after_drop
        return replace(state, limit=max(float(options.least), state.limit * share))
    if 2 * state.in_flight < state.limit:
        return state  # a limit that is not needed proves nothing
    return replace(state, limit=min(float(options.most), state.limit + 1.0 / state.limit))


def observe(usual: Usual, latency_s: float) -> tuple[Usual, bool]:
    """Learn what is usual from an answer, and whether it was slow; the usual follows slow ones slowly."""
    if usual.seconds is None:
        return Usual(latency_s, 1), False
    slow = usual.answers >= KNOWN_FROM and latency_s > SLOW_FACTOR * usual.seconds
    share = _FASTER if latency_s < usual.seconds else _SLOWER
    followed = usual.seconds + share * (latency_s - usual.seconds)
    return Usual(followed, min(usual.answers + 1, KNOWN_FROM)), slow


def turn_in_s(state: ConcurrencyState, usual: Usual, ahead: int) -> float:
    """How long a call behind `ahead` waiting ones will wait, seconds; 0 while it is not known what is usual."""
    if usual.seconds is None or state.in_flight + ahead < state.allowed:
        return 0.0
    return usual.seconds * (ahead // state.allowed + 1)
