"""What a quota log looks like as text, for whoever keeps it: a file shared by processes, a server shared by machines.

The rule of this module: what it cannot read is a `ValueError`, never a wrong log. Instants are kept to the millisecond
and rounded up, so that a window read back never opens early.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.quota import Anchor, QuotaLog, Spending, Window

_VERSION: Final = 1
_RESETS: Final = {"": None, "day": "day", "month": "month"}


def to_text(log: QuotaLog) -> str:
    """The log as compact JSON."""
    windows = [
        [
            [quota.limit, quota.window_s, quota.name, quota.resets or "", quota.zone],
            [_entry(s) for s in window.spendings],
        ]
        for quota, window in log.windows.items()
        if window.spendings
    ]
    body = {
        "version": _VERSION,
        "newest": _milliseconds(log.newest),
        "blocked": [_milliseconds(log.blocked_until), log.blocked_because or ""],
        "windows": windows,
    }
    if log.anchor is not None:
        read = (log.anchor.uptime_s, log.anchor.epoch_s, log.anchor.since_s)
        body["anchor"] = [log.anchor.boot, *map(_milliseconds, read)]
    return json.dumps(body, separators=(",", ":"))


def from_text(text: str) -> QuotaLog:
    """Read what `to_text` wrote.

    Raises:
        ValueError: when it is something else.
    """
    body: Any = json.loads(text)
    try:
        if body["version"] != _VERSION:
            raise ValueError(f"a quota log of version {body['version']!r}")
        until, because = body["blocked"]
        return QuotaLog(
            windows=dict(_window(*entry) for entry in body["windows"]),
            blocked_until=_seconds(until),
            blocked_because=FailureKind(because) if because else None,
            newest=_seconds(body["newest"]),
            anchor=None if body.get("anchor") is None else _anchor(*body["anchor"]),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"no quota log: {type(error).__name__}") from error


def _window(quota: Sequence[Any], spendings: Sequence[Sequence[Any]]) -> tuple[Quota, Window]:
    limit, window_s, name, resets, zone = quota
    kept = tuple(_spending(*spending) for spending in spendings)
    known: Mapping[str, Any] = _RESETS
    return Quota(int(limit), float(window_s), str(name), known[resets], str(zone)), Window(
        kept, sum(s.weight for s in kept)
    )


def _entry(spending: Spending) -> list[int]:
    entry = [_milliseconds(spending.first), _milliseconds(spending.last), spending.weight]
    return [*entry, _milliseconds(spending.held_until)] if spending.held_until else entry


def _spending(first: Any, last: Any, weight: Any, held_until: Any = 0) -> Spending:
    return Spending(_seconds(first), _seconds(last), _weight(weight), _seconds(held_until))


def _anchor(boot: Any, uptime: Any, epoch: Any, since: Any) -> Anchor:
    if not isinstance(boot, str):
        raise TypeError("a start of the machine has a name")
    return Anchor(boot, _seconds(uptime), _seconds(epoch), _seconds(since))


def _milliseconds(seconds: float) -> int:
    return math.ceil(round(seconds * 1000.0, 3))


def _seconds(milliseconds: Any) -> float:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int):
        raise TypeError("an instant is a whole number of milliseconds")
    return milliseconds / 1000.0


def _weight(weight: Any) -> int:
    if isinstance(weight, bool) or not isinstance(weight, int) or weight < 1:
        raise TypeError("a weight is a whole number from 1")
    return weight
