"""Series as vendors send them: bars of any length on any price basis, through one vendor's view of the market.

The rule of this module: every price comes from the view, so delays and faults hold for series as for quotes; only the
basis and the length of bars are made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Final

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.prices import Bar, Dividend, Split
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security
from mdagent_mcp.sandbox.venues import VendorView

_DAY: Final = timedelta(days=1)
_EVE: Final = timedelta(days=12)
"""No two trading days lie further apart."""


class Basis(StrEnum):
    """What historical prices are corrected for."""

    NONE = "none"
    SPLITS = "splits"
    DIVIDENDS = "dividends"
    ALL = "all"


class CorporateActions:
    """The splits and dividends of a security since a day, and what they do to older prices.

    Args:
        view: who tells.
        security: of what.
        first: oldest trading date that is asked about.
    """

    def __init__(self, view: VendorView, security: Security, first: date) -> None:
        newest = newest_day(view, security)
        self.splits: tuple[Split, ...] = view.splits(security, first, newest)
        paid = view.dividends(security, first, newest)
        self._dividends = tuple(self._per_share_then(dividend) for dividend in paid)
        self._kept = tuple((d.day, 1 - d.amount / _close_before(view, security, d.day)) for d in paid)

    @property
    def dividends(self) -> tuple[Dividend, ...]:
        """As they were paid, per share of their own day."""
        return self._dividends

    def split_factor(self, day: date) -> float:
        """Shares of today for one share of `day`."""
        return _product(split.ratio for split in self.splits if split.day > day)

    def dividend_factor(self, day: date) -> float:
        """What the dividends after `day` leave of its prices (1 - dividend / close of the eve, multiplied)."""
        return _product(kept for ex_day, kept in self._kept if ex_day > day)

    def paid_on(self, day: date) -> float:
        """The dividend of an ex-date, per share of that day; 0 for none."""
        return sum(dividend.amount for dividend in self._dividends if dividend.day == day)

    def split_on(self, day: date) -> float:
        """New shares for one old share on that day; 1 for no split."""
        return _product(split.ratio for split in self.splits if split.day == day)

    def scaled(self, bar: Bar, day: date, basis: Basis) -> Bar:
        """A bar as traded on `day`, brought to a basis; volume follows the splits."""
        shares = self.split_factor(day) if basis in (Basis.SPLITS, Basis.ALL) else 1.0
        kept = self.dividend_factor(day) if basis in (Basis.DIVIDENDS, Basis.ALL) else 1.0
        return _rescaled(bar, kept / shares, shares)

    def _per_share_then(self, dividend: Dividend) -> Dividend:
        return Dividend(dividend.day, round(dividend.amount * self.split_factor(dividend.day), 6))


def daily(
    view: VendorView, security: Security, first: date, last: date, basis: Basis = Basis.SPLITS
) -> tuple[Bar, ...]:
    """Daily bars from `first` to `last`, oldest first, the running session as far as it is seen."""
    first = max(first, FIRST_DAY)
    bars = view.daily_bars(security, first, last)
    if basis is Basis.SPLITS:
        return bars
    actions = CorporateActions(view, security, first)
    traded = ((bar, actions.split_factor(bar.day)) for bar in bars)
    return tuple(actions.scaled(_rescaled(bar, shares, 1 / shares), bar.day, basis) for bar, shares in traded)


def intraday(
    view: VendorView,
    security: Security,
    span: tuple[datetime, datetime],
    length_s: int,
    basis: Basis = Basis.NONE,
    *,
    extended: bool = False,
    most: int | None = None,
) -> list[Bar]:
    """The bars that start within a span, oldest first; only the newest `most` of them when that is given."""
    first, last = span[0], min(span[1], view.seen_at(security))
    actions = CorporateActions(view, security, max(first.date() - _DAY, FIRST_DAY))
    bars: list[Bar] = []
    day = last.date() + _DAY
    while day >= first.date() - _DAY and (most is None or len(bars) < most):
        told = view.intraday_bars(security, day, length_s, extended=extended)
        bars = [actions.scaled(bar, day, basis) for bar in told if first <= bar.start <= last] + bars
        day -= _DAY
    return bars if most is None else bars[-most:]


def by_period(bars: Iterable[Bar], start_of: Callable[[date], date]) -> Iterator[tuple[date, list[Bar]]]:
    """Daily bars by the first day of their week, month or whatever `start_of` tells."""
    for start, members in groupby(bars, key=lambda bar: start_of(bar.day)):
        yield start, list(members)


def week_of(day: date) -> date:
    """The Monday of a day's week."""
    return day - day.weekday() * _DAY


def month_of(day: date) -> date:
    """The first of a day's month."""
    return day.replace(day=1)


def merged(start: date, bars: list[Bar]) -> Bar:
    """Several bars as one."""
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    volume = sum(bar.volume or 0.0 for bar in bars)
    return Bar(datetime.combine(start, time(0), UTC), bars[0].open, high, low, bars[-1].close, volume)


def newest_day(view: VendorView, security: Security) -> date:
    """The trading date that the vendor sees, whose splits its prices have undergone."""
    seen, calendar = view.seen_at(security), calendar_named(security.instrument.calendar)
    session = calendar.session_at(seen) or calendar.latest_opened(seen)
    return seen.date() if session is None else session.day


def _close_before(view: VendorView, security: Security, day: date) -> float:
    return view.daily_bars(security, day - _EVE, day - _DAY)[-1].close


def _rescaled(bar: Bar, price_factor: float, volume_factor: float) -> Bar:
    if price_factor == volume_factor == 1:
        return bar
    opened, high, low, close = (round(p * price_factor, 8) for p in (bar.open, bar.high, bar.low, bar.close))
    volume = None if bar.volume is None else float(round(bar.volume * volume_factor))
    return Bar(bar.start, opened, high, low, close, volume)


def _product(factors: Iterable[float]) -> float:
    product = 1.0
    for factor in factors:
        product *= factor
    return product
