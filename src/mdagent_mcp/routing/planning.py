"""Whom to ask, in which order. Pure: what is known of the sources in, an order out.

What a source is worth is its learned chance to be right, less for prices that come late, less what a call costs: its
price, the shadow price of a quota that runs short, and the time one waits. Independent upstream groups come first,
because a second voice of the same group corroborates nothing; among equals the one asked least lately.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NEW_GROUP_BONUS: Final = 0.35
"""Utility of an upstream group not yet asked: more than the trust that separates any two good sources."""
LATE_WORTH: Final = 0.4
"""What a price that is late for certain is still worth: it shows gross errors, and is better than none."""
COST_WEIGHT: Final = 0.5
"""Utility lost per unit of cost (1 = a scarce call, such as 4 % of a day's quota)."""
WAIT_WEIGHT: Final = 0.2
"""Utility lost per second that the source's own limiter would make us wait."""
LATENCY_WEIGHT: Final = 0.3
"""Utility lost per second that a call usually takes."""
LEAST_PRICE: Final = 0.02
"""What a free call is taken to cost when its quota runs short."""
LONGEST_WAIT_S: Final = 1.0
"""A call that the limiter would hold back longer is refused by it, so that nothing can be expected of it."""
EQUAL: Final = 0.01
"""Utilities that lie closer are equal: what is known of sources is not more exact."""
LATE_S: Final = 60.0
END_OF_DAY_S: Final = 86_400.0
"""Declared delay from which a source tells closes only: nothing about a market that trades."""
CHEAP: Final = 0.02
"""Cost per call up to which a source is asked although the answer is confirmed already."""
HARDLY_EVER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source that could be asked for one instrument now.

    Attributes:
        source: source id.
        upstream_group: whose data it passes on for this instrument.
        trust: chance that it answers and is not contradicted, static or learned, 0 to 1.
        cost_per_call: 0 is free, 1 a scarce call.
        declared_delay_s: how late its prices are by contract.
        wait_s: how long its limiter would make us wait.
        fresh: chance that its price, if right, is as fresh as the wanted grade needs.
        current: chance that it is fresh enough to have a say about now.
        complete: chance that it states all that a complete answer has.
        latency_s: how long its calls usually take.
        scarcity: shadow price of its quotas, as a multiple of its cost.
        load: calls it was sent lately.
    """

    source: str
    upstream_group: str
    trust: float
    cost_per_call: float = 0.0
    declared_delay_s: float = 0.0
    wait_s: float = 0.0
    fresh: float = 1.0
    current: float = 1.0
    complete: float = 1.0
    latency_s: float = 0.0
    scarcity: float = 0.0
    load: float = 0.0

    @property
    def price(self) -> float:
        """What a call costs now, the shadow price of its quotas included."""
        return self.cost_per_call + self.scarcity * (self.cost_per_call + LEAST_PRICE)

    def says(self, *, live: bool) -> tuple[float, float]:
        """The chances that asking it gives a voice about now, and one as fresh as the wanted grade needs.

        Nothing of a call that would have to wait too long; freshness matters only while the market trades.
        """
        if self.wait_s > LONGEST_WAIT_S:
            return 0.0, 0.0
        if not live:
            return self.trust, self.trust
        if self.declared_delay_s > LATE_S:
            return min(self.current, HARDLY_EVER) * self.trust, 0.0
        return self.trust * self.current, self.trust * min(self.fresh, self.current)


def toll(candidate: Candidate) -> float:
    """What asking a source costs, in units of trust, its latency not counted."""
    return COST_WEIGHT * candidate.price + WAIT_WEIGHT * candidate.wait_s


def utility(candidate: Candidate, *, live: bool) -> float:
    """What asking a source is worth, in units of trust.

    Args:
        candidate: the source.
        live: whether the market trades, so that delay matters.
    """
    late = live and candidate.declared_delay_s > LATE_S
    current = 1.0 if not live else 0.0 if late else candidate.current
    worth = candidate.trust * (LATE_WORTH + (1.0 - LATE_WORTH) * current)
    return worth - toll(candidate) - LATENCY_WEIGHT * candidate.latency_s


def could_raise_confirmed(candidate: Candidate, *, live: bool) -> bool:
    """Whether a source may still raise the grade of a price that two groups confirm, at a price that is worth it.

    A source that is late, by contract or as learned, cannot: what the price lacks is freshness.

    Args:
        candidate: the source.
        live: whether the market trades.
    """
    late = live and (candidate.declared_delay_s > LATE_S or candidate.current < HARDLY_EVER)
    return not late and candidate.price <= CHEAP


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
    """The order in which to ask: greedy by utility, a new upstream group preferred, among equals the least asked.

    Args:
        candidates: who could be asked.
        live: whether the market trades.
        asked_groups: groups that were asked already.
        cheapest_first: order by price before utility, for going on until a grade is reached.
    """
    left = sorted(candidates, key=lambda c: c.source)
    covered = set(asked_groups)
    order: list[str] = []
    while left:
        best = _best(left, covered, live=live, cheapest_first=cheapest_first)
        left.remove(best)
        covered.add(best.upstream_group)
        order.append(best.source)
    return tuple(order)


def _best(left: list[Candidate], covered: set[str], *, live: bool, cheapest_first: bool) -> Candidate:
    cheapest = min(c.price for c in left)
    worth = {
        c.source: utility(c, live=live) + (0.0 if c.upstream_group in covered else NEW_GROUP_BONUS)
        for c in left
        if not cheapest_first or c.price <= cheapest
    }
    most = max(worth.values())
    equals = [c for c in left if worth.get(c.source, -float("inf")) >= most - EQUAL]
    return min(equals, key=lambda c: (c.load, -worth[c.source], c.source))
