"""How numbers and times read in sentences: the same figure reads the same everywhere, in every locale."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import Calendar

_COUNTS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def price_text(price: float) -> str:
    """A price with the digits it has, at least two after the point above 1."""
    return _kept_price_text(price) if price >= 1 else _price_text(price)


def _price_text(price: float) -> str:
    if price >= 1 and float(cents := f"{price:.2f}") == price:
        return cents
    text = f"{price:.12g}"
    if not math.isfinite(price):
        return text
    if "e" in text:
        text = f"{Decimal(text):f}"
    if price < 1:
        return text
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.ljust(2, '0')}"


_kept_price_text = lru_cache(maxsize=1024)(_price_text)
"""One judgement names the same prices many times."""


def clock_error_text(ahead_s: float) -> str:
    """That this machine's clock is wrong: seconds that it is ahead of the time, negative when behind."""
    way = "ahead of" if ahead_s > 0 else "behind"
    return f"this machine's clock is {duration_text(abs(ahead_s))} {way} the vendors' servers"


def duration_text(seconds: float) -> str:
    """A time span in the unit a person would use: `1.3 s`, `45 s`, `15 min`, `5 h`, `3 days`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    if seconds < 7170:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def basis_points(share: float) -> str:
    """A relative difference in basis points, in percent from 100 bp on."""
    return f"{share * 1e4:.1f} bp" if share < 0.01 else f"{share * 100:.1f} %"


def count_text(count: int) -> str:
    """A small count as a word."""
    return _COUNTS[count] if count < len(_COUNTS) else str(count)


def plural(count: int, noun: str) -> str:
    """`1 source`, `2 sources`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def joined(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}" if listed else ""


def utc_second(instant: datetime) -> str:
    """An instant in UTC on the 24-hour clock: `14:03:07 UTC`."""
    return f"{instant.hour:02d}:{instant.minute:02d}:{instant.second:02d} UTC"


def local_minute(instant: datetime, calendar: Calendar) -> str:
    """An instant on the exchange's own clock: `Fri 2026-11-20 16:00 ET`."""
    return _local_minute(instant.replace(second=0, microsecond=0), calendar.timezone)


@lru_cache(maxsize=256)
def _local_minute(minute: datetime, timezone: str) -> str:
    local = minute.astimezone(ZoneInfo(timezone))
    zone = "ET" if timezone == "America/New_York" else local.tzname() or timezone
    day = f"{_DAYS[local.weekday()]} {local.year}-{local.month:02d}-{local.day:02d}"
    return f"{day} {local.hour:02d}:{local.minute:02d} {zone}"
