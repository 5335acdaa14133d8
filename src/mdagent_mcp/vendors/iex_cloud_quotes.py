"""Reading IEX Cloud's quotes: one object, an array of them, or a batch keyed by symbol.

The rule of this module: `latestSource` says what the price is. A price of IEX is that venue's own; a delayed one is
the whole market's, 15 minutes late; a close is the official one. Null and zero both stand for none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import Instrument, InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, countable, instant_of, malformed, positive, price_time
from mdagent_mcp.domain.sessions import session_of
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Reply

SOURCE: Final = "iex_cloud"
CURRENCY_NOTE: Final = "the reply names no currency; it is that of the listing"
DELAY_S: Final = 900.0

_DATE_ONLY_S: Final = 86_400.0
_NEW_YORK: Final = ZoneInfo("America/New_York")
_VENUE: Final = "iex real time price"
_DELAYED: Final = "15 minute delayed price"
_CLOSE: Final = "close"
_PREVIOUS: Final = "previous close"


def read_quote(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/stock/{symbol}/quote`: an object, or since the last generation of the API an array.

    Raises:
        SourceError: with the reply's own reason, NO_DATA without a price, MALFORMED_REPLY.
    """
    instrument = query.instruments[0]
    rows = list(rows_of(Json.parse(reply.body)))
    if not rows:
        raise SourceError(FailureKind.NO_DATA, "the reply holds no quote")
    for row in rows:
        if row.get("symbol").text(40).upper() == instrument.symbol:
            return {instrument.symbol: Answered(quotes_of(row, instrument, reply.received_at))}
    raise malformed(f"the reply is about another symbol than {instrument.symbol}")


def read_batch(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/stock/market/batch` or an array of quotes: every asked symbol, or every symbol when none is named.

    Lists, and some recorded URLs, name none.

    Raises:
        SourceError: with the reply's own reason, MALFORMED_REPLY.
    """
    root = Json.parse(reply.body)
    named = (
        [(row.get("symbol").text(40), row) for row in rows_of(root)]
        if isinstance(root.value, list)
        else [(symbol, entry.find("quote")) for symbol, entry in _entries(root)]
    )
    reading: dict[str, Outcome[tuple[Quote, ...]]] = {
        i.symbol: Failure(SOURCE, FailureKind.UNKNOWN_SYMBOL, "not in the reply") for i in query.instruments
    }
    for symbol, row in named:
        instrument = _instrument(symbol)
        if instrument is not None and (instrument in query.instruments or not query.instruments):
            reading[instrument.symbol] = _outcome(row, instrument, reply.received_at)
    return reading


def rows_of(root: Json) -> Iterator[Json]:
    """The objects of a reply.

    Raises:
        SourceError: SOURCE_ERROR for an error, which stands alone or at the end of an array; MALFORMED_REPLY.
    """
    elements = root.items() if isinstance(root.value, list) else iter((root,))
    for element in elements:
        error = None if element.value is None else element.find("error")
        if error is not None:
            raise SourceError(FailureKind.SOURCE_ERROR, error.text())
        if element.value is not None:
            yield element


def _entries(root: Json) -> Iterator[tuple[str, Json]]:
    error = root.find("error")
    if error is not None and isinstance(error.value, str):
        raise SourceError(FailureKind.SOURCE_ERROR, error.text())
    return root.members()


def _instrument(symbol: str) -> Instrument | None:
    try:
        return parse_symbol(symbol)
    except InvalidSymbolError:
        return None


def _outcome(row: Json | None, instrument: Instrument, received_at: datetime) -> Outcome[tuple[Quote, ...]]:
    if row is None:
        return Failure(SOURCE, FailureKind.NO_DATA, "the reply holds no quote")
    try:
        named = row.optional_text("symbol")
        if named is not None and named.upper() != instrument.symbol:
            raise malformed(f"the quote of {instrument.symbol} is about another symbol")
        return Answered(quotes_of(row, instrument, received_at))
    except SourceError as error:
        return error.as_failure(SOURCE)


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where in the trading day a price belongs."""

    session: Session
    event_time: datetime | None
    resolution_s: float = 1.0
    note: str | None = None


def quotes_of(row: Json, instrument: Instrument, received_at: datetime) -> tuple[Quote, ...]:
    """The latest price, and a later one of extended hours where the reply tells of one.

    Raises:
        SourceError: NO_DATA without a price, MALFORMED_REPLY.
    """
    price = positive(row.optional_number("latestPrice"))
    if price is None:
        raise SourceError(FailureKind.NO_DATA, "the reply has no price")
    source = (row.optional_text("latestSource") or "").lower()
    calendar = calendar_named(instrument.calendar)
    placed = _place(row, source, calendar, received_at)
    currency = row.optional_text("currency") or None
    notes = [] if currency is not None else [CURRENCY_NOTE]
    if placed.note is not None:
        notes.append(placed.note)
    # Before the open, and for the close of an earlier day, it is not told which session the day's figures are of.
    told = placed.session is not Session.PRE and source != _PREVIOUS
    after_hours = placed.session is Session.POST
    main = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=placed.session,
        received_at=received_at,
        event_time=placed.event_time,
        event_time_resolution_s=placed.resolution_s,
        currency=currency or instrument.currency,
        declared_delay_s=DELAY_S if source == _DELAYED else 0.0,
        open=positive(row.optional_number("open")) if told else None,
        high=positive(row.optional_number("high")) if told else None,
        low=positive(row.optional_number("low")) if told else None,
        # In extended hours this is the close of the same day.
        previous_close=positive(row.optional_number("previousClose")) if told and not after_hours else None,
        volume=countable(row.optional_number("latestVolume")) if told else None,
        venue_only=source == _VENUE,
        notes=tuple(notes),
    )
    extended = _extended(row, main, calendar)
    return (main,) if extended is None else (main, extended)


def _place(row: Json, source: str, calendar: Calendar, received_at: datetime) -> _Placed:
    stamp = milliseconds(row, "latestUpdate")
    official = source in {_CLOSE, _PREVIOUS}
    if stamp is None:
        session = Session.CLOSED if official else session_of(calendar.state_at(received_at))
        said = "" if official else "; the session is the one at receipt"
        return _Placed(session, None, note=f"the source gives no time{said}")
    if time(0) in {stamp.time(), stamp.astimezone(_NEW_YORK).time()}:
        return _of_date(stamp, calendar)
    return _Placed(Session.CLOSED if official else _session_of(calendar, stamp), stamp)


def _of_date(stamp: datetime, calendar: Calendar) -> _Placed:
    """A time at midnight is a trading date: the price is that date's close."""
    day = stamp.date()  # midnight in New York is some hours later in UTC, on the same date
    session = calendar.session_on(day)
    if session is None:
        return _Placed(Session.CLOSED, None, note=f"dated {day}, which the calendar has no session for")
    return _Placed(Session.CLOSED, session.close, _DATE_ONLY_S, f"the time is the date {day} and no instant")


def _session_of(calendar: Calendar, instant: datetime) -> Session:
    return session_of(calendar.state_at(instant))


def _extended(row: Json, main: Quote, calendar: Calendar) -> Quote | None:
    """A price from before the open or after the close that is later than the latest official one."""
    price = positive(row.optional_number("extendedPrice"))
    stamp = milliseconds(row, "extendedPriceTime")
    if price is None or stamp is None or main.event_time is None or stamp <= main.event_time:
        return None
    session = _session_of(calendar, stamp)
    if session not in {Session.PRE, Session.POST} or session is main.session:
        return None
    own = stamp == milliseconds(row, "iexLastUpdated")
    return Quote(
        symbol=main.symbol,
        source=SOURCE,
        price=price,
        session=session,
        received_at=main.received_at,
        event_time=stamp,
        currency=main.currency,
        declared_delay_s=0.0 if own else DELAY_S,
        venue_only=own,
        notes=tuple(note for note in main.notes if note == CURRENCY_NOTE),
    )


def milliseconds(row: Json, name: str) -> datetime | None:
    """Epoch milliseconds as an instant; None when missing, null or 0.

    Raises:
        SourceError: MALFORMED_REPLY when it is no time of a price.
    """
    stamp = positive(row.optional_number(name))
    path = f"{row.path}.{name}"
    return None if stamp is None else price_time(instant_of(stamp / 1000.0, path), path)
