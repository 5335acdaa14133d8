"""Who copies whom: sources that make the same mistakes, so that a copy does not count as a second opinion.

The rule of this module: agreement proves nothing, since everybody shows the same market; only errors do. Two sources
that state the same wrong value have it from one place (Dong, Berti-Equille and Srivastava, "Integrating conflicting
data: the role of source dependence", 2009). Evidence is a discounted beta over errors that were shared or not, and a
pair counts as dependent only by the lower bound of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from mdagent_mcp.domain.answers import QuoteAnswer, VoiceVerdict
from mdagent_mcp.domain.events import Compared
from mdagent_mcp.domain.quality import Dimension
from mdagent_mcp.memory.beta import beta_quantile

HALF_LIFE: Final = 2000.0
"""Errors after which an error counts half."""
MOST_EVIDENCE: Final = 1e4
"""More errors than the discounting ever leaves."""
PRIOR_SHARED: Final = 0.5
PRIOR_APART: Final = 4.5
"""What is believed before anything was seen: one error in ten is shared by chance, worth five errors."""
FEWEST_SHARED: Final = 10.0
"""Shared errors before a pair may count as dependent."""
DEPENDENT_FROM: Final = 0.5
"""Lower bound of the share of errors that are shared from which on a pair is one voice."""
LOWER_QUANTILE: Final = 0.10
LONGEST_LAG_S: Final = 900.0
"""A value said again later than this is no copy of what was said first."""
SYMBOLS_KEPT: Final = 500
_SAME: Final = 1e-9
_CONFIRMED: Final = 90.0
KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")
_COPYABLE: Final = ("unexplained", "digit")
"""Causes of an error that two sources do not come to independently."""
_DEVIATIONS: Final = 8.0
"""An error within so many standard deviations of what its age explains is none."""
_CONVENTION: Final = 0.3
"""From this logarithm on an error is another unit, share class or split, which sources may have in common."""


class Pair(NamedTuple):
    """Two sources in alphabetical order."""

    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Dependence:
    """How often two sources made the same mistake.

    Attributes:
        shared: discounted number of errors that both made.
        apart: discounted number of errors that one made alone or both made differently.
        lag_s: mean time by which the second follows the first in what they share; negative where it leads.
        updated_at: of the latest error, epoch seconds.
    """

    shared: float
    apart: float
    lag_s: float
    updated_at: float

    @property
    def share(self) -> float:
        """Estimated share of their errors that they have in common."""
        shared, apart = self._posterior
        return shared / (shared + apart)

    @property
    def lower_bound(self) -> float:
        """Cautious lower bound of that share."""
        return beta_quantile(LOWER_QUANTILE, *self._posterior)

    @property
    def _posterior(self) -> tuple[float, float]:
        """Both parameters; an imported store may hold any number, one that learned holds no larger ones."""
        shared, apart = (min(max(weight, 0.0), MOST_EVIDENCE) for weight in (self.shared, self.apart))
        return shared + PRIOR_SHARED, apart + PRIOR_APART

    @property
    def is_proven(self) -> bool:
        """Whether the two are to be counted as one voice."""
        return self.shared >= FEWEST_SHARED and self.share > DEPENDENT_FROM and self.lower_bound >= DEPENDENT_FROM


def combine_dependences(older: Dependence, newer: Dependence) -> Dependence:
    """Both, the older part discounted for the errors since."""
    kept = math.exp2(-(newer.shared + newer.apart) / HALF_LIFE)
    shared = older.shared * kept + newer.shared
    lag = (older.lag_s * older.shared * kept + newer.lag_s * newer.shared) / shared if shared > 0 else 0.0
    return Dependence(shared, older.apart * kept + newer.apart, lag, max(older.updated_at, newer.updated_at))


def proven(dependences: Mapping[Pair, Dependence]) -> tuple[Pair, ...]:
    """The pairs that are one voice."""
    return tuple(sorted(pair for pair, dependence in dependences.items() if dependence.is_proven))


def joined_groups(groups: Mapping[str, str], pairs: Iterable[Pair]) -> dict[str, str]:
    """The upstream groups, those of sources that copy each other made one under the first of their names.

    Whole groups are joined: moving one source alone would make it independent of those it shares an upstream with.

    Args:
        groups: source -> declared upstream group.
        pairs: the dependent ones; of sources that are not in `groups` nothing is said.
    """
    joined = dict(groups)
    for first, second in pairs:
        if first in joined and second in joined:
            name, other = sorted((joined[first], joined[second]))
            joined = {source: name if group == other else group for source, group in joined.items()}
    return joined


@dataclass(slots=True)
class _Told:
    at: float = -math.inf
    claims: dict[str, Compared] = field(default_factory=dict)
    counted: dict[Pair, float] = field(default_factory=dict)


@dataclass(slots=True)
class SharedErrors:
    """Sees errors as they are told and tells which were shared; kept in RAM and bounded.

    Only errors count that two independent sources do not make alike: not another unit, session or listing, nor an old
    price, which both may have right by their own convention.

    Attributes:
        wrong: symbol -> source -> the wrong price it said last, and when (epoch seconds).
        told: symbol -> what an authority told last, and when which pair was counted.
    """

    wrong: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    told: dict[str, _Told] = field(default_factory=dict)

    def learn_answer(self, answer: QuoteAnswer) -> Iterator[tuple[Pair, Dependence]]:
        """What the rejected voices of a confirmed answer teach; a price that is only repeated counts once."""
        if answer.cached or answer.explanation.assessment.dimensions[Dimension.CORROBORATION] < _CONFIRMED:
            return
        at = answer.judged_at.timestamp()
        known = _kept(self.wrong, answer.symbol, {})
        said = {v.source: v.price for v in answer.explanation.voices if v.weight > 0}
        wrong = {
            v.source: v.price
            for v in answer.explanation.voices
            if v.verdict is VoiceVerdict.OUTLIER and v.weight > 0 and v.cause.startswith(_COPYABLE)
        }
        new = {source: price for source, price in wrong.items() if known.get(source, (None,))[0] != price}
        done: set[Pair] = set()
        for source, price in new.items():
            for other, stated in said.items():
                pair = Pair(*sorted((source, other)))
                if other != source and pair not in done:
                    done.add(pair)
                    yield pair, _judged(pair, source, price, (stated, known.get(other)), at)
        known.update({source: (price, at) for source, price in new.items()})

    def learn_compared(self, event: Compared) -> Iterator[tuple[Pair, Dependence]]:
        """What two sources' prices against the same truth teach; those told at one instant belong together.

        A wrong price that stands still is told again and again, so a pair counts once in `LONGEST_LAG_S`.
        """
        if event.field != "price" or event.age_s is None:
            return
        at = event.at.timestamp()
        told = _kept(self.told, event.symbol, _Told())
        if told.at != at:
            told.at, told.claims = at, {}
        for other, claim in told.claims.items():
            pair = Pair(*sorted((event.source, other)))
            shared = _shared(event, claim)
            if other != event.source and shared is not None and at - told.counted.get(pair, -math.inf) >= LONGEST_LAG_S:
                told.counted[pair] = at
                yield pair, Dependence(float(shared), float(not shared), 0.0, at)
        told.claims[event.source] = event


def _judged(
    pair: Pair, source: str, price: float, other: tuple[float, tuple[float, float] | None], at: float
) -> Dependence:
    """Whether the other one says the same wrong price, or said it before."""
    now, before = other
    if now == price:
        return Dependence(1.0, 0.0, 0.0, at)
    if before is not None and before[0] == price and at - before[1] <= LONGEST_LAG_S:
        behind = at - before[1]
        return Dependence(1.0, 0.0, behind if pair.second == source else -behind, at)
    return Dependence(0.0, 1.0, 0.0, at)


def _shared(first: Compared, second: Compared) -> bool | None:
    """Whether an error is the other's too; None when neither is wrong, or when it cannot be told."""
    if not (_is_wrong(first) or _is_wrong(second)):
        return None
    apart = abs(first.error - second.error)
    if apart <= _SAME:
        return True
    return False if apart > min(first.tolerance, second.tolerance) else None


def _is_wrong(claim: Compared) -> bool:
    """Whether neither its age nor another unit or split explains the error."""
    drift = math.sqrt(max(claim.unit, 0.0) * max(claim.age_s or 0.0, 0.0))
    return max(claim.fault_band, _DEVIATIONS * drift) < abs(claim.error) < _CONVENTION


def _kept(store: dict[KeyT, ValueT], key: KeyT, otherwise: ValueT) -> ValueT:
    value = store.pop(key, otherwise)
    store[key] = value
    while len(store) > SYMBOLS_KEPT:
        del store[next(iter(store))]
    return value
