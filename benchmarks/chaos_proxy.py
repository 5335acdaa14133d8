"""A loopback proxy in front of the sandbox that breaks connections as real networks and vendors do, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import anyio

BREAKS = (
    "whole",
    "reset_at_once",
    "reset_in_body",
    "closed_at_once",
    "closed_in_body",
    "length_too_long",
    "length_too_short",
    "drip",
    "silence",
    "not_http",
    "two_replies",
)
DRIP_S = 0.02
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class BreakingProxy:
    """A running proxy.

    Attributes:
        url: where it listens.
        choose: which break the next connection gets.
        broken: how often each was shown.
    """

    url: str
    choose: Callable[[], str]
    broken: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def breaking_proxy(target: str, choose: Callable[[], str]) -> AsyncIterator[BreakingProxy]:
    """Pass requests on to `target` while the body runs, breaking each as `choose` says."""
    proxy = BreakingProxy("", choose)
    split = urlsplit(target)
    open_writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            reply = await _asked(split.hostname or "", split.port or 0, head)
            kind = choose()
            proxy.broken[kind] += 1
            await _break(kind, reply, reader, writer)
        open_writers.discard(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for writer in open_writers:
            writer.close()
        await server.wait_closed()


async def _asked(host: str, port: int, head: bytes) -> bytes:
    """The whole reply of the sandbox, which closes the connection after it."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)[:-2] + b"Connection: close\r\n\r\n")
        return await reader.read()
    finally:
        writer.close()


async def _break(kind: str, reply: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = reply.index(b"\r\n\r\n") + 4
    half = reply[: body + (len(reply) - body) // 2]
    if kind == "silence":
        await reader.read()
    elif kind == "drip":
        for at in range(0, len(reply), 40):
            writer.write(reply[at : at + 40])
            await writer.drain()
            await anyio.sleep(DRIP_S)
    elif kind in {"reset_at_once", "closed_at_once"}:
        _reset(writer, kind)
    elif kind in {"reset_in_body", "closed_in_body"}:
        writer.write(half)
        await writer.drain()
        _reset(writer, kind)
    else:
        writer.write(_rewritten(kind, reply))
        await writer.drain()


def _reset(writer: asyncio.StreamWriter, kind: str) -> None:
    """Have the close be a reset."""
    if kind.startswith("reset"):
        connected: socket.socket = writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _rewritten(kind: str, reply: bytes) -> bytes:
    if kind == "not_http":
        return b"\x15\x03\x03\x00\x02\x02\x46 this is no HTTP\r\n\r\n"
    if kind == "two_replies":
        return reply + reply
    by = {"length_too_long": 50, "length_too_short": -50}.get(kind, 0)
    return _LENGTH.sub(lambda found: b"content-length: %d" % max(1, int(found[1]) + by), reply)
