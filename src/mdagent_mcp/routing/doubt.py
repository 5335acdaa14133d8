"""Whether what was learned earlier still holds: sources change, and memory that proves wrong must not do harm.

The rule of this module: pure arithmetic. Of every source two ideas compete over its latest outcomes: that it is what
memory says, and that nothing is known of it. The odds between them move by the likelihood of each outcome (a
sequential probability ratio test, Wald 1945), bounded so that a long good record cannot make one blind. What was
learned before counts as far as it is believed; and where most sources that were tested are no longer what they were,
what is remembered of the others is not believed either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

FULL_ODDS: Final = 3.0
"""Greatest logarithm of the odds for memory, which is where it begins."""
LEAST_ODDS: Final = -4.0
SURE: Final = 0.93
"""Belief below which the latest outcomes have spoken against memory: one that it took for improbable is enough."""
LEAST_CHANCE: Final = 0.03
"""No outcome is taken to be less likely than this."""
TESTED_AFTER: Final = 3
TESTED_SOURCES: Final = 3
"""Sources that have to be tested before anything is concluded about others."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How memory of one source fares.

    Attributes:
        odds: logarithm of the odds that the source is what memory says.
        outcomes: that were compared with it.
    """

    odds: float = FULL_ODDS
    outcomes: int = 0

    @property
    def belief(self) -> float:
        """How far memory of it is believed, 0 to 1."""
        return 1.0 / (1.0 + math.exp(-self.odds))

    @property
    def is_in_doubt(self) -> bool:
        """Whether outcomes have spoken against memory of it and more of them would tell.

        They would where memory is not refuted, and where hardly any are known of what the source is now.
        """
        return self.outcomes > 0 and self.belief < SURE and (self.belief >= 0.5 or self.outcomes < TESTED_AFTER)


def compared(standing: Standing, facets: Iterable[tuple[bool, float, float]]) -> Standing:
    """The standing after one more outcome.

    What speaks against memory is not made up for by what stayed as it was: a source that failed and no longer does is
    another one although it states as much as ever. So the facet that speaks against it most decides, where one does.

    Args:
        standing: before it.
        facets: of the outcome (that it was right, in time, complete): whether it was so, the chance of that as memory
            has it, and the chance where nothing is known of the source.
    """
    told = [
        math.log(_likelihood(known, seen=seen) / _likelihood(unknown, seen=seen)) for seen, known, unknown in facets
    ]
    against = min(told, default=0.0)
    odds = standing.odds + (against if against < 0.0 else sum(told))
    return replace(standing, odds=min(FULL_ODDS, max(LEAST_ODDS, odds)), outcomes=standing.outcomes + 1)


def doubt_spread(standings: Mapping[str, Standing], sources: Iterable[str]) -> dict[str, Standing]:
    """The standings after what the tested sources say of those that were not tested.

    Where at least half of three or more are no longer what they were, memory of the others is doubted as much; from
    then on it has to prove itself by outcomes of theirs.

    Args:
        standings: by source.
        sources: all that are remembered.
    """
    found = [s for s in standings.values() if s.outcomes >= TESTED_AFTER]
    disproved = sum(s.belief < 0.5 for s in found) / len(found) if found else 0.0
    spread = dict(standings)
    if len(found) < TESTED_SOURCES or disproved < 0.5:
        return spread
    odds = max(LEAST_ODDS, math.log((1.0 - disproved) / disproved)) if disproved < 1.0 else LEAST_ODDS
    for source in sources:
        standing = spread.get(source, Standing())
        if standing.outcomes < TESTED_AFTER and standing.odds > odds:
            spread[source] = replace(standing, odds=odds)
    return spread


def _likelihood(chance: float, *, seen: bool) -> float:
    return max(LEAST_CHANCE, chance if seen else 1.0 - chance)
