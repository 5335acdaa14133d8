"""A disk that refuses: SQLite connections whose writes fail as on a full, read-only or broken disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final
from unittest import mock


class DiskState(Enum):
    """What the disk does to a write: the code and the words of SQLite's error."""

    WELL = (0, "")
    FULL = (sqlite3.SQLITE_FULL, "database or disk is full")
    READ_ONLY = (sqlite3.SQLITE_READONLY, "attempt to write a readonly database")
    BROKEN = (sqlite3.SQLITE_IOERR, "disk I/O error")


_WRITING: Final = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "ALTER", "DROP", "COMMIT")


class Disk:
    """The disk under every SQLite file that is opened while it is installed.

    Attributes:
        state: what it does now.
        refused: writes that failed.
    """

    def __init__(self) -> None:
        self.state = DiskState.WELL
        self.refused = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put it under every connection that the body opens to a file."""
        real: Callable[..., sqlite3.Connection] = sqlite3.connect

        def connect(database: Any, *args: Any, **options: Any) -> sqlite3.Connection:
            if str(database) == ":memory:":
                return real(database, *args, **options)
            return real(database, *args, factory=_connection_class(self), **options)

        with mock.patch.object(sqlite3, "connect", connect):
            yield

    def check(self, statement: str) -> None:
        """Fail a write while the disk refuses.

        Raises:
            sqlite3.OperationalError: with SQLite's code and words.
        """
        code, words = self.state.value
        if code and statement.lstrip().upper().startswith(_WRITING):
            self.refused += 1
            error = sqlite3.OperationalError(words)
            error.sqlite_errorcode = code
            raise error


def _connection_class(disk: Disk) -> type[sqlite3.Connection]:
    class RefusingConnection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            disk.check(sql)
            return super().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
            disk.check(sql)
            return super().executemany(sql, parameters)

        def commit(self) -> None:
            disk.check("COMMIT")
            super().commit()

    return RefusingConnection
