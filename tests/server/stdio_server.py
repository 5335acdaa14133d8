"""A server over the fake engine on stdio, as a program: what the test of the start-up runs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mdagent_mcp.domain.service import MarketData
from mdagent_mcp.server.server import build_server
from mdagent_mcp.testing import ManualClock

HEAVY = ("numpy", "scipy", "networkx", "aiohttp", "httpx", "aiosqlite")


@asynccontextmanager
async def open_service() -> AsyncIterator[MarketData]:
    """Say what had been imported before this moment, then import like the real engine and open the fake."""
    loaded = [name for name in HEAVY if name in sys.modules]
    print(f"loaded before opening: {loaded}", file=sys.stderr, flush=True)  # noqa: T201 - read by the test
    import numpy as np  # noqa: PLC0415 - the point of the test

    from server.fake_market_data import FakeMarketData  # noqa: PLC0415

    print("numpy", np.__version__, "on stdout must not reach the protocol")  # noqa: T201 - the point of the test
    yield FakeMarketData()


if __name__ == "__main__":
    build_server(open_service, ManualClock(datetime(2026, 11, 23, 15, tzinfo=UTC)), "0.0.1").run()
