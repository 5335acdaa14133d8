"""One session of one arm in one world: the real engine over the real memory on disk, under a clock that jumps.

What a session is worth is counted where routing decides: right and confirmed answers, the time one waits, and every
call that is paid for, those included that nobody waited for.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from learning_world import SOURCES, SYMBOLS, Kind, Line, Position, World, vendor
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.events import Event, Fetched, Judged
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.quality import Grade, at_least
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.parts import EngineParts
from mdagent_mcp.engine.ports import AskedSource
from mdagent_mcp.engine.quotes import QuoteEngine
from mdagent_mcp.engine.router import Expected, Router
from mdagent_mcp.memory.store import Memory, MemoryOptions, open_memory
from mdagent_mcp.monitoring.bus import EventBus
from mdagent_mcp.routing.planning import COST_WEIGHT, LATENCY_WEIGHT
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.source import Source, SourceOptions

RIGHT: Final = 10e-4
"""Greatest relative distance of a right answer from the true price of its instant."""
HALF_RIGHT: Final = 0.5
"""What a right price is worth that is late or that nobody confirms."""
BETWEEN_S: Final = 12.0
"""Mean time between two questions."""
FLUSH_EVERY: Final = 10
_ROUNDS: Final = 12
_NEVER_BY_ITSELF: Final = MemoryOptions(flush_s=1e7, flush_entries=10**9)
"""Memory is written at fixed questions, so that a run does not depend on how fast the disk is."""


class Arm(StrEnum):
    """What a session begins with."""

    PERSIST = "persist"
    """What the sessions before it learned."""
    COLD = "cold"
    """Nothing."""
    SHUFFLED = "shuffled"
    """The same rows as `persist`, each source's under the name of another: a placebo."""
    ORACLE = "oracle"
    """The truth about every source."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one question.

    Attributes:
        worth: `ok` less waiting less calls.
        ok: 1 for a right price of grade A or B, a half for a right one that is late or unconfirmed, else 0.
        grade: of the answer; None without one.
        right: whether the price was true.
        calls: sent because of it.
        cost: of these calls.
        elapsed_s: how long the asker waited.
        rejected: sources that were called wrong, and how many of them had been right.
    """

    worth: float
    ok: float
    grade: Grade | None
    right: bool
    calls: int
    cost: float
    elapsed_s: float
    rejected: tuple[int, int]


class JumpingClock(ManualClock):
    """A hand-turned clock that jumps to the next instant at which something is due."""

    async def jump(self, most_s: float) -> None:
        """Turn to whatever falls due next, at most so far."""
        due = self._due[0][0] - self._elapsed if self._due else most_s
        await self.advance(min(max(due, 0.0), most_s))


class OracleRouter(Router):
    """Expects of every source exactly what it is."""

    truth: Callable[[str], Kind]

    def expected(
        self,
        source: AskedSource,
        instrument: Instrument,  # noqa: ARG002 - these worlds have one kind of instrument
        endpoint: Endpoint,  # noqa: ARG002 - and one kind of call
        limit_s: float,
    ) -> Expected:
        """The truth."""
        kind = self.truth(source.vendor.id)
        return Expected(
            trust=(1.0 - kind.fails) * (1.0 - kind.wrong),
            fresh=0.97 if kind.lag_s < limit_s / 2 else 0.03,
            current=0.99 if kind.lag_s < 15.0 else 0.01,
            complete=1.0 if kind.complete else 0.0,
            latency_s=kind.latency_s * 1.1,
        )


@dataclass
class _Tally:
    """What happened since the last question began."""

    world: World
    clock: Clock
    calls: int = 0
    cost: float = 0.0
    rejected: int = 0
    falsely: int = 0
    lines: dict[str, Line] = field(default_factory=dict)

    def listen(self, event: Event) -> None:
        if isinstance(event, Fetched):
            self.calls += 1
            self.cost += self.world.costs[event.source]
        elif isinstance(event, Judged) and event.agreed is False:
            self.rejected += 1
            self.falsely += not self.lines[event.source].said_wrong

    def begin(self) -> None:
        self.calls, self.cost, self.rejected, self.falsely = 0, 0.0, 0, 0


async def session(world: World, number: int, arm: Arm, path: Path | None, questions: int) -> list[Outcome]:
    """Ask so many questions in a session that begins with what is stored at `path`, which is closed again after it."""
    clock = JumpingClock(world.begins(number), settle_rounds=_ROUNDS)
    position = Position(number, 0, questions)
    tally = _Tally(world, clock)
    outcomes = []
    async with _engine(_Stage(world, clock, position, tally), arm, path) as (engine, memory):
        rng = world.draw("questions", number)
        for question in range(questions):
            position.question = question
            tally.begin()
            outcomes.append(await _ask(engine, clock, tally, rng.choice(SYMBOLS)))
            if question % FLUSH_EVERY == FLUSH_EVERY - 1:
                await memory.flush()
            await clock.advance(rng.expovariate(1.0 / BETWEEN_S))
    return outcomes


async def _ask(engine: QuoteEngine, clock: JumpingClock, tally: _Tally, symbol: str) -> Outcome:
    asked = QuoteQuestion((parse_symbol(symbol),), max_age_s=0.0)
    started, ended = clock.monotonic(), []
    told = []

    async def run() -> None:
        told.append(await engine.answer(asked))
        ended.append(clock.monotonic())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await checkpoint()
        while not told:
            await clock.jump(15.0)
    elapsed_s = ended[0] - started
    # What is still under way is waited for, and paid for: it was this question that asked.
    await clock.advance(6.0)
    answer = told[0].quotes[0] if told[0].quotes else None
    grade, right = None, False
    if answer is not None:
        grade = answer.grade
        right = abs(answer.price / tally.world.price(symbol, answer.price_time or answer.judged_at) - 1.0) <= RIGHT
    confirmed = grade is not None and at_least(grade, Grade.B)
    ok = (1.0 if confirmed else HALF_RIGHT) if right else 0.0
    worth = ok - LATENCY_WEIGHT * elapsed_s - COST_WEIGHT * tally.cost
    return Outcome(worth, ok, grade, right, tally.calls, tally.cost, elapsed_s, (tally.rejected, tally.falsely))


@dataclass(frozen=True, slots=True)
class _Stage:
    world: World
    clock: JumpingClock
    position: Position
    tally: _Tally

    def source(self, name: str, bus: EventBus, rng: random.Random) -> Source:
        """A source as the product has it, over a simulated line."""
        declared = vendor(name)
        client = VendorClient(declared, host_sets(declared, []), None, self.clock, self._line)
        options = SourceOptions(cost_per_call=self.world.costs[name])
        return Source(declared, options, client, clock=self.clock, emit=bus.emit, rng=rng)

    def _line(self, name: str) -> Line:
        self.tally.lines[name] = Line(self.world, name, self.clock, self.position)
        return self.tally.lines[name]


@asynccontextmanager
async def _engine(stage: _Stage, arm: Arm, path: Path | None) -> AsyncIterator[tuple[QuoteEngine, Memory]]:
    clock, number = stage.clock, stage.position.session
    rng = stage.world.draw("engine", number)
    bus = EventBus()
    async with open_memory(path, clock, _NEVER_BY_ITSELF) as memory, anyio.create_task_group() as background:
        bus.listen(memory.listen)
        bus.listen(stage.tally.listen)
        sources = {name: stage.source(name, bus, rng) for name in SOURCES}
        parts = EngineParts(
            sources=sources, clock=clock, memory=memory, emit=bus.emit, spawn=background.start_soon, rng=rng
        )
        if arm is Arm.ORACLE:
            oracle = OracleRouter(clock, memory, parts.thresholds, parts.caution)
            oracle.truth = lambda name: stage.world.kind(name, number)
            parts.__dict__["router"] = oracle  # in the place of the cached property
        yield QuoteEngine(parts), memory
        background.cancel_scope.cancel()
        for source in sources.values():
            await source.aclose()


def shuffled_copy(stored: Path, copy: Path, renamed: Mapping[str, str]) -> None:
    """A copy of a memory in which every source's rows stand under another source's name."""
    shutil.copyfile(stored, copy)
    with closing(sqlite3.connect(copy)) as connection, connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            if "source" in columns:
                place = columns.index("source")
                rows = [list(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 - own tables
                for row in rows:
                    row[place] = renamed.get(row[place], row[place])
                marks = ",".join("?" for _ in columns)
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - own tables
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - own tables
