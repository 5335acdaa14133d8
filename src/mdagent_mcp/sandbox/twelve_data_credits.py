"""Twelve Data's plans and credits: a call costs a credit for every symbol in it, refusals and errors cost none.

The rule of this module: a minute and a day are those of the clock in UTC, so both counters start anew on the full
minute and at midnight. The plan is told by how a key begins: `grow…`, `pro…`, `ultra…`, else Basic.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final


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


@dataclass
class CreditBook:
    """Credits used by every key in the present minute and day."""

    _minute: int = -1
    _day: date | None = None
    _used: Counter[str] = field(default_factory=Counter)
    _used_today: Counter[str] = field(default_factory=Counter)

    def turn_to(self, now: datetime) -> None:
        """Forget what was used before the present minute and day."""
        minute, day = int(now.timestamp()) // 60, now.date()
        if minute != self._minute:
            self._minute = minute
            self._used.clear()
        if day != self._day:
            self._day = day
            self._used_today.clear()

    def used(self, key: str) -> int:
        """Credits of the present minute."""
        return self._used[key]

    def used_today(self, key: str) -> int:
        """Credits of the present day."""
        return self._used_today[key]

    def charge(self, key: str) -> None:
        """One credit more."""
        self._used[key] += 1
        self._used_today[key] += 1

    def refusal(self, key: str, wanted: int) -> str | None:
        """Why not even one credit is left for a call that costs `wanted`; None when one is."""
        plan = plan_of(key)
        if plan.per_day is not None and self._used_today[key] >= plan.per_day:
            return _spent("for the day", self._used_today[key] + wanted, plan.per_day, "next day")
        if self._used[key] >= plan.per_minute:
            return _spent("for the current minute", self._used[key] + wanted, plan.per_minute, "next minute")
        return None


def _spent(window: str, used: int, limit: int, until: str) -> str:
    return (
        f"You have run out of API credits {window}. {used} API credits were used, with the current limit being "
        f"{limit}. Wait for the {until} or consider switching to a higher tier plan at https://twelvedata.com/pricing"
    )
