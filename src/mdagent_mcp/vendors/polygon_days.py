"""Reading Polygon's closes of days: the previous day of one symbol, a day of the whole market, a day's open and close.

The rule of this module: rows of these endpoints are stamped at the close of their session (bars of days, which
`polygon_history` reads, at midnight), so they are compared by their date and never by their time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, malformed, positive
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Reply
from mdagent_mcp.vendors.polygon_replies import (
    CURRENCY_NOTE,
    DELAYED_NOTE,
    PAIRS,
    SOURCE,
    instrument_of,
    moment,
    named,
    open_reply,
    rows_of,
    ticker_of,
)

_DATE_ONLY_S: Final = 86_400.0
_DAY: Final = timedelta(days=1)
_YEARS: Final = range(1900, 2100)
_NAMES: Final = ("open", "high", "low", "close", "volume")
_LETTERS: Final = ("o", "h", "l", "c", "v")


@dataclass(frozen=True, slots=True)
class DayQuery(QuoteQuery):
    """A question about one trading date, known from a recorded URL.

    Attributes:
        day: the date asked; None where the URL does not tell.
    """

    day: date | None = None


def grouped_day(now: datetime) -> date:
    """The last trading date that is over, and not today's: a free key gets no day before it has ended."""
    calendar = calendar_named("XNYS")
    today = now.astimezone(calendar.zone).date()
    completed = calendar.latest_completed(now)
    if completed is not None and completed.day == today:
        completed = calendar.latest_completed(completed.open)
    return today - _DAY if completed is None else completed.day


def read_previous(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/prev`: the bar of the last day that is over, as an official close.

    Raises:
        SourceError: UNKNOWN_SYMBOL without a bar, NO_DATA without a price, MALFORMED_REPLY, or by the reply's status.
    """
    root, delay_s = open_reply(reply.body)
    rows = rows_of(root)
    if not rows:
        raise SourceError(FailureKind.UNKNOWN_SYMBOL, "no bar at all: the symbol is not known, or never traded")
    if len(rows) != 1:
        raise malformed(f"reply.results holds {len(rows)} bars, not the previous one")
    cell = rows[0].find("T") or root.get("ticker")
    instrument = query.instruments[0] if query.instruments else _named(cell)
    named(cell, instrument)
    quote = _close(instrument, rows[0], _LETTERS, _date_of(rows[0], instrument), reply.received_at)
    return {instrument.symbol: Answered((_delayed(quote, delay_s),))}


def read_grouped(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read a day of the whole market: the rows of the asked symbols, or all of them when none is asked.

    Raises:
        SourceError: NO_DATA on a day without trading, MALFORMED_REPLY, or by the reply's status.
    """
    root, delay_s = open_reply(reply.body)
    rows = rows_of(root)
    if not rows:
        raise SourceError(FailureKind.NO_DATA, "no trading on the day asked")
    asked = query.day if isinstance(query, DayQuery) else grouped_day(query.now)
    wanted = {ticker_of(i): i for i in query.instruments}
    found: dict[str, list[Json]] = {}
    for row in rows:
        ticker = row.get("T").text(40)
        if ticker in wanted or not wanted:
            found.setdefault(ticker, []).append(row)
    told_day = _told_day(rows, asked)
    notes = () if asked in {None, told_day} else (f"the reply is about {told_day}, not {asked}",)
    answers: dict[str, Outcome[tuple[Quote, ...]]] = {i.symbol: _absent() for i in query.instruments}
    for ticker, own in found.items():
        instrument = wanted[ticker] if wanted else instrument_of(ticker)
        key = ticker if instrument is None else instrument.symbol
        closed = _row(instrument, own, told_day, reply.received_at)
        answers[key] = closed if isinstance(closed, Failure) else Answered((_delayed(closed, delay_s, notes),))
    return answers


def read_open_close(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read a day's open and close of one symbol; the prices before and after hours in it have no time.

    Raises:
        SourceError: NO_DATA without a price, MALFORMED_REPLY, or by the reply's status.
    """
    root, delay_s = open_reply(reply.body)
    cell = root.get("symbol")
    instrument = query.instruments[0] if query.instruments else _named(cell)
    named(cell, instrument)
    day = _written_date(root.find("from") or root.get("day"))
    quote = _close(instrument, root, _NAMES, day, reply.received_at)
    asked = query.day if isinstance(query, DayQuery) else None
    notes = () if asked in {None, day} else (f"the reply is about {day}, not {asked}",)
    return {instrument.symbol: Answered((_delayed(quote, delay_s, notes),))}


def _written_date(cell: Json) -> date:
    try:
        day = date.fromisoformat(cell.text(40)[:10])
    except ValueError as error:
        raise malformed(f"{cell.path} is no date") from error
    if day.year not in _YEARS:
        raise malformed(f"{cell.path} is no date of a market")
    return day


def _absent() -> Failure:
    return Failure(SOURCE, FailureKind.NO_DATA, "not among the symbols that traded on the day")


def _named(cell: Json) -> Instrument:
    ticker = cell.text(40)
    found = instrument_of(ticker) or instrument_of(f"X:{ticker.replace('-', '')}" if "-" in ticker else "")
    if found is None:
        raise SourceError(FailureKind.UNSUPPORTED, f"{ticker!r} has no symbol here")
    return found


def _told_day(rows: list[Json], asked: date | None) -> date:
    """The date that the reply is about: the one asked where any row has it, else that of its first row."""
    zone = calendar_named("XNYS").zone
    for row in rows:
        at = moment(row, "t")
        if at is not None and at.astimezone(zone).date() == asked:
            return at.astimezone(zone).date()
    first = moment(rows[0], "t")
    if first is None:
        raise malformed(f"{rows[0].path}.t is missing")
    return first.astimezone(zone).date()


def _row(
    instrument: Instrument | None,
    own: list[Json],
    day: date,
    received_at: datetime,
) -> Quote | Failure:
    if instrument is None:
        return Failure(SOURCE, FailureKind.UNSUPPORTED, "the ticker has no symbol here")
    try:
        if len(own) != 1 or _date_of(own[0], instrument) != day:
            raise malformed(f"{own[0].path} is not the one row of {instrument.symbol} on {day}")
        return _close(instrument, own[0], _LETTERS, day, received_at)
    except SourceError as error:
        return error.as_failure(SOURCE)


def _date_of(row: Json, instrument: Instrument) -> date:
    at = moment(row, "t")
    if at is None:
        raise malformed(f"{row.path}.t is missing")
    # A day of currencies and of crypto is one of UTC.
    zone = UTC if instrument.asset_class in PAIRS else calendar_named(instrument.calendar).zone
    return at.astimezone(zone).date()


def _close(instrument: Instrument, block: Json, names: tuple[str, ...], day: date, received_at: datetime) -> Quote:
    opened, high, low, close, volume = (block.optional_number(name) for name in names)
    if any(value is not None and value < 0 for value in (opened, high, low, close, volume)):
        raise malformed(f"{block.path} holds a negative figure")
    if positive(close) is None or close is None:
        raise SourceError(FailureKind.NO_DATA, "the day has no close")
    at = moment(block, "t")
    ends = _end_of(instrument, day, received_at)
    shares = instrument.asset_class is AssetClass.US_EQUITY
    return Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=close,
        session=Session.CLOSED,
        received_at=received_at,
        event_time=ends or at,
        event_time_resolution_s=1.0 if at is not None and ends in {None, at} else _DATE_ONLY_S,
        currency=instrument.currency,
        open=positive(opened),
        high=positive(high),
        low=positive(low),
        volume=volume if shares or instrument.asset_class is AssetClass.CRYPTO else None,
        notes=(CURRENCY_NOTE,) if shares else (),
    )


def _end_of(instrument: Instrument, day: date, received_at: datetime) -> datetime | None:
    """The close of a date's session; None when it is none or is not over, so that the row's own time counts."""
    if instrument.asset_class in PAIRS:
        ends = datetime.combine(day, time(0), UTC) + _DAY
        return ends if ends <= received_at else None
    calendar: Calendar = calendar_named(instrument.calendar)
    session = calendar.session_on(day)
    return session.close if session is not None and session.close <= received_at else None


def _delayed(quote: Quote, delay_s: float, notes: tuple[str, ...] = ()) -> Quote:
    told = (*quote.notes, *notes, DELAYED_NOTE) if delay_s else (*quote.notes, *notes)
    return replace(quote, declared_delay_s=delay_s, notes=told)
