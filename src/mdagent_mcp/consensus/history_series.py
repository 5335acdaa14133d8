"""One source's bars made ready for judging: sorted, one row per period, inside what was asked, only usable prices.

The rule of this module: nothing is invented here. A row is kept as the source stated it or left out, and whatever was
left out is remembered, so that a check can report it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from mdagent_mcp.domain.calendar import Calendar
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.questions import HistoryQuestion

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    FloatArray = NDArray[float64]

PRICE_FIELDS: Final = ("open", "high", "low", "close")
"""The four prices of a bar, in their usual order."""

_FOREX_DAY_SHIFT: Final = timedelta(hours=7)
"""A forex day begins at 17:00 New York, so that clock plus seven hours shows its date."""
_LONG: Final = frozenset({Interval.WEEK_1, Interval.MONTH_1})
_DAY: Final = timedelta(days=1)
_NEVER_ADJUSTED: Final = frozenset({AssetClass.CRYPTO, AssetClass.FOREX, AssetClass.INDEX})


@dataclass(frozen=True)
class Series:
    """The usable bars of one source, oldest first, one per period.

    Attributes:
        history: what the source stated.
        group: the upstream group of the source for this instrument.
        basis: what its prices were corrected for; `SPLITS` for instruments that have neither splits nor dividends.
        bars: what may be served.
        keys: the period of each bar: its start, or for daily and longer bars 00:00 UTC of the period's first day.
        disordered: starts of rows that came after a later one.
        duplicates: starts of rows that were dropped for another one of the same period.
        unusable: starts of rows without four finite positive prices, each with what was wrong.
        bad_volumes: starts of rows whose volume is no count (negative or not finite).
        extended_dropped: rows outside regular hours that nobody asked for.
        partial: the last bar covers a period that had not ended when the source answered.
        to_adjust: the bars are before the correction for dividends that `adjusted_close` states; it is applied when
            the series is served.
    """

    history: History
    group: str
    basis: Adjustment
    bars: tuple[Bar, ...]
    keys: tuple[datetime, ...]
    disordered: tuple[datetime, ...] = ()
    duplicates: tuple[datetime, ...] = ()
    unusable: tuple[tuple[datetime, str], ...] = ()
    bad_volumes: tuple[datetime, ...] = ()
    extended_dropped: int = 0
    partial: bool = False
    to_adjust: bool = False

    @property
    def source(self) -> str:
        """The source id."""
        return self.history.source

    @cached_property
    def closes(self) -> tuple[float, ...]:
        """Closing prices."""
        return tuple(b.close for b in self.bars)

    @cached_property
    def compared(self) -> tuple[float | None, ...]:
        """The closes on the basis of the series; None where the source's correction for dividends cannot be used."""
        if not self.to_adjust:
            return self.closes
        return tuple(b.adjusted_close if usable_adjustment(b) else None for b in self.bars)

    @cached_property
    def columns(self) -> FloatArray:
        """Open, high, low and close as four rows of an array."""
        import numpy as np  # noqa: PLC0415 - 80 ms that the start of a server need not pay

        return np.array([(b.open, b.high, b.low, b.close) for b in self.bars]).reshape(-1, 4).T

    @cached_property
    def logs(self) -> FloatArray:
        """Logarithms of `compared`; NaN for None."""
        import numpy as np  # noqa: PLC0415 - see `columns`

        logarithms: FloatArray = np.log(np.array(self.compared, dtype=float))
        return logarithms

    @cached_property
    def index(self) -> dict[datetime, int]:
        """Where the bar of a period stands."""
        return {key: n for n, key in enumerate(self.keys)}

    @cached_property
    def returns(self) -> tuple[float, ...]:
        """Logarithmic return of each bar's close over the close before it; 0 for the first."""
        logs = [math.log(c) for c in self.closes]
        return (0.0, *(b - a for a, b in pairwise(logs))) if logs else ()

    @cached_property
    def usual_move(self) -> float:
        """The median size of the returns; 0 for fewer than two bars."""
        sizes = [abs(r) for r in self.returns[1:]]
        return median(sizes) if sizes else 0.0

    @property
    def deviation(self) -> float:
        """A robust standard deviation of the returns: 1.4826 times their median size."""
        return 1.4826 * self.usual_move

    @cached_property
    def finished(self) -> int:
        """How many bars cover a period that has ended."""
        return len(self.bars) - (1 if self.partial else 0)

    @cached_property
    def median_volume(self) -> float | None:
        """The median of the positive volumes of finished bars; None without any."""
        volumes = [b.volume for b in self.bars[: self.finished] if b.volume is not None and b.volume > 0]
        return median(volumes) if volumes else None

    @cached_property
    def median_range(self) -> float:
        """The median of (high - low) / close."""
        return median((b.high - b.low) / b.close for b in self.bars) if self.bars else 0.0


def usable_adjustment(bar: Bar) -> bool:
    """Whether a bar's adjusted close can be one: positive, finite and not many times the close."""
    return bar.adjusted_close is not None and 0.0 < bar.adjusted_close < 10.0 * bar.close


def served_bar(bar: Bar) -> Bar:
    """A bar as it is served: its adjusted close applied to all its prices and no longer told beside them."""
    if bar.adjusted_close is None:
        return bar
    factor = bar.adjusted_close / bar.close
    return Bar(bar.start, bar.open * factor, bar.high * factor, bar.low * factor, bar.adjusted_close, bar.volume)


def prices_of(bar: Bar) -> dict[str, float]:
    """The four prices of a bar by name."""
    return {"open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close}


def pays_dividend(series: Series, index: int) -> bool:
    """Whether the move into a bar is the fall by a listed dividend, half to one and a half times of it."""
    if index == 0 or (series.basis is Adjustment.ALL and not series.to_adjust):
        return False
    before, day = series.keys[index - 1].date(), series.keys[index].date()
    listed = (*series.history.dividends, *series.history.capital_gains)
    share = sum(d.amount for d in listed if before < d.day <= day and d.amount > 0) / series.closes[index - 1]
    if not 0.0 < share < 1.0:
        return False
    return 0.5 <= series.returns[index] / math.log(1.0 - share) <= 1.5


def basis_of(instrument: Instrument, adjustment: Adjustment) -> Adjustment:
    """The basis that prices are compared on: currencies, crypto and indices have but one."""
    return Adjustment.SPLITS if instrument.asset_class in _NEVER_ADJUSTED else adjustment


def period_of(interval: Interval, start: datetime) -> datetime:
    """What identifies the period of a bar: its start, or 00:00 UTC of the first day of its day, week or month."""
    if interval.is_intraday or (interval is Interval.DAY_1 and not (start.hour or start.minute or start.second)):
        return start.replace(microsecond=0) if start.microsecond and not interval.is_intraday else start
    day = start.date()
    if interval is Interval.WEEK_1:
        # Arithmetic on ordinals, because the Monday before year 1 does not exist.
        day = date.fromordinal(max(1, day.toordinal() - day.weekday()))
    elif interval is Interval.MONTH_1:
        day = day.replace(day=1)
    return datetime.combine(day, time(0), UTC)


def join_adjusted(plain: History, adjusted: History) -> History:
    """One source's series before its correction for dividends, with the corrected closes beside the prices."""
    closes = {b.start: b.close for b in adjusted.bars}
    return replace(
        plain,
        bars=tuple(replace(b, adjusted_close=closes.get(b.start)) for b in plain.bars),
        dividends=plain.dividends or adjusted.dividends,
        capital_gains=plain.capital_gains or adjusted.capital_gains,
    )


def trading_bounds(calendar: Calendar, question: HistoryQuestion) -> tuple[datetime, datetime]:
    """The instants between which an intraday bar starts that belongs to the asked trading dates."""
    shift = _FOREX_DAY_SHIFT if calendar.name == "24/5" else timedelta(0)
    begin = datetime.combine(question.first, time(0), calendar.zone)
    end = datetime.combine(question.last, time(0), calendar.zone)
    # Forward by a whole day after the conversion to UTC would be wrong on the days the clocks change.
    following = datetime.combine(end.date() + timedelta(days=1), time(0), calendar.zone)
    return begin.astimezone(UTC) - shift, following.astimezone(UTC) - shift


def prepare(question: HistoryQuestion, history: History, group: str, calendar: Calendar) -> Series:
    """Sort, drop what is out of range or unusable, keep one row per period.

    Of two rows with one start the later in the reply is kept: vendors append the running bar. Of two rows within one
    week or month the first is kept: the second is no bar of that length.
    """
    inside = _inside(question, history.bars, calendar)
    usable, unusable = _usable(inside)
    ordered = sorted(usable, key=lambda b: b.start)
    disordered = _disordered([b.start for b in usable])
    kept, keys, duplicates = _one_per_period(question.interval, ordered)
    bars, bad_volumes = _volumes(kept)
    bars, keys, dropped = _regular_only(question, calendar, bars, keys)
    basis = basis_of(question.instrument, history.adjustment)
    to_adjust = (
        basis is Adjustment.SPLITS
        and basis_of(question.instrument, question.adjustment) is Adjustment.ALL
        and any(b.adjusted_close is not None for b in bars)
    )
    return Series(
        history,
        group,
        Adjustment.ALL if to_adjust else basis,
        tuple(_on_trading_date(question.interval, calendar, bar) for bar in bars),
        tuple(keys),
        disordered,
        duplicates,
        unusable,
        bad_volumes,
        dropped,
        bool(bars) and is_partial(question.interval, calendar, bars[-1], history),
        to_adjust,
    )


def _on_trading_date(interval: Interval, calendar: Calendar, bar: Bar) -> Bar:
    """A week's or month's bar dated by its first trading date: some vendors date it by a holiday or a weekend."""
    if interval not in _LONG or not calendar.covers(bar.start.date()):
        return bar
    day, last = bar.start.date(), last_day_of(interval, bar.start)
    while day < last and not calendar.is_session(day):
        day += _DAY
    return replace(bar, start=datetime.combine(day, time(0), UTC)) if calendar.is_session(day) else bar


def _disordered(starts: Sequence[datetime]) -> tuple[datetime, ...]:
    """Starts that come before the one in front of them; a reply that is newest first throughout is in order."""
    if all(b < a for a, b in pairwise(starts)):
        return ()
    return tuple(b for a, b in pairwise(starts) if b < a)


def is_partial(interval: Interval, calendar: Calendar, last: Bar, history: History) -> bool:
    """Whether the last bar's period had not ended when the source answered, by its own word or by the calendar's."""
    own_word = history.partial_last_bar and bool(history.bars) and last.start == max(b.start for b in history.bars)
    return own_word or not has_ended(interval, calendar, last.start, history.received_at)


def has_ended(interval: Interval, calendar: Calendar, start: datetime, at: datetime) -> bool:
    """Whether the period that begins at `start` had ended at `at`."""
    if interval.is_intraday:
        return start <= at - interval.length
    last_day = last_day_of(interval, start)
    if at.date() > last_day + timedelta(days=1):
        return True  # no market's session of a date lasts two days longer
    if not calendar.covers(last_day):
        return at.date() > last_day
    sessions = calendar.sessions_between(start.date(), last_day)
    return not sessions or sessions[-1].close <= at


def last_day_of(interval: Interval, start: datetime) -> date:
    """The last day of the day, week or month that a bar covers."""
    day = period_of(interval, start).date()
    if interval is Interval.WEEK_1:
        return date.fromordinal(min(date.max.toordinal() - 2, day.toordinal() + 6))
    if interval is Interval.MONTH_1:
        next_month = day.replace(day=28).toordinal() + 4
        return date.fromordinal(next_month - date.fromordinal(next_month).day)
    return day


def _inside(question: HistoryQuestion, bars: Iterable[Bar], calendar: Calendar) -> list[Bar]:
    if question.interval.is_intraday:
        begin, end = trading_bounds(calendar, question)
        return [b for b in bars if begin <= b.start < end]
    first = period_of(question.interval, datetime.combine(question.first, time(0), UTC)).date()
    last = last_day_of(question.interval, datetime.combine(question.last, time(0), UTC))
    return [b for b in bars if first <= b.start.date() <= last]


def _usable(bars: Sequence[Bar]) -> tuple[list[Bar], tuple[tuple[datetime, str], ...]]:
    usable: list[Bar] = []
    unusable: list[tuple[datetime, str]] = []
    for bar in bars:
        if _priced(bar):
            usable.append(bar)
        else:
            shown = ", ".join(f"{name} {getattr(bar, name):g}" for name in PRICE_FIELDS)
            unusable.append((bar.start, shown))
    return usable, tuple(unusable)


def _priced(bar: Bar) -> bool:
    # A chained comparison is false for NaN too. Nothing is quoted beyond these bounds, and within them no ratio of
    # two prices overflows.
    return 1e-12 < bar.open < 1e15 and 1e-12 < bar.high < 1e15 and 1e-12 < bar.low < 1e15 and 1e-12 < bar.close < 1e15


def _one_per_period(
    interval: Interval, ordered: Sequence[Bar]
) -> tuple[list[Bar], list[datetime], tuple[datetime, ...]]:
    kept: list[Bar] = []
    keys: list[datetime] = []
    duplicates: list[datetime] = []
    for bar in ordered:
        key = period_of(interval, bar.start)
        if not keys or keys[-1] != key:
            kept.append(bar)
            keys.append(key)
            continue
        duplicates.append(bar.start)
        if kept[-1].start == bar.start or interval is Interval.DAY_1:
            kept[-1] = bar
    return kept, keys, tuple(duplicates)


def _volumes(bars: list[Bar]) -> tuple[list[Bar], tuple[datetime, ...]]:
    bad = tuple(b.start for b in bars if b.volume is not None and not 0.0 <= b.volume < math.inf)
    if not bad:
        return bars, ()
    refused = set(bad)
    return [replace(b, volume=None) if b.start in refused else b for b in bars], bad


def _regular_only(
    question: HistoryQuestion, calendar: Calendar, bars: list[Bar], keys: list[datetime]
) -> tuple[list[Bar], list[datetime], int]:
    """Without extended hours asked, drop bars that lie wholly in the pre- or post-market session."""
    if not question.interval.is_intraday or question.extended_hours or not calendar.has_extended_hours or not bars:
        return bars, keys, 0
    length = question.interval.length
    days = calendar.sessions_between(bars[0].start.date() - timedelta(days=1), bars[-1].start.date())
    extended = set()
    position = 0
    for n, bar in enumerate(bars):
        while position < len(days) and days[position].post_close <= bar.start:
            position += 1
        if position < len(days):
            session = days[position]
            if session.pre_open <= bar.start + length - timedelta(seconds=1) and (
                bar.start + length <= session.open or bar.start >= session.close
            ):
                extended.add(n)
    kept = [n for n in range(len(bars)) if n not in extended]
    return [bars[n] for n in kept], [keys[n] for n in kept], len(extended)
