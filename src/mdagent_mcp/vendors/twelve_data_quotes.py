"""Reading Twelve Data's quotes: when the price was true, and whether it is a running price or an official close.

The rule of this module: a time is taken for what it is. `last_quote_at` is the start of the last minute that traded;
where it is missing, and for some replies even where it is there, the time is only the start of the daily bar, which
says nothing about the age of a running price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from mdagent_mcp.domain.calendar import Calendar, MarketState, calendar_named
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, countable, malformed, price_time
from mdagent_mcp.domain.sessions import running_session, session_of
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Reply
from mdagent_mcp.vendors.twelve_data_replies import (
    SOURCE,
    Unit,
    amount,
    instant,
    local_time,
    open_reply,
    read_listing,
    refuse_envelope,
    spelling_of,
)

_DATE_ONLY_S: Final = 86400.0
_MINUTE_S: Final = 60.0
_FIRST_MINUTES: Final = timedelta(minutes=3)
"""How long after its start a bar's first minutes may be all that was traded."""
_RUNNING: Final = frozenset({MarketState.OPEN, MarketState.BREAK})
_EXTENDED: Final = frozenset({Session.PRE, Session.POST})


@dataclass(frozen=True, slots=True)
class _Placed:
    session: Session
    event_time: datetime | None
    resolution_s: float = 1.0
    notes: tuple[str, ...] = ()


def read_quote(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/quote` about one symbol.

    Raises:
        SourceError: with the envelope's own reason, NO_DATA without a price, MALFORMED_REPLY.
    """
    instrument = query.instruments[0]
    root = open_reply(reply.body)
    return {instrument.symbol: Answered(_read_item(instrument, root, reply.received_at))}


def read_quotes(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `/quote` about several symbols: an object by symbol in which every item is a quote or an error.

    Raises:
        SourceError: when the whole list was refused, MALFORMED_REPLY.
    """
    try:
        root = open_reply(reply.body)
    except SourceError as error:
        if error.kind is not FailureKind.UNKNOWN_SYMBOL or len(query.instruments) < 2:
            raise
        raise SourceError(FailureKind.NO_DATA, "the whole list was refused because a symbol is not known") from error
    single = root.find("symbol")
    items = {single.text(40).upper(): root} if single is not None else {k.upper(): item for k, item in root.members()}
    return {i.symbol: _outcome(i, items, reply.received_at) for i in query.instruments}


def _outcome(instrument: Instrument, items: Mapping[str, Json], received_at: datetime) -> Outcome[tuple[Quote, ...]]:
    item = items.get(spelling_of(instrument) or "")
    if item is None:
        return Failure(SOURCE, FailureKind.NO_DATA, "not among the items of the reply")
    try:
        refuse_envelope(item)
        return Answered(_read_item(instrument, item, received_at))
    except SourceError as error:
        return error.as_failure(SOURCE)


def _read_item(instrument: Instrument, item: Json, received_at: datetime) -> tuple[Quote, ...]:
    unit = read_listing(item, instrument)
    close = amount(item, "close")
    if close is not None and close < 0:
        raise malformed(f"{item.path}.close is negative")
    price = unit.of(close)
    if price is None:
        raise SourceError(FailureKind.NO_DATA, f"{item.path} shows no price")
    placed = _place(item, instrument, received_at)
    quote = Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=placed.session,
        received_at=received_at,
        event_time=placed.event_time,
        event_time_resolution_s=placed.resolution_s,
        currency=unit.currency,
        open=unit.of(amount(item, "open")),
        high=unit.of(amount(item, "high")),
        low=unit.of(amount(item, "low")),
        previous_close=unit.of(amount(item, "previous_close")),
        volume=None if instrument.asset_class is AssetClass.FOREX else countable(amount(item, "volume")),
        notes=unit.notes + placed.notes,
    )
    extended = _extended_print(quote, item, instrument, unit)
    return (quote,) if extended is None else (extended, quote)


def _extended_print(quote: Quote, item: Json, instrument: Instrument, unit: Unit) -> Quote | None:
    """The print outside regular hours that some plans are shown beside the regular close."""
    price, stamp = unit.of(amount(item, "extended_price")), instant(item, "extended_timestamp")
    if price is None or stamp is None or (quote.event_time is not None and stamp <= quote.event_time):
        return None
    session = running_session(calendar_named(instrument.calendar).state_at(stamp))
    if session not in _EXTENDED:
        return None
    extended = replace(
        quote, price=price, session=session, event_time=stamp, event_time_resolution_s=1.0, notes=unit.notes
    )
    if session is Session.POST:
        return extended
    # A pre-market print lies between two sessions: neither the day's figures nor a previous close are its own.
    return replace(extended, open=None, high=None, low=None, previous_close=None, volume=None)


def _place(item: Json, instrument: Instrument, received_at: datetime) -> _Placed:
    """The session of the price, and its time with how coarse it is."""
    calendar = calendar_named(instrument.calendar)
    is_open = _flag(item)
    minute, start = instant(item, "last_quote_at"), instant(item, "timestamp")
    stamp = start if minute is None else minute
    if stamp is None:
        return _place_date(item, calendar, received_at, is_open=is_open)
    session = _session_of(calendar, stamp, received_at, is_open=is_open)
    bar_day = _day_of_bar_start(calendar, stamp)
    if bar_day is not None and received_at - stamp > _FIRST_MINUTES:
        return _place_bar(calendar, session, bar_day, received_at)
    resolution_s = 1.0 if minute is None else _MINUTE_S
    if session is not Session.CLOSED or calendar.state_at(stamp) in _RUNNING:
        return _Placed(session, stamp, resolution_s)
    completed = calendar.latest_completed(stamp)
    if completed is None or completed.close == stamp:
        return _Placed(session, stamp, resolution_s)
    note = f"the official close is told under a later time, {stamp:%Y-%m-%dT%H:%M:%SZ}"
    return _Placed(session, completed.close, max(resolution_s, _MINUTE_S), (note,))


def _flag(item: Json) -> bool | None:
    """Whether the source says that the market is open; replies before 2022 do not say."""
    found = item.find("is_market_open")
    if found is None:
        return None
    if not isinstance(found.value, bool):
        raise malformed(f"{found.path} should be true or false")
    return found.value


def _session_of(calendar: Calendar, stamp: datetime, received_at: datetime, *, is_open: bool | None) -> Session:
    if calendar.always_open or is_open:
        return Session.REGULAR
    running = calendar.session_at(received_at) if calendar.state_at(received_at) in _RUNNING else None
    if running is not None and stamp >= running.open:
        return Session.REGULAR  # in the midday break too the last price is no official close
    if is_open is not None:
        return Session.CLOSED
    completed = calendar.latest_completed(stamp)
    if completed is not None and completed.close == stamp:
        return Session.CLOSED
    return _session_of_untold(calendar, stamp, received_at)


def _session_of_untold(calendar: Calendar, stamp: datetime, received_at: datetime) -> Session:
    """A price from within a session that is over by now is that session's close."""
    session = session_of(calendar.state_at(stamp))
    trading = calendar.session_at(stamp)
    is_over = trading is not None and trading.close <= received_at
    return Session.CLOSED if session is Session.REGULAR and is_over else session


def _day_of_bar_start(calendar: Calendar, stamp: datetime) -> date | None:
    """The trading date of the daily bar that begins at `stamp`; None when it is a time within a day."""
    if stamp.time() == time(0):
        return stamp.date()
    local = stamp.astimezone(calendar.zone)
    trading = calendar.session_on(local.date())
    return local.date() if local.time() == time(0) or (trading is not None and trading.open == stamp) else None


def _place_bar(calendar: Calendar, session: Session, day: date, received_at: datetime) -> _Placed:
    trading = calendar.session_on(day)
    if session is Session.CLOSED and trading is not None and trading.close <= received_at:
        return _Placed(session, trading.close, _DATE_ONLY_S)
    return _Placed(session, None, notes=(f"the time is the start of the daily bar of {day} and no time of a price",))


def _place_date(item: Json, calendar: Calendar, received_at: datetime, *, is_open: bool | None) -> _Placed:
    """Where `datetime` is all that is told."""
    running = session_of(calendar.state_at(received_at))
    if is_open is not None:
        running = Session.REGULAR if is_open else Session.CLOSED
    found = item.find("datetime")
    if found is None:
        note = "the source gives no time; the session is the one at receipt"
        return _Placed(running, None, notes=(note,))
    told, is_date = local_time(found)
    if not is_date:
        if not calendar.known:
            return _Placed(running, None, notes=("the time is in a zone that is not known",))
        stamp = price_time(told.replace(tzinfo=calendar.zone).astimezone(UTC), found.path)
        return _Placed(_session_of(calendar, stamp, received_at, is_open=is_open), stamp, _MINUTE_S)
    trading = calendar.session_on(told.date())
    if trading is None:
        note = f"dated {told.date()}, which the calendar has no session for"
        return _Placed(running if is_open else Session.CLOSED, None, notes=(note,))
    if calendar.always_open:
        return _Placed(Session.REGULAR, trading.close, _DATE_ONLY_S)
    if trading.close > received_at:
        note = "dated today without a time while the session is not over"
        return _Placed(running, trading.close, _DATE_ONLY_S, (note,))
    return _Placed(Session.CLOSED, trading.close, _DATE_ONLY_S)
