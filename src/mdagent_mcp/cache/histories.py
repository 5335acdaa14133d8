"""The series that are known, bounded by their bars; behind them, where there are any, stores that outlive a process.

The rule of this module: whoever asks never waits for a write, and what a store says is taken only where it is known
better there than here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

from mdagent_mcp.cache.known import KnownSeries, SeriesKey

_NEVER: Final = datetime(1900, 1, 1, tzinfo=UTC)


class HistoryShelf(Protocol):
    """A store of series beyond this process's memory; it never raises and never holds anybody up for long."""

    @property
    def state(self) -> str:
        """`ok`, or what is wrong with it."""
        ...

    async def load(self, keys: Sequence[SeriesKey]) -> Mapping[SeriesKey, KnownSeries]:
        """What it has of these series."""
        ...

    def store(self, key: SeriesKey, known: KnownSeries) -> None:
        """Write a series soon, where its source allows it."""
        ...

    def remove(self, key: SeriesKey) -> None:
        """Delete a series soon."""
        ...

    def forget(self, symbol: str, *, heard: bool) -> None:
        """Delete all series of an instrument soon; whoever told us of it has done so where it is shared."""
        ...

    async def flush(self) -> object:
        """Write now what is to be written soon."""
        ...


class HistoryCache:
    """What is known of past prices.

    Args:
        capacity: bars kept in memory; the least recently used series leaves first.
        shelves: stores behind it, the nearest first.
    """

    def __init__(self, capacity: int = 200_000, shelves: Sequence[HistoryShelf] = ()) -> None:
        self._capacity = capacity
        self._shelves = tuple(shelves)
        self._series: OrderedDict[SeriesKey, KnownSeries] = OrderedDict()
        self._bars = 0

    @property
    def bars(self) -> int:
        """Bars kept in memory."""
        return self._bars

    @property
    def state(self) -> str:
        """`ok`, or what is wrong with a store behind it."""
        troubles = [shelf.state for shelf in self._shelves if shelf.state != "ok"]
        return "; ".join(troubles) or "ok"

    def find(self, key: SeriesKey) -> KnownSeries | None:
        """What is known of a series in memory."""
        known = self._series.get(key)
        if known is not None:
            self._series.move_to_end(key)
        return known

    async def recall(self, keys: Sequence[SeriesKey]) -> None:
        """Bring into memory what the stores behind know of these series and memory does not, or not as lately."""
        for shelf in self._shelves:
            for key, known in (await shelf.load(keys)).items():
                here = self.find(key)
                if here is None or here.history.received_at < known.history.received_at:
                    self._put(key, known)

    def keep(self, key: SeriesKey, known: KnownSeries) -> None:
        """Keep a series here and in the stores behind."""
        self._put(key, known)
        for shelf in self._shelves:
            shelf.store(key, known)

    def drop(self, key: SeriesKey) -> None:
        """Keep a series no longer, neither here nor in the stores behind."""
        self._evict(key)
        for shelf in self._shelves:
            shelf.remove(key)

    async def flush(self) -> None:
        """Have the stores behind written."""
        for shelf in self._shelves:
            await shelf.flush()

    def forget(self, symbol: str, *, heard: bool = False) -> None:
        """Keep nothing about an instrument: its prices were corrected for a split or a dividend.

        Args:
            symbol: canonical symbol.
            heard: another replica told us.
        """
        for key in [key for key in self._series if key.symbol == symbol]:
            self._evict(key)
        for shelf in self._shelves:
            shelf.forget(symbol, heard=heard)

    def doubt(self) -> None:
        """Have every adjusted series compared with its source before it is used again."""
        for key, known in self._series.items():
            self._series[key] = replace(known, verified_at=_NEVER)

    def _put(self, key: SeriesKey, known: KnownSeries) -> None:
        self._evict(key)
        self._series[key] = known
        self._bars += len(known.history.bars)
        while self._bars > self._capacity:
            self._evict(next(iter(self._series)))

    def _evict(self, key: SeriesKey) -> None:
        gone = self._series.pop(key, None)
        self._bars -= 0 if gone is None else len(gone.history.bars)
