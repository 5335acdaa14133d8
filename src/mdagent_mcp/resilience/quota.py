"""Vendors' quotas kept exactly: no sliding window ever holds more than its limit.

The rule of this module: pure arithmetic, `(log, quotas, now, weight) -> (log, admission)`. `now` is epoch seconds; who
calls reads the clock and does the waiting. A token bucket as large as the limit would admit up to twice the limit
within one window, so admissions are remembered instead. All quotas of a plan hold at once: a call is admitted by every
one of them or charged to none. `resilience.quota_clock` keeps `now` and the log apart from a wall clock that is set;
where it cannot know (a log of before the machine was started), what was admitted "later than now" counts as admitted
now.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Quota

MAX_ENTRIES: Final = 1024
"""Entries remembered per quota. A larger limit is remembered in slots of 1/1024 of its window, each dated by its last
call, which errs on the vendor's side."""
LONGEST_BLOCK_S: Final = 86_400.0
"""A vendor's `Retry-After` is believed up to a day."""
MARGIN_SHARE: Final = 0.02
"""Share of a window that a margin adds at most, so that a margin made for minutes does not halve seconds; more only
where another quota of the plan is so much tighter that it costs nothing in the long run."""
LONGER_S: Final = 5.0
"""Windows from which it is twice that share: the way to a vendor differs by more than a tenth of a second."""
CLOCK_JITTER_S: Final = 1.0
"""A clock that lies no further back than this is waited for instead of being taken for one that was set back."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Calls admitted at one instant, or in one slot of a large quota.

    Attributes:
        first: when the first of them was admitted, seconds.
        last: when the last of them was.
        weight: how many, in the quota's own unit.
        held_until: a calendar quota does not get them back before, because the clock was set since then and by the
            other time the vendor's reset comes later; 0 where the clock was not set.
    """

    first: float
    last: float
    weight: int
    held_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """What one quota's window holds.

    Attributes:
        spendings: oldest first.
        used: the sum of their weights.
    """

    spendings: tuple[Spending, ...] = ()
    used: int = 0


_NOTHING: Final[Mapping[Quota, Window]] = MappingProxyType({})
_ZONE_STEP_S: Final = 900


@dataclass(frozen=True, slots=True)
class Anchor:
    """Which instant of a log was which reading of a clock that nobody can set.

    Attributes:
        boot: the start of the machine whose clock was read; see `domain.clock.Uptime`.
        uptime_s: what it showed.
        epoch_s: the instant of the log.
        since_s: what is dated later was admitted since that start of the machine, as far as the log can tell.
    """

    boot: str
    uptime_s: float
    epoch_s: float
    since_s: float


@dataclass(frozen=True, slots=True)
class QuotaLog:
    """What was admitted, as far back as any window reaches.

    Attributes:
        windows: per quota.
        blocked_until: nothing is admitted before, because the vendor said so; seconds.
        blocked_because: what the vendor said; None when nothing was said.
        newest: the latest `now` that was seen.
        anchor: where its instants come from; None where they are a wall clock's, whatever that showed.
    """

    windows: Mapping[Quota, Window] = field(default_factory=lambda: _NOTHING)
    blocked_until: float = 0.0
    blocked_because: FailureKind | None = None
    newest: float = 0.0
    anchor: Anchor | None = None


EMPTY: Final = QuotaLog()
"""Nothing admitted yet."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a call may be sent.

    Attributes:
        allowed: it may, and has been charged.
        wait_s: when not allowed, seconds until it would be if nothing else is admitted meanwhile; 0 when allowed; None
            when it never would, because it costs more than a whole quota.
        quota: the quota that holds it back longest; None when allowed or when the vendor asked us to rest.
    """

    allowed: bool
    wait_s: float | None = 0.0
    quota: Quota | None = None


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """How much of one quota is spent.

    Attributes:
        quota: which.
        used: in its window now.
        resets_at: when the next part of it becomes free, on the scale of `now`; None when none is used.
    """

    quota: Quota
    used: int
    resets_at: float | None


def admit(
    log: QuotaLog, quotas: Sequence[Quota], now: float, weight: int = 1, *, margin_s: float = 0.0
) -> tuple[QuotaLog, Admission]:
    """Charge a call to every quota if all of them have room for it, else to none.

    Args:
        log: what was admitted so far.
        quotas: all that hold for the call. One that the log does not know yet (the plan was changed) starts from what
            the longest known window remembers.
        now: epoch seconds.
        weight: what the call costs in the vendor's unit, at least 1.
        margin_s: every window is held this much longer, for requests that reach the vendor at uneven pace, as far as
            `margins_of` allows.

    Raises:
        ValueError: when the weight is not positive or the margin negative.
    """
    if weight < 1 or margin_s < 0:
        raise ValueError(f"a call costs at least 1 and a margin is not negative, got {weight} and {margin_s}")
    log, now = _at(log, now)
    margins = margins_of(quotas, margin_s)
    current = {quota: _within(_known(log, quota), quota, now, margins[quota]) for quota in quotas}
    refusal = _refusal(log, current, now, weight, margins)
    if refusal is not None:
        return replace(log, windows={**log.windows, **current}), refusal
    charged = {quota: _charged(window, quota, now, weight, since=_since(log)) for quota, window in current.items()}
    return replace(log, windows={**log.windows, **charged}), Admission(allowed=True)


def peek(log: QuotaLog, quotas: Sequence[Quota], now: float, weight: int = 1, *, margin_s: float = 0.0) -> Admission:
    """What `admit` would say, nothing charged."""
    return admit(log, quotas, now, weight, margin_s=margin_s)[1]


def charge(log: QuotaLog, quotas: Sequence[Quota], now: float, weight: int) -> QuotaLog:
    """Charge what was spent without our leave: by a process that could not be asked, or by somebody with the same key.

    Args:
        log: what was admitted so far.
        quotas: those it counts against.
        now: epoch seconds; when it was spent, where that was before what the log knows last.
        weight: calls or credits; nothing is charged where it is not positive.
    """
    if weight < 1:
        return log
    if now < log.newest:
        late = {quota: _inserted(_known(log, quota), Spending(now, now, weight)) for quota in quotas}
        return replace(log, windows={**log.windows, **late})
    log, now = _at(log, now)
    current = {quota: _within(_known(log, quota), quota, now, 0.0) for quota in quotas}
    charged = {quota: _charged(window, quota, now, weight, since=_since(log)) for quota, window in current.items()}
    return replace(log, windows={**log.windows, **charged})


def block_until(log: QuotaLog, now: float, until: float, because: FailureKind | None = None) -> QuotaLog:
    """Admit nothing before `until`, as a vendor's `Retry-After` asks; never shortens an earlier request to rest.

    At most `LONGEST_BLOCK_S` from now are believed.

    Args:
        log: what was admitted so far.
        now: epoch seconds.
        until: epoch seconds.
        because: what the vendor said.

    Raises:
        ValueError: when an instant is not a finite number.
    """
    if not math.isfinite(now) or not math.isfinite(until):
        raise ValueError(f"an instant is a finite number of seconds, got {now} and {until}")
    believed = min(until, now + LONGEST_BLOCK_S)
    if believed <= log.blocked_until:
        return log
    return replace(log, blocked_until=believed, blocked_because=because)


def usage(log: QuotaLog, quotas: Sequence[Quota], now: float, *, margin_s: float = 0.0) -> tuple[QuotaUsage, ...]:
    """How much of each quota is spent, in their order."""
    log, now = _at(log, now)
    views, margins = [], margins_of(quotas, margin_s)
    for quota in quotas:
        window = _within(_known(log, quota), quota, now, margins[quota])
        resets_at = _free_at(window.spendings[0], quota, margins[quota]) if window.spendings else None
        views.append(QuotaUsage(quota, window.used, resets_at))
    return tuple(views)


@lru_cache(maxsize=256)
def _margins(quotas: tuple[Quota, ...], margin_s: float) -> Mapping[Quota, float]:
    slowest = min((quota.limit / quota.window_s for quota in quotas), default=0.0)
    return {quota: min(margin_s, max(share_of(quota) * quota.window_s, _spare_s(quota, slowest))) for quota in quotas}


def share_of(quota: Quota) -> float:
    """The share of its window that a margin adds at most."""
    return MARGIN_SHARE if quota.window_s < LONGER_S else 2 * MARGIN_SHARE


def margins_of(quotas: Sequence[Quota], margin_s: float) -> Mapping[Quota, float]:
    """How much longer each window of a plan is held, seconds.

    The margin, but no more than a small share of the window (`share_of`), or half of what a window could be longer at
    the pace of the tightest quota: five a second beside seventy-five a minute may as well be five in two and a half.
    """
    return _margins(tuple(quotas), margin_s)


def _spare_s(quota: Quota, slowest: float) -> float:
    return (quota.limit / slowest - quota.window_s) / 2


def seconds_until(instant: float, now: float) -> float:
    """The wait after which `now + wait` is not before `instant`, whatever the rounding of floats does; 0 when past."""
    if instant <= now:
        return 0.0
    wait = instant - now
    return wait if now + wait >= instant else math.nextafter(instant, math.inf) - now


def _at(log: QuotaLog, now: float) -> tuple[QuotaLog, float]:
    """The log as it is at `now`, and the instant that counts as now."""
    if now >= log.newest - CLOCK_JITTER_S:
        now = max(now, log.newest)
        return replace(log, newest=now), now
    windows = {quota: redated(window, now) for quota, window in log.windows.items()}
    blocked = min(log.blocked_until, now + LONGEST_BLOCK_S)
    return QuotaLog(windows, blocked, log.blocked_because, now, log.anchor), now


def redated(window: Window, latest: float) -> Window:
    """The window with nothing in it dated later than an instant: what is, counts as of that instant."""
    spendings = (s if s.last <= latest else Spending(min(s.first, latest), latest, s.weight) for s in window.spendings)
    return Window(tuple(spendings), window.used)


def _since(log: QuotaLog) -> float:
    return -math.inf if log.anchor is None else log.anchor.since_s


def _known(log: QuotaLog, quota: Quota) -> Window:
    if quota in log.windows:
        return log.windows[quota]
    return max(log.windows.values(), key=_reach, default=Window())


def _reach(window: Window) -> tuple[float, float]:
    """How much of the past a window tells: as recent as can be, then as far back as can be."""
    spendings = window.spendings
    return (spendings[-1].last, -spendings[0].first) if spendings else (-math.inf, -math.inf)


def _free_at(spending: Spending, quota: Quota, margin_s: float) -> float:
    if quota.resets is not None:
        return max(reset_after(quota, spending.last), spending.held_until) + margin_s
    return spending.last + (quota.window_s + margin_s)


def reset_after(quota: Quota, instant: float) -> float:
    """The first reset of a calendar quota after an instant, epoch seconds."""
    return _midnight_after(quota.zone, quota.resets == "month", int(instant // _ZONE_STEP_S))


@lru_cache(maxsize=1024)
def _midnight_after(zone: str, monthly: bool, step: int) -> float:  # noqa: FBT001 - a key of the cache
    # Every zone's midnight is a whole quarter of an hour of UTC, so all instants of a step share their next midnight.
    local = datetime.fromtimestamp(step * _ZONE_STEP_S, ZoneInfo(zone))
    first = local.replace(day=1) + timedelta(days=32) if monthly else local + timedelta(days=1)
    day = first.replace(day=1) if monthly else first
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()


def _within(window: Window, quota: Quota, now: float, margin_s: float) -> Window:
    gone, used = 0, window.used
    for spending in window.spendings:
        if _free_at(spending, quota, margin_s) > now:
            break
        gone, used = gone + 1, used - spending.weight
    return window if gone == 0 else Window(window.spendings[gone:], used)


def _refusal(
    log: QuotaLog, current: Mapping[Quota, Window], now: float, weight: int, margins: Mapping[Quota, float]
) -> Admission | None:
    latest, held_by = log.blocked_until, None
    for quota, window in current.items():
        if weight > quota.limit:
            return Admission(allowed=False, wait_s=None, quota=quota)
        free_at = _room_at(window, quota, weight, margins[quota])
        if free_at is not None and free_at > latest:
            latest, held_by = free_at, quota
    if latest <= now:
        return None
    return Admission(allowed=False, wait_s=seconds_until(latest, now), quota=held_by)


def _room_at(window: Window, quota: Quota, weight: int, margin_s: float) -> float | None:
    """When enough of the oldest calls will have left the window; None when there is room already."""
    excess = window.used + weight - quota.limit
    free_at = None
    for spending in window.spendings:
        if excess <= 0:
            break
        excess -= spending.weight
        # What is held for longer holds what was spent after it.
        free_at = max(free_at or -math.inf, _free_at(spending, quota, margin_s))
    return free_at


def _charged(window: Window, quota: Quota, now: float, weight: int, *, since: float) -> Window:
    used, newest = window.used + weight, window.spendings[-1:]
    if newest and newest[0].last > since and _share_a_slot(newest[0], quota, now):
        joined = replace(newest[0], last=now, weight=newest[0].weight + weight)
        return Window((*window.spendings[:-1], joined), used)
    return Window((*window.spendings, Spending(now, now, weight)), used)


def _inserted(window: Window, spending: Spending) -> Window:
    """The window with what is told late put where it belongs."""
    place = bisect_right(window.spendings, spending.last, key=lambda s: s.last)
    return Window((*window.spendings[:place], spending, *window.spendings[place:]), window.used + spending.weight)


def _share_a_slot(newest: Spending, quota: Quota, now: float) -> bool:
    """Whether a call now is remembered together with the last one: both leave the window at the same time."""
    if quota.resets is not None:
        return reset_after(quota, newest.last) == reset_after(quota, now)
    return quota.limit > MAX_ENTRIES and now - newest.first < quota.window_s / MAX_ENTRIES
