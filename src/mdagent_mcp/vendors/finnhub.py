"""Finnhub: real-time quotes of US listings with a free key; bars on paid plans.

The rule of this module: a quote names neither symbol nor currency, and a symbol that is not known looks like an outage
(every number is 0); both are said in the answer. A time at midnight is the date of a daily bar and no instant.
"""

from __future__ import annotations

import calendar as month_lengths
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import Calendar, MarketState, calendar_named
from mdagent_mcp.domain.failures import Answered, FailureKind, SourceError, vendor_words
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval, Quote, Session
from mdagent_mcp.domain.reading import Json, countable, instant_of, malformed, positive, price_time
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.sessions import session_of
from mdagent_mcp.domain.vendor import (
    Endpoint,
    ErrorRule,
    HistoryQuery,
    Key,
    Offer,
    Plan,
    Quota,
    QuoteQuery,
    QuoteReading,
    RecordedUrl,
    Reply,
    Request,
    Vendor,
    recorded_instrument,
)
from mdagent_mcp.vendors.read_only import joined_pair, read_only_history

_SOURCE: Final = "finnhub"
_NEW_YORK: Final = ZoneInfo("America/New_York")
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_INTRADAY_DAYS: Final = 31
_LIMIT_WAIT_S: Final = 60.0
_EARLIEST: Final = date(1970, 1, 1)
_CURRENCY_NOTE: Final = "the reply names no currency; it is that of the listing"
_QUOTE_PATH: Final = re.compile(r"/quote$")
_CANDLE_PATH: Final = re.compile(r"/stock/candle$")
_PAIR_CANDLE_PATH: Final = re.compile(r"/(?:crypto|forex)/candle$")
_PAIRS: Final = frozenset({AssetClass.CRYPTO, AssetClass.FOREX})
_FOREX_DAY_SHIFT: Final = timedelta(hours=7)
"""A forex day begins at 17:00 New York."""

_RESOLUTIONS: Final[Mapping[Interval, str]] = MappingProxyType(
    {
        Interval.MIN_1: "1",
        Interval.MIN_5: "5",
        Interval.MIN_15: "15",
        Interval.MIN_30: "30",
        Interval.HOUR_1: "60",
        Interval.DAY_1: "D",
        Interval.WEEK_1: "W",
        Interval.MONTH_1: "M",
    }
)
_INTERVALS: Final[Mapping[str, Interval]] = MappingProxyType({code: i for i, code in _RESOLUTIONS.items()})


def _not_carried(instrument: Instrument) -> str | None:
    if instrument.asset_class is AssetClass.US_EQUITY:
        return None
    return f"Finnhub's plans for individuals quote US listings, not {instrument.symbol}"


def _refuses_quote(query: QuoteQuery) -> str | None:
    return next((reason for i in query.instruments if (reason := _not_carried(i)) is not None), None)


def _refuses_history(query: HistoryQuery) -> str | None:
    reason = _not_carried(query.instrument)
    if reason is not None:
        return reason
    basis = _basis(query.interval)
    if query.adjustment is not basis:
        return f"Finnhub's {query.interval} bars are on the basis '{basis}', not '{query.adjustment}'"
    if query.interval.is_intraday and (query.last - query.first).days >= _INTRADAY_DAYS:
        return "Finnhub sends at most a month of intraday bars"
    return None


def _basis(interval: Interval) -> Adjustment:
    return Adjustment.NONE if interval.is_intraday else Adjustment.SPLITS


def _build_quote(query: QuoteQuery) -> tuple[Request, ...]:
    return (Request("/api/v1/quote", (("symbol", query.instruments[0].symbol),)),)


def _build_history(query: HistoryQuery) -> tuple[Request, ...]:
    """Daily bars are stamped at midnight UTC, so their days are asked in UTC; trading days begin in New York."""
    zone: tzinfo = _NEW_YORK if query.interval.is_intraday else UTC
    begin = datetime.combine(query.first, time(0), zone)
    end = datetime.combine(query.last + _DAY, time(0), zone) - _SECOND
    parameters = (
        ("symbol", query.instrument.symbol),
        ("resolution", _RESOLUTIONS[query.interval]),
        ("from", str(int(begin.timestamp()))),
        ("to", str(int(end.timestamp()))),
    )
    return (Request("/api/v1/stock/candle", parameters),)


def _parse_body(body: bytes) -> Json:
    root = Json.parse(body)
    error = root.find("error")
    if error is not None:
        raise SourceError(FailureKind.SOURCE_ERROR, vendor_words(error.text()))
    return root


def _read_quote(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/quote`.

    Raises:
        SourceError: UNKNOWN_SYMBOL when every number is 0, NO_DATA without a price, MALFORMED_REPLY.
    """
    instrument = query.instruments[0]
    root = _parse_body(reply.body)
    price = root.get("c").number()
    stamp = root.optional_number("t") or 0.0
    previous = positive(root.optional_number("pc"))
    if price == 0:
        if stamp == 0 and previous is None:
            detail = "every number is 0: the symbol is not known, or Finnhub has an outage, which looks the same"
            raise SourceError(FailureKind.UNKNOWN_SYMBOL, detail)
        raise SourceError(FailureKind.NO_DATA, "the price is 0")
    if price < 0:
        raise malformed("reply.c is negative")
    return {instrument.symbol: Answered((_quote(instrument, root, price, stamp, reply.received_at),))}


def _quote(instrument: Instrument, root: Json, price: float, stamp: float, received_at: datetime) -> Quote:
    event_time, note = _event_time(stamp)
    calendar = calendar_named(instrument.calendar)
    session = _untimed(calendar, received_at) if event_time is None else _session_of(calendar, event_time)
    # Before the open it is not told which session the day's figures are of.
    told = session is not Session.PRE
    return Quote(
        symbol=instrument.symbol,
        source=_SOURCE,
        price=price,
        session=session,
        received_at=received_at,
        event_time=event_time,
        currency=instrument.currency,
        open=positive(root.optional_number("o")) if told else None,
        high=positive(root.optional_number("h")) if told else None,
        low=positive(root.optional_number("l")) if told else None,
        previous_close=positive(root.optional_number("pc")) if told else None,
        notes=(_CURRENCY_NOTE,) if note is None else (_CURRENCY_NOTE, note),
    )


def _event_time(stamp: float) -> tuple[datetime | None, str | None]:
    if stamp == 0:
        return None, "the reply has no time"
    instant = price_time(instant_of(stamp, "reply.t"), "reply.t")
    midnight = time(0)
    if midnight in {instant.time(), instant.astimezone(_NEW_YORK).time()}:
        return None, f"the time is the date of a daily bar, {instant:%Y-%m-%d}, and no instant"
    return instant, None


def _session_of(calendar: Calendar, instant: datetime) -> Session:
    """Finnhub stamps the official close with the very instant of the close; a later time is a later trade."""
    completed = calendar.latest_completed(instant)
    if completed is not None and completed.close == instant:
        return Session.CLOSED
    return session_of(calendar.state_at(instant))


def _untimed(calendar: Calendar, received_at: datetime) -> Session:
    """The session of a price of the current daily bar: the running one, the close when it is over."""
    state = calendar.state_at(received_at)
    return Session.REGULAR if state in {MarketState.OPEN, MarketState.BREAK} else Session.CLOSED


def _read_history(query: HistoryQuery, reply: Reply) -> History:
    """Read `/stock/candle`: one array per column.

    Raises:
        SourceError: NO_DATA, MALFORMED_REPLY when the arrays are of unequal length.
    """
    root = _parse_body(reply.body)
    status = root.get("s").text()
    if status == "no_data":
        raise SourceError(FailureKind.NO_DATA, "Finnhub has no bars in the range asked")
    if status != "ok":
        raise malformed(f"reply.s is {status!r}")
    rows = [row for row in _rows(root, query) if _is_wanted(row[0], query)]
    bars, null_rows = bars_and_null_rows(rows)
    calendar = calendar_named(query.instrument.calendar)
    return History(
        symbol=query.instrument.symbol,
        source=_SOURCE,
        interval=query.interval,
        adjustment=_basis(query.interval),
        timezone=calendar.timezone,
        received_at=reply.received_at,
        bars=bars,
        currency=query.instrument.currency,
        null_rows=null_rows,
        partial_last_bar=_end_of(bars[-1], query.interval, calendar) > reply.received_at,
        extended_hours=query.extended_hours and query.interval.is_intraday,
        notes=() if query.instrument.asset_class in _PAIRS else (_CURRENCY_NOTE,),
    )


def _rows(root: Json, query: HistoryQuery) -> list[tuple[datetime, Bar | None]]:
    columns = [list(root.get(name).items()) for name in ("t", "o", "h", "l", "c")]
    volumes = root.find("v")
    columns.append([Json(None)] * len(columns[0]) if volumes is None else list(volumes.items()))
    if len({len(column) for column in columns}) != 1:
        raise malformed("the columns of the reply differ in length")
    return [_row(cells, query) for cells in zip(*columns, strict=True)]


def _row(cells: tuple[Json, ...], query: HistoryQuery) -> tuple[datetime, Bar | None]:
    start = cells[0].instant()
    forex = query.instrument.asset_class is AssetClass.FOREX
    start = price_time(start, cells[0].path) if query.interval.is_intraday else _trading_date(start, forex=forex)
    opened, high, low, close, volume = (None if c.value is None else c.number() for c in cells[1:])
    opened, high, low, close = positive(opened), positive(high), positive(low), positive(close)
    if opened is None or high is None or low is None or close is None:
        return start, None
    return start, Bar(start, opened, high, low, close, countable(volume))


def _trading_date(stamp: datetime, *, forex: bool) -> datetime:
    """Midnight UTC names the date itself; older replies were stamped at the day's beginning in New York."""
    shift = _FOREX_DAY_SHIFT if forex else timedelta(0)
    day = stamp.date() if stamp.time() == time(0) else (stamp.astimezone(_NEW_YORK) + shift).date()
    return datetime.combine(day, time(0), UTC)


def _is_wanted(start: datetime, query: HistoryQuery) -> bool:
    if not query.interval.is_intraday:
        return _last_day(start.date(), query.interval) >= query.first and start.date() <= query.last
    if not query.first <= start.astimezone(_NEW_YORK).date() <= query.last:
        return False
    session = calendar_named(query.instrument.calendar).session_at(start)
    if query.extended_hours or session is None:
        return query.extended_hours
    # An hour that begins before the open holds the first minutes of regular trading.
    return start < session.close and start + query.interval.length > session.open


def _last_day(first: date, interval: Interval) -> date:
    if interval is Interval.WEEK_1:
        return first + (6 - first.weekday()) * _DAY
    if interval is Interval.MONTH_1:
        return first.replace(day=month_lengths.monthrange(first.year, first.month)[1])
    return first


def _end_of(bar: Bar, interval: Interval, calendar: Calendar) -> datetime:
    if interval.is_intraday:
        return bar.start + interval.length
    sessions = calendar.sessions_between(bar.day, _last_day(bar.day, interval))
    return sessions[-1].close if sessions else bar.start


def _recognise_quote(recorded: RecordedUrl) -> QuoteQuery | None:
    if not _QUOTE_PATH.search(recorded.path):
        return None
    return QuoteQuery((_recorded_instrument(recorded),), recorded.received_at)


def _recognise_history(recorded: RecordedUrl) -> HistoryQuery | None:
    if not _CANDLE_PATH.search(recorded.path):
        return None
    return _recorded_series(recorded, _recorded_instrument(recorded))


def _recognise_pair_history(recorded: RecordedUrl) -> HistoryQuery | None:
    if not _PAIR_CANDLE_PATH.search(recorded.path):
        return None
    name = recorded.query.get("symbol", "").rpartition(":")[2].replace("_", "/")
    instrument = recorded_instrument(joined_pair(name), recorded.instrument)
    if instrument.asset_class not in _PAIRS:
        raise SourceError(FailureKind.BAD_REQUEST, f"the URL names no pair: {name!r}")
    return _recorded_series(recorded, instrument)


def _recorded_series(recorded: RecordedUrl, instrument: Instrument) -> HistoryQuery:
    resolution = recorded.query.get("resolution", _RESOLUTIONS[Interval.DAY_1])
    if resolution not in _INTERVALS:
        raise SourceError(FailureKind.UNSUPPORTED, f"no bars of resolution {resolution!r} are asked for")
    interval = _INTERVALS[resolution]
    zone: tzinfo = _NEW_YORK if interval.is_intraday else UTC
    return HistoryQuery(
        instrument=instrument,
        interval=interval,
        first=_recorded_day(recorded, "from", zone, _EARLIEST),
        last=_recorded_day(recorded, "to", zone, recorded.received_at.date()),
        adjustment=_basis(interval),
        extended_hours=interval.is_intraday,
        now=recorded.received_at,
    )


def _recorded_instrument(recorded: RecordedUrl) -> Instrument:
    """The instrument that a URL names, or the one a person names where the URL has no symbol."""
    return recorded_instrument(recorded.query.get("symbol", ""), recorded.instrument)


def _recorded_day(recorded: RecordedUrl, name: str, zone: tzinfo, otherwise: date) -> date:
    text = recorded.query.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise SourceError(FailureKind.BAD_REQUEST, f"{name} of the URL is no time")
    return instant_of(float(text), name).astimezone(zone).date()


FINNHUB: Final = Vendor(
    id=_SOURCE,
    title="Finnhub",
    docs_url="https://finnhub.io/docs/api",
    terms="Free key for personal use; redistribution needs an agreement.",
    hosts=MappingProxyType({"api": "https://finnhub.io"}),
    quote=Offer(Endpoint.QUOTE, _refuses_quote, _build_quote, _read_quote, _recognise_quote),
    history=Offer(Endpoint.HISTORY, _refuses_history, _build_history, _read_history, _recognise_history),
    readable=(read_only_history(_read_history, _recognise_pair_history),),
    errors=(
        ErrorRule(FailureKind.THROTTLED, status=429, retry_after_s=_LIMIT_WAIT_S),
        ErrorRule(FailureKind.THROTTLED, contains=b"api limit reached", retry_after_s=_LIMIT_WAIT_S),
        ErrorRule(FailureKind.UNAUTHORIZED, status=401),
        ErrorRule(FailureKind.UNAUTHORIZED, contains=b"invalid api key"),
        ErrorRule(FailureKind.UNAUTHORIZED, contains=b"please use an api key"),
        ErrorRule(FailureKind.NOT_ENTITLED, contains=b"you don't have access to this resource"),
        ErrorRule(FailureKind.NOT_ENTITLED, contains=b"market data subscription required"),
        ErrorRule(FailureKind.UNSUPPORTED, contains=b"symbol not supported"),
    ),
    plans=MappingProxyType(
        {
            "free": Plan(
                quotas=(Quota(60, 60.0, "minute"), Quota(30, 1.0, "second")),
                cost_per_call=0.017,
                excluded=frozenset({Endpoint.HISTORY}),
            ),
            "premium": Plan(quotas=(Quota(300, 60.0, "minute"), Quota(30, 1.0, "second")), cost_per_call=0.003),
        }
    ),
    key=Key(("FINNHUB_API_KEY",), "header", "X-Finnhub-Token", signup_url="https://finnhub.io/register"),
    timeout_s=4.0,
    rest_after_throttle_s=_LIMIT_WAIT_S,
    weight=0.9,
    remaining_headers=MappingProxyType({"minute": "x-ratelimit-remaining"}),
)
"""Finnhub, as the engine knows it."""
