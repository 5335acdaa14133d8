"""Trading calendars: when a market is open, which session an instant belongs to, which days have bars.

Exchange calendars come from a compact packaged table generated from the `exchange_calendars` library
(`tools/generate_calendars.py`; a test compares the two), because importing that library costs half a second and
54 MiB. Crypto trades around the clock; forex from Sunday 17:00 to Friday 17:00 New York. An instrument whose
calendar we do not have gets one that says so: its state is never guessed from time stamps.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache, cached_property
from importlib import resources
from typing import Any, Final
from zoneinfo import ZoneInfo

_DAY: Final = timedelta(days=1)
_NEW_YORK: Final = "America/New_York"


class MarketState(StrEnum):
    """What a market is doing at an instant."""

    PRE = "pre"
    OPEN = "open"
    BREAK = "break"
    """The midday break of Tokyo or Hong Kong."""
    POST = "post"
    CLOSED = "closed"
    UNKNOWN = "unknown"
    """We have no calendar for this market, or not for this year."""


@dataclass(frozen=True, slots=True)
class TradingSession:
    """One regular session and the extended hours around it, all instants UTC.

    Attributes:
        day: the trading date in the exchange's own zone.
        open: start of regular trading.
        close: end of regular trading (earlier on a half day).
        pre_open: start of pre-market trading; equals `open` where there is none.
        post_close: end of post-market trading; equals `close` where there is none.
        break_start: start of the midday break, None where there is none.
        break_end: end of it.
    """

    day: date
    open: datetime
    close: datetime
    pre_open: datetime
    post_close: datetime
    break_start: datetime | None = None
    break_end: datetime | None = None

    def state_at(self, instant: datetime) -> MarketState:
        """The state within this session's day; `CLOSED` outside its hours."""
        if self.open <= instant < self.close:
            on_break = (
                self.break_start is not None
                and self.break_end is not None
                and self.break_start <= instant < self.break_end
            )
            return MarketState.BREAK if on_break else MarketState.OPEN
        if self.pre_open <= instant < self.open:
            return MarketState.PRE
        if self.close <= instant < self.post_close:
            return MarketState.POST
        return MarketState.CLOSED

    @property
    def regular_length(self) -> timedelta:
        """Time of regular trading, the break not counted."""
        pause = timedelta(0)
        if self.break_start is not None and self.break_end is not None:
            pause = self.break_end - self.break_start
        return self.close - self.open - pause


@dataclass(frozen=True)
class Calendar:
    """The trading days of one market.

    Attributes:
        name: ISO 10383 market code, `24/7` or `24/5`; for a market we do not know, its code.
        timezone: IANA name.
        known: False when we have no table for this market.
        first: first date the table covers.
        last: last date the table covers.
    """

    name: str
    timezone: str
    known: bool
    first: date
    last: date
    _weekdays: frozenset[int] = frozenset()
    _open: time = time(0)
    _close: time = time(0)
    _pre: time | None = None
    _post_length: timedelta = timedelta(0)
    _break: tuple[time, time] | None = None
    _hours: tuple[tuple[date, time, time], ...] = ()
    _holidays: frozenset[date] = frozenset()
    _special: Mapping[date, tuple[time, time]] = field(default_factory=dict)
    _extra: frozenset[date] = frozenset()
    _sessions: dict[date, TradingSession | None] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The exchange's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def always_open(self) -> bool:
        """Whether the market never closes."""
        return self.name == "24/7"

    @property
    def has_extended_hours(self) -> bool:
        """Whether pre- and post-market trading is known for this market."""
        return self._pre is not None

    def covers(self, day: date) -> bool:
        """Whether the table says anything about `day`."""
        return self.known and self.first <= day <= self.last

    def is_session(self, day: date) -> bool:
        """Whether `day` is a trading date."""
        if not self.covers(day):
            return False
        if day in self._extra:
            return True
        return day.weekday() in self._weekdays and day not in self._holidays

    def session_on(self, day: date) -> TradingSession | None:
        """The session of a trading date; None when it is none or the table does not cover it."""
        if day in self._sessions:
            return self._sessions[day]
        if not self.covers(day):
            return None  # not kept: there is no end of days outside of the table
        session = self._session(day) if self.is_session(day) else None
        self._sessions[day] = session
        return session

    def _session(self, day: date) -> TradingSession:
        opens, closes = self._special.get(day) or self._regular_hours(day)
        opened = self._instant(day if opens < closes or self.name != "24/5" else day - _DAY, opens)
        closed = self._instant(day if closes != time(0) else day + _DAY, closes)
        pre_open = opened if self._pre is None else self._instant(day, self._pre)
        pause = self._break if day not in self._special else None
        return TradingSession(
            day,
            opened,
            closed,
            min(pre_open, opened),
            closed + self._post_length,
            None if pause is None else self._instant(day, pause[0]),
            None if pause is None else self._instant(day, pause[1]),
        )

    def state_at(self, instant: datetime) -> MarketState:
        """What the market is doing at `instant`."""
        return self.placed_at(instant)[0]

    def session_at(self, instant: datetime) -> TradingSession | None:
        """The session whose regular or extended hours contain `instant`; None outside of them."""
        return self.placed_at(instant)[1]

    def placed_at(self, instant: datetime) -> tuple[MarketState, TradingSession | None]:
        """What the market is doing at `instant`, and the session whose hours contain it."""
        local = instant.astimezone(self.zone).date()
        for day in (local, local + _DAY):
            session = self.session_on(day)
            if session is not None and (state := session.state_at(instant)) is not MarketState.CLOSED:
                return (state if self.covers(local) else MarketState.UNKNOWN), session
        return (MarketState.CLOSED if self.covers(local) else MarketState.UNKNOWN), None

    def latest_opened(self, instant: datetime) -> TradingSession | None:
        """The last session whose regular trading had begun at `instant`."""
        for session in self._backwards(instant):
            if session.open <= instant:
                return session
        return None

    def latest_completed(self, instant: datetime) -> TradingSession | None:
        """The last session whose regular trading had ended at `instant`."""
        for session in self._backwards(instant):
            if session.close <= instant:
                return session
        return None

    def next_open(self, instant: datetime) -> datetime | None:
        """When regular trading next begins after `instant`, as far as the table reaches."""
        day = instant.astimezone(self.zone).date()
        for _ in range(15):
            session = self.session_on(day)
            if session is not None and session.open > instant:
                return session.open
            day += _DAY
        return None

    def sessions_between(self, first: date, last: date) -> tuple[TradingSession, ...]:
        """The sessions of all trading dates from `first` to `last`, both included."""
        days = (first + n * _DAY for n in range((last - first).days + 1))
        return tuple(s for s in map(self.session_on, days) if s is not None)

    def _backwards(self, instant: datetime) -> Iterator[TradingSession]:
        day = instant.astimezone(self.zone).date() + _DAY
        for _ in range(16):
            session = self.session_on(day)
            if session is not None:
                yield session
            day -= _DAY

    def _regular_hours(self, day: date) -> tuple[time, time]:
        index = bisect_right(self._hours, day, key=lambda row: row[0]) - 1
        return self._hours[index][1:] if index >= 0 else (self._open, self._close)

    def _instant(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, self.zone).astimezone(UTC)


@cache
def calendar_named(name: str) -> Calendar:
    """The calendar of a market code; for a market without a table one whose `known` is False."""
    if name == "24/7":
        return Calendar(
            name,
            "UTC",
            known=True,
            first=date(1970, 1, 1),
            last=date(2199, 12, 31),
            _weekdays=frozenset(range(7)),
        )
    if name == "24/5":
        return Calendar(
            name,
            _NEW_YORK,
            known=True,
            first=date(1970, 1, 2),
            last=date(2199, 12, 31),
            _weekdays=frozenset(range(5)),
            _open=time(17),
            _close=time(17),
        )
    row = _table().get(name)
    if row is None:
        return Calendar(name, "UTC", known=False, first=date.max, last=date.min)
    return _from_row(name, row)


def known_calendars() -> tuple[str, ...]:
    """The names of all calendars with a table, and the two that need none."""
    return ("24/7", "24/5", *sorted(_table()))


def _from_row(name: str, row: Mapping[str, Any]) -> Calendar:
    pause = row.get("break")
    return Calendar(
        name,
        row["timezone"],
        known=True,
        first=date.fromisoformat(row["first"]),
        last=date.fromisoformat(row["last"]),
        _weekdays=frozenset(row["weekdays"]),
        _pre=_time(row["pre"]) if "pre" in row else None,
        _post_length=timedelta(hours=row.get("post_hours", 0)),
        _break=None if pause is None else (_time(pause[0]), _time(pause[1])),
        _hours=tuple((date.fromisoformat(d), _time(o), _time(c)) for d, o, c in row["hours"]),
        _holidays=frozenset(map(date.fromisoformat, row["holidays"])),
        _special={date.fromisoformat(d): (_time(o), _time(c)) for d, (o, c) in row["special"].items()},
        _extra=frozenset(map(date.fromisoformat, row["extra_sessions"])),
    )


def _time(text: str) -> time:
    return time.fromisoformat(text)


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files("mdagent_mcp.domain").joinpath("calendars.json").read_text(encoding="utf-8")
    table: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return table
