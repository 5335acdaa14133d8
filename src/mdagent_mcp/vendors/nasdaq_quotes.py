"""Reading Nasdaq's quote replies: one instrument's page, and the watchlist of many.

The rule of this module: the running print and the last official close are two quotes and never one. A pre-market print
lies between two sessions, so neither the day's figures nor a previous close are told for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.calendar import MarketState, calendar_named
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, display_number, malformed, positive
from mdagent_mcp.domain.sessions import running_session, session_of
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Reply
from mdagent_mcp.vendors.nasdaq_display import (
    DATE_ONLY_S,
    NEW_YORK,
    Stamp,
    aside,
    envelope_data,
    member,
    price_of,
    read_stamp,
    require_symbol,
    spelling_of,
    stamp_of,
)

_SOURCE: Final = "nasdaq"
_CENT: Final = 0.011
"""Two statements of the previous close may differ by rounding, not by more."""
_SIGNED: Final = re.compile(r"[+-]\d[\d,]*(?:\.\d+)?", re.ASCII)

_STATUS_SESSIONS: Final[Mapping[str, Session]] = MappingProxyType(
    {
        "PRE MARKET": Session.PRE,
        "OPEN": Session.REGULAR,
        "MARKET OPEN": Session.REGULAR,
        "AFTER HOURS": Session.POST,
        "CLOSED": Session.CLOSED,
        "MARKET CLOSED": Session.CLOSED,
    }
)


@dataclass(frozen=True, slots=True)
class _Placed:
    session: Session
    event_time: datetime | None
    resolution_s: float
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Day:
    """Figures of the regular session that a price belongs to or follows."""

    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None


def _place(stamp: Stamp | None, instrument: Instrument, told: Session | None, received_at: datetime) -> _Placed:
    """The session of a price and its instant; `told` is the session that the source says is running."""
    calendar = calendar_named(instrument.calendar)
    running = session_of(calendar.state_at(received_at)) if told is None else told
    if stamp is None:
        return _Placed(running, None, 1.0, "the source gives no time; the session is the one at receipt")
    if stamp.instant is not None:
        session = Session.CLOSED if stamp.is_close else _session_of_print(stamp.instant, instrument, told)
        return _Placed(session, stamp.instant, stamp.resolution_s)
    trading = calendar.session_on(stamp.day)
    if trading is None:
        return _Placed(Session.CLOSED, None, 1.0, f"dated {stamp.day}, which the calendar has no session for")
    if calendar.always_open:
        return _Placed(Session.REGULAR, trading.close, stamp.resolution_s)
    if trading.close > received_at:
        note = "dated today without a time while the session is not over"
        return _Placed(running, trading.close, stamp.resolution_s, note)
    return _Placed(Session.CLOSED, trading.close, stamp.resolution_s)


def _session_of_print(instant: datetime, instrument: Instrument, told: Session | None) -> Session:
    calendar = calendar_named(instrument.calendar)
    state = calendar.state_at(instant)
    if instrument.asset_class is AssetClass.INDEX and state is not MarketState.UNKNOWN:
        return Session.REGULAR if state is MarketState.OPEN else Session.CLOSED  # an index is not computed after hours
    minute_before = calendar.state_at(instant - timedelta(minutes=1))
    if told is Session.REGULAR and state is MarketState.POST and minute_before is MarketState.OPEN:
        return Session.REGULAR  # the minute of the close, stamped before the source has closed its book
    session = running_session(state)
    if session is not None:
        return session
    return Session.POST if told in {None, Session.CLOSED} else told


def _before(price: float, block: Json) -> float | None:
    """The close that the shown change is measured from; a change without a sign (before 2020) says nothing."""
    found = block.find("netChange")
    text = found.value.strip() if found is not None and isinstance(found.value, str) else ""
    if text.upper() == "UNCH":
        return price
    change = display_number(text, "netChange") if _SIGNED.fullmatch(text) else None
    before = None if change is None else positive(round(price - change, 6))
    return before if before is not None and math.isfinite(before) else None


def _agreed(stated: float | None, derived: float | None, notes: list[str]) -> float | None:
    """One previous close out of two statements of it; none when they contradict each other."""
    stated = positive(stated)
    if stated is None or derived is None:
        return derived if stated is None else stated
    if abs(stated - derived) <= _CENT:
        return stated
    notes.append(f"two previous closes were told: {stated:g} and {derived:g}; none is taken")
    return None


def read_information(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/quote/{symbol}/info`: the running print and the official close, each where it is shown.

    Raises:
        SourceError: with the envelope's own reason, NO_DATA without a price, MALFORMED_REPLY.
    """
    instrument = query.instruments[0]
    data = envelope_data(reply.body)
    if data is None:
        raise SourceError(FailureKind.NO_DATA, "the reply holds no data")
    require_symbol(data, instrument)
    status = member(data, "marketStatus")
    told = None if status is None else _STATUS_SESSIONS.get(status.text().upper().replace("-", " "))
    live = _running_print(data, instrument, told, reply.received_at)
    close = _official_close(data, instrument, live, reply.received_at)
    quotes = tuple(q for q in (live, close) if q is not None)
    if not quotes:
        raise SourceError(FailureKind.NO_DATA, "the reply shows no price")
    return {instrument.symbol: Answered(quotes)}


def _running_print(data: Json, instrument: Instrument, told: Session | None, received_at: datetime) -> Quote | None:
    """What `primaryData` shows: a running print, or while the market is closed the official close."""
    block = data.find("primaryData")
    price = price_of(block)
    if block is None or price is None:
        return None
    placed = _place(stamp_of(block), instrument, told, received_at)
    notes: list[str] = []
    live = placed.session is not Session.CLOSED
    real_time = member(block, "isRealTime")
    if live and real_time is not None and real_time.value is False:
        notes.append("the source marks this print as not real time")
    day = _Day() if placed.session is Session.PRE else _day_of(data, block, notes)
    previous = _previous_close(data, price[0], placed.session, instrument, notes)
    bid = positive(aside(notes, block, "bidPrice")) if live else None
    ask = positive(aside(notes, block, "askPrice")) if live else None
    quote = _quote(instrument, price, placed, received_at, day)
    return replace(quote, previous_close=previous, bid=bid, ask=ask, notes=quote.notes + tuple(notes))


def _quote(
    instrument: Instrument, price: tuple[float, str | None], placed: _Placed, received_at: datetime, day: _Day
) -> Quote:
    return Quote(
        symbol=instrument.symbol,
        source=_SOURCE,
        price=price[0],
        currency=price[1],
        session=placed.session,
        event_time=placed.event_time,
        event_time_resolution_s=placed.resolution_s,
        received_at=received_at,
        open=day.open,
        high=day.high,
        low=day.low,
        volume=day.volume,
        notes=() if placed.note is None else (placed.note,),
    )


def _day_of(data: Json, block: Json, notes: list[str]) -> _Day:
    stats = data.find("keyStats")
    volume = aside(notes, block, "volume")
    low, high = _range(stats, notes)
    return _Day(
        open=positive(aside(notes, stats, "OpenPrice", "value")),
        high=high,
        low=low,
        volume=aside(notes, stats, "Volume", "value") if volume is None else volume,
    )


def _range(stats: Json | None, notes: list[str]) -> tuple[float | None, float | None]:
    found = member(stats, "dayrange", "value")
    text = found.value if found is not None and isinstance(found.value, str) else ""
    low, dash, high = text.partition(" - ")
    if not dash:
        return None, None
    ends = Json({"low": low, "high": high}, "data.keyStats.dayrange")
    return positive(aside(notes, ends, "low")), positive(aside(notes, ends, "high"))


def _previous_close(
    data: Json, price: float, session: Session, instrument: Instrument, notes: list[str]
) -> float | None:
    """The close before the session that `primaryData` belongs to or follows."""
    if session is Session.PRE or instrument.asset_class is AssetClass.CRYPTO:
        return None
    stated = aside(notes, data.find("keyStats"), "PreviousClose", "value")
    if session is not Session.POST:
        return _agreed(stated, _before(price, data.get("primaryData")), notes)
    # An after-hours change is measured from the close of the same day, which is not the previous one.
    closed = data.find("secondaryData")
    official = price_of(closed)
    if closed is None or official is None:
        return positive(stated)
    return _agreed(None if stated == official[0] else stated, _before(official[0], closed), notes)


def _official_close(data: Json, instrument: Instrument, live: Quote | None, received_at: datetime) -> Quote | None:
    """What `secondaryData` shows beside a running print: the close of the last regular session."""
    block = data.find("secondaryData")
    price = price_of(block)
    stamp = None if block is None else stamp_of(block)
    if block is None or price is None or stamp is None:
        return None
    placed = _place(stamp, instrument, Session.CLOSED, received_at)
    if live is not None and live.session is placed.session:
        return None
    notes: list[str] = []
    day = _Day(volume=aside(notes, block, "volume"))
    if live is not None and live.session is Session.POST and _is_on(live, stamp.day):
        day = replace(day, open=live.open, high=live.high, low=live.low)
    previous = _before(price[0], block) if placed.session is Session.CLOSED else None
    quote = _quote(instrument, price, placed, received_at, day)
    return replace(quote, previous_close=previous, notes=quote.notes + tuple(notes))


def _is_on(quote: Quote, day: date) -> bool:
    return quote.event_time is not None and quote.event_time.astimezone(NEW_YORK).date() == day


def read_watchlist(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/quote/watchlist`: every asked symbol, matched by name.

    Raises:
        SourceError: with the envelope's own reason, MALFORMED_REPLY.
    """
    try:
        data = envelope_data(reply.body)
    except SourceError as error:
        if error.kind is not FailureKind.UNKNOWN_SYMBOL or len(query.instruments) < 2:
            raise
        raise SourceError(FailureKind.NO_DATA, "the whole list was refused because a symbol is not known") from error
    return _read_list(query, () if data is None else tuple(data.items()), reply.received_at)


def read_last_sales(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/quote/basic`, a list of last sales without times, as a watchlist is read.

    Raises:
        SourceError: with the envelope's own reason, MALFORMED_REPLY.
    """
    records = member(envelope_data(reply.body), "records")
    rows = () if records is None else tuple(_as_row(record) for record in records.items())
    return _read_list(query, rows, reply.received_at)


def _as_row(record: Json) -> Json:
    names = {"lastSale": "lastSalePrice", "change": "netChange", "volume": "volume"}
    told = {ours: found.value for theirs, ours in names.items() if (found := record.find(theirs)) is not None}
    return Json({"symbol": record.get("key").text(60).partition("|")[0], **told}, record.path)


def read_chart(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read the last sale that stands above the day's chart, `/quote/{symbol}/chart`; its points are no bars.

    Raises:
        SourceError: with the envelope's own reason, NO_DATA without a price, MALFORMED_REPLY.
    """
    (instrument,) = query.instruments
    data = envelope_data(reply.body)
    price = price_of(data)
    if data is None or price is None:
        raise SourceError(FailureKind.NO_DATA, "the reply shows no price")
    require_symbol(data, instrument)
    found = data.find("timeAsOf")
    stamp = None if found is None else read_stamp(found.text(), found.path)
    placed = _place(stamp, instrument, None, reply.received_at)
    notes: list[str] = []
    previous = None
    if placed.session in {Session.REGULAR, Session.CLOSED} and instrument.asset_class is not AssetClass.CRYPTO:
        previous = _agreed(aside(notes, data, "previousClose"), _before(price[0], data), notes)
    quote = _quote(instrument, price, placed, reply.received_at, _Day())
    told = replace(quote, previous_close=previous, notes=quote.notes + tuple(notes))
    return {instrument.symbol: Answered((told,))}


def _read_list(query: QuoteQuery, rows: Iterable[Json], received_at: datetime) -> QuoteReading:
    reading: dict[str, Outcome[tuple[Quote, ...]]] = {}
    for row in rows:
        instrument = _instrument_of_row(row, query)
        if instrument is None:
            continue
        # A symbol is asked under two asset classes; the row of the wrong one shows no price.
        if not isinstance(reading.get(instrument.symbol), Answered):
            reading[instrument.symbol] = _read_row(row, instrument, received_at)
    unknown = Failure(_SOURCE, FailureKind.UNKNOWN_SYMBOL, "not among the rows of the reply")
    return {i.symbol: unknown for i in query.instruments} | reading


def _instrument_of_row(row: Json, query: QuoteQuery) -> Instrument | None:
    name = row.get("symbol").text(40).upper()
    for instrument in query.instruments:
        spelling = spelling_of(instrument)
        if spelling is not None and spelling.names(name):
            return instrument
    return None


def _read_row(row: Json, instrument: Instrument, received_at: datetime) -> Outcome[tuple[Quote, ...]]:
    try:
        price = price_of(row)
        if price is None:
            return Failure(_SOURCE, FailureKind.NO_DATA, "the row shows no price")
        placed = _place(_stamp_of_row(row), instrument, None, received_at)
    except SourceError as error:
        return error.as_failure(_SOURCE)
    notes: list[str] = []
    official = placed.session in {Session.REGULAR, Session.CLOSED} and instrument.asset_class is not AssetClass.CRYPTO
    stated = aside(notes, row, "previousClosePrice")
    previous = _agreed(stated, _before(price[0], row), notes) if official else None
    day = _Day() if placed.session is Session.PRE else _Day(volume=aside(notes, row, "volume"))
    quote = _quote(instrument, price, placed, received_at, day)
    return Answered((replace(quote, previous_close=previous, notes=quote.notes + tuple(notes)),))


def _stamp_of_row(row: Json) -> Stamp | None:
    stamp = stamp_of(row)
    found = row.find("lastTradeTimestampDateTime")
    if stamp is not None or found is None:
        return stamp
    try:
        local = datetime.fromisoformat(found.text()).replace(tzinfo=NEW_YORK)
        instant = local.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise malformed(f"{found.path} is no date and time") from error
    bare = (local.hour, local.minute, local.second) == (0, 0, 0)
    return Stamp(local.date(), None if bare else instant, DATE_ONLY_S if bare else 60.0, is_close=False)
