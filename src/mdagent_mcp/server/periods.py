"""Turning a period or a pair of dates into the first and last trading date of a question.

The rule of this module: `1d` and `5d` count trading sessions of the instrument's own market, today's included once
it has begun; longer periods count calendar months and years back from today's date there. Nothing lies in the future.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.calendar import Calendar, calendar_named
from mdagent_mcp.domain.instruments import Instrument, echo
from mdagent_mcp.domain.prices import Interval
from mdagent_mcp.domain.questions import InvalidArgumentError

PERIODS: Final = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")
"""The periods that may be asked for."""

_SESSIONS: Final[Mapping[str, int]] = MappingProxyType({"1d": 1, "5d": 5})
_MONTHS: Final[Mapping[str, int]] = MappingProxyType(
    {"1mo": 1, "3mo": 3, "6mo": 6, "1y": 12, "2y": 24, "5y": 60, "10y": 120}
)
_DEFAULTS: Final[Mapping[Interval, str]] = MappingProxyType(
    {Interval.MIN_1: "1d", Interval.HOUR_1: "1mo", Interval.DAY_1: "1y", Interval.WEEK_1: "5y", Interval.MONTH_1: "10y"}
)
_EARLIEST: Final = date(1900, 1, 1)
_LONGEST_DAYS: Final[Mapping[Interval, int]] = MappingProxyType(
    {
        Interval.MIN_1: 62,
        Interval.MIN_5: 366,
        Interval.MIN_15: 732,
        Interval.MIN_30: 732,
        Interval.HOUR_1: 1830,
    }
)
"""Calendar days that one intraday question may span, so that an answer stays within some ten thousand bars."""
_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DateRange:
    """Trading dates, both included."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class SpanWish:
    """What was said about the time span.

    Attributes:
        period: one of `PERIODS`; None when not given.
        start: ISO date; None when not given.
        end: ISO date, included; None when not given.
        extended_hours: whether a session counts from its pre-market on.
    """

    period: str | None
    start: str | None
    end: str | None
    extended_hours: bool


def range_of(wish: SpanWish, instrument: Instrument, interval: Interval, now: datetime) -> DateRange:
    """The trading dates that `wish` means for an instrument at an instant.

    Raises:
        InvalidArgumentError: naming `period`, `start` or `end`.
    """
    calendar = calendar_named(instrument.calendar)
    today = _trading_date(calendar, now)
    if wish.start is None and wish.end is None:
        return _of_period(wish, interval, calendar, now)
    if wish.period is not None:
        raise InvalidArgumentError("period", "cannot be combined with start or end; give one or the other")
    if wish.start is None:
        raise InvalidArgumentError("start", "is needed when end is given; write it like 2026-01-31")
    first = _date("start", wish.start)
    last = today if wish.end is None else _date("end", wish.end)
    if first > today:
        raise InvalidArgumentError("start", f"{first} is in the future; today is {today} ({calendar.timezone})")
    if last < first:
        raise InvalidArgumentError("end", f"{last} is before start {first}; swap them")
    found = DateRange(first, min(last, today))
    _refuse_too_long(found, interval, "start", f"start at {_oldest(interval, found.last)} or later")
    return found


def _of_period(wish: SpanWish, interval: Interval, calendar: Calendar, now: datetime) -> DateRange:
    period = wish.period or _DEFAULTS.get(interval, "5d")
    today = _trading_date(calendar, now)
    if period in _SESSIONS:
        return _last_sessions(calendar, now, _SESSIONS[period], extended_hours=wish.extended_hours)
    if period == "max":
        return DateRange(_oldest(interval, today), today)
    first = today.replace(month=1, day=1) if period == "ytd" else _months_before(today, _MONTHS[period])
    found = DateRange(first, today)
    _refuse_too_long(found, interval, "period", "use max for all that can be had")
    return found


def _trading_date(calendar: Calendar, now: datetime) -> date:
    session = calendar.session_at(now)
    return now.astimezone(calendar.zone).date() if session is None else session.day


def _last_sessions(calendar: Calendar, now: datetime, count: int, *, extended_hours: bool) -> DateRange:
    today = _trading_date(calendar, now)
    # Lunar New Year closes markets for up to ten days: six weeks always hold five sessions.
    sessions = calendar.sessions_between(today - 42 * _DAY, today + _DAY)
    begun = [s.day for s in sessions if (s.pre_open if extended_hours else s.open) <= now]
    if begun:
        return DateRange(begun[-count:][0], begun[-1])
    # A market without a table: weekdays are the best that can be said.
    weekdays = [day for day in (today - n * _DAY for n in range(14)) if day.weekday() < 5]
    return DateRange(weekdays[count - 1], weekdays[0])


def _months_before(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 - months
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _date(name: str, text: str) -> date:
    if not _ISO_DATE.fullmatch(text):
        raise InvalidArgumentError(name, f"'{echo(text)}' is not a date; write it like 2026-01-31")
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgumentError(name, f"'{text}' is not in the calendar; write it like 2026-01-31") from error
    if found < _EARLIEST:
        raise InvalidArgumentError(name, f"{found} is before {_EARLIEST}, the earliest date that can be asked")
    return found


def _oldest(interval: Interval, last: date) -> date:
    days = _LONGEST_DAYS.get(interval)
    return _EARLIEST if days is None else last - days * _DAY


def _refuse_too_long(found: DateRange, interval: Interval, name: str, fix: str) -> None:
    if found.first < _oldest(interval, found.last):
        raise InvalidArgumentError(
            name,
            f"{interval} bars are served for at most {_LONGEST_DAYS[interval]} days at once; "
            f"{fix}, or use a longer interval",
        )
