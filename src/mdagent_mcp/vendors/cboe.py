"""Cboe's delayed quotes: static JSON on a content network, fifteen minutes late, no key, an independent venue.

The rule of this module: it says what is asked and how a recorded URL is understood; quote files are read in
`cboe_quotes`, charts in `cboe_charts`.
"""

from __future__ import annotations

import re
from datetime import date
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import (
    Endpoint,
    ErrorRule,
    HistoryQuery,
    Offer,
    Plan,
    Quota,
    QuoteQuery,
    RecordedUrl,
    Request,
    Storing,
    Vendor,
    recorded_instrument,
)
from mdagent_mcp.vendors.cboe_charts import read_history
from mdagent_mcp.vendors.cboe_quotes import CANONICAL, DELAY_S, SOURCE, read_quote, spelling_of
from mdagent_mcp.vendors.cboe_readable import read_index_table, recognise_index_table
from mdagent_mcp.vendors.read_only import read_only_history, read_only_quotes

_BLOCKED_S: Final = 900.0
_QUOTAS: Final = (Quota(120, 60.0, "minute"), Quota(3600, 3600.0, "hour"))
_EARLIEST: Final = date(1970, 1, 1)
_FOLDER: Final = "/api/global/delayed_quotes"
_PATH: Final = re.compile(
    r"/delayed_quotes/(?P<kind>quotes|options|charts/historical|charts/intraday)/(?P<symbol>[^/]+)\.json$"
)
_INTERVALS: Final = MappingProxyType({"charts/historical": Interval.DAY_1, "charts/intraday": Interval.MIN_1})


def _not_carried(instrument: Instrument) -> str:
    return f"Cboe shows US listings and some of its indices, not {instrument.symbol}"


def _refuses_quote(query: QuoteQuery) -> str | None:
    return next((_not_carried(i) for i in query.instruments if spelling_of(i) is None), None)


def _refuses_history(query: HistoryQuery) -> str | None:
    if spelling_of(query.instrument) is None:
        return _not_carried(query.instrument)
    if query.interval is Interval.DAY_1:
        return None if query.adjustment is Adjustment.SPLITS else "Cboe's daily bars are adjusted for splits only"
    if query.interval is not Interval.MIN_1:
        return f"Cboe has daily and one-minute bars, not {query.interval}"
    if query.adjustment is Adjustment.ALL:
        return "Cboe's bars are not adjusted for dividends"
    if query.extended_hours:
        return "Cboe's minutes cover regular trading only"
    calendar = calendar_named(query.instrument.calendar)
    newest = (calendar.latest_opened(query.now), calendar.latest_completed(query.now))
    if not any(s is not None and query.first <= s.day <= query.last for s in newest):
        return "Cboe keeps the minutes of the last session only"
    return None


def _path(kind: str, instrument: Instrument) -> str:
    spelling = spelling_of(instrument)
    if spelling is None:
        raise SourceError(FailureKind.UNSUPPORTED, _not_carried(instrument))
    return f"{_FOLDER}/{kind}/{spelling}.json"


def _build_quote(query: QuoteQuery) -> tuple[Request, ...]:
    return (Request(_path("quotes", query.instruments[0])),)


def _build_history(query: HistoryQuery) -> tuple[Request, ...]:
    kind = "charts/intraday" if query.interval.is_intraday else "charts/historical"
    return (Request(_path(kind, query.instrument)),)


def _recognise_quote(recorded: RecordedUrl) -> QuoteQuery | None:
    return _quote_query(recorded, "quotes")


def _recognise_options(recorded: RecordedUrl) -> QuoteQuery | None:
    """The file of a symbol's options begins with the symbol's own quote."""
    return _quote_query(recorded, "options")


def _quote_query(recorded: RecordedUrl, kind: str) -> QuoteQuery | None:
    match = _PATH.search(recorded.path)
    if match is None or match["kind"] != kind:
        return None
    return QuoteQuery((_recorded_instrument(match["symbol"], recorded),), recorded.received_at)


def _recognise_history(recorded: RecordedUrl) -> HistoryQuery | None:
    match = _PATH.search(recorded.path)
    if match is None or match["kind"] not in _INTERVALS:
        return None
    interval = _INTERVALS[match["kind"]]
    return HistoryQuery(
        instrument=_recorded_instrument(match["symbol"], recorded),
        interval=interval,
        first=_EARLIEST,
        last=recorded.received_at.date(),
        adjustment=Adjustment.NONE if interval.is_intraday else Adjustment.SPLITS,
        extended_hours=False,
        now=recorded.received_at,
    )


def _recorded_instrument(name: str, recorded: RecordedUrl) -> Instrument:
    """The instrument that a URL names, or the one a person names where the URL's word is no symbol."""
    symbol = unquote(name)
    canonical = CANONICAL.get(symbol, symbol.replace("_", "^", 1) if symbol.startswith("_") else symbol)
    return recorded_instrument(canonical, recorded.instrument)


CBOE: Final = Vendor(
    id=SOURCE,
    title="Cboe",
    docs_url="https://www.cboe.com/delayed_quotes/",
    terms="Delayed quotes of the website: one copy for personal, non-commercial use; no storing.",
    storing=Storing.FORBIDDEN,
    hosts=MappingProxyType({"api": "https://cdn-api.cboe.com", "second": "https://cdn.cboe.com"}),
    quote=Offer(Endpoint.QUOTE, _refuses_quote, _build_quote, read_quote, _recognise_quote),
    history=Offer(Endpoint.HISTORY, _refuses_history, _build_history, read_history, _recognise_history),
    readable=(
        read_only_quotes(read_quote, _recognise_options),
        read_only_history(read_index_table, recognise_index_table),
    ),
    errors=(
        # The store behind the network refuses a file that does not exist in these words.
        ErrorRule(FailureKind.UNKNOWN_SYMBOL, status=403, contains=b"<code>accessdenied</code>"),
        ErrorRule(FailureKind.THROTTLED, status=403, retry_after_s=_BLOCKED_S),
    ),
    # Small static files on a content network without a published limit, and no batch: a question about 50 symbols
    # comes as one burst of 50, eight at once; over the hour it is one request a second.
    plans=MappingProxyType({"free": Plan(quotas=_QUOTAS, declared_delay_s=DELAY_S)}),
    timeout_s=4.0,
    rest_after_throttle_s=_BLOCKED_S,
    concurrency=8,
    weight=0.75,
)
"""Cboe, as the engine knows it."""
