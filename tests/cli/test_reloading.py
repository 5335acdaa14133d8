"""Settings that change under a running server."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import lowlevel

from mdagent_mcp.cli.reloading import Reloading, ReloadingMarketData, file_changes, reloading
from mdagent_mcp.cli.simulation import is_replaced
from mdagent_mcp.cli.watching import Watching
from mdagent_mcp.config.loading import ConfigurationError, Loaded, load
from mdagent_mcp.config.settings import SOURCE_IDS, Settings
from mdagent_mcp.domain.answers import QuotesAnswer
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.domain.service import MarketData, Progress
from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.testing import ManualClock
from server.fake_market_data import FakeMarketData

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
QUESTION = QuoteQuestion((parse_symbol("AAPL"),))


class Engine(FakeMarketData):
    """An engine whose quotes wait until they may answer, and which knows whether it is open."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.is_open = True
        self.may_answer = anyio.Event()
        self.may_answer.set()
        self.answered = 0

    async def quotes(self, question: QuoteQuestion, progress: Progress | None = None) -> QuotesAnswer:
        """Answer once allowed; never on a closed engine."""
        await self.may_answer.wait()
        assert self.is_open
        self.answered += 1
        return await super().quotes(question, progress)


class World:
    """A settings file whose content a test sets, and the engines made of it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.engines: list[Engine] = []
        self.told: list[str] = []
        self.fails = False
        self.applied_settings: list[Settings] = []
        self.building: list[float] = []
        self.may_open = anyio.Event()
        self.may_open.set()

    def write(self, text: str) -> None:
        """Write the settings."""
        self.file.write_text(text, encoding="utf-8")

    def load(self) -> Loaded:
        """Read them."""
        return load({}, config=self.file)

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator[MarketData]:
        """Open an engine."""
        if self.fails:
            raise OSError("no room")
        self.building += [settings.engine.deadline_s] if self.engines else []
        await self.may_open.wait()
        engine = Engine(settings)
        self.engines.append(engine)
        try:
            yield engine
        finally:
            engine.is_open = False

    def applied(self, settings: Settings, trouble: str) -> None:
        """Note what became of a change."""
        self.told.append(trouble)
        self.applied_settings += [] if trouble else [settings]

    async def no_changes(self, loaded: Loaded) -> AsyncGenerator[object]:
        """Nothing by itself."""
        await anyio.Event().wait()
        yield loaded

    def parts(self, clock: ManualClock | SystemClock | None = None) -> Reloading:
        """For the service under test."""
        return Reloading(self.load(), self.load, self.open, self.no_changes, clock or SystemClock(), self.applied)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With a deadline of 8 s."""
    made = World(tmp_path / "mdagent.toml")
    made.write("[engine]\ndeadline_s = 8\n")
    return made


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something is so that nothing announces."""
    with anyio.fail_after(20):
        while not condition():
            await lowlevel.checkpoint()


async def state(service: ReloadingMarketData) -> str:
    """What source_status says of the settings."""
    return (await service.source_status())[1].settings_state


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


async def test_of_two_edits_at_once_the_later_one_holds(world: World) -> None:
    """Also where the first takes longer to build; calls go on meanwhile, and each engine is closed but the last."""
    async with reloading(world.parts()) as service, anyio.create_task_group() as edits:
        world.may_open = anyio.Event()
        world.write("[engine]\ndeadline_s = 5\n")
        edits.start_soon(service.reload)
        await until(lambda: world.building == [5.0])
        world.write("[engine]\ndeadline_s = 6\n")
        edits.start_soon(service.reload)
        await service.quotes(QUESTION)
        assert [(e.settings.engine.deadline_s, e.answered) for e in world.engines] == [(8.0, 1)]
        world.may_open.set()
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
