"""What is left of a session that lasted for a while does not stay."""

from __future__ import annotations

import asyncio
import gc
import weakref
from datetime import UTC, datetime

import anyio

from mdagent_mcp.cli.garbage import COLLECT_EVERY_S, garbage_collected
from mdagent_mcp.testing import ManualClock


class Circle:
    """Refers to itself, so that no reference count frees it."""

    def __init__(self) -> None:
        self.own = self


async def test_a_circle_that_outlived_young_collections_is_freed_within_a_minute() -> None:
    """It dies old, where the interpreter by itself looks once in twenty million new objects."""
    clock = ManualClock(datetime(2026, 11, 23, 17, 0, tzinfo=UTC))
    async with garbage_collected(clock):
        circle = Circle()
        gc.collect(1)
        gc.collect(1)
        seen = weakref.ref(circle)
        del circle
        gc.collect(1)
        assert seen() is not None
        gc.collect(0)  # as after some calls
        await clock.advance(COLLECT_EVERY_S)
        assert seen() is None


async def test_a_server_that_nobody_asks_is_not_woken_to_collect_and_the_interpreter_gets_its_settings_back() -> None:
    """Nothing was made since, so nothing can be found."""
    clock = ManualClock(datetime(2026, 11, 23, 17, 0, tzinfo=UTC))
    before = gc.get_threshold()
    async with garbage_collected(clock):
        await clock.advance(COLLECT_EVERY_S)
        full = gc.get_stats()[2]["collections"]
        await clock.advance(COLLECT_EVERY_S)
        assert gc.get_stats()[2]["collections"] == full
    assert gc.get_threshold() == before


async def test_the_interpreter_gets_its_settings_back_from_a_server_that_is_cancelled() -> None:
    """As at the end of a client's connection."""
    clock, before = ManualClock(datetime(2026, 11, 23, 17, 0, tzinfo=UTC)), gc.get_threshold()
    with anyio.CancelScope() as scope:
        async with garbage_collected(clock):
            scope.cancel()
            await anyio.sleep_forever()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
    assert [task for task in asyncio.all_tasks() if task.get_name() == "garbage"] == []
