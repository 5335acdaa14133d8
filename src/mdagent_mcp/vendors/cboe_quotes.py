"""How Cboe's delayed-quote files write things: symbols, numbers and times; and reading the quote file.

The rule of this module: while its session runs a price is Cboe's own last print; once that print is from the last
minute of a session that is over, the official close is taken instead, which the file then holds beside it. The
file's `prev_day_close` becomes the new close some time after the session, so a previous close is worked out from the
change and only kept when the file does not contradict it. What a file says of itself (`timestamp`) is when it was
written, never when the price was true.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import MarketState, TradingSession, calendar_named
from mdagent_mcp.domain.failures import Answered, FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, countable, display_number, malformed, positive
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Reply

SOURCE: Final = "cboe"
DELAY_S: Final = 900.0
"""What Cboe declares."""
NEW_YORK: Final = ZoneInfo("America/New_York")
"""The zone of a time without an offset."""
MINUTE: Final = timedelta(minutes=1)
_DATE_ONLY_S: Final = 86400.0
_LAST_DEAD_YEAR: Final = 2000
"""A record that is no longer kept carries a last trade of 2000-01-01."""
_ROUNDING: Final = 0.011
"""Prices of shares are rounded to cents, so sums of them may be a cent off."""

INDICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "^GSPC": "_SPX",
        "^SPX": "_SPX",
        "^NDX": "_NDX",
        "^RUT": "_RUT",
        "^DJX": "_DJX",
        "^OEX": "_OEX",
        "^XSP": "_XSP",
        "^VIX": "_VIX",
        "^VIX9D": "_VIX9D",
        "^TNX": "_TNX",
    }
)
"""The indices known to be carried, by canonical symbol."""
CANONICAL: Final[Mapping[str, str]] = MappingProxyType(
    {theirs: ours for ours, theirs in INDICES.items() if ours != "^SPX"}
)
_DIVISORS: Final[Mapping[str, float]] = MappingProxyType({"_TNX": 10.0})
"""Ten times the yield in percent is what the file of a yield index holds."""


@dataclass(frozen=True, slots=True)
class _Trade:
    """When the last trade was: an instant, or only a date."""

    day: date
    instant: datetime | None


@dataclass(frozen=True, slots=True)
class _Record:
    """The numbers of a quote file, on the instrument's own scale; what the file gives as 0 is None."""

    current: float | None
    close: float | None
    change: float | None
    previous: float | None
    bid: float | None
    ask: float | None
    open: float | None
    high: float | None
    low: float | None
    volume: float | None

    @property
    def is_bare(self) -> bool:
        """Whether there is a value and nothing of a session around it."""
        return self.open is None and self.high is None and self.low is None


def spelling_of(instrument: Instrument) -> str | None:
    """The name of an instrument's files; None when Cboe is not known to carry it."""
    if instrument.asset_class is AssetClass.US_EQUITY:
        return instrument.symbol
    return INDICES.get(instrument.symbol) if instrument.asset_class is AssetClass.INDEX else None


def require_symbol(named: Json | None, instrument: Instrument) -> None:
    """Refuse a file about another symbol; one that names none is taken for the one its URL names.

    Raises:
        SourceError: MALFORMED_REPLY.
    """
    if named is None:
        return
    text = named.text(40)
    spelling = spelling_of(instrument) or instrument.symbol.replace("^", "_", 1)
    if text.upper().replace("^", "_", 1) != spelling:
        raise malformed(f"answered for another symbol: {text!r} instead of {spelling}")


def divisor_of(instrument: Instrument) -> float:
    """By what the file's prices are divided."""
    return _DIVISORS.get(spelling_of(instrument) or "", 1.0)


def number(parent: Json, key: str) -> float | None:
    """A member given as a number or, in files of indices, as text; None when missing."""
    found = parent.find(key)
    if found is None:
        return None
    return display_number(found.text(), found.path) if isinstance(found.value, str) else found.number()


def read_quote(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read `quotes/{symbol}.json`.

    Raises:
        SourceError: NO_DATA for a record that is no longer kept, MALFORMED_REPLY.
    """
    instrument = query.instruments[0]
    root = Json.parse(reply.body)
    data = root.get("data")
    require_symbol(root.find("symbol"), instrument)
    require_symbol(data.find("symbol"), instrument)
    record = _record(data, instrument)
    trade = _last_trade(data.get("last_trade_time"))
    if trade.day.year <= _LAST_DEAD_YEAR or (record.current is None and record.close is None):
        raise SourceError(FailureKind.NO_DATA, "an empty record: Cboe no longer carries this symbol")
    return {instrument.symbol: Answered((_quote(instrument, record, trade, reply.received_at),))}


def _record(data: Json, instrument: Instrument) -> _Record:
    divisor = divisor_of(instrument)

    def price(key: str) -> float | None:
        value = positive(number(data, key))
        return None if value is None else positive(round(value / divisor, 6))

    change = number(data, "price_change")
    volume = countable(number(data, "volume"))
    return _Record(
        current=price("current_price"),
        close=price("close"),
        change=None if change is None else change / divisor,
        previous=price("prev_day_close"),
        bid=price("bid"),
        ask=price("ask"),
        open=price("open"),
        high=price("high"),
        low=price("low"),
        volume=None if instrument.asset_class is AssetClass.INDEX else volume,
    )


def _last_trade(stamp: Json) -> _Trade:
    """A naive time is New York's; midnight is how a bare date is written."""
    local = wall_time(stamp)
    if (local.hour, local.minute, local.second) == (0, 0, 0):
        return _Trade(local.date(), None)
    if local.tzinfo is None:
        local = local.replace(tzinfo=NEW_YORK)
    instant = local.astimezone(UTC)
    return _Trade(instant.astimezone(NEW_YORK).date(), instant)


def wall_time(stamp: Json) -> datetime:
    """A time as written, naive where it has no offset."""
    try:
        local = datetime.fromisoformat(stamp.text(40))
    except ValueError as error:
        raise malformed(f"{stamp.path} is no date and time") from error
    if not 1970 <= local.year <= 2100:
        raise malformed(f"{stamp.path} is not a market time")
    return local


def _quote(instrument: Instrument, record: _Record, trade: _Trade, received_at: datetime) -> Quote:
    trading = calendar_named(instrument.calendar).session_on(trade.day)
    over = _is_over(trade, trading, received_at)
    official = record.close if over else None
    price = record.current if official is None else official
    if price is None:
        raise SourceError(FailureKind.NO_DATA, "the record holds no price")
    divisor = divisor_of(instrument)
    notes = [f"the file holds {divisor:g} times the value"] if divisor != 1.0 else []
    if trading is None:
        notes.append(f"the calendar has no session on {trade.day}")
    if instrument.currency is not None:
        notes.append("the file names no currency; it is that of the listing")
    dated = trade.instant is None and trading is not None
    return Quote(
        symbol=instrument.symbol,
        source=SOURCE,
        price=price,
        session=Session.CLOSED if over else _running_session(trade, instrument, received_at),
        received_at=received_at,
        event_time=trading.close if trading is not None and dated else trade.instant,
        event_time_resolution_s=_DATE_ONLY_S if dated else 1.0,
        currency=instrument.currency,
        declared_delay_s=DELAY_S,
        bid=None if over else record.bid,
        ask=None if over else record.ask,
        open=record.open,
        high=record.high,
        low=record.low,
        previous_close=_previous_close(record, price, notes),
        volume=record.volume,
        venue_only=official is None and instrument.asset_class is AssetClass.US_EQUITY,
        notes=tuple(notes),
    )


def _is_over(trade: _Trade, trading: TradingSession | None, received_at: datetime) -> bool:
    """Whether the file holds the official close: the last trade is from the final minute of a session now over."""
    if trading is None:
        return True
    if received_at < trading.close:
        return False
    return trade.instant is None or trade.instant >= trading.close - MINUTE


def _running_session(trade: _Trade, instrument: Instrument, received_at: datetime) -> Session:
    state = calendar_named(instrument.calendar).state_at(received_at if trade.instant is None else trade.instant)
    if trade.instant is None:
        return Session.REGULAR if state is MarketState.OPEN else Session.CLOSED
    return Session.PRE if state is MarketState.PRE else Session.REGULAR


def _previous_close(record: _Record, price: float, notes: list[str]) -> float | None:
    """The close that the change is measured from."""
    if record.is_bare:
        return None  # such a record repeats its value as its previous close
    base = price if record.close is None else record.close
    if record.change is None:
        return None if record.previous == base else record.previous
    derived = positive(round(base - record.change, 6))
    if derived is None or not math.isfinite(derived):
        return None
    if record.previous is None:
        return derived
    if abs(record.previous - derived) <= _ROUNDING or abs(record.previous - base) <= _ROUNDING:
        return derived
    notes.append(f"prev_day_close {record.previous:g} contradicts the change, which gives {derived:g}; none is taken")
    return None
