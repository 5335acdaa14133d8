"""Polygon's snapshots of the second version, its last trade and its last quote.

Numbers of a day are cleared at half past three in New York and come again with the first trade. Stocks are timed in
nanoseconds, crypto and forex in milliseconds; `updated` of those two is no time of any price. What of the last trade
and the last quote is shown depends on the plan.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.market import Snapshot
from mdagent_mcp.sandbox.polygon_aggregates import day_bar, last_day
from mdagent_mcp.sandbox.polygon_bars import average_of, gathered, midnight, volume_of, written
from mdagent_mcp.sandbox.polygon_tickers import (
    NEW_YORK,
    NOT_ENTITLED,
    PolygonPlan,
    asset_class,
    find,
    milliseconds,
    nanoseconds,
    not_found,
    plan_of,
    seen_with,
    ticker_of,
    told,
    told_bare,
    unauthorized,
)
from mdagent_mcp.sandbox.universe import Security, securities
from mdagent_mcp.sandbox.venues import VendorView

_CLEARED: Final = time(3, 30)
_MINUTE: Final = timedelta(minutes=1)
_NOTHING: Final = {"c": 0, "h": 0, "l": 0, "o": 0, "v": 0, "vw": 0}
_MARKETS: Final = {"stocks": "stocks", "crypto": "crypto", "forex": "fx"}
_NO_TICKER: Final = "Ticker not found."


def one_snapshot(view: VendorView, request: Request) -> Response:
    """`/v2/snapshot/locale/{locale}/markets/{market}/tickers/{ticker}`."""
    market = _MARKETS.get(request.path_params["market"])
    plan, seen = plan_of(request), seen_with(view, plan_of(request))
    if _is_refused(plan, market):
        return unauthorized(view, request, NOT_ENTITLED)
    security = find(seen, request.path_params["ticker"])
    if security is None or asset_class(security) != market:
        return not_found(view, request, _NO_TICKER)
    return told(view, request, {"status": plan.status, "ticker": snapshot_of(seen, security, plan)})


def many_snapshots(view: VendorView, request: Request) -> Response:
    """The same of several, or of a whole market; what is unknown is left out."""
    market = _MARKETS.get(request.path_params["market"])
    plan, seen = plan_of(request), seen_with(view, plan_of(request))
    if _is_refused(plan, market):
        return unauthorized(view, request, NOT_ENTITLED)
    listed = request.query_params.get("tickers", "")
    tickers = listed.split(",") if listed else [ticker_of(security) for security in securities().values()]
    found = (find(seen, ticker) for ticker in tickers)
    rows = [snapshot_of(seen, s, plan) for s in found if s is not None and asset_class(s) == market]
    return told_bare(view, request, {"status": plan.status, "count": len(rows), "tickers": rows})


def _is_refused(plan: PolygonPlan, market: str | None) -> bool:
    return not plan.snapshots or market is None or (plan.stocks_only and market != "stocks")


def snapshot_of(view: VendorView, security: Security, plan: PolygonPlan) -> dict[str, Any]:
    """The numbers of one ticker."""
    seen = view.snapshot(security)
    previous = day_bar(view, security, previous_day_of(view, security))
    base = seen.regular.previous_close if previous is None else previous.close
    today = _today(view, security)
    price = newest_price(seen)
    quiet = today is None and _minute_of(view, security) is None
    change = 0.0 if quiet else price - base
    common = {
        "ticker": ticker_of(security),
        "todaysChange": round(change, 6),
        "todaysChangePerc": round(100 * change / base, 6),
        "day": _NOTHING if today is None else _running(view, security, today),
        "prevDay": _NOTHING if previous is None else _numbers(view, security, previous),
        "min": _minute(view, security, seen),
    }
    if security.kind == "CURRENCY":
        return common | {"updated": _end_of_new_york_day(view), "lastQuote": _forex_quote(seen)}
    if security.kind == "CRYPTOCURRENCY":
        return common | {"updated": _end_of_new_york_day(view), "lastTrade": _crypto_trade(view, seen)}
    common["updated"] = precise(view, security, newest_time(seen))
    if plan.trades:
        common["lastTrade"] = _trade(view, security, seen)
    if plan.quotes:
        common["lastQuote"] = _quote(view, security, seen)
    return common


def newest_price(seen: Snapshot) -> float:
    """That of the newest trade, the ones outside the session included."""
    return seen.regular.close if seen.extended is None else seen.extended.price


def newest_time(seen: Snapshot) -> datetime:
    """When it was."""
    return seen.regular.close_time if seen.extended is None else seen.extended.event_time


def shown_day(view: VendorView, security: Security) -> date | None:
    """The day whose numbers are shown; None after they were cleared and before the first trade."""
    at = view.seen_at(security)
    if security.kind in ("CRYPTOCURRENCY", "CURRENCY"):
        day = at.date()
        return day if security.kind == "CRYPTOCURRENCY" or day_bar(view, security, day) is not None else None
    local = at.astimezone(NEW_YORK)
    day = local.date() if local.time() >= _CLEARED else local.date() - timedelta(days=1)
    session = calendar_named(security.instrument.calendar).session_on(day)
    return None if session is None or at < session.pre_open else day


def previous_day_of(view: VendorView, security: Security) -> date:
    """The day before the one shown, with trading."""
    shown = shown_day(view, security)
    if shown is None or security.kind in ("CRYPTOCURRENCY", "CURRENCY"):
        return last_day(view, security)
    before = calendar_named(security.instrument.calendar).latest_completed(midnight(security, shown))
    return shown if before is None else before.day


def has_opened(view: VendorView, security: Security) -> bool:
    """Whether the session of the day shown has begun."""
    shown = shown_day(view, security)
    if shown is None:
        return False
    session = calendar_named(security.instrument.calendar).session_on(shown)
    return session is None or view.seen_at(security) >= session.open


def _today(view: VendorView, security: Security) -> Bar | None:
    shown = shown_day(view, security)
    if shown is None or not has_opened(view, security):
        return None
    return day_bar(view, security, shown)


def _minute_of(view: VendorView, security: Security) -> Bar | None:
    """The newest minute of the day shown; None when it is quiet."""
    shown = shown_day(view, security)
    if shown is None:
        return None
    at = view.seen_at(security)
    days = (shown + timedelta(days=1), shown) if security.kind == "CURRENCY" else (shown,)
    for day in days:
        bars = view.intraday_bars(security, day, 60, extended=True)
        if bars and bars[0].start <= at:
            return bars[-1]
    return None


def _minute(view: VendorView, security: Security, seen: Snapshot) -> dict[str, Any]:
    bar = _minute_of(view, security)
    if bar is None:
        return {"av": 0, **_NOTHING, "t": 0, "n": 0} if asset_class(security) == "stocks" else {**_NOTHING, "t": 0}
    row = written(view, security, gathered(bar.start, [bar]))
    if asset_class(security) != "stocks":
        return row | {"vw": 0}
    accumulated = int(seen.regular.volume) if has_opened(view, security) else row["v"]
    return row | {"av": accumulated, "dav": f"{accumulated:.1f}", "dv": f"{row['v']:.1f}"}


def _numbers(view: VendorView, security: Security, bar: Bar) -> dict[str, Any]:
    prices = {"o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": volume_of(view, security, bar)}
    if asset_class(security) != "stocks":
        return prices | {"vw": 0}
    return prices | {"vw": average_of(bar)}


def _running(view: VendorView, security: Security, bar: Bar) -> dict[str, Any]:
    """The day shown: of stocks with its volume as a decimal besides."""
    numbers = _numbers(view, security, bar)
    return numbers | {"dv": f"{numbers['v']:.1f}"} if asset_class(security) == "stocks" else numbers


def precise(view: VendorView, security: Security, instant: datetime) -> int:
    """Nanoseconds, with some below the microsecond."""
    drawn = view.noise.number("polygon", security.symbol, "nanoseconds", int(instant.timestamp())) % 1000
    return nanoseconds(instant) + drawn


def _drawn(view: VendorView, security: Security, instant: datetime) -> int:
    return view.noise.number("polygon", security.symbol, "trade", int(instant.timestamp()))


def _trade(view: VendorView, security: Security, seen: Snapshot) -> dict[str, Any]:
    at = newest_time(seen)
    drawn = _drawn(view, security, at)
    size = 1 + drawn % 300
    return {
        "c": None if drawn % 3 == 0 else [12, 37],
        "ds": f"{size}.0",
        "i": str(drawn % 1_000_000),
        "p": newest_price(seen),
        "s": size,
        "t": precise(view, security, at),
        "x": 4,
    }


def _quote(view: VendorView, security: Security, seen: Snapshot) -> dict[str, Any]:
    """`p` is the bid and `P` the ask; the sizes follow them."""
    bid, ask = book_of(seen)
    drawn = _drawn(view, security, newest_time(seen))
    return {"p": bid, "s": 1 + drawn % 9, "P": ask, "S": 1 + drawn % 7, "t": precise(view, security, newest_time(seen))}


def book_of(seen: Snapshot) -> tuple[float, float]:
    """Bid and ask around the newest trade, also when that is older than the snapshot's own price."""
    shift = newest_price(seen) - seen.price
    return round(seen.bid + shift, 6), round(seen.ask + shift, 6)


def _crypto_trade(view: VendorView, seen: Snapshot) -> dict[str, Any]:
    drawn = view.noise.number("polygon", seen.symbol, "trade", int(seen.event_time.timestamp()))
    return {
        "c": [1],
        "i": str(drawn % 1_000_000_000),
        "p": seen.price,
        "s": (1 + drawn % 99_999) / 1e6,
        "t": milliseconds(seen.event_time),
        "x": 4,
    }


def _forex_quote(seen: Snapshot) -> dict[str, Any]:
    return {"a": seen.ask, "b": seen.bid, "i": 0, "t": milliseconds(seen.event_time), "x": 48}


def _end_of_new_york_day(view: VendorView) -> int:
    """The time `updated` shows for crypto and forex: nine seconds into the day to come in New York."""
    tomorrow = view.now.astimezone(NEW_YORK).date() + timedelta(days=1)
    return milliseconds(datetime.combine(tomorrow, time(0, 0, 8), NEW_YORK)) + 999


def last_trade(view: VendorView, request: Request) -> Response:
    """`/v2/last/trade/{ticker}`."""
    plan, seen = plan_of(request), seen_with(view, plan_of(request))
    if not plan.trades:
        return unauthorized(view, request, NOT_ENTITLED)
    security = find(seen, request.path_params["ticker"])
    if security is None or asset_class(security) != "stocks":
        return not_found(view, request, _NO_TICKER)
    trade = _trade(seen, security, seen.snapshot(security))
    extra = {"T": ticker_of(security), "q": 7_000_000, "r": 202, "y": trade["t"] - 2_600_000, "z": 3}
    results = trade | extra | {"f": trade["t"] - 28_000}
    return told(view, request, {"status": plan.status, "results": results})


def last_quote(view: VendorView, request: Request) -> Response:
    """`/v2/last/nbbo/{ticker}`: the national best bid and offer."""
    plan, seen = plan_of(request), seen_with(view, plan_of(request))
    if not plan.quotes:
        return unauthorized(view, request, NOT_ENTITLED)
    security = find(seen, request.path_params["ticker"])
    if security is None or asset_class(security) != "stocks":
        return not_found(view, request, _NO_TICKER)
    quote = _quote(seen, security, seen.snapshot(security))
    extra = {"T": ticker_of(security), "q": 26_000_000, "x": 19, "X": 11, "y": quote["t"] - 170_000, "z": 3}
    return told(view, request, {"status": plan.status, "results": quote | extra})
