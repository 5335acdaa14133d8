"""Running cases and counting."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from grading_quotes.drafts import Draft
from grading_quotes.kinds import Case, Maker
from grading_quotes.oracle import right_grade
from grading_quotes.world import Setting, World, open_world
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.domain.quality import Grade

_ORDER = tuple(Grade)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one case."""

    kind: str
    right: Grade
    given: Grade
    near: bool


@dataclass(slots=True)
class Tally:
    """Results and what they come to."""

    results: list[Result] = field(default_factory=list)

    @property
    def exact(self) -> float:
        """Share of grades that are exactly right."""
        return _share(r.right is r.given for r in self.results)

    @property
    def wilson_low(self) -> float:
        """Lower end of the 95 % Wilson interval of `exact`."""
        return wilson_low(sum(r.right is r.given for r in self.results), len(self.results))

    @property
    def over(self) -> float:
        """Share of grades that are better than deserved."""
        return _share(_ORDER.index(r.given) < _ORDER.index(r.right) for r in self.results)

    @property
    def macro(self) -> float:
        """Mean of the kinds' shares of exact grades."""
        shares = [tally.exact for tally in self.by_kind().values()]
        return sum(shares) / len(shares)

    def by_kind(self) -> Mapping[str, Tally]:
        """One tally per kind."""
        return {
            kind: Tally([r for r in self.results if r.kind == kind])
            for kind in dict.fromkeys(r.kind for r in self.results)
        }

    def where(self, *, near: bool) -> Tally:
        """Those near a line, or away from all."""
        return Tally([r for r in self.results if r.near is near])

    def confusion(self) -> Counter[tuple[Grade, Grade]]:
        """Counts by (right, given)."""
        return Counter((r.right, r.given) for r in self.results)


def wilson_low(hits: int, total: int, z: float = 1.959964) -> float:
    """Lower end of Wilson's score interval."""
    if total == 0:
        return 0.0
    share, spread = hits / total, z * z / total
    middle = share + spread / 2
    return (middle - z * math.sqrt(share * (1 - share) / total + spread / (4 * total))) / (1 + spread)


async def run(settings: Sequence[Setting], kinds: Mapping[str, Maker], rounds: int) -> Tally:
    """Judge one case of every kind in every round of every setting."""
    tally = Tally()
    for setting in settings:
        async with open_world(setting) as world:
            for _ in range(rounds):
                world.poll()
                tally.results.extend(judged(world, kind, maker(world)) for kind, maker in kinds.items())
    return tally


def judged(world: World, kind: str, case: Case) -> Result:
    """Judge a case and look up what would have been right."""
    judgement = world.judge([draft.quote() for draft in case.drafts])
    given = Grade.F if judgement is None else judgement.grade
    return Result(kind, right_grade(served_draft(judgement, case), case.drafts, case.truth), given, case.near)


def served_draft(judgement: QuoteJudgement | None, case: Case) -> Draft | None:
    """The draft whose value was served."""
    if judgement is None:
        return None
    source = judgement.sources_used[0]
    return next(d for d in case.drafts if d.profile.id == source and d.price == judgement.price)


def _share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return sum(found) / len(found) if found else 1.0


def merged(*tallies: Tally) -> Tally:
    """All results together."""
    return Tally([result for tally in tallies for result in tally.results])
