"""What is under way, and how it ends: calls are waited for, standing streams are closed.

The rule of this module: a call is never cut short before its time is up, and when it is, its client is told. A stream
that a client keeps open only to hear of changes would never end by itself, so draining ends it in good order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
from starlette.types import Message, Send

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.server.http.refusals import DRAINING

_END: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}


class Traffic:
    """Calls and streams of one server."""

    def __init__(self) -> None:
        self.draining = False
        """Whether /readyz says no."""
        self.refusing = False
        """Whether new calls are refused."""
        self._idle = anyio.Event()
        self._calls: set[anyio.CancelScope] = set()
        self._streams: set[anyio.CancelScope] = set()

    @property
    def calls(self) -> int:
        """Calls that are being answered."""
        return len(self._calls)

    @asynccontextmanager
    async def under_way(self, send: Send, *, standing: bool) -> AsyncIterator[Send]:
        """One request, for its life; yields what to answer with.

        Args:
            send: to the client.
            standing: whether it is a stream that ends only when somebody ends it.
        """
        started = ended = False

        async def watched(message: Message) -> None:
            nonlocal started, ended
            started = True
            await send(message)
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)

        requests = self._streams if standing else self._calls
        with anyio.CancelScope() as scope:
            requests.add(scope)
            try:
                yield watched
            finally:
                requests.discard(scope)
                if not self._calls:
                    self._idle.set()
        if scope.cancelled_caught and not ended:
            await (send(_END) if started else DRAINING.send(send))

    async def drain(
        self, clock: Clock, notice_s: float, limit_s: float, end_streams: Callable[[], None] | None = None
    ) -> bool:
        """Say that the end is near, take no more, end the streams and wait for the calls.

        Args:
            clock: time.
            notice_s: how long calls are still taken after /readyz says no.
            limit_s: how long calls under way are waited for; then they are cut short.
            end_streams: ends calls that are themselves streams, in good order.

        Returns:
            Whether all of them came to their end.
        """
        self.draining = True
        await clock.sleep(notice_s)
        self.refusing = True
        if end_streams is not None:
            end_streams()
        _cancel(self._streams)
        try:
            with clock.limit(limit_s):
                while self._calls:
                    self._idle = anyio.Event()
                    await self._idle.wait()
        except TimeoutError:
            _cancel(self._calls)
            return False
        return True


def _cancel(scopes: set[anyio.CancelScope]) -> None:
    for scope in tuple(scopes):
        scope.cancel()
