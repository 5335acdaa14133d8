"""Nasdaq's website API: display strings, sessions as separate blocks, HTTP 200 for almost everything.

`/api/quote/{symbol}/info`, `/api/quote/watchlist` and `/api/quote/{symbol}/historical`. A symbol is known only under
its own asset class; class shares are spelled `BRK%sl%B` (encoded `BRK%25sl%25B`). A call without a User-Agent is
never answered.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.market import Snapshot
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Endpoint, Wire, canonical, json_reply

_ZONE: Final = ZoneInfo("America/New_York")
_CLASSES: Final = {"EQUITY": "stocks", "ETF": "etf", "INDEX": "index", "CRYPTOCURRENCY": "crypto"}
_INDICES: Final = {"NDX": "^NDX", "COMP": "^IXIC"}
_COINS: Final = {"BTC": "BTC-USD", "ETH": "ETH-USD"}
_EXCHANGES: Final = {
    "NMS": "NASDAQ-GS",
    "NGM": "NASDAQ-GM",
    "NCM": "NASDAQ-CM",
    "NYQ": "NYSE",
    "PCX": "PSE",
    "NIM": "Nasdaq",
    "CCC": "",
}
_HISTORY_HEADERS: Final = {
    "date": "Date",
    "close": "Close/Last",
    "volume": "Volume",
    "open": "Open",
    "high": "High",
    "low": "Low",
}


def _info(view: VendorView, request: Request) -> Response:
    security = _find(view, request.path_params["symbol"], request.query_params.get("assetclass", ""))
    if security is None:
        return _unknown()
    seen = view.snapshot(security)
    year = view.year_range(security)
    regular = seen.regular
    data = {
        "symbol": _own_symbol(security),
        "companyName": f"{security.name} Common Stock" if security.kind == "EQUITY" else security.name,
        "stockType": "Common Stock" if security.kind == "EQUITY" else "",
        "exchange": _EXCHANGES[security.exchange],
        "isNasdaqListed": security.exchange in ("NMS", "NGM", "NCM"),
        "isHeld": False,
        "primaryData": _primary(security, seen),
        "secondaryData": _secondary(security, seen),
        "marketStatus": _status(seen),
        "assetClass": _CLASSES[security.kind].upper(),
        "keyStats": {
            "fiftyTwoWeekHighLow": {
                "label": "52 Week Range:",
                "value": f"{_price(year.low, '')} - {_price(year.high, '')}",
            },
            "dayrange": {
                "label": "High/Low:",
                "value": f"{_price(regular.low, '')} - {_price(regular.high, '')}",
            },
        },
    }
    return _envelope(data)


def _watchlist(view: VendorView, request: Request) -> Response:
    rows = [row for text in request.query_params.getlist("symbol") if (row := _watchlist_row(view, text)) is not None]
    return _envelope(rows) if rows else _unknown()


def _watchlist_row(view: VendorView, text: str) -> dict[str, Any] | None:
    name, _, asset_class = text.partition("|")
    security = _find(view, name, asset_class)
    if security is None:
        return None
    seen = view.snapshot(security)
    primary = _primary(security, seen)
    over = seen.state is MarketState.CLOSED
    stamp = seen.event_time.astimezone(_ZONE)
    shown = datetime(stamp.year, stamp.month, stamp.day) if over else stamp.replace(second=0, tzinfo=None)  # noqa: DTZ001 - this field has no zone
    return {
        "symbol": _own_symbol(security),
        "lastSalePrice": primary["lastSalePrice"],
        "netChange": primary["netChange"],
        "percentageChange": primary["percentageChange"],
        "lastTradeTimestamp": primary["lastTradeTimestamp"],
        "lastTradeTimestampDateTime": shown.isoformat(),
        "volume": primary["volume"],
        "previousClosePrice": _reference(seen),
    }


def _historical(view: VendorView, request: Request) -> Response:
    query = request.query_params
    security = _find(view, request.path_params["symbol"], query.get("assetclass", ""))
    if security is None:
        return _unknown()
    today = view.snapshot(security).regular
    try:
        first = date.fromisoformat(query.get("fromdate", (today.day - timedelta(days=31)).isoformat()))
        last = date.fromisoformat(query.get("todate", today.day.isoformat()))
        limit = int(query.get("limit", "10"))
    except ValueError:
        return _refused(1002, "Invalid date or limit.")
    bars = [bar for bar in view.daily_bars(security, max(first, FIRST_DAY), last) if bar.day < today.day or today.over]
    rows = [_history_row(security, bar) for bar in reversed(bars)][: max(limit, 0)]
    table = {"asOf": None, "headers": _HISTORY_HEADERS if rows else None, "rows": rows or None}
    return _envelope({"symbol": _own_symbol(security), "totalRecords": len(bars), "tradesTable": table})


def _history_row(security: Security, bar: Bar) -> dict[str, str]:
    unit = _unit(security)
    return {
        "date": bar.day.strftime("%m/%d/%Y"),
        "close": _price(bar.close, unit),
        "volume": f"{int(bar.volume):,}" if bar.volume else "N/A",
        "open": _price(bar.open, unit),
        "high": _price(bar.high, unit),
        "low": _price(bar.low, unit),
    }


def _primary(security: Security, seen: Snapshot) -> dict[str, Any]:
    """The newest print: of the running session whichever it is, or the official close once all is over."""
    change = seen.price - _reference(seen)
    closed = seen.state is MarketState.CLOSED
    has_book = not closed and security.kind in ("EQUITY", "ETF")
    return {
        "lastSalePrice": _price(seen.price, _unit(security)),
        **_changes(change, _reference(seen)),
        "lastTradeTimestamp": _day_text(seen.event_time) if closed else _minute_text(seen.event_time),
        "isRealTime": not closed,
        "bidPrice": _price(seen.bid, "$") if has_book else "N/A",
        "askPrice": _price(seen.ask, "$") if has_book else "N/A",
        "bidSize": "100" if has_book else "N/A",
        "askSize": "200" if has_book else "N/A",
        "volume": f"{int(_volume(seen)):,}" if seen.regular.volume else "N/A",
    }


def _secondary(security: Security, seen: Snapshot) -> dict[str, Any] | None:
    """The official close, shown while an extended session runs."""
    if seen.state not in (MarketState.PRE, MarketState.POST):
        return None
    regular = seen.regular
    return {
        "lastSalePrice": _price(regular.close, _unit(security)),
        **_changes(regular.close - regular.previous_close, regular.previous_close),
        "lastTradeTimestamp": f"Closed at {_minute_text(regular.close_time)}",
        "isRealTime": False,
        "bidPrice": "",
        "askPrice": "",
        "bidSize": "",
        "askSize": "",
        "volume": "",
    }


def _reference(seen: Snapshot) -> float:
    """What changes are counted from: the official close before the newest print's session."""
    extended = seen.state in (MarketState.PRE, MarketState.POST)
    return seen.regular.close if extended else seen.regular.previous_close


def _volume(seen: Snapshot) -> float:
    return 0.004 * seen.regular.volume if seen.state is MarketState.PRE else seen.regular.volume


def _changes(change: float, reference: float) -> dict[str, str]:
    if round(change, 4) == 0:
        return {"netChange": "UNCH", "percentageChange": "UNCH", "deltaIndicator": "unch"}
    return {
        "netChange": f"{'+' if change > 0 else '-'}{_price(abs(change), '')}",
        "percentageChange": f"{100 * change / reference:+.2f}%",
        "deltaIndicator": "up" if change > 0 else "down",
    }


def _price(value: float, unit: str) -> str:
    """Two decimals, or four where the price has them."""
    decimals = 2 if abs(value * 100 - round(value * 100)) < 1e-4 else 4
    return f"{unit}{value:,.{decimals}f}"


def _unit(security: Security) -> str:
    return "" if security.kind == "INDEX" else "$"


def _minute_text(instant: datetime) -> str:
    local = instant.astimezone(_ZONE)
    return f"{_day_text(instant)} {local.hour % 12 or 12}:{local:%M %p} ET"


def _day_text(instant: datetime) -> str:
    local = instant.astimezone(_ZONE)
    return f"{local:%b} {local.day}, {local.year}"


def _status(seen: Snapshot) -> str:
    names = {MarketState.OPEN: "Open", MarketState.PRE: "Pre-Market", MarketState.POST: "After-Hours"}
    return names.get(seen.state, "Closed")


def _own_symbol(security: Security) -> str:
    named = {symbol: name for name, symbol in (*_INDICES.items(), *_COINS.items())}
    return named.get(security.symbol, security.symbol)


def _read_symbol(text: str, asset_class: str) -> str | None:
    upper = text.strip().upper().replace("%SL%", "/")
    if asset_class == "index":
        return _INDICES.get(upper)
    if asset_class == "crypto":
        return _COINS.get(upper)
    return canonical(upper) if upper[:1].isalpha() else None


def _find(view: VendorView, text: str, asset_class: str) -> Security | None:
    symbol = _read_symbol(text, asset_class.lower())
    security = None if symbol is None else view.find(symbol)
    if security is None or _CLASSES.get(security.kind) != asset_class.lower() or security.exchange == "LSE":
        return None
    return security


def _envelope(data: Any) -> Response:
    status = {"rCode": 200, "bCodeMessage": None, "developerMessage": None}
    return json_reply({"data": data, "message": None, "status": status})


def _unknown() -> Response:
    return _refused(1001, "Symbol not exists.")


def _refused(code: int, message: str) -> Response:
    errors = [{"code": code, "errorMessage": message}]
    status = {"rCode": 400, "bCodeMessage": errors, "developerMessage": None}
    return json_reply({"data": None, "message": None, "status": status})


def _throttled() -> Response:
    page = "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1>Reference #18.0</BODY></HTML>"
    return HTMLResponse(page, 429)


def _broken(status: int) -> Response:
    return HTMLResponse("<html><body>Service unavailable</body></html>", status)


def _path_symbol(request: Request) -> tuple[str, ...]:
    symbol = _read_symbol(request.path_params["symbol"], request.query_params.get("assetclass", "").lower())
    return () if symbol is None else (symbol,)


def _watched(request: Request) -> tuple[str, ...]:
    pairs = (text.partition("|") for text in request.query_params.getlist("symbol"))
    return tuple(symbol for name, _, kind in pairs if (symbol := _read_symbol(name, kind.lower())) is not None)


NASDAQ: Final = Wire(
    id="nasdaq",
    endpoints=(
        Endpoint("/api/quote/watchlist", _watchlist, _watched),
        Endpoint("/api/quote/{symbol}/info", _info, _path_symbol),
        Endpoint("/api/quote/{symbol}/historical", _historical, _path_symbol),
    ),
    throttled=_throttled,
    broken=_broken,
    ignores=lambda request: not request.headers.get("user-agent"),
)
"""Nasdaq's website API as far as the sandbox speaks it."""
