"""When people are told of what should not be so, and when not."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.monitoring.alerting import (
    MOST_RESOLVED,
    AlertKey,
    AlertPolicy,
    AlertState,
    Condition,
    Notice,
    NoticeKind,
    QuietHours,
    Severity,
    step,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DOWN = Condition(AlertKey("source_down", "yahoo"), Severity.WARNING, "yahoo is down.", timedelta(minutes=5))
FIRE = Condition(AlertKey("all_sources_down", ""), Severity.CRITICAL, "No source.", timedelta(minutes=1))
NIGHT = QuietHours(time(22), time(7), ZoneInfo("Europe/London"))
Told = tuple[int, str, str]


def minutes(
    seen: dict[str, set[int]], last: int, policy: AlertPolicy | None = None, start: datetime = NOON
) -> list[Told]:
    """What is told over some minutes: minute, kind and rule.

    Args:
        seen: rule -> the minutes at which its condition holds.
        last: the last minute.
        policy: how often people are told.
        start: minute zero.
    """
    state, told = AlertState(), []
    for minute in range(last + 1):
        present = [c for c in (DOWN, FIRE) if minute in seen.get(c.key.rule, set())]
        state, notices = step(state, present, start + timedelta(minutes=minute), policy or AlertPolicy())
        told += [(minute, n.kind.value, n.alert.condition.key.rule) for n in notices]
    return told


def test_a_condition_is_told_once_when_it_has_held_long_enough_and_once_when_it_is_over() -> None:
    """Five minutes to fire, five minutes to be over."""
    assert minutes({"source_down": set(range(3, 30))}, 60) == [
        (8, "firing", "source_down"),
        (34, "resolved", "source_down"),
    ]


def test_what_does_not_last_is_never_told() -> None:
    """Four minutes of five."""
    assert minutes({"source_down": {1, 2, 3, 4, 5}}, 60) == []


def test_a_short_break_neither_ends_an_alert_nor_keeps_it_from_beginning() -> None:
    """A condition that flaps within its hold is one condition."""
    holes = set(range(40)) - {2, 4, 9, 10, 20}
    assert minutes({"source_down": holes}, 60) == [(5, "firing", "source_down"), (44, "resolved", "source_down")]


def test_what_returns_soon_after_its_end_is_not_told_anew_but_its_end_is() -> None:
    """Over at minute 14, back at 20: the same alert, which is over for good at 34."""
    seen = {"source_down": {*range(10), *range(20, 30)}}
    assert minutes(seen, 80) == [
        (5, "firing", "source_down"),
        (14, "resolved", "source_down"),
        (34, "resolved", "source_down"),
    ]


def test_what_returns_later_is_told_anew() -> None:
    """An hour later it is another one."""
    seen = {"source_down": {*range(10), *range(80, 90)}}
    assert [told for told in minutes(seen, 120) if told[1] == "firing"] == [
        (5, "firing", "source_down"),
        (85, "firing", "source_down"),
    ]


def test_an_alert_that_lasts_is_told_again_after_hours() -> None:
    """Every six hours."""
    assert minutes({"source_down": set(range(800))}, 799) == [
        (5, "firing", "source_down"),
        (365, "still firing", "source_down"),
        (725, "still firing", "source_down"),
    ]


def test_in_quiet_hours_only_what_is_critical_is_told_and_the_rest_when_they_end_if_it_still_holds() -> None:
    """From 21:50 in London; the night ends after 550 minutes."""
    start = datetime(2026, 11, 24, 21, 50, tzinfo=UTC)
    policy = AlertPolicy(quiet=NIGHT)
    lasting = {"source_down": set(range(60, 600)), "all_sources_down": {100, 101, 102}}
    assert minutes(lasting, 620, policy, start) == [
        (101, "firing", "all_sources_down"),
        (103, "resolved", "all_sources_down"),
        (550, "firing", "source_down"),
        (604, "resolved", "source_down"),
    ]
    assert minutes({"source_down": set(range(60, 300))}, 620, policy, start) == []


def test_an_end_in_quiet_hours_is_told_when_they_are_over() -> None:
    """Whoever was told of the beginning learns of the end."""
    start = datetime(2026, 11, 24, 21, 50, tzinfo=UTC)
    assert minutes({"source_down": set(range(30))}, 620, AlertPolicy(quiet=NIGHT), start) == [
        (5, "firing", "source_down"),
        (550, "resolved", "source_down"),
    ]


def test_quiet_hours_are_local_and_may_lie_within_a_day() -> None:
    """Noon in London is not noon in New York."""
    lunch = QuietHours(time(12), time(13), ZoneInfo("America/New_York"))
    assert [lunch.cover(NOON + timedelta(hours=hours)) for hours in (0, 5, 5.99, 6)] == [False, True, True, False]


def test_the_list_of_alerts_that_are_over_is_bounded() -> None:
    """However many sources go down."""
    state = AlertState()
    for number in range(MOST_RESOLVED + 20):
        condition = Condition(AlertKey("source_down", f"s{number}"), Severity.WARNING, "", timedelta(0))
        state, _ = step(state, [condition], NOON + timedelta(hours=number), AlertPolicy())
    assert len(state.resolved) == MOST_RESOLVED
    assert state.resolved[0].condition.key.subject == f"s{MOST_RESOLVED + 18}"


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=120),
    st.sampled_from([None, NIGHT]),
    st.integers(0, 1439),
)
def test_laws_of_telling(course: list[tuple[bool, bool]], quiet: QuietHours | None, start: int) -> None:
    """However conditions come and go.

    Every end follows a beginning that was told; no beginning is told twice without an end; nothing that is not critical
    is told in quiet hours.
    """
    state, told = AlertState(), dict[AlertKey, str]()
    for minute, present in enumerate(course):
        now = NOON + timedelta(minutes=start + minute)
        seen = [c for c, holds in zip((DOWN, FIRE), present, strict=True) if holds]
        state, notices = step(state, seen, now, AlertPolicy(quiet=quiet))
        for notice in notices:
            _check(notice, told, now, quiet)
            told[notice.alert.condition.key] = notice.kind.value


def _check(notice: Notice, told: dict[AlertKey, str], now: datetime, quiet: QuietHours | None) -> None:
    before = told.get(notice.alert.condition.key)
    assert before != "firing" if notice.kind is NoticeKind.FIRING else before is not None
    if notice.alert.condition.severity is not Severity.CRITICAL and quiet is not None:
        assert not quiet.cover(now)
