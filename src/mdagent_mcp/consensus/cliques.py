"""Which prices agree with each other, and which sets of them do.

The rule of this module: prices are compared in pairs, with the room that spread, step and the time between them leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from itertools import combinations
from typing import Final

from mdagent_mcp.consensus.alignment import Observation
from mdagent_mcp.consensus.tolerance import Tolerance

_UNDATED_APART_S: Final = 60.0
"""Time assumed between two prices of which one has no time."""


class Relation(Enum):
    """What two prices say about each other."""

    AGREE = "agree"
    DIFFER = "differ"
    CONFLICT = "conflict"


def relate(first: Observation, second: Observation, tolerance: Tolerance) -> Relation:
    """What two prices of the same session say about each other."""
    distance = abs(first.log_price - second.log_price)
    apart = apart_s(first, second)
    if distance <= tolerance.agreement(apart):
        return Relation.AGREE
    return Relation.DIFFER if distance <= tolerance.conflict(apart) else Relation.CONFLICT


def apart_s(first: Observation, second: Observation) -> float:
    """Seconds between two prices; a minute is assumed where one has no time."""
    if math.isinf(first.vote_age_s) or math.isinf(second.vote_age_s):
        return _UNDATED_APART_S
    return abs(first.vote_age_s - second.vote_age_s)


def _agreements(observations: Sequence[Observation], tolerance: Tolerance) -> list[list[bool]]:
    """Who agrees with whom, everyone with himself."""
    agree = [[True] * len(observations) for _ in observations]
    for (i, first), (j, second) in combinations(enumerate(observations), 2):
        agree[i][j] = agree[j][i] = relate(first, second, tolerance) is Relation.AGREE
    return agree


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


def camps(opponents: Sequence[Observation], tolerance: Tolerance) -> list[tuple[Observation, ...]]:
    """The largest sets that agree with each other."""
    if not opponents:
        return []
    if widest_gap(opponents) <= tolerance.agreement(0.0):  # whatever their ages: time apart only allows more
        return [tuple(opponents)]
    agree = _agreements(opponents, tolerance)
    return [tuple(opponents[i] for i in clique) for clique in _maximal_cliques(agree)]


def largest_camp(opponents: Sequence[Observation], tolerance: Tolerance) -> float:
    """How many groups the strongest contradiction unites; less than any winner has without opponents."""
    sizes = [len({o.group for o in camp}) for camp in camps(opponents, tolerance)]
    return max(sizes, default=-1)


def widest_gap(observations: Sequence[Observation]) -> float:
    """Greatest difference of log prices among `observations`."""
    prices = [o.log_price for o in observations]
    return max(prices) - min(prices) if prices else 0.0
