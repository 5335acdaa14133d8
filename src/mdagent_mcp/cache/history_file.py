"""Known series in a SQLite file, so that the next start does not fetch them again.

The rule of this module: the event loop never waits for the disk. Series are written some time after the answer, by a
thread; reading has a short limit; whatever is wrong with the file - locked, full, damaged, gone - is told by `state`
and costs the file, never an answer. Only series of sources whose owner allows it are written at all.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from mdagent_mcp.cache.known import KnownSeries, SeriesKey
from mdagent_mcp.cache.series_codec import decode, encode
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import clean_text

READ_S: Final = 0.25
"""Seconds that a question waits for the file."""
BUSY_MS: Final = 200
"""How long a thread waits for another process's lock."""
REST_S: Final = 5.0
"""How long a file that failed is left alone."""
WAITING: Final = 500
"""Series that may wait to be written; beyond them the oldest is not written."""
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SCHEMA: Final = """CREATE TABLE IF NOT EXISTS series (
    name TEXT PRIMARY KEY, symbol TEXT NOT NULL, stored_at REAL NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID"""
_UPSERT: Final = """INSERT INTO series VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
    symbol = excluded.symbol, stored_at = excluded.stored_at, bytes = excluded.bytes, body = excluded.body
    WHERE excluded.stored_at >= series.stored_at"""
_OVER: Final = """DELETE FROM series WHERE name IN (
    SELECT name FROM (SELECT name, SUM(bytes) OVER (ORDER BY stored_at DESC, name) AS total FROM series)
    WHERE total > ?)"""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FileLimits:
    """How much is kept.

    Attributes:
        most_bytes: of all series together, packed.
        oldest_s: age at which a series is deleted, seconds.
    """

    most_bytes: int = 256 * 1024 * 1024
    oldest_s: float = 90 * 86_400.0


class HistoryFile:
    """A `HistoryShelf` in a file.

    Args:
        path: of the file, whose directory exists.
        clock: time.
        origins: source id -> what tells its replies apart from those under other settings; sources that are not in
            it are neither written nor read.
        limits: how much is kept.
    """

    def __init__(self, path: Path, clock: Clock, origins: Mapping[str, str], limits: FileLimits | None = None) -> None:
        self.path = path
        self.state = "ok"
        self._clock = clock
        self._origins = dict(origins)
        self._limits = limits or FileLimits()
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._rests_until = 0.0
        self._waiting: OrderedDict[SeriesKey, KnownSeries | None] = OrderedDict()
        self._forgotten: list[str] = []
        self._changed = anyio.Event()
        self._flushing = anyio.Lock()
        self._damaged = False

    async def load(self, keys: Sequence[SeriesKey]) -> Mapping[SeriesKey, KnownSeries]:
        """What the file has of these series."""
        allowed = [key for key in keys if key.source in self._origins and key not in self._waiting]
        if not allowed or self._clock.monotonic() < self._rests_until:
            return {}
        return await self._in_thread(lambda: self._read(allowed), READ_S) or {}

    def store(self, key: SeriesKey, known: KnownSeries) -> None:
        """Have a series written soon."""
        if key.source in self._origins:
            self._wait(key, known)

    def remove(self, key: SeriesKey) -> None:
        """Have a series deleted soon."""
        if key.source in self._origins:
            self._wait(key, None)

    def forget(self, symbol: str, *, heard: bool) -> None:  # noqa: ARG002 - this file is ours alone
        """Have all series of an instrument deleted soon."""
        for key in [key for key in self._waiting if key.symbol == symbol]:
            del self._waiting[key]
        self._forgotten = [*self._forgotten, symbol][-WAITING:]
        self._changed.set()

    async def run(self) -> None:
        """Write what is waiting, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            rest = self._rests_until - self._clock.monotonic()
            await self._clock.sleep(rest)
            if not await self.flush():
                self._changed.set()

    async def flush(self) -> bool:
        """Write what is waiting now; whether the file took it."""
        async with self._flushing:
            return await self._flush()

    async def _flush(self) -> bool:
        waiting, forgotten = dict(self._waiting), list(self._forgotten)
        if not waiting and not forgotten:
            return True
        written = await self._in_thread(lambda: self._write(waiting, forgotten), None)
        if written is None:
            return False
        for key, known in waiting.items():
            if key in self._waiting and self._waiting[key] is known:
                del self._waiting[key]
        del self._forgotten[: len(forgotten)]
        return True

    async def aclose(self) -> None:
        """Write what is waiting and close the file."""
        with anyio.CancelScope(shield=True):
            await self.flush()
            await anyio.to_thread.run_sync(self._close)

    def _wait(self, key: SeriesKey, known: KnownSeries | None) -> None:
        self._waiting[key] = known
        self._waiting.move_to_end(key)
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)
        self._changed.set()

    async def _in_thread(self, work: Callable[[], _T], limit_s: float | None) -> _T | None:
        """Do work on the file in a thread; None when the file failed, which `state` tells then."""
        try:
            if limit_s is None:
                result = await anyio.to_thread.run_sync(work)
            else:
                with self._clock.limit(limit_s):
                    result = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except (sqlite3.Error, OSError, TimeoutError) as error:
            self._failed(error)
            return None
        self.state = f"ok; {self.path.name} was damaged and begun anew" if self._damaged else "ok"
        return result

    def _failed(self, error: Exception) -> None:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        because = clean_text(text or type(error).__name__, 80)
        self.state = f"past prices are kept in memory only: {self.path.name} cannot be used ({because})"
        self._rests_until = self._clock.monotonic() + REST_S

    def _read(self, keys: Sequence[SeriesKey]) -> dict[SeriesKey, KnownSeries]:
        names = {self._name(key): key for key in keys}
        marks = ",".join("?" * len(names))
        query = f"SELECT name, body FROM series WHERE name IN ({marks})"  # noqa: S608 - question marks only
        rows = self._on_file(lambda file: file.execute(query, tuple(names)).fetchall())
        now = self._clock.now()
        found = {names[name]: decode(names[name], body, now) for name, body in rows if isinstance(body, bytes)}
        return {key: known for key, known in found.items() if known is not None}

    def _write(self, waiting: Mapping[SeriesKey, KnownSeries | None], forgotten: Sequence[str]) -> bool:
        rows, gone = [], []
        for key, known in waiting.items():
            body = None if known is None else encode(key, known)
            if known is None or body is None:
                gone.append((self._name(key),))
            else:
                at = known.history.received_at.timestamp()
                rows.append((self._name(key), key.symbol, at, len(body), body))

        def write(file: sqlite3.Connection) -> bool:
            with file:
                file.execute("BEGIN IMMEDIATE")
                file.executemany("DELETE FROM series WHERE symbol = ?", [(symbol,) for symbol in forgotten])
                file.executemany("DELETE FROM series WHERE name = ?", gone)
                file.executemany(_UPSERT, rows)
                file.execute("DELETE FROM series WHERE stored_at < ?", (self._oldest(),))
                file.execute(_OVER, (self._limits.most_bytes,))
            file.execute("PRAGMA incremental_vacuum")
            return True

        return self._on_file(write)

    def _oldest(self) -> float:
        return self._clock.now().timestamp() - self._limits.oldest_s

    def _name(self, key: SeriesKey) -> str:
        hours = "extended" if key.extended_hours else "regular"
        return "|".join((key.source, self._origins[key.source], key.symbol, key.interval, key.adjustment, hours))

    def _on_file(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do work on the open file; in a thread only.

        Raises:
            sqlite3.Error: when the file cannot be used.
            OSError: likewise.
        """
        if not self._lock.acquire(timeout=READ_S):
            raise sqlite3.OperationalError("it is still busy with an earlier question")
        try:
            return work(self._open())
        except sqlite3.Error as error:
            self._close_quietly()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            self._put_aside()
            return work(self._open())
        finally:
            self._lock.release()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self.path.exists():
                self.path.touch(mode=0o600)
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            try:
                connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _put_aside(self) -> None:
        """Rename a damaged file, over the one that was damaged before it."""
        self.path.replace(self.path.with_name(f"{self.path.name}.broken"))
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._damaged = True

    def _close(self) -> None:
        with self._lock:
            self._close_quietly()

    def _close_quietly(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
