"""When and how often the same source is asked again: full-jitter exponential waits and a budget of retries.

The rule of this module: pure arithmetic. How the ceiling of the waits grows is tenacity's `wait_exponential`; the
jitter comes from the `random.Random` that is handed in, where tenacity would use the global one. A retry needs the
budget's consent, so that a source in trouble is never asked three times as often as a healthy one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenacity import RetryCallState


@dataclass(frozen=True, slots=True)
class BackoffOptions:
    """How long to wait before asking again.

    Attributes:
        base_s: ceiling of the first wait, seconds.
        cap_s: ceiling of every wait, seconds.
    """

    base_s: float = 0.05
    cap_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.base_s <= self.cap_s < float("inf"):
            raise ValueError(f"a backoff needs 0 < base <= cap, got {self.base_s} s and {self.cap_s} s")


def full_jitter(options: BackoffOptions, rng: random.Random) -> Callable[[RetryCallState], float]:
    """A wait strategy for tenacity: uniform between 0 and `base * 2^(attempt - 1)`, which is never above the cap."""
    from tenacity.wait import wait_exponential  # noqa: PLC0415 - 20 ms that a start without retries need not pay

    ceiling = wait_exponential(multiplier=options.base_s, max=options.cap_s, exp_base=2)

    def wait(state: RetryCallState) -> float:
        return rng.uniform(0.0, ceiling(state))

    return wait


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """How many retries a source is granted.

    Attributes:
        share: retries earned per first attempt.
        trickle_per_s: retries earned per second, so that a rarely asked source has one now and then.
        cap: the most that can be saved up.
        start: what there is at the beginning.
    """

    share: float = 0.10
    trickle_per_s: float = 1.0 / 30.0
    cap: float = 10.0
    start: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.trickle_per_s < 0 or not 0 <= self.start <= self.cap:
            raise ValueError("a retry budget needs a share between 0 and 1 and 0 <= start <= cap")


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Saved-up retries of one source.

    Attributes:
        saved: retries that may be spent.
        at: when that was true, seconds.
    """

    saved: float
    at: float


def new_budget(options: BudgetOptions, now: float) -> RetryBudget:
    """The budget a source starts with."""
    return RetryBudget(options.start, now)


def earn(budget: RetryBudget, options: BudgetOptions, now: float) -> RetryBudget:
    """A first attempt was made: the budget grows by its share."""
    grown = _trickled(budget, options, now)
    return RetryBudget(min(options.cap, grown.saved + options.share), grown.at)


def spend(budget: RetryBudget, options: BudgetOptions, now: float, cost: float = 1.0) -> tuple[RetryBudget, bool]:
    """Pay for a retry if the budget allows it.

    Args:
        budget: as it was.
        options: how it grows.
        now: seconds.
        cost: 1, or more for a retry that keeps the source busy for long (2 after a timeout).
    """
    grown = _trickled(budget, options, now)
    if grown.saved < cost:
        return grown, False
    return RetryBudget(grown.saved - cost, grown.at), True


def _trickled(budget: RetryBudget, options: BudgetOptions, now: float) -> RetryBudget:
    elapsed = max(0.0, now - budget.at)
    return RetryBudget(min(options.cap, budget.saved + elapsed * options.trickle_per_s), max(budget.at, now))
