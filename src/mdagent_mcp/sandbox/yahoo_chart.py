"""Yahoo's `/v8/finance/chart/{symbol}`: bars, events and the quote in `meta`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.domain.calendar import TradingSession
from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.market import Snapshot
from mdagent_mcp.sandbox.process import find_session, previous_day
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import json_reply
from mdagent_mcp.sandbox.yahoo_listing import (
    EXCHANGES,
    day_stamp,
    epoch,
    float32,
    midnight_stamp,
    read_symbol,
    trading_period,
    yahoo_symbol,
    zone_fields,
    zone_of,
)

MEDIA_TYPE: Final = "application/json;charset=utf-8"

_DAY: Final = timedelta(days=1)
_RANGES: Final = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")
_RANGE_DAYS: Final = {"1mo": 31, "3mo": 92, "6mo": 183, "1y": 366, "2y": 730, "5y": 1827, "10y": 3653}
_INTRADAY_S: Final = {"1m": 60, "2m": 120, "5m": 300, "15m": 900, "30m": 1800, "60m": 3600, "90m": 5400, "1h": 3600}
_LONGER: Final = ("1d", "5d", "1wk", "1mo", "3mo")
_REACH_DAYS: Final = {"1m": 30, "1h": 730, "60m": 730}
_LONGEST_1M: Final = timedelta(days=8)
_NULL_CHANCE: Final = 1 / 400


class _RefusedError(Exception):
    """The request asks for what Yahoo does not give."""

    def __init__(self, status: int, code: str, description: str) -> None:
        self.status, self.code, self.description = status, code, description
        super().__init__(description)


@dataclass(frozen=True, slots=True)
class _Question:
    """A chart request.

    Attributes:
        interval: as it is answered.
        range: as asked, empty when two instants were given.
        start: first instant wanted.
        end: last instant wanted, left out.
        extended: whether pre- and post-market bars are wanted.
        events: kinds of events wanted.
    """

    interval: str
    range: str
    start: datetime
    end: datetime
    extended: bool
    events: frozenset[str]


def chart(view: VendorView, request: Request) -> Response:
    """Answer a chart request."""
    symbol = read_symbol(request.path_params["symbol"])
    security = None if symbol is None else view.find(symbol)
    if security is None:
        return _error(404, "Not Found", "No data found, symbol may be delisted")
    try:
        question = _read(view, security, request.query_params)
    except _RefusedError as refused:
        return _error(refused.status, refused.code, refused.description)
    result = _result(view, security, question)
    return json_reply({"chart": {"result": [result], "error": None}}, media_type=MEDIA_TYPE)


def _error(status: int, code: str, description: str) -> Response:
    payload = {"chart": {"result": None, "error": {"code": code, "description": description}}}
    return json_reply(payload, status, media_type=MEDIA_TYPE)


def _read(view: VendorView, security: Security, query: Any) -> _Question:
    has_period = "period1" in query
    asked = "" if has_period else query.get("range", "1d")
    interval = query.get("interval", "1m" if asked == "1d" else "1d")
    if interval not in _INTRADAY_S and interval not in _LONGER:
        raise _unprocessable(f"Invalid input - interval={interval[:12]} is not supported. Valid intervals: {_named()}")
    start, end = _period(query, view.now) if has_period else _range(view, security, asked)
    if interval in _INTRADAY_S:
        _refuse_far(interval, start, end, view.now)
    elif asked == "max" and interval == "1d":
        interval = "3mo"  # Yahoo coarsens this without a word; only dataGranularity tells
    kinds = query.get("events", "").replace("|", ",").split(",")
    return _Question(
        interval=interval,
        range=asked,
        start=start,
        end=end,
        extended=query.get("includePrePost", "false").lower() == "true" and security.has_extended_hours,
        events=frozenset("split" if kind.startswith("split") else kind for kind in kinds),
    )


def _named() -> str:
    return f"[{', '.join((*_INTRADAY_S, *_LONGER))}]"


def _unprocessable(description: str) -> _RefusedError:
    return _RefusedError(422, "Unprocessable Entity", description)


def _period(query: Any, now: datetime) -> tuple[datetime, datetime]:
    try:
        first, last = int(query["period1"]), int(query.get("period2", epoch(now)))
        start, end = datetime.fromtimestamp(max(first, 0), UTC), datetime.fromtimestamp(last, UTC)
    except (ValueError, OverflowError, OSError):
        raise _RefusedError(400, "Bad Request", "Invalid input - period1 and period2 are epoch seconds") from None
    if start >= end:
        text = f"Invalid input - start date cannot be after end date. startDate = {first}, endDate = {last}"
        raise _RefusedError(400, "Bad Request", text)
    if end.date() < FIRST_DAY or start > now:
        text = f"Data doesn't exist for startDate = {first}, endDate = {last}"
        raise _RefusedError(400, "Bad Request", text)
    return start, min(end, now + _DAY)


def _range(view: VendorView, security: Security, asked: str) -> tuple[datetime, datetime]:
    if asked not in _RANGES:
        raise _unprocessable(
            f"Invalid input - range={asked[:12]} is not supported. Valid ranges: [{', '.join(_RANGES)}]"
        )
    newest = view.snapshot(security).regular.day
    first = FIRST_DAY
    if asked in ("1d", "5d"):
        first = newest
        for _ in range(0 if asked == "1d" else 4):
            first = previous_day(security, first)
    elif asked == "ytd":
        first = date(newest.year, 1, 1)
    elif asked in _RANGE_DAYS:
        first = newest - _RANGE_DAYS[asked] * _DAY
    session = find_session(security, first)
    midnight = datetime.fromtimestamp(midnight_stamp(security, first), UTC)
    return midnight if session is None else min(midnight, session.pre_open), view.now


def _refuse_far(interval: str, start: datetime, end: datetime, now: datetime) -> None:
    reach = _REACH_DAYS.get(interval, 60)
    span = f"startTime={epoch(start)} and endTime={epoch(end)}"
    if start < now - (reach + 1) * _DAY:
        raise _unprocessable(
            f"{interval} data not available for {span}. The requested range must be within the last {reach} days."
        )
    if interval == "1m" and min(end, now) - start > _LONGEST_1M:
        raise _unprocessable(
            f"1m data not available for {span}. Only 8 days worth of 1m granularity data are allowed to be fetched "
            "per request."
        )


Row = tuple[int, Bar | None]
"""A time stamp with its bar; None for a row without prices."""


def _result(view: VendorView, security: Security, question: _Question) -> dict[str, Any]:
    intraday = question.interval in _INTRADAY_S
    sessions = _sessions(security, question) if intraday else []
    rows = list(_intraday(view, security, question, sessions) if intraday else _daily(view, security, question))
    meta = _meta(view, security, question, rows)
    if intraday:
        meta["tradingPeriods"] = _periods(security, sessions, extended=question.extended)
    meta["range"] = question.range
    meta["validRanges"] = list(_RANGES)
    if not rows:
        return {"meta": meta, "indicators": {"quote": [{}]}}
    result: dict[str, Any] = {"meta": meta, "timestamp": [stamp for stamp, _ in rows]}
    if events := _events(view, security, question):
        result["events"] = events
    result["indicators"] = {"quote": [_columns(rows)]}
    if not intraday:
        result["indicators"]["adjclose"] = [{"adjclose": _adjusted(view, security, rows)}]
    return result


def _sessions(security: Security, question: _Question) -> list[TradingSession]:
    days = range((question.end.date() - question.start.date()).days + 2)
    found = (find_session(security, question.start.date() + n * _DAY) for n in days)
    return [s for s in found if s is not None and s.post_close > question.start and s.pre_open < question.end]


def _intraday(
    view: VendorView, security: Security, question: _Question, sessions: list[TradingSession]
) -> Iterable[Row]:
    length_s = _INTRADAY_S[question.interval]
    today = view.snapshot(security).regular.day
    for session in sessions:
        scale = security.split_factor(session.day, today)
        bars = view.intraday_bars(security, session.day, length_s, extended=question.extended)
        for bar in bars:
            if question.start <= bar.start < question.end:
                stamp = epoch(bar.start)
                missing = view.noise.uniform("null row", security.symbol, stamp) < _NULL_CHANCE and length_s == 60
                yield stamp, None if missing else _rescaled(bar, scale)
        closes = length_s == 60 and security.has_extended_hours and not question.extended
        if closes and bars and session.close < min(view.seen_at(security), question.end):
            official = view.daily_bars(security, session.day, session.day)[0].close
            yield epoch(session.close), Bar(session.close, official, official, official, official, 0.0)


def _rescaled(bar: Bar, scale: float) -> Bar:
    if scale == 1:
        return bar
    volume = None if bar.volume is None else bar.volume * scale
    return Bar(bar.start, bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale, volume)


def _daily(view: VendorView, security: Security, question: _Question) -> Iterable[Row]:
    inclusive = security.kind in ("CRYPTOCURRENCY", "CURRENCY")
    last = epoch(question.end) + (1 if inclusive else 0)
    bars = view.daily_bars(security, question.start.date() - _DAY, question.end.date() + _DAY)
    if question.interval == "1d":
        stamped = ((day_stamp(security, bar.day), bar) for bar in bars)
        return [(stamp, bar) for stamp, bar in stamped if epoch(question.start) <= stamp < last]
    groups = groupby(bars, key=lambda bar: _group_start(bar.day, question.interval))
    merged = ((midnight_stamp(security, start), _merged(list(members))) for start, members in groups)
    return [(stamp, bar) for stamp, bar in merged if epoch(question.start) - 92 * 86400 <= stamp < last]


def _group_start(day: date, interval: str) -> date:
    if interval == "1wk":
        return day - day.weekday() * _DAY
    if interval == "5d":
        return day - (day.toordinal() % 7) * _DAY
    return day.replace(day=1, month=day.month if interval == "1mo" else (day.month - 1) // 3 * 3 + 1)


def _merged(bars: list[Bar]) -> Bar:
    volume = sum(bar.volume or 0.0 for bar in bars)
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    return Bar(bars[0].start, bars[0].open, high, low, bars[-1].close, volume)


def _columns(rows: list[Row]) -> dict[str, list[float | int | None]]:
    bars = [bar for _, bar in rows]
    return {
        "volume": [None if b is None else int(b.volume or 0) for b in bars],
        "high": [None if b is None else float32(b.high) for b in bars],
        "low": [None if b is None else float32(b.low) for b in bars],
        "open": [None if b is None else float32(b.open) for b in bars],
        "close": [None if b is None else float32(b.close) for b in bars],
    }


def _adjusted(view: VendorView, security: Security, rows: list[Row]) -> list[float | None]:
    """Closes corrected for the dividends after each row."""
    first = datetime.fromtimestamp(rows[0][0], UTC).date()
    factors: list[tuple[int, float]] = []
    for dividend in view.dividends(security, first, view.now.date()):
        eve = view.daily_bars(security, dividend.day - 7 * _DAY, dividend.day - _DAY)
        if eve:
            factors.append((day_stamp(security, dividend.day), 1 - dividend.amount / eve[-1].close))
    adjusted: list[float | None] = []
    factor = 1.0
    for stamp, bar in reversed(rows):
        while factors and factors[-1][0] > stamp:
            factor *= factors.pop()[1]
        adjusted.append(None if bar is None else float32(bar.close * factor))
    return adjusted[::-1]


def _events(view: VendorView, security: Security, question: _Question) -> dict[str, Any]:
    first, last = question.start.date(), question.end.date()
    events: dict[str, Any] = {}
    if "div" in question.events:
        stamped = ((day_stamp(security, d.day), round(d.amount, 6)) for d in view.dividends(security, first, last))
        found = {str(stamp): {"amount": amount, "date": stamp} for stamp, amount in stamped}
        events |= {"dividends": found} if found else {}
    if "split" in question.events:
        splits = {}
        for split in view.splits(security, first, last):
            stamp = day_stamp(security, split.day)
            numerator, denominator = (split.ratio, 1.0) if split.ratio >= 1 else (1.0, 1 / split.ratio)
            splits[str(stamp)] = {
                "date": stamp,
                "numerator": round(numerator),
                "denominator": round(denominator),
                "splitRatio": f"{numerator:.0f}:{denominator:.0f}",
            }
        events |= {"splits": splits} if splits else {}
    return events


def _periods(security: Security, sessions: list[TradingSession], *, extended: bool) -> Any:
    periods = [trading_period(security, session) for session in sessions]
    if not extended:
        return [[period["regular"]] for period in periods]
    return {name: [[period[name]] for period in periods] for name in ("pre", "post", "regular")}


def _meta(view: VendorView, security: Security, question: _Question, rows: list[Row]) -> dict[str, Any]:
    seen = view.snapshot(security)
    regular = seen.regular
    exchange = EXCHANGES[security.exchange]
    year = view.year_range(security)
    meta: dict[str, Any] = {
        "currency": security.quoted_in,
        "symbol": yahoo_symbol(security),
        "exchangeName": security.exchange,
        "fullExchangeName": exchange.name,
        "instrumentType": security.kind,
        "firstTradeDate": day_stamp(security, FIRST_DAY),
        "regularMarketTime": regular_time(security, seen),
        "hasPrePostMarketData": security.has_extended_hours,
        **zone_fields(security, view.now),
        "exchangeTimezoneName": exchange.timezone,
        "regularMarketPrice": regular.close,
        "fiftyTwoWeekHigh": year.high,
        "fiftyTwoWeekLow": year.low,
        "regularMarketDayHigh": regular.high,
        "regularMarketDayLow": regular.low,
        "regularMarketVolume": int(regular.volume),
        "longName": security.name,
        "shortName": security.name,
        "chartPreviousClose": _close_before(view, security, rows, seen),
    }
    if question.interval in _INTRADAY_S:
        meta |= {"previousClose": regular.previous_close, "scale": 3}
    return meta | {
        "priceHint": 4 if security.kind == "CURRENCY" else 2,
        "currentTradingPeriod": trading_period(security, _current_session(security, view.now, regular.day)),
        "dataGranularity": question.interval,
    }


def regular_time(security: Security, seen: Snapshot) -> int:
    """`regularMarketTime`: the closing auction of US shares is stamped a second after the bell."""
    late = 1 if seen.regular.over and security.has_extended_hours else 0
    return min(epoch(seen.regular.close_time) + late, epoch(seen.at))


def _close_before(view: VendorView, security: Security, rows: list[Row], seen: Snapshot) -> float:
    if not rows:
        return seen.regular.previous_close
    first = datetime.fromtimestamp(rows[0][0], zone_of(security)).date()
    bars = view.daily_bars(security, max(first - 10 * _DAY, FIRST_DAY), first - _DAY)
    return bars[-1].close if bars else seen.regular.open


def _current_session(security: Security, now: datetime, newest: date) -> TradingSession:
    """Today's session, or else the newest one."""
    session = find_session(security, now.astimezone(zone_of(security)).date()) or find_session(security, newest)
    if session is None:
        raise ValueError(f"{security.symbol} has no session on {newest}")
    return session
