"""Budgets on a Redis or Valkey server that several machines share.

The rule of this module: a call is hardly held up by the server. Every command has a limit of a tenth of a second and
is repeated, a few times where it was only slow; every trouble is a `StoreError`, after which the caller's mirror
decides. Each step is one script, so it is atomic, and tells the server's own time, so that the machines' clocks need
not agree. The client library is imported with the first command.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.transport.budgets import Stored, StoreError

if TYPE_CHECKING:
    from redis.asyncio import Redis

TIMEOUT_S: Final = 0.1
"""Seconds a command, or a connection, may take."""
TRIES: Final = 2
"""On a new connection each, while the server refuses or breaks off: it is gone, and whoever asks should not wait."""
SLOW_TRIES: Final = 5
"""While nothing is heard in time: as likely as not this machine is busy, and a replica that is cut off cannot know what
the others spend, so half a second is well spent; once the store counts as lost, nobody waits for it any more."""
ASSUMED_REPLICAS: Final = 4
"""Before the server has told how many share it. Too few would let each spend everything."""
ALIVE_S: Final = 15.0
"""Seconds after its last command for which a replica counts as alive."""
KEPT_MS: Final = 40 * 86_400_000
"""How long a log is kept after it was written last: longer than any quota's window."""
PREFIX: Final = "mdagent:budget:"
ALIVE: Final = "mdagent:replicas"

LOAD: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[2]))
local kept = redis.call('HMGET', KEYS[1], 'revision', 'log')
return {time[1], time[2], kept[1] or '0', kept[2] or '', redis.call('ZCARD', KEYS[2])}
"""
SWAP: Final = """
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
if revision ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'revision', tostring(tonumber(revision) + 1), 'log', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class ServerStore:
    """Keeps budgets on a server.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`; it may carry a password, so it is never shown.
    """

    assumed_replicas: Final = ASSUMED_REPLICAS

    def __init__(self, url: str) -> None:
        self._url = url
        self._replica = uuid.uuid4().hex
        self._client: Redis | None = None

    async def load(self, account: str) -> Stored:
        """The log of an account, the server's time and how many replicas use it.

        Raises:
            StoreError: when the server cannot be used.
        """
        told = await self._run(LOAD, 2, PREFIX + account, ALIVE, self._replica, str(ALIVE_S))
        try:
            seconds, micros, revision, text, replicas = told
            return Stored(int(revision), str(text), int(seconds) + int(micros) / 1e6, max(1, int(replicas)))
        except (TypeError, ValueError) as error:
            raise StoreError(f"{self._where()} answers nonsense") from error

    async def swap(self, account: str, revision: int, text: str) -> bool:
        """Write a log over the one of that revision; False when another replica wrote first.

        Raises:
            StoreError: when the server cannot be used.
        """
        return bool(await self._run(SWAP, 1, PREFIX + account, str(revision), text, str(KEPT_MS)))

    async def aclose(self) -> None:
        """Close the connections; one that cannot be closed in time is left to the server, which is lost then anyway."""
        from redis.exceptions import RedisError  # noqa: PLC0415 - an extra, and not at start-up

        client, self._client = self._client, None
        if client is not None:
            with suppress(RedisError, OSError):
                await client.aclose()

    async def _run(self, script: str, keys: int, *words: str) -> Any:
        from redis.exceptions import RedisError  # noqa: PLC0415 - an extra, and not at start-up
        from redis.exceptions import TimeoutError as SlowError  # noqa: PLC0415 - see above

        failure: Exception | None = None
        tried, slow = 0, 0
        while tried - slow < TRIES and slow < SLOW_TRIES:
            tried += 1
            try:
                return await self._open().eval(script, keys, *words)
            except (SlowError, TimeoutError) as error:
                failure, slow = error, slow + 1
            except (RedisError, OSError) as error:
                failure = error
            await self.aclose()
        why = f"{self._where()} cannot be used ({clean_text(type(failure).__name__, 40)})"
        raise StoreError(why, slow=isinstance(failure, (SlowError, TimeoutError))) from failure

    def _open(self) -> Redis:
        if self._client is None:
            from redis.asyncio import Redis  # noqa: PLC0415
            from redis.asyncio.retry import Retry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415

            self._client = Redis.from_url(
                self._url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
                decode_responses=True,
            )
        return self._client

    def _where(self) -> str:
        """The server without user and password."""
        split = urlsplit(self._url)
        return f"the shared server at {split.hostname or split.path}{f':{split.port}' if split.port else ''}"
