"""When a condition becomes an alert, whom it is told, and when it is over.

Pure: `(state, conditions, now)` in, state and notices out.

The rule of this module: one alert per rule and subject. It fires when its condition has held for a while, is told once,
again after hours when it lasts, and is over when the condition has been absent for as long as it had to hold. What
comes back soon after that is the same trouble and is not told anew. During quiet hours only what is critical is told;
the rest is told together when they end, if it still holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final, NamedTuple

MOST_RESOLVED: Final = 50
"""Alerts that are over and still listed."""


class Severity(StrEnum):
    """How soon somebody should look."""

    WARNING = "warning"
    CRITICAL = "critical"


class AlertKey(NamedTuple):
    """What an alert is about.

    Attributes:
        rule: such as `source_down`.
        subject: such as a source; empty for the server as a whole.
    """

    rule: str
    subject: str


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that should not be so, at this instant.

    Attributes:
        key: what it is about.
        severity: how soon somebody should look.
        text: one sentence with the figures, for people.
        hold: how long it must last before it is an alert.
    """

    key: AlertKey
    severity: Severity
    text: str
    hold: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition over time.

    Attributes:
        condition: as it was seen last.
        since: since when it holds without a break of `hold`.
        seen_at: when it was seen last.
        fired_at: when it became an alert; None while it is too young.
        told_at: when it was told last; None when it never was.
        resolved_at: when it was over; None while it holds.
    """

    condition: Condition
    since: datetime
    seen_at: datetime
    fired_at: datetime | None = None
    told_at: datetime | None = None
    resolved_at: datetime | None = None


class NoticeKind(StrEnum):
    """Why somebody is told."""

    FIRING = "firing"
    STILL_FIRING = "still firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell.

    Attributes:
        kind: why.
        alert: what.
    """

    kind: NoticeKind
    alert: Alert


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A span of the day in which only what is critical is told; it may pass midnight.

    Attributes:
        begin: first minute, local time.
        end: first minute after it.
        zone: whose local time.
    """

    begin: time
    end: time
    zone: tzinfo

    def cover(self, now: datetime) -> bool:
        """Whether an instant falls into them."""
        local = now.astimezone(self.zone).time()
        if self.begin <= self.end:
            return self.begin <= local < self.end
        return local >= self.begin or local < self.end


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """How often people are told.

    Attributes:
        remind_after: an alert that lasts is told again after this.
        same_within: a condition that returns so soon after its end is the same alert and is not told anew.
        quiet: None for never.
    """

    remind_after: timedelta = timedelta(hours=6)
    same_within: timedelta = timedelta(minutes=15)
    quiet: QuietHours | None = None


@dataclass(frozen=True, slots=True)
class AlertState:
    """All alerts.

    Attributes:
        open: by key: those that hold, also the too young ones.
        resolved: those that are over, latest first.
        held: those that were over in quiet hours, to be told when they end.
    """

    open: Mapping[AlertKey, Alert] = field(default_factory=dict)
    resolved: tuple[Alert, ...] = ()
    held: tuple[Alert, ...] = ()

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The alerts of now, longest first."""
        fired = (alert for alert in self.open.values() if alert.fired_at is not None)
        return tuple(sorted(fired, key=lambda alert: (alert.since, alert.condition.key)))


def step(
    state: AlertState, conditions: Iterable[Condition], now: datetime, policy: AlertPolicy
) -> tuple[AlertState, tuple[Notice, ...]]:
    """What became of the alerts, and what to tell.

    Args:
        state: before.
        conditions: everything that should not be so now.
        now: UTC.
        policy: how often people are told.
    """
    present = {condition.key: condition for condition in conditions}
    seen = {key: _seen(_known(state, key, now, policy), condition, now) for key, condition in present.items()}
    absent = {key: alert for key, alert in state.open.items() if key not in present}
    over = tuple(
        replace(alert, resolved_at=now)
        for alert in absent.values()
        if alert.fired_at is not None and now - alert.seen_at >= alert.condition.hold
    )
    lingering = {key: alert for key, alert in absent.items() if now - alert.seen_at < alert.condition.hold}
    notices = [Notice(kind, alert) for alert in seen.values() if (kind := _to_tell(alert, now, policy)) is not None]
    told = {notice.alert.condition.key: replace(notice.alert, told_at=now) for notice in notices}
    opened = dict(sorted({**lingering, **seen, **told}.items()))
    ended = (*state.held, *(alert for alert in over if alert.told_at is not None))
    held = tuple(alert for alert in ended if _is_quiet(alert, now, policy) and alert.condition.key not in opened)
    recoveries = [
        Notice(NoticeKind.RESOLVED, alert)
        for alert in ended
        if not _is_quiet(alert, now, policy) and alert.condition.key not in opened
    ]
    kept = (alert for alert in state.resolved if alert.condition.key not in present or not _is_same(alert, now, policy))
    resolved = (*reversed(over), *kept)[:MOST_RESOLVED]
    return AlertState(opened, resolved, held), (
        *(Notice(n.kind, told[n.alert.condition.key]) for n in notices),
        *recoveries,
    )


def _known(state: AlertState, key: AlertKey, now: datetime, policy: AlertPolicy) -> Alert | None:
    """The alert as it was, also when it was over only just now."""
    if key in state.open:
        return state.open[key]
    earlier = (alert for alert in state.resolved if alert.condition.key == key and _is_same(alert, now, policy))
    found = next(earlier, None)
    return None if found is None else replace(found, resolved_at=None)


def _is_same(alert: Alert, now: datetime, policy: AlertPolicy) -> bool:
    return alert.resolved_at is not None and now - alert.resolved_at < policy.same_within


def _seen(before: Alert | None, condition: Condition, now: datetime) -> Alert:
    alert = Alert(condition, now, now) if before is None else replace(before, condition=condition, seen_at=now)
    if alert.fired_at is None and now - alert.since >= condition.hold:
        return replace(alert, fired_at=now)
    return alert


def _to_tell(alert: Alert, now: datetime, policy: AlertPolicy) -> NoticeKind | None:
    if alert.fired_at is None or _is_quiet(alert, now, policy):
        return None
    if alert.told_at is None:
        return NoticeKind.FIRING
    return NoticeKind.STILL_FIRING if now - alert.told_at >= policy.remind_after else None


def _is_quiet(alert: Alert, now: datetime, policy: AlertPolicy) -> bool:
    critical = alert.condition.severity is Severity.CRITICAL
    return not critical and policy.quiet is not None and policy.quiet.cover(now)
