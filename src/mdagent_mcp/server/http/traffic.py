"""What is under way, and how it ends: calls are waited for, standing streams are closed.

The rule of this module: a call is never cut short before its time is up. A stream that a client keeps open only to
hear of changes would never end by itself, so draining ends it in good order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import anyio
from starlette.types import Message, Send

from mdagent_mcp.domain.clock import Clock

_END: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}


class Traffic:
    """Calls and streams of one server."""

    def __init__(self) -> None:
        self.draining = False
        """Whether /readyz says no."""
        self.refusing = False
        """Whether new calls are refused."""
        self._calls = 0
        self._idle = anyio.Event()
        self._streams: set[anyio.CancelScope] = set()

    @property
    def calls(self) -> int:
        """Calls that are being answered."""
        return self._calls

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call, for its life."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    @asynccontextmanager
    async def stream(self, send: Send) -> AsyncIterator[Send]:
        """A standing stream, for its life; yields what to send with. Draining ends the body and what it names."""
        started = ended = False

        async def watched(message: Message) -> None:
            nonlocal started, ended
            started = started or message["type"] == "http.response.start"
            await send(message)
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)

        with anyio.CancelScope() as scope:
            self._streams.add(scope)
            try:
                yield watched
            finally:
                self._streams.discard(scope)
        if scope.cancelled_caught and started and not ended:
            await send(_END)

    async def drain(
        self, clock: Clock, notice_s: float, limit_s: float, end_streams: Callable[[], None] | None = None
    ) -> bool:
        """Say that the end is near, take no more, end the streams and wait for the calls.

        Args:
            clock: time.
            notice_s: how long calls are still taken after /readyz says no.
            limit_s: how long calls under way are waited for.
            end_streams: ends calls that are themselves streams, in good order.

        Returns:
            Whether all of them came to their end.
        """
        self.draining = True
        await clock.sleep(notice_s)
        self.refusing = True
        if end_streams is not None:
            end_streams()
        for scope in tuple(self._streams):
            scope.cancel()
        try:
            with clock.limit(limit_s):
                while self._calls:
                    self._idle = anyio.Event()
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True
