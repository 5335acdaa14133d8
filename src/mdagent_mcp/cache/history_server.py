"""Known series on the server that replicas share, so that one fetch serves them all.

How long a series stays there follows the terms of its source: for long where they allow storing, no longer than an
answer where they say nothing, never where they forbid it.

The rule of this module: series are packed and unpacked by threads, and written behind the answer; a server that is
gone costs nothing but the calls that it would have saved.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import anyio
import anyio.to_thread

from mdagent_mcp.cache.known import KnownSeries, SeriesKey
from mdagent_mcp.cache.series_codec import decode, encode
from mdagent_mcp.cache.shared_server import SPACE, SharedServer, SharedServerError, Word
from mdagent_mcp.domain.clock import Clock

MOST_BYTES: Final = 1024 * 1024
"""Of a packed series; longer ones are neither written nor read."""
WAITING: Final = 200
SMALL_BYTES: Final = 8 * 1024
"""Up to this size unpacking is quicker than handing it to a thread."""

_LOAD: Final = """
local told = {}
for i = 1, #KEYS do
  local size = redis.pcall('STRLEN', KEYS[i])
  if type(size) == 'number' and size > 0 and size <= tonumber(ARGV[1]) then
    told[i] = redis.call('GET', KEYS[i])
  else
    told[i] = ''
  end
end
return told
"""
_STORE: Final = """
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if redis.call('TYPE', KEYS[2]).ok ~= 'set' then redis.call('DEL', KEYS[2]) end
if redis.call('SCARD', KEYS[2]) > 500 then redis.call('DEL', KEYS[2]) end
redis.call('SADD', KEYS[2], KEYS[1])
redis.call('PEXPIRE', KEYS[2], 86400000)
return 1
"""
_REMOVE: Final = "return redis.call('DEL', KEYS[1])"
_FORGET: Final = """
local names = redis.pcall('SMEMBERS', KEYS[1])
if not names.err then
  for _, name in ipairs(names) do
    if string.sub(name, 1, #ARGV[1]) == ARGV[1] then redis.call('DEL', name) end
  end
end
return redis.call('DEL', KEYS[1])
"""


class HistoryServer:
    """A `HistoryShelf` on a server.

    Args:
        server: which.
        space: replicas with other sources have another one.
        clock: time.
        kept_s: source id -> how long its series may stay there, seconds; 0 for not at all.
    """

    def __init__(self, server: SharedServer, space: str, clock: Clock, kept_s: Mapping[str, float]) -> None:
        self._server = server
        self._clock = clock
        self._kept_s = {source: seconds for source, seconds in kept_s.items() if seconds > 0}
        self._prefix = f"{SPACE}:{{{space}}}:series:"
        self._waiting: OrderedDict[SeriesKey, KnownSeries | None] = OrderedDict()
        self._forgotten: list[str] = []
        self._changed = anyio.Event()
        self._flushing = anyio.Lock()

    @property
    def state(self) -> str:
        """`ok`, or what is wrong with the server."""
        return self._server.state

    async def load(self, keys: Sequence[SeriesKey]) -> Mapping[SeriesKey, KnownSeries]:
        """What the server has of these series."""
        wanted = [key for key in keys if key.source in self._kept_s and key not in self._waiting]
        if not wanted:
            return {}
        try:
            told = await self._server.run(_LOAD, [self._name(key) for key in wanted], [MOST_BYTES])
        except SharedServerError:
            return {}
        if not isinstance(told, list) or len(told) != len(wanted):
            return {}
        bodies = {key: body for key, body in zip(wanted, told, strict=True) if isinstance(body, bytes) and body}
        if sum(map(len, bodies.values())) > SMALL_BYTES:
            return await anyio.to_thread.run_sync(self._read, bodies)
        return self._read(bodies)

    def store(self, key: SeriesKey, known: KnownSeries) -> None:
        """Have a series written soon."""
        if key.source in self._kept_s:
            self._wait(key, known)

    def remove(self, key: SeriesKey) -> None:
        """Have a series deleted soon."""
        if key.source in self._kept_s:
            self._wait(key, None)

    def forget(self, symbol: str, *, heard: bool) -> None:
        """Have all series of an instrument deleted soon, where no other replica has done so."""
        if heard:
            return
        for key in [key for key in self._waiting if key.symbol == symbol]:
            del self._waiting[key]
        self._forgotten = [*self._forgotten, symbol][-WAITING:]
        self._changed.set()

    async def run(self) -> None:
        """Write what is waiting, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            await self.flush()

    async def flush(self) -> None:
        """Write what is waiting now; what the server does not take is dropped, because it is of use for a moment."""
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        forgotten, self._forgotten = self._forgotten, []
        waiting, self._waiting = self._waiting, OrderedDict()
        try:
            for symbol in forgotten:
                await self._server.run(_FORGET, [self._index(symbol)], [self._prefix])
            for key, known in waiting.items():
                await self._write(key, known)
        except SharedServerError:
            return

    async def _write(self, key: SeriesKey, known: KnownSeries | None) -> None:
        body = None if known is None else await anyio.to_thread.run_sync(encode, key, known)
        if body is None or len(body) > MOST_BYTES:
            await self._server.run(_REMOVE, [self._name(key)])
            return
        words: list[Word] = [body, max(1, int(self._kept_s[key.source] * 1000))]
        await self._server.run(_STORE, [self._name(key), self._index(key.symbol)], words)

    def _read(self, bodies: Mapping[SeriesKey, bytes]) -> dict[SeriesKey, KnownSeries]:
        now = self._clock.now()
        read = {key: decode(key, body, now) for key, body in bodies.items()}
        return {key: known for key, known in read.items() if known is not None}

    def _wait(self, key: SeriesKey, known: KnownSeries | None) -> None:
        self._waiting[key] = known
        self._waiting.move_to_end(key)
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)
        self._changed.set()

    def _name(self, key: SeriesKey) -> str:
        hours = "extended" if key.extended_hours else "regular"
        return f"{self._prefix}{key.source}|{key.symbol}|{key.interval}|{key.adjustment}|{hours}"

    def _index(self, symbol: str) -> str:
        return f"{self._prefix}of:{symbol}"
