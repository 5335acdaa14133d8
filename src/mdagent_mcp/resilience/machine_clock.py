"""By how much this machine's own clock is wrong, by what the vendors' servers say the time is.

The rule of this module: every HTTP reply is dated by the server that sent it (RFC 9110, section 6.6.1, to the second;
what a cache in between has held since is in `Age`, RFC 9111, section 5.1). A price can be no more current than the
clock it is measured by: by one that is an hour ahead the market has closed, and the last close looks like the latest
price. What a server said is kept against the uptime, which nobody can set, so that it also tells a clock that was set
since. One server may be wrong; only what most of those heard lately say is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from mdagent_mcp.domain.clock import Uptime

KEPT_S: Final = 3600.0
"""What was heard longer ago tells nothing any more: clocks drift."""
LEAST_S: Final = 30.0
"""A smaller difference may be the way here, a cache that does not tell its age, or a server that is not exact."""
MOST_S: Final = 2 * 86_400.0
"""Servers that are further away than this do not tell the time: a replay, a simulation, a machine without a battery.
By so wrong a clock every price is from long ago or from the future, which its own checks notice."""


@dataclass(frozen=True, slots=True)
class ServerDate:
    """What one server said the time is.

    Attributes:
        epoch_s: the time it was by its word when the reply came, epoch seconds.
        uptime: of this machine at that moment.
    """

    epoch_s: float
    uptime: Uptime


def dated(headers: Mapping[str, str], uptime: Uptime) -> ServerDate | None:
    """What a reply says the time is; None where it does not say, or nothing that can be read.

    Args:
        headers: of the reply, by name in lower case.
        uptime: when it came.
    """
    try:
        told = parsedate_to_datetime(headers["date"])
        held_s = float(headers.get("age", "0"))
    except (KeyError, ValueError, OverflowError):
        return None
    if told.tzinfo is None or not 0.0 <= held_s <= MOST_S:
        return None
    return ServerDate(told.timestamp() + held_s, uptime)


def ahead_s(dates: Mapping[str, ServerDate], now: datetime, uptime: Uptime) -> dict[str, float]:
    """Seconds that this machine's clock is ahead of what each server would say now; negative when behind.

    Args:
        dates: the latest word of each source's server.
        now: what this machine's clock shows.
        uptime: read at the same moment.
    """
    found = {}
    for source, date in dates.items():
        since_s = uptime.seconds - date.uptime.seconds
        if date.uptime.boot == uptime.boot and since_s <= KEPT_S:
            difference = now.timestamp() - (date.epoch_s + since_s)
            if abs(difference) <= MOST_S:
                found[source] = difference
    return found


def clock_error_s(ahead: Mapping[str, float]) -> float | None:
    """By how much this machine's clock is ahead of the time, seconds, negative when behind; None while nobody says.

    The least of what most servers say where they agree that it is wrong in one direction, otherwise zero.
    """
    if not ahead:
        return None
    late = [seconds for seconds in ahead.values() if seconds > LEAST_S]
    early = [seconds for seconds in ahead.values() if seconds < -LEAST_S]
    if 2 * len(late) > len(ahead):
        return min(late)
    if 2 * len(early) > len(ahead):
        return max(early)
    return 0.0
