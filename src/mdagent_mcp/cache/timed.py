"""Recent answers, bounded by count; age is the asker's business, because every caller tolerates another one.

Values are kept with the instant they were stored. The least recently used entry leaves first.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Entry(Generic[ValueT]):
    """A kept value.

    Attributes:
        value: what was stored.
        stored_at: when, UTC.
    """

    value: ValueT
    stored_at: datetime

    def age_s(self, now: datetime) -> float:
        """Seconds since it was stored; infinite when the clock was set back since, for then nobody can tell."""
        age_s = (now - self.stored_at).total_seconds()
        return age_s if age_s >= 0 else math.inf


class TimedStore(Generic[KeyT, ValueT]):
    """A bounded least-recently-used store that knows the age of its entries.

    Args:
        capacity: entries kept.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a cache needs room for at least one entry, got {capacity}")
        self._capacity = capacity
        self._entries: OrderedDict[KeyT, Entry[ValueT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: KeyT) -> Entry[ValueT] | None:
        """The entry of a key, whatever its age."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def fresh(self, key: KeyT, now: datetime, max_age_s: float) -> Entry[ValueT] | None:
        """The entry of a key when it is younger than `max_age_s`; an age of 0 finds nothing."""
        entry = self.find(key)
        return entry if entry is not None and entry.age_s(now) < max_age_s else None

    def store(self, key: KeyT, value: ValueT, now: datetime) -> None:
        """Keep a value."""
        self._entries[key] = Entry(value, now)
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def amend(self, key: KeyT, value: ValueT) -> None:
        """Replace a kept value without making it younger; nothing happens when it has left already."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries[key] = Entry(value, entry.stored_at)
