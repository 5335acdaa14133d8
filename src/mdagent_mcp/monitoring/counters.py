"""Running totals for `source_status`: availability over the last day and the share of answers from the cache."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mdagent_mcp.domain.events import Event, Graded

_WINDOW: Final = timedelta(hours=24)
_BUCKET: Final = timedelta(minutes=5)


@dataclass
class _Bucket:
    start: datetime
    asked: int = 0
    answered: int = 0
    cached: int = 0


@dataclass
class AnswerCounters:
    """Counts answers in buckets of five minutes and forgets them after a day."""

    _buckets: deque[_Bucket] = field(default_factory=deque)

    def __call__(self, event: Event) -> None:
        """Count a `Graded` event; others are not ours."""
        if not isinstance(event, Graded):
            return
        if not self._buckets or event.at - self._buckets[-1].start >= _BUCKET:
            self._buckets.append(_Bucket(event.at))
        while event.at - self._buckets[0].start > _WINDOW:
            self._buckets.popleft()
        bucket = self._buckets[-1]
        bucket.asked += 1
        bucket.answered += event.grade is not None
        bucket.cached += event.cached

    @property
    def availability(self) -> float | None:
        """Share of asked symbols that got an answer in the last day; None before the first."""
        return self._share([b.answered for b in self._buckets])

    @property
    def cache_hit_rate(self) -> float | None:
        """Share of asked symbols answered from the cache in the last day; None before the first."""
        return self._share([b.cached for b in self._buckets])

    def _share(self, parts: list[int]) -> float | None:
        asked = sum(b.asked for b in self._buckets)
        return round(sum(parts) / asked, 4) if asked else None
