"""What a date means for bars of one length on one market: to which date a bar belongs, when a date is over for good.

The rule of this module: a date counts as settled only when nothing about its bars can be expected to change but by a
split or a dividend. Where there is no calendar, two days must have passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from mdagent_mcp.cache.ranges import Span
from mdagent_mcp.domain.calendar import Calendar, TradingSession
from mdagent_mcp.domain.prices import Interval

SETTLING: Final = timedelta(minutes=20)
"""After the end of a session its bars may still be corrected for so long."""
_DAY: Final = timedelta(days=1)
_FOREX_DAY_SHIFT: Final = timedelta(hours=7)
"""A forex day begins at 17:00 New York, so that clock plus seven hours shows its date."""
_AHEAD: Final = 12
"""Days after which the next session has begun on every market, holidays included."""


@dataclass(frozen=True, slots=True)
class MarketDays:
    """The dates of one market as bars of one length see them.

    Attributes:
        calendar: of the market.
        interval: length of the bars.
        extended_hours: whether bars of the extended hours are among them.
    """

    calendar: Calendar
    interval: Interval
    extended_hours: bool = False

    def begin(self, day: date) -> datetime:
        """The first instant at which a bar of `day` may start, UTC."""
        if not self.interval.is_intraday:
            return datetime.combine(day, time(0), UTC)
        return datetime.combine(day, time(0), self.calendar.zone).astimezone(UTC) - self._shift

    def end(self, day: date) -> datetime:
        """The instant from which bars belong to later dates, UTC."""
        return self.begin(day + _DAY)

    def day_of(self, start: datetime) -> date:
        """The trading date of the bar that starts then; for weeks and months the first date of the period."""
        if self.interval.is_intraday:
            return (start + self._shift).astimezone(self.calendar.zone).date()
        return self.period(start.date()).first

    def period(self, day: date) -> Span:
        """The day, week or month that a date lies in."""
        if self.interval is Interval.WEEK_1:
            monday = day - timedelta(days=day.weekday())
            return Span(monday, monday + timedelta(days=6))
        if self.interval is Interval.MONTH_1:
            first = day.replace(day=1)
            return Span(first, (first + timedelta(days=31)).replace(day=1) - _DAY)
        return Span(day, day)

    def from_whole_period(self, span: Span) -> Span:
        """The same range from the beginning of its first week or month, so that no bar is cut in two."""
        return Span(self.period(span.first).first, span.last)

    def settled_through(self, at: datetime) -> date:
        """The last date of which one knows at `at` that it, and all before it, will not change by trading."""
        through = self._over_through(at)
        period = self.period(through)
        return through if through == period.last else period.first - _DAY

    def begun(self, span: Span, at: datetime) -> Span | None:
        """The range without the dates at its ends that have no bars yet, or never will; None when nothing is left."""
        today = (at + self._shift).astimezone(self.calendar.zone).date()
        first, last = span.first, min(span.last, today + _DAY)
        while first <= last and not self._has_begun(last, at):
            last -= _DAY
        while first <= last and not self._has_begun(first, at):
            first += _DAY
        return Span(first, last) if first <= last else None

    @property
    def _shift(self) -> timedelta:
        return _FOREX_DAY_SHIFT if self.calendar.name == "24/5" and self.interval.is_intraday else timedelta(0)

    def _over_through(self, at: datetime) -> date:
        day = at.astimezone(self.calendar.zone).date() - 2 * _DAY
        if not self.calendar.covers(day) or not self.calendar.covers(day + _AHEAD * _DAY):
            return day
        for _ in range(_AHEAD):
            session = self.calendar.session_on(day + _DAY)
            if session is not None and self._ends(session) + SETTLING > at:
                break
            day += _DAY
        return day

    def _ends(self, session: TradingSession) -> datetime:
        return session.post_close if self.interval.is_intraday and self.extended_hours else session.close

    def _has_begun(self, day: date, at: datetime) -> bool:
        if not self.calendar.covers(day):
            return day <= at.date()
        session = self.calendar.session_on(day)
        if session is None:
            return False
        return (session.pre_open if self.extended_hours else session.open) <= at
