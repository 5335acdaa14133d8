"""Reading Alpha Vantage's current prices: the day's last price of a listing, and the running rate of a currency pair.

The rule of this module: a listing's price has a trading date and no time, so it is the close of a session that is over,
and never a fresh print; a pair's rate has a time, in UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from mdagent_mcp.domain.calendar import Calendar, MarketState, calendar_named
from mdagent_mcp.domain.failures import Answered, FailureKind, SourceError
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, malformed, positive, price_time
from mdagent_mcp.domain.sessions import session_of
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Reply, recorded_instrument
from mdagent_mcp.vendors.alpha_vantage_reply import (
    SOURCE,
    Labelled,
    aside,
    canonical,
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

_DATE_ONLY_S: Final = 86400.0
_QUOTE: Final = "Global Quote"
_RATE: Final = "Realtime Currency Exchange Rate"
_DELAYED: Final = re.compile(r"DELAYED BY (\d{1,4}) MINUTES", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Placed:
    session: Session
    event_time: datetime | None = None
    resolution_s: float = 1.0
    note: str | None = None


def read_quote(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `GLOBAL_QUOTE`, or `CURRENCY_EXCHANGE_RATE` for a currency pair.

    A query without an instrument, as a recorded URL without parameters makes it, is about what the reply names.

    Raises:
        SourceError: UNKNOWN_SYMBOL, NO_DATA, MALFORMED_REPLY, or what a notice in the reply says.
    """
    root = parse_body(reply.body)
    if query.instruments and is_pair(query.instruments[0]):
        quote = _rate(query.instruments[0], root, reply.received_at)
    else:
        quote = _global_quote(query.instruments, root, reply.received_at)
    return {quote.symbol: Answered((quote,))}


def _block(root: Json, name: str) -> tuple[str, Json]:
    """The member whose key begins with `name`: premium keys see decorated ones."""
    for key, value in root.members():
        if key.startswith(name):
            return key, value
    raise malformed(f"the reply holds no {name}")


def _global_quote(instruments: tuple[Instrument, ...], root: Json, received_at: datetime) -> Quote:
    key, found = _block(root, _QUOTE)
    if found.value == {}:
        raise SourceError(FailureKind.UNKNOWN_SYMBOL, "the reply is an empty quote: the symbol is not known")
    block = labelled(found)
    instrument = instruments[0] if instruments else _named(block)
    require_named(instrument, block, ("symbol",))
    price = _price(wanted(block, "price", _QUOTE))
    placed = _placed(block.get("latest trading day"), calendar_named(instrument.calendar), received_at)
    currency, about_currency = quoted_in(instrument)
    notes = [about_currency] if placed.note is None else [about_currency, placed.note]
    delayed = _DELAYED.search(key)
    return Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=placed.session,
        received_at=received_at,
        event_time=placed.event_time,
        event_time_resolution_s=placed.resolution_s,
        currency=currency,
        declared_delay_s=0.0 if delayed is None else float(delayed[1]) * 60.0,
        open=positive(aside(block, "open", notes)),
        high=positive(aside(block, "high", notes)),
        low=positive(aside(block, "low", notes)),
        previous_close=positive(aside(block, "previous close", notes)),
        volume=aside(block, "volume", notes),
        notes=tuple(notes),
    )


def _named(block: Labelled) -> Instrument:
    return recorded_instrument(canonical(wanted(block, "symbol", _QUOTE).text(40)), None)


def _price(cell: Json) -> float:
    price = number_of(cell)
    if price == 0:
        raise SourceError(FailureKind.NO_DATA, "the price is 0")
    if price < 0:
        raise malformed(f"{cell.path} is negative")
    return price


def _placed(cell: Json | None, calendar: Calendar, received_at: datetime) -> _Placed:
    """The session of a price that is dated by its trading day, and that session's close as its time."""
    running = session_of(calendar.state_at(received_at))
    if cell is None or cell.value is None:
        untimed = Session.REGULAR if running is Session.REGULAR else Session.CLOSED
        return _Placed(untimed, note="the reply has no trading day; the session is the one at receipt")
    day = date_of(cell.text(), cell.path)
    trading = calendar.session_on(day)
    if trading is None:
        return _Placed(
            _unlisted(calendar, day, received_at), note=f"dated {day}, which the calendar has no session for"
        )
    if trading.close > received_at:
        note = "dated today without a time while the session is not over"
        # A price of the running day was made before its close, so it is not yet the official one.
        live = Session.REGULAR if running is Session.CLOSED else running
        return _Placed(live, trading.close, _DATE_ONLY_S, note)
    return _Placed(Session.CLOSED, trading.close, _DATE_ONLY_S)


def _unlisted(calendar: Calendar, day: date, received_at: datetime) -> Session:
    """A day of a market that we have no table for is over when it is over in UTC."""
    over = calendar.known or day < received_at.date()
    return Session.CLOSED if over else Session.REGULAR


def _rate(instrument: Instrument, root: Json, received_at: datetime) -> Quote:
    block = labelled(_block(root, _RATE)[1])
    require_named(instrument, block, ("from_currency code", "to_currency code"))
    price = _price(wanted(block, "exchange rate", _RATE))
    event_time = _refreshed(block)
    state = calendar_named(instrument.calendar).state_at(event_time)
    notes: list[str] = []
    return Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=Session.REGULAR if state is MarketState.OPEN else Session.CLOSED,
        received_at=received_at,
        event_time=event_time,
        currency=instrument.currency,
        bid=positive(aside(block, "bid price", notes)),
        ask=positive(aside(block, "ask price", notes)),
        notes=tuple(notes),
    )


def _refreshed(block: Labelled) -> datetime:
    zone = wanted(block, "time zone", _RATE)
    if zone.text().upper() != "UTC":
        raise malformed(f"{zone.path} is not UTC: {zone.text(40)!r}")
    cell = wanted(block, "last refreshed", _RATE)
    return price_time(wall_time_of(cell.text(), cell.path).replace(tzinfo=UTC), cell.path)
