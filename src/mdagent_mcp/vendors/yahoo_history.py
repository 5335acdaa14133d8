"""Yahoo's chart read as a series of bars.

The rule of this module: prices come split-adjusted, with `adjclose` beside them: wrong dividends are Yahoo's most
frequent error, so that correction is checked before it is applied and not applied here. Prices as traded (`none`) are
scaled by the splits that the same reply tells. Bars of another length than
asked are refused. The running day or minute, which Yahoo may append as a row of its own, is joined with its bar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split
from mdagent_mcp.domain.reading import Json, malformed, price_time
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.vendor import HistoryQuery, Reply
from mdagent_mcp.vendors.yahoo_chart import (
    SOURCE,
    Chart,
    Period,
    Row,
    Unit,
    calendar_of,
    open_chart,
    read_unit,
    regular_periods,
)

NEVER_ADJUSTED: Final = frozenset({AssetClass.CRYPTO, AssetClass.FOREX, AssetClass.INDEX})
"""Instruments with neither splits nor dividends: every adjustment is the same."""

_DAY: Final = timedelta(days=1)
_FOREX_DAY_SHIFT: Final = timedelta(hours=7)
"""A forex day begins at 17:00 New York."""
_GRANULARITIES: Final[Mapping[Interval, frozenset[str]]] = MappingProxyType(
    {interval: frozenset({interval.value}) for interval in Interval} | {Interval.HOUR_1: frozenset({"1h", "60m"})}
)


def read_history(query: HistoryQuery, reply: Reply) -> History:
    """Read a chart as the series that was asked for.

    Raises:
        SourceError: NO_DATA when nothing of the asked range is in it.
    """
    chart = open_chart(query.instrument, reply)
    if not chart.rows:
        raise SourceError(FailureKind.NO_DATA, "the chart has no rows")
    sent = chart.meta.get("dataGranularity").text(10)
    if sent not in _GRANULARITIES[query.interval]:
        # For some ranges Yahoo answers with longer bars than asked and calls that a success.
        raise malformed(f"answered with bars of {sent}, not {query.interval}")
    basis = _Basis(query, chart, read_unit(chart.meta.optional_text("currency"), query.instrument))
    rows = [(start, basis.bar(start, row)) for start, row in _place_rows(chart, query)]
    bars, null_rows = bars_and_null_rows(rows)
    return History(
        symbol=query.instrument.symbol,
        source=SOURCE,
        interval=query.interval,
        adjustment=basis.adjustment,
        timezone=chart.timezone,
        received_at=reply.received_at,
        bars=bars,
        currency=basis.unit.currency,
        null_rows=null_rows,
        partial_last_bar=_end_of(bars[-1].start, chart, query) > reply.received_at,
        extended_hours=query.extended_hours and query.interval.is_intraday,
        dividends=basis.dividends(),
        capital_gains=basis.capital_gains(),
        splits=tuple(s for s in basis.splits if s.day >= query.first),
        notes=basis.notes(bars),
    )


def first_day_of(interval: Interval, day: date) -> date:
    """The first date of the period that `day` belongs to: its Monday, the first of its month, or itself."""
    if interval is Interval.WEEK_1:
        return day - day.weekday() * _DAY
    return day.replace(day=1) if interval is Interval.MONTH_1 else day


def last_day_of(interval: Interval, day: date) -> date:
    """The last date of the period that `day` belongs to."""
    if interval is Interval.WEEK_1:
        return day + (6 - day.weekday()) * _DAY
    return (day.replace(day=28) + 4 * _DAY).replace(day=1) - _DAY if interval is Interval.MONTH_1 else day


class _Basis:
    """Turns rows into bars of the unit and the adjustment asked for."""

    def __init__(self, query: HistoryQuery, chart: Chart, unit: Unit) -> None:
        self.unit = unit
        self.splits = _read_splits(chart)
        self._paid, left_out = _read_cash(chart, "dividends", query.instrument, unit)
        self._gains, more_left_out = _read_cash(chart, "capitalGains", query.instrument, unit)
        self._left_out = left_out + more_left_out
        self._query = query
        self._chart = chart
        self._adjusts = query.instrument.asset_class not in NEVER_ADJUSTED
        if self._adjusts and query.adjustment is Adjustment.ALL and all(r.adjusted is None for r in chart.rows):
            raise malformed("the chart has no adjclose to adjust for dividends by")

    def bar(self, start: datetime, row: Row) -> Bar | None:
        """The row as a bar; None when it has no prices."""
        prices = row.prices
        if prices is None:
            return None
        day = self._day_of(start)
        scale = self._factor(last_day_of(self._query.interval, day))
        first, high, low, last = (_finite(price * scale / self.unit.divisor) for price in prices)
        return Bar(start, first, high, low, last, self._volume(day, row.volume), self._adjusted(row))

    @property
    def adjustment(self) -> Adjustment:
        """The basis of the bars: `all` is told by their `adjusted_close`, not applied."""
        asked = self._query.adjustment
        return Adjustment.SPLITS if self._adjusts and asked is Adjustment.ALL else asked

    def dividends(self) -> tuple[Dividend, ...]:
        """The dividends from the first asked day on, on the basis of the prices."""
        return self._asked(self._paid)

    def capital_gains(self) -> tuple[Dividend, ...]:
        """A fund's distributions of capital gains from the first asked day on, on the basis of the prices."""
        return self._asked(self._gains)

    def notes(self, bars: Sequence[Bar]) -> tuple[str, ...]:
        """What was decided while reading, and which bars no single basis fits."""
        notes = [*self.unit.notes, *self._left_out]
        interval = self._query.interval
        if self._query.extended_hours and interval.is_intraday:
            notes.append("outside regular hours Yahoo tells no volume and writes 0")
        if self._query.adjustment is Adjustment.NONE and not interval.is_intraday:
            cut = [b.day for b in bars if any(b.day < s.day <= last_day_of(interval, b.day) for s in self.splits)]
            notes += [f"the bar of {day} contains a split and is in new shares throughout" for day in cut]
        return tuple(notes)

    def _adjusted(self, row: Row) -> float | None:
        if not self._adjusts or self._query.adjustment is not Adjustment.ALL or row.adjusted is None:
            return None
        return row.adjusted / self.unit.divisor

    def _asked(self, paid: Sequence[Dividend]) -> tuple[Dividend, ...]:
        wanted = sorted((d for d in paid if d.day >= self._query.first), key=lambda d: d.day)
        return tuple(Dividend(d.day, _finite(d.amount * self._factor(d.day))) for d in wanted)

    def _factor(self, day: date) -> float:
        """Shares today for each share of `day`, where prices as traded are asked for; else 1."""
        if not self._adjusts or self._query.adjustment is not Adjustment.NONE:
            return 1.0
        factor = math.prod(s.ratio for s in self.splits if s.day > day)
        if not 0 < factor < math.inf:
            raise malformed("the splits multiply to nothing that could be")
        return factor

    def _volume(self, day: date, volume: float | None) -> float | None:
        # Yahoo writes 0 where there is no volume at all.
        if volume is None or not has_volume(self._query.instrument, volume):
            return None
        return _finite(volume / self._factor(last_day_of(self._query.interval, day)))

    def _day_of(self, start: datetime) -> date:
        return start.astimezone(self._chart.zone).date() if self._query.interval.is_intraday else start.date()


def has_volume(instrument: Instrument, volume: float) -> bool:
    """Whether a volume means anything: forex has none, and an index none or its members'."""
    if instrument.asset_class is AssetClass.FOREX:
        return False
    return volume > 0 or (volume == 0 and instrument.asset_class is not AssetClass.INDEX)


def _read_splits(chart: Chart) -> tuple[Split, ...]:
    found = []
    for event in _events(chart, "splits"):
        numerator, denominator = event.get("numerator").number(), event.get("denominator").number()
        if numerator <= 0 or denominator <= 0:
            raise malformed(f"{event.path} is no split: {numerator:g} for {denominator:g}")
        found.append(Split(_event_day(event, chart), numerator / denominator))
    return tuple(sorted(found, key=lambda s: s.day))


def _read_cash(chart: Chart, kind: str, instrument: Instrument, unit: Unit) -> tuple[list[Dividend], list[str]]:
    """Payments of one kind in the currency of the prices, and a note about those in another one."""
    found, left_out = [], []
    for event in _events(chart, kind):
        label = event.optional_text("currency")
        own = read_unit(label, instrument) if label else unit
        day = _event_day(event, chart)
        amount = event.get("amount").number()
        if own.currency != unit.currency:
            left_out.append(f"the dividend of {day} is in {own.currency} and was left out")
        elif amount > 0:
            found.append(Dividend(day, amount / own.divisor))
        else:
            left_out.append(f"the dividend of {day} is of {amount:g} and was left out")
    return found, left_out


def _events(chart: Chart, name: str) -> list[Json]:
    told = None if chart.events is None else chart.events.find(name)
    return [] if told is None else [event for _, event in told.members()]


def _event_day(event: Json, chart: Chart) -> date:
    return _trading_day(event.get("date").instant(), chart)


def _trading_day(stamp: datetime, chart: Chart, *, running: bool = False) -> date:
    """The trading date of a daily stamp; a running row carries the time of its last trade instead."""
    local = stamp.astimezone(chart.zone)
    # After changes of summer time some exchanges' midnights come out one or two hours early.
    if not running and local.hour >= 22 and local.minute == 0 and local.second == 0:
        return local.date() + _DAY
    return local.date()


def _place_rows(chart: Chart, query: HistoryQuery) -> list[tuple[datetime, Row]]:
    """The rows of the asked range, each with the start of its bar."""
    if query.interval.is_intraday:
        return _join_running_bar(_within_hours(chart, query), query)
    last = len(chart.rows) - 1
    days = [_trading_day(row.stamp, chart, running=n == last) for n, row in enumerate(chart.rows)]
    placed = [
        (day, row)
        for day, row in zip(days, chart.rows, strict=True)
        if day <= query.last and last_day_of(query.interval, day) >= query.first
    ]
    return [(_midnight(day), row) for day, row in _join_running_day(placed, query.interval)]


def _within_hours(chart: Chart, query: HistoryQuery) -> list[tuple[datetime, Row]]:
    """The intraday rows of the asked days, without extended hours unless these were asked for."""
    forex = query.instrument.asset_class is AssetClass.FOREX
    zone, shift = (calendar_named("24/5").zone, _FOREX_DAY_SHIFT) if forex else (chart.zone, timedelta(0))
    hours: dict[date, tuple[Period, ...]] = {}
    placed = []
    for row in chart.rows:
        day = (price_time(row.stamp, "timestamp").astimezone(zone) + shift).date()
        if not query.first <= day <= query.last:
            continue
        if day not in hours:
            hours[day] = () if query.extended_hours else _regular_hours(chart, query.instrument, day, row.stamp)
        # On a day without known hours every row is kept: whether it can exist is for validation to say.
        if not hours[day] or any(start <= row.stamp < end for start, end in hours[day]):
            placed.append((row.stamp, row))
    return placed


def _regular_hours(chart: Chart, instrument: Instrument, day: date, instant: datetime) -> tuple[Period, ...]:
    # Indices keep hours of their own, which only the chart tells.
    calendar = calendar_of(instrument, chart.zone, instant)
    if calendar is not None and instrument.asset_class is not AssetClass.INDEX:
        session = calendar.session_on(day)
        return () if session is None else ((session.open, session.close),)
    return tuple(p for p in regular_periods(chart.meta) if p[0].astimezone(chart.zone).date() == day)


def _join_running_day(placed: list[tuple[date, Row]], interval: Interval) -> list[tuple[date, Row]]:
    """Join the running day, which may come as a row of its own, with the row of its day, week or month."""
    if len(placed) < 2:
        return placed
    (day, row), (running_day, running) = placed[-2:]
    if last_day_of(interval, day) != last_day_of(interval, running_day):
        return placed
    repeated = interval is Interval.DAY_1 or row.stamp == running.stamp
    return [*placed[:-2], (day, _newer(row, running) if repeated else _joined(row, running))]


def _join_running_bar(placed: list[tuple[datetime, Row]], query: HistoryQuery) -> list[tuple[datetime, Row]]:
    """Join the running point, which comes stamped with its trade's time, with the bar it falls into."""
    if not placed:
        return placed
    *earlier, (stamp, running) = placed
    start, row = earlier[-1] if earlier else (stamp, running)
    passed, on_grid = (stamp - start) // query.interval.length, stamp.second == 0
    if earlier and stamp == start:
        return [*earlier[:-1], (start, _newer(row, running))]
    # In extended hours the session's end may cut a bar short; there only odd seconds tell a running point.
    if earlier and passed == 0 and not (query.extended_hours and on_grid):
        return [*earlier[:-1], (start, _joined(row, running))]
    if on_grid:
        return placed
    begun = start + passed * query.interval.length if passed > 0 else stamp.replace(second=0, microsecond=0)
    return [*earlier, (begun, running)]


def _newer(row: Row, running: Row) -> Row:
    """The newer of two rows that mean the same; a row without prices means nothing."""
    return row if running.prices is None else running


def _joined(row: Row, running: Row) -> Row:
    """One row for a bar whose newest part came as a row of its own."""
    before, after = row.prices, running.prices
    if before is None or after is None:
        return _newer(row, running)
    volumes = [v for v in (row.volume, running.volume) if v is not None]
    return row._replace(
        high=max(before[1], after[1]),
        low=min(before[2], after[2]),
        close=after[3],
        volume=sum(volumes) if volumes else None,
        adjusted=running.adjusted,
    )


def _end_of(start: datetime, chart: Chart, query: HistoryQuery) -> datetime:
    """When the period of a bar ends."""
    calendar = calendar_of(query.instrument, chart.zone, start)
    if query.interval.is_intraday:
        ends = start + query.interval.length
        session = None if calendar is None or query.extended_hours else calendar.session_at(start)
        return ends if session is None or start >= session.close else min(ends, session.close)
    first, last = start.date(), last_day_of(query.interval, start.date())
    # Yahoo's forex day is London's, not the one that ends at 17:00 New York.
    if calendar is not None and not (calendar.name == "24/5" and query.interval is Interval.DAY_1):
        sessions = calendar.sessions_between(first, last)
        if sessions:
            return sessions[-1].close
    after = last + _DAY
    return datetime(after.year, after.month, after.day, tzinfo=chart.zone).astimezone(UTC)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise malformed("a price or volume is not finite on the basis asked for")
    return value
