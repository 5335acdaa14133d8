"""Polygon's bars over HTTP: a range, the previous day, a whole day of the market, and the summary of one day.

`limit` counts the base aggregates a page is made of, not its bars; `next_url` names the vendor's own host and no key.
Rows of the previous day and of a whole market carry the close of the session as their time, those of a range its start.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import groupby
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.polygon_bars import (
    TIMESPANS,
    Windows,
    base_bars,
    forex_day,
    gathered,
    midnight,
    written,
)
from mdagent_mcp.sandbox.polygon_tickers import (
    HOST,
    NEW_YORK,
    NOT_ENTITLED,
    OLDER_HOST,
    TODAY,
    TOO_OLD,
    PolygonPlan,
    asset_class,
    find,
    milliseconds,
    mistaken,
    not_found,
    plan_of,
    seen_with,
    ticker_of,
    told,
    told_bare,
    unauthorized,
    zone_of,
)
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security, find_security, securities
from mdagent_mcp.sandbox.venues import VendorView

_DAY: Final = timedelta(days=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_ROUND_THE_CLOCK: Final = ("X:", "C:")
_MULTIPLIER: Final = re.compile(r"[1-9][0-9]{0,4}")
_LAST_DATE: Final = date(2199, 12, 31)
_USUAL_LIMIT: Final = 5_000
_MOST: Final = 50_000
_MARKETS: Final = {"stocks": "stocks", "crypto": "crypto", "fx": "fx", "forex": "fx"}
_UNREADABLE: Final = "Could not parse the time parameter: '{}'. Use YYYY-MM-DD or Unix MS Timestamps"


def aggregates(view: VendorView, request: Request) -> Response:
    """`/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}`."""
    asked, plan = request.path_params, plan_of(request)
    query = _query(request)
    if not _MULTIPLIER.fullmatch(asked["multiplier"]) or asked["timespan"] not in TIMESPANS:
        return mistaken(view, request, "Invalid multiplier or timespan")
    ends = {name: _instant(asked[name]) for name in ("from", "to")}
    for name, found in ends.items():
        if found is None:
            return mistaken(view, request, _UNREADABLE.format(name))
    first, last = ends["from"] or view.now, ends["to"] or view.now
    zone = UTC if asked["ticker"].startswith(_ROUND_THE_CLOCK) else NEW_YORK
    refusal = _untimely(view, plan, (first.astimezone(zone).date(), last.astimezone(zone).date()), zone)
    if refusal is not None:
        return unauthorized(view, request, refusal)
    adjusted = query.get("adjusted", "true").lower() != "false"
    head = {"ticker": asked["ticker"], "queryCount": 0, "resultsCount": 0, "adjusted": adjusted, "status": plan.status}
    seen = seen_with(view, plan)
    security = find(seen, asked["ticker"])
    if security is None:
        return told(view, request, head)
    if plan.stocks_only and asset_class(security) != "stocks":
        return unauthorized(view, request, NOT_ENTITLED)
    page = _Page(seen, security, request, query, plan)
    return told(view, request, head | {"ticker": ticker_of(security)} | page.body(first, last, adjusted=adjusted))


class _Page:
    """One page of bars."""

    def __init__(
        self, view: VendorView, security: Security, request: Request, query: dict[str, str], plan: PolygonPlan
    ) -> None:
        self._view = view
        self._plan = plan
        self._security = security
        self._request = request
        self._query = query
        self._newest_first = query.get("sort", "asc") == "desc"
        limit = query.get("limit", "")
        self._limit = max(1, min(int(limit), _MOST)) if limit.isdecimal() else _USUAL_LIMIT

    def body(self, first: datetime, last: datetime, *, adjusted: bool) -> dict[str, Any]:
        """What the page says beside its head."""
        asked = self._request.path_params
        first = _begin(first, asked["from"], self._security)
        last = _end(last, asked["to"], self._security)
        windows = Windows.around(self._security, int(asked["multiplier"]), asked["timespan"], first)
        known = self._view.now + _DAY
        if not self._plan.snapshots:
            known = midnight(self._security, self._view.now.astimezone(zone_of(self._security)).date())
        span = (windows.begin, min(windows.end_of(min(last, known)), known))
        base = base_bars(self._view, windows, span, adjusted=adjusted, newest_first=self._newest_first)
        results, used, following = self._taken(windows, base)
        if not results:
            return {}
        counts = {"queryCount": used, "resultsCount": len(results), "results": results, "count": len(results)}
        return counts if following is None else counts | {"next_url": self._next_url(windows, following)}

    def _taken(self, windows: Windows, base: Iterable[Bar]) -> tuple[list[dict[str, Any]], int, datetime | None]:
        """Whole windows of at most `limit` base aggregates, at least one; and where the next page begins."""
        results: list[dict[str, Any]] = []
        used = 0
        for start, members in groupby(base, key=lambda bar: windows.start_of(bar.start)):
            bars = list(members)
            if results and used + len(bars) > self._limit:
                return results, used, start
            used += len(bars)
            bar = gathered(start, bars[::-1] if self._newest_first else bars)
            results.append(written(self._view, self._security, bar))
        return results, used, None

    def _next_url(self, windows: Windows, following: datetime) -> str:
        asked = dict(self._request.path_params)
        if self._newest_first:
            asked["to"] = str(milliseconds(windows.end_of(following)) - 1)
        else:
            asked["from"] = str(milliseconds(following))
        kept = [(name, self._query[name]) for name in ("limit", "sort", "adjusted") if name in self._query]
        cursor = urlsafe_b64encode(urlencode(kept).encode()).decode().rstrip("=")
        host = OLDER_HOST if "apiKey" in self._request.query_params else HOST
        path = "/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}".format_map(asked)
        return f"{host}{path}?cursor={cursor}"


def _query(request: Request) -> dict[str, str]:
    """The parameters, those of a cursor included."""
    query = dict(request.query_params)
    cursor = query.pop("cursor", "")
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        return query
    return {name: values[-1] for name, values in parse_qs(text).items()} | query


def _instant(text: str) -> datetime | None:
    """A date at midnight New York or milliseconds of the epoch."""
    try:
        if text.lstrip("-").isdecimal():
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        return datetime.combine(date.fromisoformat(text), time(12), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _begin(instant: datetime, text: str, security: Security) -> datetime:
    """A date begins where the security's days do; milliseconds are an instant."""
    return midnight(security, date.fromisoformat(text)) if _is_date(text) else instant


def _end(instant: datetime, text: str, security: Security) -> datetime:
    """A date ends a millisecond before the next, however many hours it has; milliseconds are an instant."""
    if not _is_date(text):
        return instant
    day = min(date.fromisoformat(text), _LAST_DATE)
    return midnight(security, day + _DAY) - _MILLISECOND


def _is_date(text: str) -> bool:
    return "-" in text.lstrip("-")


def _untimely(view: VendorView, plan: PolygonPlan, dates: tuple[date, date], zone: tzinfo = NEW_YORK) -> str | None:
    """Why a plan does not include these dates; None when it does."""
    first, last = dates
    today = view.now.astimezone(zone).date()
    oldest = today - timedelta(days=round(365.25 * plan.years) + 1)
    if first > today or first < oldest:
        return TOO_OLD
    return TODAY if last >= today and not plan.snapshots else None


def previous_day(view: VendorView, request: Request) -> Response:
    """`/v2/aggs/ticker/{ticker}/prev`: the session that ended last."""
    plan = plan_of(request)
    seen = seen_with(view, plan)
    adjusted = request.query_params.get("adjusted", "true").lower() != "false"
    head = {"ticker": request.path_params["ticker"], "queryCount": 0, "resultsCount": 0, "adjusted": adjusted}
    security = find(seen, request.path_params["ticker"])
    if security is not None and plan.stocks_only and asset_class(security) != "stocks":
        return unauthorized(view, request, NOT_ENTITLED)
    row = None if security is None else _closed_row(seen, security, last_day(seen, security), adjusted=adjusted)
    if security is None or row is None:
        return told(view, request, head | {"status": plan.status})
    found = {"ticker": ticker_of(security), "queryCount": 1, "resultsCount": 1, "results": [row], "count": 1}
    return told(view, request, head | found | {"status": plan.status})


def last_day(view: VendorView, security: Security) -> date:
    """The day that ended last; of forex one from midnight to midnight UTC with trading."""
    if security.kind != "CURRENCY":
        completed = calendar_named(security.instrument.calendar).latest_completed(view.seen_at(security))
        return FIRST_DAY if completed is None else completed.day
    day = view.seen_at(security).date() - _DAY
    return day - _DAY if day.weekday() == _SATURDAY else day


_SATURDAY: Final = 5


def day_bar(view: VendorView, security: Security, day: date, *, adjusted: bool = True) -> Bar | None:
    """The bar of one day; None when nothing was traded."""
    if security.kind == "CURRENCY":
        return forex_day(view, security, day)
    return next(iter(view.daily_bars(security, day, day, as_traded=not adjusted)), None)


def _closed_row(view: VendorView, security: Security, day: date, *, adjusted: bool) -> dict[str, Any] | None:
    bar = day_bar(view, security, day, adjusted=adjusted)
    if bar is None:
        return None
    return {"T": ticker_of(security), **written(view, security, bar), "t": milliseconds(_closed_at(security, day))}


def _closed_at(security: Security, day: date) -> datetime:
    """When a day's row is stamped: the close of the session, or the last millisecond of a day without one."""
    session = calendar_named(security.instrument.calendar).session_on(day)
    if session is None or zone_of(security) != NEW_YORK:
        return midnight(security, day + _DAY) - _MILLISECOND
    return session.close


def grouped(view: VendorView, request: Request) -> Response:
    """`/v2/aggs/grouped/locale/{locale}/market/{market}/{date}`: one row for everything traded on a day."""
    plan, seen = plan_of(request), seen_with(view, plan_of(request))
    market = _MARKETS.get(request.path_params["market"])
    try:
        day = date.fromisoformat(request.path_params["date"])
    except ValueError:
        return mistaken(view, request, _UNREADABLE.format("date"))
    if market is None:
        return mistaken(view, request, "Invalid market")
    refusal = NOT_ENTITLED if plan.stocks_only and market != "stocks" else _untimely(view, plan, (day, day))
    if refusal is not None:
        return unauthorized(view, request, refusal)
    adjusted = request.query_params.get("adjusted", "true").lower() != "false"
    found = (_closed_row(seen, security, day, adjusted=adjusted) for security in _members(seen, market))
    rows = [row for row in found if row is not None]
    body = {"queryCount": len(rows), "resultsCount": len(rows), "adjusted": adjusted, "status": plan.status}
    return told(view, request, body | ({"results": rows, "count": len(rows)} if rows else {}))


def market_symbols() -> tuple[str, ...]:
    """Every canonical symbol there is, with the synthetic companies."""
    return (*securities(), *(f"SIM{number:03}" for number in range(1000)))


def _members(view: VendorView, market: str) -> Iterable[Security]:
    """All that is traded on a market."""
    for symbol in market_symbols():
        listed = find_security(symbol)
        if listed is None or asset_class(listed) != market or listed.exchange == "LSE":
            continue
        security = view.find(symbol)
        if security is not None:
            yield security


def open_close(view: VendorView, request: Request) -> Response:
    """`/v1/open-close/{ticker}/{date}`: one day with its first and last price outside the session."""
    plan, seen = plan_of(request), seen_with(view, plan_of(request))
    try:
        day = date.fromisoformat(request.path_params["date"])
    except ValueError:
        return mistaken(view, request, _UNREADABLE.format("date"))
    refusal = _untimely(view, plan, (day, day))
    if refusal is not None:
        return unauthorized(view, request, refusal)
    security = find(seen, request.path_params["ticker"])
    if security is not None and plan.stocks_only and asset_class(security) != "stocks":
        return unauthorized(view, request, NOT_ENTITLED)
    adjusted = request.query_params.get("adjusted", "true").lower() != "false"
    bar = None if security is None else day_bar(seen, security, day, adjusted=adjusted)
    if security is None or bar is None or asset_class(security) not in ("stocks", "indices"):
        return not_found(view, request, "Data not found.")
    return told_bare(view, request, _summary(seen, security, day, bar))


def _summary(view: VendorView, security: Security, day: date, bar: Bar) -> dict[str, Any]:
    around = view.intraday_bars(security, day, 60, extended=True)
    row = written(view, security, bar)
    index = security.kind == "INDEX"
    return {
        "status": "OK",
        "from": f"{day.isoformat()}T00:00:00.000Z" if index else day.isoformat(),
        "symbol": ticker_of(security),
        "open": bar.open,
        "high": bar.high,
        "low": bar.low,
        "close": bar.close,
        **({} if index else {"volume": row["v"]}),
        "afterHours": around[-1].close,
        "preMarket": around[0].open,
    }
