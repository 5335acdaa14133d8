"""Edits that meet: two at once, one while calls still end, one as the server ends; and what an edit leaves alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from cli.reloading_world import QUESTION, World, begun, state, until
from mdagent_mcp.cli.reloading import reloading
from mdagent_mcp.cli.simulation import is_replaced
from mdagent_mcp.cli.watching import Watching
from mdagent_mcp.config.loading import Loaded
from mdagent_mcp.config.settings import SOURCE_IDS, Settings
from mdagent_mcp.domain.answers import QuotesAnswer
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.monitoring.alert_watch import Alerts


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With a deadline of 8 s."""
    return begun(tmp_path)


async def test_of_two_edits_at_once_the_later_one_holds(world: World) -> None:
    """Also where the first takes longer to build; calls go on meanwhile, and each engine is closed but the last."""
    async with reloading(world.parts()) as service, anyio.create_task_group() as edits:
        first_may_open = world.may_open = anyio.Event()
        world.write("[engine]\ndeadline_s = 5\n")
        edits.start_soon(service.reload)
        await until(lambda: world.building == [5.0])
        world.write("[engine]\ndeadline_s = 6\n")
        world.may_open = anyio.Event()
        world.may_open.set()
        edits.start_soon(service.reload)
        await anyio.wait_all_tasks_blocked()
        await service.quotes(QUESTION)
        assert [(e.settings.engine.deadline_s, e.answered) for e in world.engines] == [(8.0, 1)]
        first_may_open.set()
        await until(lambda: world.building == [5.0, 6.0] and len(world.engines) == 3)
        await anyio.wait_all_tasks_blocked()
        await service.quotes(QUESTION)
        assert [(e.settings.engine.deadline_s, e.is_open, e.answered) for e in world.engines] == [
            (8.0, False, 1),
            (5.0, False, 0),
            (6.0, True, 1),
        ]


async def test_an_edit_while_calls_of_an_older_engine_still_end_begins_a_third(world: World) -> None:
    """Each of the old ones is closed when its own last call has ended."""
    async with reloading(world.parts()) as service, anyio.create_task_group() as calls:
        for deadline in (5, 6):
            world.engines[-1].may_answer = anyio.Event()
            calls.start_soon(service.quotes, QUESTION)
            await anyio.wait_all_tasks_blocked()
            world.write(f"[engine]\ndeadline_s = {deadline}\n")
            assert await service.reload()
        await service.quotes(QUESTION)
        seen = []
        for engine in (world.engines[1], world.engines[0]):
            seen.append([e.is_open for e in world.engines])
            engine.may_answer.set()
            await anyio.wait_all_tasks_blocked()
        assert seen == [[True, True, True], [True, False, True]]
        assert [(e.is_open, e.answered) for e in world.engines] == [(False, 1), (False, 1), (True, 1)]


async def test_an_edit_that_is_being_built_when_the_server_ends_costs_no_call(world: World) -> None:
    """The call under way ends on the engine it began with; the new one is never used."""
    answers: list[QuotesAnswer] = []
    async with (
        anyio.create_task_group() as calls,
        reloading(world.parts()) as service,
        anyio.create_task_group() as edits,
    ):
        world.engines[0].may_answer = anyio.Event()

        async def ask() -> None:
            answers.append(await service.quotes(QUESTION))

        calls.start_soon(ask)
        world.may_open = anyio.Event()
        world.write("[engine]\ndeadline_s = 5\n")
        edits.start_soon(service.reload)
        await until(lambda: world.building == [5.0])
        edits.cancel_scope.cancel()
        calls.start_soon(_set_later, world.engines[0].may_answer)
    assert len(answers) == 1
    assert [(e.is_open, e.answered) for e in world.engines] == [(False, 1)]


def _has_told(world: World, times: int) -> bool:
    return len(world.told) >= times


async def _set_later(event: anyio.Event) -> None:
    await anyio.wait_all_tasks_blocked()
    event.set()


async def test_a_secret_that_the_file_names_later_is_followed_as_well(world: World, tmp_path: Path) -> None:
    """Its place is watched from then on, and no longer once the file does not name it."""
    secret = tmp_path / "elsewhere" / "key"
    secret.parent.mkdir()
    secret.write_text("one", encoding="utf-8")
    told, changes = anyio.create_memory_object_stream[None](0)
    followed: list[tuple[Path, ...]] = []

    async def watched(loaded: Loaded) -> AsyncGenerator[object]:
        followed.append(loaded.files)
        while True:
            await changes.receive()
            yield loaded

    with told, changes:
        async with reloading(replace(world.parts(), changes=watched)):
            for text in (f'[sources.finnhub]\napi_key = "file:{secret}"\n', "", ""):
                world.write(text)
                await told.send(None)
                await until(partial(_has_told, world, len(world.told) + 1))
            await anyio.wait_all_tasks_blocked()
    assert followed == [(world.file,), (world.file, secret), (world.file,)]


async def test_what_no_engine_depends_on_builds_none(world: World) -> None:
    """A token that is withdrawn costs no warm cache; whoever follows the settings is told."""
    async with reloading(world.parts()) as service:
        world.write(f'log_level = "info"\n[engine]\ndeadline_s = 8\n[http.tokens]\nalice = "sha256:{"0" * 64}"\n')
        assert await service.reload()
        assert len(world.engines) == 1
        assert [(list(s.http.tokens), s.log_level) for s in world.applied_settings] == [(["alice"], "info")]


async def test_what_is_read_at_the_start_is_kept_and_told_until_it_is_as_it_began(world: World) -> None:
    """Neither the engine nor whoever follows the settings sees a half of it; a broken file is told before it."""
    watching = Watching(world.load(), world.load, Alerts(SystemClock()), over_http=True)
    parts = replace(world.parts(), not_taken_over=partial(watching.not_taken_over, is_replaced=lambda _: False))
    begun = Settings().http
    async with reloading(parts) as service:
        world.write("[http]\nport = 8001\ndrain_s = 3\nburst = 5\n[engine]\ndeadline_s = 5\n")
        assert await service.reload()
        assert await state(service) == "read at the next start: http.port, http.drain_s"
        assert world.engines[-1].settings.engine.deadline_s == 5.0
        for settings in (world.engines[-1].settings, world.applied_settings[-1]):
            assert settings.http == begun.model_copy(update={"burst": 5.0})
        world.write("[http\n")
        assert not await service.reload()
        assert "is not TOML" in await state(service)
        world.write("[http]\nburst = 5\n")
        assert await service.reload()
        assert await state(service) == "ok"


@pytest.mark.parametrize(
    ("over_http", "told"),
    [
        (False, "used by serve --http alone: http.port, http.burst; read at the next start: tracing.otlp_url"),
        (True, "read at the next start: tracing.otlp_url, http.port"),
    ],
)
def test_a_change_that_means_nothing_to_this_server_is_told(world: World, told: str, *, over_http: bool) -> None:
    """On stdio nothing listens; a simulated market has no keys and addresses; many names are not all told."""
    watching = Watching(world.load(), world.load, Alerts(SystemClock()), over_http=over_http)
    world.write('tracing.otlp_url = "http://127.0.0.1:4318"\n[http]\nport = 1\nburst = 5\n')
    assert sorted(watching.not_taken_over(world.load().settings, is_replaced).split("; ")) == sorted(told.split("; "))
    keys = "".join(f'[sources.{s}]\napi_key = "k"\nbase_url = "http://127.0.0.1"\n' for s in SOURCE_IDS[:5])
    world.write(f"{keys}enabled = false\n")
    assert watching.not_taken_over(world.load().settings, is_replaced) == (
        "not used with --sandbox: "
        + ", ".join(f"sources.{source}.{name}" for source in SOURCE_IDS[:4] for name in ("api_key", "base_url"))
        + ", and 2 more"
    )
    assert watching.not_taken_over(world.load().settings, lambda _: False) == ""
