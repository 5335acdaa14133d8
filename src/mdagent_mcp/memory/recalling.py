"""Reading what is stored about instruments, for everybody who asks at the same time in one go.

The rule of this module: questions that begin together are told together. Each one's own read would let them go on one
by one, and what they then ask vendors for could no longer share a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from anyio.lowlevel import checkpoint

__all__ = ["Recalls"]


class Recalls:
    """Gathers names that are asked for in the same round of the event loop, and reads them together.

    Args:
        read: reads what is stored about these names and raises nothing.
    """

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._read = read
        self._names: dict[str, None] = {}
        self._next: asyncio.Task[None] | None = None

    async def recall(self, names: Iterable[str]) -> None:
        """Return when these names have been read; whoever is cancelled takes nothing from the others."""
        self._names.update(dict.fromkeys(names))
        if self._next is None:
            self._next = asyncio.create_task(self._read_gathered(), name="memory recall")
        await asyncio.shield(self._next)

    async def _read_gathered(self) -> None:
        await checkpoint()  # whoever asks in this round is still taken along
        names, self._names, self._next = tuple(self._names), {}, None
        await self._read(names)
