"""Who confirms a price: independent groups that leave the truth within its tolerance if they are right.

The rule of this module: agreeing is not confirming. Two prices may agree and both be off to either side; an A stands
on a confirmation, so that a wrong minority must not get one from a right price that merely lies near it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from mdagent_mcp.consensus.alignment import Observation
from mdagent_mcp.consensus.cliques import Relation, apart_s, largest_camp, relate, widest_gap
from mdagent_mcp.consensus.context import GradingThresholds
from mdagent_mcp.consensus.tolerance import Tolerance
from mdagent_mcp.domain.prices import Session

_MUCH_CLOSER: Final = 1 / 3
_CLOSE: Final = 0.6
"""Share of the tolerance within which a second price confirms: the rest is what the second one itself may be off."""
CLOSE_S: Final = 5.0
"""Seconds apart beyond which two prices must not lie further from each other to confirm."""
_OLDER_S: Final = 2.0
"""Seconds by which a price is older than another one so that it does not decide between it and a third."""
_STEP: Final = 1.001
"""Steps of the price for which room must remain in the tolerance: it never moves by less. (Logarithms of a step up and
of one down differ.)"""
_MOVED: Final = 2.0
"""Deviations of what the price may have done between two prices for which room must remain, where the volatility is an
assumption (the symbol's own is often twice that), or where nothing but older prices confirms a younger one."""


def confirmations(
    clique: Sequence[Observation],
    outsiders: Sequence[Observation],
    newest: Mapping[str, float],
    lines: tuple[Tolerance, GradingThresholds],
) -> dict[int, tuple[str, ...]]:
    """By the identity of every member: the groups that would confirm it, if it were served."""
    tolerance, thresholds = lines
    ages = [o.vote_age_s for o in clique]
    plain = max(ages) <= thresholds.corroboration_age_s and len({o.standing for o in clique}) == 1
    if outsiders or not plain or widest_gap(clique) > _reach(tolerance, max(ages) - min(ages)):
        return {id(o): _corroborating(o, clique, outsiders, newest, lines) for o in clique}
    groups = dict.fromkeys([o.group for o in clique if o.sound and newest[o.group] == o.vote_age_s])
    return {id(o): (o.group, *[g for g in groups if g != o.group]) for o in clique}  # the usual case: all agree


def newest_words(observations: Iterable[Observation]) -> dict[str, float]:
    """The age of every group's newest word."""
    newest: dict[str, float] = {}
    for each in observations:
        known = newest.get(each.group)
        if known is None or each.vote_age_s < known:
            newest[each.group] = each.vote_age_s
    return newest


def _corroborating(
    served: Observation,
    clique: Sequence[Observation],
    outsiders: Sequence[Observation],
    newest: Mapping[str, float],
    lines: tuple[Tolerance, GradingThresholds],
) -> tuple[str, ...]:
    """The groups that confirm a price: sound, fresh (or as old as a price that is not fresh itself), and close.

    A group whose newest word is another one confirms nothing and is not confirmed. Neither does one confirm that agrees
    with a fresh outsider about as well. Where as many fresh groups say another price together, nobody is confirmed.
    """
    if any(o.group == served.group and o.vote_age_s < served.vote_age_s for o in outsiders):
        return (served.group,)
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
    against = largest_camp([*others, *undecided], tolerance) if others else 0
    return distinct if len(distinct) > max(1, against) else (served.group,)


def _is_close(member: Observation, served: Observation, tolerance: Tolerance) -> bool:
    """Whether a member's price leaves the truth within the tolerance of the served one, if the member is right.

    Two closes are official prices: whatever their stamps say, they agree or they do not. Where the volatility was
    learned, prices of different seconds may lie a little further apart.
    """
    if served.session is Session.CLOSED:
        return True
    distance, apart = abs(member.log_price - served.log_price), apart_s(member, served)
    if distance <= _reach(tolerance, apart):
        return True
    return tolerance.learned and distance <= min(
        _room(tolerance, apart), _CLOSE * tolerance.agreement(min(apart, CLOSE_S))
    )


def _reach(tolerance: Tolerance, seconds: float) -> float:
    """Greatest distance of two prices that confirm each other; negative when the time between forbids it."""
    return min(_CLOSE * tolerance.agreement(0.0), _room(tolerance, seconds))


def _room(tolerance: Tolerance, seconds: float) -> float:
    """What a step of the price, and what it may have done in the time between, leave of the tolerance.

    Without it a price that is off in one direction is confirmed by one from before a move in the other.
    """
    moved = 0.0 if tolerance.learned else _moved(tolerance, seconds)
    return tolerance.agreement(0.0) - _STEP * tolerance.tick - moved


def _moved(tolerance: Tolerance, seconds: float) -> float:
    return _MOVED * tolerance.sigma * math.sqrt(seconds)


def outlasts_movement(distance: float, seconds: float, tolerance: Tolerance) -> bool:
    """Whether a price still confirms another one after what may have happened in the time between.

    The younger may be an old one with a false time stamp: near the older right ones by chance, while the price has
    moved to their other side since.

    Args:
        distance: of the two, as a difference of log prices.
        seconds: between them.
        tolerance: of the symbol.
    """
    return distance <= tolerance.agreement(0.0) - _STEP * tolerance.tick - _moved(tolerance, seconds)


def _agrees_as_well(member: Observation, other: Observation, served: Observation, tolerance: Tolerance) -> bool:
    if other.group == member.group:
        return False
    relation = relate(member, other, tolerance)
    if member.vote_age_s > other.vote_age_s + _OLDER_S:
        return relation is not Relation.CONFLICT  # between two younger prices an older one decides by contradicting one
    if relation is not Relation.AGREE:
        return False
    apart = abs(member.log_price - served.log_price)
    return apart > _MUCH_CLOSER * abs(member.log_price - other.log_price)
