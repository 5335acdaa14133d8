"""Alpha Vantage's series: rows by date, newest first, as traded, with an adjusted close beside them where one is asked.

Intraday rows are stamped with the naive New York time of their start and corrected for splits and dividends unless
`adjusted=false`; weeks and months are stamped with their last trading day.
"""

from __future__ import annotations

import calendar as month_lengths
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from starlette.responses import Response

from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.alpha_vantage_listing import name_of, own_symbol, read_pair, read_symbol
from mdagent_mcp.sandbox.alpha_vantage_quotes import NEW_YORK, as_entitled, decorated
from mdagent_mcp.sandbox.alpha_vantage_replies import four, invalid_call, numbered, reply, table
from mdagent_mcp.sandbox.series import Basis, CorporateActions, by_period, daily, intraday, merged, month_of, week_of
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Query

_COMPACT: Final = 100
_COMPACT_DAYS: Final = timedelta(days=160)
_INTRADAY_S: Final = {"1min": 60, "5min": 300, "15min": 900, "30min": 1800, "60min": 3600}
_RECENT: Final = timedelta(days=30)
_EASTERN: Final = "US/Eastern"

Row = tuple[str, dict[str, str]]
"""A time stamp and the values under it, without ordinals."""


@dataclass(frozen=True, slots=True)
class Period:
    """A length of bars of a day and more.

    Attributes:
        name: of the table, `Daily`, `Weekly` or `Monthly`.
        start_of: the first day of a day's period.
    """

    name: str
    start_of: Callable[[date], date]


DAILY: Final = Period("Daily", lambda day: day)
WEEKLY: Final = Period("Weekly", week_of)
MONTHLY: Final = Period("Monthly", month_of)


def listed(period: Period, function: str, *, adjusted: bool) -> Callable[[VendorView, Query, str], Response]:
    """The series of a listing, of a day and more."""

    def answer(view: VendorView, query: Query, entitlement: str) -> Response:
        security = _listing(view, query, function)
        seen = as_entitled(view, security, entitlement)
        size = _size(query, function) if period is DAILY else "full"
        first = seen.now.date() - _COMPACT_DAYS if size == "compact" else FIRST_DAY
        rows = _rows(seen, security, first, period, adjusted=adjusted)
        rows = rows[:_COMPACT] if size == "compact" else rows
        meta = _meta(security, period, rows, size, adjusted=adjusted)
        meta["Information"] = decorated(meta["Information"], entitlement)
        return _series(query, meta, _table_name(period, adjusted=adjusted), rows)

    return answer


def intraday_series(view: VendorView, query: Query, entitlement: str) -> Response:
    """The series of a US listing in minutes: the last hundred bars, thirty days, or one month.

    Raises:
        RefusedError: when the request is wrong or without data.
    """
    function = "TIME_SERIES_INTRADAY"
    security = _listing(view, query, function)
    interval = query.get("interval", "")
    if interval not in _INTRADAY_S or security.exchange == "LSE":
        raise invalid_call(function)
    seen = as_entitled(view, security, entitlement)
    full = "month" in query or _size(query, function) == "full"
    bars = intraday(
        seen,
        security,
        _span(seen, query, function),
        _INTRADAY_S[interval],
        Basis.NONE if query.get("adjusted", "true").lower() == "false" else Basis.ALL,
        extended=query.get("extended_hours", "true").lower() != "false",
        most=None if full else _COMPACT,
    )
    if not bars:
        raise invalid_call(function)
    rows = [(f"{bar.start.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S}", _prices(bar)) for bar in reversed(bars)]
    meta = {
        "Information": decorated(f"Intraday ({interval}) open, high, low, close prices and volume", entitlement),
        "Symbol": own_symbol(security),
        "Last Refreshed": rows[0][0],
        "Interval": interval,
        "Output Size": "Full size" if full else "Compact",
        "Time Zone": _EASTERN,
    }
    return _series(query, meta, f"Time Series ({interval})", rows)


def fx_daily(view: VendorView, query: Query, entitlement: str) -> Response:
    """The days of a currency pair, the running one included.

    Raises:
        RefusedError: when there is no such pair.
    """
    del entitlement
    security = _pair(view, read_pair(query.get("from_symbol", ""), query.get("to_symbol", "")), "CURRENCY", "FX_DAILY")
    size = _size(query, "FX_DAILY")
    rows = _pair_rows(view, security, size, lambda bar: _quartet(bar, lambda price: f"{price:.5f}"))
    meta = {
        "Information": "Forex Daily Prices (open, high, low, close)",
        "From Symbol": security.instrument.root,
        "To Symbol": security.instrument.suffix,
        "Output Size": _size_name(size),
        "Last Refreshed": _refreshed(view, security),
        "Time Zone": "UTC",
    }
    return _series(query, meta, "Time Series FX (Daily)", rows)


def coin_daily(view: VendorView, query: Query, entitlement: str) -> Response:
    """The days of a coin in a market's currency, the running one included.

    Raises:
        RefusedError: when there is no such pair.
    """
    del entitlement
    function = "DIGITAL_CURRENCY_DAILY"
    symbol = read_pair(query.get("symbol", ""), query.get("market", ""))
    security = _pair(view, symbol, "CRYPTOCURRENCY", function)
    rows = _pair_rows(view, security, "full", _coin_prices)
    pair = security.instrument
    meta = {
        "Information": "Daily Prices and Volumes for Digital Currency",
        "Digital Currency Code": pair.root,
        "Digital Currency Name": name_of(pair.root),
        "Market Code": pair.suffix,
        "Market Name": name_of(pair.suffix),
        "Last Refreshed": _refreshed(view, security),
        "Time Zone": "UTC",
    }
    return _series(query, meta, "Time Series (Digital Currency Daily)", rows)


def _listing(view: VendorView, query: Query, function: str) -> Security:
    symbol = read_symbol(query.get("symbol", ""))
    security = None if symbol is None else view.find(symbol)
    if security is None:
        raise invalid_call(function)
    return security


def _pair(view: VendorView, symbol: str | None, kind: str, function: str) -> Security:
    security = None if symbol is None else view.find(symbol)
    if security is None or security.kind != kind:
        raise invalid_call(function)
    return security


def _size(query: Query, function: str) -> str:
    size = query.get("outputsize", "compact").lower()
    if size not in ("compact", "full"):
        raise invalid_call(function)
    return size


def _size_name(size: str) -> str:
    return "Full size" if size == "full" else "Compact"


def _span(view: VendorView, query: Query, function: str) -> tuple[datetime, datetime]:
    """First and last instant of the month asked for, else of the last thirty days."""
    month = query.get("month")
    if month is None:
        return view.now - _RECENT, view.now
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise invalid_call(function) from None
    last = first.replace(day=month_lengths.monthrange(first.year, first.month)[1])
    if first > view.now.date() or last < FIRST_DAY:
        raise invalid_call(function)
    return _midnight(first), _midnight(last + timedelta(days=1)) - timedelta(seconds=1)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), NEW_YORK).astimezone(UTC)


def _rows(view: VendorView, security: Security, first: date, period: Period, *, adjusted: bool) -> list[Row]:
    """Rows as traded, newest first."""
    first = max(first, FIRST_DAY)
    days = daily(view, security, first, view.seen_at(security).date(), Basis.NONE)
    actions = CorporateActions(view, security, first) if adjusted else None
    rows = []
    for start, bars in by_period(days, period.start_of):
        values = _quartet(merged(start, bars), four)
        volume = {"volume": str(sum(int(bar.volume or 0) for bar in bars))}
        if actions is not None:
            values |= {"adjusted close": _adjusted(actions, bars[-1])} | volume | _events(actions, bars, period)
        rows.append((bars[-1].day.isoformat(), values if actions is not None else values | volume))
    return rows[::-1]


def _adjusted(actions: CorporateActions, bar: Bar) -> str:
    return f"{actions.scaled(bar, bar.day, Basis.ALL).close:.10g}"


def _events(actions: CorporateActions, bars: Iterable[Bar], period: Period) -> dict[str, str]:
    days = [bar.day for bar in bars]
    paid = {"dividend amount": four(sum(actions.paid_on(day) for day in days))}
    return paid | ({"split coefficient": str(round(actions.split_on(days[0]), 6))} if period is DAILY else {})


def _quartet(bar: Bar, text: Callable[[float], str]) -> dict[str, str]:
    return {"open": text(bar.open), "high": text(bar.high), "low": text(bar.low), "close": text(bar.close)}


def _prices(bar: Bar) -> dict[str, str]:
    return _quartet(bar, four) | {"volume": str(int(bar.volume or 0))}


def _coin_prices(bar: Bar) -> dict[str, str]:
    return _quartet(bar, lambda price: f"{price:.8f}") | {"volume": f"{bar.volume or 0:.8f}"}


def _pair_rows(
    view: VendorView, security: Security, size: str, values_of: Callable[[Bar], dict[str, str]]
) -> list[Row]:
    today = view.snapshot(security).regular.day
    first = today - _COMPACT_DAYS if size == "compact" else FIRST_DAY
    rows = [(bar.day.isoformat(), values_of(bar)) for bar in reversed(daily(view, security, first, today))]
    return rows[:_COMPACT] if size == "compact" else rows


def _refreshed(view: VendorView, security: Security) -> str:
    return f"{view.snapshot(security).event_time:%Y-%m-%d %H:%M:%S}"


def _table_name(period: Period, *, adjusted: bool) -> str:
    if period is DAILY:
        return "Time Series (Daily)"
    return f"{period.name} {'Adjusted ' if adjusted else ''}Time Series"


def _meta(security: Security, period: Period, rows: list[Row], size: str, *, adjusted: bool) -> dict[str, str]:
    if period is DAILY:
        kind = "Daily Time Series with Splits and Dividend Events" if adjusted else "Daily Prices and Volumes"
    else:
        kind = f"{period.name} {'Adjusted ' if adjusted else ''}Prices and Volumes"
    return {
        "Information": kind,
        "Symbol": own_symbol(security),
        "Last Refreshed": rows[0][0],
        **({"Output Size": _size_name(size)} if period is DAILY else {}),
        "Time Zone": _EASTERN,
    }


def _series(query: Query, meta: dict[str, str], name: str, rows: list[Row]) -> Response:
    if query.get("datatype") == "csv":
        return table([{"timestamp": stamp} | values for stamp, values in rows])
    return reply({"Meta Data": numbered(meta), name: {stamp: numbered(values) for stamp, values in rows}})
