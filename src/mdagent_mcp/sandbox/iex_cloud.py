"""IEX Cloud as it spoke until it was shut down in 2024: for whoever configures a gateway that still speaks it.

`/stock/{symbol}/quote`, `/price`, `/ohlc` and `/chart`, `/stock/market/batch`, `/fx/latest`, and the last generation's
`/data/core/quote/{symbols}`, each also below a version (`/stable`, `/latest`, `/v1`, `/beta`). The token comes as
`?token=`; any is good but one that begins with `invalid` (403) or `spent` (402). Errors are plain text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.sandbox.iex_cloud_charts import chart_rows, day_of_minutes, listed, text_reply
from mdagent_mcp.sandbox.market import Snapshot
from mdagent_mcp.sandbox.universe import Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Answer, Endpoint, SymbolsOf, Wire, canonical, json_reply

_ZONE: Final = ZoneInfo("America/New_York")
_VERSIONS: Final = ("stable", "latest", "v1", "beta")
_MOST_SYMBOLS: Final = 100
_OWN_SHARE: Final = 0.023
"""Of the market's volume that is traded at IEX."""
_EXCHANGES: Final = {"NYQ": "NEW YORK STOCK EXCHANGE, INC.", "PCX": "NYSE ARCA"}
_NASDAQ: Final = ("NMS", "NGM", "NCM")
"""Listings whose tape shows nothing to those without an agreement of its own."""
_WITHHELD: Final = (
    "open",
    "openTime",
    "close",
    "closeTime",
    "high",
    "low",
    "delayedPrice",
    "delayedPriceTime",
    "oddLotDelayedPrice",
    "oddLotDelayedPriceTime",
    "extendedPrice",
    "extendedChange",
    "extendedChangePercent",
    "extendedPriceTime",
)
_PLAIN: Final = {
    400: "You have supplied invalid values for this request",
    402: "You have used all available credits for the month. Please upgrade to access more data.",
    403: "The API key provided is not valid.",
    404: "Unknown symbol",
    429: "Too many requests",
}


def _tokened(answer: Answer) -> Answer:
    """Ask for a token first."""

    def with_token(view: VendorView, request: Request) -> Response:
        token = request.query_params.get("token", "")
        if request.path_params.get("version", "v1") not in _VERSIONS:
            return text_reply("Not Found", 404)
        if not token or token.startswith("invalid"):
            return _refused(403)
        return _refused(402) if token.startswith("spent") else answer(view, request)

    return with_token


def _refused(status: int) -> Response:
    return text_reply(_PLAIN[status], status)


def _charged(payload: Any, messages: int) -> Response:
    return json_reply(payload, headers={"iexcloud-messages-used": str(messages)})


def _quote(view: VendorView, request: Request) -> Response:
    security = listed(view, request.path_params["symbol"])
    if security is None:
        return _refused(404)
    return _charged(_filtered(_quote_of(view, security), request.query_params), 1)


def _price(view: VendorView, request: Request) -> Response:
    security = listed(view, request.path_params["symbol"])
    return _refused(404) if security is None else _charged(_quote_of(view, security)["latestPrice"], 1)


def _ohlc(view: VendorView, request: Request) -> Response:
    security = listed(view, request.path_params["symbol"])
    if security is None:
        return _refused(404)
    regular = view.snapshot(security).regular
    return _charged(
        {
            "open": {"price": regular.open, "time": None},
            "close": {"price": regular.close, "time": _milliseconds(regular.close_time)},
            "high": regular.high,
            "low": regular.low,
            "symbol": security.symbol,
        },
        2,
    )


def _batch(view: VendorView, request: Request) -> Response:
    query = request.query_params
    symbols = [text for text in query.get("symbols", "").split(",") if text]
    types = query.get("types", "").split(",")
    if not symbols or len(symbols) > _MOST_SYMBOLS or not set(types) <= {"quote", "chart", "price"}:
        return _refused(400)
    answer: dict[str, dict[str, Any]] = {}
    for text in symbols:
        security = listed(view, text)
        if security is None:
            continue
        answer[security.symbol] = {kind: _part(view, security, kind, query) for kind in types}
        if None in answer[security.symbol].values():
            return _refused(400)
    return _charged(answer, len(answer) * len(types))


def _part(view: VendorView, security: Security, kind: str, query: Mapping[str, str]) -> Any:
    if kind == "chart":
        return chart_rows(view, security, query.get("range", "1m"), query)
    quote = _quote_of(view, security)
    return quote["latestPrice"] if kind == "price" else _filtered(quote, query)


def _filtered(quote: dict[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    wanted = [name for name in query.get("filter", "").split(",") if name]
    return {name: quote[name] for name in wanted if name in quote} if wanted else quote


def _core_quotes(view: VendorView, request: Request) -> Response:
    found = (listed(view, text) for text in request.path_params["symbols"].split(","))
    quotes = [_quote_of(view, security) | _SOURCES for security in found if security is not None]
    return _charged(quotes, len(quotes))


_SOURCES: Final = {"closeSource": "official", "highSource": "15 minute delayed price", "lowSource": "Close"}


def _quote_of(view: VendorView, security: Security) -> dict[str, Any]:
    seen = view.snapshot(security)
    regular = seen.regular
    running = seen.state is MarketState.OPEN
    change = regular.close - regular.previous_close
    year = view.year_range(security)
    quote = {
        "symbol": security.symbol,
        "companyName": security.name,
        "primaryExchange": _EXCHANGES.get(security.exchange, "NASDAQ"),
        "calculationPrice": "tops" if running else "close",
        "open": regular.open,
        "openTime": None,
        "close": None if running else regular.close,
        "closeTime": None if running else _milliseconds(regular.close_time),
        "high": regular.high,
        "low": regular.low,
        "latestPrice": regular.close,
        "latestSource": "IEX real time price" if running else "Close",
        "latestTime": _shown(regular.close_time, running=running),
        "latestUpdate": _milliseconds(regular.close_time),
        "latestVolume": int(regular.volume),
        **_own(seen, running=running),
        **_delayed_and_extended(seen, running=running),
        "previousClose": regular.previous_close,
        "previousVolume": None,
        "change": round(change, 4),
        "changePercent": round(change / regular.previous_close, 5),
        "volume": int(regular.volume),
        "avgTotalVolume": int(security.liquidity.daily_volume),
        "marketCap": None,
        "peRatio": None,
        "week52High": year.high,
        "week52Low": year.low,
        "ytdChange": 0,
        "lastTradeTime": _milliseconds(regular.close_time),
        "currency": "USD",
        "isUSMarketOpen": running,
    }
    return quote | dict.fromkeys(_WITHHELD) if security.exchange in _NASDAQ else quote


def _own(seen: Snapshot, *, running: bool) -> dict[str, Any]:
    """IEX's own trade and book; zeros stand for none outside the session."""
    regular = seen.regular
    return {
        "iexRealtimePrice": regular.close if running else 0,
        "iexRealtimeSize": 100 if running else 0,
        "iexLastUpdated": _milliseconds(regular.close_time) if running else 0,
        "iexMarketPercent": _OWN_SHARE if running else None,
        "iexVolume": int(regular.volume * _OWN_SHARE),
        "iexBidPrice": seen.bid if running else 0,
        "iexBidSize": 100 if running else 0,
        "iexAskPrice": seen.ask if running else 0,
        "iexAskSize": 100 if running else 0,
    }


def _delayed_and_extended(seen: Snapshot, *, running: bool) -> dict[str, Any]:
    extended = None if running else seen.extended
    change = None if extended is None else extended.price - seen.regular.close
    return {
        "delayedPrice": None,
        "delayedPriceTime": None,
        "oddLotDelayedPrice": None,
        "oddLotDelayedPriceTime": None,
        "extendedPrice": None if extended is None else extended.price,
        "extendedChange": None if change is None else round(change, 4),
        "extendedChangePercent": None if change is None else round(change / seen.regular.close, 5),
        "extendedPriceTime": None if extended is None else _milliseconds(extended.event_time),
    }


def _shown(instant: datetime, *, running: bool) -> str:
    local = instant.astimezone(_ZONE)
    if running:
        return f"{local.hour % 12 or 12}:{local:%M:%S %p}"
    return f"{local:%B} {local.day}, {local.year}"


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def _chart(view: VendorView, request: Request) -> Response:
    security = listed(view, request.path_params["symbol"])
    if security is None:
        return _refused(404)
    span = request.path_params.get("range", "1m")
    if span == "dynamic":
        return _dynamic(view, security)
    rows = chart_rows(view, security, span, request.query_params)
    return _refused(400) if rows is None else _charged(rows, min(50, len(rows)) if span == "1d" else 10 * len(rows))


def _dynamic(view: VendorView, security: Security) -> Response:
    names = ("date", "label", "high", "low", "open", "close", "volume")
    rows = chart_rows(view, security, "1m", {}) or []
    return _charged({"range": "1m", "data": [{name: row[name] for name in names} for row in rows]}, 0)


def _date_chart(view: VendorView, request: Request) -> Response:
    security = listed(view, request.path_params["symbol"])
    if security is None:
        return _refused(404)
    rows = day_of_minutes(view, security, request.path_params["day"], request.query_params)
    return _refused(400) if rows is None else _charged(rows, 2 if len(rows) == 1 else 50)


def _fx_latest(view: VendorView, request: Request) -> Response:
    rows = []
    for text in request.query_params.get("symbols", "").upper().split(","):
        symbol = canonical(text)
        security = None if symbol is None else view.find(symbol)
        if security is None or security.kind != "CURRENCY":
            return _refused(404)
        seen = view.snapshot(security)
        rate = {"symbol": security.symbol, "rate": seen.price, "timestamp": _milliseconds(seen.event_time)}
        rows.append(rate | {"isDerived": False})
    return _charged(rows, len(rows))


def _throttled() -> Response:
    return _refused(429)


def _broken(status: int) -> Response:
    return HTMLResponse(f"<html><head><title>{status}</title></head><body>nginx</body></html>", status)


def _path_symbol(request: Request) -> tuple[str, ...]:
    symbol = canonical(request.path_params["symbol"])
    return () if symbol is None else (symbol,)


def _listed_symbols(request: Request) -> tuple[str, ...]:
    text = request.path_params.get("symbols", request.query_params.get("symbols", ""))
    return tuple(symbol for name in text.split(",") if (symbol := canonical(name)) is not None)


_PATHS: Final[tuple[tuple[str, Answer, SymbolsOf], ...]] = (
    ("/stock/market/batch", _batch, _listed_symbols),
    ("/stock/{symbol}/quote", _quote, _path_symbol),
    ("/stock/{symbol}/price", _price, _path_symbol),
    ("/stock/{symbol}/ohlc", _ohlc, _path_symbol),
    ("/stock/{symbol}/chart", _chart, _path_symbol),
    ("/stock/{symbol}/chart/{range}", _chart, _path_symbol),
    ("/stock/{symbol}/chart/date/{day}", _date_chart, _path_symbol),
    ("/data/core/quote/{symbols}", _core_quotes, _listed_symbols),
    ("/data/CORE/QUOTE/{symbols}", _core_quotes, _listed_symbols),
    ("/fx/latest", _fx_latest, _listed_symbols),
)

IEX_CLOUD: Final = Wire(
    id="iex_cloud",
    endpoints=tuple(
        Endpoint(f"{prefix}{path}", _tokened(answer), symbols)
        for prefix in ("", "/{version}")
        for path, answer, symbols in _PATHS
    ),
    throttled=_throttled,
    broken=_broken,
)
"""IEX Cloud as far as the sandbox speaks it."""
