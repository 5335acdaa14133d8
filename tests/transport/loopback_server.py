"""A raw HTTP server on a loopback port that answers as a test says and counts what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio


@dataclass
class Asked:
    """One request as it came over the wire.

    Attributes:
        target: path and query.
        headers: names in lower case.
        text: the whole head.
        left: set when the client has closed the connection while it was waiting.
    """

    target: str
    headers: Mapping[str, str]
    text: str
    left: anyio.Event = field(default_factory=anyio.Event)


Answer = Callable[[Asked], bytes | None]
"""The bytes to send; None to say nothing and wait until the client goes."""


@dataclass
class Loopback:
    """A running server.

    Attributes:
        url: its base URL.
        asked: every request, in order.
        arrived: set with the first.
    """

    url: str
    asked: list[Asked] = field(default_factory=list)
    arrived: anyio.Event = field(default_factory=anyio.Event)


def reply(status: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole reply; underscores in header names stand for hyphens."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[Loopback]:
    """Serve while the body runs."""
    served = Loopback("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines if line)}
            asked = Asked(first.split()[1], headers, head)
            served.asked.append(asked)
            served.arrived.set()
            sent = answer(asked)
            if sent is None or b"\r\n\r\n" not in sent:
                await reader.read()
                asked.left.set()
            else:
                writer.write(sent)
                await writer.drain()
                asked.left.set() if not sent.endswith(b"...") else await _until_gone(reader, asked)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, which is what some tests are about
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
        await server.wait_closed()


async def _until_gone(reader: asyncio.StreamReader, asked: Asked) -> None:
    await reader.read()
    asked.left.set()
