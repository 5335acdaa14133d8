"""Backoff waits and the retry budget."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from tenacity import RetryCallState, Retrying

from mdagent_mcp.resilience.backoff import (
    BackoffOptions,
    BudgetOptions,
    RetryBudget,
    earn,
    full_jitter,
    new_budget,
    spend,
)


class _Highest(random.Random):
    """Chance that always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


def _state(attempt: int) -> RetryCallState:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return state


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    """50, 100, 200 ms and so on, never above a second."""
    wait = full_jitter(BackoffOptions(base_s=0.05, cap_s=1.0), _Highest())
    assert [wait(_state(n)) for n in range(1, 8)] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_waits_spread_over_the_whole_range_and_repeat_with_the_seed() -> None:
    """Full jitter: from zero to the ceiling, by the chance handed in and no other."""
    options = BackoffOptions(base_s=1.0, cap_s=1.0)
    waits = [full_jitter(options, rng)(_state(1)) for rng in [random.Random(7)] for _ in range(200)]
    again = full_jitter(options, random.Random(7))
    assert waits == [again(_state(1)) for _ in range(200)]
    assert min(waits) < 0.05
    assert max(waits) > 0.95


def test_tenacity_takes_the_wait_as_its_own() -> None:
    """`Retrying(wait=…)` sleeps what the strategy says."""
    slept: list[float] = []
    attempts = []
    for attempt in Retrying(wait=full_jitter(BackoffOptions(), _Highest()), sleep=slept.append):
        with attempt:
            attempts.append(attempt)
            if len(attempts) < 3:
                raise OSError
    assert slept == pytest.approx([0.05, 0.1])


def test_the_budget_starts_small_and_runs_out() -> None:
    """Five retries at once, then none."""
    options = BudgetOptions()
    budget = new_budget(options, 0.0)
    granted = 0
    for _ in range(20):
        budget, allowed = spend(budget, options, 0.0)
        granted += allowed
    assert granted == 5


def test_ten_requests_earn_one_retry() -> None:
    """A tenth of the requests may be repeated."""
    options = BudgetOptions(start=0.0, trickle_per_s=0.0)
    budget = new_budget(options, 0.0)
    for _ in range(9):
        budget = earn(budget, options, 0.0)
    assert spend(budget, options, 0.0)[1] is False
    budget = earn(earn(budget, options, 0.0), options, 0.0)
    assert spend(budget, options, 0.0)[1] is True


def test_what_is_saved_is_capped() -> None:
    """A quiet day does not pay for a storm."""
    options = BudgetOptions(cap=10.0)
    assert earn(RetryBudget(10.0, 0.0), options, 1e6) == RetryBudget(10.0, 1e6)


def test_a_retry_after_a_timeout_may_cost_two() -> None:
    """The cost is paid whole or not at all."""
    options = BudgetOptions(start=3.0, trickle_per_s=0.0)
    budget, first = spend(new_budget(options, 0.0), options, 0.0, cost=2.0)
    budget, second = spend(budget, options, 0.0, cost=2.0)
    assert (first, second, budget) == (True, False, RetryBudget(1.0, 0.0))


def test_nonsense_options_are_refused() -> None:
    """A wait that shrinks or a share above one is a mistake."""
    with pytest.raises(ValueError, match="backoff"):
        BackoffOptions(base_s=2.0, cap_s=1.0)
    with pytest.raises(ValueError, match="budget"):
        BudgetOptions(share=1.5)


def test_tenacity_is_not_loaded_before_a_retry_is_planned() -> None:
    """Importing the policies costs a start nothing."""
    script = "import sys, mdagent_mcp.resilience.backoff; sys.exit('tenacity' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
