"""Memory's store put to the test: killed, shared, filled. Run a part by its name; all print what they promised.

python benchmarks/memory_store.py kill --kills 200         # SIGKILL at random moments of heavy writing
python benchmarks/memory_store.py processes --seconds 60   # four processes on one file, counts against their sum
python benchmarks/memory_store.py postgres --seconds 60    # the same on a PostgreSQL server
python benchmarks/memory_store.py size                     # 10,000 symbols x 9 sources: start, RAM, cached calls
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mcp import Client

from mdagent_mcp.app import open_app
from mdagent_mcp.cli.simulation import simulated_settings
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.events import Fetched
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.service import Engine
from mdagent_mcp.memory.backlog import BacklogLimits
from mdagent_mcp.memory.store import Memory, MemoryOptions, open_memory
from mdagent_mcp.sandbox.clock import market_hours_clock
from mdagent_mcp.sandbox.server import running_sandbox
from mdagent_mcp.server.server import build_server
from memory.memory_samples import quote_answer
from memory.postgres_server import running
from memory_processes import did, killed, started
from memory_worker import EVENTS_PER_ROUND, totals_at

SOURCES: Final = tuple(f"source{n}" for n in range(9))
SYMBOLS: Final = tuple(
    "".join(chr(65 + n // 26**place % 26) for place in range(4)) for n in range(0, 26**4, 26**4 // 10_000)
)[:10_000]
TICK_S: Final = 0.01
WARM_UP: Final = 200
PAUSE_S: Final = 0.001


def promise(text: str, *, kept: bool) -> None:
    """Print what was promised and whether it held."""
    print(f"{'kept  ' if kept else 'MISSED'} {text}")


def kill(kills: int, seed: int) -> None:
    """Kill writers, five at a time on one file, and look at what is left after each five."""
    rng, reported = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.sqlite3"
        broken = lost = done = 0
        while done < kills:
            workers = [started(str(path), f"k{done + n}", rng.getrandbits(30)) for n in range(min(5, kills - done))]
            for worker in workers:
                reported += killed(worker, rng.random() * 0.5)
            done += len(workers)
            with closing(sqlite3.connect(path)) as connection:
                broken += connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]
            lost += (reported - Counter(asyncio.run(totals_at(str(path))))).total()
        found = Counter(asyncio.run(totals_at(str(path))))
        more = (found - reported).total() / 3 / EVENTS_PER_ROUND / kills
        aside = len(list(Path(folder).glob("*.broken-*")))
    promise(
        f"{kills} kills: {broken} corrupt, {aside} put aside, {lost} reported counts lost of {reported.total()}; "
        f"written and not reported any more: {more:.2f} batches a kill",
        kept=broken == aside == lost == 0,
    )


def processes(place: str, seconds: float) -> None:
    """Four processes write at once; every count of the store is the sum of what they did."""
    workers = [started(place, f"w{n}", n, seconds=seconds) for n in range(4)]
    done: Counter[str] = sum(map(did, workers), Counter())
    found = asyncio.run(totals_at(place))
    kind = "PostgreSQL" if place.startswith("postgresql:") else "one file"
    promise(
        f"four processes on {kind} for {seconds:g} s: {len(done)} counts of {done.total()} in all", kept=found == done
    )


async def fill(path: Path) -> None:
    """A store with everything learned about all symbols from all sources."""
    options = MemoryOptions(flush_s=3600.0, flush_entries=10**9, backlog=BacklogLimits(10**6, 10**6, 10))
    async with open_memory(path, SystemClock(), options) as memory:
        for source in SOURCES:
            for start in range(0, len(SYMBOLS), 200):
                memory.listen(_call(source, SYMBOLS[start : start + 200]))
        for symbol in SYMBOLS:
            memory.keep(quote_answer(f"q-{symbol}", symbol, at=datetime.now(UTC)))


def _call(source: str, symbols: tuple[str, ...]) -> Fetched:
    return Fetched(source, Endpoint.QUOTE, symbols, datetime.now(UTC), 0.2, None, "")


async def opening_s(path: Path | None, rounds: int = 15) -> float:
    """The best time of opening the store, seconds: the others waited for something else."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        async with open_memory(path, SystemClock()):
            times.append(time.perf_counter() - begun)
    return min(times)


def resident_mb(path: Path, how: str) -> float:
    """What a process of its own takes that opens the store and recalls all symbols (`recall`), or does neither."""
    command = [sys.executable, __file__, "resident", "--path", str(path), "--how", how]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def resident(path: Path, how: str) -> float:
    """The resident size of this process in the end, MB."""
    async with open_memory(path, SystemClock()) as memory:
        if how == "recall":
            for start in range(0, len(SYMBOLS), 500):
                await memory.recall(SYMBOLS[start : start + 500])
            for turn in range(5 * len(SOURCES)):
                for start in range(0, 1000, 50):
                    memory.listen(_call(SOURCES[turn % 9], SYMBOLS[start : start + 50]))
                await memory.flush()
        return _resident_mb()


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6


async def size(seconds: float) -> None:
    """What a large memory costs at the start, in RAM and while it learns."""
    with tempfile.TemporaryDirectory() as folder:
        large, empty = Path(folder) / "large.sqlite3", Path(folder) / "empty.sqlite3"
        begun = time.perf_counter()
        await fill(large)
        rows = len(SYMBOLS) * len(SOURCES)
        print(f"{rows} edges written in {time.perf_counter() - begun:.1f} s, {large.stat().st_size / 1e6:.0f} MB")
        await opening_s(empty, 2)
        more_ms = 1000.0 * (await opening_s(large) - await opening_s(empty))
        promise(f"start over an empty memory: {more_ms:.1f} ms more, promised < 100 ms", kept=more_ms < 100.0)
        more_mb = resident_mb(large, "recall") - resident_mb(empty, "open")
        promise(f"resident growth with all symbols recalled: {more_mb:.0f} MB, promised < 100 MB", kept=more_mb < 100.0)
        for name, measured in (("engine", over_engine), ("MCP", over_mcp)):
            ratio, own, absorbed = await measured(large, seconds)
            promise(
                f"cached calls ({name}) while {absorbed:.0f} outcomes/s are absorbed: p99 x {ratio:.2f} by the wall, "
                f"x {own:.2f} by the loop's own time; promised 1.2",
                kept=ratio <= 1.2,
            )


@asynccontextmanager
async def engine_over(path: Path) -> AsyncIterator[Engine]:
    """The engine over the simulated market, with a memory kept at the path."""
    clock = market_hours_clock(SystemClock())
    async with running_sandbox(clock) as sandbox:
        settings = simulated_settings(Settings.model_validate({"cache": {"open_market_s": 3600}}), sandbox)
        folder = path.parent / "app"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / "memory.sqlite3")
        async with open_app(settings, clock=clock, data_dir=folder) as engine:
            yield engine


async def over_engine(path: Path, seconds: float) -> tuple[float, float, float]:
    """Cached calls of the engine alone: ratios of the p99 with and without outcomes, and outcomes a second."""
    question = QuoteQuestion((parse_symbol("AAPL"),))
    async with engine_over(path) as engine:

        async def ask() -> None:
            await engine.quotes(question)

        return await compared(engine._parts.memory, ask, seconds)  # noqa: SLF001 - outcomes are told to it directly


async def over_mcp(path: Path, seconds: float) -> tuple[float, float, float]:
    """The same of `get_quote` through the protocol, in one process."""
    async with engine_over(path) as engine:

        @asynccontextmanager
        async def opened() -> AsyncIterator[Engine]:
            yield engine

        async with Client(build_server(opened, SystemClock(), "0")) as client:

            async def ask() -> None:
                await client.call_tool("get_quote", {"symbols": ["AAPL"]})

            return await compared(engine._parts.memory, ask, seconds)  # noqa: SLF001


async def compared(memory: Memory, ask: Callable[[], Awaitable[Any]], seconds: float) -> tuple[float, float, float]:
    """Calls with and without outcomes by turns, so that the machine's moods touch both alike.

    Returns:
        Ratio of the p99 by the wall clock, which a busy machine spoils; the same by the processor time of the event
        loop's thread, which it does not; outcomes a second.
    """
    times: dict[bool, list[float]] = {False: [], True: []}
    own: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(WARM_UP):
        await ask()
    told, turn_s = 0, seconds / 10
    for turn in range(10):
        telling = asyncio.create_task(tell(memory)) if turn % 2 else None
        ends = time.perf_counter() + turn_s
        while time.perf_counter() < ends:
            begun, own_begun = time.perf_counter(), time.thread_time()
            await ask()
            times[bool(turn % 2)].append(time.perf_counter() - begun)
            own[bool(turn % 2)].append(time.thread_time() - own_begun)
            await asyncio.sleep(PAUSE_S)
        if telling is not None:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
        told += TOLD.pop("outcomes", 0)
        await memory.flush()
    ratios = [_p99(seen[True]) / _p99(seen[False]) for seen in (times, own)]
    for name, seen in (("wall", times), ("own", own)):
        p50, p99 = ({busy: 1000.0 * each(seen[busy]) for busy in seen} for each in (statistics.median, _p99))
        print(f"  {name}: p50 {p50[False]:.2f} and {p50[True]:.2f} ms, p99 {p99[False]:.2f} and {p99[True]:.2f} ms")
    if memory.dropped:
        print(f"  {memory.dropped} entries were lost")
    return ratios[0], ratios[1], told / (seconds / 2)


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


TOLD: Final[Counter[str]] = Counter()


async def tell(memory: Memory, each: int = 50) -> None:
    """5,000 outcomes a second: calls for ten symbols each, evenly spread."""
    rng, begun, due = random.Random(3), time.perf_counter(), 0.0
    while True:
        due += TICK_S / 5
        start = rng.randrange(len(SYMBOLS) - each)
        memory.listen(_call(rng.choice(SOURCES), SYMBOLS[start : start + each // 5]))
        TOLD["outcomes"] += each // 5
        await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))


def main() -> None:
    """Read the command line and run a part."""
    parser = argparse.ArgumentParser(description="Memory's store put to the test.")
    parser.add_argument("part", choices=("kill", "processes", "postgres", "size", "resident"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--path", type=Path, default=Path())
    parser.add_argument("--how", default="open")
    given = parser.parse_args()
    if given.part == "kill":
        kill(given.kills, given.seed)
    elif given.part == "processes":
        with tempfile.TemporaryDirectory() as folder:
            processes(str(Path(folder) / "memory.sqlite3"), given.seconds)
    elif given.part == "postgres":
        with running() as server:
            processes(server.url, given.seconds)
    elif given.part == "size":
        asyncio.run(size(given.seconds))
    else:
        print(asyncio.run(resident(given.path, given.how)))


if __name__ == "__main__":
    main()
