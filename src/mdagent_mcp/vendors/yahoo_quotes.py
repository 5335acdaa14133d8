"""Yahoo's two ways to tell a price: the meta of a one-day chart, and the rows of the batch quote.

The rule of this module: an extended-hours print and the regular price are two quotes with times of their own. The
regular price is the running session's while that runs and its official close afterwards. A chart tells the time of
an extended print to the minute (the start of the bar it closed). The book belongs to the session that is live; the
batch tells it, the chart does not. Changes and percentages are never read: they follow from prices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import MarketState, calendar_named
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, malformed, positive, price_time
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Reply
from mdagent_mcp.vendors.yahoo_chart import (
    SOURCE,
    Chart,
    Period,
    Unit,
    calendar_of,
    open_chart,
    open_envelope,
    read_unit,
    read_zone,
    regular_periods,
    spellings_of,
)
from mdagent_mcp.vendors.yahoo_history import has_volume

_CLOSE_SETTLES: Final = timedelta(minutes=30)
"""How long after the bell a price from before it may still be the running session's: prices come up to 20 min late."""
_MINUTE_S: Final = 60.0
_DAY_MINUTES: Final = 1440.0
_REGULAR: Final = "regularMarket"
_EXTENDED: Final = (("preMarket", Session.PRE), ("postMarket", Session.POST))
_OVER: Final = frozenset({"PREPRE", "PRE", "POST", "POSTPOST", "CLOSED"})
"""Market states in which the regular price is an official close."""
_LIVE: Final[Mapping[str, frozenset[Session]]] = MappingProxyType(
    {
        "PRE": frozenset({Session.PRE}),
        "REGULAR": frozenset({Session.REGULAR, Session.CLOSED}),
        "POST": frozenset({Session.POST}),
    }
)
"""Whose book a market state shows; in any other state it was left by the session of the newest price."""
_EXTENDED_STATES: Final[Mapping[MarketState, Session]] = MappingProxyType(
    {MarketState.PRE: Session.PRE, MarketState.POST: Session.POST}
)


@dataclass(frozen=True, slots=True)
class _Day:
    """The figures of the regular session a price belongs to or follows, in the major unit."""

    open: float | None
    high: float | None
    low: float | None
    previous_close: float | None
    volume: float | None


_NO_DAY: Final = _Day(None, None, None, None, None)


def read_chart_quote(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read the price of one instrument out of a one-day chart of minutes.

    Raises:
        SourceError: NO_DATA when it shows no price.
    """
    instrument = query.instruments[0]
    chart = open_chart(instrument, reply)
    price, unit = _regular_price(instrument, chart.meta)
    event_time = _instant(chart.meta, f"{_REGULAR}Time")
    periods = regular_periods(chart.meta)
    regular = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=_session_of(instrument, chart.zone, event_time, reply.received_at, periods),
        received_at=reply.received_at,
        event_time=event_time,
        currency=unit.currency,
        notes=unit.notes,
    )
    day = _day_of_chart(instrument, chart, unit, event_time, periods)
    regular = _with_day(regular, day)
    extended = _last_extended(regular, instrument, chart, unit)
    return {instrument.symbol: Answered((regular,) if extended is None else (regular, extended))}


def read_batch(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read a batch reply: every instrument asked gets its quotes or its reason, matched by symbol."""
    found = open_envelope(reply.body, "quoteResponse").find("result")
    records: dict[str, Json] = {}
    for record in () if found is None else found.items():
        records.setdefault(record.get("symbol").text(40).upper(), record)
    return {instrument.symbol: _outcome(instrument, records, reply.received_at) for instrument in query.instruments}


def read_summary(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read the module `price` of `/v10/finance/quoteSummary`: a batch record whose figures are wrapped.

    Raises:
        SourceError: what a stated error means, NO_DATA without the module, MALFORMED_REPLY.
    """
    (instrument,) = query.instruments
    found = open_envelope(reply.body, "quoteSummary").find("result")
    result = None if found is None else next(found.items(), None)
    module = None if result is None else result.find("price")
    if module is None:
        raise SourceError(FailureKind.NO_DATA, "the summary has no price")
    plain = {name: _unwrapped(member) for name, member in module.members()}
    record = Json(plain, module.path)
    if record.get("symbol").text(40).upper() not in spellings_of(instrument):
        raise malformed(f"answered for another symbol than {instrument.symbol}")
    return {instrument.symbol: Answered(_read_record(instrument, record, reply.received_at))}


def _unwrapped(member: Json) -> object:
    """The figure of `{"raw": 1.5, "fmt": "1.50"}`; an empty object is written for none."""
    return member.value.get("raw") if isinstance(member.value, Mapping) else member.value


def read_spark(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/v7/finance/spark`: for every symbol a small chart, of which the regular price is read.

    Raises:
        SourceError: what a stated error means, MALFORMED_REPLY.
    """
    found = open_envelope(reply.body, "spark").find("result")
    metas: dict[str, Json | None] = {}
    for entry in () if found is None else found.items():
        response = entry.find("response")
        chart = None if response is None else next(response.items(), None)
        metas.setdefault(entry.get("symbol").text(40).upper(), None if chart is None else chart.find("meta"))
    return {i.symbol: _spark_outcome(i, metas, reply.received_at) for i in query.instruments}


def _spark_outcome(
    instrument: Instrument, metas: Mapping[str, Json | None], received_at: datetime
) -> Outcome[tuple[Quote, ...]]:
    name = next((name for name in spellings_of(instrument) if name in metas), None)
    if name is None:
        return Failure(SOURCE, FailureKind.UNKNOWN_SYMBOL, "not among the results of the reply")
    meta = metas[name]
    if meta is None:
        return Failure(SOURCE, FailureKind.NO_DATA, "the result has no chart")
    try:
        if meta.get("symbol").text(40).upper() not in spellings_of(instrument):
            raise malformed(f"the chart of {name} is of another symbol")
        price, unit = _regular_price(instrument, meta)
        event_time = _instant(meta, f"{_REGULAR}Time")
        zone = read_zone(meta.get("exchangeTimezoneName").text(60))
        session = _session_of(instrument, zone, event_time, received_at, regular_periods(meta))
        previous = unit.of(_number(meta, "previousClose"))
    except SourceError as error:
        return error.as_failure(SOURCE)
    quote = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=session,
        received_at=received_at,
        event_time=event_time,
        currency=unit.currency,
        previous_close=previous,
        notes=unit.notes,
    )
    return Answered((quote,))


def _outcome(instrument: Instrument, records: Mapping[str, Json], received_at: datetime) -> Outcome[tuple[Quote, ...]]:
    record = next((records[name] for name in spellings_of(instrument) if name in records), None)
    if record is None:
        return Failure(SOURCE, FailureKind.UNKNOWN_SYMBOL, "not among the records of the reply")
    try:
        return Answered(_read_record(instrument, record, received_at))
    except SourceError as error:
        return error.as_failure(SOURCE)


def _read_record(instrument: Instrument, record: Json, received_at: datetime) -> tuple[Quote, ...]:
    if record.optional_text("quoteType") == "NONE":
        raise SourceError(FailureKind.UNKNOWN_SYMBOL, "the record is an empty stub")
    price, unit = _regular_price(instrument, record)
    state = record.optional_text("marketState") or ""
    event_time = _instant(record, f"{_REGULAR}Time")
    zone_name = record.optional_text("exchangeTimezoneName")
    zone = None if zone_name is None else read_zone(zone_name)
    timed = _session_of(instrument, zone, event_time, received_at, ())
    quotes = [
        Quote(
            symbol=instrument.symbol,
            source=SOURCE,
            price=price,
            session=Session.CLOSED if state in _OVER else timed,
            received_at=received_at,
            event_time=event_time,
            currency=unit.currency,
            declared_delay_s=_declared_delay_s(record),
            notes=unit.notes,
        )
    ]
    quotes[0] = _with_day(quotes[0], _day_of_record(instrument, record, unit))
    for prefix, session in _EXTENDED:
        printed, printed_at = unit.of(_number(record, f"{prefix}Price")), _instant(record, f"{prefix}Time")
        if printed is not None and printed_at is not None and (event_time is None or printed_at > event_time):
            quotes.append(_extended_quote(quotes[0], session, printed, printed_at))
    return _with_book(quotes, state, unit.of(_number(record, "bid")), unit.of(_number(record, "ask")))


def _regular_price(instrument: Instrument, holder: Json) -> tuple[float, Unit]:
    price = _number(holder, f"{_REGULAR}Price")
    if price is None:
        raise SourceError(FailureKind.NO_DATA, f"{holder.path} shows no price")
    unit = read_unit(holder.optional_text("currency"), instrument)
    return price / unit.divisor, unit


def _declared_delay_s(record: Json) -> float:
    minutes = record.optional_number("exchangeDataDelayedBy") or 0.0
    return 60.0 * min(max(minutes, 0.0), _DAY_MINUTES)


def _session_of(
    instrument: Instrument,
    zone: ZoneInfo | None,
    event_time: datetime | None,
    received_at: datetime,
    periods: Sequence[Period],
) -> Session:
    """Whether a regular price is the running session's or an official close.

    Args:
        instrument: whose price.
        zone: of the exchange, as the reply says.
        event_time: of the price; when not told, the running session is looked up at `received_at`.
        received_at: when the reply had arrived.
        periods: regular sessions that the reply tells, for a market without a calendar.
    """
    instant = received_at if event_time is None else event_time
    calendar = calendar_of(instrument, zone, instant)
    if calendar is not None and calendar.always_open:
        return Session.REGULAR
    if calendar is not None:
        session = calendar.latest_opened(instant)
        hours = None if session is None else (session.open, session.close)
    elif periods:
        hours = next((p for p in reversed(periods) if p[0] <= instant), None)
    else:
        return Session.REGULAR
    if hours is None:
        return Session.CLOSED
    runs = instant < hours[1] and received_at < hours[1] + _CLOSE_SETTLES
    return Session.REGULAR if runs else Session.CLOSED


def _day_of_chart(
    instrument: Instrument, chart: Chart, unit: Unit, event_time: datetime | None, periods: Sequence[Period]
) -> _Day:
    meta = chart.meta
    hours = None if event_time is None else next((p for p in reversed(periods) if p[0] <= event_time), None)
    rows = iter(()) if hours is None else chart.columns.between(*hours)
    first = next((row for row in rows if row.prices is not None), None)
    previous = _number(meta, "previousClose")
    # Before the open the range is the coming day, and the close before it is the very price shown.
    if previous is None and first is not None and meta.optional_text("range") == "1d":
        previous = _number(meta, "chartPreviousClose")
    return _Day(
        unit.of(None if first is None else positive(first.open)),
        unit.of(_number(meta, f"{_REGULAR}DayHigh")),
        unit.of(_number(meta, f"{_REGULAR}DayLow")),
        unit.of(previous),
        _volume(instrument, meta),
    )


def _day_of_record(instrument: Instrument, record: Json, unit: Unit) -> _Day:
    return _Day(
        unit.of(_number(record, f"{_REGULAR}Open")),
        unit.of(_number(record, f"{_REGULAR}DayHigh")),
        unit.of(_number(record, f"{_REGULAR}DayLow")),
        unit.of(_number(record, f"{_REGULAR}PreviousClose")),
        _volume(instrument, record),
    )


def _volume(instrument: Instrument, holder: Json) -> float | None:
    volume = holder.optional_number(f"{_REGULAR}Volume")
    return volume if volume is not None and has_volume(instrument, volume) else None


def _with_day(quote: Quote, day: _Day) -> Quote:
    return replace(
        quote,
        open=day.open,
        high=day.high,
        low=day.low,
        previous_close=day.previous_close,
        volume=day.volume,
    )


def _extended_quote(regular: Quote, session: Session, price: float, event_time: datetime) -> Quote:
    """A print made outside regular hours, beside the regular price of the same reply."""
    extended = replace(regular, session=session, price=price, event_time=event_time)
    # A pre-market print lies between two sessions: neither the day's figures nor a previous close are its own.
    return _with_day(extended, _NO_DAY) if session is Session.PRE else extended


def _last_extended(regular: Quote, instrument: Instrument, chart: Chart, unit: Unit) -> Quote | None:
    """The newest minute that traded, where it lies in extended hours and is newer than the regular price."""
    row = next((row for row in chart.columns.latest_first() if positive(row.close) is not None), None)
    if row is None or row.close is None or (regular.event_time is not None and row.stamp <= regular.event_time):
        return None
    session = _EXTENDED_STATES.get(calendar_named(instrument.calendar).state_at(row.stamp))
    if session is None:
        return None
    extended = _extended_quote(regular, session, row.close / unit.divisor, row.stamp)
    return replace(extended, event_time_resolution_s=_MINUTE_S)


def _with_book(quotes: list[Quote], state: str, bid: float | None, ask: float | None) -> tuple[Quote, ...]:
    live = _LIVE.get(state)
    if live is None:
        owner: Quote | None = max(quotes, key=lambda q: q.received_at if q.event_time is None else q.event_time)
    else:
        owner = next((quote for quote in quotes if quote.session in live), None)
    return tuple(replace(quote, bid=bid, ask=ask) if quote is owner else quote for quote in quotes)


def _number(holder: Json, key: str) -> float | None:
    """A price of the reply; Yahoo writes 0 where there is none."""
    return positive(holder.optional_number(key))


def _instant(holder: Json, key: str) -> datetime | None:
    found = holder.find(key)
    return None if found is None else price_time(found.instant(), found.path)
