"""Opening the store so that a server always starts: whatever is wrong with the file, there is a usable database.

The rule of this module: no trouble with the disk is an error for the caller. A damaged file is put aside and a new one
begun; where a file cannot be used at all, the database lives in RAM; `Opened.note` says which, for people.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiosqlite

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.memory.migrations import NewerSchemaError, migrate

IN_RAM: Final = ":memory:"
OPENING_BUSY_MS: Final = 1_000
"""How long opening waits for another process's lock."""
BUSY_MS: Final = 5_000
"""How long a write waits for another process's lock."""
WHOLE_CHECK_BYTES: Final = 16 * 1024 * 1024
"""Up to this size the whole file is checked at start, above it every table but the evidence."""
_CHECKED_TABLES: Final = ("session", "cell", "fault", "symbol", "membership", "migration")
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class Opened:
    """A database ready for use.

    Attributes:
        connection: in autocommit mode.
        note: what a person should know about it; empty when all is well.
    """

    connection: aiosqlite.Connection
    note: str = ""


class DamagedFileError(Exception):
    """The file is no database, or one that was damaged."""


async def open_database(path: Path | None, clock: Clock) -> Opened:
    """Open, check and migrate the database at `path`; None for one in RAM."""
    if path is None:
        return Opened(await _connect(IN_RAM, clock))
    try:
        _make_room(path)
        try:
            return Opened(await _connect(str(path), clock))
        except DamagedFileError:
            aside = _put_aside(path, clock)
            note = f"started afresh: {path.name} was damaged and is kept as {aside.name}"
            return Opened(await _connect(str(path), clock), note)
    except (OSError, sqlite3.Error, NewerSchemaError, DamagedFileError) as error:
        note = f"kept in RAM only, lost at the end: {path.name} cannot be used ({reason(error)})"
        return Opened(await _connect(IN_RAM, clock), note)


def reason(error: Exception) -> str:
    """Why the disk refused, short and safe to show."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return clean_text(text or type(error).__name__, 120)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is damaged, rather than locked, full or read-only."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _DAMAGED


async def _connect(target: str, clock: Clock) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(target, isolation_level=None)
    try:
        await _prepare(connection, target, clock)
    except sqlite3.Error as error:
        await connection.close()
        if is_damage(error):
            raise DamagedFileError(str(error)) from error
        raise
    except BaseException:
        await connection.close()
        raise
    return connection


async def _prepare(connection: aiosqlite.Connection, target: str, clock: Clock) -> None:
    await connection.execute(f"PRAGMA busy_timeout={OPENING_BUSY_MS}")
    if target != IN_RAM:
        await _check(connection, Path(target))
        try:
            await connection.execute_fetchall("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # Another process is just doing the same, which SQLite does not wait for; its choice holds for us too.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
    await connection.execute("PRAGMA synchronous=NORMAL")
    await migrate(connection, clock.now().timestamp())
    await connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")


async def _check(connection: aiosqlite.Connection, path: Path) -> None:
    """Look for damage.

    Raises:
        DamagedFileError: when there is some.
    """
    whole = _size_of(path) <= WHOLE_CHECK_BYTES
    present = {str(name) for (name,) in await connection.execute_fetchall("SELECT name FROM sqlite_master")}
    checks = (
        ["PRAGMA quick_check(1)"] if whole else [f"PRAGMA quick_check({t})" for t in _CHECKED_TABLES if t in present]
    )
    for check in checks:
        verdict = [str(row[0]) for row in await connection.execute_fetchall(check)]
        if verdict != ["ok"]:
            raise DamagedFileError("; ".join(verdict)[:200])


def _size_of(path: Path) -> int:
    return path.stat().st_size


def _make_room(path: Path) -> None:
    """Make the directory (for its owner alone) and an empty file that only its owner reads."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600, exist_ok=True)


def _put_aside(path: Path, clock: Clock) -> Path:
    """Rename a damaged file and what SQLite keeps beside it."""
    stamp = clock.now().strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.broken-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.broken-{stamp}-{number}")
    for suffix in ("", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    _make_room(path)
    return aside
