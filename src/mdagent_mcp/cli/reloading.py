"""Settings that change while the server runs: read, build anew, swap whole, take the old one down.

The rule of this module: a call runs to its end on the engine it began with. What cannot be read or built changes
nothing: the old engine goes on, and why is logged and told to whoever asks for the state. So is what was changed but
cannot be taken over while the server runs. A generation is opened and closed by one task, since a context must be left
where it was entered.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from mdagent_mcp.config.changes import in_force
from mdagent_mcp.config.loading import ConfigurationError, Loaded
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.answers import HistoryAnswer, QuoteAnswer, QuotesAnswer, SymbolFailure
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.plans import AskingPlan
from mdagent_mcp.domain.questions import HistoryQuestion, QuoteQuestion
from mdagent_mcp.domain.service import AnswerKind, MarketData, Progress
from mdagent_mcp.domain.status import Overall, SourceStatus

DRAIN_S: Final = 60.0
"""How long the calls of an old engine may take to end; longer than any deadline that is usual."""
CLOSING_S: Final = 4.0
"""How long they may take when the server ends."""
DEBOUNCE_MS: Final = 200
"""An editor writes in several steps; they are one change."""
_NOT_OF_ENGINE: Final = ("http", "log_level")
_log: Final = logging.getLogger("mdagent_mcp")

OpenEngine = Callable[[Settings], AbstractAsyncContextManager[MarketData]]
Changes = Callable[[Loaded], AsyncGenerator[object]]


class Applied(Protocol):
    """Told the settings that took effect, or why new ones did not."""

    def __call__(self, settings: Settings, trouble: str) -> None:
        """With an empty trouble the settings are in effect."""
        ...


@dataclass(frozen=True)
class Reloading:
    """What a reload needs.

    Attributes:
        loaded: the settings to begin with.
        load: reads them anew; raises `ConfigurationError`.
        open_engine: makes the context that holds an engine open.
        changes: yields whenever the settings may have changed.
        clock: time.
        applied: told what became of a change.
        not_taken_over: says what of settings is not in effect in this server as it runs; empty when everything is.
    """

    loaded: Loaded
    load: Callable[[], Loaded]
    open_engine: OpenEngine
    changes: Changes
    clock: Clock
    applied: Applied
    not_taken_over: Callable[[Settings], str] = lambda _: ""


@dataclass(eq=False)
class _Generation:
    """One engine, the calls that run on it, and its end."""

    opened: anyio.Event = field(default_factory=anyio.Event)
    retired: anyio.Event = field(default_factory=anyio.Event)
    idle: anyio.Event = field(default_factory=anyio.Event)
    closed: anyio.Event = field(default_factory=anyio.Event)
    service: MarketData | None = None
    error: Exception | None = None
    calls: int = 0

    async def live(self, open_engine: OpenEngine, settings: Settings, clock: Clock) -> None:
        """Open, serve until retired and idle, close."""
        try:
            async with open_engine(settings) as service:
                self.service = service
                self.opened.set()
                await self.retired.wait()
                if self.calls:
                    await self._drain(clock)
        except (OSError, ValueError) as error:
            if self.opened.is_set():
                raise
            self.error = error
        finally:
            self.opened.set()
            self.closed.set()

    async def _drain(self, clock: Clock) -> None:
        try:
            with clock.limit(DRAIN_S):
                await self.idle.wait()
        except TimeoutError:
            _log.warning("%d calls on the old settings did not end within %.0f s", self.calls, DRAIN_S)

    def done(self) -> None:
        """One call ended."""
        self.calls -= 1
        if self.calls == 0 and self.retired.is_set():
            self.idle.set()


class ReloadingMarketData:
    """A `MarketData` over the engine of the settings in effect; made by `reloading`."""

    def __init__(self, reloading: Reloading, tasks: TaskGroup) -> None:
        self._reloading = reloading
        self._tasks = tasks
        self._loaded = reloading.loaded
        self._in_force = reloading.loaded.settings
        self._current = _Generation()
        self._one_at_a_time = anyio.Lock()
        self._trouble = ""
        self._not_taken_over = ""

    async def start(self) -> None:
        """Open the first engine.

        Raises:
            OSError: when it cannot be opened.
            ValueError: when the settings cannot be used.
        """
        self._current = await self._open(self._in_force)

    async def follow(self) -> None:
        """Reload for ever, whenever the settings may have changed; files that new ones name are followed as well."""
        while True:
            followed = self._loaded.files
            async with aclosing(self._reloading.changes(self._loaded)) as changes:
                async for _ in changes:
                    await self.reload()
                    if self._loaded.files != followed:
                        break
                else:
                    return

    async def reload(self) -> bool:
        """Read the settings and put them into effect, one change after the other; whether that could be done."""
        async with self._one_at_a_time:
            try:
                await self._take_over(await to_thread.run_sync(self._reloading.load))
            except (ConfigurationError, OSError, ValueError) as error:
                self._reject(clean_text(str(error), 300))
                return False
        return True

    async def _take_over(self, loaded: Loaded) -> None:
        wanted = in_force(self._reloading.loaded.settings, loaded.settings)
        if _of_engine(wanted) != _of_engine(self._in_force):
            await self._swap(wanted)
        self._loaded, self._in_force, self._trouble = loaded, wanted, ""
        self._tell_not_taken_over(self._reloading.not_taken_over(loaded.settings))
        self._reloading.applied(wanted, "")

    async def aclose(self) -> None:
        """Let the calls end and close the engine."""
        self._current.retired.set()
        if not self._current.calls:
            self._current.idle.set()
        await self._current.closed.wait()

    @property
    def source_ids(self) -> tuple[str, ...]:
        """The ids of all sources, in listing order."""
        return self._service(self._current).source_ids

    async def quotes(self, question: QuoteQuestion, progress: Progress | None = None) -> QuotesAnswer:
        """Current prices, by the engine that is current now."""
        with self._using() as service:
            return await service.quotes(question, progress)

    async def history(
        self, question: HistoryQuestion, progress: Progress | None = None
    ) -> HistoryAnswer | SymbolFailure:
        """Bars, by the engine that is current now."""
        with self._using() as service:
            return await service.history(question, progress)

    async def source_status(self, source: str | None = None) -> tuple[tuple[SourceStatus, ...], Overall]:
        """What the sources are doing, and whether the settings file is in effect."""
        with self._using() as service:
            statuses, overall = await service.source_status(source)
        return statuses, replace(overall, settings_state=self._trouble or self._not_taken_over or "ok")

    async def explain_evidence(self, evidence_id: str) -> QuoteAnswer | HistoryAnswer | None:
        """The kept answer behind an evidence id."""
        with self._using() as service:
            return await service.explain_evidence(evidence_id)

    async def explain_symbol(self, instrument: Instrument, kind: AnswerKind) -> QuoteAnswer | HistoryAnswer | None:
        """The latest kept answer of this kind."""
        with self._using() as service:
            return await service.explain_symbol(instrument, kind)

    async def memory_graph(self) -> Mapping[str, Any]:
        """What was learned as a graph."""
        with self._using() as service:
            return await service.memory_graph()

    async def memory_of_symbol(self, instrument: Instrument) -> Mapping[str, Any] | None:
        """What was learned about one instrument."""
        with self._using() as service:
            return await service.memory_of_symbol(instrument)

    async def learning(self) -> Mapping[str, Any]:
        """The figures of the latest sessions."""
        with self._using() as service:
            return await service.learning()

    def plans(self) -> tuple[AskingPlan, ...]:
        """The last choices of sources since the settings were changed, the latest first."""
        return self._service(self._current).plans()

    def known_symbols(self) -> tuple[str, ...]:
        """Symbols that earlier answers were about, the latest first."""
        return self._service(self._current).known_symbols()

    async def _open(self, settings: Settings) -> _Generation:
        generation = _Generation()
        self._tasks.start_soon(generation.live, self._reloading.open_engine, settings, self._reloading.clock)
        await generation.opened.wait()
        if generation.error is not None:
            raise generation.error
        return generation

    async def _swap(self, settings: Settings) -> None:
        fresh = await self._open(settings)
        old, self._current = self._current, fresh
        old.retired.set()

    def _reject(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning("the settings were not changed: %s", trouble)
        self._trouble = trouble
        self._reloading.applied(self._in_force, trouble)

    def _tell_not_taken_over(self, told: str) -> None:
        if told and told != self._not_taken_over:
            _log.warning("settings were changed that are not in effect: %s", told)
        self._not_taken_over = told

    @contextmanager
    def _using(self) -> Iterator[MarketData]:
        generation = self._current
        generation.calls += 1
        try:
            yield self._service(generation)
        finally:
            generation.done()

    def _service(self, generation: _Generation) -> MarketData:
        if generation.service is None:
            raise RuntimeError("the engine is used before it was opened")
        return generation.service


def _of_engine(settings: Settings) -> Settings:
    """Without what no engine depends on: a new token or level of the log keeps a warm cache warm."""
    return settings.model_copy(update=dict.fromkeys(_NOT_OF_ENGINE))


@asynccontextmanager
async def reloading(parts: Reloading) -> AsyncIterator[ReloadingMarketData]:
    """The engine of the settings in effect, which follow their file during the body.

    Raises:
        OSError: when the first engine cannot be opened.
    """
    async with anyio.create_task_group() as tasks:
        service = ReloadingMarketData(parts, tasks)
        await service.start()
        async with anyio.create_task_group() as following:
            following.start_soon(service.follow)
            try:
                yield service
            finally:
                following.cancel_scope.cancel()
        with anyio.CancelScope(shield=True), suppress(TimeoutError), parts.clock.limit(CLOSING_S):
            await service.aclose()
        tasks.cancel_scope.cancel()


async def file_changes(loaded: Loaded) -> AsyncGenerator[object]:
    """Yields when the settings file, or a file that holds a secret, was written, replaced or made anew.

    And once soon after the beginning, for what was written before the operating system watched. Files that are links
    into a folder which is swapped whole, as Kubernetes mounts them, are followed as well.
    """
    if not loaded.files:
        return
    from watchfiles import awatch  # noqa: PLC0415 - once the server runs

    names = {file.name for file in loaded.files} | {"..data"}
    folders = {file.absolute().parent for file in loaded.files}
    watching = awatch(
        *folders,
        watch_filter=lambda _, path: Path(path).name in names,
        debounce=DEBOUNCE_MS,
        step=DEBOUNCE_MS // 4,
        recursive=False,
        ignore_permission_denied=True,
        rust_timeout=1000,
        yield_on_timeout=True,
    )
    looked = False
    async with aclosing(watching):
        async for change in watching:
            if change or not looked:
                yield change
            looked = True
