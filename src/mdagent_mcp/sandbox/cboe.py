"""Cboe's delayed-quote files: fifteen minutes late, one venue, with the traps of the real ones.

`quotes/{symbol}.json`, `charts/historical/{symbol}.json` and `charts/intraday/{symbol}.json` below
`/api/global/delayed_quotes`. Indices are `_SPX`-like. What is unknown is 403 with XML.

The traps: after the session `current_price` is the venue's own last print while `close` is official,
`prev_day_close` has rolled to that close and the percent divides by it; a company that is gone is all zeros; `_TNX`
is a yield times ten without a range; the daily file lacks the newest session until the next morning; minutes without
a print are zeros with volume.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.process import previous_day
from mdagent_mcp.sandbox.universe import DELISTED, FIRST_DAY, Security, known_security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Endpoint, Wire, canonical, json_reply

_ZONE: Final = ZoneInfo("America/New_York")
_INDICES: Final = {"_SPX": "^GSPC", "_NDX": "^NDX", "_VIX": "^VIX", "_RUT": "^RUT", "_TNX": "^TNX"}
_NAMES: Final = {symbol: name for name, symbol in _INDICES.items()}
_YIELD: Final = "^TNX"
_HEADERS: Final = {"Cache-Control": "max-age=0, s-maxage=5"}
_HISTORY_READY: Final = time(11, 0, 17)
"""When the newest session reaches the daily file, UTC, the morning after."""
_VENUE_SHARE: Final = (0.42, 0.54)
_SILENT_MINUTE_CHANCE: Final = 1 / 80
_DAY: Final = timedelta(days=1)


def _quote(view: VendorView, request: Request) -> Response:
    symbol = _read_symbol(request)
    security = None if symbol is None else view.find(symbol)
    if security is None:
        gone = symbol is not None and view.is_delisted(symbol)
        return _reply(view, DELISTED, _zeros()) if gone else _forbidden()
    data = _yield(view, security) if security.symbol == _YIELD else _numbers(view, security)
    return _reply(view, _file_name(security), data)


def _reply(view: VendorView, name: str, data: Any) -> Response:
    stamp = view.now.strftime("%Y-%m-%d %H:%M:%S")
    return json_reply({"timestamp": stamp, "data": data, "symbol": name}, headers=_HEADERS)


def _numbers(view: VendorView, security: Security) -> dict[str, Any]:
    seen = view.snapshot(security)
    regular = seen.regular
    current, traded = regular.close, regular.close_time
    previous_close = regular.previous_close
    change = regular.close - regular.previous_close
    if regular.over:
        previous_close = regular.close
        if security.kind != "INDEX":
            current, traded = view.last_own_print(security, regular.day)
    is_stock = security.kind != "INDEX"
    return {
        "symbol": f"^{_file_name(security)[1:]}" if not is_stock else security.symbol,
        "security_type": "stock" if is_stock else "index",
        "exchange_id": 2 if is_stock else 5,
        "current_price": round(current, 4),
        "price_change": round(change, 4),
        "price_change_percent": round(100 * change / previous_close, 4),
        "bid": seen.bid if is_stock else 0.0,
        "ask": seen.ask if is_stock else 0.0,
        "bid_size": 40 if is_stock else 0,
        "ask_size": 960 if is_stock else 0,
        "open": regular.open,
        "high": regular.high,
        "low": regular.low,
        "close": round(regular.close, 4),
        "prev_day_close": round(previous_close, 4),
        "volume": int(regular.volume * _share(view, security, regular.day)),
        **_options(view, security),
        "last_trade_time": traded.astimezone(_ZONE).strftime("%Y-%m-%dT%H:%M:%S"),
        "tick": "up" if change > 0 else "down",
    }


def _options(view: VendorView, security: Security) -> dict[str, Any]:
    return {
        "iv30": round(15 + 40 * view.noise.uniform("iv30", security.symbol, view.now.date()), 3),
        "iv30_change": 0.0,
        "iv30_change_percent": 0.0,
        "seqno": view.noise.number("seqno", security.symbol, view.now) % 10**11,
    }


def _yield(view: VendorView, security: Security) -> dict[str, Any]:
    """A yield is shown times ten, dated and without a range."""
    regular = view.snapshot(security).regular
    value = round(10 * regular.close, 2)
    midnight = datetime.combine(regular.day, time(0), _ZONE)
    return {
        **_numbers(view, security),
        "current_price": value,
        "price_change": 0.0,
        "price_change_percent": 0.0,
        "open": 0.0,
        "high": 0.0,
        "low": 0.0,
        "close": value,
        "prev_day_close": value,
        "volume": 0,
        "last_trade_time": midnight.isoformat(),
    }


def _zeros() -> dict[str, Any]:
    counts = dict.fromkeys(("bid_size", "ask_size", "volume", "seqno"), 0)
    prices = (
        "current_price price_change price_change_percent bid ask open high low close prev_day_close "
        "iv30 iv30_change iv30_change_percent"
    )
    return {
        "symbol": DELISTED,
        "security_type": "stock",
        "exchange_id": 2,
        **dict.fromkeys(prices.split(), 0.0),
        **counts,
        "last_trade_time": "2000-01-01T00:00:00",
        "tick": "no_change",
    }


def _historical(view: VendorView, request: Request) -> Response:
    symbol = _read_symbol(request)
    security = None if symbol is None else view.find(symbol)
    if security is None:
        return _forbidden()
    bars = view.daily_bars(security, FIRST_DAY, _newest_day(view, security))
    rows = [_history_row(view, security, bar) for bar in bars]
    payload = {"timestamp": _HISTORY_READY.isoformat(), "data": rows, "symbol": _file_name(security)}
    return json_reply(payload, headers=_HEADERS)


def _newest_day(view: VendorView, security: Security) -> date:
    """The newest session of the daily file: it arrives the morning after."""
    day = view.snapshot(security).regular.day
    while datetime.combine(day + _DAY, _HISTORY_READY, UTC) > view.now:
        day = previous_day(security, day)
    return day


def _history_row(view: VendorView, security: Security, bar: Bar) -> dict[str, Any]:
    opened = bar.open * (1 + 4e-4 * view.noise.normal("cboe open", security.symbol, bar.day))
    prices = {"open": min(max(opened, bar.low), bar.high), "high": bar.high, "low": bar.low, "close": bar.close}
    row: dict[str, Any] = {"date": bar.day.isoformat()}
    if security.kind == "INDEX":
        return row | {"volume": "0.0"} | {name: f"{price:.6f}" for name, price in prices.items()}
    volume = int((bar.volume or 0.0) * _share(view, security, bar.day))
    return row | {"volume": volume} | {name: round(price, 2) for name, price in prices.items()}


def _intraday(view: VendorView, request: Request) -> Response:
    symbol = _read_symbol(request)
    security = None if symbol is None else view.find(symbol)
    if security is None:
        return _forbidden()
    day = view.snapshot(security).regular.day
    known = view.seen_at(security)
    bars = (bar for bar in view.intraday_bars(security, day, 60) if bar.start + timedelta(minutes=1) <= known)
    rows = [_intraday_row(view, security, bar) for bar in bars]
    return _reply(view, _file_name(security), rows)


def _intraday_row(view: VendorView, security: Security, bar: Bar) -> dict[str, Any]:
    end = (bar.start + timedelta(minutes=1)).astimezone(_ZONE)
    silent = view.noise.uniform("cboe silent", security.symbol, bar.start) < _SILENT_MINUTE_CHANCE
    prices = {"open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close}
    volume = int((bar.volume or 0.0) * _share(view, security, bar.day))
    return {
        "datetime": end.strftime("%Y-%m-%dT%H:%M:%S"),
        "price": dict.fromkeys(prices, 0.0) if silent else prices,
        "volume": {"stock_volume": volume, "calls_volume": 0, "puts_volume": 0, "total_options_volume": 0},
    }


def _share(view: VendorView, security: Security, day: date) -> float:
    least, most = _VENUE_SHARE
    return least + (most - least) * view.noise.uniform("cboe share", security.symbol, day)


def _read_symbol(request: Request) -> str | None:
    """The canonical symbol of a file name; None for anything but a US listing or one of the indices."""
    name, _, extension = request.path_params["file"].rpartition(".")
    if extension != "json":
        return None
    if name.startswith("_"):
        return _INDICES.get(name)
    symbol = canonical(name)
    return symbol if symbol == name and name[:1].isalpha() and _is_us_listing(name) else None


def _is_us_listing(symbol: str) -> bool:
    try:
        return known_security(symbol).has_extended_hours
    except LookupError:
        return False


def _file_name(security: Security) -> str:
    return _NAMES.get(security.symbol, security.symbol)


def _forbidden() -> Response:
    return Response(_xml("AccessDenied", "Access Denied"), 403, _HEADERS, "application/xml")


def _xml(code: str, message: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'


def _throttled() -> Response:
    return Response("error code: 1015", 429, media_type="text/plain")


def _broken(status: int) -> Response:
    return Response(_xml("ServiceUnavailable", "Please try again"), status, media_type="application/xml")


def _symbols(request: Request) -> tuple[str, ...]:
    symbol = _read_symbol(request)
    return () if symbol is None else (symbol,)


CBOE: Final = Wire(
    id="cboe",
    endpoints=(
        Endpoint("/api/global/delayed_quotes/quotes/{file}", _quote, _symbols),
        Endpoint("/api/global/delayed_quotes/charts/historical/{file}", _historical, _symbols),
        Endpoint("/api/global/delayed_quotes/charts/intraday/{file}", _intraday, _symbols),
    ),
    throttled=_throttled,
    broken=_broken,
)
"""Cboe's delayed quotes as far as the sandbox speaks them."""
