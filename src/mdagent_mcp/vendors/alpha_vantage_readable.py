"""Alpha Vantage's replies that are never asked for and can be read: tables of text, and replies to unnamed functions.

The rule of this module: a table becomes the object that the same function sends as JSON and is read as that. Errors
come as JSON whatever was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, History, Interval
from mdagent_mcp.domain.reading import Json, malformed
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery, QuoteReading, Reply, recorded_instrument
from mdagent_mcp.vendors.alpha_vantage_functions import EARLIEST
from mdagent_mcp.vendors.alpha_vantage_quotes import read_quote
from mdagent_mcp.vendors.alpha_vantage_reply import canonical, labelled, parse_body, spelt, wall_time_of
from mdagent_mcp.vendors.alpha_vantage_series import META, SERIES, read_series, table_name
from mdagent_mcp.vendors.read_only import table_rows

_PRICES: Final = frozenset({"open", "high", "low", "close"})
_QUOTE_COLUMNS: Final = {
    "symbol": "01. symbol",
    "open": "02. open",
    "high": "03. high",
    "low": "04. low",
    "price": "05. price",
    "volume": "06. volume",
    "latestday": "07. latest trading day",
    "previousclose": "08. previous close",
}


def read_unnamed(query: QuoteQuery, reply: Reply) -> QuoteReading | History:
    """Read a reply whose URL does not say what it answers: a series where it holds one, else a current price.

    Raises:
        SourceError: whatever the reading of either raises.
    """
    root = parse_body(reply.body)
    name = next((key for key, _ in root.members() if SERIES in key), None)
    if name is None:
        return read_quote(query, reply)
    meta = labelled(root.get(META))
    instrument = query.instruments[0] if query.instruments else _named(meta)
    fitting = (interval for interval in Interval if table_name(instrument, interval) in name)
    interval = next(fitting, None)
    if interval is None:
        raise malformed(f"no bars of ours are those of {name!r}")
    asked = HistoryQuery(
        instrument=instrument,
        interval=interval,
        first=EARLIEST,
        last=reply.received_at.astimezone(calendar_named(instrument.calendar).zone).date(),
        adjustment=_basis_of(root.get(name), interval),
        extended_hours=interval.is_intraday,
        now=query.now,
    )
    return read_series(asked, reply)


def _named(meta: Mapping[str, Json]) -> Instrument:
    for labels in (("from symbol", "to symbol"), ("digital currency code", "market code")):
        if all(label in meta for label in labels):
            return recorded_instrument("/".join(meta[label].text(10) for label in labels), None)
    if "symbol" not in meta:
        raise malformed("the reply names no symbol")
    return recorded_instrument(canonical(meta["symbol"].text(40)), None)


def _basis_of(table: Json, interval: Interval) -> Adjustment:
    """The basis that is everybody's default where it can be reached, else the one of the rows."""
    if interval.is_intraday:
        return Adjustment.ALL  # theirs without the parameter
    row = next((labelled(row) for _, row in table.members()), {})
    if "split coefficient" in row:
        return Adjustment.SPLITS
    return Adjustment.ALL if "adjusted close" in row else Adjustment.NONE


def read_quote_table(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `GLOBAL_QUOTE` as a table.

    Raises:
        SourceError: whatever the reading of the same as JSON raises; MALFORMED_REPLY.
    """
    if _is_json(reply.body):
        return read_quote(query, reply)
    rows = list(table_rows(reply.body, frozenset({"symbol", "price"})))
    if len(rows) != 1:
        raise malformed("the reply is no table of one quote")
    block = {label: rows[0].value[name] for name, label in _QUOTE_COLUMNS.items() if name in rows[0].value}
    return read_quote(query, replace(reply, body=json.dumps({"Global Quote": block}).encode()))


def read_series_table(query: HistoryQuery, reply: Reply) -> History:
    """Read a series as a table.

    Raises:
        SourceError: whatever the reading of the same as JSON raises; MALFORMED_REPLY.
    """
    if _is_json(reply.body):
        return read_series(query, reply)
    rows = table_rows(reply.body, _PRICES | {"timestamp"})
    return _as_object(query, reply, ((row.get("timestamp").text(40), row) for row in rows))


def read_extended(query: HistoryQuery, reply: Reply) -> History:
    """Read the retired two-year intraday series, whose bars are stamped with their end.

    Raises:
        SourceError: whatever the reading of an intraday series raises; MALFORMED_REPLY.
    """
    if _is_json(reply.body):
        return read_series(query, reply)
    rows = table_rows(reply.body, _PRICES | {"time"})
    return _as_object(query, reply, ((_begun(row.get("time"), query.interval.length), row) for row in rows))


def _begun(cell: Json, length: timedelta) -> str:
    return f"{wall_time_of(cell.text(40), cell.path) - length:%Y-%m-%d %H:%M:%S}"


def _as_object(query: HistoryQuery, reply: Reply, stamped: Iterable[tuple[str, Json]]) -> History:
    table: dict[str, dict[str, str]] = {}
    for stamp, row in stamped:
        if stamp in table:
            raise malformed(f"{row.path} repeats the time {stamp}")
        table[stamp] = {f"1. {name.replace('_', ' ')}": cell for name, cell in row.value.items()}
    instrument = query.instrument
    meta = {"6. Time Zone": "US/Eastern"}
    if instrument.asset_class is AssetClass.FOREX:
        meta |= {"2. From Symbol": instrument.root, "3. To Symbol": instrument.suffix}
    elif instrument.asset_class is AssetClass.CRYPTO:
        meta |= {"2. Digital Currency Code": instrument.root, "4. Market Code": instrument.suffix}
    else:
        meta |= {"2. Symbol": spelt(instrument)}
    body = {META: meta, table_name(instrument, query.interval): table}
    return read_series(query, replace(reply, body=json.dumps(body).encode()))


def _is_json(body: bytes) -> bool:
    return body.lstrip()[:1] in {b"{", b"[", b"<", b""}
