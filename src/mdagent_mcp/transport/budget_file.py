"""Budgets in the SQLite file that all processes of a machine share.

The rule of this module: the event loop never waits for the file. A statement takes microseconds; where another process
holds the write lock, a thread waits for it, and every other trouble with the disk is a `StoreError`, after which the
caller's mirror decides.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio.to_thread

from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.transport.budgets import Stored, StoreError

PATIENCE_S: Final = 0.25
"""Seconds a thread waits for another process's write lock."""
_OPENING_BUSY_MS: Final = 250
_SCHEMA: Final = """CREATE TABLE IF NOT EXISTS budget (
    account TEXT PRIMARY KEY, revision INTEGER NOT NULL, log TEXT NOT NULL) WITHOUT ROWID"""


class FileStore:
    """Keeps budgets in a table of a database file.

    Args:
        path: of the file, whose directory exists.
    """

    assumed_replicas: Final = 1
    """A process that cannot use the file of its own machine is taken to be the only one that can not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    async def load(self, account: str) -> Stored:
        """The log of an account.

        Raises:
            StoreError: when the file cannot be used.
        """
        query = "SELECT revision, log FROM budget WHERE account = ?"
        try:
            row = self._open().execute(query, (account,)).fetchone()
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error
        return Stored(0, "") if row is None else Stored(int(row[0]), str(row[1]))

    async def swap(self, account: str, revision: int, text: str) -> bool:
        """Write a log over the one of that revision; False when another process wrote first or is just writing.

        Raises:
            StoreError: when the file cannot be used.
        """
        try:
            return _swapped(self._open(), account, revision, text)
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise self._trouble(error) from error
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error
        try:
            return await anyio.to_thread.run_sync(self._swap_patiently, account, revision, text)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error

    def _swap_patiently(self, account: str, revision: int, text: str) -> bool:
        """The same on a connection of its own that waits for the lock; meant for a thread."""
        with closing(sqlite3.connect(self.path, timeout=PATIENCE_S, isolation_level=None)) as connection:
            return _swapped(connection, account, revision, text)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self.path, isolation_level=None)
            try:
                _prepare(connection)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _trouble(self, error: Exception) -> StoreError:
        self.close()
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return StoreError(f"{self.path.name} cannot be used ({clean_text(text or type(error).__name__, 80)})")


def _swapped(connection: sqlite3.Connection, account: str, revision: int, text: str) -> bool:
    if revision == 0:
        first = "INSERT INTO budget VALUES (?, 1, ?) ON CONFLICT DO NOTHING"
        return connection.execute(first, (account, text)).rowcount == 1
    later = "UPDATE budget SET revision = revision + 1, log = ? WHERE account = ? AND revision = ?"
    return connection.execute(later, (text, account, revision)).rowcount == 1


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether another process holds the lock, which passes by itself."""
    return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout={_OPENING_BUSY_MS}")
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        # Another process is just doing the same, which SQLite does not wait for; its choice holds for us too.
        if not is_busy(error):
            raise
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(_SCHEMA)
    connection.execute("PRAGMA busy_timeout=0")
