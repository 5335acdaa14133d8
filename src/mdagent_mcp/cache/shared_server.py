"""The Redis or Valkey server that replicas share, seen as something that may be gone at any moment.

The rule of this module: nobody waits for it longer than tens of milliseconds. A command has a short limit and is not
repeated; after a few failures in a row the server is left alone for a while, then tried by one command at a time.
Every trouble is a `SharedServerError`, after which the caller goes on alone. The client library is imported with the
first command.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import clean_text

if TYPE_CHECKING:
    from redis.asyncio import Redis

TIMEOUT_S: Final = 0.05
"""Seconds a command, or a connection, may take."""
FAILURES: Final = 3
"""Failures in a row after which the server is left alone."""
FIRST_REST_S: Final = 2.0
LONGEST_REST_S: Final = 30.0
CONNECTIONS: Final = 16
SPACE: Final = "mdagent"
"""Begins every name that we use on the server."""

Word = str | bytes | int


class SharedServerError(Exception):
    """The server cannot be used now; the message says why and is safe to show."""


class SharedServer:
    """Runs scripts on the server.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`; it may carry a password, so it is never shown.
        clock: time.
        timeout_s: limit of a command.

    Attributes:
        state: `ok`, or what is wrong.
        losses: how often it was lost so far, for those who have to catch up when it is back.
    """

    def __init__(self, url: str, clock: Clock, *, timeout_s: float = TIMEOUT_S) -> None:
        self.state = "ok"
        self.losses = 0
        self._url = url
        self._clock = clock
        self._timeout_s = timeout_s
        self._client: Redis | None = None
        self._slots = anyio.CapacityLimiter(CONNECTIONS)
        self._failures = 0
        self._rests = 0
        self._rests_until = 0.0
        self._tried = False

    async def run(self, script: str, names: Sequence[str], words: Sequence[Word] = ()) -> Any:
        """What a script returns; texts are bytes.

        Raises:
            SharedServerError: when the server cannot be used, or is being left alone.
        """
        from redis.exceptions import RedisError, ResponseError  # noqa: PLC0415 - an extra, and not at start-up

        trying = self._failures >= FAILURES
        if trying and (self._tried or self._clock.monotonic() < self._rests_until):
            raise SharedServerError(self.state)
        self._tried = trying
        try:
            async with self._slots:
                told = await self._evaluated(script, names, words)
        except ResponseError as error:
            raise SharedServerError(f"{self._where()} refuses ({clean_text(str(error), 80)})") from error
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            raise SharedServerError(self.state) from error
        finally:
            self._tried = False
        self._failures = self._rests = 0
        self.state = "ok"
        return told

    async def aclose(self) -> None:
        """Close the connections; one that cannot be closed in time is left to the server."""
        from redis.exceptions import RedisError  # noqa: PLC0415 - an extra, and not at start-up

        client, self._client = self._client, None
        if client is not None:
            with suppress(RedisError, OSError):
                await client.aclose()

    async def _evaluated(self, script: str, names: Sequence[str], words: Sequence[Any]) -> Any:
        """One command to its end, which is near: the client loses a connection whose command is cancelled."""
        with anyio.CancelScope(shield=True):
            return await self._open().eval(script, len(names), *names, *words)

    def _failed(self, error: Exception) -> None:
        if self._failures == 0:
            self.losses += 1
        self._failures += 1
        self.state = f"alone: {self._where()} cannot be used ({clean_text(type(error).__name__, 40)})"
        now = self._clock.monotonic()
        # Commands that were under way together and failed together are one reason to rest.
        if self._failures >= FAILURES and now >= self._rests_until:
            self._rests_until = now + min(FIRST_REST_S * 2.0**self._rests, LONGEST_REST_S)
            self._rests = min(self._rests + 1, 8)

    def _open(self) -> Redis:
        if self._client is None:
            from redis.asyncio import Redis  # noqa: PLC0415
            from redis.asyncio.retry import Retry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415

            self._client = Redis.from_url(
                self._url,
                socket_timeout=self._timeout_s,
                socket_connect_timeout=self._timeout_s,
                retry=Retry(NoBackoff(), 0),
            )
        return self._client

    def _where(self) -> str:
        """The server without user and password."""
        split = urlsplit(self._url)
        return f"the shared server at {split.hostname or split.path}{f':{split.port}' if split.port else ''}"
