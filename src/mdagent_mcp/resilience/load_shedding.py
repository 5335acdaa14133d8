"""How many questions are worked on at once, and when the next one is worth asking.

The rule of this module: pure arithmetic, `(load, options, signal) -> (load, verdict)`. Beyond the bound a question is
refused in the moment it comes: one that waits for its turn costs memory and its asker's time, and under a load that
does not end it would be answered when nobody wants the answer any more (Google, "Site Reliability Engineering",
chapter 21, load shedding by limiting requests in flight).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

SOONEST_RETRY_S: Final = 0.1
LATEST_RETRY_S: Final = 10.0
_FOLLOWS: Final = 0.1
"""Share by which the usual time of a question follows the last one."""


@dataclass(frozen=True, slots=True)
class SheddingOptions:
    """The bound.

    Attributes:
        most: questions worked on at once.
    """

    most: int = 256

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"at least one question must be allowed, got {self.most}")


@dataclass(frozen=True, slots=True)
class Load:
    """What is being worked on.

    Attributes:
        in_flight: questions.
        usual_s: how long one took lately, seconds; None before the first.
    """

    in_flight: int = 0
    usual_s: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a question is worked on.

    Attributes:
        allowed: it is, and counts.
        retry_after_s: when not, after which time those that are in flight now will mostly have ended; 0 when allowed.
    """

    allowed: bool
    retry_after_s: float = 0.0


IDLE: Final = Load()
"""Nothing asked yet."""


def begin(load: Load, options: SheddingOptions) -> tuple[Load, Verdict]:
    """Count a question if there is room for it."""
    if load.in_flight < options.most:
        return replace(load, in_flight=load.in_flight + 1), Verdict(allowed=True)
    usual = SOONEST_RETRY_S if load.usual_s is None else load.usual_s
    return load, Verdict(allowed=False, retry_after_s=min(max(usual, SOONEST_RETRY_S), LATEST_RETRY_S))


def end(load: Load, elapsed_s: float) -> Load:
    """A question has ended, answered or not.

    Args:
        load: before.
        elapsed_s: how long it was worked on.

    Raises:
        ValueError: when none is in flight.
    """
    if load.in_flight < 1:
        raise ValueError("no question is in flight that could end")
    usual = elapsed_s if load.usual_s is None else load.usual_s + _FOLLOWS * (elapsed_s - load.usual_s)
    return Load(load.in_flight - 1, usual)
