"""Reading Alpha Vantage's series: rows by date, newest first, as traded beside an adjusted close.

The rule of this module: the basis is the one asked for or there is no answer. Prices are scaled by what the reply
itself tells: `all` by adjusted over raw close, `splits` by the split coefficients of all later days.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split
from mdagent_mcp.domain.reading import Json, malformed, price_time
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.vendor import HistoryQuery, Reply
from mdagent_mcp.vendors.alpha_vantage_reply import (
    SOURCE,
    Labelled,
    date_of,
    is_pair,
    labelled,
    number_of,
    parse_body,
    quoted_in,
    require_named,
    wall_time_of,
    wanted,
)

NEW_YORK: Final = ZoneInfo("America/New_York")
"""The zone of intraday times, whatever the listing."""
_MOST_SPLIT: Final = 1e6
"""Shares that one share may become; the largest reverse splits on record are of some ten thousand to one."""
_ZONES: Final = frozenset({"US/Eastern", "America/New_York"})
_DAY: Final = timedelta(days=1)
SERIES: Final = "Time Series"
"""Part of the name of every series."""
META: Final = "Meta Data"
"""The name of what is told about a series."""
_UTC_NOTE: Final = "the source's days begin and end at 00:00 UTC"
_VOLUME_NOTE: Final = "volumes are as traded, not adjusted for splits"
_LENGTHS: Final[Mapping[Interval, str]] = MappingProxyType(
    {
        Interval.MIN_1: "1min",
        Interval.MIN_5: "5min",
        Interval.MIN_15: "15min",
        Interval.MIN_30: "30min",
        Interval.HOUR_1: "60min",
        Interval.DAY_1: "Daily",
        Interval.WEEK_1: "Weekly",
        Interval.MONTH_1: "Monthly",
    }
)
_PAIR_LABELS: Final = (("from symbol", "to symbol"), ("digital currency code", "market code"))

_Row = tuple[datetime, Labelled]


@dataclass
class _Scaling:
    """What turns raw rows, taken newest first, into the basis asked for."""

    basis: Adjustment
    after: float = 1.0
    """Shares of today for one share of the row's day."""
    splits: list[Split] = field(default_factory=list)
    dividends: list[Dividend] = field(default_factory=list)

    def bar(self, start: datetime, row: Labelled) -> Bar | None:
        """One row on the basis asked for; None when it has no prices. Afterwards its own split counts."""
        prices = [_figure(row, name, start) for name in ("open", "high", "low", "close")]
        factor = self._factor(row, prices[3], start)
        volume = _optional(row, "volume")
        opened, high, low, close = (_finite(price * factor, start) for price in prices)
        split_volume = None if volume is None else _finite(volume * (1.0 if self._is_raw else self.after), start)
        self._pass(start.date(), row)
        if min(opened, high, low, close) <= 0:
            return None
        return Bar(start, opened, high, low, close, split_volume)

    @property
    def _is_raw(self) -> bool:
        return self.basis is Adjustment.NONE

    def _factor(self, row: Labelled, close: float, start: datetime) -> float:
        if self.basis is Adjustment.ALL:
            adjusted = _figure(row, "adjusted close", start)
            return adjusted / close if close > 0 else 0.0
        return 1.0 if self._is_raw else 1.0 / self.after

    def _pass(self, day: date, row: Labelled) -> None:
        """Take note of what happened on a row's day. Amounts are per share of today, as the prices are."""
        if "split coefficient" not in row and self.basis is not Adjustment.SPLITS:
            return
        dividend = _optional(row, "dividend amount")
        ratio = number_of(wanted(row, "split coefficient", f"the row of {day}"))
        if dividend is not None and dividend > 0:
            self.dividends.append(Dividend(day, dividend / self.after))
        after = self.after * ratio
        if not (1 / _MOST_SPLIT <= ratio <= _MOST_SPLIT and 1 / _MOST_SPLIT**2 <= after <= _MOST_SPLIT**2):
            raise malformed(f"the split coefficient of {day} is no ratio")
        if ratio != 1:
            self.splits.append(Split(day, ratio))
        self.after = after


def read_series(query: HistoryQuery, reply: Reply) -> History:
    """Read a `TIME_SERIES_…`, `FX_DAILY` or `DIGITAL_CURRENCY_DAILY` reply.

    Raises:
        SourceError: NO_DATA without bars in the range, MALFORMED_REPLY, or what a notice in the reply says.
    """
    root = parse_body(reply.body)
    rows = _rows(root, query)
    scaling = _Scaling(Adjustment.NONE if _is_ready(query) else query.adjustment)
    read: list[tuple[datetime, Bar | None]] = []
    for start, row in reversed(rows):
        bar = scaling.bar(start, row)
        if _is_wanted(start, query):
            read.append((start, bar))
    read.reverse()
    bars, null_rows = bars_and_null_rows(read)
    calendar = calendar_named(query.instrument.calendar)
    return History(
        symbol=query.instrument.symbol,
        source=SOURCE,
        interval=query.interval,
        adjustment=query.adjustment,
        timezone=calendar.timezone,
        received_at=reply.received_at,
        bars=bars,
        currency=query.instrument.currency,
        null_rows=null_rows,
        partial_last_bar=_is_running(bars[-1], query, calendar, reply.received_at),
        extended_hours=query.extended_hours and query.interval.is_intraday,
        dividends=tuple(d for d in reversed(scaling.dividends) if d.day >= query.first),
        splits=tuple(s for s in reversed(scaling.splits) if s.day >= query.first),
        notes=_notes(query),
    )


def _is_ready(query: HistoryQuery) -> bool:
    """Whether rows come on the basis asked for: a pair has nothing to adjust, intraday bars are asked adjusted."""
    return is_pair(query.instrument) or query.interval.is_intraday


def _notes(query: HistoryQuery) -> tuple[str, ...]:
    if is_pair(query.instrument):
        return (_UTC_NOTE,)
    note = quoted_in(query.instrument)[1]
    coarse = query.interval in {Interval.WEEK_1, Interval.MONTH_1}
    return (note, _VOLUME_NOTE) if coarse and query.adjustment is Adjustment.ALL else (note,)


def _rows(root: Json, query: HistoryQuery) -> list[_Row]:
    """The rows, oldest first, each with the start of its bar."""
    meta = labelled(root.get(META))
    for labels in _PAIR_LABELS if is_pair(query.instrument) else (("symbol",),):
        require_named(query.instrument, meta, labels)
    # A series of other bars, or of another kind of instrument, has another name.
    wanted_name = table_name(query.instrument, query.interval)
    table = next((value for key, value in root.members() if wanted_name in key), None)
    if table is None:
        raise malformed(f"the reply holds no {wanted_name}")
    if query.interval.is_intraday:
        zone = wanted(meta, "time zone", META)
        if zone.text() not in _ZONES:
            raise malformed(f"{zone.path} is not New York: {zone.text(40)!r}")
        starts = [(_instant(key, value.path), value) for key, value in table.members()]
    else:
        starts = [(_first_date(key, value.path, query.interval), value) for key, value in table.members()]
    starts.sort(key=lambda pair: pair[0])
    return [(start, labelled(value)) for start, value in starts]


def table_name(instrument: Instrument, interval: Interval) -> str:
    """What the name of a series contains, which differs by the kind of instrument and the length of the bars."""
    length = _LENGTHS[interval]
    if instrument.asset_class is AssetClass.FOREX:
        return f"{SERIES} FX ({length})"
    if instrument.asset_class is AssetClass.CRYPTO:
        return f"{SERIES} (Digital Currency {length})"
    if interval in {Interval.WEEK_1, Interval.MONTH_1}:
        return length  # `Weekly Time Series`, `Weekly Adjusted Time Series`
    return f"{SERIES} ({length})"


def _instant(text: str, path: str) -> datetime:
    return price_time(wall_time_of(text, path).replace(tzinfo=NEW_YORK).astimezone(UTC), path)


def _first_date(text: str, path: str, interval: Interval) -> datetime:
    """Weeks and months are dated by their last trading day; ours by their first day."""
    day = date_of(text, path)
    if interval is Interval.WEEK_1:
        day -= day.weekday() * _DAY
    elif interval is Interval.MONTH_1:
        day = day.replace(day=1)
    return datetime.combine(day, time(0), UTC)


def _last_day(first: date, interval: Interval) -> date:
    if interval is Interval.WEEK_1:
        return first + (6 - first.weekday()) * _DAY
    if interval is Interval.MONTH_1:
        return (first.replace(day=28) + 4 * _DAY).replace(day=1) - _DAY
    return first


def _is_wanted(start: datetime, query: HistoryQuery) -> bool:
    if not query.interval.is_intraday:
        return _last_day(start.date(), query.interval) >= query.first and start.date() <= query.last
    if not query.first <= start.astimezone(NEW_YORK).date() <= query.last:
        return False
    session = calendar_named(query.instrument.calendar).session_at(start)
    if query.extended_hours or session is None:
        return query.extended_hours
    # An hour that begins before the open holds the first minutes of regular trading.
    return start < session.close and start + query.interval.length > session.open


def _is_running(bar: Bar, query: HistoryQuery, calendar: Calendar, received_at: datetime) -> bool:
    """Whether the period of a bar had not ended when the reply came."""
    if query.interval.is_intraday:
        return bar.start + query.interval.length > received_at
    last = _last_day(bar.day, query.interval)
    if is_pair(query.instrument) or not calendar.covers(last):
        return received_at.date() <= last
    sessions = calendar.sessions_between(bar.day, last)
    return bool(sessions) and sessions[-1].close > received_at


def _figure(row: Labelled, name: str, start: datetime) -> float:
    value = number_of(wanted(row, name, f"the row of {start:%Y-%m-%d %H:%M}"))
    if value < 0:
        raise malformed(f"{name} of {start:%Y-%m-%d %H:%M} is negative")
    return value


def _optional(row: Labelled, name: str) -> float | None:
    cell = row.get(name)
    value = None if cell is None or cell.value is None else number_of(cell)
    return value if value is not None and value >= 0 else None


def _finite(value: float, start: datetime) -> float:
    if not math.isfinite(value):
        raise malformed(f"a figure of {start:%Y-%m-%d %H:%M} is too large")
    return value
