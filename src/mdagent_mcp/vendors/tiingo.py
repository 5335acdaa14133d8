"""Tiingo: a real-time reference price derived from IEX, and long daily series as traded and adjusted, with a free key.

The rule of this module: book, middle and volume that come with a price of the running session are of IEX alone and are
left out, because they are far from those of the whole market. What bars say is read in `tiingo_history`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError, vendor_words
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Interval, Quote, Session
from mdagent_mcp.domain.reading import Json, countable, positive
from mdagent_mcp.domain.sessions import session_of
from mdagent_mcp.domain.vendor import (
    Endpoint,
    ErrorRule,
    HistoryQuery,
    Key,
    Offer,
    Plan,
    Quota,
    QuoteQuery,
    QuoteReading,
    RecordedUrl,
    Reply,
    Request,
    Vendor,
    recorded_instrument,
)
from mdagent_mcp.vendors.read_only import joined_pair, read_only_history, read_only_quotes
from mdagent_mcp.vendors.tiingo_history import (
    CURRENCY_NOTE,
    SOURCE,
    first_day_of,
    instant_of_text,
    last_day_of,
    read_series,
)
from mdagent_mcp.vendors.tiingo_readable import read_bars, read_top, recognise_bars, recognise_top

_BATCH: Final = 50
_HOUR_S: Final = 3600.0
_EARLIEST: Final = date(1970, 1, 1)
_TOP: Final = re.compile(r"/iex(?:/(?P<ticker>[^/]+))?/?$")
_DAYS: Final = re.compile(r"/tiingo/daily/(?P<ticker>[^/]+)/prices/?$")
_MINUTES: Final = re.compile(r"/iex/(?P<ticker>[^/]+)/prices/?$")
_CRYPTO: Final = re.compile(r"/tiingo/crypto/prices/?$")
_REFERENCE_NOTE: Final = "a reference price derived from IEX; book and volume of that venue alone are left out"

_DAILY: Final[Mapping[str, Interval]] = MappingProxyType(
    {"daily": Interval.DAY_1, "weekly": Interval.WEEK_1, "monthly": Interval.MONTH_1}
)
_INTRADAY: Final[Mapping[str, Interval]] = MappingProxyType(
    {
        "1min": Interval.MIN_1,
        "5min": Interval.MIN_5,
        "15min": Interval.MIN_15,
        "30min": Interval.MIN_30,
        "1hour": Interval.HOUR_1,
    }
)
_FREQUENCIES: Final[Mapping[Interval, str]] = MappingProxyType({interval: code for code, interval in _INTRADAY.items()})


def _ticker(instrument: Instrument) -> str:
    return instrument.symbol.replace(".", "-")


def _refuses_quotes(query: QuoteQuery) -> str | None:
    foreign = (i.symbol for i in query.instruments if not i.is_us_listed)
    return next((f"Tiingo quotes US listings, not {symbol}" for symbol in foreign), None)


def _refuses_history(query: HistoryQuery) -> str | None:
    if query.instrument.asset_class is AssetClass.CRYPTO:
        return None if query.interval is Interval.DAY_1 else "Tiingo is asked for daily bars of crypto only"
    if not query.instrument.is_us_listed:
        return f"Tiingo has bars of US listings and of crypto, not of {query.instrument.symbol}"
    return _refuses_intraday(query) if query.interval.is_intraday else None


def _refuses_intraday(query: HistoryQuery) -> str | None:
    if query.extended_hours:
        return "Tiingo's intraday bars are asked for regular hours only"
    if query.adjustment is Adjustment.NONE:
        return None
    latest = calendar_named(query.instrument.calendar).latest_opened(query.now)
    # Within the running trading date nothing was split, so prices as traded are on this basis too.
    if query.adjustment is Adjustment.SPLITS and latest is not None and query.first >= latest.day:
        return None
    return f"Tiingo's intraday bars are as traded, not on the basis '{query.adjustment}'"


def _build_quotes(query: QuoteQuery) -> tuple[Request, ...]:
    return (Request("/iex/", (("tickers", ",".join(map(_ticker, query.instruments))),)),)


def _build_history(query: HistoryQuery) -> tuple[Request, ...]:
    if query.instrument.asset_class is AssetClass.CRYPTO:
        pair = f"{query.instrument.root}{query.instrument.suffix}".lower()
        return (Request("/tiingo/crypto/prices", (("tickers", pair), *_span(query, "1day"))),)
    if query.interval.is_intraday:
        frequency = _FREQUENCIES[query.interval]
        columns = ("columns", "open,high,low,close,volume")
        return (Request(f"/iex/{_ticker(query.instrument)}/prices", (*_span(query, frequency), columns)),)
    return (Request(f"/tiingo/daily/{_ticker(query.instrument)}/prices", (*_span(query, "daily"), ("format", "json"))),)


def _span(query: HistoryQuery, frequency: str) -> tuple[tuple[str, str], ...]:
    """The dates to ask for: whole weeks and months, and up to now where later splits count.

    Weeks and months are built from daily rows: the source's own leave out the last day asked for.
    """
    first, last = first_day_of(query.interval, query.first), last_day_of(query.interval, query.last)
    if not query.interval.is_intraday and query.adjustment is not Adjustment.NONE:
        last = max(last, query.now.date())
    return ("startDate", first.isoformat()), ("endDate", last.isoformat()), ("resampleFreq", frequency)


def _read_quotes(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/iex/`: one row per ticker that the source knows.

    Raises:
        SourceError: with the reply's own reason, MALFORMED_REPLY.
    """
    root = Json.parse(reply.body)
    if isinstance(root.value, Mapping):
        raise SourceError(FailureKind.SOURCE_ERROR, vendor_words(root.get("detail").text()))
    rows = {row.get("ticker").text(40).upper().replace(".", "-"): row for row in root.items()}
    strangers = rows.keys() - {_ticker(i) for i in query.instruments}
    absent = (
        Failure(SOURCE, FailureKind.MALFORMED_REPLY, f"the reply names another symbol: {min(strangers)!r}")
        if strangers
        else Failure(SOURCE, FailureKind.UNKNOWN_SYMBOL, "not among the rows of the reply")
    )
    return {
        i.symbol: absent if (row := rows.get(_ticker(i))) is None else _read_row(row, i, reply.received_at)
        for i in query.instruments
    }


def _read_row(row: Json, instrument: Instrument, received_at: datetime) -> Outcome[tuple[Quote, ...]]:
    try:
        quote = _quote(row, instrument, received_at)
    except SourceError as error:
        return error.as_failure(SOURCE)
    if quote is None:
        return Failure(SOURCE, FailureKind.NO_DATA, "the row has no price")
    return Answered((quote,))


def _quote(row: Json, instrument: Instrument, received_at: datetime) -> Quote | None:
    reference = positive(row.optional_number("tngoLast"))
    price = positive(row.optional_number("last")) if reference is None else reference
    if price is None:
        return None
    stamp = row.find("lastSaleTimestamp") or row.find("timestamp")
    event_time = None if stamp is None else instant_of_text(stamp)
    session = _session_of(calendar_named(instrument.calendar), event_time or received_at)
    closed = session is Session.CLOSED and event_time is not None
    # Before the open it is not told which session the day's figures are of.
    told = session is not Session.PRE
    notes = [CURRENCY_NOTE] if closed else [CURRENCY_NOTE, _REFERENCE_NOTE]
    if event_time is None:
        notes.append("the source gives no time; the session is the one at receipt")
    return Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=session,
        received_at=received_at,
        event_time=event_time,
        currency=instrument.currency,
        open=positive(row.optional_number("open")) if told else None,
        high=positive(row.optional_number("high")) if told else None,
        low=positive(row.optional_number("low")) if told else None,
        previous_close=positive(row.optional_number("prevClose")) if told else None,
        # The official close comes with the whole market's volume.
        volume=countable(row.optional_number("volume")) if closed else None,
        venue_only=not closed,
        notes=tuple(notes),
    )


def _session_of(calendar: Calendar, instant: datetime) -> Session:
    """The official close is stamped with the very instant of the close; a later time is a later price."""
    completed = calendar.latest_completed(instant)
    if completed is not None and completed.close == instant:
        return Session.CLOSED
    return session_of(calendar.state_at(instant))


def _recorded_tickers(recorded: RecordedUrl) -> tuple[str, ...] | None:
    """The tickers that a URL of the quote endpoint names; None when it is not one."""
    match = _TOP.search(recorded.path)
    if match is None:
        return None
    listed = unquote(match["ticker"]) if match["ticker"] else recorded.query.get("tickers", "")
    return tuple(ticker.strip().upper() for ticker in listed.split(","))


def _recognise_quote(recorded: RecordedUrl) -> QuoteQuery | None:
    tickers = _recorded_tickers(recorded)
    if tickers is None or len(tickers) > 1:
        return None
    return QuoteQuery((recorded_instrument(tickers[0], recorded.instrument),), recorded.received_at)


def _recognise_quotes(recorded: RecordedUrl) -> QuoteQuery | None:
    tickers = _recorded_tickers(recorded)
    if tickers is None:
        return None
    # A text that is no symbol stays what the URL calls it: a person names one instrument and not several.
    return QuoteQuery(tuple(recorded_instrument(ticker, None) for ticker in tickers), recorded.received_at)


def _recognise_history(recorded: RecordedUrl) -> HistoryQuery | None:
    days, minutes = _DAYS.search(recorded.path), _MINUTES.search(recorded.path)
    listed = days or minutes
    if listed is not None:
        known, usual = (_DAILY, "daily") if days else (_INTRADAY, "5min")
        symbol = unquote(listed["ticker"]).upper()
    elif _CRYPTO.search(recorded.path) and recorded.query.get("resampleFreq", "").lower() == "1day":
        known, usual = {"1day": Interval.DAY_1}, "1day"
        symbol = joined_pair(recorded.query.get("tickers", "").partition(",")[0])
    else:
        return None
    frequency = recorded.query.get("resampleFreq", usual)
    if frequency.lower() not in known:
        raise SourceError(FailureKind.UNSUPPORTED, f"no bars of frequency {frequency!r} are asked for")
    return HistoryQuery(
        instrument=recorded_instrument(symbol, recorded.instrument),
        interval=known[frequency.lower()],
        first=_recorded_date(recorded, "startDate", _EARLIEST),
        last=_recorded_date(recorded, "endDate", recorded.received_at.date()),
        # The plain columns, which every reply has, are as traded.
        adjustment=Adjustment.NONE,
        extended_hours=False,
        now=recorded.received_at,
    )


def _recorded_date(recorded: RecordedUrl, name: str, otherwise: date) -> date:
    text = recorded.query.get(name)
    try:
        return otherwise if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise SourceError(FailureKind.BAD_REQUEST, f"{name} of the URL is no date") from error


TIINGO: Final = Vendor(
    id=SOURCE,
    title="Tiingo",
    docs_url="https://www.tiingo.com/documentation/general/overview",
    terms="Free key for internal use; redistribution needs an agreement.",
    hosts=MappingProxyType({"api": "https://api.tiingo.com"}),
    quote=Offer(Endpoint.QUOTE, _refuses_quotes, _build_quotes, _read_quotes, _recognise_quote),
    quotes=Offer(Endpoint.QUOTES, _refuses_quotes, _build_quotes, _read_quotes, _recognise_quotes, max_batch=_BATCH),
    history=Offer(Endpoint.HISTORY, _refuses_history, _build_history, read_series, _recognise_history),
    errors=(
        # Said of the hour, of the day and of the month's different symbols; when each is over is not told.
        ErrorRule(FailureKind.QUOTA_EXHAUSTED, contains=b"you have run over your", retry_after_s=_HOUR_S),
        ErrorRule(FailureKind.UNAUTHORIZED, status=401),
        ErrorRule(FailureKind.UNAUTHORIZED, contains=b'"invalid token'),
        ErrorRule(FailureKind.UNAUTHORIZED, contains=b"please supply a token"),
        ErrorRule(FailureKind.UNAUTHORIZED, contains=b"authentication credentials were not provided"),
    ),
    plans=MappingProxyType(
        {
            # The feed of IEX may or may not be in the free plan; a key's own answers tell.
            "starter": Plan(quotas=(Quota(50, _HOUR_S, "hour"), Quota(1000, 86_400.0, "day")), cost_per_call=0.5),
            "power": Plan(
                quotas=(Quota(10_000, _HOUR_S, "hour"), Quota(100_000, 86_400.0, "day")), cost_per_call=0.006
            ),
        }
    ),
    key=Key(("TIINGO_API_KEY",), "header", "Authorization", prefix="Token ", signup_url="https://www.tiingo.com/"),
    upstream_groups=MappingProxyType({AssetClass.US_EQUITY: "iex"}),
    readable=(read_only_quotes(read_top, recognise_top), read_only_history(read_bars, recognise_bars)),
    timeout_s=4.0,
    weight=0.8,
)
"""Tiingo, as the engine knows it."""
