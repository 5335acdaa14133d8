"""Finnhub's API: a key on every call, zeros for what is unknown, candles for those who pay.

`/api/v1/quote`, `/api/v1/stock/candle` and `/api/v1/stock/market-status`. The key comes in `X-Finnhub-Token` or as
`?token=`; any key is good, and one that begins with `premium` is entitled to candles. Calls are counted in the
X-Ratelimit headers. A key that begins with `free` gets 60 a minute, one that begins with `premium` 300, and both 30 a
second; calls with any other key are never refused for their number: the `throttle` fault does that.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.domain.calendar import MarketState, calendar_named
from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.call_windows import windows_of
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Answer, Endpoint, Wire, canonical, json_reply

_PAIRS: Final = {
    "BINANCE:BTCUSDT": "BTC-USD",
    "BINANCE:ETHUSDT": "ETH-USD",
    "OANDA:EUR_USD": "EURUSD",
    "OANDA:GBP_USD": "GBPUSD",
}
_INTRADAY_S: Final = {"1": 60, "5": 300, "15": 900, "30": 1800, "60": 3600}
_PREMIUM: Final = "premium"
_UNKNOWN: Final = {"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0}
_LIMIT: Final = 60
_PLANS: Final = {"free": _LIMIT, _PREMIUM: 300}
_PER_SECOND: Final = 30
"""Of every plan."""
_SESSIONS: Final = {
    MarketState.PRE: "pre-market",
    MarketState.OPEN: "regular",
    MarketState.POST: "post-market",
}
_DAY: Final = timedelta(days=1)
_LONGEST_INTRADAY: Final = timedelta(days=31)
"""A call gives a month of minutes, whatever it asks."""


def _key(request: Request) -> str:
    return request.headers.get("x-finnhub-token") or request.query_params.get("token", "")


def _keyed(answer: Answer) -> Answer:
    """Ask for a key first, and say what is left of its minute."""

    def with_key(view: VendorView, request: Request) -> Response:
        key = _key(request)
        if not key:
            return _error(401, "Please use an API key.")
        limit = next((most for plan, most in _PLANS.items() if key.startswith(plan)), None)
        windows, second = windows_of(request), int(view.now.timestamp())
        used = windows.count("finnhub minute", second // 60, key)
        too_fast = windows.count("finnhub second", second, key) > _PER_SECOND
        refused = limit is not None and (used > limit or too_fast)
        response = _throttled() if refused else answer(view, request)
        response.headers["X-Ratelimit-Limit"] = str(limit or _LIMIT)
        response.headers["X-Ratelimit-Remaining"] = str(max(0, (limit or _LIMIT) - used))
        response.headers["X-Ratelimit-Reset"] = str(60 * (second // 60 + 1))
        return response

    return with_key


def _error(status: int, text: str) -> Response:
    return json_reply({"error": text}, status)


def _quote(view: VendorView, request: Request) -> Response:
    symbol = _read_symbol(request)
    security = None if symbol is None else view.find(symbol)
    if security is None:
        return json_reply(_UNKNOWN)
    if security.kind == "INDEX":
        return _error(403, "Market data subscription required for CFD indices.")
    if security.instrument.asset_class is AssetClass.FOREIGN_EQUITY:
        return _error(403, "You don't have access to this resource.")
    regular = view.snapshot(security).regular
    change = regular.close - regular.previous_close
    return json_reply(
        {
            "c": regular.close,
            "d": round(change, 4),
            "dp": round(100 * change / regular.previous_close, 4),
            "h": regular.high,
            "l": regular.low,
            "o": regular.open,
            "pc": regular.previous_close,
            "t": int(regular.close_time.timestamp()),
        }
    )


def _candle(view: VendorView, request: Request) -> Response:
    if not _key(request).startswith(_PREMIUM):
        return _error(403, "You don't have access to this resource.")
    query = request.query_params
    resolution = query.get("resolution", "")
    if resolution not in _INTRADAY_S and resolution not in ("D", "W", "M"):
        return _error(422, "Invalid resolution")
    try:
        first, last = (datetime.fromtimestamp(int(query[name]), UTC) for name in ("from", "to"))
    except (KeyError, ValueError, OverflowError, OSError):
        return _error(422, "Invalid from or to")
    symbol = _read_symbol(request)
    security = None if symbol is None else view.find(symbol)
    if security is None or security.kind == "INDEX":
        return json_reply({"s": "no_data"})
    bars = _bars(view, security, resolution, (max(first, _instant(FIRST_DAY)), min(last, view.now)))
    return json_reply(_columns(bars) if bars else {"s": "no_data"})


def _bars(view: VendorView, security: Security, resolution: str, span: tuple[datetime, datetime]) -> list[Bar]:
    first, last = span
    if resolution in _INTRADAY_S:
        last = min(last, first + _LONGEST_INTRADAY)
        days = ((first - _DAY).date() + n * _DAY for n in range(max(0, (last - first).days + 4)))
        intraday = (bar for day in days for bar in view.intraday_bars(security, day, _INTRADAY_S[resolution]))
        return [bar for bar in intraday if first <= bar.start <= last]
    daily = [bar for bar in view.daily_bars(security, first.date(), last.date()) if first <= bar.start <= last]
    if resolution == "D":
        return daily
    groups = groupby(daily, key=lambda bar: _period_start(bar.day, resolution))
    return [_merged(start, list(members)) for start, members in groups]


def _period_start(day: date, resolution: str) -> date:
    return day - day.weekday() * _DAY if resolution == "W" else day.replace(day=1)


def _merged(start: date, bars: list[Bar]) -> Bar:
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    volume = sum(bar.volume or 0.0 for bar in bars)
    return Bar(_instant(start), bars[0].open, high, low, bars[-1].close, volume)


def _instant(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _columns(bars: list[Bar]) -> dict[str, Any]:
    return {
        "c": [bar.close for bar in bars],
        "h": [bar.high for bar in bars],
        "l": [bar.low for bar in bars],
        "o": [bar.open for bar in bars],
        "s": "ok",
        "t": [int(bar.start.timestamp()) for bar in bars],
        "v": [int(bar.volume or 0) for bar in bars],
    }


def _market_status(view: VendorView, request: Request) -> Response:
    state = calendar_named("XNYS").state_at(view.now)
    return json_reply(
        {
            "exchange": request.query_params.get("exchange", "US"),
            "holiday": None,
            "isOpen": state is MarketState.OPEN,
            "session": _SESSIONS.get(state),
            "t": int(view.now.timestamp()),
            "timezone": "America/New_York",
        }
    )


def _read_symbol(request: Request) -> str | None:
    text = request.query_params.get("symbol", "").strip().upper()
    if text in _PAIRS:
        return _PAIRS[text]
    symbol = canonical(text)
    return symbol if symbol == text and symbol not in _PAIRS.values() else None


def _symbols(request: Request) -> tuple[str, ...]:
    symbol = _read_symbol(request)
    return () if symbol is None else (symbol,)


def _throttled() -> Response:
    return _error(429, "API limit reached. Please try again later. Remaining Limit: 0")


def _broken(status: int) -> Response:
    return _error(status, "Internal error")


FINNHUB: Final = Wire(
    id="finnhub",
    endpoints=(
        Endpoint("/api/v1/quote", _keyed(_quote), _symbols),
        Endpoint("/api/v1/stock/candle", _keyed(_candle), _symbols),
        Endpoint("/api/v1/stock/market-status", _keyed(_market_status)),
    ),
    throttled=_throttled,
    broken=_broken,
)
"""Finnhub as far as the sandbox speaks it."""
