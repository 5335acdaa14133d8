"""A whole server in one process: a real MCP client, the real engine, and the sandbox as the vendors' web.

Nothing touches a socket and nothing waits: the sandbox answers over ASGI under the same hand-turned clock.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import anyio
import httpx
from mcp import Client
from mcp.types import CallToolResult, TextContent

from chaos_clock import RealWork, SkewedClock
from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import load
from mdagent_mcp.domain.service import MarketData
from mdagent_mcp.sandbox.app import Desk, app_of
from mdagent_mcp.sandbox.faults import Fault, FaultBoard, Faults
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.server.server import build_server
from mdagent_mcp.testing import ManualClock

REGULAR = datetime(2026, 11, 24, 16, 30, 20, tzinfo=UTC)
"""Tuesday 11:30:20 in New York: regular trading."""
POST = datetime(2026, 11, 24, 22, 30, 20, tzinfo=UTC)
WEEKEND = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
VENDORS = ("yahoo", "nasdaq", "cboe", "finnhub")
SEED = 11


@dataclass
class World:
    """What a story plays in.

    Attributes:
        client: the agent.
        clock: everybody's.
        desk: the sandbox's own books: calls and faults.
        market: the truth.
    """

    client: Client
    clock: ManualClock
    desk: Desk
    market: SimulatedMarket

    def set_faults(self, *faults: str | Fault) -> None:
        """Switch faults, replacing those before."""
        self.desk.board.replace(Faults.parse(faults))

    def calls(self) -> dict[str, int]:
        """Requests each vendor has had so far."""
        return {vendor: sum(paths.values()) for vendor, paths in self.desk.calls_by_vendor().items()}


ResultT = TypeVar("ResultT")
USUAL_S = 3.0
"""Time by that clock after which work that is not done may be waiting for a thread of a busy machine."""
THREADS_S = 0.02
"""Real time per step that it then gets."""


def first_text(result: CallToolResult) -> str:
    """The first text block of a tool's result, which is all that some hosts show on an error."""
    block = result.content[0]
    assert isinstance(block, TextContent)
    return block.text


async def turning(clock: ManualClock, work: Callable[[], Awaitable[ResultT]], limit_s: float = 15.0) -> ResultT:
    """Turn the clock in small steps until the work is done; where it takes long, threads get real time as well.

    Raises:
        AssertionError: when it takes longer than `limit_s` by that clock.
    """
    results: list[ResultT] = []

    async def run() -> None:
        results.append(await work())

    started, real = clock.monotonic(), RealWork()
    with real.installed():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            while not results and clock.monotonic() - started < limit_s:
                await clock.advance(0.1)
                if clock.monotonic() - started > USUAL_S:
                    await real.ended(THREADS_S)
            tasks.cancel_scope.cancel()
    assert results, f"not done after {limit_s} s"
    return results[0]


class Unreachable(httpx.AsyncBaseTransport):
    """A machine without a network."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Network is unreachable")


@asynccontextmanager
async def world(
    at: datetime = REGULAR,
    *faults: str,
    key: str = "sandbox-key",
    data_dir: Path | None = None,
    web: Callable[[str], httpx.AsyncBaseTransport] | None = None,
    era: Literal["auto", "legacy"] = "auto",
    skew_s: float = 0.0,
) -> AsyncIterator[World]:
    """A server and a client at an instant, with these faults; the server's own clock is `skew_s` ahead of the time."""
    clock = ManualClock(at)
    skewed = SkewedClock(clock)
    skewed.offset_s = skew_s
    market = SimulatedMarket(SEED)
    desk = Desk(market=market, clock=clock, board=FaultBoard(Faults.parse(faults), SEED))
    app = app_of(desk)
    environ = {f"MDAGENT_SOURCES__{v.upper()}__BASE_URL": f"http://127.0.0.1/{v}" for v in VENDORS}
    settings = load({**environ, "FINNHUB_API_KEY": key}).settings

    def opened() -> AbstractAsyncContextManager[MarketData]:
        transport = web or (lambda _vendor: httpx.ASGITransport(app))
        return open_app(settings, clock=skewed, data_dir=data_dir, open_transport=transport, rng=random.Random(5))

    async with Client(build_server(opened, skewed, "test"), mode=era) as client:
        # The engine opens in the background, in real time; the story begins when it is open.
        await client.call_tool("source_status", {})
        yield World(client, clock, desk, market)
