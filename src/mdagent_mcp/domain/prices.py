"""Prices as one source stated them: when each was true, when it reached us, and on which basis.

The rule of this module: every price carries two instants, `event_time` (when it happened, as the vendor says) and
`received_at` (when we had the reply, handed in by the transport). Age is computed, never stored. Zero is a value;
absence is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final


class Session(StrEnum):
    """Which part of the trading day a price belongs to.

    `PRE`, `REGULAR` and `POST` are trades made in that session. `CLOSED` is the official closing price of the last
    completed regular session: what one quotes while the market is closed. An after-hours print and a regular close
    are different things and are never compared.
    """

    PRE = "pre"
    REGULAR = "regular"
    POST = "post"
    CLOSED = "closed"


class Adjustment(StrEnum):
    """What past prices were corrected for."""

    SPLITS = "splits"
    ALL = "all"
    """Splits and dividends."""
    NONE = "none"
    """As traded."""


class Interval(StrEnum):
    """The length of a bar."""

    MIN_1 = "1m"
    MIN_5 = "5m"
    MIN_15 = "15m"
    MIN_30 = "30m"
    HOUR_1 = "1h"
    DAY_1 = "1d"
    WEEK_1 = "1wk"
    MONTH_1 = "1mo"

    @property
    def is_intraday(self) -> bool:
        """Whether bars are shorter than a day."""
        return self in _LENGTHS

    @property
    def length(self) -> timedelta:
        """The length of an intraday bar; a day for every longer interval."""
        return _LENGTHS.get(self, timedelta(days=1))


_LENGTHS: Final = {
    Interval.MIN_1: timedelta(minutes=1),
    Interval.MIN_5: timedelta(minutes=5),
    Interval.MIN_15: timedelta(minutes=15),
    Interval.MIN_30: timedelta(minutes=30),
    Interval.HOUR_1: timedelta(hours=1),
}


def require_utc(name: str, instant: datetime) -> None:
    """Refuse an instant that is naive or not in UTC.

    Raises:
        ValueError: naming the field.
    """
    if instant.tzinfo is None or instant.utcoffset() != timedelta(0):
        raise ValueError(f"{name} must be an aware datetime in UTC, got {instant!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One price of one instrument as one source stated it.

    A reply may hold two of them: the after-hours print and the regular close are two quotes.

    Attributes:
        symbol: canonical symbol.
        source: source id.
        price: in `currency`, major unit, per share or per unit of the base currency; finite and positive.
        session: which part of the trading day the price belongs to.
        received_at: when the reply had arrived here, UTC.
        event_time: when the price was true as the vendor says, UTC; None when the vendor does not say.
        event_time_resolution_s: how coarse `event_time` is: 1 for epoch seconds, 60 for minutes, 86400 for a bare
            date (then `event_time` is that day's regular close).
        currency: ISO 4217 code of the major unit; None when the vendor does not say.
        declared_delay_s: delay that the vendor or the plan declares, a lower bound of the real one.
        bid: best bid the source shows, None when absent.
        ask: best ask.
        open: open of the regular session that the price belongs to or follows.
        high: high of that session so far.
        low: low of that session so far.
        previous_close: official close of the regular session before that one.
        volume: shares or units traded in that session, in the source's own scope.
        venue_only: the price is one venue's own trade, not the consolidated tape's.
        notes: what was converted or decided while reading (unit conversions, fields not trusted).
    """

    symbol: str
    source: str
    price: float
    session: Session
    received_at: datetime
    event_time: datetime | None = None
    event_time_resolution_s: float = 1.0
    currency: str | None = None
    declared_delay_s: float = 0.0
    bid: float | None = None
    ask: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    previous_close: float | None = None
    volume: float | None = None
    venue_only: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_utc("received_at", self.received_at)
        if self.event_time is not None:
            require_utc("event_time", self.event_time)

    def age_s(self, now: datetime) -> float | None:
        """Seconds from the event to `now`; negative when the source's clock runs ahead; None without event time."""
        return None if self.event_time is None else (now - self.event_time).total_seconds()


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a series.

    Attributes:
        start: start of the bar, UTC. For daily and longer bars: 00:00 UTC of the first trading date it covers, a
            date and not an instant.
        open: first price.
        high: highest price.
        low: lowest price.
        close: last price.
        volume: shares or units in the source's own scope; None where the source has none (forex, indices).
        adjusted_close: the close as the source corrected it for dividends too, unchecked (it may be negative or
            infinite); None where the source tells no such column beside `close`.
    """

    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    adjusted_close: float | None = None

    def __post_init__(self) -> None:
        require_utc("start", self.start)

    @property
    def day(self) -> date:
        """The UTC date of `start`; for daily and longer bars the trading date."""
        return self.start.date()


@dataclass(frozen=True, slots=True)
class Dividend:
    """A cash dividend, per share, in the series' currency, on its ex-date."""

    day: date
    amount: float


@dataclass(frozen=True, slots=True)
class Split:
    """A split: `ratio` new shares for each old one, effective from `day`."""

    day: date
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A series of bars of one instrument as one source stated it, oldest first.

    Attributes:
        symbol: canonical symbol.
        source: source id.
        interval: the bar length actually delivered.
        adjustment: the basis of the prices. A source whose bars carry `adjusted_close` gives them corrected for splits
            only, also when `ALL` was asked: the adjustment is checked before it is applied.
        timezone: IANA name of the exchange's time zone.
        received_at: when the reply had arrived here, UTC.
        bars: oldest first, as the source gave them but for null rows; order and duplicates are for validation.
        currency: ISO 4217 code of the major unit.
        null_rows: starts of rows that the source sent without prices.
        partial_last_bar: the last bar covers a period that had not ended at `received_at`.
        extended_hours: whether pre- and post-market bars are included.
        dividends: those the source told about, within or after the range.
        splits: those the source told about, within or after the range.
        capital_gains: a fund's distributions of capital gains that the source lists beside its dividends.
        notes: what was converted or decided while reading.
    """

    symbol: str
    source: str
    interval: Interval
    adjustment: Adjustment
    timezone: str
    received_at: datetime
    bars: tuple[Bar, ...]
    currency: str | None = None
    null_rows: tuple[datetime, ...] = ()
    partial_last_bar: bool = False
    extended_hours: bool = False
    dividends: tuple[Dividend, ...] = ()
    splits: tuple[Split, ...] = ()
    capital_gains: tuple[Dividend, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_utc("received_at", self.received_at)


MINOR_UNITS: Final = {
    "GBp": ("GBP", 100.0),
    "GBX": ("GBP", 100.0),
    "ZAc": ("ZAR", 100.0),
    "ILA": ("ILS", 100.0),
}
"""Quotation in hundredths: vendor's label -> (major unit, divisor)."""


def major_unit(label: str) -> tuple[str, float]:
    """The ISO code and the divisor that turn a price under `label` into the major unit."""
    return MINOR_UNITS.get(label, (label.upper(), 1.0))


UNIT_NOTE: Final = "prices are quoted in "
"""How the note begins that tells of a conversion."""


def unit_note(label: str, divisor: float) -> tuple[str, ...]:
    """What a reading says of prices that were converted from hundredths; nothing where they were not."""
    return () if divisor == 1.0 else (f"{UNIT_NOTE}{label} and were divided by {divisor:.0f}",)
