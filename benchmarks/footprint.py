"""What the server takes: memory per cached symbol, and time per call of its own pipeline.

    python benchmarks/footprint.py [--symbols 3000] [--calls 1000]

The engine runs in this process, its vendors are a sandbox in another. Printed are

- memory per 10,000 cached symbols: growth of the resident set while `--symbols` quotes were asked for and kept, each
  with its sources' own quotes, its evidence and what was learned about it. The sandbox lists a thousand synthetic
  companies, so each of them stands for several symbols under names of their own;
- one call through a source's whole pipeline (retry, breaker, limiter with its budget in SQLite, adaptive time limit,
  sending, reading, telling) against the same request by the same HTTP client alone, in turn.
"""

from __future__ import annotations

import argparse
import gc
import re
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import reduce
from pathlib import Path
from random import Random
from string import ascii_uppercase
from typing import Final

import anyio
import httpx

from latency import KEYED, SOURCES, sandbox_process, settings_of
from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import load
from mdagent_mcp.domain.clock import Clock, SystemClock
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.domain.vendor import Quota, QuoteQuery
from mdagent_mcp.engine.service import Engine
from mdagent_mcp.sandbox.clock import market_hours_clock
from mdagent_mcp.transport.budget_file import FileStore
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.source import Source, SourceOptions
from mdagent_mcp.vendors.registry import VENDORS

TOGETHER: Final = 100
"""Symbols of one question."""
PAGE_BYTES: Final = 4096
ASKED: Final = parse_symbol("SIM001")
ROOMY: Final = Quota(1000, 0.2, "window")
"""Never reached, with about as many calls in its log as a vendor's 60 per minute would have."""
OURS: Final = re.compile(r"\bQ[A-Z]{3}\b")
THEIRS: Final = re.compile(r"\bSIM[0-9]{3}\b")
LISTED: Final = 1000
"""Synthetic companies of the sandbox."""
IN_TURN: Final = 50
"""Calls of each kind before the other's turn, so that the machine's other work hits both alike."""


def resident_mib() -> float:
    """What this process holds in RAM, garbage collected."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE_BYTES / 2**20


def our_name(number: int) -> str:
    """One of 17,576 symbols."""
    return "Q" + "".join(ascii_uppercase[number // 26**place % 26] for place in (2, 1, 0))


def their_name(ours: str) -> str:
    """Which company stands for a symbol."""
    number = reduce(lambda total, letter: 26 * total + ascii_uppercase.index(letter), ours[1:], 0)
    return f"SIM{number % LISTED:03}"


class Renaming(httpx.AsyncBaseTransport):
    """Asks for the companies that stand for symbols, and gives the replies the symbols' names."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on under other names, and the reply back."""
        names = {their_name(ours): ours for ours in OURS.findall(str(request.url))}
        url = OURS.sub(lambda found: their_name(found.group()), str(request.url))
        reply = await self._inner.handle_async_request(httpx.Request(request.method, url, headers=request.headers))
        text = (await reply.aread()).decode()
        text = THEIRS.sub(lambda found: names.get(found.group(), found.group()), text)
        kept = [(name, value) for name, value in reply.headers.items() if name not in {"content-length", "etag"}]
        return httpx.Response(reply.status_code, headers=kept, content=text.encode())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def cached(base: str, folder: Path, count: int) -> None:
    """Ask for that many symbols and see what keeping them takes."""
    environ = {"MDAGENT_CACHE__ENTRIES": str(count)}
    settings = load(environ, config=settings_of(base, folder)).settings
    (folder / "data").mkdir()

    def renaming(_vendor: str) -> httpx.AsyncBaseTransport:
        return Renaming(httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=8)))

    symbols = [our_name(number) for number in range(count + TOGETHER)]
    clock: Clock = market_hours_clock(SystemClock())
    data = folder / "data"
    async with open_app(settings, clock=clock, data_dir=data, open_transport=renaming, rng=Random(1)) as engine:
        await ask(engine, symbols[count:])
        before = resident_mib()
        started = time.perf_counter()
        answered = sum([await ask(engine, symbols[at : at + TOGETHER]) for at in range(0, count, TOGETHER)])
        took_s = time.perf_counter() - started
        await anyio.sleep(2.5)  # what waits to be written is written
        grown = (resident_mib() - before) * 10_000 / count
    print(f"{answered} of {count} symbols answered and kept in {took_s:.0f} s")
    print(f"memory per 10,000 cached symbols: +{grown:.0f} MiB resident")


async def ask(engine: Engine, symbols: list[str]) -> int:
    """One question; returns how many were answered."""
    return len((await engine.quotes(QuoteQuestion(tuple(map(parse_symbol, symbols))))).quotes)


async def pipeline(base: str, folder: Path, calls: int) -> None:
    """Calls of each source through its pipeline, and the same requests by its client alone."""
    clock = market_hours_clock(SystemClock())
    store = FileStore(folder / "budgets.db")
    for vendor in VENDORS:
        if vendor.id not in SOURCES or vendor.token is not None:
            continue
        key = "made-up" if vendor.id in KEYED else None
        client = VendorClient(vendor, host_sets(vendor, [f"{base}/{vendor.id}"]), key, clock)
        options = SourceOptions(quotas=(ROOMY,))
        source = Source(vendor, options, client, clock=clock, emit=lambda _: None, rng=Random(1), budgets=store)

        async def whole(source: Source = source) -> None:
            asked = await source.quotes((ASKED,), 10.0)
            if asked.calls != 1:
                raise RuntimeError(f"{source.vendor.id} was asked {asked.calls} times")

        async def bare(client: VendorClient = client) -> None:
            await client.send(client.vendor.quote.build(QuoteQuery((ASKED,), clock.now()))[0])

        wholes, bares = await in_turn(whole, bare, calls)
        more = 1e3 * (wholes - bares)
        print(
            f"{vendor.id:10} whole pipeline {1e3 * wholes:6.2f} ms, client alone {1e3 * bares:6.2f} ms: +{more:.2f} ms"
        )
        await source.aclose()
    store.close()


async def in_turn(
    first: Callable[[], Awaitable[None]], second: Callable[[], Awaitable[None]], calls: int
) -> tuple[float, float]:
    """Median seconds of each."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(1, calls // IN_TURN)):
        for work, seconds in zip((first, second), took, strict=True):
            for _ in range(IN_TURN):
                started = time.perf_counter()
                await work()
                seconds.append(time.perf_counter() - started)
    return statistics.median(took[0]), statistics.median(took[1])


async def measure(symbols: int, calls: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, sandbox_process(0.0) as base:
        await pipeline(base, Path(name), calls)
        await cached(base, Path(name), symbols)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=3_000)
    parser.add_argument("--calls", type=int, default=1_000)
    options = parser.parse_args()
    anyio.run(measure, options.symbols, options.calls)


if __name__ == "__main__":
    main()
