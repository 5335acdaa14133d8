"""A known series as bytes, for stores that others write to as well.

The rule of this module: what is read back is checked like a stranger's word - its schema version, its size, every type
and every instant - and is None when anything about it is wrong. Nothing of it is trusted but the prices, and those are
judged like any other.
"""

from __future__ import annotations

import zlib
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mdagent_mcp.cache.known import KnownSeries, Part, SeriesKey
from mdagent_mcp.cache.ranges import Span
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split

VERSION: Final = 1
MOST_BARS: Final = 200_000
MOST_BYTES: Final = 32 * 1024 * 1024
"""Of a series that was unpacked."""
AHEAD: Final = timedelta(seconds=30)
"""How far another machine's clock may be ahead of ours."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SETTLED_AHEAD: Final = timedelta(days=12)
"""So far after its arrival an answer may be settled at most: over days without a session."""

_Text = Annotated[str, Field(max_length=300)]
_Instant = Annotated[int, Field(ge=-(10**17), le=10**17)]
_Event = tuple[date, float]
_Dates = tuple[date, date]


class _Stored(BaseModel):
    """A series as it is written: instants are microseconds since 1970, UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    version: Literal[1]
    source: _Text
    symbol: _Text
    interval: Interval
    asked: Adjustment
    adjustment: Adjustment
    extended_hours: bool
    timezone: _Text
    currency: _Text | None
    received_at: _Instant
    partial_last_bar: bool
    has_extended_hours: bool
    bars: Annotated[
        list[tuple[_Instant, float, float, float, float, float | None, float | None]], Field(max_length=MOST_BARS)
    ]
    null_rows: Annotated[list[_Instant], Field(max_length=MOST_BARS)]
    dividends: Annotated[list[_Event], Field(max_length=5_000)]
    splits: Annotated[list[_Event], Field(max_length=1_000)]
    capital_gains: Annotated[list[_Event], Field(max_length=5_000)]
    notes: Annotated[list[_Text], Field(max_length=50)]
    settled: Annotated[list[tuple[_Dates, _Instant]], Field(max_length=100)]
    tail: _Dates | None
    tail_at: _Instant
    silent_from: date | None
    verified_at: _Instant


def encode(key: SeriesKey, known: KnownSeries) -> bytes | None:
    """The series as bytes; None when it is too large or holds a number that is none."""
    history = known.history
    try:
        stored = _Stored(
            version=VERSION,
            source=key.source,
            symbol=key.symbol,
            interval=key.interval,
            asked=key.adjustment,
            adjustment=history.adjustment,
            extended_hours=key.extended_hours,
            timezone=history.timezone,
            currency=history.currency,
            received_at=_number(history.received_at),
            partial_last_bar=history.partial_last_bar,
            has_extended_hours=history.extended_hours,
            bars=[(_number(b.start), b.open, b.high, b.low, b.close, b.volume, b.adjusted_close) for b in history.bars],
            null_rows=[_number(row) for row in history.null_rows],
            dividends=[(d.day, d.amount) for d in history.dividends],
            splits=[(s.day, s.ratio) for s in history.splits],
            capital_gains=[(g.day, g.amount) for g in history.capital_gains],
            notes=[note[:300] for note in history.notes],
            settled=[((p.span.first, p.span.last), _number(p.received_at)) for p in known.settled],
            tail=None if known.tail is None else (known.tail.first, known.tail.last),
            tail_at=_number(known.tail_at),
            silent_from=known.silent_from,
            verified_at=_number(known.verified_at),
        )
    except ValidationError:
        return None
    return zlib.compress(stored.model_dump_json().encode(), 1)


def decode(key: SeriesKey, body: bytes, now: datetime) -> KnownSeries | None:
    """What bytes say about a series; None when they are none of ours, or cannot be true.

    Args:
        key: whose it has to be.
        body: as stored.
        now: UTC.
    """
    try:
        stored = _Stored.model_validate_json(_unpacked(body))
        known = _known(stored)
    except (ValidationError, ValueError, OverflowError, zlib.error):
        return None
    told = SeriesKey(stored.source, stored.symbol, stored.interval, stored.asked, stored.extended_hours)
    return known if told == key and _is_possible(known, now) else None


def _unpacked(body: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(body, MOST_BYTES)
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise ValueError("longer than any series, or cut short")
    return text


def _known(stored: _Stored) -> KnownSeries:
    history = History(
        symbol=stored.symbol,
        source=stored.source,
        interval=stored.interval,
        adjustment=stored.adjustment,
        timezone=stored.timezone,
        received_at=_instant(stored.received_at),
        bars=tuple(Bar(_instant(start), o, h, low, c, v, adj) for start, o, h, low, c, v, adj in stored.bars),
        currency=stored.currency,
        null_rows=tuple(map(_instant, stored.null_rows)),
        partial_last_bar=stored.partial_last_bar,
        extended_hours=stored.has_extended_hours,
        dividends=tuple(Dividend(day, amount) for day, amount in stored.dividends),
        splits=tuple(Split(day, ratio) for day, ratio in stored.splits),
        capital_gains=tuple(Dividend(day, amount) for day, amount in stored.capital_gains),
        notes=tuple(stored.notes),
    )
    return KnownSeries(
        history=history,
        settled=tuple(Part(Span(*dates), _instant(at)) for dates, at in stored.settled),
        tail=None if stored.tail is None else Span(*stored.tail),
        tail_at=_instant(stored.tail_at),
        silent_from=stored.silent_from,
        verified_at=_instant(stored.verified_at),
    )


def _is_possible(known: KnownSeries, now: datetime) -> bool:
    """Whether bars are in order, nothing arrived in our future, and nothing was settled before it had happened."""
    bars = known.history.bars
    instants = [known.history.received_at, known.tail_at, known.verified_at, *(p.received_at for p in known.settled)]
    return (
        bool(bars)
        and all(a.start < b.start for a, b in pairwise(bars))
        and max(instants) <= now + AHEAD
        and all(a.span.last < b.span.first for a, b in pairwise(known.settled))
        and all(p.span.last <= (p.received_at + _SETTLED_AHEAD).date() for p in known.settled)
    )


def _number(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _instant(number: int) -> datetime:
    return _EPOCH + number * _MICROSECOND
