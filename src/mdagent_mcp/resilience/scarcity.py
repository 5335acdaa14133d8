"""What another call costs beside its price because the quota it is taken from runs short: the shadow price.

The rule of this module: pure arithmetic on what is spent. A quota that is renewed at a known instant should last until
then: spending no faster than evenly is free, and the price of a call rises with the lead over the even pace and
without bound as the quota runs out. A window that slides has no such instant; there the first half is free, so that a
burst of questions is served, and the other half is kept for those that need it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mdagent_mcp.resilience.quota import QuotaUsage

HEAD_START: Final = 0.10
"""Share of a quota that may be spent at once after its renewal."""
SLIDING_FREE: Final = 0.5
"""Share of a sliding window that may be filled before calls become dearer."""
_LEAST_LEFT: Final = 1e-3


def shadow_price(used: float, limit: float, elapsed: float | None) -> float:
    """The multiple of its own cost that a call is dearer by: 0 while the quota is spent no faster than evenly.

    Args:
        used: calls of the window that are spent.
        limit: calls of the whole window.
        elapsed: share of the window that has passed, 0 to 1; None for a sliding one.
    """
    spent = min(max(used / limit, 0.0), 1.0)
    even = SLIDING_FREE if elapsed is None else max(HEAD_START, min(elapsed, 1.0))
    return max(0.0, spent - even) / max(1.0 - spent, _LEAST_LEFT)


def dearest(usages: Iterable[QuotaUsage], now: float) -> float:
    """The shadow price of a call that counts against all these quotas: that of the shortest one.

    Args:
        usages: of the quotas.
        now: on the scale of their `resets_at`, seconds.
    """
    return max((shadow_price(u.used, u.quota.limit, _elapsed(u, now)) for u in usages), default=0.0)


def _elapsed(usage: QuotaUsage, now: float) -> float | None:
    if usage.quota.resets is None:
        return None
    if usage.resets_at is None:
        return 0.0
    return min(max(1.0 - (usage.resets_at - now) / usage.quota.window_s, 0.0), 1.0)
