"""Whom to believe: quotes that agree form cliques, upstream groups vote, and one member's own value is served.

The rules of this module: prices are never averaged; a group of sources that pass on the same data has one vote; two
independent groups outweigh any single one; a clique that is older than the freshest quote by more than its age
explains stands back behind one of the same strength.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mdagent_mcp.consensus.alignment import Observation, in_order
from mdagent_mcp.consensus.cliques import Relation, camps, largest_camp, relate
from mdagent_mcp.consensus.confirmation import confirmations, newest_words
from mdagent_mcp.consensus.context import GradingThresholds
from mdagent_mcp.consensus.evidence import Weighing
from mdagent_mcp.consensus.selection import Selection
from mdagent_mcp.consensus.tolerance import Tolerance

_LIKELY_DIGITS: Final = 1
_PAIR: Final = 2
_WHOLE_STEP: Final = 1.001
"""A difference of one step, as binary fractions have it."""
_TEN_TIMES: Final = 10.0
"""Ratio of probabilities from which evidence decides before age between lone groups: the young one is not believed
whatever it says."""


_ServingOrder = tuple[bool, int, bool, bool, bool, bool, float, int, float, float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """The result of the vote.

    Attributes:
        served: whose own value is the answer.
        members: the winning clique, the served one first.
        outsiders: the other voters with what they say about the served value.
        corroborating: the upstream groups that count as independent confirmations, the served one's included.
        contested: as many independent groups contradict the winner, unexplained, as support it.
        opponents: who contradicts it without an explanation.
        probability: that the served price is within tolerance of the truth, not yet recalibrated.
        selection: where the truth lies, before recalibration.
    """

    served: Observation
    members: tuple[Observation, ...]
    outsiders: tuple[tuple[Observation, Relation], ...]
    corroborating: tuple[str, ...]
    contested: bool
    opponents: tuple[Observation, ...]
    probability: float
    selection: Selection

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of the vote of every voter, in the order of `members` then `outsiders`."""
        return _shares((self.members, [o for o, _ in self.outsiders]))

    @property
    def groups(self) -> int:
        """How many independent confirmations there are."""
        return len(self.corroborating)

    @property
    def outliers(self) -> tuple[Observation, ...]:
        """The voters that contradict the served value."""
        return tuple(o for o, relation in self.outsiders if relation is Relation.CONFLICT)

    @property
    def confirming(self) -> tuple[Observation, ...]:
        """The members whose group counts as a confirmation."""
        return tuple([m for m in self.members if m.group in self.corroborating])


def fuse(
    voters: Iterable[Observation],
    tolerance: Tolerance,
    thresholds: GradingThresholds,
    implausible: Callable[[Observation], bool],
    weighing: Weighing,
) -> Fusion:
    """Let the voters vote.

    Args:
        voters: at least one, all of one session.
        tolerance: of the symbol.
        thresholds: the rubric's lines.
        implausible: whether a price is a power of ten away from what the symbol is known to cost.
        weighing: how probable each voter's price is.
    """
    ordered = in_order(voters)
    winner = _strongest(camps(ordered, tolerance), thresholds, implausible, weighing)
    won = set(map(id, winner))
    others = [o for o in ordered if id(o) not in won]
    confirmed = confirmations(winner, others, newest_words(ordered), (tolerance, thresholds))
    ranked = _ranked(winner, confirmed, (tolerance, thresholds), weighing)
    members, served = tuple(ranked), ranked[0]
    outside = [(o, relate(served, o, tolerance)) for o in others]
    opponents = [o for o, relation in outside if relation is Relation.CONFLICT and not _is_late(o, served, thresholds)]
    if not implausible(served):
        opponents = [o for o in opponents if not implausible(o)]
    return Fusion(
        served=served,
        members=members,
        outsiders=tuple(outside),
        corroborating=confirmed[id(served)],
        contested=bool(opponents) and largest_camp(opponents, tolerance) >= len({m.group for m in members}),
        opponents=tuple(opponents),
        probability=weighing.probability(served),
        selection=weighing.selection,
    )


def _strongest(
    cliques: Sequence[tuple[Observation, ...]],
    thresholds: GradingThresholds,
    implausible: Callable[[Observation], bool],
    weighing: Weighing,
) -> tuple[Observation, ...]:
    """The clique that wins: by groups, plausibility, evidence, age, soundness, fresh groups, probability and trust."""
    if len(cliques) == 1:
        return cliques[0]
    freshest = min(o.vote_age_s for clique in cliques for o in clique)
    late_from = freshest + thresholds.explained_lag_s
    likeliest = max((weighing.probability(o) for clique in cliques for o in clique if o.sound), default=0.0)

    def strength(clique: Sequence[Observation]) -> tuple[float, ...]:
        age, groups = min(o.vote_age_s for o in clique), min(2, len({o.group for o in clique}))
        return (
            groups,
            not all(map(implausible, clique)),
            groups > 1 or _TEN_TIMES * max(map(weighing.probability, clique)) >= likeliest,
            age <= late_from or math.isinf(freshest),
            any(o.sound for o in clique),
            max(1, len({o.group for o in clique if o.vote_age_s <= thresholds.corroboration_age_s})),
            max(round(weighing.probability(o), 6) for o in clique),
            round(sum(_group_votes(clique).values()), 9),
            -age,
            -min(o.log_price for o in clique),  # a tie must not depend on names
        )

    return max(cliques, key=strength)


def _ranked(
    clique: Sequence[Observation],
    confirmed: Mapping[int, Sequence[str]],
    lines: tuple[Tolerance, GradingThresholds],
    weighing: Weighing,
) -> list[Observation]:
    """The members, the one to serve first."""
    tolerance, thresholds = lines
    stating, step = _groups_by_price(clique), _WHOLE_STEP * tolerance.tick_size
    limits = (thresholds.real_time_s, thresholds.low_delay_s, thresholds.acceptable_delay_s, thresholds.stale_s)

    def serving_order(member: Observation) -> _ServingOrder:
        price = member.quote.price
        same = near = len(stating[price])
        if same < _PAIR:
            near = len({o.group for o in clique if abs(o.quote.price - price) <= step})
        support = len(confirmed[id(member)]), same, near
        return _serving_order(member, limits, weighing.probability(member), support)

    return sorted(clique, key=serving_order)


def _group_votes(clique: Iterable[Observation]) -> dict[str, float]:
    """The vote of each upstream group: that of its most trusted member, however many members say the same."""
    votes: dict[str, float] = {}
    for member in clique:
        votes[member.group] = max(member.weight, votes.get(member.group, 0.0))
    return votes


def _groups_by_price(clique: Iterable[Observation]) -> dict[float, set[str]]:
    """The groups that state exactly each price."""
    groups: dict[float, set[str]] = {}
    for member in clique:
        groups.setdefault(member.quote.price, set()).add(member.group)
    return groups


def _serving_order(
    observation: Observation, limits: Sequence[float], probability: float, support: tuple[int, int, int]
) -> _ServingOrder:
    """Best first: of prices of the same letter one that two groups state, since a lone one may be off.

    Args:
        observation: one of those that agree.
        limits: the delays of the letters.
        probability: that it is right.
        support: how many groups confirm its price, how many state exactly that one, and how many one within a step.
    """
    delay = math.inf if observation.delay_s is None else observation.delay_s
    band = bisect_left(limits, delay) + (observation.delay_s is None)
    likely = round(probability, _LIKELY_DIGITS)  # closer ones are equally likely
    quote = observation.quote
    return (
        not observation.sound,
        band,
        support[0] < _PAIR,
        quote.venue_only,
        support[1] < _PAIR,
        support[2] < _PAIR,
        -likely,
        -support[1],
        -observation.weight,
        delay,
        quote.source,
    )


def _is_late(observation: Observation, served: Observation, thresholds: GradingThresholds) -> bool:
    if math.isinf(observation.vote_age_s):
        return not math.isinf(served.vote_age_s)
    return observation.vote_age_s > served.vote_age_s + thresholds.explained_lag_s


def _shares(camps: Iterable[Sequence[Observation]]) -> tuple[float, ...]:
    """Every voter's share: a group's vote is divided among its members in the same camp."""
    raw: list[float] = []
    for camp in camps:
        votes = _group_votes(camp)
        sizes = dict.fromkeys(votes, 0)
        for each in camp:
            sizes[each.group] += 1
        raw.extend([votes[o.group] / sizes[o.group] for o in camp])
    total = sum(raw)
    return tuple(round(share / total, 4) for share in raw)
