"""Alpha Vantage's current prices: `GLOBAL_QUOTE`, `REALTIME_BULK_QUOTES`, `CURRENCY_EXCHANGE_RATE`, `SYMBOL_SEARCH`.

A listing's quote is the last official close and changes once a day; with `entitlement=delayed` it is the price of
fifteen minutes ago under a decorated key, with `entitlement=realtime` that of now.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.responses import Response

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.sandbox.alpha_vantage_listing import name_of, own_symbol, read_pair, read_symbol
from mdagent_mcp.sandbox.alpha_vantage_replies import four, invalid_call, numbered, reply, table
from mdagent_mcp.sandbox.market import Snapshot
from mdagent_mcp.sandbox.universe import DELISTED, Security, securities
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Query

NEW_YORK: Final = ZoneInfo("America/New_York")
"""The zone of their wall times, whatever the listing."""
DELAYED: Final = "delayed"
REALTIME: Final = "realtime"
LARGEST_BULK: Final = 100
"""Further symbols of a bulk request are dropped without a word."""

_DELAY: Final = timedelta(minutes=15)
_PUBLISHED_AFTER: Final = timedelta(minutes=15)
"""How long after the close a day is told."""
_DECORATION: Final = " - DATA DELAYED BY 15 MINUTES"
_FOUND: Final = 10
_COLUMNS: Final = "symbol open high low price volume latestDay previousClose change changePercent".split()


def as_entitled(view: VendorView, security: Security, entitlement: str) -> VendorView:
    """The vendor's view as a key is entitled to it; without an entitlement it ends with the last day published."""
    if entitlement == REALTIME:
        return view
    if entitlement == DELAYED:
        return view.as_of(view.now - _DELAY)
    last = calendar_named(security.instrument.calendar).latest_completed(view.now - _PUBLISHED_AFTER)
    if last is None:
        return view
    # Prices after the bell belong to the day too; they are told once that session is over.
    return view.as_of(last.post_close if last.post_close <= view.now else last.close)


def decorated(text: str, entitlement: str) -> str:
    """A key or a text as it is shown to that entitlement."""
    return f"{text}{_DECORATION}" if entitlement == DELAYED else text


def global_quote(view: VendorView, query: Query, entitlement: str) -> Response:
    """The quote of one listing; an empty one when it is not known."""
    symbol = read_symbol(query.get("symbol", ""))
    security = None if symbol is None else view.find(symbol)
    key = decorated("Global Quote", entitlement)
    if security is None:
        return reply({key: {}})
    regular = as_entitled(view, security, entitlement).snapshot(security).regular
    change = regular.close - regular.previous_close
    row = {
        "symbol": own_symbol(security),
        "open": four(regular.open),
        "high": four(regular.high),
        "low": four(regular.low),
        "price": four(regular.close),
        "volume": str(int(regular.volume)),
        "latest trading day": regular.day.isoformat(),
        "previous close": four(regular.previous_close),
        "change": four(change),
        "change percent": f"{100 * change / regular.previous_close:.4f}%",
    }
    if query.get("datatype") == "csv":
        words = {
            "latest trading day": "latestDay",
            "previous close": "previousClose",
            "change percent": "changePercent",
        }
        return table([{words.get(name, name): value for name, value in row.items()}])
    return reply({key: numbered(row, 2)})


def bulk_quotes(view: VendorView, query: Query, entitlement: str) -> Response:
    """Up to a hundred listings in real time; unknown ones are left out."""
    del entitlement
    symbols = [symbol for text in bulk_symbols(query) if (symbol := read_symbol(text)) is not None]
    found = [security for symbol in symbols if (security := view.find(symbol)) is not None]
    rows = [_bulk_row(security, view.snapshot(security)) for security in found]
    if query.get("datatype") == "csv":
        return table(rows)
    return reply({"endpoint": "Realtime Bulk Quotes", "message": "success", "data": rows})


def bulk_symbols(query: Query) -> list[str]:
    """Those that are answered."""
    names = (name.strip() for name in query.get("symbol", "").split(","))
    return [name for name in names if name][:LARGEST_BULK]


def _bulk_row(security: Security, seen: Snapshot) -> dict[str, str]:
    regular, extended = seen.regular, seen.extended
    change = regular.close - regular.previous_close
    newest = regular.close_time if extended is None else extended.event_time
    late = None if extended is None else extended.price - regular.close
    return {
        "symbol": own_symbol(security),
        "timestamp": f"{newest.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S}.{newest.microsecond // 1000:03}",
        "open": _short(regular.open),
        "high": _short(regular.high),
        "low": _short(regular.low),
        "close": _short(regular.close),
        "volume": str(int(regular.volume)),
        "previous_close": _short(regular.previous_close),
        "change": _short(change),
        "change_percent": _short(100 * change / regular.previous_close),
        "extended_hours_quote": "" if extended is None else _short(extended.price),
        "extended_hours_change": "" if late is None else _short(late),
        "extended_hours_change_percent": "" if late is None else _short(100 * late / regular.close),
    }


def _short(value: float) -> str:
    return str(round(value, 4))


def exchange_rate(view: VendorView, query: Query, entitlement: str) -> Response:
    """The running rate of a pair, in UTC.

    Raises:
        RefusedError: when there is no such pair.
    """
    del entitlement
    symbol = read_pair(query.get("from_currency", ""), query.get("to_currency", ""))
    security = None if symbol is None else view.find(symbol)
    if security is None:
        raise invalid_call("CURRENCY_EXCHANGE_RATE")
    seen, pair = view.snapshot(security), security.instrument
    row = {
        "From_Currency Code": pair.root,
        "From_Currency Name": name_of(pair.root),
        "To_Currency Code": pair.suffix,
        "To_Currency Name": name_of(pair.suffix),
        "Exchange Rate": f"{seen.price:.8f}",
        "Last Refreshed": f"{seen.event_time:%Y-%m-%d %H:%M:%S}",
        "Time Zone": "UTC",
        "Bid Price": f"{seen.bid:.8f}",
        "Ask Price": f"{seen.ask:.8f}",
    }
    return reply({"Realtime Currency Exchange Rate": numbered(row)})


def symbol_search(view: VendorView, query: Query, entitlement: str) -> Response:
    """Listings whose symbol or name holds the keywords, best first."""
    del view, entitlement
    wanted = query.get("keywords", "").strip().upper()
    carried = [s for s in securities().values() if read_symbol(own_symbol(s)) is not None and s.symbol != DELISTED]
    scored = [(_score(s, wanted), s) for s in carried] if wanted else []
    best = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].symbol))[:_FOUND]
    rows = [numbered(_match(security, score)) for score, security in best]
    return table(rows) if query.get("datatype") == "csv" else reply({"bestMatches": rows})


def _score(security: Security, wanted: str) -> float:
    symbol = own_symbol(security)
    if symbol == wanted:
        return 1.0
    if symbol.startswith(wanted):
        return round(len(wanted) / len(symbol), 4)
    return 0.4 if wanted in security.name.upper() else 0.0


def _match(security: Security, score: float) -> dict[str, Any]:
    foreign = security.exchange == "LSE"
    return {
        "symbol": own_symbol(security),
        "name": security.name,
        "type": "ETF" if security.kind == "ETF" else "Equity",
        "region": "United Kingdom" if foreign else "United States",
        "marketOpen": "08:00" if foreign else "09:30",
        "marketClose": "16:30" if foreign else "16:00",
        "timezone": "UTC+00" if foreign else "UTC-05",
        "currency": security.quoted_in.replace("GBp", "GBX"),
        "matchScore": four(score),
    }
