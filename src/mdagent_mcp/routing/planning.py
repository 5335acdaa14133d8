"""Whom to ask, in which order. Pure: what is known of the sources in, an order out.

First version: static trust, cost and declared delay decide; learned reliability enters as `trust` when there is
enough of it. Independent upstream groups come first, because a second voice of the same group corroborates nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

NEW_GROUP_BONUS: Final = 0.35
"""Utility of an upstream group not yet asked: more than the trust that separates any two good sources."""
DELAY_PENALTY: Final = 0.45
"""A source that is declared to be late cannot vote on the current price of an open market."""
COST_WEIGHT: Final = 0.5
"""Utility lost per unit of cost (1 = a scarce call, such as 4 % of a day's quota)."""
WAIT_WEIGHT: Final = 0.2
"""Utility lost per second that the source's own limiter would make us wait."""
LATE_S: Final = 60.0
END_OF_DAY_S: Final = 86_400.0
"""Declared delay from which a source tells closes only: nothing about a market that trades."""
CHEAP: Final = 0.02
"""Cost per call up to which a source is asked although the answer is confirmed already."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source that could be asked for one instrument now.

    Attributes:
        source: source id.
        upstream_group: whose data it passes on for this instrument.
        trust: 0 to 1, static or learned.
        cost_per_call: 0 is free, 1 a scarce call.
        declared_delay_s: how late its prices are by contract.
        wait_s: how long its limiter would make us wait.
    """

    source: str
    upstream_group: str
    trust: float
    cost_per_call: float = 0.0
    declared_delay_s: float = 0.0
    wait_s: float = 0.0


def utility(candidate: Candidate, *, live: bool) -> float:
    """What asking a source is worth, in units of trust.

    Args:
        candidate: the source.
        live: whether the market trades, so that delay matters.
    """
    late = DELAY_PENALTY if live and candidate.declared_delay_s > LATE_S else 0.0
    return candidate.trust - late - COST_WEIGHT * candidate.cost_per_call - WAIT_WEIGHT * candidate.wait_s


def could_raise_confirmed(candidate: Candidate, *, live: bool) -> bool:
    """Whether a source may still raise the grade of a price that two groups confirm, at a price that is worth it.

    A source that is late by contract cannot: what the price lacks is freshness.

    Args:
        candidate: the source.
        live: whether the market trades.
    """
    late = live and candidate.declared_delay_s > LATE_S
    return not late and candidate.cost_per_call <= CHEAP


def worth_asking(candidates: Iterable[Candidate], *, live: bool, answered: bool = False) -> tuple[Candidate, ...]:
    """Without those that tell closes only while the market trades, unless nobody else is left and nothing was said.

    The close of the day before cannot vote on the present price, and such plans count their calls by the handful.

    Args:
        candidates: who could be asked.
        live: whether the market trades.
        answered: whether a price is in hand already, or a source that may tell one is being waited for.
    """
    found = tuple(candidates)
    timely = tuple(c for c in found if c.declared_delay_s < END_OF_DAY_S)
    return timely if live and (timely or answered) else found


def asking_order(
    candidates: Iterable[Candidate], *, live: bool, asked_groups: Iterable[str] = (), cheapest_first: bool = False
) -> tuple[str, ...]:
    """The order in which to ask: greedy by utility, a new upstream group preferred.

    Args:
        candidates: who could be asked.
        live: whether the market trades.
        asked_groups: groups that were asked already.
        cheapest_first: order by cost before utility, for going on until a grade is reached.
    """
    left = sorted(candidates, key=lambda c: (-utility(c, live=live), c.source))
    covered = set(asked_groups)
    order: list[str] = []
    while left:
        best = max(
            left,
            key=lambda c: (
                -c.cost_per_call if cheapest_first else 0.0,
                utility(c, live=live) + (0.0 if c.upstream_group in covered else NEW_GROUP_BONUS),
            ),
        )
        left.remove(best)
        covered.add(best.upstream_group)
        order.append(best.source)
    return tuple(order)


def request_shares(candidates: Sequence[Candidate], *, live: bool) -> dict[str, float]:
    """The share of requests each source would get now, proportional to its utility; sums to 1 when any is usable."""
    asked = {c.source for c in worth_asking(candidates, live=live)}
    worth = {c.source: max(0.0, utility(c, live=live)) if c.source in asked else 0.0 for c in candidates}
    total = sum(worth.values())
    return {source: round(value / total, 4) if total > 0 else 0.0 for source, value in worth.items()}
