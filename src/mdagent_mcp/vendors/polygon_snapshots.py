"""From a snapshot's figures to quotes: which session a price belongs to, and what is the official close.

The rule of this module: a price is placed by the time of its own trade or bar where the reply has one.
The day's last price is an official close only when the session was over for the feed too, which may be delayed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Final

from mdagent_mcp.domain.calendar import Calendar, MarketState, TradingSession, calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.sessions import session_of
from mdagent_mcp.vendors.polygon_replies import CURRENCY_NOTE, DELAYED_NOTE, PAIRS, SOURCE

MINUTE_S: Final = 60.0
DATE_ONLY_S: Final = 86_400.0
_CLEARED: Final = time(3, 30)
_SETTLED: Final = timedelta(minutes=30)
"""How long after the close even a delayed feed has reached it."""
_AHEAD: Final = timedelta(minutes=5)
_LATE_PRINT: Final = timedelta(minutes=5)
_FARTHEST_CLOSE: Final = 1.8
"""A previous close this many times away from the price is taken for one from before a split."""
_FARTHEST_SIDE: Final = 1.5
_OVER: Final = frozenset({Session.CLOSED, Session.POST})


@dataclass(frozen=True, slots=True)
class Print:
    """One price and when it was made.

    Attributes:
        price: positive.
        at: its time, None when not told.
        resolution_s: how coarse the time is, seconds.
    """

    price: float
    at: datetime | None
    resolution_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a snapshot says about one instrument; None where it says nothing or 0.

    Attributes:
        live: the newest price.
        close: the last price of the day's regular session.
        open: the day's first price.
        high: the day's highest.
        low: the day's lowest.
        volume: the day's.
        previous_close: the official close of the day before.
        bid: best bid.
        ask: best ask.
        newest: the latest time in the reply, by which its day is dated.
        market: the session that the reply says is running.
        delay_s: delay that the reply declares, seconds.
        notes: what was decided while reading.
    """

    live: Print | None = None
    close: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None
    previous_close: float | None = None
    bid: float | None = None
    ask: float | None = None
    newest: datetime | None = None
    market: Session | None = None
    delay_s: float = 0.0
    notes: tuple[str, ...] = ()


def quotes_from(instrument: Instrument, told: Snapshot, received_at: datetime) -> tuple[Quote, ...]:
    """The quotes of a snapshot: the newest price, and beside it the official close where the session is over.

    Raises:
        SourceError: NO_DATA without a price.
    """
    calendar = calendar_named(instrument.calendar)
    if instrument.asset_class in PAIRS:
        quotes = _round_the_clock(instrument, told, calendar, received_at)
    elif instrument.asset_class is AssetClass.INDEX:
        quotes = _index(instrument, told, calendar, received_at)
    else:
        quotes = _share(instrument, told, calendar, received_at)
    if not quotes:
        raise SourceError(FailureKind.NO_DATA, "the snapshot holds no price")
    return quotes


def _sound(told: Snapshot, price: float) -> Snapshot:
    """Without figures that cannot be: a low above the high, a previous close or a side of the book far off."""
    notes = list(told.notes)
    kept: dict[str, float | None] = {"previous_close": told.previous_close, "bid": told.bid, "ask": told.ask}
    for name, value in kept.items():
        limit = _FARTHEST_CLOSE if name == "previous_close" else _FARTHEST_SIDE
        if value is not None and not price / limit <= value <= price * limit:
            kept[name] = None
            notes.append(f"left out: {name} {value:g} is too far from the price")
    if told.high is not None and told.low is not None and told.low > told.high:
        kept |= {"high": None, "low": None}
        notes.append("left out: the day's low is above its high")
    return replace(told, **kept, notes=tuple(notes))  # type: ignore[arg-type]


def _quote(instrument: Instrument, told: Snapshot, made: Print, session: Session, received_at: datetime) -> Quote:
    """A quote with every figure of the day; the caller takes away what is not of its session."""
    told = _sound(told, made.price)
    notes = told.notes if instrument.asset_class is not AssetClass.US_EQUITY else (CURRENCY_NOTE, *told.notes)
    return Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=made.price,
        session=session,
        received_at=received_at,
        event_time=made.at,
        event_time_resolution_s=made.resolution_s,
        currency=instrument.currency,
        declared_delay_s=told.delay_s,
        bid=told.bid,
        ask=told.ask,
        open=told.open,
        high=told.high,
        low=told.low,
        previous_close=told.previous_close,
        volume=told.volume,
        notes=(*notes, DELAYED_NOTE) if told.delay_s else notes,
    )


def _round_the_clock(
    instrument: Instrument, told: Snapshot, calendar: Calendar, received_at: datetime
) -> tuple[Quote, ...]:
    made = told.live or (None if told.close is None else Print(told.close, None))
    if made is None:
        return ()
    if calendar.state_at(made.at or received_at) is MarketState.OPEN:
        return (_quote(instrument, told, made, Session.REGULAR, received_at),)
    return (_quote(instrument, _unless_cleared(told), made, Session.CLOSED, received_at),)


def _index(instrument: Instrument, told: Snapshot, calendar: Calendar, received_at: datetime) -> tuple[Quote, ...]:
    """An index level is computed while its market trades; later it stands at the close, however it is stamped."""
    made = told.live or (None if told.close is None else Print(told.close, None))
    if made is None:
        return ()
    told = replace(told, volume=None)
    if made.at is None:
        session = _untimed(told, calendar, received_at)
        return (
            _quote(
                instrument, told, made, Session.REGULAR if session is Session.REGULAR else Session.CLOSED, received_at
            ),
        )
    state = calendar.state_at(made.at)
    if state in {MarketState.OPEN, MarketState.BREAK}:
        return (_quote(instrument, told, made, Session.REGULAR, received_at),)
    moved = made.price not in {told.close, told.previous_close}
    if state is MarketState.PRE and moved:
        early = replace(told, open=None, high=None, low=None)
        return (_quote(instrument, early, made, Session.PRE, received_at),)
    over = calendar.latest_completed(made.at)
    at_close = made if over is None else Print(made.price, over.close)
    return (_quote(instrument, _unless_cleared(told), at_close, Session.CLOSED, received_at),)


def _unless_cleared(told: Snapshot) -> Snapshot:
    """Without the previous close where the day was cleared since: it is then the very close that is quoted."""
    return told if told.close is not None else replace(told, previous_close=None)


def _share(instrument: Instrument, told: Snapshot, calendar: Calendar, received_at: datetime) -> tuple[Quote, ...]:
    day = _day_of(told, calendar, received_at)
    official = _official(instrument, told, calendar, day, received_at)
    quotes = [] if official is None else [official]
    if told.live is not None:
        live = _live(instrument, told, told.live, day, received_at)
        same = official is not None and (
            live.session not in {Session.PRE, Session.POST}
            # A price that is only as old as the snapshot may be that very close.
            or (live.event_time_resolution_s > 1 and live.price == official.price)
        )
        quotes = quotes if same else [live, *quotes]
    elif official is None and told.close is not None:
        untimed = _untimed(told, calendar, received_at)
        quotes = [_quote(instrument, told, Print(told.close, None), untimed, received_at)]
    return tuple(quotes)


def _day_of(told: Snapshot, calendar: Calendar, received_at: datetime) -> TradingSession | None:
    """The session that the day's figures are of; None when they are cleared for a session that has not opened."""
    newest = told.newest if told.newest is not None and told.newest <= received_at + _AHEAD else None
    reference = newest or received_at
    local = reference.astimezone(calendar.zone)
    today = calendar.session_on(local.date())
    if today is not None and reference < today.open and local.time() >= _CLEARED:
        return None
    return calendar.latest_opened(reference)


def _official(
    instrument: Instrument, told: Snapshot, calendar: Calendar, day: TradingSession | None, received_at: datetime
) -> Quote | None:
    if day is not None and told.close is not None:
        if not _is_over(told, calendar, day, received_at):
            return None
        without_book = replace(told, bid=None, ask=None)
        return _quote(instrument, without_book, Print(told.close, day.close), Session.CLOSED, received_at)
    return _close_before(instrument, told, calendar, received_at)


def _is_over(told: Snapshot, calendar: Calendar, day: TradingSession, received_at: datetime) -> bool:
    """Whether the feed had reached the session's close."""
    if told.newest is not None and told.newest >= day.close:
        return True
    if told.market in _OVER and not told.delay_s:
        return day.close <= received_at
    opens = calendar.next_open(day.close)
    return day.close + _SETTLED <= received_at and (opens is None or received_at < opens)


def _close_before(instrument: Instrument, told: Snapshot, calendar: Calendar, received_at: datetime) -> Quote | None:
    """Before the open, when the day is cleared, the previous close is that of the last session."""
    last = calendar.latest_opened(received_at)
    if told.previous_close is None or last is None or last.close > received_at:
        return None
    if last.day >= received_at.astimezone(calendar.zone).date():
        return None
    note = "the previous day's close; the reply does not date it"
    bare = Snapshot(delay_s=told.delay_s, notes=(*told.notes, note))
    return _quote(instrument, bare, Print(told.previous_close, last.close, DATE_ONLY_S), Session.CLOSED, received_at)


def _live(
    instrument: Instrument,
    told: Snapshot,
    made: Print,
    day: TradingSession | None,
    received_at: datetime,
) -> Quote:
    calendar = calendar_named(instrument.calendar)
    session = _untimed(told, calendar, received_at) if made.at is None else _session_at(made.at, calendar)
    quote = _quote(instrument, told, made, session, received_at)
    if session is Session.PRE:
        return replace(quote, open=None, high=None, low=None, volume=None)
    if day is None or told.close is None:
        # The day was cleared since, so that its figures and its previous close are of another session.
        return replace(quote, open=None, high=None, low=None, volume=None, previous_close=None)
    return quote


def _session_at(at: datetime, calendar: Calendar) -> Session:
    """The session of a trade; one that is reported just after the late hours belongs to them."""
    state = calendar.state_at(at)
    if state is MarketState.CLOSED:
        state = calendar.state_at(at - _LATE_PRINT)
    return Session.REGULAR if state is MarketState.UNKNOWN else session_of(state)


def _untimed(told: Snapshot, calendar: Calendar, received_at: datetime) -> Session:
    return told.market or session_of(calendar.state_at(received_at))
