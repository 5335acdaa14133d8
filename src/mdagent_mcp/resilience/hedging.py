"""When to ask another source because the first is slow, and how often that is affordable.

The rule of this module: pure arithmetic. A hedge goes out when the sources that were asked have taken longer than nine
calls in ten of theirs usually take (Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013, hedge at a high
percentile so that few requests are sent twice); a budget keeps the hedges of bad minutes to a share of all questions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mdagent_mcp.resilience.backoff import BudgetOptions, RetryBudget, spend

HEDGE_BUDGET: Final = BudgetOptions(share=0.10, trickle_per_s=0.0, cap=10.0, start=5.0)
"""One hedge for ten questions, ten saved up at most."""

SPARED_SHARE: Final = 0.5
"""Share of the cap that only questions with nothing to show yet may spend: for the others patience ends soon anyway."""


@dataclass(frozen=True, slots=True)
class HedgeOptions:
    """Bounds of the delay before a hedge, seconds.

    Attributes:
        shortest_s: a hedge sooner than this would double most questions.
        longest_s: nobody is waited for longer without help.
        unknown_s: taken for a source of which no latency was learned.
    """

    shortest_s: float = 0.03
    longest_s: float = 0.8
    unknown_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.shortest_s <= self.unknown_s <= self.longest_s < float("inf"):
            raise ValueError("a hedge needs 0 < shortest_s <= unknown_s <= longest_s")


def hedge_delay_s(usual_p90_s: Iterable[float | None], options: HedgeOptions) -> float:
    """How long to wait for the sources that were asked, seconds: until the slowest of them is later than usual.

    Args:
        usual_p90_s: of each source that was asked, the time within which nine calls in ten answer; None where unknown.
        options: bounds.
    """
    known = [options.unknown_s if usual is None else usual for usual in usual_p90_s]
    return min(max([options.shortest_s, *known]), options.longest_s)


def spend_on_hedge(budget: RetryBudget, now: float, *, urgent: bool) -> tuple[RetryBudget, bool]:
    """Ask leave to hedge once.

    Args:
        budget: as it is.
        now: seconds.
        urgent: whether the question has nothing to show yet.

    Returns:
        The budget after it, and whether the hedge may be made.
    """
    if not urgent and budget.saved < HEDGE_BUDGET.cap * SPARED_SHARE:
        return budget, False
    return spend(budget, HEDGE_BUDGET, now)
