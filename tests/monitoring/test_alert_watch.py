"""The watch over a server, and the way of a notice to people."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import ConfigurationError, load
from mdagent_mcp.domain.status import Overall, SourceState, SourceStatus
from mdagent_mcp.monitoring.alert_rules import RuleLimits
from mdagent_mcp.monitoring.alert_watch import Alerts, message_of
from mdagent_mcp.monitoring.alerting import AlertKey, AlertPolicy, AlertState, Condition, Severity, step
from mdagent_mcp.monitoring.channels import channels_of, deliver_all
from mdagent_mcp.testing import ManualClock
from monitoring.loopback_http import QuietHandler, served, until
from monitoring.test_metrics import OVERALL, status

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
UNKNOWN = "its address is none that Apprise knows; see https://github.com/caronc/apprise/wiki"
TOKEN = "t0ken-that-must-not-leak"
RELOAD = Condition(AlertKey("settings_rejected", ""), Severity.WARNING, "The file is not TOML.", timedelta(0))


class World:
    """Sources whose state a test sets."""

    def __init__(self) -> None:
        self.state = SourceState.LIVE

    async def ask(self) -> tuple[list[SourceStatus], Overall]:
        """Yahoo in that state, and one more that lives."""
        return [status(state=self.state, budget=()), status(source="cboe", state=SourceState.LIVE, budget=())], OVERALL


class _Webhook(QuietHandler):
    received: ClassVar[list[dict[str, Any]]] = []
    status: ClassVar[int] = 200

    def do_POST(self) -> None:  # noqa: N802 - the library's name
        body = self.body()
        if self.status == 200:
            self.received.append(json.loads(body))
        self.answer(self.status)


@pytest.fixture
def webhook() -> Iterator[str]:
    """A webhook of our own, as Apprise addresses it, with a token in its path."""
    _Webhook.received.clear()
    _Webhook.status = 200
    with served(_Webhook) as port:
        yield f"json://127.0.0.1:{port}/{TOKEN}"


async def test_a_source_that_goes_down_is_told_and_its_recovery_as_well(webhook: str) -> None:
    """By a real message to a real webhook."""
    clock, world = ManualClock(NOON), World()
    alerts = Alerts(clock, channels=channels_of([SecretStr(webhook)]))
    for minute in range(20):
        world.state = SourceState.OPEN if 2 <= minute < 10 else SourceState.LIVE
        await alerts.look(world.ask)
        await deliver_all(alerts.channels, clock)
        await clock.advance(60)
    assert [(m["title"], m["message"]) for m in _Webhook.received] == [
        (
            "mdagent-mcp: 1 alert",
            "[warning] source_down yahoo: yahoo is down: its circuit is open. source_status has the reason.",
        ),
        ("mdagent-mcp: 1 recovered", "[recovered] source_down yahoo: lasted 7 min."),
    ]


async def test_a_channel_that_fails_keeps_its_message_and_tries_again_later(
    webhook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named by its number: its address is a secret."""
    clock = ManualClock(NOON)
    alerts = Alerts(clock, channels=channels_of([SecretStr("nonsense://x"), SecretStr(webhook)]))
    alerts.report(RELOAD, timedelta(hours=1))
    _Webhook.status = 500
    with caplog.at_level(logging.DEBUG):
        await alerts.look(World().ask)
        await deliver_all(alerts.channels, clock)
        _Webhook.status = 200
        await deliver_all(alerts.channels, clock)
        assert _Webhook.received == []
        await clock.advance(31)
        await deliver_all(alerts.channels, clock)
    assert [m["message"] for m in _Webhook.received] == ["[warning] settings_rejected: The file is not TOML."]
    ours = [record.getMessage() for record in caplog.records if record.name == "mdagent_mcp"]
    assert ours[:2] == [
        f"alert channel 1 (nonsense): {UNKNOWN}; tried again in 30 s",
        "alert channel 2 (json): the message was not accepted; tried again in 30 s",
    ]
    assert [channel.trouble for channel in alerts.channels][1] == ""
    assert not [record for record in caplog.records if TOKEN in record.getMessage() and record.levelno >= logging.INFO]
    assert TOKEN not in repr(alerts.channels)


async def test_subscribers_hear_when_an_alert_begins_and_ends_and_not_otherwise() -> None:
    """Looks that find nothing new are silent."""
    clock, world = ManualClock(NOON), World()
    alerts = Alerts(clock)
    heard: list[float] = []

    async def hear() -> None:
        heard.append(clock.monotonic() / 60)

    alerts.on_change(hear)
    for minute in range(20):
        world.state = SourceState.OPEN if 2 <= minute < 10 else SourceState.LIVE
        await alerts.look(world.ask)
        await clock.advance(60)
    assert heard == [7.0, 14.0]


async def test_what_others_report_lasts_as_long_as_they_say() -> None:
    """Unless it is reported again."""
    clock = ManualClock(NOON)
    alerts = Alerts(clock)
    alerts.report(RELOAD, timedelta(minutes=2))
    await alerts.look(World().ask)
    assert [a.condition for a in alerts.state.firing] == [RELOAD]
    await clock.advance(121)
    await alerts.look(World().ask)
    assert alerts.state.firing == ()


async def test_other_settings_keep_what_is_known_and_what_waits(webhook: str) -> None:
    """A channel that stays is still owed its message; one that is new gets what comes."""
    clock = ManualClock(NOON)
    alerts = Alerts(clock, channels=channels_of([SecretStr(webhook)]))
    alerts.report(RELOAD, timedelta(hours=1))
    await alerts.look(World().ask)
    fresh = channels_of([SecretStr("nonsense://x"), SecretStr(webhook)])
    alerts.configure(AlertPolicy(), RuleLimits(), fresh, 10.0)
    assert [a.condition for a in alerts.state.firing] == [RELOAD]
    await deliver_all(alerts.channels, clock)
    assert [m["title"] for m in _Webhook.received] == ["mdagent-mcp: 1 alert"]
    assert alerts.channels[0].trouble == ""


def test_one_message_holds_all_that_is_new_with_what_is_critical_first() -> None:
    """Grouped, so that an outage is one message."""
    wanted = [
        Condition(AlertKey("source_down", "yahoo"), Severity.WARNING, "yahoo is down.", timedelta(0)),
        Condition(AlertKey("all_sources_down", ""), Severity.CRITICAL, "No source.", timedelta(0)),
    ]
    state, first = step(AlertState(), [RELOAD], NOON, AlertPolicy())
    _, second = step(state, wanted, NOON + timedelta(minutes=90), AlertPolicy())
    assert message_of(first).title == "mdagent-mcp: 1 alert"
    message = message_of(second)
    assert (message.title, message.body.split("\n")) == (
        "mdagent-mcp: 2 alerts, 1 recovered",
        [
            "[critical] all_sources_down: No source.",
            "[warning] source_down yahoo: yahoo is down.",
            "[recovered] settings_rejected: lasted 0 min.",
        ],
    )


async def test_the_settings_make_the_watch(webhook: str) -> None:
    """A server whose memory cannot be kept tells a webhook so."""
    environ = {
        "MDAGENT_ALERTS__CHANNELS": json.dumps([webhook]),
        "MDAGENT_ALERTS__WATCH": '["brk-b"]',
        "MDAGENT_ALERTS__QUIET_HOURS": "22:00-07:00",
        "MDAGENT_ALERTS__TIMEZONE": "Europe/London",
        "MDAGENT_ALERTS__INTERVAL_S": "10",
    }
    settings = load(environ).settings
    assert settings.alerts.watch == ("BRK.B",)
    assert TOKEN not in repr(settings)
    clock = ManualClock(NOON)
    alerts = Alerts(clock)
    alerts.report(RELOAD, timedelta(hours=1))
    async with open_app(settings, clock=clock, data_dir=None, alerts=alerts):
        await until(lambda: bool(_Webhook.received))
    assert [m["message"] for m in _Webhook.received] == ["[warning] settings_rejected: The file is not TOML."]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("QUIET_HOURS", "22-7", "alerts.quiet_hours"),
        ("TIMEZONE", "Mars/Olympus", "should be an IANA time zone"),
        ("WATCH", '["A B C"]', "alerts.watch"),
        ("QUOTA_SHARE", "1.5", "alerts.quota_share"),
    ],
)
def test_settings_of_alerts_that_cannot_be_used_are_refused_by_name(name: str, value: str, told: str) -> None:
    """Before anything is served."""
    with pytest.raises(ConfigurationError, match=told):
        load({f"MDAGENT_ALERTS__{name}": value})
