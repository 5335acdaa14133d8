"""Alpha Vantage's bulk quotes: up to 100 US listings in one call, for keys that are entitled to real-time prices.

The rule of this module: a row has one time, in New York. While the market is open it is that of `close`; before and
after, `close` is the official close of the last session and the time is that of `extended_hours_quote`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from mdagent_mcp.domain.calendar import Calendar, MarketState, calendar_named
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import Instrument, InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, malformed, positive
from mdagent_mcp.domain.vendor import Endpoint, Offer, QuoteQuery, QuoteReading, RecordedUrl, Reply, Request
from mdagent_mcp.vendors.alpha_vantage_reply import LISTING_NOTE, SOURCE, aside, canonical, number_of, parse_body, spelt
from mdagent_mcp.vendors.alpha_vantage_series import NEW_YORK

FUNCTION: Final = "REALTIME_BULK_QUOTES"
"""The name of the call."""
_BATCH: Final = 100
"""More symbols are dropped without a word."""
_QUERY: Final = re.compile(r"(?:^|/)query$")
_TIME: Final = re.compile(r"((?:19|20)\d\d-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d{1,9})?", re.ASCII)
_EXTENDED: Final = {MarketState.PRE: Session.PRE, MarketState.POST: Session.POST}


def _refuses(query: QuoteQuery) -> str | None:
    other = next((i.symbol for i in query.instruments if not i.is_us_listed), None)
    return None if other is None else f"Alpha Vantage's bulk quotes are of US listings, not of {other}"


def _build(query: QuoteQuery) -> tuple[Request, ...]:
    symbols = ",".join(map(spelt, query.instruments))
    return (Request("/query", (("function", FUNCTION), ("symbol", symbols))),)


def _read(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read the rows of the asked symbols, or all of them when none is asked.

    Raises:
        SourceError: what a notice in the reply says; MALFORMED_REPLY.
    """
    rows: dict[str, Json] = {}
    for row in parse_body(reply.body).get("data").items():
        rows.setdefault(canonical(row.get("symbol").text(40)), row)
    asked = query.instruments or tuple(i for symbol in rows if (i := _listing(symbol)) is not None)
    return {i.symbol: _outcome(i, rows.get(i.symbol), reply.received_at) for i in asked}


def _listing(symbol: str) -> Instrument | None:
    try:
        return parse_symbol(symbol)
    except InvalidSymbolError:
        return None


def _outcome(instrument: Instrument, row: Json | None, received_at: datetime) -> Outcome[tuple[Quote, ...]]:
    if row is None:
        return Failure(SOURCE, FailureKind.NO_DATA, "not in the reply")
    try:
        return Answered(_quotes(instrument, row, received_at))
    except SourceError as error:
        return error.as_failure(SOURCE)


def _quotes(instrument: Instrument, row: Json, received_at: datetime) -> tuple[Quote, ...]:
    at = _moment(row.get("timestamp"))
    calendar = calendar_named(instrument.calendar)
    notes: list[str] = [LISTING_NOTE]
    members = dict(row.members())
    close = _price(row.get("close"))
    quote = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=close,
        session=Session.REGULAR,
        received_at=received_at,
        event_time=at,
        currency=instrument.currency,
        open=positive(aside(members, "open", notes)),
        high=positive(aside(members, "high", notes)),
        low=positive(aside(members, "low", notes)),
        previous_close=positive(aside(members, "previous_close", notes)),
        volume=aside(members, "volume", notes),
        notes=tuple(notes),
    )
    if calendar.state_at(at) in {MarketState.OPEN, MarketState.UNKNOWN}:
        return (quote,)
    return _beside_the_close(quote, members, calendar, at)


def _beside_the_close(quote: Quote, members: dict[str, Json], calendar: Calendar, at: datetime) -> tuple[Quote, ...]:
    """The official close, and before it the print outside regular hours where there is one."""
    over = calendar.latest_completed(at)
    official = _with(quote, quote.price, Session.CLOSED, at if over is None else over.close)
    notes = list(quote.notes)
    extended = positive(aside(members, "extended_hours_quote", notes))
    session = _EXTENDED.get(calendar.state_at(at))
    if extended is None or session is None:
        return (official,)
    if session is Session.POST:
        return _with(quote, extended, session, at), official
    early = Quote(
        symbol=quote.symbol,
        source=SOURCE,
        price=extended,
        session=session,
        received_at=quote.received_at,
        event_time=at,
        currency=quote.currency,
        previous_close=quote.price,
        notes=quote.notes,
    )
    return early, official


def _with(quote: Quote, price: float, session: Session, at: datetime) -> Quote:
    return replace(quote, price=price, session=session, event_time=at)


def _moment(cell: Json) -> datetime:
    match = _TIME.fullmatch(cell.text(40))
    try:
        told = None if match is None else datetime.fromisoformat(match[1])
    except ValueError:
        told = None
    if told is None:
        raise malformed(f"{cell.path} is no date and time")
    return told.replace(tzinfo=NEW_YORK).astimezone(UTC)


def _price(cell: Json) -> float:
    price = number_of(cell)
    if price <= 0:
        raise SourceError(FailureKind.NO_DATA, "the price is not above 0")
    return price


def _recognise(recorded: RecordedUrl) -> QuoteQuery | None:
    if not _QUERY.search(recorded.path) or recorded.query.get("function") != FUNCTION:
        return None
    names = (canonical(name) for name in recorded.query.get("symbol", "").split(","))
    return QuoteQuery(tuple(i for name in names if (i := _listing(name)) is not None), recorded.received_at)


BULK: Final = Offer(Endpoint.QUOTES, _refuses, _build, _read, _recognise, max_batch=_BATCH)
"""The bulk call; only keys entitled to real-time prices have it."""
