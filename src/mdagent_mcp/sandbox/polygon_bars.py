"""What Polygon's bars are made of: base aggregates, the windows they are gathered in, and how a bar is written.

A day begins at midnight in New York, for crypto and forex at midnight UTC. The windows of a multiple begin with the
first one asked for; both ends of what is asked for are moved outwards to whole windows. Weeks begin on Sunday.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any, Final

from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.sandbox.polygon_tickers import milliseconds, zone_of
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView

_DAY: Final = timedelta(days=1)
_UNITS: Final = {"second": timedelta(seconds=1), "minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
_DAYS: Final = {"day": 1, "week": 7}
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
TIMESPANS: Final = (*_UNITS, *_DAYS, *_MONTHS)
_FAR: Final = date(2199, 12, 31)
_EXACT_FOREX: Final = timedelta(days=100)
"""How far back days of forex are gathered from their hours."""


@dataclass(frozen=True)
class Windows:
    """The windows of one question.

    Attributes:
        security: whose bars are asked for.
        multiplier: how many spans make a window.
        timespan: one of TIMESPANS.
        begin: start of the first window.
    """

    security: Security
    multiplier: int
    timespan: str
    begin: datetime

    @classmethod
    def around(cls, security: Security, multiplier: int, timespan: str, first: datetime) -> Windows:
        """The windows the first of which holds `first`."""
        if timespan in _UNITS:
            unit = _UNITS[timespan]
            return cls(security, multiplier, timespan, first - (first - _EPOCH) % unit)
        day = first.astimezone(zone_of(security)).date()
        if timespan == "week":
            day -= (day.weekday() + 1) % 7 * _DAY
        elif timespan in _MONTHS:
            months = _MONTHS[timespan]
            day = date(day.year, (day.month - 1) // months * months + 1, 1)
        return cls(security, multiplier, timespan, midnight(security, day))

    def start_of(self, instant: datetime) -> datetime:
        """The start of the window that holds an instant."""
        if self.timespan in _UNITS:
            return instant - (instant - self.begin) % (self.multiplier * _UNITS[self.timespan])
        return midnight(self.security, self._day(self._number(instant)))

    def end_of(self, instant: datetime) -> datetime:
        """The start of the window after the one that holds an instant."""
        if self.timespan in _UNITS:
            return self.start_of(instant) + self.multiplier * _UNITS[self.timespan]
        return midnight(self.security, self._day(self._number(instant) + 1))

    def _number(self, instant: datetime) -> int:
        zone = zone_of(self.security)
        first, day = self.begin.astimezone(zone).date(), instant.astimezone(zone).date()
        if self.timespan in _DAYS:
            return (day - first).days // (self.multiplier * _DAYS[self.timespan])
        months = 12 * (day.year - first.year) + day.month - first.month
        return months // (self.multiplier * _MONTHS[self.timespan])

    def _day(self, number: int) -> date:
        first = self.begin.astimezone(zone_of(self.security)).date()
        if self.timespan in _DAYS:
            return first + number * self.multiplier * _DAYS[self.timespan] * _DAY
        months = 12 * first.year + first.month - 1 + number * self.multiplier * _MONTHS[self.timespan]
        return date(months // 12, months % 12 + 1, 1) if months // 12 <= _FAR.year else _FAR


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def midnight(security: Security, day: date) -> datetime:
    """The instant at which a day begins."""
    return datetime.combine(day, time(0), zone_of(security)).astimezone(UTC)


def base_bars(
    view: VendorView, windows: Windows, span: tuple[datetime, datetime], *, adjusted: bool, newest_first: bool
) -> Iterator[Bar]:
    """The base aggregates that start within a span: days for a day and longer, else minutes or seconds."""
    first, end = span
    security = windows.security
    chunks = _intraday_days if windows.timespan in _UNITS else _years
    days = list(_chunk_dates(security, first, end, 1 if windows.timespan in _UNITS else 366))
    for day in reversed(days) if newest_first else days:
        bars = [bar for bar in chunks(view, windows, day, adjusted=adjusted) if first <= bar.start < end]
        yield from reversed(bars) if newest_first else bars


def _chunk_dates(security: Security, first: datetime, end: datetime, step: int) -> Iterator[date]:
    """From which trading dates on to read; those of forex begin on the evening before."""
    zone = zone_of(security)
    day = max(first.astimezone(zone).date(), FIRST_DAY)
    last = min(end.astimezone(zone).date(), _FAR)
    while day <= last:
        yield day
        day += step * _DAY


def _years(view: VendorView, windows: Windows, day: date, *, adjusted: bool) -> list[Bar]:
    """The daily bars of a year from `day` on, each at its midnight."""
    security = windows.security
    last = min(day + 365 * _DAY, view.now.date() + _DAY)
    if security.kind == "CURRENCY":
        return _forex_days(view, security, day, last)
    bars = view.daily_bars(security, day, last, as_traded=not adjusted)
    return [_restamped(bar, midnight(security, bar.day)) for bar in bars]


def _forex_days(view: VendorView, security: Security, first: date, last: date) -> list[Bar]:
    """Days from midnight to midnight UTC, gathered from hours: Sunday is a stub.

    Long ago the session of a trading date stands for the day, for a path of prices is not drawn for hours nobody asks.
    """
    exact = max(first, view.now.date() - _EXACT_FOREX)
    old = view.daily_bars(security, first, min(last, exact - _DAY)) if first < exact else ()
    hours = [
        bar
        for n in range((last - exact).days + 2)
        for bar in view.intraday_bars(security, exact + n * _DAY, 3600)
        if exact <= bar.start.date() <= last
    ]
    groups = groupby(hours, key=lambda bar: bar.start.date())
    return [*old, *(gathered(midnight(security, day), list(members)) for day, members in groups)]


def forex_day(view: VendorView, security: Security, day: date) -> Bar | None:
    """One day from midnight to midnight UTC; None when nothing was traded."""
    return next(iter(_forex_days(view, security, day, day)), None)


def _intraday_days(view: VendorView, windows: Windows, day: date, *, adjusted: bool) -> list[Bar]:
    """The minutes of a date, or its seconds with a print."""
    security = windows.security
    length_s = security.liquidity.print_s if windows.timespan == "second" else 60
    dates = (day, day + _DAY) if security.kind == "CURRENCY" else (day,)
    bars = [bar for d in dates for bar in view.intraday_bars(security, d, length_s, extended=True)]
    if not adjusted:
        return [bar for bar in bars if bar.start.astimezone(zone_of(security)).date() == day]
    factor = 1.0
    for split in view.splits(security, day + _DAY, view.now.date()):
        factor *= split.ratio
    return [_split(bar, factor) for bar in bars if bar.start.astimezone(zone_of(security)).date() == day]


def _split(bar: Bar, factor: float) -> Bar:
    if factor == 1:
        return bar
    opened, high, low, close = (round(price / factor, 6) for price in (bar.open, bar.high, bar.low, bar.close))
    return Bar(bar.start, opened, high, low, close, (bar.volume or 0.0) * factor)


def gathered(start: datetime, bars: list[Bar]) -> Bar:
    """One bar of several, oldest first."""
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    return Bar(start, bars[0].open, high, low, bars[-1].close, sum(bar.volume or 0.0 for bar in bars))


def _restamped(bar: Bar, start: datetime) -> Bar:
    return Bar(start, bar.open, bar.high, bar.low, bar.close, bar.volume)


def written(view: VendorView, security: Security, bar: Bar) -> dict[str, Any]:
    """A bar as the vendor writes it; those of an index have neither volume nor trades."""
    prices = {"o": bar.open, "c": bar.close, "h": bar.high, "l": bar.low, "t": milliseconds(bar.start)}
    if security.kind == "INDEX":
        return prices
    volume = volume_of(view, security, bar)
    trades = max(1, int(volume / 80)) if security.kind != "CURRENCY" else int(volume)
    return {"v": volume, "vw": average_of(bar), **prices, "n": trades}


def volume_of(view: VendorView, security: Security, bar: Bar) -> float:
    """Shares, units of a coin or ticks of forex; what is traded outside the session is little, but never nothing."""
    if security.kind == "CRYPTOCURRENCY":
        return round((bar.volume or 0.0) / bar.close, 8)
    drawn = view.noise.number("polygon", security.symbol, "volume", bar.start.isoformat()) % 900
    return int(bar.volume) if bar.volume else 100 + drawn


def average_of(bar: Bar) -> float:
    """About the volume-weighted price, within the bar."""
    return round(min(max((bar.open + bar.high + bar.low + bar.close) / 4, bar.low), bar.high), 4)
