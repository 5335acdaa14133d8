"""IEX Cloud's charts: days adjusted for splits with the prices as traded beside them, minutes of trades at IEX.

Days end with the trading date before today's. A minute without a trade at IEX is a row of nulls. `changePercent` of a
day is in percent here, while that of a quote is a fraction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.responses import HTMLResponse, Response

from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import canonical

_ZONE: Final = ZoneInfo("America/New_York")
_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_TAPE_DELAY: Final = timedelta(minutes=15)
_DATE: Final = re.compile(r"[0-9]{8}")
_KINDS: Final = ("EQUITY", "ETF")
_OWN_SHARE: Final = 0.023
_EMPTY_CHANCE: Final = 0.006
"""How many minutes are without a trade at IEX."""
_EMPTY: Final[Row] = {"high": None, "low": None, "open": None, "close": None, "average": None}

Row = dict[str, Any]


def text_reply(text: str, status: int) -> Response:
    """Plain text that calls itself HTML, as the vendor sent its errors."""
    return HTMLResponse(text, status)


def listed(view: VendorView, text: str) -> Security | None:
    """The US listing of this name; None when there is none."""
    symbol = canonical(text)
    security = None if symbol is None or symbol != text.strip().upper() else view.find(symbol)
    if security is None or security.kind not in _KINDS or security.exchange == "LSE":
        return None
    return security


def chart_rows(view: VendorView, security: Security, span: str, query: Mapping[str, str]) -> list[Row] | None:
    """The rows of a range; None when there is no such range."""
    if span == "1d":
        rows = _minutes(view, security, view.snapshot(security).regular.day, with_tape=False)
    elif span == "date":
        return day_of_minutes(view, security, query.get("exactDate", ""), query)
    elif span in _BEGINNINGS:
        today = view.seen_at(security).astimezone(_ZONE).date()
        includes_today = query.get("includeToday", "").lower() == "true"
        rows = _days(view, security, _BEGINNINGS[span](today), today if includes_today else today - _DAY)
        rows = rows[-_FIVE_DAYS:] if span.startswith("5d") else rows
    else:
        return None
    return _thinned(rows, query)


_FIVE_DAYS: Final = 5


def _thinned(rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    every, last = query.get("chartInterval", ""), query.get("chartLast", query.get("last", ""))
    if every.isdecimal() and int(every) > 0:
        rows = rows[:: int(every)]
    if last.isdecimal() and int(last) > 0:
        rows = rows[-int(last) :]
    if query.get("chartCloseOnly", "").lower() == "true":
        rows = [{name: row[name] for name in ("date", "close", "volume")} for row in rows]
    return rows[::-1] if query.get("sort", "").lower() == "desc" else rows


def day_of_minutes(view: VendorView, security: Security, text: str, query: Mapping[str, str]) -> list[Row] | None:
    """`/chart/date/YYYYMMDD`: its minutes, or its one row with `chartByDay`; None when the text is no date."""
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        return None
    if day < FIRST_DAY:
        return []
    if query.get("chartByDay", "").lower() == "true":
        return _days(view, security, day - 7 * _DAY, day, only=day)
    return _thinned(_minutes(view, security, day, with_tape=True), query)


def _days(view: VendorView, security: Security, first: date, last: date, only: date | None = None) -> list[Row]:
    first = max(first, FIRST_DAY)
    adjusted = view.daily_bars(security, first, last)
    traded = view.daily_bars(security, first, last, as_traded=True)
    rows: list[Row] = []
    before: Bar | None = None
    begun: Bar | None = None
    for bar, raw in zip(adjusted, traded, strict=True):
        if only is None or bar.day == only:
            reference = before if only is not None or rows else None
            begun = begun or reference or bar
            rows.append(_day_row(bar, raw, reference, begun.close))
        before = bar
    return rows


def _day_row(bar: Bar, raw: Bar, before: Bar | None, begun: float) -> Row:
    change = 0.0 if before is None else bar.close - before.close
    return {
        "date": bar.day.isoformat(),
        **{name: round(getattr(bar, name), 4) for name in ("open", "close", "high", "low")},
        "volume": int(bar.volume or 0),
        **{f"u{name.capitalize()}": round(getattr(raw, name), 4) for name in ("open", "close", "high", "low")},
        "uVolume": int(raw.volume or 0),
        "change": round(change, 4),
        "changePercent": 0 if before is None else round(100 * change / before.close, 4),
        "label": f"{bar.day:%b} {bar.day.day}",
        "changeOverTime": round(bar.close / begun - 1, 6),
    }


def _minutes(view: VendorView, security: Security, day: date, *, with_tape: bool) -> list[Row]:
    seen_until = view.seen_at(security)
    rows: list[Row] = []
    first: float | None = None
    for bar in view.intraday_bars(security, day, 60):
        empty = view.noise.uniform("iex_cloud", security.symbol, "no trade", bar.start.isoformat()) < _EMPTY_CHANCE
        own = {**_EMPTY, **_trades(0, None)} if empty else _own(bar)
        row = {**_labels(bar.start), **own}
        if with_tape:
            first = bar.close if first is None else first
            told = bar.start + _MINUTE + _TAPE_DELAY <= seen_until
            row |= _tape(bar if told else None, first)
            row["changeOverTime"] = None if empty else bar.close / first - 1
        rows.append(row)
    return rows


def _labels(start: datetime) -> Row:
    local = start.astimezone(_ZONE)
    hour = local.hour % 12 or 12
    padded = f"{hour:02}" if local.hour < _TEN else str(hour)
    label = f"{padded} {local:%p}" if local.minute == 0 else f"{padded}:{local:%M %p}"
    return {"date": local.date().isoformat(), "minute": f"{local:%H:%M}", "label": label}


_TEN: Final = 10


def _own(bar: Bar) -> Row:
    volume = max(1, int((bar.volume or 0) * _OWN_SHARE))
    prices = {name: getattr(bar, name) for name in ("high", "low", "open", "close")}
    return prices | {"average": _average(bar)} | _trades(volume, _average(bar))


def _trades(volume: int, average: float | None) -> Row:
    notional = 0 if average is None else round(volume * average, 4)
    return {"volume": volume, "notional": notional, "numberOfTrades": volume // 80 + 1 if volume else 0}


def _tape(bar: Bar | None, first: float) -> Row:
    """The whole market's minute, which comes a quarter of an hour late."""
    if bar is None:
        return dict.fromkeys(_TAPE_NAMES)
    volume = int(bar.volume or 0)
    prices = {f"market{name.capitalize()}": getattr(bar, name) for name in ("high", "low", "open", "close")}
    return prices | {
        "marketAverage": _average(bar),
        "marketVolume": volume,
        "marketNotional": round(volume * _average(bar), 4),
        "marketNumberOfTrades": volume // 150 + 1,
        "marketChangeOverTime": bar.close / first - 1,
    }


_TAPE_NAMES: Final = (
    "marketHigh",
    "marketLow",
    "marketOpen",
    "marketClose",
    "marketAverage",
    "marketVolume",
    "marketNotional",
    "marketNumberOfTrades",
    "marketChangeOverTime",
)


def _average(bar: Bar) -> float:
    return round((bar.open + bar.high + bar.low + bar.close) / 4, 3)


def _months_before(count: int) -> Callable[[date], date]:
    def beginning(today: date) -> date:
        months = 12 * today.year + today.month - 1 - count
        year, month = divmod(months, 12)
        following = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
        return date(year, month + 1, min(today.day, (following - _DAY).day))

    return beginning


_BEGINNINGS: Final[Mapping[str, Callable[[date], date]]] = {
    "max": lambda _: FIRST_DAY,
    "5y": _months_before(60),
    "2y": _months_before(24),
    "1y": _months_before(12),
    "ytd": lambda today: date(today.year, 1, 1),
    "6m": _months_before(6),
    "3m": _months_before(3),
    "1m": _months_before(1),
    "1mm": _months_before(1),
    "5d": lambda today: today - 10 * _DAY,
    "5dm": lambda today: today - 10 * _DAY,
}
"""From which day on a range shows its days."""
