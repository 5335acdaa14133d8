"""Memory's connection to SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import aiosqlite
import anyio

from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.memory.connection import Row, StoreError
from mdagent_mcp.memory.dialect import for_sqlite

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LASTING: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
"""What a connection may go on saying although the disk is well again."""


class SqliteConnection:
    """A `Connection` to a file or to RAM.

    Args:
        raw: in autocommit mode.
    """

    def __init__(self, raw: aiosqlite.Connection) -> None:
        self.raw = raw

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """See `Connection`."""
        with _told():
            await self.raw.execute(for_sqlite(statement), values)

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """See `Connection`."""
        if not rows:
            return
        with _told():
            await self.raw.executemany(for_sqlite(statement), rows)

    async def execute_fetchall(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """See `Connection`."""
        with _told():
            return [tuple(row) for row in await self.raw.execute_fetchall(for_sqlite(statement), values)]

    async def tables(self) -> frozenset[str]:
        """See `Connection`."""
        rows = await self.execute_fetchall("SELECT name FROM sqlite_master WHERE type = 'table'")
        return frozenset(str(name) for (name,) in rows)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """See `Connection`; the outcome of a COMMIT is never in doubt here."""
        with _told():
            # A body that was cancelled between two statements may have left one open; without one this does nothing.
            await self.raw.rollback()
            await self.raw.execute("BEGIN IMMEDIATE")
        try:
            yield
            with anyio.CancelScope(shield=True), _told():  # whether it took effect must be known
                await self.raw.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error, ValueError):  # the first error is the one to tell
                await self.raw.rollback()
            raise

    async def close(self) -> None:
        """See `Connection`."""
        await self.raw.close()


def sqlite_trouble(error: sqlite3.Error | ValueError) -> StoreError:
    """What SQLite says is wrong, as a `StoreError`."""
    code = getattr(error, "sqlite_errorcode", None)
    kind = code & 0xFF if isinstance(code, int) else None
    text = clean_text(str(error) or type(error).__name__, 120)
    return StoreError(text, lasting=kind is None or kind in _LASTING, damaged=kind in _DAMAGED)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as error:  # ValueError: aiosqlite's word for a closed connection
        raise sqlite_trouble(error) from error
