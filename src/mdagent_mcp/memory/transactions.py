"""One transaction: all of it is written or nothing is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiosqlite
import anyio


@asynccontextmanager
async def transaction(connection: aiosqlite.Connection) -> AsyncIterator[None]:
    """Run the body inside `BEGIN IMMEDIATE … COMMIT`; on any exception it is rolled back.

    The write lock is taken at once, so that what the body reads is still true when it writes.
    """
    # A body that was cancelled between two statements may have left one open; without one this does nothing.
    await connection.rollback()
    await connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        with anyio.CancelScope(shield=True):  # whether it took effect must be known
            await connection.execute("COMMIT")
    except BaseException:
        await connection.rollback()
        raise
