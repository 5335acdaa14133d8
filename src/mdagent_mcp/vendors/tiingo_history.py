"""Reading Tiingo's bars: daily rows as traded and adjusted, minutes of trades at IEX, and daily bars of crypto.

The rule of this module: a date is a trading date and never an instant. Daily prices are sent as traded; the basis of
splits is reached with the split factors of all later rows, so the reply must reach the present.
"""

from __future__ import annotations

import calendar as month_lengths
import csv
import io
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError, vendor_words
from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split
from mdagent_mcp.domain.reading import Json, countable, display_number, malformed, positive, price_time
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.vendor import HistoryQuery, Reply

SOURCE: Final = "tiingo"
CURRENCY_NOTE: Final = "the reply names no currency; it is that of the listing"

_NEW_YORK: Final = ZoneInfo("America/New_York")
_DAY: Final = timedelta(days=1)
_YEARS: Final = range(1900, 2100)
_LARGEST_SPLIT: Final = 1e9
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:T00:00:00(?:\.0+)?(?:Z|\+00:00))?", re.ASCII)
_RAW: Final = ("open", "high", "low", "close", "volume")
_ADJUSTED: Final = ("adjOpen", "adjHigh", "adjLow", "adjClose", "adjVolume")

_Dated = tuple[date, Bar | None]


def instant_of_text(cell: Json) -> datetime:
    """An ISO time with an offset as an instant; nanoseconds are cut to microseconds.

    Raises:
        SourceError: MALFORMED_REPLY.
    """
    match = _INSTANT.fullmatch(cell.text())
    if match is None:
        raise malformed(f"{cell.path} is no time with an offset")
    try:
        instant = datetime.fromisoformat(match[0]).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise malformed(f"{cell.path} is no time") from error
    if instant.year not in _YEARS:
        raise malformed(f"{cell.path} is no time of a market")
    return price_time(instant, cell.path)


def first_day_of(interval: Interval, day: date) -> date:
    """The first date of the period that `day` belongs to: its Monday, the first of its month, or itself."""
    if interval is Interval.WEEK_1:
        return day - day.weekday() * _DAY if day.toordinal() > day.weekday() else date.min
    return day.replace(day=1) if interval is Interval.MONTH_1 else day


def last_day_of(interval: Interval, day: date) -> date:
    """The last date of the period that `day` belongs to: its Sunday, the last of its month, or itself."""
    if interval is Interval.WEEK_1:
        return date.fromordinal(min(day.toordinal() + 6 - day.weekday(), date.max.toordinal()))
    if interval is Interval.MONTH_1:
        return day.replace(day=month_lengths.monthrange(day.year, day.month)[1])
    return day


def read_series(query: HistoryQuery, reply: Reply) -> History:
    """Read a series of whichever endpoint serves the query.

    Raises:
        SourceError: with the reply's own reason, NO_DATA without bars in the range, MALFORMED_REPLY.
    """
    rows = _rows(reply.body)
    if query.instrument.asset_class is AssetClass.CRYPTO:
        return _read_crypto(query, rows, reply.received_at)
    if query.interval.is_intraday:
        return _read_intraday(query, rows, reply.received_at)
    return _read_days(query, rows, reply.received_at)


def _rows(body: bytes) -> list[Json]:
    if body[:5].lower() == b"date,":
        return list(_csv_rows(body))
    root = Json.parse(body)
    if isinstance(root.value, Mapping):
        raise SourceError(FailureKind.SOURCE_ERROR, vendor_words(root.get("detail").text()))
    return list(root.items())


def _csv_rows(body: bytes) -> Iterable[Json]:
    try:
        lines = list(csv.DictReader(io.StringIO(body.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise malformed("the reply is no CSV") from error
    for number, line in enumerate(lines):
        if None in line or None in line.values():
            raise malformed(f"row {number} has another number of columns than the head")
        path = f"reply[{number}]"
        yield Json({k: v if k == "date" else display_number(v, f"{path}.{k}") for k, v in line.items()}, path)


def trading_date(cell: Json) -> date:
    """A trading date, which is written as midnight UTC.

    Raises:
        SourceError: MALFORMED_REPLY.
    """
    match = _DATE.fullmatch(cell.text())
    try:
        day = None if match is None else date.fromisoformat(match[1])
    except ValueError:
        day = None
    if day is None or day.year not in _YEARS:
        raise malformed(f"{cell.path} is no trading date")
    return day


def bar_of(row: Json, start: datetime, names: tuple[str, ...] = _RAW, divisor: float = 1.0) -> Bar | None:
    """The bar of a row, its prices divided and its volume multiplied; None when it has no prices."""
    cells = [row.get(name) for name in names[:4]]
    prices = [None if c.value is None else positive(_finite(c.number() / divisor, c)) for c in cells]
    opened, high, low, close = prices
    if opened is None or high is None or low is None or close is None:
        return None
    volume = countable(row.optional_number(names[4]))
    return Bar(start, opened, high, low, close, None if volume is None else _finite(volume * divisor, row))


def _finite(value: float, cell: Json) -> float:
    if not math.isfinite(value):
        raise malformed(f"{cell.path} is too large")
    return value


@dataclass(frozen=True)
class _Splits:
    """The splits that rows tell about, and by what a day's prices are divided because of later ones."""

    splits: tuple[Split, ...]
    days: tuple[date, ...]
    divisors: tuple[float, ...]

    @classmethod
    def of(cls, rows: Iterable[tuple[date, Json]], *, needed: bool) -> _Splits:
        """Read them; a row without a factor is refused when they are needed."""
        splits: list[Split] = []
        for day, row in rows:
            cell = row.get("splitFactor") if needed else row.find("splitFactor")
            ratio = 1.0 if cell is None else cell.number()
            if not 1 / _LARGEST_SPLIT <= ratio <= _LARGEST_SPLIT:
                raise malformed(f"{row.path}.splitFactor is {ratio:g}")
            if ratio != 1.0:
                splits.append(Split(day, ratio))
        splits.sort(key=lambda split: split.day)
        divisors = [1.0]
        for split in reversed(splits):
            divisors.append(divisors[-1] * split.ratio)
        if not all(1 / _LARGEST_SPLIT <= divisor <= _LARGEST_SPLIT for divisor in divisors):
            raise malformed("the split factors are too large")
        return cls(tuple(splits), tuple(split.day for split in splits), tuple(reversed(divisors)))

    def divisor(self, day: date) -> float:
        """The product of the ratios of all splits after `day`."""
        return self.divisors[bisect_right(self.days, day)]


def _read_days(query: HistoryQuery, rows: list[Json], received_at: datetime) -> History:
    dated = [(trading_date(row.get("date")), row) for row in rows]
    as_traded = query.adjustment is Adjustment.NONE
    splits = _Splits.of(dated, needed=query.adjustment is Adjustment.SPLITS)
    names = _ADJUSTED if query.adjustment is Adjustment.ALL else _RAW
    bars = [
        (day, bar_of(row, _midnight(day), names, splits.divisor(day) if query.adjustment is Adjustment.SPLITS else 1.0))
        for day, row in dated
    ]
    dividends = [
        Dividend(day, _finite(amount / (1.0 if as_traded else splits.divisor(day)), row))
        for day, row in dated
        if day >= query.first and (amount := positive(row.optional_number("divCash"))) is not None
    ]
    notes = [CURRENCY_NOTE]
    if query.adjustment is Adjustment.SPLITS:
        notes.append("prices as traded, divided by the split factors that the source sends with later rows")
    periods = _in_periods(query, bars)
    if len(periods) < len(bars) and query.interval is not Interval.DAY_1:
        notes.append("bars of weeks and months are built from the source's daily rows")
    return _series(
        query,
        received_at,
        periods,
        dividends=tuple(dividends),
        splits=tuple(split for split in splits.splits if split.day >= query.first),
        currency=query.instrument.currency,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Period:
    """A day, week or month with the last date that a row told about."""

    start: date
    told_until: date
    bar: Bar | None


def _in_periods(query: HistoryQuery, bars: list[_Dated]) -> list[_Period]:
    """The bars in the range asked, joined to weeks or months; a row that is one already stays as it is."""
    interval = query.interval
    if interval is Interval.DAY_1:
        return [_Period(day, day, bar) for day, bar in bars if query.first <= day <= query.last]
    groups: dict[date, list[_Dated]] = {}
    for day, bar in sorted(bars, key=lambda dated: dated[0]):
        first = first_day_of(interval, day)
        if first <= query.last and last_day_of(interval, day) >= query.first:
            groups.setdefault(first, []).append((day, bar))
    calendar = calendar_named(query.instrument.calendar)
    return [_joined(interval, first, group, calendar) for first, group in groups.items()]


def _joined(interval: Interval, first: date, group: list[_Dated], calendar: Calendar) -> _Period:
    sessions = calendar.sessions_between(first, last_day_of(interval, first))
    start = sessions[0].day if sessions else first
    told = [bar for _, bar in group if bar is not None]
    if len(told) < len(group):
        return _Period(start, group[-1][0], None)  # a hole within the period may have held its high or its close
    volumes = [bar.volume for bar in told if bar.volume is not None]
    joined = Bar(
        _midnight(start),
        told[0].open,
        max(bar.high for bar in told),
        min(bar.low for bar in told),
        told[-1].close,
        sum(volumes) if len(volumes) == len(told) and math.isfinite(sum(volumes)) else None,
    )
    return _Period(start, group[-1][0], joined)


def _read_crypto(query: HistoryQuery, rows: list[Json], received_at: datetime) -> History:
    wanted = f"{query.instrument.root}{query.instrument.suffix}"
    named = [row for row in rows if row.get("ticker").text().upper() == wanted]
    if rows and not named:
        raise malformed(f"the reply is about another pair than {query.instrument.symbol}")
    days = [(trading_date(row.get("date")), row) for pair in named for row in pair.get("priceData").items()]
    periods = [_Period(day, day, bar_of(row, _midnight(day))) for day, row in days if query.first <= day <= query.last]
    return _series(query, received_at, periods, currency=query.instrument.suffix)


def _read_intraday(query: HistoryQuery, rows: list[Json], received_at: datetime) -> History:
    calendar = calendar_named(query.instrument.calendar)
    timed = [(instant_of_text(row.get("date")), row) for row in rows]
    read = [(start, bar_of(row, start)) for start, row in timed if _is_wanted(start, query, calendar)]
    bars, null_rows = bars_and_null_rows(read)
    return History(
        symbol=query.instrument.symbol,
        source=SOURCE,
        interval=query.interval,
        adjustment=query.adjustment,
        timezone=calendar.timezone,
        received_at=received_at,
        bars=bars,
        currency=query.instrument.currency,
        null_rows=null_rows,
        partial_last_bar=bars[-1].start + query.interval.length > received_at,
        notes=(CURRENCY_NOTE, "bars and volume are of trades at IEX alone"),
    )


def _is_wanted(start: datetime, query: HistoryQuery, calendar: Calendar) -> bool:
    """Whether a bar lies in the range and holds regular trading; an hour may begin before the open."""
    session = calendar.session_at(start)
    if session is None or not query.first <= start.astimezone(_NEW_YORK).date() <= query.last:
        return False
    return start < session.close and start + query.interval.length > session.open


def _series(
    query: HistoryQuery,
    received_at: datetime,
    periods: list[_Period],
    *,
    currency: str | None,
    dividends: tuple[Dividend, ...] = (),
    splits: tuple[Split, ...] = (),
    notes: tuple[str, ...] = (),
) -> History:
    told = [(period, period.bar) for period in periods if period.bar is not None]
    if not told:
        raise SourceError(FailureKind.NO_DATA, "no bars in the range asked")
    calendar = calendar_named(query.instrument.calendar)
    return History(
        symbol=query.instrument.symbol,
        source=SOURCE,
        interval=query.interval,
        adjustment=query.adjustment,
        timezone=calendar.timezone,
        received_at=received_at,
        bars=tuple(bar for _, bar in told),
        currency=currency,
        null_rows=tuple(_midnight(period.start) for period in periods if period.bar is None),
        partial_last_bar=_is_partial(told[-1][0], query.interval, calendar, received_at),
        dividends=dividends,
        splits=splits,
        notes=notes,
    )


def _is_partial(period: _Period, interval: Interval, calendar: Calendar, received_at: datetime) -> bool:
    """Whether the period was not over, or its last session is not among the rows yet."""
    sessions = calendar.sessions_between(period.start, last_day_of(interval, period.start))
    return bool(sessions) and (sessions[-1].close > received_at or period.told_until < sessions[-1].day)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), UTC)
