"""Yahoo's `/v7/finance/quote`: many symbols in one call, behind a cookie and a crumb."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.sandbox.market import Snapshot
from mdagent_mcp.sandbox.universe import DELISTED, FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import json_reply
from mdagent_mcp.sandbox.yahoo_chart import MEDIA_TYPE, regular_time
from mdagent_mcp.sandbox.yahoo_listing import EXCHANGES, day_stamp, epoch, read_symbol, yahoo_symbol, zone_fields

MOST_SYMBOLS: Final = 99
"""A longer list is refused, since March 2025."""

_CORE: Final = frozenset(
    "language region quoteType typeDisp quoteSourceName triggerable customPriceAlertConfidence regularMarketTime "
    "exchange marketState sourceInterval exchangeDataDelayedBy tradeable cryptoTradeable hasPrePostMarketData "
    "firstTradeDateMilliseconds fullExchangeName exchangeTimezoneName exchangeTimezoneShortName "
    "gmtOffSetMilliseconds market esgPopulated regularMarketPrice priceHint symbol".split()
)
"""Sent even when `fields` asks for less."""
_TYPES: Final = {"EQUITY": "Equity", "ETF": "ETF", "INDEX": "Index", "CURRENCY": "Currency"}


def quote(view: VendorView, request: Request) -> Response:
    """Answer a batch that has passed the crumb check; what is unknown is simply missing."""
    symbols = asked_symbols(request)
    if not symbols or len(symbols) > MOST_SYMBOLS:
        error = {
            "code": "Bad Request",
            "description": "Missing or too many values for required query parameter symbols",
        }
        return json_reply({"finance": {"result": None, "error": error}}, 400, media_type=MEDIA_TYPE)
    fields = frozenset(filter(None, request.query_params.get("fields", "").split(",")))
    rows = [row for text in dict.fromkeys(symbols) if (row := _row_of(view, text)) is not None]
    if fields:
        rows = [{name: value for name, value in row.items() if name in _CORE | fields} for row in rows]
    return json_reply({"quoteResponse": {"result": rows, "error": None}}, media_type=MEDIA_TYPE)


def asked_symbols(request: Request) -> list[str]:
    """The symbols of the batch as they were written."""
    return [text for text in request.query_params.get("symbols", "").split(",") if text.strip()]


def _row_of(view: VendorView, text: str) -> dict[str, Any] | None:
    symbol = read_symbol(text)
    if symbol is None:
        return None
    security = view.find(symbol)
    if security is not None:
        return _row(view, security)
    return _stub() if view.is_delisted(symbol) else None


def _stub() -> dict[str, Any]:
    """A company that is gone: a row without any price."""
    return {
        "language": "en-US",
        "region": "US",
        "quoteType": "NONE",
        "triggerable": False,
        "customPriceAlertConfidence": "NONE",
        "hasPrePostMarketData": False,
        "tradeable": False,
        "cryptoTradeable": False,
        "corporateActions": [],
        "esgPopulated": False,
        "symbol": DELISTED,
    }


def _row(view: VendorView, security: Security) -> dict[str, Any]:
    seen = view.snapshot(security)
    regular = seen.regular
    exchange = EXCHANGES[security.exchange]
    zone = zone_fields(security, view.now)
    return {
        "language": "en-US",
        "region": "US",
        "quoteType": security.kind,
        "typeDisp": _TYPES.get(security.kind, "Cryptocurrency"),
        "quoteSourceName": exchange.source,
        "triggerable": exchange.delay_min == 0,
        "customPriceAlertConfidence": "HIGH" if exchange.delay_min == 0 else "LOW",
        "currency": security.quoted_in,
        "shortName": security.name,
        "longName": security.name,
        "exchange": security.exchange,
        "fullExchangeName": exchange.name,
        "exchangeTimezoneName": exchange.timezone,
        "exchangeTimezoneShortName": zone["timezone"],
        "gmtOffSetMilliseconds": zone["gmtoffset"] * 1000,
        "market": exchange.market,
        "marketState": _market_state(seen),
        "esgPopulated": False,
        "corporateActions": [],
        **_regular(security, seen),
        **_extended(seen),
        **_year(view, security, regular.close),
        "sourceInterval": 15,
        "exchangeDataDelayedBy": exchange.delay_min,
        "hasPrePostMarketData": security.has_extended_hours,
        "firstTradeDateMilliseconds": day_stamp(security, FIRST_DAY) * 1000,
        "priceHint": 4 if security.kind == "CURRENCY" else 2,
        "tradeable": False,
        "cryptoTradeable": security.kind == "CRYPTOCURRENCY",
        "symbol": yahoo_symbol(security),
    }


def _market_state(seen: Snapshot) -> str:
    if seen.state in (MarketState.OPEN, MarketState.BREAK):
        return "REGULAR"
    return {MarketState.PRE: "PRE", MarketState.POST: "POST"}.get(seen.state, "CLOSED")


def _regular(security: Security, seen: Snapshot) -> dict[str, Any]:
    regular = seen.regular
    change = round(regular.close - regular.previous_close, 7)
    fields: dict[str, Any] = {
        "regularMarketPrice": regular.close,
        "regularMarketTime": regular_time(security, seen),
        "regularMarketChange": change,
        "regularMarketChangePercent": round(100 * change / regular.previous_close, 7),
        "regularMarketOpen": regular.open,
        "regularMarketDayHigh": regular.high,
        "regularMarketDayLow": regular.low,
        "regularMarketDayRange": f"{regular.low} - {regular.high}",
        "regularMarketVolume": int(regular.volume),
        "regularMarketPreviousClose": regular.previous_close,
    }
    if security.kind in ("EQUITY", "ETF", "CURRENCY"):
        fields |= {"bid": seen.bid, "ask": seen.ask, "bidSize": 2, "askSize": 3}
    return fields


def _extended(seen: Snapshot) -> dict[str, Any]:
    extended = seen.extended
    if extended is None:
        return {}
    name = "preMarket" if extended.session is Session.PRE else "postMarket"
    change = round(extended.price - seen.regular.close, 7)
    return {
        f"{name}Price": extended.price,
        f"{name}Time": epoch(extended.event_time),
        f"{name}Change": change,
        f"{name}ChangePercent": round(100 * change / seen.regular.close, 7),
    }


def _year(view: VendorView, security: Security, price: float) -> dict[str, Any]:
    year = view.year_range(security)
    return {
        "fiftyTwoWeekLow": year.low,
        "fiftyTwoWeekHigh": year.high,
        "fiftyTwoWeekRange": f"{year.low} - {year.high}",
        "fiftyTwoWeekLowChange": round(price - year.low, 6),
        "fiftyTwoWeekLowChangePercent": round((price - year.low) / year.low, 7),
        "fiftyTwoWeekHighChange": round(price - year.high, 6),
        "fiftyTwoWeekHighChangePercent": round((price - year.high) / year.high, 7),
    }
