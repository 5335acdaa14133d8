"""When a server that runs looks for garbage: seldom, but all of it.

The rule of this module: the clock says when, not the number of objects. What dies young is freed by its reference
count; what is in a circle of references (a session that ended, with its connection and its streams) is found later.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from anyio import CancelScope

from mdagent_mcp.domain.clock import Clock

COLLECT_AFTER: Final = 20_000
"""New objects after which garbage among the young ones is looked for."""
COLLECT_EVERY_S: Final = 60.0
"""Seconds after which garbage among all that came since the start is looked for."""


@asynccontextmanager
async def garbage_collected(clock: Clock) -> AsyncIterator[None]:
    """Leave what lives as long as the server out of garbage collections, and begin one less often, while it runs.

    The default begins one every 700 new objects and walks through everything again and again: a sixth of the time of an
    answer about hundreds of symbols. With fewer of them the interpreter would hardly ever look at what outlived two, so
    that the remains of every session that lasted for minutes added up; this is done by the clock.
    """
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, 20, 50)
    collecting = asyncio.create_task(_collect(clock, _young_collections()), name="garbage")
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        collecting.cancel()
        with CancelScope(shield=True):
            await asyncio.wait((collecting,))


async def _collect(clock: Clock, seen: int) -> None:
    while True:
        await clock.sleep(COLLECT_EVERY_S)
        if seen != _young_collections():  # else next to nothing was made since
            gc.collect()
            seen = _young_collections()


def _young_collections() -> int:
    return int(gc.get_stats()[0]["collections"])
