"""Conditional requests: a reply that carries a validator is kept, and the server asked whether it still holds.

The rule of this module: a kept body is never served without the server's word (304) that it is current. What is kept
is bounded in entries and bytes, lives in memory only, and is found again only by the same key of the same vendor.
RFC 9110, sections 8.8 (validators) and 13.1 (preconditions).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mdagent_mcp.domain.vendor import Reply, Request

ENTRIES: Final = 256
BYTES: Final = 4 * 1024 * 1024
LARGEST_BYTES: Final = 1024 * 1024
"""A larger body is not kept: it would push out everything else."""

Address = tuple[str, Request, str | None]
"""Base URL, request, key."""

_CONDITIONS: Final[Mapping[str, str]] = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
_NOT_MODIFIED: Final = 304


@dataclass(frozen=True, slots=True)
class Kept:
    """A reply and the headers that ask whether it still holds.

    Attributes:
        reply: as it came.
        conditions: headers of the next request for it.
    """

    reply: Reply
    conditions: Mapping[str, str]


class ValidatorCache:
    """The validated replies of one vendor's client, the longest unused dropped first.

    Args:
        entries: replies kept at most.
        capacity: bytes of bodies kept at most.
    """

    def __init__(self, entries: int = ENTRIES, capacity: int = BYTES) -> None:
        self._entries = entries
        self._capacity = capacity
        self._kept: OrderedDict[Address, Kept] = OrderedDict()
        self._held = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of the bodies kept."""
        return self._held

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, address: Address) -> Kept | None:
        """The reply kept for this address."""
        return self._kept.get(address)

    def settle(self, address: Address, kept: Kept | None, reply: Reply) -> Reply:
        """What a reply comes to: itself, or the kept body where the server says that it still holds.

        Args:
            address: what was asked.
            kept: whose conditions were sent along.
            reply: what came back; its receive time is that of the result.
        """
        if kept is not None and reply.status == _NOT_MODIFIED:
            if address in self._kept:
                self._kept.move_to_end(address)
            return Reply(kept.reply.status, {**kept.reply.headers, **reply.headers}, kept.reply.body, reply.received_at)
        self.forget(address)
        conditions = _conditions(reply)
        if conditions and len(reply.body) <= min(LARGEST_BYTES, self._capacity):
            self._kept[address] = Kept(reply, conditions)
            self._held += len(reply.body)
            self._shrink()
        return reply

    def forget(self, address: Address) -> None:
        """Ask for the whole the next time."""
        gone = self._kept.pop(address, None)
        self._held -= 0 if gone is None else len(gone.reply.body)

    def _shrink(self) -> None:
        while len(self._kept) > self._entries or self._held > self._capacity:
            _, gone = self._kept.popitem(last=False)
            self._held -= len(gone.reply.body)


def _conditions(reply: Reply) -> dict[str, str]:
    """What to send along next time; nothing for a reply that is not to be kept."""
    if reply.status != 200 or "no-store" in reply.headers.get("cache-control", "").lower():
        return {}
    return {condition: reply.headers[name] for name, condition in _CONDITIONS.items() if reply.headers.get(name)}
