"""What replicas tell each other: which sources they rest and why, and whose past prices were corrected.

A signal is a hint. An opening tells its cell, its kind of failure and how long it still lasts by the server's clock;
what a replica makes of it is its own decision. Everything is bounded and expires, and what cannot be read is ignored.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mdagent_mcp.cache.shared_server import SPACE, SharedServer, SharedServerError, Word
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import SYMBOL_LIMIT
from mdagent_mcp.domain.vendor import Endpoint

LONGEST_REST_S: Final = 3600.0
WRONG_PRICES: Final = "wrong_prices"
"""The reason of an opening that no failed call brought about."""
_REASONS: Final = frozenset({*FailureKind, WRONG_PRICES})

_EXCHANGE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 1, 2 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= ({'hash', 'zset'})[i] then redis.call('DEL', KEYS[i]) end
end
local opened, corrected = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 1, opened do
  local at = 3 + (i - 1) * 3
  local til = string.format('%.0f', now + tonumber(ARGV[at + 3]))
  redis.call('HSET', KEYS[1], ARGV[at + 1], ARGV[at + 2] .. '|' .. string.format('%.0f', now) .. '|' .. til)
end
for i = 1, corrected do
  redis.call('ZADD', KEYS[2], now, ARGV[3 + opened * 3 + i])
end
if redis.call('HLEN', KEYS[1]) > 300 then redis.call('DEL', KEYS[1]) end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1001)
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('PEXPIRE', KEYS[2], 3600000)
local heard = redis.call('HGETALL', KEYS[1])
for i = 1, #heard, 2 do
  local til = tonumber(string.match(heard[i + 1], '|(%d+)$') or '0')
  if til <= now then redis.call('HDEL', KEYS[1], heard[i]) end
end
return {now, heard, redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, 1000)}
"""


@dataclass(frozen=True, slots=True)
class Opening:
    """A circuit that a replica opened.

    Attributes:
        source: source id.
        endpoint: None for the source as a whole.
        because: a failure code, or `wrong_prices`.
        rest_s: how long it still rests, seconds.
        told_ago_s: how long ago it was told, seconds; 0 for one that is told now.
        told_at: the server's milliseconds when it was told; 0 for one that is told now.
        replica: who opened it; empty for ourselves.
    """

    source: str
    endpoint: Endpoint | None
    because: str
    rest_s: float
    told_ago_s: float = 0.0
    told_at: int = 0
    replica: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the others told.

    Attributes:
        openings: circuits of others that still rest.
        corrected: symbols whose past prices were found corrected since we last asked, by whomever.
    """

    openings: tuple[Opening, ...]
    corrected: tuple[str, ...]


class SharedSignals:
    """Tells the others and hears them, in one command.

    Args:
        server: which.
        space: replicas with other sources have another one.
    """

    def __init__(self, server: SharedServer, space: str) -> None:
        self._server = server
        self._names = [f"{SPACE}:{{{space}}}:openings", f"{SPACE}:{{{space}}}:corrected"]
        self._replica = uuid.uuid4().hex
        self._heard_until: int | None = None
        self._recent: set[tuple[bytes, object]] = set()

    async def exchange(self, openings: Sequence[Opening], corrected: Sequence[str]) -> Heard:
        """Tell what is new here and hear what is known there.

        Raises:
            SharedServerError: when the server cannot be used; nothing was told then, as far as we know.
        """
        words: list[Word] = [self._since(), len(openings), len(corrected)]
        for opening in openings:
            cell = f"{self._replica}|{opening.source}|{opening.endpoint or ''}"
            words.extend((cell, opening.because, int(min(opening.rest_s, LONGEST_REST_S) * 1000)))
        words.extend(corrected)
        told = await self._server.run(_EXCHANGE, self._names, words)
        match told:
            case [int(now), list(heard), list(corrections)]:
                self._heard_until = now
                return Heard(tuple(self._openings(heard, now)), self._new_corrections(corrections))
            case _:
                raise SharedServerError("the shared server answers nonsense")

    def _new_corrections(self, told: Sequence[object]) -> tuple[str, ...]:
        """The symbols among symbols and their instants; what was heard last time is not heard again."""
        recent = {(symbol, at) for symbol, at in zip(told[::2], told[1::2], strict=False) if isinstance(symbol, bytes)}
        new, self._recent = recent - self._recent, recent
        return tuple(sorted(text for symbol, _ in new if (text := _text(symbol)) is not None))

    def _since(self) -> str:
        """From when on corrections are of interest: a millisecond before the last time, because two may share one."""
        return "+inf" if self._heard_until is None else str(self._heard_until - 1)

    def _openings(self, heard: Sequence[object], now: int) -> Iterator[Opening]:
        for field, value in zip(heard[::2], heard[1::2], strict=False):
            opening = _opening(field, value, now)
            if opening is not None and opening.replica != self._replica:
                yield opening


def _opening(field: object, value: object, now_ms: int) -> Opening | None:
    """What one entry says; None when it cannot be read, or cannot be true."""
    if not isinstance(field, bytes) or not isinstance(value, bytes) or len(field) + len(value) > 300:
        return None
    try:
        replica, source, endpoint = field.decode("ascii").split("|")
        because, told, until = value.decode("ascii").split("|")
        where = Endpoint(endpoint) if endpoint else None
        told_ago_s, rest_s = (now_ms - int(told)) / 1000.0, (int(until) - now_ms) / 1000.0
    except ValueError:
        return None
    possible = because in _REASONS and told_ago_s >= 0 and 0 < rest_s <= LONGEST_REST_S
    return Opening(source, where, because, rest_s, told_ago_s, int(told), replica) if possible else None


def _text(symbol: bytes) -> str | None:
    try:
        return symbol.decode() if len(symbol) <= SYMBOL_LIMIT * 4 else None
    except ValueError:
        return None
