"""Tiingo's calls that are never sent and can be read: books of crypto and of currencies, and the bars of pairs.

The rule of this module: a book is told as it is shown; it is put together from several exchanges and may be crossed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError, vendor_words
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, History, Interval, Quote
from mdagent_mcp.domain.reading import Json, positive
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery, QuoteReading, RecordedUrl, Reply, recorded_instrument
from mdagent_mcp.vendors.read_only import UNTIMED, joined_pair, session_at
from mdagent_mcp.vendors.tiingo_history import SOURCE, bar_of, instant_of_text, trading_date

_TOP: Final = re.compile(r"/tiingo/(?P<kind>crypto|fx)(?:/(?P<ticker>[^/]+))?/top/?$")
_BARS: Final = re.compile(r"/tiingo/(?P<kind>crypto|fx)(?:/(?P<ticker>[^/]+))?/prices/?$")
_PAIRS: Final = frozenset({AssetClass.CRYPTO, AssetClass.FOREX})
_EARLIEST: Final = date(1970, 1, 1)
_FREQUENCIES: Final[Mapping[str, Interval]] = MappingProxyType(
    {
        "1min": Interval.MIN_1,
        "5min": Interval.MIN_5,
        "15min": Interval.MIN_15,
        "30min": Interval.MIN_30,
        "1hour": Interval.HOUR_1,
        "1day": Interval.DAY_1,
    }
)


def recognise_top(recorded: RecordedUrl) -> QuoteQuery | None:
    """The pairs that a URL of `/tiingo/crypto/top` or `/tiingo/fx/top` names."""
    match = _TOP.search(recorded.path)
    if match is None:
        return None
    listed = match["ticker"] or recorded.query.get("tickers", "")
    return QuoteQuery(tuple(_pair(name, recorded) for name in listed.split(",")), recorded.received_at)


def recognise_bars(recorded: RecordedUrl) -> HistoryQuery | None:
    """What a URL of `/tiingo/crypto/prices` or `/tiingo/fx/prices` asked for; of several pairs the first."""
    match = _BARS.search(recorded.path)
    if match is None:
        return None
    listed = match["ticker"] or recorded.query.get("tickers", "")
    frequency = recorded.query.get("resampleFreq", "5min").lower()
    if frequency not in _FREQUENCIES:
        raise SourceError(FailureKind.UNSUPPORTED, f"no bars of frequency {frequency!r} are read")
    return HistoryQuery(
        instrument=_pair(listed.partition(",")[0], recorded),
        interval=_FREQUENCIES[frequency],
        first=_date(recorded, "startDate", _EARLIEST),
        last=_date(recorded, "endDate", recorded.received_at.date()),
        adjustment=Adjustment.NONE,
        extended_hours=False,
        now=recorded.received_at,
    )


def _pair(name: str, recorded: RecordedUrl) -> Instrument:
    instrument = recorded_instrument(joined_pair(name.strip()), recorded.instrument)
    if instrument.asset_class not in _PAIRS:
        raise SourceError(FailureKind.BAD_REQUEST, f"the URL names no pair: {name!r}")
    return instrument


def _date(recorded: RecordedUrl, name: str, otherwise: date) -> date:
    text = recorded.query.get(name)
    try:
        return otherwise if text is None else datetime.fromisoformat(text).date()
    except ValueError as error:
        raise SourceError(FailureKind.BAD_REQUEST, f"{name} of the URL is no date") from error


def read_top(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/tiingo/crypto/top` (last sale and book) or `/tiingo/fx/top` (book and its middle).

    Raises:
        SourceError: with the reply's own reason, MALFORMED_REPLY.
    """
    rows = {row.get("ticker").text(40).upper(): row for row in _rows(reply.body)}
    return {i.symbol: _outcome(rows.get(i.root + i.suffix), i, reply.received_at) for i in query.instruments}


def _rows(body: bytes) -> list[Json]:
    root = Json.parse(body)
    if isinstance(root.value, Mapping):
        raise SourceError(FailureKind.SOURCE_ERROR, vendor_words(root.get("detail").text()))
    return list(root.items())


def _outcome(row: Json | None, instrument: Instrument, received_at: datetime) -> Outcome[tuple[Quote, ...]]:
    if row is None:
        return Failure(SOURCE, FailureKind.UNKNOWN_SYMBOL, "not among the rows of the reply")
    try:
        return Answered((_quote(row, instrument, received_at),))
    except SourceError as error:
        return error.as_failure(SOURCE)


def _quote(row: Json, instrument: Instrument, received_at: datetime) -> Quote:
    book, names = row, ("midPrice", "quoteTimestamp")
    if instrument.asset_class is AssetClass.CRYPTO:
        told = next(row.get("topOfBookData").items(), None)
        if told is None:
            raise SourceError(FailureKind.NO_DATA, "the row has no book")
        book, names = told, ("lastPrice", "lastSaleTimestamp")
    price = positive(book.optional_number(names[0]))
    if price is None:
        raise SourceError(FailureKind.NO_DATA, "the row has no price")
    stamp = book.find(names[1])
    event_time = None if stamp is None else instant_of_text(stamp)
    notes = [] if event_time is not None else [UNTIMED]
    if instrument.asset_class is AssetClass.FOREX:
        notes.append("the price is the middle of the source's own book")
    return Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=session_at(instrument, received_at if event_time is None else event_time),
        received_at=received_at,
        event_time=event_time,
        currency=instrument.currency,
        bid=positive(book.optional_number("bidPrice")),
        ask=positive(book.optional_number("askPrice")),
        notes=tuple(notes),
    )


def read_bars(query: HistoryQuery, reply: Reply) -> History:
    """Read the bars of a pair: `/tiingo/crypto/prices` by pair, `/tiingo/fx/prices` flat.

    Raises:
        SourceError: with the reply's own reason, NO_DATA without bars in the range, MALFORMED_REPLY.
    """
    rows = [(_start(row.get("date"), query.interval), row) for row in _pair_rows(query.instrument, reply.body)]
    read = [(start, bar_of(row, start)) for start, row in rows if query.first <= start.date() <= query.last]
    bars, null_rows = bars_and_null_rows(read)
    return History(
        symbol=query.instrument.symbol,
        source=SOURCE,
        interval=query.interval,
        adjustment=query.adjustment,
        timezone=calendar_named(query.instrument.calendar).timezone,
        received_at=reply.received_at,
        bars=bars,
        currency=query.instrument.currency,
        null_rows=null_rows,
        partial_last_bar=bars[-1].start + query.interval.length > reply.received_at,
    )


def _pair_rows(instrument: Instrument, body: bytes) -> list[Json]:
    wanted = f"{instrument.root}{instrument.suffix}"
    named = [row for row in _rows(body) if row.get("ticker").text(40).upper() == wanted]
    if not named:
        raise SourceError(FailureKind.NO_DATA, f"no rows of {instrument.symbol}")
    if instrument.asset_class is AssetClass.FOREX:
        return named
    return [row for pair in named for row in pair.get("priceData").items()]


def _start(cell: Json, interval: Interval) -> datetime:
    if interval.is_intraday:
        return instant_of_text(cell)
    return datetime.combine(trading_date(cell), time(0), UTC)
