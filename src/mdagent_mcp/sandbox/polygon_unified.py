"""Polygon's snapshots of the third version: all asset classes in one list, with errors in place of what is not there.

Without a `limit` it is ten, whatever number of tickers is named; at most it is 250. Times are nanoseconds.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.domain.calendar import MarketState, calendar_named
from mdagent_mcp.sandbox.market import Snapshot
from mdagent_mcp.sandbox.polygon_aggregates import day_bar
from mdagent_mcp.sandbox.polygon_bars import volume_of
from mdagent_mcp.sandbox.polygon_snapshots import (
    book_of,
    has_opened,
    newest_price,
    newest_time,
    precise,
    previous_day_of,
    shown_day,
)
from mdagent_mcp.sandbox.polygon_tickers import (
    NEW_YORK,
    NOT_ENTITLED,
    PolygonPlan,
    asset_class,
    find,
    mistaken,
    plan_of,
    seen_with,
    ticker_of,
    told,
    told_bare,
    unauthorized,
)
from mdagent_mcp.sandbox.universe import Security, securities
from mdagent_mcp.sandbox.venues import VendorView

_USUAL_LIMIT: Final = 10
_MOST: Final = 250
_STATES: Final = {
    MarketState.PRE: "early_trading",
    MarketState.OPEN: "open",
    MarketState.POST: "late_trading",
}
_EXCHANGES: Final = {MarketState.OPEN: "open", MarketState.PRE: "extended-hours", MarketState.POST: "extended-hours"}


def unified_snapshots(view: VendorView, request: Request) -> Response:
    """`/v3/snapshot`: of any tickers."""
    return _snapshots(view, request, only=None)


def index_snapshots(view: VendorView, request: Request) -> Response:
    """`/v3/snapshot/indices`: of indices alone."""
    return _snapshots(view, request, only="indices")


def _snapshots(view: VendorView, request: Request, only: str | None) -> Response:
    plan = plan_of(request)
    if not plan.snapshots or (plan.stocks_only and only is not None):
        return unauthorized(view, request, NOT_ENTITLED)
    query = request.query_params
    named = query.get("ticker.any_of", query.get("ticker", ""))
    tickers = named.split(",") if named else sorted(ticker_of(security) for security in securities().values())
    if len(tickers) > _MOST and named:
        return mistaken(view, request, f"ticker.any_of may name at most {_MOST} tickers")
    limit = query.get("limit", "")
    shown = min(int(limit), _MOST) if limit.isdecimal() and int(limit) > 0 else _USUAL_LIMIT
    wanted = only or query.get("type")
    items = [_item(seen_with(view, plan), ticker, plan, wanted) for ticker in sorted(set(tickers))[:shown]]
    return told(view, request, {"results": items, "status": plan.status})


def _item(view: VendorView, ticker: str, plan: PolygonPlan, wanted: str | None) -> dict[str, Any]:
    security = find(view, ticker)
    if security is None or wanted not in (None, asset_class(security)):
        return {"ticker": ticker, "error": "NOT_FOUND", "message": "Ticker not found."}
    if plan.stocks_only and asset_class(security) != "stocks":
        return {"ticker": ticker, "error": "NOT_ENTITLED", "message": "Not entitled to this ticker."}
    seen = view.snapshot(security)
    item = {
        "ticker": ticker_of(security),
        "type": asset_class(security),
        "name": security.name,
        "market_status": _STATES.get(seen.state, "closed"),
        "timeframe": plan.timeframe,
        "last_updated": precise(view, security, newest_time(seen)),
        "session": _session(view, security, seen),
    }
    if security.kind == "INDEX":
        return item | {"value": seen.price}
    return item | _newest(view, security, plan, seen)


def _newest(view: VendorView, security: Security, plan: PolygonPlan, seen: Snapshot) -> dict[str, Any]:
    """The last trade and the last quote, as far as the plan and the asset class have them."""
    at, own = precise(view, security, newest_time(seen)), asset_class(security)
    common = {"timeframe": plan.timeframe, "last_updated": at}
    found: dict[str, Any] = {}
    if own == "crypto" or (own == "stocks" and plan.trades):
        price = {"price": newest_price(seen), "size": 100 if own == "stocks" else 0.0125}
        found["last_trade"] = {"conditions": [12], "exchange": 4, "id": "4064", **price, **common}
    if own == "fx" or (own == "stocks" and plan.quotes):
        bid, ask = book_of(seen)
        sizes = {} if own == "fx" else {"bid_size": 3, "ask_size": 5, "bid_exchange": 11, "ask_exchange": 12}
        middle = round((bid + ask) / 2, 6)
        found["last_quote"] = {"bid": bid, "ask": ask, "midpoint": middle, **sizes, **common}
    return found


def _session(view: VendorView, security: Security, seen: Snapshot) -> dict[str, Any]:
    """The day shown; prices of the session only once it has begun."""
    previous = day_bar(view, security, previous_day_of(view, security))
    base = seen.regular.previous_close if previous is None else previous.close
    shown = shown_day(view, security)
    change = 0.0 if shown is None else newest_price(seen) - base
    numbers = {
        "price": newest_price(seen),
        "change": round(change, 6),
        "change_percent": round(100 * change / base, 6),
        "previous_close": base,
    }
    today = day_bar(view, security, shown) if shown is not None and has_opened(view, security) else None
    if today is None:
        early = {"early_trading_change": numbers["change"], "early_trading_change_percent": numbers["change_percent"]}
        return numbers | (early if security.has_extended_hours and shown is not None else {})
    numbers |= {"open": today.open, "high": today.high, "low": today.low, "close": today.close}
    if security.kind == "INDEX":
        del numbers["price"]
        return numbers
    if security.has_extended_hours:
        numbers |= _parts(seen, base)
    return numbers | {"volume": volume_of(view, security, today)}


def _parts(seen: Snapshot, base: float) -> dict[str, float]:
    close = seen.regular.close
    parts = {
        "regular_trading_change": round(close - base, 6),
        "regular_trading_change_percent": round(100 * (close - base) / base, 6),
    }
    if seen.extended is not None:
        late = seen.extended.price - close
        parts["late_trading_change"] = round(late, 6)
        parts["late_trading_change_percent"] = round(100 * late / close, 6)
    return parts


def market_status(view: VendorView, request: Request) -> Response:
    """`/v1/marketstatus/now`: on every plan."""
    state = calendar_named("XNYS").state_at(view.now)
    stocks = _EXCHANGES.get(state, "closed")
    forex = "open" if calendar_named("24/5").state_at(view.now) is MarketState.OPEN else "closed"
    indices = "open" if state is MarketState.OPEN else "closed"
    body = {
        "afterHours": state is MarketState.POST,
        "currencies": {"crypto": "open", "fx": forex},
        "earlyHours": state is MarketState.PRE,
        "exchanges": {"nasdaq": stocks, "nyse": stocks, "otc": "open" if state is MarketState.OPEN else "closed"},
        "indicesGroups": {"s_and_p": indices, "dow_jones": indices, "nasdaq": indices},
        "market": stocks,
        "serverTime": view.now.astimezone(NEW_YORK).isoformat(timespec="seconds"),
    }
    return told_bare(view, request, body)
