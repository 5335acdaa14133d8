"""Behaviour of shared work."""

from __future__ import annotations

import logging

import anyio
import pytest

from mdagent_mcp.engine.flight import SingleFlight, WorkFailedError


async def test_equal_questions_share_one_piece_of_work() -> None:
    """Fifty askers, one call, one result."""
    started, release, results = [], anyio.Event(), []

    async def work() -> int:
        started.append(1)
        await release.wait()
        return 42

    async with anyio.create_task_group() as tasks:
        flights: SingleFlight[str, int] = SingleFlight(tasks.start_soon)

        async def ask() -> None:
            results.append(await flights.run("AAPL", work))

        for _ in range(50):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert len(started) == 1
        release.set()
    assert results == [42] * 50


async def test_the_first_askers_cancellation_does_not_hurt_the_others() -> None:
    """The work belongs to all who wait for it."""
    release, results = anyio.Event(), []

    async def work() -> int:
        await release.wait()
        return 7

    async with anyio.create_task_group() as tasks:
        flights: SingleFlight[str, int] = SingleFlight(tasks.start_soon)
        leader = anyio.CancelScope()

        async def ask(scope: anyio.CancelScope) -> None:
            with scope:
                results.append(await flights.run("AAPL", work))

        tasks.start_soon(ask, leader)
        tasks.start_soon(ask, anyio.CancelScope())
        await anyio.wait_all_tasks_blocked()
        leader.cancel()
        await anyio.wait_all_tasks_blocked()
        release.set()
    assert results == [7]


async def test_work_that_nobody_waits_for_is_cancelled() -> None:
    """When the last asker has gone the calls to vendors end, and the next asker starts anew."""
    ended = []

    async def work() -> int:
        try:
            await anyio.Event().wait()
        finally:
            ended.append("cancelled")
        raise AssertionError

    async def other_work() -> int:
        return 1

    async with anyio.create_task_group() as tasks:
        flights: SingleFlight[str, int] = SingleFlight(tasks.start_soon)
        with anyio.move_on_after(0):
            await flights.run("AAPL", work)
        await anyio.wait_all_tasks_blocked()
        assert ended == ["cancelled"]
        assert await flights.run("AAPL", other_work) == 1


async def test_work_that_raises_is_logged_and_told_to_every_asker(caplog: pytest.LogCaptureFixture) -> None:
    """A fault in shared work never takes the application down."""

    async def work() -> int:
        raise RuntimeError("a bug")

    async with anyio.create_task_group() as tasks:
        flights: SingleFlight[str, int] = SingleFlight(tasks.start_soon)
        with caplog.at_level(logging.ERROR), pytest.raises(WorkFailedError):
            await flights.run("AAPL", work)
    assert "a bug" in caplog.text
