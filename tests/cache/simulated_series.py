"""A source of bars that is always consistent with itself: what it says depends on the instant and on nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from mdagent_mcp.cache.ranges import Span
from mdagent_mcp.domain.calendar import TradingSession, calendar_named
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval, Split

CALENDAR = calendar_named("XNYS")


@dataclass
class SimulatedSeries:
    """Bars of one instrument, corrected for every split whose day has begun.

    Attributes:
        interval: bar length.
        adjustment: what it corrects for.
        splits: day -> ratio.
        fetched: the ranges it was asked for.
    """

    interval: Interval = Interval.DAY_1
    adjustment: Adjustment = Adjustment.SPLITS
    splits: dict[date, float] = field(default_factory=dict)
    fetched: list[Span] = field(default_factory=list)

    def say(self, span: Span, at: datetime) -> History:
        """Its bars of a range at an instant."""
        self.fetched.append(span)
        bars = tuple(self.bars(span, at))
        partial = bool(bars) and self._end(bars[-1].start) > at
        return History(
            symbol="AAPL",
            source="one",
            interval=self.interval,
            adjustment=self.adjustment,
            timezone="America/New_York",
            received_at=at,
            bars=bars,
            currency="USD",
            partial_last_bar=partial,
            splits=tuple(Split(day, ratio) for day, ratio in self.splits.items() if self._in_force(day, at)),
        )

    def bars(self, span: Span, at: datetime) -> Iterator[Bar]:
        """The same, the call not counted."""
        for start, sessions in self._periods(span):
            begun = [s for s in sessions if s.open <= at]
            if begun and (not self.interval.is_intraday or start <= at):
                yield self._bar(start, begun[0].day, min(at, self._end(start)), at)

    def _periods(self, span: Span) -> Iterator[tuple[datetime, list[TradingSession]]]:
        if self.interval is Interval.WEEK_1:
            monday = span.first - timedelta(days=span.first.weekday())
            while monday <= span.last:
                yield _midnight(monday), list(CALENDAR.sessions_between(monday, monday + timedelta(days=6)))
                monday += timedelta(days=7)
            return
        for session in CALENDAR.sessions_between(span.first, span.last):
            if self.interval is Interval.DAY_1:
                yield _midnight(session.day), [session]
                continue
            start = session.open
            while start < session.close:
                yield start, [session]
                start += self.interval.length

    def _bar(self, start: datetime, day: date, until: datetime, at: datetime) -> Bar:
        factor = 1.0
        if self.adjustment is not Adjustment.NONE:
            for split, ratio in self.splits.items():
                factor /= ratio if day < split and self._in_force(split, at) else 1.0
        chance = random.Random(f"{start}")
        opened = 100.0 + chance.gauss(0, 5)
        last = opened + random.Random(f"{start} {until}").gauss(0, 2)
        return Bar(start, *(round(p, 2) * factor for p in (opened, max(opened, last) + 1, min(opened, last) - 1, last)))

    def _end(self, start: datetime) -> datetime:
        if self.interval.is_intraday:
            session = CALENDAR.session_on(start.date())  # the last hour of a day is cut short by its close
            ends = start + self.interval.length
            return ends if session is None else min(ends, session.close)
        days = 6 if self.interval is Interval.WEEK_1 else 0
        sessions = CALENDAR.sessions_between(start.date(), start.date() + timedelta(days=days))
        return sessions[-1].close if sessions else start

    @staticmethod
    def _in_force(day: date, at: datetime) -> bool:
        session = CALENDAR.session_on(day)
        return session is not None and session.open <= at


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), UTC)
