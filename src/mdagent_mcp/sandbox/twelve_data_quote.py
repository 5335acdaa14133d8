"""Twelve Data's current prices: `/quote`, `/price`, `/eod`, `/exchange_rate`, `/currency_conversion`.

A quote's `timestamp` is the start of the daily bar; `last_quote_at` is the start of the last minute that traded, also
when the official close is told.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.sandbox.market import Snapshot
from mdagent_mcp.sandbox.process import session_of
from mdagent_mcp.sandbox.twelve_data_credits import Plan
from mdagent_mcp.sandbox.twelve_data_listing import COIN_EXCHANGE, MARKETS, is_pair, own_symbol, price_text
from mdagent_mcp.sandbox.twelve_data_series import RefusedError, decimals_of, require_extended
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Query

_DECIMALS: Final = 5
_AVERAGED_DAYS: Final = 9
_MINUTE_S: Final = 60


def quote(view: VendorView, security: Security, query: Query, plan: Plan) -> dict[str, Any]:
    """A quote of one symbol.

    Raises:
        RefusedError: when the request is wrong or not covered by the plan.
    """
    if query.get("interval", "1day") != "1day":
        raise RefusedError(400, "The sandbox quotes the interval 1day only.")
    extended = require_extended(query, plan)
    decimals = decimals_of(query, _DECIMALS)
    seen = view.snapshot(security)
    regular = seen.regular
    prices = {"open": regular.open, "high": regular.high, "low": regular.low, "close": regular.close}
    change = regular.close - regular.previous_close
    row: dict[str, Any] = {
        **_named(security),
        "datetime": regular.day.isoformat(),
        "timestamp": int(session_of(security.symbol, regular.day).open.timestamp()),
        "last_quote_at": _last_minute(seen),
        **{name: price_text(security, price, decimals) for name, price in prices.items()},
        **({} if is_pair(security) else {"volume": str(int(regular.volume))}),
        "previous_close": price_text(security, regular.previous_close, decimals),
        "change": f"{change:.{decimals}f}",
        "percent_change": f"{100 * change / regular.previous_close:.{decimals}f}",
        **({} if is_pair(security) else {"average_volume": _average_volume(view, security, regular.day)}),
        "is_market_open": seen.state is MarketState.OPEN,
        "fifty_two_week": _year(view, security, regular.close),
    }
    return row | _extended(security, seen, decimals) if extended else row


def price(view: VendorView, security: Security, query: Query, plan: Plan) -> dict[str, Any]:
    """The newest price alone.

    Raises:
        RefusedError: when the request is wrong or not covered by the plan.
    """
    seen = view.snapshot(security)
    newest = seen.price if require_extended(query, plan) else seen.regular.close
    return {"price": price_text(security, newest, decimals_of(query, _DECIMALS))}


def end_of_day(view: VendorView, security: Security, query: Query, plan: Plan) -> dict[str, Any]:
    """The official close of the last session that is over, or of the date asked for.

    Raises:
        RefusedError: when there is none.
    """
    del plan
    today = view.snapshot(security).regular
    try:
        last = date.fromisoformat(query["date"]) if "date" in query else today.day
    except ValueError:
        raise RefusedError(400, "Invalid **date** provided.") from None
    first = max(last - timedelta(days=10), FIRST_DAY)
    bars = [bar for bar in view.daily_bars(security, first, last) if bar.day < today.day or today.over]
    if not bars:
        raise RefusedError(400, "No data is available on the specified dates. Try setting different start/end dates.")
    close = price_text(security, bars[-1].close, decimals_of(query, _DECIMALS))
    named = {name: value for name, value in _named(security).items() if name != "name"}
    return named | {"datetime": bars[-1].day.isoformat(), "close": close}


def exchange_rate(view: VendorView, security: Security, query: Query, plan: Plan) -> dict[str, Any]:
    """The rate of a pair, as a number.

    Raises:
        RefusedError: when it is no pair.
    """
    del plan
    if not is_pair(security):
        raise RefusedError(400, "**symbol** is no pair of currencies. Please specify it like EUR/USD.")
    seen = view.snapshot(security)
    rate = round(seen.price, decimals_of(query, _DECIMALS))
    return {"symbol": own_symbol(security), "rate": rate, "timestamp": _minute(int(seen.event_time.timestamp()))}


def currency_conversion(view: VendorView, security: Security, query: Query, plan: Plan) -> dict[str, Any]:
    """An amount in the other currency of a pair.

    Raises:
        RefusedError: when it is no pair, or the amount no number.
    """
    rate = exchange_rate(view, security, query, plan)
    try:
        amount = float(query.get("amount", ""))
    except ValueError:
        raise RefusedError(400, "Invalid **amount** provided.") from None
    return {
        "symbol": rate["symbol"],
        "rate": rate["rate"],
        "amount": round(amount * rate["rate"], 5),
        "timestamp": rate["timestamp"],
    }


def _named(security: Security) -> dict[str, str]:
    named = {"symbol": own_symbol(security) or security.symbol, "name": security.name}
    if is_pair(security):
        return named | {"exchange": COIN_EXCHANGE if security.kind == "CRYPTOCURRENCY" else "Forex"}
    market = MARKETS[security.exchange]
    return named | {"exchange": market.name, "mic_code": market.mic_code, "currency": security.quoted_in}


def _last_minute(seen: Snapshot) -> int:
    """The last minute that traded: after the close the one before it."""
    regular = seen.regular
    return _minute(int(regular.close_time.timestamp()) - (1 if regular.over else 0))


def _minute(stamp: int) -> int:
    return stamp - stamp % _MINUTE_S


def _average_volume(view: VendorView, security: Security, day: date) -> str:
    bars = view.daily_bars(security, max(day - timedelta(days=16), FIRST_DAY), day)[-_AVERAGED_DAYS:]
    return str(round(sum(bar.volume or 0.0 for bar in bars) / len(bars)))


def _year(view: VendorView, security: Security, close: float) -> dict[str, str]:
    year = view.year_range(security)
    changes = {"low": close - year.low, "high": close - year.high}
    return {
        "low": price_text(security, year.low, _DECIMALS),
        "high": price_text(security, year.high, _DECIMALS),
        "low_change": f"{changes['low']:.5f}",
        "high_change": f"{changes['high']:.5f}",
        "low_change_percent": f"{100 * changes['low'] / year.low:.5f}",
        "high_change_percent": f"{100 * changes['high'] / year.high:.5f}",
        "range": f"{price_text(security, year.low, 6)} - {price_text(security, year.high, 6)}",
    }


def _extended(security: Security, seen: Snapshot, decimals: int) -> dict[str, Any]:
    extended, close = seen.extended, seen.regular.close
    if extended is None:
        return {}
    change = extended.price - close
    return {
        "extended_change": f"{change:.{decimals}f}",
        "extended_percent_change": f"{100 * change / close:.{decimals}f}",
        "extended_price": price_text(security, extended.price, decimals),
        "extended_timestamp": int(extended.event_time.timestamp()),
    }
