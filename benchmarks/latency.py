"""How fast answers are, as ratios against floors measured in the same run.

    python benchmarks/latency.py [--rounds 200] [--vendor-delay-s 0.1]

Three processes: the sandbox as the vendors (each answers after `--vendor-delay-s`), a real `mdagent-mcp serve` on
stdio, and a bare server on the same SDK whose one tool returns a fixed structured answer of the same size. Printed are

- a cached `get_quote` against the bare server's call (the promise: at most 1.3 times, median);
- an uncached `get_quote` against the slowest of the three sources that it needs (the aim: 10 ms more, median). The
  floor are the very same three requests, sent at once by the same HTTP client out of the bare server's tool, so that
  both sides pay the hop over stdio and the same work of the vendors; the two take turns, symbol by symbol;
- 10, 50, 100, 200 and 500 symbols at once that nobody has asked for yet (50: below 500 ms; 500: below 2 s).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import anyio
import httpx
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.vendor import QuoteQuery
from mdagent_mcp.sandbox.clock import market_hours_clock
from mdagent_mcp.vendors.registry import VENDORS

BARE_SERVER = """
import json, logging, sys
from pathlib import Path
import anyio, httpx
from httpx_aiohttp import AiohttpTransport
from mcp.server import MCPServer
from pydantic import BaseModel

FIXED = json.loads(Path(sys.argv[1]).read_text())
server = MCPServer("bare", version="1")
logging.getLogger("httpx").setLevel(logging.WARNING)
web = httpx.AsyncClient(transport=AiohttpTransport(), timeout=60)

class Answer(BaseModel):
    quotes: list[dict]
    failures: list[dict]
    usage: dict

@server.tool()
async def fixed(symbols: list[str]) -> Answer:
    "A fixed answer."
    return Answer.model_validate(FIXED)

@server.tool()
async def direct(urls: list[str], headers: list[dict[str, str]]) -> Answer:
    "A fixed answer once all of these have answered."
    async def get(at: int) -> None:
        (await web.get(urls[at], headers=headers[at])).raise_for_status()

    async with anyio.create_task_group() as tasks:
        for at in range(len(urls)):
            tasks.start_soon(get, at)
    return Answer.model_validate(FIXED)

server.run()
"""
KEYED = ("finnhub",)
SOURCES = ("yahoo", "nasdaq", "cboe", *KEYED)
ASKED: Final[dict[str, Any]] = {"symbols": ["AAPL"], "max_age_s": 3600}
NEEDED = ("finnhub", "nasdaq", "yahoo")
"""Whom the engine asks first, all at once, for the price of a stock."""
UNMEASURED = 5
"""Questions that open connections and load what is loaded late."""


@contextmanager
def sandbox_process(delay_s: float) -> Iterator[str]:
    """A sandbox in a process of its own; yields its base URL."""
    words = ["--port", "0", "--fault", f"all=delay:{delay_s}"]
    command = [sys.executable, "-m", "mdagent_mcp", "sandbox", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        try:
            yield process.stdout.readline().split()[2]
        finally:
            process.terminate()


def settings_of(base: str, folder: Path) -> Path:
    """Settings that point every source at the sandbox."""
    lines = []
    for source in SOURCES:
        lines += [f"[sources.{source}]", f'base_url = "{base}/{source}"', "quotas = []"]
        if source in KEYED:
            lines.append('api_key = "made-up"')
    path = folder / "mdagent.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def server_of(settings: Path, folder: Path, offset_s: float) -> StdioServerParameters:
    """The real server over the sandbox."""
    words = ["--config", str(settings), "--data-dir", str(folder / "data"), "serve", f"--clock-offset-s={offset_s:.6f}"]
    path = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return StdioServerParameters(command=sys.executable, args=["-m", "mdagent_mcp", *words], env=path, cwd=folder)


async def timed(work: Callable[[], Awaitable[Any]], rounds: int) -> list[float]:
    """Seconds that each round took."""
    measured = []
    for _ in range(rounds):
        started = time.perf_counter()
        await work()
        measured.append(time.perf_counter() - started)
    return measured


def line(name: str, seconds: Sequence[float], more: str = "") -> None:
    """Print median, 99 % and best."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{name:46} p50 {1e3 * statistics.median(ordered):8.2f} ms   p99 {1e3 * p99:8.2f} ms   {more}")


async def measure(rounds: int, delay_s: float) -> None:
    """Measure and print."""
    machine = SystemClock()
    offset_s = (market_hours_clock(machine).now() - machine.now()).total_seconds()
    symbols = [f"SIM{number:03}" for number in range(1000)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with sandbox_process(delay_s) as base:
            await warm_up(base, symbols[:960])
            parameters = server_of(settings_of(base, folder), folder, offset_s)
            with (folder / "log").open("w", encoding="utf-8") as log:
                async with Client(stdio_client(parameters, errlog=log)) as client:
                    async with Client(stdio_client(await bare_server(client, folder), errlog=log)) as floor:
                        await cached(client, floor, rounds)
                        await uncached(client, floor, base, symbols[1:56])
                    await at_once(client, symbols)


async def warm_up(base: str, symbols: Sequence[str]) -> None:
    """Let the sandbox invent the day of these symbols, which takes it longer than a vendor would take to answer."""
    limit = anyio.CapacityLimiter(16)
    async with httpx.AsyncClient(headers={"User-Agent": "Mozilla/5.0"}, timeout=60) as web:

        async def ask(symbol: str) -> None:
            async with limit:
                await web.get(f"{base}/yahoo/v8/finance/chart/{symbol}?interval=1m&range=1d")

        async with anyio.create_task_group() as tasks:
            for symbol in symbols:
                tasks.start_soon(ask, symbol)


async def bare_server(client: Client, folder: Path) -> StdioServerParameters:
    """A server on the same SDK that answers what ours answers about a symbol, without any work."""
    result = await client.call_tool("get_quote", ASKED)
    (folder / "fixed.json").write_text(json.dumps(result.structured_content), encoding="utf-8")
    script = folder / "bare_server.py"
    script.write_text(BARE_SERVER, encoding="utf-8")
    return StdioServerParameters(command=sys.executable, args=[str(script), str(folder / "fixed.json")])


async def cached(client: Client, floor: Client, rounds: int) -> None:
    """A cached quote against a bare call."""

    async def quote() -> None:
        await client.call_tool("get_quote", ASKED)

    async def fixed() -> None:
        await floor.call_tool("fixed", {"symbols": ["AAPL"]})

    await timed(fixed, 20)
    await timed(quote, 20)
    ours: list[float] = []
    floors: list[float] = []
    for _ in range(rounds // 20):  # in turn, so that the machine's other work hits both alike
        floors += await timed(fixed, 20)
        ours += await timed(quote, 20)
    line("bare server, fixed structured answer", floors)
    line("get_quote, cached", ours, f"ratio of p50 {statistics.median(ours) / statistics.median(floors):.2f}")


def requests_of(base: str, symbol: str) -> dict[str, list[Any]]:
    """What the engine asks the needed sources about a symbol, as arguments of the bare server's tool."""
    query = QuoteQuery((parse_symbol(symbol),), SystemClock().now())
    urls, headers = [], []
    for vendor in (each for each in VENDORS if each.id in NEEDED):
        request = vendor.quote.build(query)[0]
        urls.append(f"{base}/{vendor.id}{request.path}?{urlencode(request.query)}")
        key = {vendor.key.name: "made-up"} if vendor.key is not None else {}
        headers.append(dict([*vendor.headers, *request.headers]) | key)
    return {"urls": urls, "headers": headers}


async def uncached(client: Client, floor: Client, base: str, symbols: Sequence[str]) -> None:
    """A quote that nobody has asked for yet against the slowest of the three sources that it needs, asked at once."""
    direct: list[float] = []
    ours: list[float] = []
    for number, symbol in enumerate(symbols):

        async def ask(symbol: str = symbol) -> None:
            result = await client.call_tool("get_quote", {"symbols": [symbol]})
            if not (result.structured_content or {}).get("quotes"):
                raise RuntimeError(f"{symbol} was not answered")

        async def at_three(symbol: str = symbol) -> None:
            result = await floor.call_tool("direct", requests_of(base, symbol))
            if result.is_error:
                raise RuntimeError(str(result.content))

        turns = [(ask, ours), (at_three, direct)]
        for work, took in turns if number % 2 else reversed(turns):
            took.extend(await timed(work, 1))
    line("three sources asked directly, at once", direct[UNMEASURED:])
    more = 1e3 * (statistics.median(ours[UNMEASURED:]) - statistics.median(direct[UNMEASURED:]))
    line("get_quote, uncached", ours[UNMEASURED:], f"{more:.1f} ms more than the slowest source")


async def at_once(client: Client, symbols: Sequence[str]) -> None:
    """Many symbols in one call, none of them cached."""
    first = 60
    for count in (10, 50, 100, 200, 500):
        asked = list(symbols[first : first + count])
        first += count
        shown: list[dict[str, Any]] = []

        async def ask(part: list[str], shown: list[dict[str, Any]] = shown) -> None:
            result = await client.call_tool("get_quote", {"symbols": part})
            shown.append(dict(result.structured_content or {}))

        started = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for at in range(0, count, 100):
                tasks.start_soon(ask, asked[at : at + 100])
        elapsed = time.perf_counter() - started
        grades = Counter(quote["grade"] for part in shown for quote in part["quotes"])
        calls = sum(part["usage"]["vendor_calls"] for part in shown)
        told = ", ".join(f"{n} {grade}" for grade, n in sorted(grades.items()))
        line(f"{count} symbols at once", [elapsed], f"{calls} calls; {told}")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--vendor-delay-s", type=float, default=0.1)
    options = parser.parse_args()
    anyio.run(measure, options.rounds, options.vendor_delay_s)


if __name__ == "__main__":
    main()
