"""Opening the file so that a server always starts: whatever is wrong with it, there is a usable store or a reason.

The rule of this module: a damaged file is put aside, never deleted, and its last good copy takes its place; without
one a new file is begun. `Opened.note` says which, for people. A file that cannot be used now is a `StoreError`, after
which memory works in RAM and tries again.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import aiosqlite
from anyio import to_thread

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.memory.connection import Connection, StoreError
from mdagent_mcp.memory.copies import has_copy, recovered, sound
from mdagent_mcp.memory.migrations import NewerSchemaError, migrate
from mdagent_mcp.memory.sqlite_connection import SqliteConnection, sqlite_trouble

OPENING_BUSY_MS: Final = 1_000
"""How long opening waits for another process's lock."""
BUSY_MS: Final = 5_000
"""How long a write waits for another process's lock."""
CHECKED_AT_ONCE_BYTES: Final = 4 * 1024 * 1024
"""Up to this size the file is checked while it is opened, above it in the background just after."""
_WAL_BYTES: Final = 16 * 1024 * 1024


def _is_current() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Opened:
    """A store ready for use.

    Attributes:
        connection: for writing, and for what is read with it.
        reader: for reading while something is written.
        note: what a person should know about it; empty when all is well.
        is_current: whether this is still the store that would be opened now.
    """

    connection: Connection
    reader: Connection
    note: str = ""
    is_current: Callable[[], bool] = _is_current

    async def tidy(self) -> None:
        """Fold what SQLite keeps beside the file into it; nothing to do elsewhere.

        Raises:
            StoreError: when that cannot be done now, which loses nothing.
        """
        if isinstance(self.connection, SqliteConnection):
            await self.connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")

    async def close(self) -> None:
        """Close both connections."""
        if self.reader is not self.connection:
            await self.reader.close()
        await self.connection.close()


class Database(Protocol):
    """Where memory is kept."""

    async def open(self, *, damaged: bool = False) -> Opened:
        """Open, check and migrate the store.

        Args:
            damaged: whether it turned out to be damaged since it was opened last.

        Raises:
            StoreError: when it cannot be used now.
        """
        ...

    async def keep_safe(self, now_day: str) -> bool:
        """Check the whole store once and see to its daily copy; False when it is damaged.

        Args:
            now_day: today, as `20261123`.

        Raises:
            StoreError: when there is no copy of today, and why.
        """
        ...


class RamDatabase:
    """A store that is lost at the end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def open(self, *, damaged: bool = False) -> Opened:  # noqa: ARG002 - there is no file to check
        """See `Database`."""
        connection = await _connected(":memory:")
        await migrate(connection, self._clock.now().timestamp())
        return Opened(connection, connection)

    async def keep_safe(self, now_day: str) -> bool:  # noqa: ARG002
        """See `Database`; there is nothing to do."""
        return True


class FileDatabase:
    """A store in an SQLite file.

    Args:
        path: of the file; its directory is made when it is missing.
        clock: for record times and the names of what is put aside.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._is_checked = False

    async def open(self, *, damaged: bool = False) -> Opened:
        """See `Database`."""
        path = self._path
        try:
            _make_room(path)
            try:
                return await self._opened(checked=damaged)
            except StoreError as error:
                if not error.damaged:
                    raise
            return await self._opened(checked=False, note=self._replace_damaged())
        except (OSError, StoreError, NewerSchemaError) as error:
            raise StoreError(f"{path.name} cannot be used ({reason(error)})", lasting=True) from error

    async def keep_safe(self, now_day: str) -> bool:
        """See `Database`."""
        if self._is_checked and has_copy(self._path, now_day):
            return True
        self._is_checked = await to_thread.run_sync(sound, self._path, now_day)
        return self._is_checked

    async def _opened(self, *, checked: bool, note: str = "") -> Opened:
        connection = await _connected(str(self._path))
        try:
            await self._prepare(connection, checked=checked)
            reader = await _connected(str(self._path))
        except BaseException:
            await connection.close()
            raise
        identity = _identity(self._path)
        return Opened(connection, reader, note, lambda: _identity(self._path) == identity)

    async def _prepare(self, connection: SqliteConnection, *, checked: bool) -> None:
        await connection.execute_fetchall(f"PRAGMA busy_timeout={OPENING_BUSY_MS}")
        if checked or self._path.stat().st_size <= CHECKED_AT_ONCE_BYTES:
            verdict = await connection.execute_fetchall("PRAGMA quick_check(1)")
            if verdict != [("ok",)]:
                raise StoreError(clean_text(str(verdict), 120), damaged=True)
        try:
            await connection.raw.execute_fetchall("PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            # Another process is just doing the same, which SQLite does not wait for; its choice holds for us too.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise sqlite_trouble(error) from error
        await connection.execute("PRAGMA synchronous=NORMAL")
        await connection.execute_fetchall(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        await migrate(connection, self._clock.now().timestamp())
        await connection.execute_fetchall(f"PRAGMA busy_timeout={BUSY_MS}")

    def _replace_damaged(self) -> str:
        """Put the damaged file aside and its last good copy, or nothing, in its place; returns the note about it."""
        aside = self._put_aside()
        day = recovered(self._path)
        if day is not None:
            return f"recovered from the copy of {day}: {self._path.name} was damaged and is kept as {aside.name}"
        _make_room(self._path)
        return f"started afresh: {self._path.name} was damaged and is kept as {aside.name}"

    def _put_aside(self) -> Path:
        """Rename a damaged file and what SQLite keeps beside it."""
        path, stamp = self._path, self._clock.now().strftime("%Y%m%dT%H%M%S")
        aside = path.with_name(f"{path.name}.broken-{stamp}")
        number = 1
        while aside.exists():
            number += 1
            aside = path.with_name(f"{path.name}.broken-{stamp}-{number}")
        for suffix in ("", "-wal", "-shm"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        return aside


def reason(error: Exception) -> str:
    """Why the disk refused, short and safe to show."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return clean_text(text or type(error).__name__, 120)


async def _connected(target: str) -> SqliteConnection:
    refusals: list[sqlite3.Error] = []

    def connect() -> sqlite3.Connection:
        try:
            return sqlite3.connect(target, isolation_level=None)
        except sqlite3.Error as error:
            # A thread whose connector failed can only be ended without waiting for it, and may outlive the loop.
            refusals.append(error)
            return sqlite3.connect(":memory:")

    raw = await aiosqlite.Connection(connect, iter_chunk_size=64)
    if refusals:
        await raw.close()
        raise sqlite_trouble(refusals[0]) from refusals[0]
    try:
        await raw.execute_fetchall("SELECT pow(2.0, 1.0)")
    except sqlite3.Error:  # not every build of SQLite has mathematics
        await raw.create_function("pow", 2, math.pow, deterministic=True)
    return SqliteConnection(raw)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is; None when there is none."""
    try:
        told = path.stat()
    except OSError:
        return None
    return (told.st_dev, told.st_ino)


def _make_room(path: Path) -> None:
    """Make the directory (for its owner alone) and an empty file that only its owner reads."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600, exist_ok=True)
