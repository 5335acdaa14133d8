"""Which bars a series should have, by the calendar, and which are missing.

Only periods that have ended are demanded, and the newest one only after vendors had time to settle it. A bar of the
running session, or of a week that the asked range cuts, is welcome but not demanded. Missing short bars weigh less
where they are scattered: no trade, no bar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Final

from mdagent_mcp.consensus.history_series import Series, has_ended, last_day_of, period_of
from mdagent_mcp.domain.calendar import Calendar, MarketState, TradingSession
from mdagent_mcp.domain.prices import Interval
from mdagent_mcp.domain.questions import HistoryQuestion

SETTLE: Final = timedelta(minutes=20)
"""Time after the end of a period before its bar is demanded."""
MISSING_LISTED: Final = 50
"""Missing bars that an answer lists, the newest."""
_SLOT_LIMIT: Final = 60_000
"""Short bars that are counted at most; a longer range is not judged bar by bar."""
_CLOSING_AUCTION: Final = timedelta(minutes=15)
"""Exchanges print the closing auction within this time after the close."""
_FOREX_HOLIDAYS: Final = frozenset({(1, 1), (12, 25)})
_DAY: Final = timedelta(days=1)

_THIN: Final = 0.07
"""What scattered bars may take off the ratio together: a thinly traded instrument is a C at worst."""
_SCATTERED_WEIGHT: Final = {
    Interval.MIN_1: 0.1,
    Interval.MIN_5: 0.2,
    Interval.MIN_15: 0.3,
    Interval.MIN_30: 0.4,
    Interval.HOUR_1: 0.5,
}
"""What a scattered missing bar counts: the longer the bar, the less likely it passed without a trade."""


@dataclass(frozen=True)
class Expectation:
    """What the calendar demands of a series.

    Attributes:
        required: start of every demanded bar by its period, oldest first; None when the calendar cannot tell.
        because: why it cannot tell, or what it cannot tell; empty when it tells everything.
        covered_from: the first day the calendar knows about.
        sessions: for short bars the completed sessions concerned, oldest first.
        sessions_before: for short bars the sessions of the asked range before them.
    """

    required: dict[datetime, datetime] | None
    because: str = ""
    covered_from: date = date.min
    sessions: tuple[TradingSession, ...] = ()
    sessions_before: int = 0

    @cached_property
    def keys(self) -> tuple[datetime, ...]:
        """The demanded periods, oldest first."""
        return tuple(self.required or ())


@dataclass(frozen=True, slots=True)
class Gaps:
    """What a series lacks of what is demanded.

    Attributes:
        expected: demanded periods from where the instrument's series begins.
        missing: periods not there, oldest first.
        scattered: how many of them look like bars without a trade.
        leading: demanded periods (sessions for short bars) before the first bar of any source, which nobody has.
        at_end: completed sessions missing at the end.
        ratio: share of the demanded bars that are there, scattered ones weighed.
    """

    expected: int
    missing: tuple[datetime, ...]
    scattered: int
    leading: int
    at_end: int
    ratio: float


def expect(question: HistoryQuestion, calendar: Calendar, now: datetime, series: Sequence[Series]) -> Expectation:
    """What the calendar demands within the asked range as of `now`."""
    if not calendar.known:
        return Expectation(None, f"no calendar for {calendar.name}")
    first, last = max(question.first, calendar.first), min(question.last, calendar.last, now.date() + _DAY)
    if first > last:
        return Expectation(None, f"the calendar of {calendar.name} covers {calendar.first} to {calendar.last} only")
    beyond = "" if question.first >= calendar.first or not _reaches(series, calendar.first) else f"before {first}"
    if min(question.last, now.date()) > calendar.last:
        beyond = f"after {calendar.last}"
    if question.interval.is_intraday:
        return _expect_short(question, calendar, now, series, beyond)
    days = _trading_days(calendar, first, last)
    if question.interval is Interval.DAY_1:
        required = {_midnight(d): _midnight(d) for d in days}
    else:
        required = _whole_periods(question, calendar, days)
    for key in reversed(list(required)):
        if has_ended(question.interval, calendar, key, now - SETTLE):
            break
        del required[key]
    return Expectation(required, beyond, calendar.first)


def off_calendar(
    series: Series, expectation: Expectation, calendar: Calendar, interval: Interval
) -> tuple[datetime, ...]:
    """The bars that cannot exist: on no trading date, or starting outside regular and extended hours."""
    if interval.is_intraday:
        return _outside_hours(series, expectation, calendar, interval)
    if interval is not Interval.DAY_1:
        return ()
    required = expectation.required or {}
    return tuple(key for key in series.keys if key not in required and not _is_trading_date(calendar, key.date()))


def _is_trading_date(calendar: Calendar, day: date) -> bool:
    # Forex vendors date the hours from Sunday evening on by Sunday.
    return not calendar.covers(day) or calendar.is_session(day) or (calendar.name == "24/5" and day.weekday() == 6)


def _outside_hours(
    series: Series, expectation: Expectation, calendar: Calendar, interval: Interval
) -> tuple[datetime, ...]:
    required = expectation.required or {}
    hours: dict[date, tuple[TradingSession, ...]] = {}
    outside = []
    for key in series.keys:
        local = key.astimezone(calendar.zone).date()
        if key in required or not calendar.covers(local):
            continue
        if local not in hours:
            hours[local] = calendar.sessions_between(max(calendar.first, local - _DAY), local + _DAY)
        if not any(_within(session, key, interval.length) for session in hours[local]):
            outside.append(key)
    return tuple(outside)


def _within(session: TradingSession, start: datetime, length: timedelta) -> bool:
    return session.pre_open < start + length and start <= max(session.post_close, session.close + _CLOSING_AUCTION)


def find_gaps(
    question: HistoryQuestion, series: Series, expectation: Expectation, others: Sequence[Series]
) -> Gaps | None:
    """What `series` lacks; None when the calendar cannot tell. `others` are all the sources' series."""
    if expectation.required is None:
        return None
    keys = expectation.keys
    leading = _leading(question, expectation, others)
    demanded = keys if question.interval.is_intraday else keys[leading:]
    missing = tuple(k for k in demanded if k not in series.index)
    scattered = _scattered(question.interval, demanded, set(missing), others) if missing else 0
    weight = _SCATTERED_WEIGHT.get(question.interval, 1.0)
    count = max(1, len(demanded))
    ratio = 1.0 - (len(missing) - scattered) / count - min(_THIN, scattered * weight / count)
    return Gaps(len(demanded), missing, scattered, leading, _missing_at_end(question, series, expectation), ratio)


def _leading(question: HistoryQuestion, expectation: Expectation, others: Sequence[Series]) -> int:
    """Demanded periods before the first bar of any source; a few of them are an ordinary hole and not counted."""
    begin = min((s.keys[0] for s in others if s.keys), default=None)
    if begin is None:
        return 0
    if question.interval.is_intraday:
        return expectation.sessions_before
    first = _midnight(max(question.first, expectation.covered_from))
    leading = sum(1 for key in expectation.keys if first <= key < begin)
    return leading if leading > _LEADING_HOLE[question.interval] else 0


def completeness_score(ratio: float) -> float:
    """The rubric's scale for the share of demanded bars that are there."""
    if ratio >= 0.9995:
        return 100.0
    for (low, low_score), (high, high_score) in zip(_COMPLETENESS[1:], _COMPLETENESS, strict=False):
        if ratio >= low:
            return low_score + (ratio - low) / (high - low) * (high_score - low_score)
    return 0.0


_COMPLETENESS: Final = (
    (0.9995, 100.0),
    (0.995, 90.0),
    (0.97, 80.0),
    (0.93, 70.0),
    (0.85, 60.0),
    (0.5, 20.0),
    (0.0, 0.0),
)


def staleness_score(sessions: int) -> float:
    """The rubric's scale for completed sessions missing at the end."""
    if sessions <= 0:
        return 100.0
    if sessions == 1:
        return 76.0
    return 66.0 if sessions <= 5 else 50.0


def _reaches(series: Sequence[Series], day: date) -> bool:
    return any(s.keys and s.keys[0].date() < day for s in series)


def _trading_days(calendar: Calendar, first: date, last: date) -> list[date]:
    days = [date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1)]
    if calendar.name == "24/5":
        return [d for d in days if calendar.is_session(d) and (d.month, d.day) not in _FOREX_HOLIDAYS]
    return [d for d in days if calendar.is_session(d)]


def _whole_periods(question: HistoryQuestion, calendar: Calendar, days: list[date]) -> dict[datetime, datetime]:
    """The weeks or months whose every session lies in the asked range, each with its first trading date."""
    required: dict[datetime, datetime] = {}
    for day in days:
        required.setdefault(period_of(question.interval, _midnight(day)), _midnight(day))
    for key in (next(iter(required), None), next(reversed(required), None)):
        if key is None or key not in required:
            continue
        end = last_day_of(question.interval, key)
        whole = _trading_days(calendar, key.date(), end)
        if not whole or whole[0] < days[0] or whole[-1] > question.last:
            del required[key]
    return required


def _expect_short(
    question: HistoryQuestion, calendar: Calendar, now: datetime, series: Sequence[Series], beyond: str
) -> Expectation:
    """Short bars are demanded from the first bar of any source on: how far back they are kept differs widely."""
    starts = [s.keys[0] for s in series if s.keys]
    if not starts:
        return Expectation({}, beyond, calendar.first)
    begin = max(min(starts).astimezone(calendar.zone).date(), calendar.first)
    end = min(question.last, calendar.last, now.astimezone(calendar.zone).date() + _DAY)
    sessions = calendar.sessions_between(max(begin, question.first), end)
    length = question.interval.length
    if sum(s.regular_length / length for s in sessions) > _SLOT_LIMIT:
        return Expectation(None, f"the range holds more than {_SLOT_LIMIT} bars")
    offset = _clock_offset(series, sessions, length)
    required: dict[datetime, datetime] = {}
    for session in sessions:
        slot = session.open - offset
        while slot < session.close and slot + length <= now - SETTLE:
            if session.state_at(max(slot, session.open)) is not MarketState.BREAK:
                required[slot] = slot
            slot += length
    completed = tuple(s for s in sessions if s.close <= now - SETTLE)
    before = _trading_days(calendar, max(question.first, calendar.first), begin - _DAY)
    return Expectation(required, beyond, calendar.first, completed, len(before))


def _clock_offset(series: Sequence[Series], sessions: tuple[TradingSession, ...], length: timedelta) -> timedelta:
    """How long before the opening the first bar begins: vendors cut hours at the opening or at the full hour."""
    if not sessions:
        return timedelta(0)
    by_clock = (sessions[0].open - datetime(2000, 1, 1, tzinfo=UTC)) % length
    if not by_clock:
        return timedelta(0)
    votes = sum(1 if (k - sessions[0].open) % length else -1 for s in series for k in s.keys)
    return by_clock if votes > 0 else timedelta(0)


_LEADING_HOLE: Final = {Interval.DAY_1: 5, Interval.WEEK_1: 1, Interval.MONTH_1: 0}
"""Periods missing at the front that are still counted as a hole rather than as a late beginning."""


def _scattered(
    interval: Interval, demanded: tuple[datetime, ...], missing: set[datetime], others: Sequence[Series]
) -> int:
    """How many missing short bars look like bars without a trade.

    With q the chance that a bar that is there is followed by one that is not, a run of r missing bars is chance while
    n·q^r stays above 1 %; a longer run is a hole. A bar that another source has was traded.
    """
    if not interval.is_intraday:
        return 0
    runs = _runs([key in missing for key in demanded])
    q = len(runs) / max(1, len(demanded) - len(missing))
    longest = 0 if q <= 0 else math.inf if q >= 1 else math.log(0.01 / len(demanded)) / math.log(q)
    traded = set().union(*(s.keys for s in others))
    return sum(
        sum(1 for key in demanded[start : start + length] if key not in traded)
        for start, length in runs
        if length <= longest
    )


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for n, flag in enumerate(flags):
        if not flag:
            continue
        if runs and sum(runs[-1]) == n:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((n, 1))
    return runs


def _missing_at_end(question: HistoryQuestion, series: Series, expectation: Expectation) -> int:
    """Completed sessions after the last bar: days as they are, a week as 5, a month as 21."""
    if not series.keys:
        return len(expectation.keys)
    last = series.keys[-1]
    if question.interval.is_intraday:
        return sum(1 for s in expectation.sessions if s.open > last)
    after = sum(1 for key in expectation.keys if key > last)
    return after * {Interval.WEEK_1: 5, Interval.MONTH_1: 21}.get(question.interval, 1)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), UTC)
