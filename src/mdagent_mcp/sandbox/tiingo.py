"""Tiingo's API: a token on every call, an hourly and a daily allocation, symbols with a hyphen, no indices.

`/iex/` (all, a list or one), `/iex/{ticker}/prices`, `/tiingo/daily/{ticker}` with its `/prices`, and
`/tiingo/crypto/top` and `/prices`. The token comes as `Authorization: Token K` or as `?token=`. Any token is one of the
free plan; one that begins with `invalid` is refused, with `power` it has the larger allocation, with `licensed` also
the agreement with IEX that shows its book. Beyond the allocation calls are refused in the vendor's words.
"""

from __future__ import annotations

from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.sandbox.call_windows import windows_of
from mdagent_mcp.sandbox.market import Snapshot
from mdagent_mcp.sandbox.tiingo_bars import (
    crypto_prices,
    daily_prices,
    describe,
    intraday_prices,
    own_ticker,
    read_pairs,
    read_ticker,
    refused,
    tradable,
)
from mdagent_mcp.sandbox.universe import Security, securities
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Answer, Endpoint, SymbolsOf, Wire, json_reply

_ZONE: Final = ZoneInfo("America/New_York")
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_FREE: Final = (50, 1_000)
_POWER: Final = (10_000, 100_000)
"""Calls an hour and a day."""
_MONTHLY_SYMBOLS: Final = 500
_MONTHLY_TEXT: Final = (
    f"Error: You have run over your {_MONTHLY_SYMBOLS} symbol look up for this month. "
    "Please upgrade at https://api.tiingo.com/pricing to have your limits increased."
)
_OWN_SHARE: Final = 0.02
"""Of the market's volume that is traded at IEX."""


def _token(request: Request) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "token" else request.query_params.get("token", "")


def _is_licensed(request: Request) -> bool:
    return _token(request).startswith("licensed")


def _metered(answer: Answer, symbols: SymbolsOf) -> Answer:
    """Ask for a token first, and refuse calls beyond its allocation."""

    def with_token(view: VendorView, request: Request) -> Response:
        token = _token(request)
        if not token:
            return refused(401, "Please supply a token")
        if token.startswith("invalid"):
            return refused(403, "Invalid token.")
        return _over_allocation(view, request, token, symbols(request)) or answer(view, request)

    return with_token


def _over_allocation(view: VendorView, request: Request, token: str, symbols: tuple[str, ...]) -> Response | None:
    hourly, daily = _POWER if token.startswith(("power", "licensed")) else _FREE
    windows = windows_of(request)
    now = int(view.now.timestamp())
    used_today = windows.count("tiingo day", now // _DAY_S, token)
    if windows.count("tiingo hour", now // _HOUR_S, token) > hourly:
        return _throttled()
    if used_today > daily:
        return refused(429, "Error: You have run over your daily request allocation.")
    month = 12 * view.now.year + view.now.month
    if hourly == _FREE[0] and windows.distinct("tiingo month", month, token, symbols) > _MONTHLY_SYMBOLS:
        return PlainTextResponse(_MONTHLY_TEXT)
    return None


def _top(view: VendorView, request: Request) -> Response:
    listed = request.path_params.get("ticker", request.query_params.get("tickers", ""))
    tickers = listed.split(",") if listed else [own_ticker(security) for security in securities().values()]
    rows = (_row(view, request, security) for text in tickers if (security := tradable(view, text)) is not None)
    return json_reply(list(rows))


def _row(view: VendorView, request: Request, security: Security) -> dict[str, Any]:
    seen = view.snapshot(security)
    running = seen.state in (MarketState.PRE, MarketState.OPEN)
    if not running:
        return _row_after_close(security, seen)
    return _licensed_row(view, security, seen) if _is_licensed(request) else _reference_row(view, security, seen)


def _row_after_close(security: Security, seen: Snapshot) -> dict[str, Any]:
    """The official close, its instant thrice, and the whole market's volume; no book."""
    regular = seen.regular
    stamp = regular.close_time.isoformat(timespec="seconds")
    return {
        "ticker": own_ticker(security),
        "timestamp": stamp,
        "lastSaleTimestamp": stamp,
        "quoteTimestamp": stamp,
        "open": regular.open,
        "high": regular.high,
        "low": regular.low,
        "mid": None,
        "tngoLast": regular.close,
        "last": regular.close,
        "lastSize": None,
        "bidSize": None,
        "bidPrice": None,
        "askPrice": None,
        "askSize": None,
        "prevClose": regular.previous_close,
        "volume": int(regular.volume),
    }


def _reference_row(view: VendorView, security: Security, seen: Snapshot) -> dict[str, Any]:
    """What a customer without an agreement with IEX sees: a derived price and no book."""
    return {
        "ticker": own_ticker(security),
        "timestamp": _stamp(view, seen),
        "tngoLast": seen.price,
        **_figures(seen),
        "mid": round((seen.bid + seen.ask) / 2, 4),
        "bidPrice": None,
        "askPrice": None,
        "bidSize": None,
        "askSize": None,
    }


def _licensed_row(view: VendorView, security: Security, seen: Snapshot) -> dict[str, Any]:
    """The top of IEX's own book, which is far wider than the market's."""
    stamp = _stamp(view, seen)
    drawn = view.noise.uniform("tiingo", security.symbol, "book", int(seen.event_time.timestamp()))
    bid, ask = round(seen.bid * (1 - 0.02 * drawn), 2), round(seen.ask * (1.001 + 0.02 * (1 - drawn)), 2)
    return {
        "ticker": own_ticker(security),
        "timestamp": stamp,
        "lastSaleTimestamp": stamp,
        "quoteTimestamp": stamp,
        **_figures(seen),
        "mid": round((bid + ask) / 2, 4),
        "tngoLast": seen.price,
        "last": seen.price,
        "lastSize": 1 + int(200 * drawn),
        "bidSize": 100 * (1 + int(5 * drawn)),
        "bidPrice": bid,
        "askPrice": ask,
        "askSize": 100,
    }


def _figures(seen: Snapshot) -> dict[str, Any]:
    """Of the running session; before the open still of the one before."""
    regular = seen.regular
    return {
        "open": regular.open,
        "high": regular.high,
        "low": regular.low,
        "volume": int(regular.volume * _OWN_SHARE),
        "prevClose": regular.previous_close,
    }


def _stamp(view: VendorView, seen: Snapshot) -> str:
    """New York time to the nanosecond."""
    local = seen.event_time.astimezone(_ZONE)
    drawn = view.noise.number("tiingo", seen.symbol, "nanoseconds", int(seen.event_time.timestamp())) % 1000
    return f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond:06}{drawn:03}{local:%z}"[:-2] + ":00"


def _crypto_top(view: VendorView, request: Request) -> Response:
    pairs = request.query_params.get("tickers", "btcusd,ethusd")
    rows = []
    for pair, security in read_pairs(view, pairs):
        seen = view.snapshot(security)
        stamp = seen.event_time.isoformat(timespec="microseconds")
        top = {
            "askExchange": "GDAX",
            "askPrice": seen.ask,
            "askSize": 0.25,
            "bidExchange": "KRAKEN",
            "bidPrice": seen.bid,
            "bidSize": 0.5,
            "lastExchange": "GDAX",
            "lastPrice": seen.price,
            "lastSaleTimestamp": stamp,
            "lastSize": 0.0125,
            "lastSizeNotional": round(0.0125 * seen.price, 8),
            "quoteTimestamp": stamp,
        }
        rows.append({"ticker": pair, "baseCurrency": pair[:-3], "quoteCurrency": pair[-3:], "topOfBookData": [top]})
    return json_reply(rows)


def _throttled() -> Response:
    return refused(429, "Error: You have run over your hourly request allocation.")


def _broken(status: int) -> Response:
    return HTMLResponse(f"<h1>Server Error ({status})</h1>", status)


def _path_symbol(request: Request) -> tuple[str, ...]:
    symbol = read_ticker(request.path_params["ticker"])
    return () if symbol is None else (symbol,)


def _listed_symbols(request: Request) -> tuple[str, ...]:
    tickers = request.query_params.get("tickers", "")
    if not tickers:
        return tuple(securities())
    return tuple(symbol for text in tickers.split(",") if (symbol := read_ticker(text)) is not None)


def _pair_symbols(request: Request) -> tuple[str, ...]:
    tickers = request.query_params.get("tickers", "").lower().split(",")
    return tuple(f"{pair[:-3]}-{pair[-3:]}".upper() for pair in tickers if len(pair) > 5)


def _endpoint(path: str, answer: Answer, symbols: SymbolsOf) -> Endpoint:
    return Endpoint(path, _metered(answer, symbols), symbols)


TIINGO: Final = Wire(
    id="tiingo",
    endpoints=(
        _endpoint("/iex", _top, _listed_symbols),
        _endpoint("/iex/", _top, _listed_symbols),
        _endpoint("/iex/{ticker}", _top, _path_symbol),
        _endpoint("/iex/{ticker}/prices", intraday_prices, _path_symbol),
        _endpoint("/tiingo/daily/{ticker}", describe, _path_symbol),
        _endpoint("/tiingo/daily/{ticker}/prices", daily_prices, _path_symbol),
        _endpoint("/tiingo/crypto/top", _crypto_top, _pair_symbols),
        _endpoint("/tiingo/crypto/prices", crypto_prices, _pair_symbols),
    ),
    throttled=_throttled,
    broken=_broken,
)
"""Tiingo as far as the sandbox speaks it."""
