"""Yahoo Finance, keyless and unofficial: world-wide quotes of seconds' age, and bars of every length.

The rule of this module: one symbol is asked from the v8 chart, which needs no session; only the batch needs Yahoo's
cookie and crumb. What Yahoo cannot serve (old minutes, intraday prices without dividends) is refused before a
request is built, because Yahoo itself would answer with other bars or with an error that looks like no data.

Yahoo refuses whole addresses for a quarter of an hour and longer, mostly for what they look like rather than for
their rate; the hosts, headers and rests below were found out by the authors of its unofficial clients.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import quote as percent_encode
from urllib.parse import unquote

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError, vendor_words
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.reading import instant_of, malformed
from mdagent_mcp.domain.vendor import (
    Endpoint,
    ErrorRule,
    HistoryQuery,
    Offer,
    Plan,
    Quota,
    QuoteQuery,
    RecordedUrl,
    Reply,
    Request,
    SessionToken,
    Vendor,
)
from mdagent_mcp.vendors.read_only import read_only_quotes
from mdagent_mcp.vendors.yahoo_chart import SOURCE, instrument_of, spellings_of
from mdagent_mcp.vendors.yahoo_history import NEVER_ADJUSTED, first_day_of, last_day_of, read_history
from mdagent_mcp.vendors.yahoo_quotes import read_batch, read_chart_quote, read_spark, read_summary

MAX_BATCH: Final = 50
"""Symbols per batch; above 99 Yahoo fails."""
REST_S: Final = 900.0
"""Yahoo's blocks last at least a quarter of an hour."""

_CHART_PATH: Final = "/v8/finance/chart/"
_BATCH_PATH: Final = "/v7/finance/quote"
_CRUMB_LIMIT: Final = 40
_CRUMB: Final = re.compile(r"[!-~]+")
_CHART_URL: Final = re.compile(r"/v8/finance/chart(?:/(?P<symbol>[^/]*))?/?$")
_BATCH_URL: Final = re.compile(r"/v7/finance/quote/?$")
_SPARK_URL: Final = re.compile(r"/v7/finance/spark/?$")
_SUMMARY_URL: Final = re.compile(r"/v1[01]/finance/quoteSummary/(?P<symbol>[^/]+)/?$")
_INTERVALS: Final[Mapping[str, Interval]] = MappingProxyType(
    {interval.value: interval for interval in Interval} | {"60m": Interval.HOUR_1}
)
_REACH_DAYS: Final[Mapping[Interval, int]] = MappingProxyType(
    {
        Interval.MIN_1: 30,
        Interval.MIN_5: 60,
        Interval.MIN_15: 60,
        Interval.MIN_30: 60,
        Interval.HOUR_1: 730,
    }
)
"""How many days back Yahoo keeps intraday bars."""
_MINUTES_SPAN: Final = timedelta(days=8)
"""The longest span of one request for 1-minute bars."""
_DAY: Final = timedelta(days=1)
_FIRST_DAY: Final = date(1900, 1, 1)
_LAST_DAY: Final = date(2099, 12, 30)
_AHEAD_OF_UTC: Final = timedelta(hours=14)
_BEHIND_UTC: Final = timedelta(hours=12)
_FOREX_OPEN: Final = timedelta(hours=17)
"""A forex day runs from 17:00 to 17:00 New York."""


def _never(_query: object) -> str | None:
    return None


# Quotes.


def _build_quote(query: QuoteQuery) -> tuple[Request, ...]:
    parameters = (("interval", "1m"), ("range", "1d"), ("includePrePost", "true"))
    return (Request(_chart_path(query.instruments[0]), parameters),)


def _build_quotes(query: QuoteQuery) -> tuple[Request, ...]:
    return (Request(_BATCH_PATH, (("symbols", ",".join(spellings_of(i)[0] for i in query.instruments)),)),)


def _chart_path(instrument: Instrument) -> str:
    return _CHART_PATH + percent_encode(spellings_of(instrument)[0], safe="=")


# Series.


def _refuses_history(query: HistoryQuery) -> str | None:
    """Why Yahoo cannot serve these bars; None when it can."""
    interval, today = query.interval, query.now.date()
    if not interval.is_intraday:
        return None
    if query.adjustment is Adjustment.ALL and query.instrument.asset_class not in NEVER_ADJUSTED:
        return "Yahoo adjusts for dividends only in daily and longer bars"
    reach, age = _REACH_DAYS[interval], (today - query.first).days
    if age >= reach:
        return f"Yahoo keeps {interval} bars for {reach} days; {query.first} is {age} days ago"
    start, end = _asked_span(query)
    if interval is Interval.MIN_1 and end - start >= _MINUTES_SPAN:
        why = " and prices as traded need every split up to now" if query.adjustment is Adjustment.NONE else ""
        return f"Yahoo serves less than {_MINUTES_SPAN.days} days of 1m bars at once{why}"
    return None


def _build_history(query: HistoryQuery) -> tuple[Request, ...]:
    start, end = _asked_span(query)
    extended = query.extended_hours and query.interval.is_intraday
    parameters = (
        ("period1", str(int(start.timestamp()))),
        ("period2", str(int(end.timestamp()))),
        ("interval", query.interval.value),
        ("events", "div,splits,capitalGains"),
        ("includePrePost", "true" if extended else "false"),
    )
    return (Request(_chart_path(query.instrument), parameters),)


def _asked_span(query: HistoryQuery) -> tuple[datetime, datetime]:
    """The instants to ask between: whole days, weeks or months, so that no bar comes cut."""
    first, last = (min(max(day, _FIRST_DAY), _LAST_DAY) for day in (query.first, query.last))
    if query.interval.is_intraday:
        start, end = _start_of(first, query.instrument), _start_of(last + _DAY, query.instrument)
        start = max(start, query.now - timedelta(days=_REACH_DAYS[query.interval]) + timedelta(minutes=1))
        end = min(end, max(query.now, start + timedelta(minutes=1)))
    else:
        # Daily stamps are the session's open or the midnight of some zone; rows of other days are dropped on reading.
        start = _utc_midnight(first_day_of(query.interval, first)) - _AHEAD_OF_UTC
        end = _utc_midnight(last_day_of(query.interval, last) + _DAY) + _BEHIND_UTC
    # Prices as traded are worked out from splits, and those come only with the range they fall into.
    return start, max(end, query.now) if query.adjustment is Adjustment.NONE else end


def _start_of(day: date, instrument: Instrument) -> datetime:
    """When a trading date begins for intraday bars; the earliest it may where the market's zone is not known."""
    calendar = calendar_named(instrument.calendar)
    if not calendar.known:
        return _utc_midnight(day) - _BEHIND_UTC
    local = datetime(day.year, day.month, day.day, tzinfo=calendar.zone)
    if instrument.asset_class is AssetClass.FOREX:
        local = local - _DAY + _FOREX_OPEN
    return local.astimezone(UTC)


def _utc_midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


# The crumb.


def _read_crumb(reply: Reply) -> str:
    """The crumb, refused unless it looks like one: an error text kept as a crumb spoils every later batch."""
    try:
        text = reply.body.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise malformed("the crumb is not ASCII") from error
    if "too many requests" in text.lower():
        raise SourceError(FailureKind.THROTTLED, "Too Many Requests in place of a crumb", REST_S)
    if len(text) > _CRUMB_LIMIT or "<" in text or text.startswith("{") or not _CRUMB.fullmatch(text):
        raise malformed(f"no crumb, {vendor_words(text)}" if text else "no crumb: the reply is empty")
    return text


# Recorded URLs.


def _recognise_quote(recorded: RecordedUrl) -> QuoteQuery | None:
    match, query = _CHART_URL.search(recorded.path), recorded.query
    ranged = "period1" in query or "period2" in query
    if match is None or ranged or query.get("interval", "1m") != "1m" or query.get("range", "1d") != "1d":
        return None
    return QuoteQuery((_charted(recorded, match["symbol"]),), recorded.received_at)


def _recognise_quotes(recorded: RecordedUrl) -> QuoteQuery | None:
    return _listed(recorded) if _BATCH_URL.search(recorded.path) else None


def _recognise_spark(recorded: RecordedUrl) -> QuoteQuery | None:
    return _listed(recorded) if _SPARK_URL.search(recorded.path) else None


def _recognise_summary(recorded: RecordedUrl) -> QuoteQuery | None:
    match = _SUMMARY_URL.search(recorded.path)
    return None if match is None else QuoteQuery((_charted(recorded, match["symbol"]),), recorded.received_at)


def _listed(recorded: RecordedUrl) -> QuoteQuery:
    if recorded.instrument is not None:
        return QuoteQuery((recorded.instrument,), recorded.received_at)
    names = [name for name in recorded.query.get("symbols", "").split(",") if name.strip()]
    if not names:
        raise SourceError(FailureKind.BAD_REQUEST, "the URL names no symbols; name the symbol")
    return QuoteQuery(tuple(dict.fromkeys(map(instrument_of, names))), recorded.received_at)


def _recognise_history(recorded: RecordedUrl) -> HistoryQuery | None:
    match, query = _CHART_URL.search(recorded.path), recorded.query
    if match is None:
        return None
    instrument = _charted(recorded, match["symbol"])
    interval = _INTERVALS.get(query.get("interval", "1d"))
    if interval is None:
        raise SourceError(FailureKind.UNSUPPORTED, f"bars of {query['interval']} are not asked for")
    first, last = _FIRST_DAY, _LAST_DAY
    if "period1" in query:
        first = _epoch(query["period1"]).date()
    if "period2" in query:
        # Yahoo counts the day, week or month that begins at period2 in, as midnights of crypto days show.
        until = _epoch(query["period2"])
        last = (until - timedelta(seconds=1)).date() if interval.is_intraday else until.date()
    extended = query.get("includePrePost", "").lower() == "true"
    return HistoryQuery(instrument, interval, first, last, Adjustment.SPLITS, extended, recorded.received_at)


def _charted(recorded: RecordedUrl, segment: str | None) -> Instrument:
    name = unquote(segment or "") or recorded.query.get("symbol", "")
    if recorded.instrument is None and not name.strip():
        raise SourceError(FailureKind.BAD_REQUEST, "the URL names no symbol; name it")
    return recorded.instrument or instrument_of(name)


def _epoch(text: str) -> datetime:
    if not re.fullmatch(r"-?\d{1,12}", text, re.ASCII):
        raise SourceError(FailureKind.BAD_REQUEST, f"{text!r} is no epoch in seconds")
    return instant_of(float(text), "the URL's period")


# The declaration.

_ERRORS: Final = (
    ErrorRule(FailureKind.THROTTLED, contains=b"Too Many Requests", retry_after_s=REST_S),
    ErrorRule(FailureKind.THROTTLED, status=999, retry_after_s=REST_S),
    ErrorRule(FailureKind.UNAUTHORIZED, contains=b"Invalid Crumb"),
    ErrorRule(FailureKind.UNAUTHORIZED, contains=b"User is unable to access this feature"),
    ErrorRule(FailureKind.NO_DATA, contains=b"Data doesn't exist for startDate"),
    ErrorRule(FailureKind.NO_DATA, contains=b"data not available for startDate"),
    ErrorRule(FailureKind.UNKNOWN_SYMBOL, status=404, contains=b"No data found"),
    ErrorRule(FailureKind.UNKNOWN_SYMBOL, status=404, contains=b'"Not Found"'),
    # Any other 404 is a page that moved, and a 403 an address that is shut out: neither speaks of the symbol.
    ErrorRule(FailureKind.SOURCE_ERROR, status=404),
    ErrorRule(FailureKind.SOURCE_ERROR, status=403),
    ErrorRule(FailureKind.BAD_REQUEST, status=422),
    ErrorRule(FailureKind.SOURCE_ERROR, contains=b"Will be right back"),
)

_PLAN: Final = Plan(
    # Yahoo publishes no limit. Half a request a second in bursts of five; and one address was blocked after some 40
    # requests in 40 minutes. A batch makes that last for 2,000 prices.
    quotas=(Quota(5, 10.0, "10 seconds"), Quota(40, 2400.0, "40 minutes")),
)

YAHOO: Final = Vendor(
    id=SOURCE,
    title="Yahoo Finance",
    docs_url="https://ranaroussi.github.io/yfinance/",
    terms="Personal use only: automated access without permission and commercial reuse are forbidden.",
    hosts=MappingProxyType(
        {
            "api": "https://query1.finance.yahoo.com",
            "second": "https://query2.finance.yahoo.com",
            "cookie": "https://fc.yahoo.com",
        }
    ),
    quote=Offer(Endpoint.QUOTE, _never, _build_quote, read_chart_quote, _recognise_quote),
    quotes=Offer(Endpoint.QUOTES, _never, _build_quotes, read_batch, _recognise_quotes, max_batch=MAX_BATCH),
    history=Offer(Endpoint.HISTORY, _refuses_history, _build_history, read_history, _recognise_history),
    readable=(
        read_only_quotes(read_spark, _recognise_spark),
        read_only_quotes(read_summary, _recognise_summary),
    ),
    errors=_ERRORS,
    plans=MappingProxyType({"free": _PLAN}),
    headers=(
        # Without "Mozilla" in it, or without any, Yahoo answers 429 at once.
        ("User-Agent", "Mozilla/5.0 (compatible; mdagent-mcp)"),
        ("Accept", "application/json,text/plain,*/*"),
        ("Accept-Language", "en-US,en;q=0.9"),
    ),
    token=SessionToken(
        endpoints=frozenset({Endpoint.QUOTES}),
        warm_up=Request("/", host="cookie"),
        fetch=Request("/v1/test/getcrumb"),
        parse=_read_crumb,
        parameter="crumb",
    ),
    # Yahoo's free US prices are Nasdaq's last sale, its coins CoinMarketCap's: not voices of their own.
    upstream_groups=MappingProxyType({AssetClass.US_EQUITY: "nasdaq_last_sale", AssetClass.CRYPTO: "coinmarketcap"}),
    rest_after_throttle_s=REST_S,
    shortest_rest_s=REST_S,
    concurrency=2,
    impersonates_browser=True,
    weight=0.8,
)
"""Yahoo Finance."""
