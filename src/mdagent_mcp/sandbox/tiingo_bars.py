"""Tiingo's bars: daily rows as traded and adjusted side by side, minutes of trades at IEX, days of crypto.

A date is a trading date, whatever time is written behind it. Rows of weeks and longer carry the last weekday of their
period; they begin with its first day and leave out the last day asked for.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from itertools import groupby
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import canonical, json_reply

_DAY: Final = timedelta(days=1)
_KINDS: Final = ("EQUITY", "ETF")
_EXCHANGES: Final = {"NMS": "NASDAQ", "NGM": "NASDAQ", "NCM": "NASDAQ", "NYQ": "NYSE", "PCX": "NYSE ARCA"}
_PUBLISHED: Final = timedelta(minutes=90)
"""After the close, before a day's row is shown."""
_PRICES: Final = ("close", "high", "low", "open")
_COLUMNS: Final = (
    *_PRICES,
    "volume",
    *(f"adj{name.capitalize()}" for name in (*_PRICES, "volume")),
    "divCash",
    "splitFactor",
)
_FREQUENCY: Final = re.compile(r"(?P<count>[0-9]{1,4})(?P<unit>min|hour)", re.IGNORECASE)
_MOST_ROWS: Final = 10_000
_LONGEST_INTRADAY: Final = timedelta(days=366)
"""A call gives a year of minutes, whatever it asks."""
_OWN_SHARE: Final = 0.02


def refused(status: int, text: str) -> Response:
    """A refusal."""
    return json_reply({"detail": text}, status)


def read_ticker(text: str) -> str | None:
    """The canonical symbol of a ticker; a share class follows a hyphen."""
    upper = text.strip().upper()
    return None if "." in upper or not upper[:1].isalpha() else canonical(upper.replace("-", "."))


def own_ticker(security: Security) -> str:
    """How Tiingo spells it."""
    return security.symbol.replace(".", "-")


def tradable(view: VendorView, text: str) -> Security | None:
    """The US listing that a ticker names; None when there is none."""
    symbol = read_ticker(text)
    security = None if symbol is None else view.find(symbol)
    if security is None or security.kind not in _KINDS or security.exchange not in _EXCHANGES:
        return None
    return security


def read_pairs(view: VendorView, text: str) -> Iterable[tuple[str, Security]]:
    """The pairs of a list that are known, each with what it names, spelled as asked for."""
    for ticker in text.lower().split(","):
        security = view.find(f"{ticker[:-3]}-{ticker[-3:]}".upper()) if len(ticker) > 5 else None
        if security is not None and security.kind == "CRYPTOCURRENCY":
            yield security.symbol.replace("-", "").lower(), security


def describe(view: VendorView, request: Request) -> Response:
    """`/tiingo/daily/{ticker}`: what it is and how far its series reaches."""
    security = tradable(view, request.path_params["ticker"])
    if security is None:
        return _not_found(request)
    return json_reply(
        {
            "ticker": own_ticker(security),
            "name": security.name,
            "description": f"{security.name} is simulated.",
            "startDate": FIRST_DAY.isoformat(),
            "endDate": _last_published(view, security).isoformat(),
            "exchangeCode": _EXCHANGES[security.exchange],
        }
    )


def daily_prices(view: VendorView, request: Request) -> Response:
    """`/tiingo/daily/{ticker}/prices`: the newest row, or those of the dates asked for."""
    security = tradable(view, request.path_params["ticker"])
    if security is None:
        return _not_found(request)
    query = request.query_params
    newest = _last_published(view, security)
    frequency = query.get("resampleFreq", "daily").lower()
    if frequency not in ("daily", *_PERIODS):
        return refused(400, "Error: resampleFreq must be 'daily', 'weekly', 'monthly', or 'annually'")
    try:
        first, last = _span(query, FIRST_DAY, newest)
    except ValueError:
        return refused(400, "Error: startDate and endDate must be formatted as YYYY-MM-DD")
    if "startDate" not in query and "endDate" not in query:
        rows = _daily_rows(view, security, newest, newest, "%Y-%m-%dT00:00:00+00:00")
    else:
        rows = _ranged_rows(view, security, frequency, (max(first, FIRST_DAY), min(last, newest), last))
    wanted = _wanted(query, _COLUMNS)
    shown = [{"date": row["date"], **{name: row[name] for name in wanted}} for row in rows]
    return _csv(shown) if query.get("format") == "csv" else json_reply(shown)


def _ranged_rows(
    view: VendorView, security: Security, frequency: str, span: tuple[date, date, date]
) -> list[dict[str, Any]]:
    first, last, asked_last = span
    stamp = "%Y-%m-%dT00:00:00.000Z"
    if frequency == "daily":
        return _daily_rows(view, security, first, last, stamp)
    end_of = _PERIODS[frequency]
    begun = first
    while begun > FIRST_DAY and end_of(begun - _DAY) == end_of(first):
        begun -= _DAY
    daily = _daily_rows(view, security, begun, min(last, asked_last - _DAY), "%Y-%m-%d")
    groups = groupby(daily, key=lambda row: end_of(date.fromisoformat(row["date"])))
    return [_merged(f"{end:{stamp}}", list(members)) for end, members in groups]


def _merged(stamp: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    row = {"date": stamp, "divCash": round(sum(r["divCash"] for r in rows), 6), "splitFactor": 1.0}
    for prefix, names in (("", _PRICES), ("adj", tuple(name.capitalize() for name in _PRICES))):
        close, high, low, opened = (f"{prefix}{name}" for name in names)
        volume = "adjVolume" if prefix else "volume"
        row |= {
            close: rows[-1][close],
            high: max(r[high] for r in rows),
            low: min(r[low] for r in rows),
            opened: rows[0][opened],
            volume: sum(r[volume] for r in rows),
        }
    for member in rows:
        row["splitFactor"] *= member["splitFactor"]
    return row


def _daily_rows(view: VendorView, security: Security, first: date, last: date, stamp: str) -> list[dict[str, Any]]:
    """One row for each day, adjusted by all that happened later until now."""
    bars = view.daily_bars(security, first, last, as_traded=True)
    if not bars:
        return []
    known = view.daily_bars(security, first, _last_published(view, security), as_traded=True)
    splits = {split.day: split.ratio for split in view.splits(security, first, known[-1].day)}
    dividends = {d.day: _paid(view, security, d.day) for d in view.dividends(security, first, known[-1].day)}
    rows = []
    shares = price = 1.0
    for bar, before in zip(reversed(known), (*reversed(known[:-1]), None), strict=True):
        if bar.day <= last:
            events = (dividends.get(bar.day, 0.0), splits.get(bar.day, 1.0))
            rows.append(_row(bar, f"{bar.day:{stamp}}", (price, shares), events))
        shares *= splits.get(bar.day, 1.0)
        price /= splits.get(bar.day, 1.0)
        if before is not None:
            price *= 1 - dividends.get(bar.day, 0.0) * splits.get(bar.day, 1.0) / before.close
    return rows[::-1]


def _paid(view: VendorView, security: Security, day: date) -> float:
    """A dividend as it was paid then."""
    return round(sum(dividend.amount for dividend in view.dividends(security, day, day)), 6)


def _row(bar: Bar, stamp: str, factors: tuple[float, float], events: tuple[float, float]) -> dict[str, Any]:
    price, shares = factors
    traded = {name: getattr(bar, name) for name in _PRICES}
    return {
        "date": stamp,
        **traded,
        "volume": int(bar.volume or 0),
        **{f"adj{name.capitalize()}": round(value * price, 10) for name, value in traded.items()},
        "adjVolume": int((bar.volume or 0) * shares),
        "divCash": events[0],
        "splitFactor": events[1],
    }


def _last_published(view: VendorView, security: Security) -> date:
    calendar = calendar_named(security.instrument.calendar)
    completed = calendar.latest_completed(view.seen_at(security) - _PUBLISHED)
    return FIRST_DAY if completed is None else completed.day


def intraday_prices(view: VendorView, request: Request) -> Response:
    """`/iex/{ticker}/prices`: bars of trades at IEX, as traded; nothing for what is unknown."""
    query = request.query_params
    match = _FREQUENCY.fullmatch(query.get("resampleFreq", "5min"))
    length_s = 0 if match is None else int(match["count"]) * (3600 if match["unit"].lower() == "hour" else 60)
    if length_s == 0:
        return refused(400, "Error: resampleFreq must be a number followed by 'min' or 'hour'")
    security = tradable(view, request.path_params["ticker"])
    if security is None:
        return json_reply([])
    today = view.snapshot(security).regular.day
    try:
        first, last = _span(query, today, today)
    except ValueError:
        return refused(400, "Error: startDate and endDate must be formatted as YYYY-MM-DD")
    bars: list[Bar] = []
    day = min(last, today)
    first = max(first, FIRST_DAY, today - _LONGEST_INTRADAY)
    while day >= first and len(bars) < _MOST_ROWS:
        bars[:0] = view.intraday_bars(security, day, length_s)
        day -= _DAY
    wanted = _wanted(query, ("open", "high", "low", "close", "volume"), usual=("open", "high", "low", "close"))
    return json_reply([{"date": f"{bar.start:%Y-%m-%dT%H:%M:%S}.000Z", **_own(bar, wanted)} for bar in bars])


def _own(bar: Bar, wanted: tuple[str, ...]) -> dict[str, float]:
    volume = float(int((bar.volume or 0) * _OWN_SHARE))
    return {name: volume if name == "volume" else getattr(bar, name) for name in wanted}


def crypto_prices(view: VendorView, request: Request) -> Response:
    """`/tiingo/crypto/prices`: bars of pairs, daily ones from midnight UTC."""
    query = request.query_params
    frequency = query.get("resampleFreq", "5min").lower()
    match = _FREQUENCY.fullmatch(frequency)
    if match is None and frequency != "1day":
        return refused(400, "Error: resampleFreq must be a number followed by 'min', 'hour' or 'day'")
    rows = []
    for pair, security in read_pairs(view, query.get("tickers", "")):
        today = view.snapshot(security).regular.day
        try:
            first, last = _span(query, today - _DAY, today)
        except ValueError:
            return refused(400, "Error: startDate and endDate must be formatted as YYYY-MM-DD")
        span = (max(first, FIRST_DAY), min(last, today))
        data = [_crypto_row(bar) for bar in _crypto_bars(view, security, span, match)]
        rows.append({"ticker": pair, "baseCurrency": pair[:-3], "quoteCurrency": pair[-3:], "priceData": data})
    return json_reply(rows)


def _crypto_bars(
    view: VendorView, security: Security, span: tuple[date, date], match: re.Match[str] | None
) -> Iterable[Bar]:
    first, last = span
    if match is None:
        return view.daily_bars(security, first, last)
    length_s = max(1, int(match["count"])) * (3600 if match["unit"] == "hour" else 60)
    days = range(min((last - first).days + 1, 31))
    return [bar for n in days for bar in view.intraday_bars(security, first + n * _DAY, length_s)]


def _crypto_row(bar: Bar) -> dict[str, Any]:
    """The market counts a coin's volume in dollars."""
    notional = bar.volume or 0.0
    return {
        "volume": notional / bar.close,
        "date": bar.start.isoformat(timespec="seconds"),
        "volumeNotional": notional,
        "close": bar.close,
        "open": bar.open,
        "low": bar.low,
        "tradesDone": int(notional / 1000),
        "high": bar.high,
    }


def _span(query: Mapping[str, str], first: date, last: date) -> tuple[date, date]:
    """The dates asked for; ValueError for what is none."""
    return tuple(
        date.fromisoformat(query[name][:10]) if query.get(name) else usual
        for name, usual in (("startDate", first), ("endDate", last))
    )  # type: ignore[return-value]


def _wanted(query: Mapping[str, str], known: tuple[str, ...], usual: tuple[str, ...] | None = None) -> tuple[str, ...]:
    asked = query.get("columns", "").split(",")
    return tuple(name for name in known if name in asked) if any(asked) else usual or known


def _week_end(day: date) -> date:
    return day + (4 - day.weekday()) % 7 * _DAY


def _month_end(day: date) -> date:
    return _last_weekday((day.replace(day=1) + 31 * _DAY).replace(day=1) - _DAY)


def _year_end(day: date) -> date:
    return _last_weekday(date(day.year, 12, 31))


def _last_weekday(day: date) -> date:
    return day - max(0, day.weekday() - 4) * _DAY


_PERIODS: Final[Mapping[str, Callable[[date], date]]] = {
    "weekly": _week_end,
    "monthly": _month_end,
    "annually": _year_end,
}


def _csv(rows: list[dict[str, Any]]) -> Response:
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "date": row["date"][:10]} for row in rows)
    return PlainTextResponse(text.getvalue(), media_type="text/csv")


def _not_found(request: Request) -> Response:
    ticker: str = request.path_params["ticker"]
    return refused(404, f"Error: Ticker '{ticker.upper()}' not found")
