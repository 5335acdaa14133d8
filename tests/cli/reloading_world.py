"""Engines that know whether they are open, and a settings file whose content a test sets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
from anyio import lowlevel

from mdagent_mcp.cli.reloading import Reloading, ReloadingMarketData
from mdagent_mcp.config.loading import Loaded, load
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.answers import QuotesAnswer
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.domain.service import MarketData, Progress
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


def begun(folder: Path) -> World:
    """With a deadline of 8 s."""
    made = World(folder / "mdagent.toml")
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
