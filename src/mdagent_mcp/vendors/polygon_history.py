"""Reading Polygon's bars ("aggregates"), page by page.

The rule of this module: bars of days are stamped at midnight in New York (of currencies and crypto at 00:00 UTC), and
a row of another ticker, of another basis or outside the range that was asked spoils the whole reply: the vendor has
sent such rows with status 200.
"""

from __future__ import annotations

import calendar as month_lengths
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.reading import Json, malformed, positive
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.vendor import HistoryQuery, Reply, Request
from mdagent_mcp.vendors.polygon_replies import (
    CURRENCY_NOTE,
    DELAYED_NOTE,
    PAIRS,
    SOURCE,
    moment,
    named,
    open_reply,
    rows_of,
    ticker_of,
)

SPANS: Final[Mapping[Interval, tuple[int, str]]] = MappingProxyType(
    {
        Interval.MIN_1: (1, "minute"),
        Interval.MIN_5: (5, "minute"),
        Interval.MIN_15: (15, "minute"),
        Interval.MIN_30: (30, "minute"),
        Interval.HOUR_1: (1, "hour"),
        Interval.DAY_1: (1, "day"),
        Interval.WEEK_1: (1, "week"),
        Interval.MONTH_1: (1, "month"),
    }
)
"""Bar lengths as Polygon writes them in a path."""
NEVER_ADJUSTED: Final = PAIRS | {AssetClass.INDEX}
"""Prices that are the same on every basis."""
PAGE: Final = 50_000
"""Base aggregates of one page at most: minutes for all bars shorter than a day, else days."""

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_EARLIEST: Final = date(1970, 1, 2)
_LATEST: Final = date(2099, 12, 31)
_FOREX_OPEN: Final = time(17)
_NEXT: Final = re.compile(rb'"next_url"\s*:\s*("(?:[^"\\]|\\.){1,2000}")')
_PAGE_PATH: Final = re.compile(
    r"/v2/aggs/ticker/(?P<ticker>[^/]+)/range/(?P<size>\d+)/(?P<span>[a-z]+)/[0-9-]+/[0-9-]+"
)
_HOUR_NOTE: Final = "the hour from 09:00 holds the last half hour before the open too"
_STUB_NOTE: Final = "rows of days without a session, such as the first hours of a Sunday, are left out"


@dataclass(frozen=True, slots=True)
class AskedQuery(HistoryQuery):
    """A question known from a recorded URL, which may not tell its range.

    Attributes:
        bounded: whether rows outside the range are foreign.
    """

    bounded: bool = True


def first_day_of(interval: Interval, day: date) -> date:
    """The first day of the bar that `day` falls into; a week begins on Sunday."""
    if interval is Interval.WEEK_1:
        return date.fromordinal(max(1, day.toordinal() - day.isoweekday() % 7))
    return day.replace(day=1) if interval is Interval.MONTH_1 else day


def last_day_of(interval: Interval, day: date) -> date:
    """The last day of the bar that `day` falls into."""
    if interval is Interval.WEEK_1:
        return date.fromordinal(min(date.max.toordinal(), day.toordinal() + 6 - day.isoweekday() % 7))
    if interval is Interval.MONTH_1:
        return day.replace(day=month_lengths.monthrange(day.year, day.month)[1])
    return day


def asked_span(query: HistoryQuery) -> tuple[datetime, datetime]:
    """The first instant that is asked and the first one after it, for bars shorter than a day."""
    last = min(query.last, _LATEST)
    return _begin_of(query.first, query.instrument), _begin_of(last + _DAY, query.instrument)


def _begin_of(day: date, instrument: Instrument) -> datetime:
    day = max(day, _EARLIEST)
    calendar = calendar_named(instrument.calendar)
    if calendar.name == "24/5":
        return datetime.combine(day - _DAY, _FOREX_OPEN, calendar.zone).astimezone(UTC)
    return datetime.combine(day, time(0), calendar.zone).astimezone(UTC)


def next_page(query: HistoryQuery, reply: Reply) -> Request | None:
    """The request for the rest of a series, by path and query of `next_url`: host and key are our own.

    A link that `read_bars` would refuse leads nowhere.
    """
    link = _next_link(reply.body)
    match = None if link is None else _PAGE_PATH.search(urlsplit(link).path)
    if link is None or match is None or not _is_same_series(match, query):
        return None
    kept = tuple((name, value) for name, value in parse_qsl(urlsplit(link).query) if name.lower() != "apikey")
    return Request(match[0], kept)


def _next_link(body: bytes) -> str | None:
    match = _NEXT.search(body)
    if match is None:
        return None
    try:
        link = json.loads(match[1])
        urlsplit(link)
    except ValueError:
        return None
    return str(link)


def _is_same_series(match: re.Match[str], query: HistoryQuery) -> bool:
    size, span = SPANS[query.interval]
    return (match["ticker"].replace("%3A", ":"), match["size"], match["span"]) == (
        ticker_of(query.instrument),
        str(size),
        span,
    )


def read_bars(query: HistoryQuery, reply: Reply) -> History:
    """Read one page of `/v2/aggs/ticker/…/range/…`.

    Raises:
        SourceError: by the reply's own status, NO_DATA without bars in the range, MALFORMED_REPLY for rows that are
            not of the question, for a count that does not fit, and for a next page that is not of the same series.
    """
    root, delay_s = open_reply(reply.body)
    _check_envelope(query, root)
    if root.find("next_url") is not None and next_page(query, reply) is None:
        raise malformed("reply.next_url leads to another series")
    sent = rows_of(root)
    counted = root.optional_number("resultsCount")
    if counted is not None and counted != len(sent):
        raise malformed(f"the reply counts {counted:.0f} results and sends {len(sent)}")
    calendar = calendar_named(query.instrument.calendar)
    bounds = _bounds(query)
    rows = [_read_row(row, query, calendar, bounds) for row in sent]
    if rows and rows[0][0] > rows[-1][0]:
        rows.reverse()
    wanted = [row for row in rows if _is_wanted(row[0], query, calendar)]
    bars, null_rows = bars_and_null_rows(wanted)
    told_until = reply.received_at - timedelta(seconds=delay_s)
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
        partial_last_bar=_end_of(bars[-1], query, calendar) > told_until,
        extended_hours=query.extended_hours and query.interval.is_intraday,
        notes=_notes(query, bars, calendar, delay_s, dropped=len(wanted) < len(rows)),
    )


def _check_envelope(query: HistoryQuery, root: Json) -> None:
    ticker = root.find("ticker")
    if ticker is not None:
        named(ticker, query.instrument)
    adjusted = root.find("adjusted")
    as_asked = query.adjustment is not Adjustment.NONE
    if adjusted is not None and adjusted.value is not as_asked and query.instrument.asset_class not in NEVER_ADJUSTED:
        raise malformed(f"the reply is {'' if adjusted.value else 'not '}adjusted for splits, against what was asked")


def _notes(
    query: HistoryQuery, bars: tuple[Bar, ...], calendar: Calendar, delay_s: float, *, dropped: bool
) -> tuple[str, ...]:
    notes = [CURRENCY_NOTE] if query.instrument.asset_class is AssetClass.US_EQUITY else []
    if query.interval is Interval.HOUR_1 and not query.extended_hours and _begins_early(bars, calendar):
        notes.append(_HOUR_NOTE)
    if dropped and calendar.name == "24/5":
        notes.append(_STUB_NOTE)
    return (*notes, DELAYED_NOTE) if delay_s else tuple(notes)


def _begins_early(bars: tuple[Bar, ...], calendar: Calendar) -> bool:
    sessions = (calendar.session_at(bar.start) for bar in bars)
    return any(s is not None and bar.start < s.open for s, bar in zip(sessions, bars, strict=True))


def _bounds(query: HistoryQuery) -> tuple[datetime, datetime] | None:
    """Between which times a row must be stamped, the second one not included; None where the range is not told."""
    if isinstance(query, AskedQuery) and not query.bounded:
        return None
    if query.interval.is_intraday:
        first, after = asked_span(query)
        return first - query.interval.length + _SECOND, after
    earliest = max(first_day_of(query.interval, query.first), _EARLIEST)
    latest = min(last_day_of(query.interval, query.last), _LATEST)
    return datetime.combine(earliest, time(0), UTC), datetime.combine(latest + _DAY, time(0), UTC)


def _read_row(
    row: Json, query: HistoryQuery, calendar: Calendar, bounds: tuple[datetime, datetime] | None
) -> tuple[datetime, Bar | None]:
    ticker = row.find("T")
    if ticker is not None:
        named(ticker, query.instrument)
    at = moment(row, "t")
    if at is None:
        raise malformed(f"{row.path}.t is missing")
    start = _start_of(at, query, calendar)
    if bounds is not None and not bounds[0] <= start < bounds[1]:
        raise malformed(f"{row.path} of {at:%Y-%m-%d %H:%M} lies outside the range asked")
    opened, high, low, close, volume = (row.optional_number(name) for name in ("o", "h", "l", "c", "v"))
    if volume is not None and volume < 0:
        raise malformed(f"{row.path}.v is negative")
    opened, high, low, close = positive(opened), positive(high), positive(low), positive(close)
    if opened is None or high is None or low is None or close is None:
        return start, None
    # What a currency or an index calls a volume is a count of quotes.
    counted = query.instrument.asset_class in {AssetClass.FOREX, AssetClass.INDEX}
    return start, Bar(start, opened, high, low, close, None if counted else volume)


def _start_of(at: datetime, query: HistoryQuery, calendar: Calendar) -> datetime:
    """The bar's start; of a day or longer, 00:00 UTC of the first trading date in it."""
    if query.interval.is_intraday:
        return at
    zone = UTC if query.instrument.asset_class in PAIRS else calendar.zone
    day = at.astimezone(zone).date()
    if query.interval is not Interval.DAY_1:
        sessions = calendar.sessions_between(day, last_day_of(query.interval, day))
        day = sessions[0].day if sessions else day
    return datetime.combine(day, time(0), UTC)


def _is_wanted(start: datetime, query: HistoryQuery, calendar: Calendar) -> bool:
    if not query.interval.is_intraday:
        if last_day_of(query.interval, start.date()) < query.first or start.date() > query.last:
            return False
        return calendar.name != "24/5" or query.interval is not Interval.DAY_1 or calendar.is_session(start.date())
    if query.extended_hours or calendar.always_open:
        return True
    return _is_regular(start, query.interval, calendar)


def _is_regular(start: datetime, interval: Interval, calendar: Calendar) -> bool:
    """Whether a bar holds regular trading; so do bars of a day we know no hours of."""
    if not calendar.covers(start.astimezone(calendar.zone).date()):
        return True
    # An hour that begins before the open holds the first minutes of regular trading.
    session = calendar.session_at(start) or calendar.session_at(start + interval.length - _SECOND)
    return session is not None and start < session.close and start + interval.length > session.open


def _end_of(bar: Bar, query: HistoryQuery, calendar: Calendar) -> datetime:
    if query.interval.is_intraday:
        session = None if query.extended_hours else calendar.session_at(bar.start)
        ends = bar.start + query.interval.length
        return ends if session is None or bar.start >= session.close else min(ends, session.close)
    last = last_day_of(query.interval, bar.day)
    # The day of currencies is one of UTC here.
    sessions = () if calendar.name == "24/5" else calendar.sessions_between(bar.day, last)
    return sessions[-1].close if sessions else datetime.combine(last, time(0), UTC) + _DAY
