"""Single flight across replicas: for one question one replica asks the vendors, the others wait a moment for it.

Who asks holds a lease with a time of its own, so a replica that dies holds up nobody for longer than that; whoever has
waited long enough asks by itself. The server's own clock tells how old a value is, so that the machines' clocks need
not agree.

The rule of this module: values are bytes that nobody vouches for; whoever reads them checks them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mdagent_mcp.cache.shared_server import SPACE, SharedServer, SharedServerError, Word

LEASE_S: Final = 1.0
"""Seconds for which one replica asks and the others wait."""
MOST_BYTES: Final = 64 * 1024
"""Of a value; longer ones are neither written nor read."""

_READ: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function kept_at(key)
  local kept = redis.pcall('HMGET', key, 'at', 'body')
  local at = not kept.err and tonumber(kept[1] or '')
  if not at or not kept[2] or at > now or redis.call('PTTL', key) < 0 then
    redis.call('DEL', key)
    return false, false
  end
  return kept[1], kept[2]
end
"""
_LOOK: Final = (
    _READ
    + """
local told = {}
for i = 1, #KEYS, 2 do
  local at, body = kept_at(KEYS[i])
  local lease = KEYS[i + 1]
  if at and body and at ~= ARGV[3 + (i + 1) / 2] and #body <= tonumber(ARGV[3]) then
    told[#told + 1] = {at, now - tonumber(at), body}
  else
    local left = redis.call('PTTL', lease)
    if left < 0 or left > tonumber(ARGV[2]) or redis.pcall('GET', lease) == ARGV[1] then
      redis.call('SET', lease, ARGV[1], 'PX', ARGV[2])
      told[#told + 1] = 1
    else
      told[#told + 1] = 0
    end
  end
end
return told
"""
)
_TELL: Final = (
    _READ
    + """
local at = now - tonumber(ARGV[2])
local before = kept_at(KEYS[1])
if not before or tonumber(before) <= at then
  redis.call('HSET', KEYS[1], 'at', string.format('%.0f', at), 'body', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
if redis.pcall('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
"""
)
_RELEASE: Final = """
for i = 1, #KEYS do
  if redis.pcall('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A value that another replica left, or we ourselves.

    Attributes:
        at: tells it from an earlier and a later one.
        age_s: by the server's clock.
        body: unchecked.
    """

    at: bytes
    age_s: float
    body: bytes


@dataclass(frozen=True, slots=True)
class Leads:
    """The lease is ours: ask, then tell or release."""


@dataclass(frozen=True, slots=True)
class Follows:
    """Another replica is asking."""


Look = Found | Leads | Follows


class SharedFlights:
    """Values and leases on the server.

    Args:
        server: which.
        space: replicas with other sources have another one, so that they never share.
        kind: what the values are.
        replica: tells this replica from the others; made up when not given.
    """

    def __init__(self, server: SharedServer, space: str, kind: str, *, replica: str = "") -> None:
        self._server = server
        self._prefix = f"{SPACE}:{{{space}}}:{kind}:"
        self._replica = replica or uuid.uuid4().hex

    async def look(self, names: Sequence[str], seen: Mapping[str, bytes]) -> dict[str, Look]:
        """For each name a value other than the one that was seen, the lease, or that another replica has it.

        Raises:
            SharedServerError: when the server cannot be used.
        """
        keys = [key for name in names for key in (self._value(name), self._lease(name))]
        words: list[Word] = [self._replica, int(LEASE_S * 1000), MOST_BYTES]
        words.extend(seen.get(name, b"") for name in names)
        told = await self._server.run(_LOOK, keys, words)
        if not isinstance(told, list) or len(told) != len(names):
            raise SharedServerError("the shared server answers nonsense")
        return {name: _look(answer) for name, answer in zip(names, told, strict=True)}

    async def tell(self, name: str, body: bytes, *, age_s: float, kept_s: float) -> None:
        """Leave a value for the others and give the lease back; a younger value stays.

        Raises:
            SharedServerError: when the server cannot be used.
        """
        if len(body) > MOST_BYTES or kept_s <= 0:
            await self.release([name])
            return
        words: list[Word] = [self._replica, max(0, int(age_s * 1000)), body, max(1, int(kept_s * 1000))]
        await self._server.run(_TELL, [self._value(name), self._lease(name)], words)

    async def release(self, names: Sequence[str]) -> None:
        """Give leases back without a value.

        Raises:
            SharedServerError: when the server cannot be used.
        """
        await self._server.run(_RELEASE, [self._lease(name) for name in names], [self._replica])

    def _value(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _lease(self, name: str) -> str:
        return f"{self._prefix}{name}:lease"


def _look(told: object) -> Look:
    match told:
        case [bytes(at), int(age_ms), bytes(body)]:
            return Found(at, max(0.0, age_ms / 1000.0), body)
        case 1:
            return Leads()
        case _:
            return Follows()
