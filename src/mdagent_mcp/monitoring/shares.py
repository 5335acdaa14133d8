"""How large a share of what happened lately was bad, and whether that is more than usual. Pure.

The rule of this module: what is usual is learned from older periods only, slowly, and never from a period that is
itself unusual, so that a fault that lasts does not become normal. A share counts as risen when even its lower bound
(Wilson, https://doi.org/10.1080/01621459.1927.10502953) is well above the usual one.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

WINDOW: Final = timedelta(minutes=15)
BUCKET: Final = timedelta(minutes=1)
FEWEST: Final = 20
"""Occurrences in the window before a share means anything."""
Z: Final = 2.576
"""Of a two-sided 99 % bound."""
HALF_LIFE: Final = 2000.0
"""Occurrences after which one counts half in what is usual."""
PRIOR: Final = 100.0
"""Occurrences that the documented usual share is worth to begin with."""


def wilson_lower(bad: int, total: int, z: float = Z) -> float:
    """Lower bound of a share."""
    if total == 0:
        return 0.0
    share, square = bad / total, z * z
    centre = share + square / (2 * total)
    width = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, (centre - width) / (1 + square / total))


@dataclass(slots=True)
class _Bucket:
    start: datetime
    bad: int = 0
    total: int = 0


@dataclass(slots=True)
class Share:
    """A share over the last quarter of an hour against what is usual.

    Attributes:
        usual: to begin with, before anything was learned.
        factor: a share that many times the usual one has risen.
        floor: below this it never has.
    """

    usual: float
    factor: float = 2.0
    floor: float = 0.05
    _weight: float = PRIOR
    _buckets: deque[_Bucket] = field(default_factory=deque)

    def add(self, *, bad: bool, at: datetime) -> None:
        """Count one occurrence."""
        if not self._buckets or at - self._buckets[-1].start >= BUCKET:
            self._forget(at)
            self._buckets.append(_Bucket(at))
        self._buckets[-1].bad += bad
        self._buckets[-1].total += 1

    def counts(self, now: datetime) -> tuple[int, int]:
        """Bad ones and all of the window."""
        self._forget(now)
        return sum(b.bad for b in self._buckets), sum(b.total for b in self._buckets)

    def limit(self) -> float:
        """The share from which on it has risen."""
        return max(self.floor, self.usual * self.factor)

    def has_risen(self, now: datetime) -> bool:
        """Whether the share of the window is above the usual one beyond chance."""
        return self._is_unusual(*self.counts(now))

    def _forget(self, now: datetime) -> None:
        """Drop what left the window, learning from it unless the window was unusual."""
        bad, total = sum(b.bad for b in self._buckets), sum(b.total for b in self._buckets)
        unusual = self._is_unusual(bad, total)
        while self._buckets and now - self._buckets[0].start >= WINDOW:
            old = self._buckets.popleft()
            if not unusual:
                self._learn(old)

    def _is_unusual(self, bad: int, total: int) -> bool:
        return total >= FEWEST and wilson_lower(bad, total) > self.limit()

    def _learn(self, old: _Bucket) -> None:
        kept = self._weight * math.exp2(-old.total / HALF_LIFE)
        self.usual = (self.usual * kept + old.bad) / (kept + old.total)
        self._weight = kept + old.total
