"""Twelve Data's `/time_series`: newest first, with the bar that is still running, in the exchange's own time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.series import Basis, by_period, daily, intraday, merged, month_of, newest_day, week_of
from mdagent_mcp.sandbox.twelve_data_credits import Plan
from mdagent_mcp.sandbox.twelve_data_listing import (
    AUTOMATIC,
    COIN_EXCHANGE,
    MARKETS,
    is_pair,
    names_of,
    own_symbol,
    price_text,
    type_of,
)
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Query

_MINUTES: Final = {
    "1min": 1,
    "5min": 5,
    "15min": 15,
    "30min": 30,
    "45min": 45,
    "1h": 60,
    "2h": 120,
    "4h": 240,
    "5h": 300,
    "8h": 480,
}
_PERIODS: Final = {"1day": lambda day: day, "1week": week_of, "1month": month_of}
_LONGEST_DAYS: Final = {"1day": 1.6, "1week": 7.0, "1month": 31.0}
"""Calendar days that a bar may take, weekends included."""
_DEFAULT_ROWS: Final = 30
_MOST_ROWS: Final = 5000
_MOST_DECIMALS: Final = 11
_DAY: Final = timedelta(days=1)
_INTRADAY_REACH: Final = timedelta(days=730)
"""The sandbox keeps no older bars of less than a day."""
_EXCHANGE: Final = "Exchange"


class RefusedError(Exception):
    """The request is not served.

    Args:
        code: the vendor's code, which is the HTTP status too.
        message: its text.
    """

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class _Question:
    """A request for a series; `start` and `end` are UTC, `zone` is that of the answer's times."""

    interval: str
    rows: int
    start: datetime
    end: datetime
    zone: ZoneInfo
    basis: Basis
    extended: bool
    ascending: bool
    decimals: int

    @property
    def is_intraday(self) -> bool:
        """Whether bars are shorter than a day."""
        return self.interval in _MINUTES


def series(view: VendorView, security: Security, query: Query, plan: Plan) -> dict[str, Any]:
    """A series of one symbol.

    Raises:
        RefusedError: when the request is wrong, not covered by the plan or without data.
    """
    asked = _read(view, security, query, plan)
    bars = _intraday(view, security, asked) if asked.is_intraday else _daily(view, security, asked)
    if not bars:
        raise RefusedError(400, "No data is available on the specified dates. Try setting different start/end dates.")
    rows = [_row(security, bar, asked) for bar in bars]
    return {
        "meta": _meta(security, asked),
        "values": rows if asked.ascending else rows[::-1],
        "status": "ok",
    }


def decimals_of(query: Query, default: int) -> int:
    """The number of decimals asked for."""
    return _whole(query, "dp", default, (AUTOMATIC, _MOST_DECIMALS))


def require_extended(query: Query, plan: Plan) -> bool:
    """Whether prices outside regular hours are asked for.

    Raises:
        RefusedError: when the plan does not cover them.
    """
    if query.get("prepost", "false").lower() != "true":
        return False
    if not plan.has_extended_hours:
        raise RefusedError(403, "The prepost parameter is available starting with Pro plan. Consider upgrading.")
    return True


def _read(view: VendorView, security: Security, query: Query, plan: Plan) -> _Question:
    interval = query.get("interval", "")
    if interval not in _MINUTES and interval not in _PERIODS:
        supported = ", ".join((*_MINUTES, *_PERIODS))
        raise RefusedError(400, f"Invalid **interval** provided: {interval[:12]}. Supported intervals: {supported}")
    zone = _zone(security, query.get("timezone", _EXCHANGE))
    dated = "start_date" in query or "end_date" in query
    order = query.get("order", "desc").lower()
    if order not in ("asc", "desc"):
        raise RefusedError(400, "Invalid **order** provided. Supported values: asc, desc")
    return _Question(
        interval=interval,
        rows=_whole(query, "outputsize", _MOST_ROWS if dated else _DEFAULT_ROWS, (1, _MOST_ROWS)),
        start=_instant(query, "start_date", zone, datetime.combine(FIRST_DAY, datetime.min.time(), UTC)),
        end=_instant(query, "end_date", zone, view.now + _DAY),
        zone=zone,
        basis=_basis(query.get("adjust", Basis.SPLITS)),
        extended=require_extended(query, plan) and interval in _MINUTES,
        ascending=order == "asc",
        decimals=decimals_of(query, AUTOMATIC),
    )


def _zone(security: Security, name: str) -> ZoneInfo:
    if name == _EXCHANGE:
        return ZoneInfo("UTC" if is_pair(security) else MARKETS[security.exchange].timezone)
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise RefusedError(400, "Invalid **timezone** provided.") from None


def _instant(query: Query, name: str, zone: ZoneInfo, otherwise: datetime) -> datetime:
    text = query.get(name)
    if text is None:
        return otherwise
    try:
        told = datetime.fromisoformat(text)
        return (told if told.tzinfo is not None else told.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RefusedError(400, f"Invalid **{name}** provided: it must be a date or a date and time.") from None


def _basis(text: str) -> Basis:
    try:
        return Basis(text)
    except ValueError:
        raise RefusedError(400, "Invalid **adjust** provided. Supported values: all, splits, dividends, none") from None


def _whole(query: Query, name: str, default: int, bounds: tuple[int, int]) -> int:
    text = query.get(name, "")
    try:
        number = int(text) if text else default
    except ValueError:
        number = bounds[0] - 1
    if not bounds[0] <= number <= bounds[1]:
        raise RefusedError(400, f"Invalid **{name}** provided: it must be from {bounds[0]} to {bounds[1]}.")
    return number


def _intraday(view: VendorView, security: Security, asked: _Question) -> list[Bar]:
    span = (max(asked.start, view.now - _INTRADAY_REACH), asked.end)
    length_s = 60 * _MINUTES[asked.interval]
    return intraday(view, security, span, length_s, asked.basis, extended=asked.extended, most=asked.rows)


def _daily(view: VendorView, security: Security, asked: _Question) -> list[Bar]:
    """Bars whose first day lies in the range; the range is in the zone asked for, as the dates are the exchange's."""
    start_of = _PERIODS[asked.interval]
    newest = newest_day(view, security)
    first = max(start_of(asked.start.astimezone(asked.zone).date()), FIRST_DAY)
    last = min(asked.end.astimezone(asked.zone).date(), newest)
    reach = timedelta(days=asked.rows * _LONGEST_DAYS[asked.interval] + 14)
    begin = max(first, start_of(last - min(reach, last - FIRST_DAY)))
    through = _end_of(last, asked.interval, newest)
    groups = by_period(daily(view, security, begin, through, asked.basis), start_of)
    bars = [merged(start, members) for start, members in groups if first <= start <= last]
    return bars[-asked.rows :]


def _end_of(last: date, interval: str, newest: date) -> date:
    """The last day of the bar that begins on or before `last`, as far as there is one."""
    start_of = _PERIODS[interval]
    day = last
    while day < newest and start_of(day + _DAY) == start_of(last):
        day += _DAY
    return day


def _row(security: Security, bar: Bar, asked: _Question) -> dict[str, str]:
    local = bar.start.astimezone(asked.zone)
    prices = {"open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close}
    row = {
        "datetime": f"{local:%Y-%m-%d %H:%M:%S}" if asked.is_intraday else bar.day.isoformat(),
        **{name: price_text(security, price, asked.decimals) for name, price in prices.items()},
    }
    return row if is_pair(security) else row | {"volume": str(int(bar.volume or 0))}


def _meta(security: Security, asked: _Question) -> dict[str, str]:
    named = {"symbol": own_symbol(security) or security.symbol, "interval": asked.interval}
    kind = {"type": type_of(security)}
    if is_pair(security):
        base, quoted = names_of(security)
        exchange = {"exchange": COIN_EXCHANGE} if security.kind == "CRYPTOCURRENCY" else {}
        return named | {"currency_base": base, "currency_quote": quoted} | exchange | kind
    market = MARKETS[security.exchange]
    listed = {
        "currency": security.quoted_in,
        "exchange_timezone": market.timezone,
        "exchange": market.name,
        "mic_code": market.mic_code,
    }
    return named | listed | kind
