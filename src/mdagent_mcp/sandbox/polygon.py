"""Polygon, which now calls itself Massive: a key on every call, five calls a minute without paying, prices by plan.

Bars, the previous day, whole days of a market and day summaries on every plan; snapshots, the last trade and the last
quote on those that pay for them. The key comes as `Authorization: Bearer K` or `?apiKey=`; see `polygon_tickers` for
the plan it stands for. One that begins with `unknown` is refused.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.sandbox.call_windows import windows_of
from mdagent_mcp.sandbox.polygon_aggregates import aggregates, grouped, market_symbols, open_close, previous_day
from mdagent_mcp.sandbox.polygon_snapshots import last_quote, last_trade, many_snapshots, one_snapshot
from mdagent_mcp.sandbox.polygon_tickers import key_of, plan_of, read_symbol, told
from mdagent_mcp.sandbox.polygon_unified import index_snapshots, market_status, unified_snapshots
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Answer, Endpoint, SymbolsOf, Wire, json_reply, no_symbols

_MINUTE_S: Final = 60
_REQUEST_ID: Final = 32 * "0"
_TOO_MANY: Final = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue. "
    "https://massive.com/pricing"
)


def _keyed(answer: Answer) -> Answer:
    """Ask for a key first, and refuse calls beyond its plan's number."""

    def with_key(view: VendorView, request: Request) -> Response:
        key = key_of(request)
        if not key or key.startswith("unknown"):
            text = "Unknown API Key" if key else "API Key was not provided"
            return told(view, request, {"status": "ERROR", "error": text}, 401)
        most = plan_of(request).calls_a_minute
        minute = int(view.now.timestamp()) // _MINUTE_S
        if most is not None and windows_of(request).count("polygon minute", minute, key) > most:
            return _throttled()
        return answer(view, request)

    return with_key


def _throttled() -> Response:
    return json_reply({"status": "ERROR", "request_id": _REQUEST_ID, "error": _TOO_MANY}, 429)


def _broken(status: int) -> Response:
    return json_reply({"status": "ERROR", "request_id": _REQUEST_ID, "error": "An internal error occurred."}, status)


def _path_symbol(request: Request) -> tuple[str, ...]:
    symbol = read_symbol(request.path_params["ticker"])
    return () if symbol is None else (symbol,)


def _listed_symbols(request: Request) -> tuple[str, ...]:
    query = request.query_params
    named = ",".join(query.get(name, "") for name in ("tickers", "ticker.any_of", "ticker"))
    if not named.strip(","):
        return market_symbols()
    return tuple(symbol for text in named.split(",") if (symbol := read_symbol(text)) is not None)


def _all_symbols(request: Request) -> tuple[str, ...]:
    del request
    return market_symbols()


def _endpoint(path: str, answer: Answer, symbols: SymbolsOf) -> Endpoint:
    return Endpoint(path, _keyed(answer), symbols)


POLYGON: Final = Wire(
    id="polygon",
    endpoints=(
        _endpoint("/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}", aggregates, _path_symbol),
        _endpoint("/v2/aggs/ticker/{ticker}/prev", previous_day, _path_symbol),
        _endpoint("/v2/aggs/grouped/locale/{locale}/market/{market}/{date}", grouped, _all_symbols),
        _endpoint("/v1/open-close/{ticker}/{date}", open_close, _path_symbol),
        _endpoint("/v2/snapshot/locale/{locale}/markets/{market}/tickers", many_snapshots, _listed_symbols),
        _endpoint("/v2/snapshot/locale/{locale}/markets/{market}/tickers/{ticker}", one_snapshot, _path_symbol),
        _endpoint("/v3/snapshot", unified_snapshots, _listed_symbols),
        _endpoint("/v3/snapshot/indices", index_snapshots, _listed_symbols),
        _endpoint("/v2/last/trade/{ticker}", last_trade, _path_symbol),
        _endpoint("/v2/last/nbbo/{ticker}", last_quote, _path_symbol),
        _endpoint("/v1/marketstatus/now", market_status, no_symbols),
    ),
    throttled=_throttled,
    broken=_broken,
)
"""Polygon as far as the sandbox speaks it."""
