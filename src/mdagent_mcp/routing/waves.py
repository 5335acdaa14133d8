"""How many sources to ask at once, and which: the cheapest set that is expected to reach the wanted grade. Pure.

A grade needs so many independent upstream groups that say the same, one of them as fresh as the grade wants, and for
an A one that states all there is beside the price. Each source's learned chances make the chance of a set; of the sets
that are likely enough to reach the grade the one with the least expected cost is asked. Where none is, the expected
cost alone decides, a failed wave being charged for the time of the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Final, NamedTuple

from mdagent_mcp.routing.planning import EQUAL, LATENCY_WEIGHT, Candidate, toll, utility, worth_asking

REACH: Final = 0.9
"""A set that reaches the grade with this chance is expected to."""
SURENESS: Final = 0.02
"""What it is worth that a set is expected to reach the grade, in units of trust, beyond the chance of asking in vain.

Without a bound, knowing more would cost more: of unknown sources no set is that sure and expected cost decides, while
of well-known ones the sure set would be bought at any price.
"""
MISS: Final = 0.2
"""What it costs to have asked in vain, in units of trust."""
HOPELESS: Final = 0.2
"""A set that reaches a need with less than this chance is not asked for it, however little it costs.

A need that no set reaches with this chance is not the one to choose by.
"""
RESERVE_PRICE: Final = 1.0
"""Price from which a source is kept for those that cannot do without it."""
SPARES: Final = 1
"""Free sources that are asked beside the set, so that the fastest answers count."""
SPARE_CHANCE: Final = 0.5
SPARE_LATENCY_S: Final = 0.5
"""Usual time from which a source is no spare: where the others are not enough, all would wait for it."""
MOST_COMPARED: Final = 7
"""Sources that sets are made of; of more only the most useful ones are looked at."""
_ROUNDS: Final = 6
_PRICED: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Need:
    """What an answer still lacks.

    Attributes:
        voices: independent groups that still have to say the same.
        fresh: whether one as fresh as the grade wants is lacking.
        complete: whether one that states all there is beside the price is lacking.
        covered: groups that confirm already, so that another voice of theirs adds none.
        live: whether the market trades.
        urgent: whether sources are asked that are being kept in reserve.
    """

    voices: int = 2
    fresh: bool = True
    complete: bool = False
    covered: frozenset[str] = frozenset()
    live: bool = True
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Wave:
    """Whom to ask at once, and why.

    Attributes:
        sources: chosen, in the order of their utility.
        spares: free ones that are asked as well.
        chance: that the chosen ones reach the need.
        cost: expected, in units of trust.
        need: what they were chosen for.
        reserved: sources that were left out because their quotas run short.
    """

    sources: tuple[str, ...]
    spares: tuple[str, ...]
    chance: float
    cost: float
    need: Need
    reserved: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[str, ...]:
        """Everybody who is asked."""
        return self.sources + self.spares


@dataclass(frozen=True, slots=True)
class _Set:
    members: tuple[Candidate, ...]
    chance: float
    cost: float

    @property
    def load(self) -> float:
        return sum(c.load for c in self.members)


def affordable(candidates: Iterable[Candidate], *, urgent: bool) -> tuple[Candidate, ...]:
    """Without those whose quotas run so short that they are kept in reserve; everybody where it is urgent or all are.

    Args:
        candidates: who could be asked.
        urgent: whether the question cannot do without them.
    """
    found = tuple(candidates)
    spared = tuple(c for c in found if c.price <= RESERVE_PRICE)
    return found if urgent or not spared else spared


def reach_chance(chosen: Iterable[Candidate], need: Need) -> float:
    """The chance that these sources, asked at once, give what is needed; groups err independently.

    By inclusion and exclusion: enough voices, less those cases in which none of them is fresh or none is complete.

    Args:
        chosen: who is asked.
        need: what is needed.
    """
    groups: dict[str, _Silence] = {}
    for candidate in chosen:
        known = groups.get(candidate.upstream_group, _NOBODY)
        groups[candidate.upstream_group] = known.with_source(candidate, live=need.live)
    silences = [(silence, group not in need.covered) for group, silence in groups.items()]
    chance = _enough([(s.voice, 1.0, counts) for s, counts in silences], need.voices)
    if need.fresh:
        chance -= _enough([(s.voice, s.fresh, counts) for s, counts in silences], need.voices)
    if need.complete:
        chance -= _enough([(s.voice, s.complete, counts) for s, counts in silences], need.voices)
    if need.fresh and need.complete:
        chance += _enough([(s.voice, s.either, counts) for s, counts in silences], need.voices)
    return min(1.0, max(0.0, chance))


class _Silence(NamedTuple):
    """The chances that a group, all its sources together, lacks something.

    Attributes:
        voice: says nothing.
        fresh: says nothing fresh.
        complete: says nothing complete.
        either: says nothing that is fresh or complete.
    """

    voice: float
    fresh: float
    complete: float
    either: float

    def with_source(self, candidate: Candidate, *, live: bool) -> _Silence:
        """The same with one more source."""
        voice, fresh = candidate.says(live=live)
        complete, both = voice * candidate.complete, fresh * candidate.complete
        return _Silence(
            self.voice * (1.0 - voice),
            self.fresh * (1.0 - fresh),
            self.complete * (1.0 - complete),
            self.either * (1.0 - fresh - complete + both),
        )


_NOBODY: Final = _Silence(1.0, 1.0, 1.0, 1.0)


def _enough(groups: Iterable[tuple[float, float, bool]], voices: int) -> float:
    """The chance that every group says only what it may, and at least so many of those that count say something.

    Args:
        groups: of each the chances that it says nothing, and that it says nothing it may not; and whether it counts.
        voices: how many have to.
    """
    total, fewer = 1.0, [1.0, *[0.0] * (voices - 1)][:voices]
    for nothing, allowed, counts in groups:
        total *= allowed
        for heard in range(voices - 1, -1, -1):
            more = fewer[heard - 1] * (allowed - nothing) if heard and counts else 0.0
            fewer[heard] = fewer[heard] * (nothing if counts else allowed) + more
    return total - sum(fewer)


def expected_cost(chosen: Sequence[Candidate], chances: Sequence[float]) -> float:
    """What asking these sources at once is expected to cost, in units of trust: calls, time, and asking again.

    One waits until the need is met, not for whoever is slowest; for everybody only where it is not met.

    Args:
        chosen: who is asked, the fastest first.
        chances: that the need is met by the first of them alone, by the first two, and so on.
    """
    waited_s, before = 0.0, 0.0
    for candidate, chance in zip(chosen, chances, strict=True):
        waited_s += candidate.latency_s * max(0.0, chance - before)
        before = max(before, chance)
    missed = 1.0 - before
    waited_s += missed * max((c.latency_s for c in chosen), default=0.0)
    return sum(map(toll, chosen)) + LATENCY_WEIGHT * waited_s + MISS * missed


@lru_cache(maxsize=512)
def choose_wave(candidates: tuple[Candidate, ...], need: Need, most: int) -> Wave:
    """Choose whom to ask at once; nobody only where nobody could be.

    Args:
        candidates: who could be asked.
        need: what the answer lacks.
        most: sources that are asked at once at most, at least 1.
    """
    usable = affordable(candidates, urgent=need.urgent)
    if not usable:
        return Wave((), (), 0.0, 0.0, need)
    for attainable in _relaxed(need):
        sets = list(_sets(usable, attainable, most))
        if hopeful := [s for s in sets if s.chance >= HOPELESS]:
            sets = hopeful
            break
    chosen = _cheapest(_worthwhile(sets, urgent=need.urgent))
    names = tuple(c.source for c in sorted(chosen.members, key=lambda c: (-utility(c, live=need.live), c.source)))
    spares = _spares(usable, chosen, most, live=need.live)
    reserved = tuple(sorted(c.source for c in candidates if c not in usable))
    return Wave(names, spares, chosen.chance, chosen.cost, attainable, reserved)


def _relaxed(need: Need) -> Iterator[Need]:
    """The need, and what is still worth having where it cannot be reached."""
    yield need
    yield (without := replace(need, complete=False))
    yield (late := replace(without, fresh=False))
    yield replace(late, live=False)
    yield replace(late, voices=1, live=False, covered=frozenset())


def _sets(usable: Sequence[Candidate], need: Need, most: int) -> Iterator[_Set]:
    best = sorted(usable, key=lambda c: (-utility(c, live=need.live), c.load, c.source))[:MOST_COMPARED]
    best.sort(key=lambda c: c.latency_s)
    reached: dict[tuple[int, ...], tuple[float, ...]] = {(): ()}
    for size in range(1, min(most, len(best)) + 1):
        for places in combinations(range(len(best)), size):
            members = tuple(best[place] for place in places)
            # What those without the slowest reach was reckoned before.
            reached[places] = (*reached[places[:-1]], reach_chance(members, need))
            yield _Set(members, reached[places][-1], expected_cost(members, reached[places]))


def _worthwhile(sets: Sequence[_Set], *, urgent: bool) -> Sequence[_Set]:
    """The sets that are expected to reach the need, unless that costs more than it is worth to who named no grade."""
    sure = [s for s in sets if s.chance >= REACH]
    dearer = min((s.cost for s in sure), default=0.0) - min(s.cost for s in sets)
    return sure if sure and (urgent or dearer <= SURENESS) else sets


def _cheapest(sets: Sequence[_Set]) -> _Set:
    """The set with the least expected cost; among equals the one whose sources were asked least lately."""
    least = min(s.cost for s in sets)
    equals = [s for s in sets if s.cost <= least + EQUAL]
    return min(equals, key=lambda s: (s.load, s.cost, tuple(c.source for c in s.members)))


def _spares(usable: Sequence[Candidate], chosen: _Set, most: int, *, live: bool) -> tuple[str, ...]:
    free = [
        c
        for c in usable
        if c not in chosen.members
        and c.price <= _PRICED
        and c.latency_s < SPARE_LATENCY_S
        and c.says(live=live)[0] >= SPARE_CHANCE
    ]
    heard = {c.upstream_group for c in chosen.members}
    free.sort(key=lambda c: (c.upstream_group in heard, -utility(c, live=live), c.load, c.source))
    return tuple(c.source for c in free[: min(SPARES, most - len(chosen.members))])


def request_shares(candidates: Sequence[Candidate], *, live: bool, most: int = 3) -> dict[str, float]:
    """The share of first calls that each source would get now; sums to 1 when any is usable.

    It is counted over some questions in a row, so that equals share.

    Args:
        candidates: who could be asked.
        live: whether the market trades.
        most: sources that are asked at once at most.
    """
    timely = worth_asking(candidates, live=live)
    sent = {c.source: 0 for c in candidates}
    for _ in range(_ROUNDS):
        loaded = tuple(replace(c, load=c.load + sent[c.source]) for c in timely)
        for source in choose_wave(loaded, Need(live=live), most).asked:
            sent[source] += 1
    total = sum(sent.values())
    return {source: round(n / total, 4) if total else 0.0 for source, n in sent.items()}
