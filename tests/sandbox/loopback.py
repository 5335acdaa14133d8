"""A sandbox on a loopback port whose market stands still at a chosen instant, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from mdagent_mcp.domain.clock import Clock, SystemClock
from mdagent_mcp.sandbox.app import Desk, app_of
from mdagent_mcp.sandbox.clock import HeldClock
from mdagent_mcp.sandbox.faults import FaultBoard, Faults
from mdagent_mcp.sandbox.market import SimulatedMarket, Snapshot
from mdagent_mcp.sandbox.server import Sandbox, running_sandbox
from mdagent_mcp.sandbox.venues import VENUES, VendorView

SEED: Final = 11
OPEN: Final = datetime(2026, 11, 24, 15, 4, 11, 500_000, tzinfo=UTC)
"""A Tuesday, 10:04 in New York."""
PRE: Final = datetime(2026, 11, 24, 12, 20, 5, tzinfo=UTC)
POST: Final = datetime(2026, 11, 24, 22, 14, 30, tzinfo=UTC)
CLOSED: Final = datetime(2026, 11, 21, 21, 25, 50, tzinfo=UTC)
"""A Saturday."""
RECORDINGS: Final = Path(__file__).resolve().parents[3] / "shared" / "recordings"
AGENT: Final = {"User-Agent": "Mozilla/5.0 (compatible; test)"}


@dataclass(frozen=True)
class Loopback:
    """A running sandbox and an HTTP client for it."""

    sandbox: Sandbox
    client: httpx.AsyncClient
    now: datetime

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """The reply to a GET."""
        return await self.client.get(path, headers=headers)

    async def json(self, path: str, **headers: str) -> Any:
        """The JSON of a reply that must be a success."""
        reply = await self.get(path, **headers)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def truth(self, vendor: str, symbol: str) -> Snapshot:
        """What an unspoilt vendor should tell now."""
        view = VendorView(self.sandbox.market, VENUES[vendor], self.now)
        security = view.find(symbol)
        assert security is not None
        return view.snapshot(security)


@asynccontextmanager
async def sandbox_at(instant: datetime, *faults: str) -> AsyncIterator[Loopback]:
    """A sandbox whose market stands still at `instant` while waiting takes real time."""
    async with running_sandbox(HeldClock(SystemClock(), instant), seed=SEED, faults=faults) as sandbox:
        limits = httpx.Timeout(20)
        async with httpx.AsyncClient(base_url=sandbox.base_url, headers=AGENT, timeout=limits) as client:
            yield Loopback(sandbox, client, instant)


@asynccontextmanager
async def in_process_at(instant: datetime, *faults: str) -> AsyncIterator[Loopback]:
    """The same without a port, for tests that are about what is said and not about how it travels."""
    async with in_process_on(HeldClock(SystemClock(), instant), *faults) as loopback:
        yield loopback


@asynccontextmanager
async def in_process_on(clock: Clock, *faults: str) -> AsyncIterator[Loopback]:
    """The same under a clock of one's own."""
    desk = Desk(SimulatedMarket(SEED), clock, FaultBoard(Faults.parse(faults), SEED))
    transport = httpx.ASGITransport(app_of(desk))
    base_url = "http://127.0.0.1:1"
    async with httpx.AsyncClient(transport=transport, base_url=base_url, headers=AGENT) as client:
        yield Loopback(Sandbox(base_url, desk), client, clock.now())
