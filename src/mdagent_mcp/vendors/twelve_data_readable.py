"""Twelve Data's calls that are never sent and can be read: bare prices, closes, rates, and series as tables of text.

The rule of this module: what a reply does not name is taken from its URL; a bare price of a listing that may be quoted
in hundredths is refused, because no unit is told with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import History, Quote
from mdagent_mcp.domain.reading import Json, malformed
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery, QuoteReading, RecordedUrl, Reply, recorded_instrument
from mdagent_mcp.vendors.read_only import NO_CURRENCY, UNTIMED, session_at, table_rows
from mdagent_mcp.vendors.twelve_data_history import INTERVALS, read_series
from mdagent_mcp.vendors.twelve_data_replies import (
    HUNDREDTHS,
    PAIRS,
    SOURCE,
    amount,
    instant,
    open_reply,
    refuse_envelope,
    spelling_of,
)

_RATES: Final = re.compile(r"/(?:exchange_rate|currency_conversion)$")
_SEPARATORS: Final = ";,"


def read_prices(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/price`: one price, or an object of them by symbol, or a table of one cell.

    Raises:
        SourceError: with the envelope's own reason, NO_DATA without a price, MALFORMED_REPLY.
    """
    if _is_table(reply.body):
        rows = list(table_rows(reply.body, frozenset({"price"}), _SEPARATORS))
        if len(rows) != 1 or len(query.instruments) != 1:
            raise malformed("the reply is no table of one price")
        return {query.instruments[0].symbol: Answered((_price(query.instruments[0], rows[0], reply),))}
    root = open_reply(reply.body)
    if len(query.instruments) == 1 and root.find("price") is not None:
        return {query.instruments[0].symbol: Answered((_price(query.instruments[0], root, reply),))}
    items = {name.upper(): item for name, item in root.members()}
    return {i.symbol: _outcome(i, items, reply) for i in query.instruments}


def _outcome(instrument: Instrument, items: Mapping[str, Json], reply: Reply) -> Outcome[tuple[Quote, ...]]:
    item = items.get(spelling_of(instrument) or "")
    if item is None:
        return Failure(SOURCE, FailureKind.NO_DATA, "not among the items of the reply")
    try:
        refuse_envelope(item)
        return Answered((_price(instrument, item, reply),))
    except SourceError as error:
        return error.as_failure(SOURCE)


def _price(instrument: Instrument, item: Json, reply: Reply) -> Quote:
    price = amount(item, "price")
    if price is None or price == 0:
        raise SourceError(FailureKind.NO_DATA, f"{item.path} shows no price")
    if price < 0:
        raise malformed(f"{item.path}.price is negative")
    if instrument.currency in HUNDREDTHS and instrument.asset_class not in PAIRS:
        raise malformed(f"no currency is told: the price may be in {instrument.currency} or in hundredths of it")
    return Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=session_at(instrument, reply.received_at),
        received_at=reply.received_at,
        currency=instrument.currency,
        notes=(UNTIMED,) if instrument.asset_class in PAIRS else (NO_CURRENCY, UNTIMED),
    )


def recognise_rate(recorded: RecordedUrl) -> QuoteQuery | None:
    """A rate's URL; one without a symbol is about the pair that the reply names."""
    if not _RATES.search(recorded.path):
        return None
    symbol = recorded.query.get("symbol", "")
    if not symbol and recorded.instrument is None:
        return QuoteQuery((), recorded.received_at)
    return QuoteQuery((recorded_instrument(symbol, recorded.instrument),), recorded.received_at)


def read_rate(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/exchange_rate` or `/currency_conversion`: one rate with its time.

    Raises:
        SourceError: with the envelope's own reason, NO_DATA without a rate, MALFORMED_REPLY.
    """
    root = open_reply(reply.body)
    named = root.get("symbol").text(40)
    instrument = query.instruments[0] if query.instruments else recorded_instrument(named, None)
    if instrument.asset_class not in PAIRS or named.upper() != spelling_of(instrument):
        raise malformed(f"answered for {named!r}, not {instrument.symbol}")
    rate, event_time = amount(root, "rate"), instant(root, "timestamp")
    if rate is None or rate == 0:
        raise SourceError(FailureKind.NO_DATA, "the reply shows no rate")
    if rate < 0:
        raise malformed("reply.rate is negative")
    quote = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=rate,
        session=session_at(instrument, reply.received_at if event_time is None else event_time),
        received_at=reply.received_at,
        event_time=event_time,
        event_time_resolution_s=60.0 if event_time is not None and event_time.second == 0 else 1.0,
        currency=instrument.currency,
        notes=(UNTIMED,) if event_time is None else (),
    )
    return {instrument.symbol: Answered((quote,))}


def read_table(query: HistoryQuery, reply: Reply) -> History:
    """Read `/time_series` asked for as a table, which names neither symbol nor currency nor zone.

    Raises:
        SourceError: NO_DATA without bars in the range, MALFORMED_REPLY.
    """
    if not _is_table(reply.body):
        return read_series(query, reply)  # errors come as JSON whatever was asked for
    instrument = query.instrument
    rows = table_rows(reply.body, frozenset({"datetime", "open", "high", "low", "close"}), _SEPARATORS)
    meta = {
        "symbol": spelling_of(instrument),
        "interval": INTERVALS[query.interval],
        "exchange_timezone": calendar_named(instrument.calendar).timezone,
    }
    told = json.dumps({"meta": meta, "values": [row.value for row in rows]}).encode()
    history = read_series(query, replace(reply, body=told))
    if instrument.asset_class in PAIRS:
        return history
    return replace(history, currency=instrument.currency, notes=(NO_CURRENCY, *history.notes))


def _is_table(body: bytes) -> bool:
    return body.lstrip()[:1] not in {b"{", b"[", b"<", b""} and not body.lower().startswith(b"error code:")
