"""Which call of Polygon a recorded URL was.

The rule of this module: a URL that names no instrument, as documentation writes it (`{ticker}`), is about what its
reply names, unless a person names one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from typing import Final
from urllib.parse import unquote

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.reading import instant_of
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery, RecordedUrl
from mdagent_mcp.vendors.polygon_days import DayQuery
from mdagent_mcp.vendors.polygon_history import SPANS, AskedQuery
from mdagent_mcp.vendors.polygon_replies import PAIRS, instrument_of, recorded_ticker

_SNAPSHOT: Final = re.compile(
    r"/v2/snapshot/locale/(?:us|global)/markets/(?:stocks|forex|crypto)/(?:tickers(?:/(?P<ticker>[^/]+))?|gainers|losers)$"
)
_UNIFIED: Final = re.compile(r"/(?:v3/snapshot(?P<indices>/indices)?|v1/summaries)$")
_LAST_TRADE: Final = re.compile(r"/(?:v2/last/trade|v1/last/stocks|v1/last/(?P<market>crypto))/(?P<ticker>.+)$")
_LAST_QUOTE: Final = re.compile(
    r"/(?:v2/last/nbbo|v1/last_quote/stocks|v1/last_quote/(?P<market>currencies))/(?P<ticker>.+)$"
)
_PREVIOUS: Final = re.compile(r"/v2/aggs/ticker/(?P<ticker>[^/]+)/prev$")
_GROUPED: Final = re.compile(r"/v2/aggs/grouped/locale/us/market/stocks/(?P<day>[^/]+)$")
_OPEN_CLOSE: Final = re.compile(r"/v1/open-close/(?:(?P<market>crypto)/)?(?P<ticker>.+)/(?P<day>[^/]+)$")
_BARS: Final = re.compile(
    r"/v2/aggs/ticker/(?P<ticker>[^/]+)/range/(?P<size>[^/]+)/(?P<span>[^/]+)/(?P<first>[^/]+)/(?P<last>[^/]+)$"
)
_EARLIEST: Final = date(1970, 1, 2)
_CALENDAR_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_STAMP: Final = re.compile(r"\d{9,14}", re.ASCII)


def _matched(pattern: re.Pattern[str], recorded: RecordedUrl) -> re.Match[str] | None:
    return pattern.search(unquote(recorded.path))


def _of(recorded: RecordedUrl, *tickers: str) -> QuoteQuery:
    found = tuple(i for ticker in tickers if (i := instrument_of(ticker)) is not None)
    if not found and recorded.instrument is not None:
        found = (recorded.instrument,)
    return QuoteQuery(found, recorded.received_at)


def _prefixed(match: re.Match[str]) -> str:
    """The ticker of a path that writes a pair in two parts."""
    prefix = {"crypto": "X:", "currencies": "C:"}.get(match["market"] or "", "")
    return prefix + match["ticker"].replace("/", "") if prefix else match["ticker"]


def recognise_snapshot(recorded: RecordedUrl) -> QuoteQuery | None:
    """A v2 snapshot of one, some or all."""
    match = _matched(_SNAPSHOT, recorded)
    if match is None:
        return None
    named = (match["ticker"],) if match["ticker"] else tuple(recorded.query.get("tickers", "").split(","))
    return _of(recorded, *named)


def recognise_unified(recorded: RecordedUrl) -> QuoteQuery | None:
    """A v3 snapshot, of indices alone too, whose tickers were once written without prefix."""
    match = _matched(_UNIFIED, recorded)
    if match is None:
        return None
    named = recorded.query.get("ticker.any_of") or recorded.query.get("ticker") or ""
    of_indices = "/indices" in recorded.path
    tickers = (f"I:{t}" if of_indices and ":" not in t else t for t in named.split(",") if t)
    query = _of(recorded, *tickers)
    # Tickers that have no symbol here are read too, for what the vendor says of them.
    every = len(query.instruments) == len(named.split(","))
    return query if every or not named else QuoteQuery((), recorded.received_at)


def _pattern(pattern: re.Pattern[str]) -> Callable[[RecordedUrl], QuoteQuery | None]:
    def recognise(recorded: RecordedUrl) -> QuoteQuery | None:
        match = _matched(pattern, recorded)
        if match is None:
            return None
        return _of(recorded, _prefixed(match) if "market" in match.groupdict() else match["ticker"])

    return recognise


recognise_last_trade: Final = _pattern(_LAST_TRADE)
"""The last trade, of a share or of crypto, in any generation."""
recognise_last_quote: Final = _pattern(_LAST_QUOTE)
"""The last quote, of a share or of a currency, in any generation."""
recognise_previous: Final = _pattern(_PREVIOUS)
"""The previous day's bar."""


def recognise_grouped(recorded: RecordedUrl) -> DayQuery | None:
    """A day of the whole market."""
    match = _matched(_GROUPED, recorded)
    if match is None:
        return None
    asked = () if recorded.instrument is None else (recorded.instrument,)
    return DayQuery(asked, recorded.received_at, _day(match["day"]))


def recognise_open_close(recorded: RecordedUrl) -> DayQuery | None:
    """A day's open and close."""
    match = _matched(_OPEN_CLOSE, recorded)
    if match is None:
        return None
    asked = _of(recorded, _prefixed(match))
    return DayQuery(asked.instruments, recorded.received_at, _day(match["day"]))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _CALENDAR_DATE.fullmatch(text) else None
    except ValueError:
        return None


def recognise_bars(recorded: RecordedUrl) -> HistoryQuery | None:
    """Bars; the length must be told, the range need not be."""
    match = _matched(_BARS, recorded)
    if match is None:
        return None
    instrument = recorded_ticker(match["ticker"], recorded)
    if instrument is None:
        raise SourceError(FailureKind.BAD_REQUEST, "the URL names no symbol; name it")
    interval = _interval(match["size"], match["span"])
    zone: tzinfo = UTC if instrument.asset_class in PAIRS else calendar_named(instrument.calendar).zone
    first, last = (_bound(match[name], zone) for name in ("first", "last"))
    return AskedQuery(
        instrument=instrument,
        interval=interval,
        first=first or _EARLIEST,
        last=last or recorded.received_at.astimezone(zone).date(),
        adjustment=_basis(recorded, instrument),
        extended_hours=interval.is_intraday,
        now=recorded.received_at,
        bounded=first is not None and last is not None,
    )


def _interval(size: str, span: str) -> Interval:
    found = next((i for i, told in SPANS.items() if (str(told[0]), told[1]) == (size, span)), None)
    if found is None:
        if size.isdigit() and span.isalpha():
            raise SourceError(FailureKind.UNSUPPORTED, f"no bars of {size} {span} are asked for")
        raise SourceError(FailureKind.BAD_REQUEST, "the URL names no bar length")
    return found


def _basis(recorded: RecordedUrl, instrument: Instrument) -> Adjustment:
    """Adjusted unless the URL says otherwise; until 2021 the parameter was the opposite, `unadjusted`."""
    raw = recorded.query.get("adjusted", "true").lower() == "false"
    raw = raw or recorded.query.get("unadjusted", "false").lower() == "true"
    return Adjustment.NONE if raw and instrument.asset_class is AssetClass.US_EQUITY else Adjustment.SPLITS


def _bound(text: str, zone: tzinfo) -> date | None:
    """A date, or a time in milliseconds."""
    if _STAMP.fullmatch(text):
        at: datetime = instant_of(int(text) / 1000, "the URL's range")
        return at.astimezone(zone).date()
    return _day(text)
