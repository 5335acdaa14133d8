"""Nasdaq's website API: real-time Nasdaq Last Sale of US listings, and ten years of daily bars, without a key.

The rule of this module: it says what is asked and how a recorded URL is understood; what a reply says is read in
`nasdaq_quotes` and, for a series, here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.reading import Json, countable, malformed, positive
from mdagent_mcp.domain.rows import bars_and_null_rows
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
    Vendor,
    recorded_instrument,
)
from mdagent_mcp.vendors.nasdaq_display import (
    INDICES,
    Spelling,
    envelope_data,
    member,
    require_symbol,
    shown,
    spelling_of,
)
from mdagent_mcp.vendors.nasdaq_quotes import read_chart, read_information, read_last_sales, read_watchlist
from mdagent_mcp.vendors.read_only import read_only_quotes

_SOURCE: Final = "nasdaq"
_KEPT: Final = timedelta(days=3653)
_ROW_LIMIT: Final = 9999
_BATCH: Final = 25
_BLOCKED_S: Final = 900.0
_BROWSER: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
_PAGE: Final = re.compile(r"/quote/(?P<symbol>[^/]+)/(?P<page>info|historical|chart)$")
_WATCHLIST: Final = re.compile(r"/quote/watchlist$")
_LAST_SALES: Final = re.compile(r"/quote/basic$")
_EARLIEST: Final = date(1970, 1, 1)
_CANONICAL_INDICES: Final[Mapping[str, str]] = MappingProxyType({theirs: ours for ours, theirs in INDICES.items()})


def _spelling(instrument: Instrument) -> Spelling:
    spelling = spelling_of(instrument)
    if spelling is None:
        raise SourceError(FailureKind.UNSUPPORTED, _not_carried(instrument))
    return spelling


def _not_carried(instrument: Instrument) -> str:
    return f"Nasdaq shows US listings, COMP, NDX and crypto in US dollars, not {instrument.symbol}"


def _refuses_quotes(query: QuoteQuery) -> str | None:
    return next((_not_carried(i) for i in query.instruments if spelling_of(i) is None), None)


def _refuses_history(query: HistoryQuery) -> str | None:
    if spelling_of(query.instrument) is None:
        return _not_carried(query.instrument)
    if query.interval is not Interval.DAY_1:
        return f"Nasdaq has daily bars only, not {query.interval}"
    if query.adjustment is not Adjustment.SPLITS:
        return f"Nasdaq's bars are adjusted for splits, not on the basis '{query.adjustment}'"
    if query.last < query.now.date() - _KEPT:
        return "Nasdaq keeps ten years of daily bars"
    return None


def _build_information(query: QuoteQuery) -> tuple[Request, ...]:
    spelling = _spelling(query.instruments[0])
    return tuple(
        Request(f"/api/quote/{spelling.in_path}/info", (("assetclass", asset_class),))
        for asset_class in spelling.asset_classes
    )


def _build_watchlist(query: QuoteQuery) -> tuple[Request, ...]:
    """One request; a symbol is asked under every class it may have, since which one is its own is not known."""
    symbols = tuple(
        ("symbol", f"{spelling.symbol.replace('/', '.').lower()}|{asset_class}")
        for spelling in map(_spelling, query.instruments)
        for asset_class in spelling.asset_classes
    )
    return (Request("/api/quote/watchlist", symbols),)


def _build_series(query: HistoryQuery) -> tuple[Request, ...]:
    spelling = _spelling(query.instrument)
    span = (
        ("fromdate", query.first.isoformat()),
        ("todate", query.last.isoformat()),
        ("limit", str(_ROW_LIMIT)),
    )
    return tuple(
        Request(f"/api/quote/{spelling.in_path}/historical", (("assetclass", asset_class), *span))
        for asset_class in spelling.asset_classes
    )


def _read_series(query: HistoryQuery, reply: Reply) -> History:
    """Read `/quote/{symbol}/historical`, newest row first.

    Raises:
        SourceError: with the envelope's own reason, NO_DATA without rows in the range, MALFORMED_REPLY.
    """
    data = envelope_data(reply.body)
    table = member(data, "tradesTable", "rows")
    if data is None or table is None:
        raise SourceError(FailureKind.NO_DATA, "the reply holds no rows")
    require_symbol(data, query.instrument)
    rows = [(_row_date(row.get("date")), row) for row in table.items()]
    if rows and rows[0][0] > rows[-1][0]:
        rows.reverse()
    read = [(start, _row_bar(row, start)) for start, row in rows if query.first <= start.date() <= query.last]
    bars, null_rows = bars_and_null_rows(read)
    calendar = calendar_named(query.instrument.calendar)
    last_session = calendar.session_on(bars[-1].day)
    return History(
        symbol=query.instrument.symbol,
        source=_SOURCE,
        interval=Interval.DAY_1,
        adjustment=Adjustment.SPLITS,
        timezone=calendar.timezone,
        received_at=reply.received_at,
        bars=bars,
        currency="USD" if any("$" in str(row.get("close").value) for _, row in rows) else None,
        null_rows=null_rows,
        partial_last_bar=last_session is not None and last_session.close > reply.received_at,
        notes=_series_notes(data, len(rows), len(read)),
    )


def _series_notes(data: Json, rows: int, in_range: int) -> tuple[str, ...]:
    notes = ["the source does not state its basis; its prices are known to be adjusted for splits only"]
    if rows > in_range:
        notes.append(f"left out {rows - in_range} rows beyond the range asked")
    total = data.optional_number("totalRecords")
    if total is not None and total > rows:
        notes.append(f"the source holds {total:g} rows and sent {rows}")
    return tuple(notes)


def _row_date(cell: Json) -> datetime:
    try:
        return datetime.strptime(cell.text(), "%m/%d/%Y").replace(tzinfo=UTC)
    except ValueError as error:
        raise malformed(f"{cell.path} is no date") from error


def _row_bar(row: Json, start: datetime) -> Bar | None:
    prices = [positive(shown(row, name)) for name in ("open", "high", "low", "close")]
    opened, high, low, close = prices
    if opened is None or high is None or low is None or close is None:
        return None
    return Bar(start, opened, high, low, close, countable(shown(row, "volume")))


def _recognise_information(recorded: RecordedUrl) -> QuoteQuery | None:
    instrument = _recorded_instrument(recorded, "info")
    return None if instrument is None else QuoteQuery((instrument,), recorded.received_at)


def _recognise_watchlist(recorded: RecordedUrl) -> QuoteQuery | None:
    return _list_query(recorded, _WATCHLIST)


def _recognise_last_sales(recorded: RecordedUrl) -> QuoteQuery | None:
    return _list_query(recorded, _LAST_SALES)


def _recognise_chart(recorded: RecordedUrl) -> QuoteQuery | None:
    instrument = _recorded_instrument(recorded, "chart")
    return None if instrument is None else QuoteQuery((instrument,), recorded.received_at)


def _list_query(recorded: RecordedUrl, path: re.Pattern[str]) -> QuoteQuery | None:
    if not path.search(recorded.path):
        return None
    asked = []
    for listed in recorded.repeated.get("symbol", (recorded.query.get("symbol", ""),)):
        name, _, asset_class = listed.partition("|")
        asked.append(_named(name, asset_class, recorded.instrument))
    return QuoteQuery(tuple(dict.fromkeys(asked)), recorded.received_at)


def _recognise_series(recorded: RecordedUrl) -> HistoryQuery | None:
    instrument = _recorded_instrument(recorded, "historical")
    if instrument is None:
        return None
    return HistoryQuery(
        instrument=instrument,
        interval=Interval.DAY_1,
        first=_recorded_date(recorded, "fromdate", _EARLIEST),
        last=_recorded_date(recorded, "todate", recorded.received_at.date()),
        adjustment=Adjustment.SPLITS,
        extended_hours=False,
        now=recorded.received_at,
    )


def _recorded_instrument(recorded: RecordedUrl, page: str) -> Instrument | None:
    match = _PAGE.search(recorded.path)
    if match is None or match["page"] != page:
        return None
    name = unquote(match["symbol"]).replace("%sl%", "/")
    return _named(name, recorded.query.get("assetclass", ""), recorded.instrument)


def _named(name: str, asset_class: str, otherwise: Instrument | None) -> Instrument:
    """The instrument that a URL names, or the one a person names where the URL's word is no symbol."""
    symbol = name.upper()
    if asset_class == "index":
        symbol = _CANONICAL_INDICES.get(symbol, f"^{symbol}")
    elif asset_class == "crypto":
        symbol = f"{symbol}-USD"
    return recorded_instrument(symbol, otherwise)


def _recorded_date(recorded: RecordedUrl, name: str, otherwise: date) -> date:
    text = recorded.query.get(name)
    try:
        return otherwise if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise SourceError(FailureKind.BAD_REQUEST, f"{name} of the URL is no date") from error


NASDAQ: Final = Vendor(
    id=_SOURCE,
    title="Nasdaq",
    docs_url="https://www.nasdaq.com/market-activity/stocks",
    terms="Undocumented API of the website: personal, non-commercial use; no derivative works.",
    hosts=MappingProxyType({"api": "https://api.nasdaq.com"}),
    quote=Offer(Endpoint.QUOTE, _refuses_quotes, _build_information, read_information, _recognise_information),
    quotes=Offer(
        Endpoint.QUOTES, _refuses_quotes, _build_watchlist, read_watchlist, _recognise_watchlist, max_batch=_BATCH
    ),
    history=Offer(Endpoint.HISTORY, _refuses_history, _build_series, _read_series, _recognise_series),
    readable=(
        read_only_quotes(read_chart, _recognise_chart),
        read_only_quotes(read_last_sales, _recognise_last_sales),
    ),
    errors=(
        # A blocked address or browser name is shown a page of the content network, at times with status 200.
        ErrorRule(FailureKind.THROTTLED, contains=b">access denied<", retry_after_s=_BLOCKED_S),
        ErrorRule(FailureKind.THROTTLED, status=403, retry_after_s=_BLOCKED_S),
    ),
    # No limit is published: one request a second in bursts of five, which is 125 prices by watchlist.
    plans=MappingProxyType({"free": Plan(quotas=(Quota(5, 5.0, "5 seconds"),))}),
    headers=(
        # Without a browser's name the connection hangs until it times out.
        ("User-Agent", _BROWSER),
        ("Accept", "application/json, text/plain, */*"),
        ("Accept-Language", "en-US,en;q=0.9"),
        ("Origin", "https://www.nasdaq.com"),
        ("Referer", "https://www.nasdaq.com/"),
    ),
    upstream_groups=MappingProxyType({AssetClass.US_EQUITY: "nasdaq_last_sale"}),
    timeout_s=4.0,
    rest_after_throttle_s=_BLOCKED_S,
    concurrency=4,
    weight=0.85,
)
"""Nasdaq, as the engine knows it."""
