"""What became of a quota log while the wall clock was set: its instants follow a clock that nobody can set.

The rule of this module: pure arithmetic, `(log, what the wall clock tells, uptime) -> (log, now)`. A log's instants are
epoch seconds, because processes, machine starts and the vendors' midnights are told by nothing else. But between two
readings of one machine's uptime it is that which says how much time has passed. The log therefore has an `Anchor`, and
its time runs on from there by the uptime. Where the wall clock tells something else it was set, by the difference;
then all of the log moves along, so that every call stays as old as it is and no sliding window opens early or late.

Which of the two times was right, the one before or the one after, nobody can know. It matters to quotas that a vendor
resets at its own midnight (or month's end) alone. There the smaller promise is kept: what was spent is given back at
the later of both resets, which is never later than one period after it was spent. Looking at what the vendor says does
not help: it tells what is left only in reply to a call, and refusals are heeded anyway.

One case is known: a machine whose clock is wrong when it is started and is corrected from the network soon after. A
wall clock that was set when the log was last used within the first hour of uptime is believed afterwards, and what was
spent before the machine was started keeps the date it has. Otherwise a machine without a battery clock, whose time
begins where it was shut down days ago, would take the quota of that day for spent today and be locked out for a day.

Where uptime does not count the time asleep (`domain.clock.SystemClock` says where), waking up looks like a clock that
was set forwards: quotas stay shut for what is left of one window, and no longer.

Not known is what happened while the machine was off, between two machines, or between two processes where the system
does not name its starts: there the wall clock is believed, as it was set.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from mdagent_mcp.domain.clock import Uptime
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.quota import Anchor, QuotaLog, Spending, Window, redated, reset_after

TOLERANCE_S: Final = 0.5
"""By how much the wall clock may be elsewhere before the log follows: no more than a calendar's margin."""
SHARED_TOLERANCE_S: Final = 2.0
"""The same for the clock of a server, which is heard late by the time that its reply takes."""
SETTLING_S: Final = 3600.0
"""Uptime within which a clock may still be wrong from the start, and be corrected."""


def aligned(log: QuotaLog, told: float, uptime: Uptime, *, shared: bool = False) -> tuple[QuotaLog, float]:
    """The log on the time that holds now, and what that is.

    Args:
        log: what was admitted so far.
        told: what the wall clock shows, epoch seconds.
        uptime: what the clock shows that nobody can set, read at the same moment.
        shared: whether the wall clock is one that other machines go by as well. Then it is taken at its word as long as
            it was not set, so that they agree to the millisecond.

    Returns:
        The log, which `resilience.quota` may decide on, and the instant to decide for.
    """
    anchor = log.anchor
    if anchor is None or anchor.boot != uptime.boot:
        return _anchored(log, told, uptime)
    now = anchor.epoch_s + (uptime.seconds - anchor.uptime_s)
    off = told - now
    if abs(off) <= (SHARED_TOLERANCE_S if shared else TOLERANCE_S):
        return log, told if shared else now
    jump = math.ceil(off * 1000.0) / 1000.0  # whole milliseconds, as a log is kept
    return _moved(log, anchor, jump), now + jump


def _anchored(log: QuotaLog, told: float, uptime: Uptime) -> tuple[QuotaLog, float]:
    """The log of somebody whose uptime is not comparable: its dates are believed, unless they lie ahead."""
    epoch = math.floor(told * 1000.0) / 1000.0
    since = epoch - 0.001
    anchor = Anchor(uptime.boot, math.ceil(uptime.seconds * 1000.0) / 1000.0, epoch, since)
    windows = {quota: redated(window, since) for quota, window in log.windows.items()}
    return replace(log, windows=windows, newest=epoch, anchor=anchor), epoch


def _moved(log: QuotaLog, anchor: Anchor, jump: float) -> QuotaLog:
    """The log after the wall clock was set by `jump` seconds."""
    last_used_s = anchor.uptime_s + (log.newest - anchor.epoch_s)
    corrected = last_used_s < SETTLING_S
    since = anchor.since_s + jump
    windows = {
        quota: _corrected(window, anchor.since_s, jump) if corrected else _doubted(window, quota, jump)
        for quota, window in log.windows.items()
    }
    blocked = log.blocked_until + (min(0.0, jump) if corrected else jump)
    return QuotaLog(
        windows,
        max(0.0, blocked),
        log.blocked_because,
        log.newest + jump,
        replace(anchor, epoch_s=anchor.epoch_s + jump, since_s=since),
    )


def _corrected(window: Window, since: float, jump: float) -> Window:
    """Nothing from before the machine was started moves; the rest does, and the new time is believed."""
    earlier = redated(Window(tuple(s for s in window.spendings if s.last <= since)), since + jump).spendings
    ours = (_shifted(s, jump, s.held_until + jump if s.held_until else 0.0) for s in window.spendings if s.last > since)
    return Window((*earlier, *ours), window.used)


def _doubted(window: Window, quota: Quota, jump: float) -> Window:
    """Everything moves; what a calendar frees is held until the reset by the time before as well."""
    if quota.resets is None:
        return Window(tuple(_shifted(s, jump, 0.0) for s in window.spendings), window.used)
    moved = (_shifted(s, jump, max(s.held_until, reset_after(quota, s.last)) + jump) for s in window.spendings)
    return Window(tuple(moved), window.used)


def _shifted(spending: Spending, jump: float, held_until: float) -> Spending:
    return Spending(spending.first + jump, spending.last + jump, spending.weight, held_until)
