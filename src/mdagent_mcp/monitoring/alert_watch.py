"""The watch over a running server: looks again and again, remembers the alerts, tells people and subscribers.

The rule of this module: it thinks nothing itself (`alert_rules` and `alerting` do); whatever fails here is logged, and
no answer waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.events import Event
from mdagent_mcp.domain.isolation import run_isolated
from mdagent_mcp.domain.status import Overall, SourceStatus
from mdagent_mcp.monitoring.alert_rules import Observations, RuleLimits, conditions
from mdagent_mcp.monitoring.alerting import (
    Alert,
    AlertKey,
    AlertPolicy,
    AlertState,
    Condition,
    Notice,
    NoticeKind,
    step,
)
from mdagent_mcp.monitoring.channels import Channel, Message, deliver_all

AskStatus = Callable[[], Awaitable[tuple[Sequence[SourceStatus], Overall]]]
TITLE: Final = "mdagent-mcp"


class Alerts:
    """All alerts of one server.

    Args:
        clock: time.
        policy: how often people are told.
        limits: what the settings leave to choose.
        channels: whom to tell.
        interval_s: time between two looks, seconds.
    """

    def __init__(
        self,
        clock: Clock,
        policy: AlertPolicy | None = None,
        limits: RuleLimits | None = None,
        channels: Sequence[Channel] = (),
        interval_s: float = 30.0,
    ) -> None:
        self._clock = clock
        self._policy = policy or AlertPolicy()
        self._observations = Observations(limits or RuleLimits())
        self._channels = tuple(channels)
        self._interval_s = interval_s
        self._state = AlertState()
        self._extra: dict[AlertKey, tuple[Condition, datetime]] = {}
        self._told: list[Callable[[], Awaitable[object]]] = []

    def configure(
        self, policy: AlertPolicy, limits: RuleLimits, channels: Sequence[Channel], interval_s: float
    ) -> None:
        """Take other settings over; what is known stays, and so does what waits for a channel that remains.

        Args:
            policy: how often people are told.
            limits: what the settings leave to choose.
            channels: whom to tell.
            interval_s: time between two looks, seconds.
        """
        known = {channel.address: channel for channel in self._channels}
        self._policy, self._observations.limits, self._interval_s = policy, limits, interval_s
        self._channels = tuple(known.get(channel.address, channel) for channel in channels)

    @property
    def state(self) -> AlertState:
        """As of the last look."""
        return self._state

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Whom to tell."""
        return self._channels

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        self._observations(event)

    def on_change(self, tell: Callable[[], Awaitable[object]]) -> None:
        """Have a subscriber told whenever an alert begins or ends."""
        self._told.append(tell)

    def report(self, condition: Condition, lasting: timedelta) -> None:
        """A condition that somebody else has seen, such as settings that could not be read again.

        Args:
            condition: what should not be so.
            lasting: how long it holds unless it is reported again.
        """
        self._extra[condition.key] = (condition, self._clock.now() + lasting)

    def withdraw(self, key: AlertKey) -> None:
        """What was reported is over."""
        self._extra.pop(key, None)

    async def look(self, ask_status: AskStatus) -> tuple[Notice, ...]:
        """Look once: what to tell, which is on its way to the channels and was told to the subscribers."""
        statuses, overall = await ask_status()
        now = self._clock.now()
        self._extra = {key: (c, until) for key, (c, until) in self._extra.items() if until > now}
        present = (*conditions(self._observations, statuses, overall, now), *(c for c, _ in self._extra.values()))
        before = self._state.firing
        self._state, notices = step(self._state, present, now, self._policy)
        if notices:
            message = message_of(notices)
            for channel in self._channels:
                channel.add(message)
        if [a.condition.key for a in before] != [a.condition.key for a in self._state.firing]:
            for tell in self._told:
                await run_isolated("telling subscribers of alerts", tell)
        return notices

    async def watch(self, ask_status: AskStatus) -> None:
        """Look for ever."""
        while True:
            await run_isolated("looking for alerts", self.look, ask_status)
            await deliver_all(self._channels, self._clock)
            await self._clock.sleep(self._interval_s)


def message_of(notices: Sequence[Notice]) -> Message:
    """Several notices in one message: what is critical first, what is over last."""
    firing = [n for n in notices if n.kind is not NoticeKind.RESOLVED]
    over = [n for n in notices if n.kind is NoticeKind.RESOLVED]
    counts = [f"{len(firing)} alert{'s' if len(firing) != 1 else ''}"] if firing else []
    counts += [f"{len(over)} recovered"] if over else []
    ordered = sorted(firing, key=lambda n: (n.alert.condition.severity.value != "critical", n.alert.condition.key))
    return Message(f"{TITLE}: {', '.join(counts)}", "\n".join(_line(n) for n in (*ordered, *over)))


def _line(notice: Notice) -> str:
    alert = notice.alert
    what = f"{alert.condition.key.rule} {alert.condition.key.subject}".strip()
    if notice.kind is NoticeKind.RESOLVED:
        return f"[recovered] {what}: lasted {_span(alert)}."
    lasting = f" Since {alert.since:%Y-%m-%d %H:%M} UTC." if notice.kind is NoticeKind.STILL_FIRING else ""
    return f"[{alert.condition.severity.value}] {what}: {alert.condition.text}{lasting}"


def _span(alert: Alert) -> str:
    minutes = round((alert.seen_at - alert.since).total_seconds() / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
