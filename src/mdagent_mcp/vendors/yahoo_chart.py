"""Yahoo's formats, shared by its quotes and its series: symbols, units, stated errors and the v8 chart.

The rule of this module: it says what Yahoo sent, before anybody decides what it means. A chart for another symbol
than the one asked is refused, and so is a price that may be in pence or in pounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType, NoneType
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError, clean_text
from mdagent_mcp.domain.instruments import SYMBOL_LIMIT, AssetClass, Instrument, InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.prices import major_unit, unit_note
from mdagent_mcp.domain.reading import Json, instant_of, malformed
from mdagent_mcp.domain.vendor import Reply

SOURCE: Final = "yahoo"

Period = tuple[datetime, datetime]
"""Start and end of a session, UTC."""

_ZONE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*(?:/[A-Za-z0-9_+\-]+){0,2}")
_CURRENCY: Final = re.compile(r"[A-Z]{3,5}")
_DOLLAR_PAIR: Final = re.compile(r"([A-Z]{3})=X")
_QUOTED_IN_HUNDREDTHS: Final = frozenset({"GBP", "ZAR", "ILS"})
_EXACT: Final = 2**53
"""Whole numbers up to this one are exact as floats."""
_UNLISTED: Final = "unlisted"
"""The calendar of a contract that has no canonical symbol; there is none of that name."""
_STATED_KINDS: Final[Mapping[str, FailureKind]] = MappingProxyType(
    {
        "Not Found": FailureKind.UNKNOWN_SYMBOL,
        "Unauthorized": FailureKind.UNAUTHORIZED,
        "Bad Request": FailureKind.BAD_REQUEST,
    }
)


class Row(NamedTuple):
    """One row of a chart, as sent: a tuple, because a quote's chart has a thousand of them and is waited for.

    Attributes:
        stamp: start of the bar; the time of the last trade where Yahoo appends the running bar.
        open: first price, None where null.
        high: highest price.
        low: lowest price.
        close: last price.
        volume: shares or units.
        adjusted: close corrected for splits and dividends, in daily and longer charts.
    """

    stamp: datetime
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    adjusted: float | None

    @property
    def prices(self) -> tuple[float, float, float, float] | None:
        """Open, high, low and close; None when one of them is null, or 0 as Yahoo writes for none."""
        if self.open is None or self.high is None or self.low is None or self.close is None:
            return None
        told = self.open, self.high, self.low, self.close
        return told if min(told) > 0 else None


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows of a chart as sent, column by column: a row is made when it is looked at.

    A quote's chart has a thousand rows, is waited for, and two of them are needed.

    Attributes:
        stamps: starts of the bars, epoch seconds where Yahoo sent plain ones.
        cells: open, high, low, close, volume and adjusted close, each as long as `stamps`.
    """

    stamps: Sequence[int | datetime]
    cells: tuple[Sequence[float | None], ...]

    def row(self, place: int) -> Row:
        """One row."""
        return Row(_instant_at(self.stamps[place]), *(column[place] for column in self.cells))

    def rows(self) -> tuple[Row, ...]:
        """All of them."""
        return tuple(map(Row, map(_instant_at, self.stamps), *self.cells))

    def between(self, start: datetime, end: datetime) -> Iterator[Row]:
        """Those that begin from `start` on and before `end`."""
        first, last = start.timestamp(), end.timestamp()
        for place, stamp in enumerate(self.stamps):
            epoch_s = stamp if isinstance(stamp, int) else stamp.timestamp()
            if first <= epoch_s < last:
                yield self.row(place)

    def latest_first(self) -> Iterator[Row]:
        """From the last one sent to the first."""
        return map(self.row, range(len(self.stamps) - 1, -1, -1))


@dataclass(frozen=True)
class Chart:
    """A chart that answers for the symbol asked.

    Attributes:
        meta: what it says about the instrument and the day.
        timezone: IANA name of the exchange's zone.
        zone: that zone.
        columns: its rows, not made yet.
        events: dividends and splits; None where there are none.
    """

    meta: Json
    timezone: str
    zone: ZoneInfo
    columns: Columns
    events: Json | None

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Its rows, as sent."""
        return self.columns.rows()


@dataclass(frozen=True, slots=True)
class Unit:
    """What a price is given in.

    Attributes:
        currency: ISO code of the major unit; None when the reply does not say.
        divisor: what prices are divided by to reach it.
        notes: say so when they are.
    """

    currency: str | None
    divisor: float
    notes: tuple[str, ...] = ()

    def of(self, price: float | None) -> float | None:
        """A price of the reply in the major unit; None for None."""
        return None if price is None else price / self.divisor


def spellings_of(instrument: Instrument) -> tuple[str, ...]:
    """What Yahoo calls an instrument: the name to ask by, then others that it may answer with."""
    match instrument.asset_class:
        case AssetClass.US_EQUITY:
            return (instrument.symbol.replace(".", "-"),)
        case AssetClass.FOREX:
            pair = f"{instrument.symbol}=X"
            return (pair, f"{instrument.suffix}=X") if instrument.root == "USD" else (pair,)
        case _:
            return (instrument.symbol,)


def instrument_of(spelled: str) -> Instrument:
    """The instrument behind Yahoo's own spelling.

    A contract that has no canonical symbol (an option, a future) keeps its name, and nothing is assumed of its
    market or currency.
    """
    text = spelled.strip().upper()
    dollar_pair = _DOLLAR_PAIR.fullmatch(text)
    try:
        instrument = parse_symbol(f"USD{text}" if dollar_pair else text)
    except InvalidSymbolError:
        instrument = None
    if instrument is not None and text in spellings_of(instrument):
        return instrument
    name = clean_text(text, SYMBOL_LIMIT)
    return Instrument(name, AssetClass.FOREIGN_EQUITY, _UNLISTED, None, name)


def open_envelope(body: bytes, name: str) -> Json:
    """The member `name` of a reply, once neither it nor `finance` states an error.

    Raises:
        SourceError: what the stated error means; MALFORMED_REPLY when the member is missing.
    """
    document = Json.parse(body)
    holder = document.find(name) or document.find("finance")
    if holder is None:
        raise malformed(f"{document.path}.{name} is missing")
    error = holder.find("error")
    if error is not None:
        code, words = error.optional_text("code") or "", error.optional_text("description") or ""
        raise SourceError(_STATED_KINDS.get(code, FailureKind.SOURCE_ERROR), f"{code}: {words}")
    return holder


def open_chart(instrument: Instrument, reply: Reply) -> Chart:
    """Read a chart.

    Raises:
        SourceError: NO_DATA when there is no result, MALFORMED_REPLY when it is for another symbol or no chart.
    """
    found = open_envelope(reply.body, "chart").find("result")
    result = None if found is None else next(found.items(), None)
    if result is None:
        raise SourceError(FailureKind.NO_DATA, "the chart has no result")
    meta = result.get("meta")
    spellings, answered = spellings_of(instrument), meta.get("symbol").text(40)
    if answered.upper() not in spellings:
        raise malformed(f"answered for another symbol: {answered[:40]!r}, not {spellings[0]}")
    timezone = meta.get("exchangeTimezoneName").text(60)
    return Chart(meta, timezone, read_zone(timezone), _columns(result), result.find("events"))


def read_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        SourceError: MALFORMED_REPLY when there is none of that name.
    """
    try:
        if _ZONE_NAME.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise malformed(f"exchangeTimezoneName is no time zone: {name!r}") from error
    raise malformed(f"exchangeTimezoneName is no time zone: {name!r}")


def read_unit(label: str | None, instrument: Instrument) -> Unit:
    """What `label` says about prices.

    Raises:
        SourceError: MALFORMED_REPLY when there is no label for a listing that may be quoted in hundredths: its price
            could be wrong by a factor of 100.
    """
    if not label:
        if instrument.currency in _QUOTED_IN_HUNDREDTHS and instrument.asset_class is AssetClass.FOREIGN_EQUITY:
            raise malformed(f"no currency is stated: the price may be in {instrument.currency} or in hundredths of it")
        return Unit(None, 1.0)
    currency, divisor = major_unit(label)
    if not _CURRENCY.fullmatch(currency):
        raise malformed(f"the currency is no currency code: {label!r}")
    return Unit(currency, divisor, unit_note(label, divisor))


def calendar_of(instrument: Instrument, zone: ZoneInfo | None, instant: datetime) -> Calendar | None:
    """The instrument's calendar, where it can be relied on at `instant`.

    An index that we know nothing about is filed under New York; a reply from another zone shows that it is not.
    """
    calendar = calendar_named(instrument.calendar)
    if not calendar.covers(instant.astimezone(calendar.zone).date()):
        return None
    if zone is None or instrument.asset_class in {AssetClass.CRYPTO, AssetClass.FOREX}:
        return calendar
    same = instant.astimezone(zone).utcoffset() == instant.astimezone(calendar.zone).utcoffset()
    return calendar if same else None


def regular_periods(meta: Json) -> tuple[Period, ...]:
    """The regular sessions a chart speaks of, oldest first: those of its range, else the current one."""
    told = meta.find("tradingPeriods")
    if told is not None and isinstance(told.value, Mapping):
        told = told.find("regular")
    if told is not None:
        return tuple(_period(period) for day in told.items() for period in day.items())
    current = meta.find("currentTradingPeriod")
    regular = None if current is None else current.find("regular")
    return () if regular is None else (_period(regular),)


def _columns(result: Json) -> Columns:
    stamps = result.find("timestamp")
    times = [] if stamps is None else _times(stamps)
    if not times:
        return Columns((), ())
    indicators = result.get("indicators")
    prices = _first(indicators.get("quote"))
    found = indicators.find("adjclose")
    adjusted = None if found is None else _first(found).find("adjclose")
    columns = [_column(prices.get(name), len(times)) for name in ("open", "high", "low", "close")]
    columns += [_column(column, len(times)) for column in (prices.find("volume"), adjusted)]
    return Columns(times, tuple(columns))


def _times(stamps: Json) -> Sequence[int | datetime]:
    """The starts of a chart's rows; only what is no plain epoch is looked at closely."""
    plain = stamps.value if isinstance(stamps.value, list) else ()
    if plain and all(type(stamp) is int for stamp in plain):
        instant_of(min(plain), f"{stamps.path}[]")
        instant_of(max(plain), f"{stamps.path}[]")
        return plain
    return [item.instant() for item in stamps.items()]


def _instant_at(stamp: int | datetime) -> datetime:
    return stamp if isinstance(stamp, datetime) else datetime.fromtimestamp(stamp, UTC)


def _column(column: Json | None, length: int) -> list[float | None]:
    if column is None:
        return [None] * length
    plain = _plain(column.value) if isinstance(column.value, list) else None
    if plain is not None and len(plain) == length:
        return plain
    # A long series has tens of thousands of cells: only those that are no plain numbers are looked at closely.
    values = [
        item if item is None or (type(item) is float and math.isfinite(item)) else _number(item, column)
        for item in (column.value if isinstance(column.value, list) else column.items())
    ]
    if len(values) != length:
        raise malformed(f"{column.path} has {len(values)} values for {length} time stamps")
    return values


def _plain(values: list[Any]) -> list[float | None] | None:
    """The cells of a column of plain numbers and gaps, looked at as a whole; None for any other."""
    kinds = set(map(type, values))
    if not kinds <= {float, int, NoneType}:
        return None
    numbers = [item for item in values if item is not None] if NoneType in kinds else values
    if int in kinds and max(map(abs, numbers)) > _EXACT:
        return None
    if not math.isfinite(sum(numbers)):  # one that is not makes the sum so as well
        return None
    return values if int not in kinds else [item if item is None else float(item) for item in values]


def _number(item: object, column: Json) -> float:
    if type(item) is int and abs(item) <= _EXACT:
        return float(item)
    return Json(item, f"{column.path}[]").number()


def _first(array: Json) -> Json:
    element = next(array.items(), None)
    if element is None:
        raise malformed(f"{array.path} is empty")
    return element


def _period(period: Json) -> Period:
    return period.get("start").instant(), period.get("end").instant()
