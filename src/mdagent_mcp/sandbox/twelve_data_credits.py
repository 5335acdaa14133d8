"""Twelve Data's plans and credits: a call costs a credit for every symbol in it, refusals and errors cost none.

The rule of this module: a minute and a day are those of the clock in UTC, so both counters start anew on the full
minute and at midnight. The plan is told by how a key begins: `grow…`, `pro…`, `ultra…`, else Basic.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mdagent_mcp.sandbox.call_windows import CallWindows


@dataclass(frozen=True, slots=True)
class Plan:
    """What a key may do.

    Attributes:
        name: the vendor's name of it, in lower case.
        per_minute: credits a minute.
        per_day: credits a day; None for any number.
    """

    name: str
    per_minute: int
    per_day: int | None = None

    @property
    def is_paid(self) -> bool:
        """Whether it covers other countries."""
        return self.per_day is None

    @property
    def has_extended_hours(self) -> bool:
        """Whether it covers pre- and post-market prices."""
        return self.name in ("pro", "ultra")


BASIC: Final = Plan("basic", 8, 800)
_PAID: Final = (Plan("grow", 377), Plan("pro", 1597), Plan("ultra", 10_946))


def plan_of(key: str) -> Plan:
    """The plan of a key."""
    return next((plan for plan in _PAID if key.startswith(plan.name)), BASIC)


_MINUTE: Final = "twelve_data minute"
_DAY: Final = "twelve_data day"


@dataclass(frozen=True, slots=True)
class CreditBook:
    """Credits used by every key in the present minute and day.

    Attributes:
        windows: where the running sandbox counts.
        now: the present, UTC.
    """

    windows: CallWindows
    now: datetime

    @property
    def _minute(self) -> int:
        return int(self.now.timestamp()) // 60

    @property
    def _day(self) -> int:
        return self.now.toordinal()

    def used(self, key: str) -> int:
        """Credits of the present minute."""
        return self.windows.used(_MINUTE, self._minute, key)

    def used_today(self, key: str) -> int:
        """Credits of the present day."""
        return self.windows.used(_DAY, self._day, key)

    def charge(self, key: str) -> None:
        """One credit more."""
        self.windows.count(_MINUTE, self._minute, key)
        self.windows.count(_DAY, self._day, key)

    def refusal(self, key: str, wanted: int) -> str | None:
        """Why not even one credit is left for a call that costs `wanted`; None when one is."""
        plan, today, minute = plan_of(key), self.used_today(key), self.used(key)
        if plan.per_day is not None and today >= plan.per_day:
            return _spent("for the day", today + wanted, plan.per_day, "next day")
        if minute >= plan.per_minute:
            return _spent("for the current minute", minute + wanted, plan.per_minute, "next minute")
        return None


def _spent(window: str, used: int, limit: int, until: str) -> str:
    return (
        f"You have run out of API credits {window}. {used} API credits were used, with the current limit being "
        f"{limit}. Wait for the {until} or consider switching to a higher tier plan at https://twelvedata.com/pricing"
    )
