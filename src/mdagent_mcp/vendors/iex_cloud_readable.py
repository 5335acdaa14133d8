"""IEX Cloud's calls that are never sent and can be read: bare prices, a day's ends, lists, currencies and crypto.

The rule of this module: a price that comes without its time or symbol gets them from nowhere but the URL.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import unquote

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, countable, malformed, positive
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, RecordedUrl, Reply, recorded_instrument
from mdagent_mcp.vendors.iex_cloud_quotes import CURRENCY_NOTE, DELAY_S, SOURCE, milliseconds, quotes_of, rows_of
from mdagent_mcp.vendors.read_only import UNTIMED, joined_pair, session_at

_PRICE: Final = re.compile(r"/stock/(?P<symbol>[^/]+)/price$")
_ENDS: Final = re.compile(r"/stock/(?P<symbol>[^/]+)/ohlc$")
_DELAYED: Final = re.compile(r"/stock/(?P<symbol>[^/]+)/delayed-quote$")
_LIST: Final = re.compile(r"/stock/market/list/[^/]+$")
_RATES: Final = re.compile(r"/fx/(?:latest|convert)$")
_CRYPTO: Final = re.compile(r"/crypto/(?P<symbol>[^/]+)/quote$")


def _one(recorded: RecordedUrl, path: re.Pattern[str]) -> QuoteQuery | None:
    match = path.search(recorded.path)
    if match is None:
        return None
    symbol = unquote(match["symbol"]).upper()
    return QuoteQuery((recorded_instrument(symbol, recorded.instrument),), recorded.received_at)


def recognise_price(recorded: RecordedUrl) -> QuoteQuery | None:
    """The symbol of a URL of `/stock/{symbol}/price`."""
    return _one(recorded, _PRICE)


def recognise_ends(recorded: RecordedUrl) -> QuoteQuery | None:
    """The symbol of a URL of `/stock/{symbol}/ohlc`."""
    return _one(recorded, _ENDS)


def recognise_delayed(recorded: RecordedUrl) -> QuoteQuery | None:
    """The symbol of a URL of `/stock/{symbol}/delayed-quote`."""
    return _one(recorded, _DELAYED)


def recognise_list(recorded: RecordedUrl) -> QuoteQuery | None:
    """A URL of `/stock/market/list/…`, which names no symbols: the reply does."""
    return QuoteQuery((), recorded.received_at) if _LIST.search(recorded.path) else None


def recognise_crypto(recorded: RecordedUrl) -> QuoteQuery | None:
    """The pair of a URL of `/crypto/{symbol}/quote`."""
    match = _CRYPTO.search(recorded.path)
    return None if match is None else _pairs((unquote(match["symbol"]),), recorded)


def recognise_rates(recorded: RecordedUrl) -> QuoteQuery | None:
    """The pairs of a URL of `/fx/latest` or `/fx/convert`."""
    if not _RATES.search(recorded.path):
        return None
    return _pairs(tuple(recorded.query.get("symbols", "").split(",")), recorded)


def _pairs(names: tuple[str, ...], recorded: RecordedUrl) -> QuoteQuery:
    instruments = tuple(recorded_instrument(joined_pair(name), recorded.instrument) for name in names)
    return QuoteQuery(instruments, recorded.received_at)


def read_price(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/stock/{symbol}/price`: a bare number.

    Raises:
        SourceError: NO_DATA when it is 0, MALFORMED_REPLY.
    """
    (instrument,) = query.instruments
    price = _price(Json.parse(reply.body).number(), "reply")
    quote = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=session_at(instrument, reply.received_at),
        received_at=reply.received_at,
        currency=instrument.currency,
        notes=(CURRENCY_NOTE, UNTIMED),
    )
    return {instrument.symbol: Answered((quote,))}


def read_ends(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/stock/{symbol}/ohlc`: open and close of a day with their times, and its high and low.

    Raises:
        SourceError: NO_DATA without a close, MALFORMED_REPLY.
    """
    (instrument,) = query.instruments
    root = _about(instrument, reply)
    close, opened = root.find("close"), root.find("open")
    if close is None:
        raise SourceError(FailureKind.NO_DATA, "the day has no close")
    event_time = milliseconds(close, "time")
    quote = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=_price(close.get("price").number(), close.path),
        session=Session.CLOSED,
        received_at=reply.received_at,
        event_time=event_time,
        currency=instrument.currency,
        open=None if opened is None else positive(opened.optional_number("price")),
        high=positive(root.optional_number("high")),
        low=positive(root.optional_number("low")),
        notes=(CURRENCY_NOTE,) if event_time is not None else (CURRENCY_NOTE, UNTIMED),
    )
    return {instrument.symbol: Answered((quote,))}


def read_delayed(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/stock/{symbol}/delayed-quote`: the whole market's price of 15 minutes ago.

    Raises:
        SourceError: NO_DATA without a price, MALFORMED_REPLY.
    """
    (instrument,) = query.instruments
    root = _about(instrument, reply)
    price, event_time = positive(root.optional_number("delayedPrice")), milliseconds(root, "delayedPriceTime")
    if price is None:
        raise SourceError(FailureKind.NO_DATA, "the reply has no price")
    quote = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=session_at(instrument, reply.received_at if event_time is None else event_time),
        received_at=reply.received_at,
        event_time=event_time,
        currency=instrument.currency,
        declared_delay_s=DELAY_S,
        high=positive(root.optional_number("high")),
        low=positive(root.optional_number("low")),
        volume=countable(root.optional_number("totalVolume")),
        notes=(CURRENCY_NOTE,) if event_time is not None else (CURRENCY_NOTE, UNTIMED),
    )
    return {instrument.symbol: Answered((quote,))}


def _about(instrument: Instrument, reply: Reply) -> Json:
    root = Json.parse(reply.body)
    error = root.find("error")
    if error is not None:
        raise SourceError(FailureKind.SOURCE_ERROR, error.text())
    if root.get("symbol").text(40).upper() != instrument.symbol:
        raise malformed(f"the reply is about another symbol than {instrument.symbol}")
    return root


def _price(value: float, path: str) -> float:
    if value == 0:
        raise SourceError(FailureKind.NO_DATA, "the price is 0")
    if value < 0:
        raise malformed(f"{path} is negative")
    return value


def read_rates(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/fx/latest` or `/fx/convert`: a rate with its time for every pair.

    Raises:
        SourceError: with the reply's own reason, MALFORMED_REPLY.
    """
    rows = {row.get("symbol").text(40).upper(): row for row in rows_of(Json.parse(reply.body))}
    return {i.symbol: _rate(rows.get(i.root + i.suffix), i, reply.received_at) for i in query.instruments}


def _rate(row: Json | None, instrument: Instrument, received_at: datetime) -> Outcome[tuple[Quote, ...]]:
    if row is None:
        return Failure(SOURCE, FailureKind.UNKNOWN_SYMBOL, "not among the rows of the reply")
    try:
        rate, event_time = positive(row.optional_number("rate")), milliseconds(row, "timestamp")
    except SourceError as error:
        return error.as_failure(SOURCE)
    if rate is None:
        return Failure(SOURCE, FailureKind.NO_DATA, "the row has no rate")
    quote = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=rate,
        session=session_at(instrument, received_at if event_time is None else event_time),
        received_at=received_at,
        event_time=event_time,
        currency=instrument.currency,
        notes=() if event_time is not None else (UNTIMED,),
    )
    return Answered((quote,))


def read_crypto(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/crypto/{symbol}/quote`: the quote of a share, with the figures of the last 24 hours and a book.

    Raises:
        SourceError: with the reply's own reason, NO_DATA without a price, MALFORMED_REPLY.
    """
    (instrument,) = query.instruments
    if instrument.asset_class is not AssetClass.CRYPTO:
        raise SourceError(FailureKind.BAD_REQUEST, f"{instrument.symbol} is no crypto pair")
    row = next(rows_of(Json.parse(reply.body)), None)
    if row is None or row.get("symbol").text(40).upper() != instrument.root + instrument.suffix:
        raise malformed(f"the reply is about another pair than {instrument.symbol}")
    quote = quotes_of(row, instrument, reply.received_at)[0]
    told = replace(
        quote,
        currency=instrument.currency,
        bid=positive(row.optional_number("bidPrice")),
        ask=positive(row.optional_number("askPrice")),
        notes=tuple(note for note in quote.notes if note != CURRENCY_NOTE),
    )
    return {instrument.symbol: Answered((told,))}
