"""How fast answers are, as ratios against floors measured in the same run.

    python benchmarks/latency.py [--rounds 200] [--vendor-delay-s 0.1]

Three processes: the sandbox as the vendors (each answers after `--vendor-delay-s`), a real `mdagent-mcp serve` on
stdio, and a bare server on the same SDK whose one tool returns a fixed structured answer of the same size. Printed are

- a cached `get_quote` against the bare server's call (the promise: at most 1.3 times, median);
- an uncached `get_quote` against the slowest source that it needs, asked directly (the aim: 10 ms more, median);
- 10, 50, 100 and 500 symbols at once that nobody has asked for yet (50: below 500 ms; 500: below 2 s).
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
from typing import Any

import anyio
import httpx
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.sandbox.clock import market_hours_clock

BARE_SERVER = """
import json, sys
from pathlib import Path
from mcp.server import MCPServer
from pydantic import BaseModel

FIXED = json.loads(Path(sys.argv[1]).read_text())
server = MCPServer("bare", version="1")

class Answer(BaseModel):
    quotes: list[dict]
    failures: list[dict]
    usage: dict

@server.tool()
async def fixed(symbols: list[str]) -> Answer:
    "A fixed answer."
    return Answer.model_validate(FIXED)

server.run()
"""
KEYED = ("finnhub",)
SOURCES = ("yahoo", "nasdaq", "cboe", *KEYED)


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
            await warm_up(base, symbols[:700])
            parameters = server_of(settings_of(base, folder), folder, offset_s)
            with (folder / "log").open("w", encoding="utf-8") as log:
                async with Client(stdio_client(parameters, errlog=log)) as client:
                    await cached(client, folder, rounds)
                    await uncached(client, base, symbols)
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


async def cached(client: Client, folder: Path, rounds: int) -> None:
    """A cached quote against a bare call."""
    ask = {"symbols": ["AAPL"], "max_age_s": 3600}

    async def quote() -> dict[str, Any]:
        result = await client.call_tool("get_quote", ask)
        return dict(result.structured_content or {})

    answer = await quote()
    (folder / "fixed.json").write_text(json.dumps(answer), encoding="utf-8")
    bare = folder / "bare_server.py"
    bare.write_text(BARE_SERVER, encoding="utf-8")
    parameters = StdioServerParameters(command=sys.executable, args=[str(bare), str(folder / "fixed.json")])
    async with Client(stdio_client(parameters)) as floor:

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


async def uncached(client: Client, base: str, symbols: Sequence[str]) -> None:
    """One quote that nobody has asked for against the slowest of the three sources that it needs, asked at once."""
    direct: list[float] = []
    async with httpx.AsyncClient(headers={"User-Agent": "Mozilla/5.0", "X-Finnhub-Token": "made-up"}) as web:

        async def at_three(symbol: str) -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(web.get, f"{base}/yahoo/v8/finance/chart/{symbol}?interval=1m&range=1d")
                tasks.start_soon(web.get, f"{base}/nasdaq/api/quote/{symbol}/info?assetclass=stocks")
                tasks.start_soon(web.get, f"{base}/finnhub/api/v1/quote?symbol={symbol}")

        for symbol in symbols[1:21]:
            direct += await timed(lambda symbol=symbol: at_three(symbol), 1)  # type: ignore[misc]
    ours: list[float] = []
    for symbol in symbols[1:21]:
        ours += await timed(lambda symbol=symbol: client.call_tool("get_quote", {"symbols": [symbol]}), 1)  # type: ignore[misc]
    line("three sources asked directly, at once", direct)
    more = 1e3 * (statistics.median(ours) - statistics.median(direct))
    line("get_quote, uncached", ours, f"{more:.1f} ms more than the slowest source")


async def at_once(client: Client, symbols: Sequence[str]) -> None:
    """Many symbols in one call, none of them cached."""
    first = 30
    for count in (10, 50, 100, 500):
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
