"""Settings that change under a running server."""

from __future__ import annotations

import random
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio import lowlevel

from cli.reloading_world import NOON, QUESTION, World, begun, state
from mdagent_mcp.cli.reloading import file_changes, reloading
from mdagent_mcp.config.loading import ConfigurationError, load
from mdagent_mcp.testing import ManualClock


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With a deadline of 8 s."""
    return begun(tmp_path)


async def test_a_change_is_served_by_a_new_engine_and_a_call_ends_on_the_one_it_began_with(world: World) -> None:
    """The old one is closed when its last call has ended, and not before."""
    async with reloading(world.parts()) as service, anyio.create_task_group() as calls:
        world.engines[0].may_answer = anyio.Event()
        calls.start_soon(service.quotes, QUESTION)
        await anyio.wait_all_tasks_blocked()
        world.write("[engine]\ndeadline_s = 5\n")
        assert await service.reload()
        await service.quotes(QUESTION)
        assert [(e.settings.engine.deadline_s, e.is_open, e.answered) for e in world.engines] == [
            (8.0, True, 0),
            (5.0, True, 1),
        ]
        world.engines[0].may_answer.set()
        await anyio.wait_all_tasks_blocked()
        assert [(e.is_open, e.answered) for e in world.engines] == [(False, 1), (True, 1)]
    assert not any(engine.is_open for engine in world.engines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[engine\n", "is not TOML"),
        ("[engine]\ndeadline_s = -1\n", "engine.deadline_s"),
        ("[engin]\ndeadline_s = 1\n", "did you mean 'engine'"),
        ("", ""),
    ],
)
async def test_settings_that_cannot_be_used_change_nothing_and_are_told(world: World, text: str, told: str) -> None:
    """By source_status, until the file is mended."""
    async with reloading(world.parts()) as service:
        world.write(text)
        assert await service.reload() is (told == "")
        assert told in await state(service)
        assert len(world.engines) == (2 if told == "" else 1)
        await service.quotes(QUESTION)
        world.write("[engine]\ndeadline_s = 8\n")
        assert await service.reload()
        assert await state(service) == "ok"


async def test_an_engine_that_cannot_be_built_leaves_the_old_one_in_place(world: World) -> None:
    """Such as over a data directory that cannot be used."""
    async with reloading(world.parts()) as service:
        world.fails = True
        world.write("[engine]\ndeadline_s = 5\n")
        assert not await service.reload()
        assert await state(service) == "no room"
        await service.quotes(QUESTION)
        world.fails = False
        assert await service.reload()
        assert [engine.settings.engine.deadline_s for engine in world.engines] == [8.0, 5.0]


async def test_a_file_that_says_the_same_builds_nothing(world: World) -> None:
    """A comment is no change; a cache that is warm stays warm."""
    async with reloading(world.parts()) as service:
        world.write("# the same\n[engine]\ndeadline_s = 8.0\n")
        assert await service.reload()
        assert len(world.engines) == 1


async def test_a_file_that_vanishes_leaves_the_old_settings_in_effect(world: World) -> None:
    """An editor may remove it before it writes it anew."""
    async with reloading(world.parts()) as service:
        world.file.unlink()
        assert not await service.reload()
        assert "no such settings file" in await state(service)


async def test_a_call_that_never_ends_holds_an_old_engine_for_a_minute_at_most(world: World) -> None:
    """By a hand-turned clock; then it is closed under the call."""
    clock = ManualClock(NOON)
    async with reloading(world.parts(clock)) as service, anyio.create_task_group() as calls:
        world.engines[0].may_answer = anyio.Event()
        calls.start_soon(service.quotes, QUESTION)
        await anyio.wait_all_tasks_blocked()
        world.write("[engine]\ndeadline_s = 5\n")
        await service.reload()
        await clock.advance(59)
        still_open = [world.engines[0].is_open]
        await clock.advance(2)
        assert [*still_open, world.engines[0].is_open] == [True, False]
        calls.cancel_scope.cancel()


async def test_a_thousand_random_broken_edits_never_take_effect_and_lose_no_call(world: World) -> None:
    """Under calls that go on all the while; every tenth edit is sound and takes effect."""
    rng = random.Random(20261127)
    good = "[engine]\ndeadline_s = {}\n[sources.yahoo]\nenabled = true\ntimeout_s = 3\n[cache]\nentries = 50\n"
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while True:
            await service.quotes(QUESTION)
            answered += 1
            await lowlevel.checkpoint()

    async with reloading(world.parts()) as service, anyio.create_task_group() as calls:
        for _ in range(4):
            calls.start_soon(ask)
        effective = 8.0
        for number in range(1100):
            deadline = 1.0 + number / 100
            text = good.format(deadline)
            sound = number % 11 == 0
            world.write(text if sound else broken(text, rng))
            before = len(world.engines)
            try:
                now = world.load().settings.engine.deadline_s
            except ConfigurationError:
                now = None
            assert await service.reload() is (now is not None)
            effective = effective if now is None else now
            assert world.engines[-1].settings.engine.deadline_s == effective
            assert len(world.engines) - before <= 1
        calls.cancel_scope.cancel()
    assert answered > 1100
    assert sum(engine.answered for engine in world.engines) == answered


def broken(text: str, rng: random.Random) -> str:
    """Settings with something wrong in them: cut off, a stray byte, a wrong name or value."""
    place = rng.randrange(1, len(text) - 1)
    return rng.choice(
        [
            text[:place] + "\x00" + text[place:],
            text + '[sources.yaho]\nenabled = "perhaps"\n',
            text.replace("deadline_s = ", "deadline_s = -"),
            text.replace("entries = 50", "entries = many"),
            text.replace("timeout_s", "timeout"),
            text + "[engine]\ndeadline_s = 3\n",
            text.replace("enabled = true", "enabled = 7"),
            "]" + text,
        ]
    )


async def test_a_written_a_replaced_and_a_secret_file_are_noticed(tmp_path: Path) -> None:
    """By the real watch over a real folder; another file in it is not."""
    file, secret = tmp_path / "mdagent.toml", tmp_path / "key"
    file.write_text("[engine]\ndeadline_s = 8\n", encoding="utf-8")
    secret.write_text("one", encoding="utf-8")
    loaded = load({"FINNHUB_API_KEY_FILE": str(secret)}, config=file)
    noticed = 0

    async def watch() -> None:
        nonlocal noticed
        async for change in file_changes(loaded):
            noticed += bool(change)

    async def until(count: int) -> None:
        with anyio.fail_after(20):
            while noticed < count:  # noqa: ASYNC110 - the operating system tells
                await anyio.sleep(0.05)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await anyio.sleep(0.5)
        (tmp_path / "other.txt").write_text("x", encoding="utf-8")
        file.write_text("[engine]\ndeadline_s = 7\n", encoding="utf-8")
        await until(1)
        fresh = tmp_path / "mdagent.toml.new"
        fresh.write_text("[engine]\ndeadline_s = 6\n", encoding="utf-8")
        fresh.replace(file)
        await until(2)
        secret.write_text("two", encoding="utf-8")
        await until(3)
        await anyio.sleep(0.5)
        tasks.cancel_scope.cancel()
    assert noticed == 3


async def test_what_was_written_before_the_watch_began_is_looked_at_soon_after(tmp_path: Path) -> None:
    """Between reading the settings and watching their folder an edit would go unnoticed until the next one."""
    file = tmp_path / "mdagent.toml"
    file.write_text("", encoding="utf-8")
    with anyio.fail_after(20):
        async with aclosing(file_changes(load({}, config=file))) as changes:
            assert not await anext(changes)


async def test_without_a_file_there_is_nothing_to_follow() -> None:
    """The watch ends by itself."""
    assert [change async for change in file_changes(replace(load({}), file=None))] == []
