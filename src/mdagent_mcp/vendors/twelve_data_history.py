"""Reading Twelve Data's series, whose times have no offset.

The rule of this module: times are in the zone that was asked for; our own requests ask for UTC where bars are shorter
than a day. Daily and longer bars carry dates, which are the exchange's own.
"""

from __future__ import annotations

import calendar as month_lengths
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.reading import Json, countable, malformed, price_time
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.vendor import HistoryQuery, Reply
from mdagent_mcp.vendors.twelve_data_replies import (
    PAIRS,
    SOURCE,
    Unit,
    amount,
    local_time,
    open_reply,
    read_listing,
    refuse_envelope,
    spelling_of,
)

EXCHANGE: Final = "Exchange"
"""The zone of times where none is asked for."""
INTERVALS: Final[Mapping[Interval, str]] = MappingProxyType(
    {
        Interval.MIN_1: "1min",
        Interval.MIN_5: "5min",
        Interval.MIN_15: "15min",
        Interval.MIN_30: "30min",
        Interval.HOUR_1: "1h",
        Interval.DAY_1: "1day",
        Interval.WEEK_1: "1week",
        Interval.MONTH_1: "1month",
    }
)
"""Bar lengths as Twelve Data writes them."""

_DAY: Final = timedelta(days=1)
_FOREX_DAY_SHIFT: Final = timedelta(hours=7)
"""A forex day begins at 17:00 New York."""


@dataclass(frozen=True, slots=True)
class ZonedQuery(HistoryQuery):
    """A question known from a recorded URL, which may have asked for times of another zone.

    Attributes:
        timezone: an IANA name, or `Exchange`.
    """

    timezone: str = EXCHANGE


def read_series(query: HistoryQuery, reply: Reply) -> History:
    """Read `/time_series`.

    Raises:
        SourceError: with the envelope's own reason, NO_DATA without bars in the range, MALFORMED_REPLY.
    """
    series = _series_of(query.instrument, open_reply(reply.body))
    meta = series.get("meta")
    unit = read_listing(meta, query.instrument)
    sent = meta.get("interval").text(10)
    if sent != INTERVALS[query.interval]:
        raise malformed(f"answered with bars of {sent}, not {INTERVALS[query.interval]}")
    zone = _zone_of(query, meta)
    rows = [_read_row(row, query, zone, unit) for row in series.get("values").items()]
    if rows and rows[0][0] > rows[-1][0]:
        rows.reverse()
    wanted = [row for row in rows if _is_wanted(row[0], query)]
    bars, null_rows = bars_and_null_rows(wanted)
    calendar = calendar_named(query.instrument.calendar)
    extended = any(not _is_regular(bar.start, query.interval, calendar) for bar in bars)
    return History(
        symbol=query.instrument.symbol,
        source=SOURCE,
        interval=query.interval,
        adjustment=query.adjustment,
        timezone=calendar.timezone,
        received_at=reply.received_at,
        bars=bars,
        currency=unit.currency,
        null_rows=null_rows,
        partial_last_bar=_end_of(bars[-1], query, calendar) > reply.received_at,
        extended_hours=extended,
        notes=unit.notes + _notes(query, extended=extended),
    )


def _series_of(instrument: Instrument, root: Json) -> Json:
    """The series itself; of several, which a recorded reply may hold, the one asked for."""
    spelling = spelling_of(instrument)
    if root.find("meta") is not None or spelling is None:
        return root
    keyed = root.find(spelling)
    if keyed is None:
        return root
    refuse_envelope(keyed)
    return keyed


def _notes(query: HistoryQuery, *, extended: bool) -> tuple[str, ...]:
    notes = []
    if query.extended_hours and query.interval.is_intraday and not extended:
        notes.append("no bars outside regular hours were sent; they need the Pro plan")
    if query.instrument.asset_class is AssetClass.FOREIGN_EQUITY and query.adjustment is not Adjustment.NONE:
        notes.append("outside the United States Twelve Data is known to leave some splits out of its adjustment")
    return tuple(notes)


def _zone_of(query: HistoryQuery, meta: Json) -> tzinfo:
    name = query.timezone if isinstance(query, ZonedQuery) else "UTC"
    if name == EXCHANGE:
        name = "UTC" if query.instrument.asset_class in PAIRS else meta.get("exchange_timezone").text(40)
    try:
        return ZoneInfo(name)
    # The key is foreign text: some wrong ones are no key, others are the name of a folder.
    except (KeyError, ValueError, OSError) as error:
        raise malformed(f"{name!r} is no time zone") from error


def _read_row(row: Json, query: HistoryQuery, zone: tzinfo, unit: Unit) -> tuple[datetime, Bar | None]:
    start = _start_of(row.get("datetime"), query.interval, zone)
    prices = [unit.of(amount(row, name)) for name in ("open", "high", "low", "close")]
    volume = None if query.instrument.asset_class is AssetClass.FOREX else amount(row, "volume")
    opened, high, low, close = prices
    if opened is None or high is None or low is None or close is None:
        return start, None
    return start, Bar(start, opened, high, low, close, countable(volume))


def _start_of(cell: Json, interval: Interval, zone: tzinfo) -> datetime:
    told, is_date = local_time(cell)
    if interval.is_intraday and not is_date:
        return price_time(told.replace(tzinfo=zone).astimezone(UTC), cell.path)
    if interval.is_intraday or told.time() != time(0):
        raise malformed(f"{cell.path} is no start of a bar of {INTERVALS[interval]}")
    return told.replace(tzinfo=UTC)


def trading_date(start: datetime, calendar: Calendar) -> date:
    """The trading date that an instant belongs to."""
    shift = _FOREX_DAY_SHIFT if calendar.name == "24/5" else timedelta(0)
    return (start.astimezone(calendar.zone) + shift).date()


def _is_wanted(start: datetime, query: HistoryQuery) -> bool:
    if not query.interval.is_intraday:
        return last_day_of(query.interval, start.date()) >= query.first and start.date() <= query.last
    calendar = calendar_named(query.instrument.calendar)
    if not query.first <= trading_date(start, calendar) <= query.last:
        return False
    return query.extended_hours or _is_regular(start, query.interval, calendar)


def _is_regular(start: datetime, interval: Interval, calendar: Calendar) -> bool:
    """Whether a bar holds regular trading; so do daily bars, and bars of a day we know no hours of."""
    if not interval.is_intraday or not calendar.covers(start.astimezone(calendar.zone).date()):
        return True
    # An hour that begins before the open holds the first minutes of regular trading.
    session = calendar.session_at(start) or calendar.session_at(start + interval.length - timedelta(seconds=1))
    return session is not None and start < session.close and start + interval.length > session.open


def first_day_of(interval: Interval, day: date) -> date:
    """The first day of the bar that `day` falls into."""
    if interval is Interval.WEEK_1:
        return date.fromordinal(max(1, day.toordinal() - day.weekday()))
    return day.replace(day=1) if interval is Interval.MONTH_1 else day


def last_day_of(interval: Interval, day: date) -> date:
    """The last day of the bar that begins on `day`."""
    if interval is Interval.WEEK_1:
        return day + (6 - day.weekday()) * _DAY
    if interval is Interval.MONTH_1:
        return day.replace(day=month_lengths.monthrange(day.year, day.month)[1])
    return day


def _end_of(bar: Bar, query: HistoryQuery, calendar: Calendar) -> datetime:
    if query.interval.is_intraday:
        session = None if query.extended_hours else calendar.session_at(bar.start)
        ends = bar.start + query.interval.length
        return ends if session is None or bar.start >= session.close else min(ends, session.close)
    last = last_day_of(query.interval, bar.day)
    # The forex day of the daily bars is the one of UTC.
    sessions = () if calendar.name == "24/5" else calendar.sessions_between(bar.day, last)
    if sessions:
        return sessions[-1].close
    return datetime.combine(last, time(0), UTC) + _DAY
