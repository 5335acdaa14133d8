"""IEX Cloud, shut down in August 2024: its documented API, for whoever runs a gateway or an archive that speaks it.

The rule of this module: it has no host of its own and is reported as retired until a base URL is configured. Daily
bars are adjusted for splits, with the prices as traded beside them; minutes are trades at IEX in New York time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument, InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.reading import Json, countable, malformed, positive, price_time
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.status import Retirement
from mdagent_mcp.domain.vendor import (
    Endpoint,
    ErrorRule,
    HistoryQuery,
    Key,
    Offer,
    QuoteQuery,
    RecordedUrl,
    Reply,
    Request,
    Vendor,
    recorded_instrument,
)
from mdagent_mcp.vendors.iex_cloud_quotes import CURRENCY_NOTE, SOURCE, read_batch, read_quote
from mdagent_mcp.vendors.iex_cloud_readable import (
    read_crypto,
    read_delayed,
    read_ends,
    read_price,
    read_rates,
    recognise_crypto,
    recognise_delayed,
    recognise_ends,
    recognise_list,
    recognise_price,
    recognise_rates,
)
from mdagent_mcp.vendors.read_only import read_only_history, read_only_quotes

_BATCH: Final = 100
_NEW_YORK: Final = ZoneInfo("America/New_York")
_EARLIEST: Final = date(1970, 1, 1)
_OLDEST: Final = timedelta(days=15 * 365)
_YEARS: Final = range(1900, 2100)
_QUOTE: Final = re.compile(r"/stock/(?P<symbol>[^/]+)/quote$")
_CORE: Final = re.compile(r"/data/core/quote/(?P<symbols>[^/]+)$", re.IGNORECASE)
_BATCHES: Final = re.compile(r"/stock/market/batch$")
_DAY_CHART: Final = re.compile(r"/stock/(?P<symbol>[^/]+)/chart(?:/(?:max|5y|2y|1y|ytd|6m|3m|1m|5d|dynamic))?$")
_MINUTE_CHART: Final = re.compile(r"/stock/(?P<symbol>[^/]+)/chart/1d$")
_DATE_CHART: Final = re.compile(r"/stock/(?P<symbol>[^/]+)/chart/date/(?P<day>\d{8})$", re.ASCII)
_PREVIOUS: Final = re.compile(r"/stock/(?P<symbol>[^/]+)/previous$")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MINUTE: Final = re.compile(r"\d\d:\d\d", re.ASCII)
_ADJUSTED: Final = ("open", "high", "low", "close", "volume")
_RAW: Final = ("uOpen", "uHigh", "uLow", "uClose", "uVolume")

_RANGES: Final = ((4, "5d"), (27, "1m"), (85, "3m"), (175, "6m"), (360, "1y"), (725, "2y"), (1820, "5y"))
"""How many days back each range reaches at least; `max` beyond."""


def _refuses_quotes(query: QuoteQuery) -> str | None:
    foreign = (i.symbol for i in query.instruments if not i.is_us_listed)
    return next((f"IEX Cloud quotes US listings, not {symbol}" for symbol in foreign), None)


def _refuses_history(query: HistoryQuery) -> str | None:
    if not query.instrument.is_us_listed:
        return f"IEX Cloud has bars of US listings, not of {query.instrument.symbol}"
    if query.interval is Interval.MIN_1:
        return _refuses_minutes(query)
    if query.interval is not Interval.DAY_1:
        return f"IEX Cloud has daily and one-minute bars, not {query.interval}"
    if query.adjustment is Adjustment.ALL:
        return "IEX Cloud's bars are not adjusted for dividends"
    if query.last < query.now.date() - _OLDEST:
        return "IEX Cloud keeps fifteen years of daily bars"
    return None


def _refuses_minutes(query: HistoryQuery) -> str | None:
    if query.extended_hours:
        return "IEX Cloud's minutes cover regular trading only"
    if query.first != query.last:
        return "IEX Cloud sends the minutes of one date at a time"
    latest = calendar_named(query.instrument.calendar).latest_opened(query.now)
    # Within the running trading date nothing was split, so prices as traded are on this basis too.
    current = query.adjustment is Adjustment.SPLITS and latest is not None and query.first >= latest.day
    if query.adjustment is Adjustment.NONE or current:
        return None
    return f"IEX Cloud's minutes are as traded, not on the basis '{query.adjustment}'"


def _build_quote(query: QuoteQuery) -> tuple[Request, ...]:
    return (Request(f"/stable/stock/{query.instruments[0].symbol}/quote"),)


def _build_batch(query: QuoteQuery) -> tuple[Request, ...]:
    symbols = ",".join(i.symbol for i in query.instruments)
    # One message is charged for each symbol.
    parameters = (("symbols", symbols), ("types", "quote"))
    return (Request("/stable/stock/market/batch", parameters, cost=len(query.instruments)),)


def _build_history(query: HistoryQuery) -> tuple[Request, ...]:
    chart = f"/stable/stock/{query.instrument.symbol}/chart"
    if query.interval.is_intraday:
        return (Request(f"{chart}/date/{query.first:%Y%m%d}"),)
    reach = (query.now.date() - query.first).days
    return (Request(f"{chart}/{next((name for days, name in _RANGES if reach <= days), 'max')}"),)


def _read_history(query: HistoryQuery, reply: Reply) -> History:
    """Read `/stock/{symbol}/chart`: rows of days, or of minutes.

    Raises:
        SourceError: with the reply's own reason, NO_DATA without bars in the range, MALFORMED_REPLY.
    """
    calendar = calendar_named(query.instrument.calendar)
    rows = [(_start(row, query.interval), row) for row in _chart_rows(reply.body, query.instrument)]
    names = _RAW if query.adjustment is Adjustment.NONE and not query.interval.is_intraday else _ADJUSTED
    read = [(start, _bar(row, start, names)) for start, row in rows if _is_wanted(start, query, calendar)]
    bars, null_rows = bars_and_null_rows(read)
    notes = (CURRENCY_NOTE, "minutes and volume are of trades at IEX alone")
    return History(
        symbol=query.instrument.symbol,
        source=SOURCE,
        interval=query.interval,
        adjustment=query.adjustment,
        timezone=calendar.timezone,
        received_at=reply.received_at,
        bars=bars,
        currency=query.instrument.currency,
        null_rows=null_rows,
        partial_last_bar=_end_of(bars[-1], query.interval, calendar) > reply.received_at,
        notes=notes if query.interval.is_intraday else notes[:1],
    )


def _chart_rows(body: bytes, instrument: Instrument) -> list[Json]:
    root = Json.parse(body)
    if isinstance(root.value, Mapping):
        error = root.find("error")
        if error is not None:
            raise SourceError(FailureKind.SOURCE_ERROR, error.text())
        named = root.optional_text("symbol")
        if named is not None and named.upper() != instrument.symbol:
            raise malformed(f"the reply is about another symbol than {instrument.symbol}")
        # `/previous` sends a row by itself; `/chart/dynamic` wraps its rows.
        root = Json([root.value]) if root.find("date") is not None else root.get("data")
    rows = list(root.items())
    if any((named := row.optional_text("symbol")) and named.upper() != instrument.symbol for row in rows):
        raise malformed(f"the rows are about another symbol than {instrument.symbol}")
    return rows


def _start(row: Json, interval: Interval) -> datetime:
    """The start of a row's bar: a trading date, or a minute in New York."""
    day = row.get("date")
    text, minute = day.text(), "00:00"
    if interval.is_intraday:
        minute = row.get("minute").text()
    elif row.find("minute") is not None:
        raise malformed(f"{row.path} is a minute and no day")
    try:
        start = datetime.combine(date.fromisoformat(text), time.fromisoformat(minute))
    except ValueError as error:
        raise malformed(f"{row.path} is not dated") from error
    if not _DAY.fullmatch(text) or not _MINUTE.fullmatch(minute) or start.year not in _YEARS:
        raise malformed(f"{row.path} is not dated")
    if interval.is_intraday:
        return price_time(start.replace(tzinfo=_NEW_YORK).astimezone(UTC), row.path)
    return start.replace(tzinfo=UTC)


def _bar(row: Json, start: datetime, names: tuple[str, ...]) -> Bar | None:
    """The bar of a row; None for a minute without a trade at IEX, or a day without prices."""
    cells = [row.get(name) for name in names[:4]]
    opened, high, low, close = (None if cell.value is None else positive(cell.number()) for cell in cells)
    if opened is None or high is None or low is None or close is None:
        return None
    return Bar(start, opened, high, low, close, countable(row.optional_number(names[4])))


def _is_wanted(start: datetime, query: HistoryQuery, calendar: Calendar) -> bool:
    if not query.interval.is_intraday:
        return query.first <= start.date() <= query.last
    session = calendar.session_at(start)
    in_range = query.first <= start.astimezone(_NEW_YORK).date() <= query.last
    return in_range and session is not None and session.open <= start < session.close


def _end_of(bar: Bar, interval: Interval, calendar: Calendar) -> datetime:
    if interval.is_intraday:
        return bar.start + interval.length
    session = calendar.session_on(bar.day)
    return bar.start if session is None else session.close


def _recognise_quote(recorded: RecordedUrl) -> QuoteQuery | None:
    match, core = _QUOTE.search(recorded.path), _CORE.search(recorded.path)
    named = match["symbol"] if match else core["symbols"] if core else ","
    symbol = unquote(named).upper()
    if "," in symbol:
        return None
    return QuoteQuery((recorded_instrument(symbol, recorded.instrument),), recorded.received_at)


def _recognise_batch(recorded: RecordedUrl) -> QuoteQuery | None:
    """The symbols of a batch; what is no symbol is left out, because a batch is read without them too."""
    core = _CORE.search(recorded.path)
    wants_quotes = "quote" in recorded.query.get("types", "quote").lower().split(",")
    if core is None and not (_BATCHES.search(recorded.path) and wants_quotes):
        return None
    listed = unquote(core["symbols"]) if core else recorded.query.get("symbols")
    if listed is None:
        return QuoteQuery((recorded_instrument("", recorded.instrument),), recorded.received_at)
    symbols: list[Instrument] = []
    for text in listed.split(","):
        try:
            symbols.append(parse_symbol(text))
        except InvalidSymbolError:
            continue
    return QuoteQuery(tuple(symbols), recorded.received_at)


def _recognise_history(recorded: RecordedUrl) -> HistoryQuery | None:
    dated, minutes = _DATE_CHART.search(recorded.path), _MINUTE_CHART.search(recorded.path)
    match = dated or minutes or _DAY_CHART.search(recorded.path)
    return None if match is None else _chart_query(recorded, match, dated, minutes)


def _recognise_previous(recorded: RecordedUrl) -> HistoryQuery | None:
    match = _PREVIOUS.search(recorded.path)
    return None if match is None else _chart_query(recorded, match, None, None)


def _chart_query(
    recorded: RecordedUrl, match: re.Match[str], dated: re.Match[str] | None, minutes: re.Match[str] | None
) -> HistoryQuery:
    by_day = recorded.query.get("chartByDay", "").lower() == "true"
    intraday = minutes is not None or (dated is not None and not by_day)
    today = recorded.received_at.astimezone(_NEW_YORK).date()
    day = None if dated is None else _recorded_date(dated["day"])
    return HistoryQuery(
        instrument=recorded_instrument(unquote(match["symbol"]).upper(), recorded.instrument),
        interval=Interval.MIN_1 if intraday else Interval.DAY_1,
        first=day or _EARLIEST,
        last=day or today,
        adjustment=Adjustment.NONE if intraday else Adjustment.SPLITS,
        extended_hours=False,
        now=recorded.received_at,
    )


def _recorded_date(text: str) -> date:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError as error:
        raise SourceError(FailureKind.BAD_REQUEST, "the date of the URL is none") from error


IEX_CLOUD: Final = Vendor(
    id=SOURCE,
    title="IEX Cloud",
    docs_url="https://github.com/iexcloud/docs",
    terms="The service and its terms ended; what holds is what the operator of the configured base URL says.",
    hosts=MappingProxyType({}),
    quote=Offer(Endpoint.QUOTE, _refuses_quotes, _build_quote, read_quote, _recognise_quote),
    quotes=Offer(Endpoint.QUOTES, _refuses_quotes, _build_batch, read_batch, _recognise_batch, max_batch=_BATCH),
    history=Offer(Endpoint.HISTORY, _refuses_history, _build_history, _read_history, _recognise_history),
    errors=(
        ErrorRule(FailureKind.UNKNOWN_SYMBOL, status=404, contains=b"unknown symbol"),
        # Any other page that is not there tells of a wrong base URL, and not of the symbol.
        ErrorRule(FailureKind.SOURCE_ERROR, status=404),
        ErrorRule(FailureKind.UNAUTHORIZED, status=403, contains=b"api key"),
    ),
    key=Key(("IEX_TOKEN",), "query", "token"),
    readable=(
        read_only_quotes(read_price, recognise_price),
        read_only_quotes(read_ends, recognise_ends),
        read_only_quotes(read_delayed, recognise_delayed),
        read_only_quotes(read_batch, recognise_list),
        read_only_quotes(read_crypto, recognise_crypto),
        read_only_quotes(read_rates, recognise_rates),
        read_only_history(_read_history, _recognise_previous),
    ),
    upstream_groups=MappingProxyType({AssetClass.US_EQUITY: "iex"}),
    timeout_s=4.0,
    weight=0.7,
    retirement=Retirement(
        since=date(2024, 8, 31),
        reason="IEX Cloud shut down on 2024-08-31",
        successors=("tiingo",),
        # Of its three generations: the free API until 2019, IEX Cloud with its sandbox, Apperate.
        hosts=("api.iextrading.com", "iexapis.com", "iex.cloud"),
    ),
)
"""IEX Cloud, as the engine knows it."""
