"""A real HTTP server over the fake engine on a loopback port, inside the test's event loop, and raw access to it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import httpx

from mdagent_mcp.config.http_settings import HttpSettings
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.server.http.application import ExtraRoute, following, http_application
from mdagent_mcp.server.http.serving import listening_socket, serve_http, url_of
from mdagent_mcp.server.http.traffic import Traffic
from mdagent_mcp.server.lazy_service import OpenService
from mdagent_mcp.server.server import ServerParts, build_parts
from mdagent_mcp.testing import ManualClock
from server.fake_market_data import NOW, FakeMarketData

HEADERS: Final = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@dataclass
class Running:
    """A server under test.

    Attributes:
        url: its base.
        parts: what it was built from.
        traffic: what is under way.
        clock: the engine's time, turned by hand.
        follow: makes it follow other settings.
        drained: what serving returned, once it ended.
    """

    url: str
    parts: ServerParts
    traffic: Traffic
    clock: ManualClock
    follow: Callable[[HttpSettings], None]
    drained: list[bool] = field(default_factory=list)
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def mcp(self) -> str:
        """The protocol's address."""
        return f"{self.url}/mcp"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    async def raw(self, data: bytes, *, more: bytes = b"") -> bytes:
        """Everything the server writes to one connection that sends `data` until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            await writer.drain()
            if more:
                writer.write(more)
            return await asyncio.wait_for(reader.read(), 5)
        finally:
            writer.close()


@asynccontextmanager
async def running(
    fake: FakeMarketData | None = None,
    *,
    opener: OpenService | None = None,
    extra_routes: tuple[ExtraRoute, ...] = (),
    **settings: Any,
) -> AsyncIterator[Running]:
    """Serve the fake engine, or what `opener` opens, and end as on SIGTERM unless the body did."""
    http = HttpSettings.model_validate({"port": 0, "drain_s": 5, **settings})
    clock = ManualClock(NOW)
    engine = opener or (fake or FakeMarketData()).opener()
    parts = build_parts(engine, clock, "0.0.1", eager=True, sessions=not http.stateless)
    traffic = Traffic()
    app = http_application(
        parts.server, parts.service, http, traffic=traffic, clock=SystemClock(), extra_routes=extra_routes
    )
    with listening_socket(http.host, http.port) as listening:
        found = Running(url_of(listening), parts, traffic, clock, following(app, http, SystemClock()))

        async def serve() -> None:
            found.drained.append(
                await serve_http(
                    app,
                    http,
                    listening,
                    traffic=traffic,
                    clock=SystemClock(),
                    end_streams=parts.notices.end_streams,
                )
            )
            found.ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await until_ready(found.url)
            yield found
            if not found.ended.is_set() and not traffic.draining:
                signal.raise_signal(signal.SIGTERM)
            await found.ended.wait()


async def until_ready(url: str) -> None:
    """Wait for /readyz to say yes."""
    async with httpx.AsyncClient() as web:
        for _ in range(200):
            try:
                reply = await web.get(f"{url}/readyz")
            except httpx.TransportError:
                reply = None
            if reply is not None and reply.status_code == 200:
                return
            await anyio.sleep(0.02)
    raise AssertionError("the server did not become ready")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nothing announces."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - see above
            await anyio.sleep(0.01)


def message(method: str, *, id: int = 1, **params: Any) -> bytes:  # noqa: A002 - its name on the wire
    """One JSON-RPC request."""
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


def initialize(version: str = "2025-11-25") -> bytes:
    """The request that opens a session of a client before 2026-07-28."""
    return message("initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "test", "version": "1"})


def body_of(reply: httpx.Response) -> Any:
    """The JSON-RPC message of a reply, as JSON or as the last event of a stream."""
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return reply.json()
    lines = [line.removeprefix("data:") for line in reply.text.splitlines() if line.startswith("data:")]
    return json.loads(next(line for line in reversed(lines) if line.strip()))
