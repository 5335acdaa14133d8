"""The hand-turned clock: nothing waits, everything falls due in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from mdagent_mcp.testing import ManualClock

START = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


async def test_the_clock_stands_still_until_it_is_turned() -> None:
    """Both hands move together."""
    clock = ManualClock(START)
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    await clock.advance(90.5)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=90.5), 90.5)


async def test_sleepers_wake_in_the_order_in_which_they_fall_due() -> None:
    """And each sees the time at which it fell due, not that of the turn's end."""
    clock = ManualClock(START)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with anyio.create_task_group() as tasks:
        for name, seconds in (("late", 30.0), ("early", 10.0), ("too late", 100.0), ("as early", 10.0)):
            tasks.start_soon(sleeper, name, seconds)
        await clock.advance(50.0)
        assert woken == [("early", 10.0), ("as early", 10.0), ("late", 30.0)]
        await clock.advance(50.0)
    assert woken[-1] == ("too late", 100.0)


async def test_a_sleep_that_begins_while_the_clock_turns_counts_from_its_own_beginning() -> None:
    """Three naps of ten seconds within one turn of half a minute."""
    clock = ManualClock(START)
    woken: list[float] = []

    async def napper() -> None:
        for _ in range(3):
            await clock.sleep(10.0)
            woken.append(clock.monotonic())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(napper)
        await clock.advance(30.0)
    assert woken == [10.0, 20.0, 30.0]


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_no_sleep_returns_at_once(seconds: float) -> None:
    """Without any turn."""
    clock = ManualClock(START)
    await clock.sleep(seconds)
    assert clock.monotonic() == 0.0


async def test_a_limit_cuts_its_body_short_when_the_time_has_come() -> None:
    """With a TimeoutError, at the limit and not before."""
    clock = ManualClock(START)
    ended: list[tuple[str, float]] = []

    async def limited() -> None:
        try:
            with clock.limit(5.0):
                await clock.sleep(60.0)
        except TimeoutError:
            ended.append(("cut", clock.monotonic()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limited)
        await clock.advance(4.9)
        assert ended == []
        await clock.advance(1.0)
        assert ended == [("cut", 5.0)]


async def test_a_body_that_ends_in_time_is_left_alone() -> None:
    """Later turns do not reach back."""
    clock = ManualClock(START)
    with clock.limit(5.0):
        await clock.sleep(0.0)
    await clock.advance(10.0)
    assert clock.monotonic() == 10.0


async def test_a_limit_of_nothing_cuts_at_the_first_wait() -> None:
    """There is no time left."""
    clock = ManualClock(START)
    with pytest.raises(TimeoutError), clock.limit(0.0):
        await clock.sleep(1.0)


async def test_of_nested_limits_the_shorter_one_raises() -> None:
    """The outer one goes on."""
    clock = ManualClock(START)
    outcome: list[str] = []

    async def nested() -> None:
        with clock.limit(60.0):
            try:
                with clock.limit(5.0):
                    await clock.sleep(100.0)
            except TimeoutError:
                outcome.append("inner")
            await clock.sleep(1.0)
            outcome.append("went on")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(nested)
        await clock.advance(10.0)
    assert outcome == ["inner", "went on"]


async def test_the_wall_clock_may_jump_without_waking_anybody() -> None:
    """As when somebody sets the system time."""
    clock = ManualClock(START)
    woken: list[bool] = []

    async def sleeper() -> None:
        await clock.sleep(10.0)
        woken.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper)
        await clock.settle()
        clock.jump_to(START + timedelta(days=1))
        await clock.settle()
        assert (woken, clock.monotonic(), clock.now()) == ([], 0.0, START + timedelta(days=1))
        await clock.advance(10.0)
    assert clock.now() == START + timedelta(days=1, seconds=10)


def test_only_utc_is_accepted() -> None:
    """At the start and on a jump."""
    with pytest.raises(ValueError, match="start must be an aware datetime in UTC"):
        ManualClock(START.replace(tzinfo=None))
    with pytest.raises(ValueError, match="instant must be an aware datetime in UTC"):
        ManualClock(START).jump_to(START.replace(tzinfo=None))
