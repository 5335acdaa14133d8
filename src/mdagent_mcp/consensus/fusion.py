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
from enum import Enum
from itertools import combinations
from typing import Final

from mdagent_mcp.consensus.alignment import Observation, in_order
from mdagent_mcp.consensus.context import GradingThresholds
from mdagent_mcp.consensus.evidence import Weighing
from mdagent_mcp.consensus.selection import interval
from mdagent_mcp.consensus.tolerance import Tolerance
from mdagent_mcp.domain.prices import Session

_LIKELY_DIGITS: Final = 1
_MUCH_CLOSER: Final = 1 / 3
_CLOSE: Final = 0.6
"""Share of the tolerance within which a second price confirms: the rest is what the second one itself may be off."""
_CLOSE_S: Final = 5.0
"""Seconds apart beyond which two prices must not lie further from each other to confirm."""
_UNDATED_APART_S: Final = 60.0
"""Time assumed between two prices of which one has no time."""


class Relation(Enum):
    """What two prices say about each other."""

    AGREE = "agree"
    DIFFER = "differ"
    CONFLICT = "conflict"


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
        shares: share of the vote of every voter, in the order of `members` then `outsiders`.
        probability: that the served price is within tolerance of the truth, not yet recalibrated.
        below: how far below the served price the truth may lie, of logarithms, before recalibration.
        above: how far above it.
    """

    served: Observation
    members: tuple[Observation, ...]
    outsiders: tuple[tuple[Observation, Relation], ...]
    corroborating: tuple[str, ...]
    contested: bool
    opponents: tuple[Observation, ...]
    shares: tuple[float, ...]
    probability: float
    below: float
    above: float

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


def relate(first: Observation, second: Observation, tolerance: Tolerance) -> Relation:
    """What two prices of the same session say about each other."""
    distance = abs(first.log_price - second.log_price)
    apart = _apart_s(first, second)
    if distance <= tolerance.agreement(apart):
        return Relation.AGREE
    return Relation.DIFFER if distance <= tolerance.conflict(apart) else Relation.CONFLICT


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
    winner = _strongest(_camps(ordered, tolerance), thresholds, implausible, weighing)
    won = set(map(id, winner))
    others = [o for o in ordered if id(o) not in won]
    confirmed = _confirmations(winner, others, _newest(ordered), (tolerance, thresholds))
    ranked = _ranked(winner, confirmed, thresholds, weighing)
    members, served = tuple(ranked), ranked[0]
    outside = [(o, relate(served, o, tolerance)) for o in others]
    opponents = [o for o, relation in outside if relation is Relation.CONFLICT and not _is_late(o, served, thresholds)]
    if not implausible(served):
        opponents = [o for o in opponents if not implausible(o)]
    low, high = interval(weighing.selection, served.log_price)
    return Fusion(
        served=served,
        members=members,
        outsiders=tuple(outside),
        corroborating=confirmed[id(served)],
        contested=bool(opponents) and _largest_camp(opponents, tolerance) >= len({m.group for m in members}),
        opponents=tuple(opponents),
        shares=_shares((members, [o for o, _ in outside])),
        probability=weighing.probability(served),
        below=served.log_price - low,
        above=high - served.log_price,
    )


def _strongest(
    cliques: Sequence[tuple[Observation, ...]],
    thresholds: GradingThresholds,
    implausible: Callable[[Observation], bool],
    weighing: Weighing,
) -> tuple[Observation, ...]:
    """The clique that wins: by groups, plausibility, age, soundness, fresh groups, probability and trust."""
    if len(cliques) == 1:
        return cliques[0]
    freshest = min(o.vote_age_s for clique in cliques for o in clique)
    late_from = freshest + thresholds.explained_lag_s

    def strength(clique: Sequence[Observation]) -> tuple[float, ...]:
        age = min(o.vote_age_s for o in clique)
        return (
            min(2, len({o.group for o in clique})),
            not all(map(implausible, clique)),
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
    thresholds: GradingThresholds,
    weighing: Weighing,
) -> list[Observation]:
    """The members, the one to serve first."""
    stating = _groups_by_price(clique)
    limits = (thresholds.real_time_s, thresholds.low_delay_s, thresholds.acceptable_delay_s, thresholds.stale_s)

    def serving_order(member: Observation) -> tuple[bool, int, bool, bool, float, int, float, float, str]:
        support = len(confirmed[id(member)]), len(stating[member.quote.price])
        return _serving_order(member, limits, weighing.probability(member), support)

    return sorted(clique, key=serving_order)


def _agreements(observations: Sequence[Observation], tolerance: Tolerance) -> list[list[bool]]:
    """Who agrees with whom, everyone with himself."""
    agree = [[True] * len(observations) for _ in observations]
    for (i, first), (j, second) in combinations(enumerate(observations), 2):
        agree[i][j] = agree[j][i] = relate(first, second, tolerance) is Relation.AGREE
    return agree


def _newest(observations: Iterable[Observation]) -> dict[str, float]:
    """The age of every group's newest word."""
    newest: dict[str, float] = {}
    for each in observations:
        known = newest.get(each.group)
        if known is None or each.vote_age_s < known:
            newest[each.group] = each.vote_age_s
    return newest


def _apart_s(first: Observation, second: Observation) -> float:
    if math.isinf(first.vote_age_s) or math.isinf(second.vote_age_s):
        return _UNDATED_APART_S
    return abs(first.vote_age_s - second.vote_age_s)


def _maximal_cliques(agree: Sequence[Sequence[bool]]) -> list[tuple[int, ...]]:
    """Every set of voters that all agree with each other and cannot be enlarged (Bron and Kerbosch)."""
    if all(map(all, agree)):
        return [tuple(range(len(agree)))]
    found: list[tuple[int, ...]] = []
    neighbours = [{j for j, yes in enumerate(row) if yes and j != i} for i, row in enumerate(agree)]

    def grow(clique: tuple[int, ...], candidates: set[int], excluded: set[int]) -> None:
        if not candidates and not excluded:
            found.append(tuple(sorted(clique)))
            return
        pivot = max(candidates | excluded, key=lambda v: (len(neighbours[v] & candidates), -v))
        for vertex in sorted(candidates - neighbours[pivot]):
            near = neighbours[vertex]
            grow((*clique, vertex), candidates & near, excluded & near)
            candidates = candidates - {vertex}
            excluded = excluded | {vertex}

    grow((), set(range(len(agree))), set())
    return sorted(found)


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
    observation: Observation, limits: Sequence[float], probability: float, support: tuple[int, int]
) -> tuple[bool, int, bool, bool, float, int, float, float, str]:
    """Best first.

    Args:
        observation: one of those that agree.
        limits: the delays of the letters.
        probability: that it is right.
        support: how many groups confirm its price, and how many state exactly that one.
    """
    delay = math.inf if observation.delay_s is None else observation.delay_s
    band = bisect_left(limits, delay) + (observation.delay_s is None)
    likely = round(probability, _LIKELY_DIGITS)  # closer ones are equally likely
    quote = observation.quote
    return (
        not observation.sound,
        band,
        support[0] < 2,
        quote.venue_only,
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


def _confirmations(
    clique: Sequence[Observation],
    outsiders: Sequence[Observation],
    newest: Mapping[str, float],
    lines: tuple[Tolerance, GradingThresholds],
) -> dict[int, tuple[str, ...]]:
    """By the identity of every member: the groups that would confirm it, if it were served."""
    tolerance, thresholds = lines
    close = widest_gap(clique) <= _CLOSE * tolerance.agreement(0.0)
    plain = close and len({o.standing for o in clique}) == 1
    if outsiders or not plain or max([o.vote_age_s for o in clique]) > thresholds.corroboration_age_s:
        return {id(o): _corroborating(o, clique, outsiders, newest, lines) for o in clique}
    groups = dict.fromkeys([o.group for o in clique if o.sound and newest[o.group] == o.vote_age_s])
    return {id(o): (o.group, *[g for g in groups if g != o.group]) for o in clique}  # the usual case: all agree


def _corroborating(
    served: Observation,
    clique: Sequence[Observation],
    outsiders: Sequence[Observation],
    newest: Mapping[str, float],
    lines: tuple[Tolerance, GradingThresholds],
) -> tuple[str, ...]:
    """The groups that confirm a price: sound, fresh (or as old as a price that is not fresh itself), and close.

    A group whose newest word is another one confirms nothing, and neither does one that agrees with a fresh outsider
    about as well. Where as many fresh groups say another price together, nobody is confirmed.
    """
    tolerance, thresholds = lines
    limit = thresholds.corroboration_age_s
    if served.vote_age_s > limit:
        limit += served.vote_age_s
    close = [_is_close(o, served, tolerance) for o in clique]
    apart = [*outsiders, *(o for o, near in zip(clique, close, strict=True) if not near)]
    others = [o for o in apart if o.vote_age_s <= limit and o.group != served.group]
    groups, undecided = [served.group], []
    for member, near in zip(clique, close, strict=True):
        dated = member.standing <= served.standing
        if near and dated and member.sound and newest[member.group] == member.vote_age_s <= limit:
            if any(_agrees_as_well(member, other, served, tolerance) for other in others):
                undecided.append(member)
            else:
                groups.append(member.group)
    distinct = tuple(dict.fromkeys(groups))
    against = _largest_camp([*others, *undecided], tolerance) if others else 0
    return distinct if len(distinct) > max(1, against) else (served.group,)


def _is_close(member: Observation, served: Observation, tolerance: Tolerance) -> bool:
    """Whether a member's price leaves the truth within the tolerance of the served one, if the member is right.

    Two closes are official prices: whatever their stamps say, they agree or they do not.
    """
    if served.session is Session.CLOSED:
        return True
    distance = abs(member.log_price - served.log_price)
    most = tolerance.agreement(0.0)
    if distance <= _CLOSE * most or distance > most:
        return distance <= _CLOSE * most
    return distance <= _CLOSE * tolerance.agreement(min(_apart_s(member, served), _CLOSE_S))


def _agrees_as_well(member: Observation, other: Observation, served: Observation, tolerance: Tolerance) -> bool:
    if other.group == member.group or relate(member, other, tolerance) is not Relation.AGREE:
        return False
    if member.vote_age_s > other.vote_age_s + _CLOSE_S:
        return True  # an older price does not decide between two younger ones
    apart = abs(member.log_price - served.log_price)
    return apart > _MUCH_CLOSER * abs(member.log_price - other.log_price)


def _largest_camp(opponents: Sequence[Observation], tolerance: Tolerance) -> float:
    """How many groups the strongest contradiction unites; less than any winner has without opponents."""
    camps = [len({o.group for o in camp}) for camp in _camps(opponents, tolerance)]
    return max(camps, default=-1)


def _camps(opponents: Sequence[Observation], tolerance: Tolerance) -> list[tuple[Observation, ...]]:
    """The largest sets that agree with each other."""
    if not opponents:
        return []
    if widest_gap(opponents) <= tolerance.agreement(0.0):  # whatever their ages: time apart only allows more
        return [tuple(opponents)]
    agree = _agreements(opponents, tolerance)
    return [tuple(opponents[i] for i in clique) for clique in _maximal_cliques(agree)]


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


def widest_gap(observations: Sequence[Observation]) -> float:
    """Greatest difference of log prices among `observations`."""
    prices = [o.log_price for o in observations]
    return max(prices) - min(prices) if prices else 0.0
