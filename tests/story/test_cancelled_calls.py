"""A call that its agent gives up over HTTP leaves no question open at a vendor: real sockets on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from mcp import Client

from mdagent_mcp.app import open_app
from mdagent_mcp.config.settings import SOURCE_IDS, Settings
from mdagent_mcp.domain.clock import SystemClock
from server.http.running import running, until
from server.test_tools_answers import Era, both_eras

ASKED = ("yahoo", "nasdaq", "cboe")


@dataclass
class SilentVendor:
    """A vendor that takes every request and never answers.

    Attributes:
        url: its base.
        asking: connections with a request on them that are open now.
        asked: requests so far.
    """

    url: str = ""
    asking: set[asyncio.StreamWriter] = field(default_factory=set)
    asked: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its client closes it."""
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asking.add(writer)
            self.asked += 1
            await reader.read()
        finally:
            self.asking.discard(writer)
            writer.close()


@asynccontextmanager
async def silent_vendor() -> AsyncIterator[SilentVendor]:
    """It, on a loopback port."""
    found = SilentVendor()
    server = await asyncio.start_server(found.take, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield found


@both_eras
async def test_a_call_given_up_over_http_is_given_up_at_the_vendors(era: Era) -> None:
    """Their connections are closed at once, long before any time limit."""
    async with silent_vendor() as vendor:
        sources = {
            name: {"base_url": f"{vendor.url}/{name}"} if name in ASKED else {"enabled": False} for name in SOURCE_IDS
        }
        settings = Settings.model_validate({"sources": sources, "engine": {"source_timeout_s": 60, "deadline_s": 60}})
        clock = SystemClock()
        async with (
            running(opener=lambda: open_app(settings, clock=clock, data_dir=None)) as server,
            Client(server.mcp, mode=era) as client,
        ):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "get_quote", {"symbols": "AAPL"})
                await until(lambda: len(vendor.asking) >= 2)
                tasks.cancel_scope.cancel()
            started = clock.monotonic()
            await until(lambda: not vendor.asking)
            assert clock.monotonic() - started < 5
            assert vendor.asked >= 2
