"""Whether a source is silent: it left a call without an answer for far longer than it usually takes.

The rule of this module: pure arithmetic, `(silence, instants) -> silence`. A circuit opens after several failures, and
a call is given up only at its time limit; until then every question would wait for a source that hangs. One call that
is overdue is enough to wait no more, because nothing else follows from it: the source is asked as before, and any
answer ends the silence, also with calls still in flight that began before the answered one. A call that was given up
before it was overdue, because its asker left, says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

OVERDUE_FACTOR: Final = 1.5
"""Of the time within which nine calls in ten are answered; what takes longer is overdue."""
SOONEST_OVERDUE_S: Final = 0.2
UNKNOWN_OVERDUE_S: Final = 0.5
"""When a call is overdue of which it is not known how long it usually takes."""


class InFlight(NamedTuple):
    """A call that has not ended: when it was sent, and from when on it is overdue, seconds."""

    sent_at: float
    overdue_at: float


@dataclass(frozen=True, slots=True)
class Silence:
    """Calls without an answer since the last one that had one.

    Attributes:
        in_flight: those that have not ended.
        was_overdue: whether one that was given up had been overdue.
    """

    in_flight: tuple[InFlight, ...] = ()
    was_overdue: bool = False


HEARD: Final = Silence()
"""Nothing is without an answer."""


def call_of(sent_at: float, usual_p90_s: float | None) -> InFlight:
    """A call that is being sent.

    Args:
        sent_at: seconds.
        usual_p90_s: within which time nine calls in ten of this kind are answered; None where unknown.
    """
    usual_s = None if usual_p90_s is None else max(SOONEST_OVERDUE_S, OVERDUE_FACTOR * usual_p90_s)
    return InFlight(sent_at, sent_at + (UNKNOWN_OVERDUE_S if usual_s is None else usual_s))


def began(silence: Silence, call: InFlight) -> Silence:
    """The silence after a call was sent."""
    return Silence((*silence.in_flight, call), silence.was_overdue)


def ended(silence: Silence, call: InFlight, now: float, *, answered: bool) -> Silence:
    """The silence after a call ended.

    Args:
        silence: before.
        call: the one that ended; without an answer it says nothing when a later one was answered meanwhile.
        now: seconds.
        answered: whether the source said anything at all, be it a refusal.
    """
    if answered:
        return Silence(tuple(other for other in silence.in_flight if other.sent_at > call.sent_at))
    if call not in silence.in_flight:
        return silence
    place = silence.in_flight.index(call)
    left = silence.in_flight[:place] + silence.in_flight[place + 1 :]
    return Silence(left, silence.was_overdue or now >= call.overdue_at)


def is_silent(silence: Silence, now: float) -> bool:
    """Whether a call has been overdue since the last answer."""
    return silence.was_overdue or any(now >= call.overdue_at for call in silence.in_flight)
