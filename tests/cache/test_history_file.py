"""Past prices on disk: there after a restart, bounded, and never in anybody's way."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from cache.test_series_codec import KEY, NOW, some_series
from mdagent_mcp.cache.histories import HistoryCache
from mdagent_mcp.cache.history_file import REST_S, FileLimits, HistoryFile
from mdagent_mcp.cache.known import SeriesKey
from mdagent_mcp.testing import ManualClock

OTHER = replace(KEY, symbol="MSFT")


def opened(path: Path, clock: ManualClock | None = None, limits: FileLimits | None = None) -> HistoryFile:
    """A file that keeps the series of one source."""
    return HistoryFile(path / "history.sqlite3", clock or ManualClock(NOW), {"one": "origin"}, limits)


async def kept(path: Path, *keys: SeriesKey) -> list[bool]:
    """Whether a new start finds these."""
    async with aclosing(opened(path)) as file:
        found = await file.load(keys)
        assert file.state == "ok"
        return [key in found for key in keys]


async def test_a_series_is_there_after_a_restart_with_its_instants(tmp_path: Path) -> None:
    """Written when the process ends, read by the next one; readable by its owner alone."""
    async with aclosing(opened(tmp_path)) as file:
        file.store(KEY, some_series())
    async with aclosing(opened(tmp_path)) as file:
        cache = HistoryCache(shelves=[file])
        await cache.recall([KEY, OTHER])
        assert cache.find(KEY) == some_series()
        assert cache.find(OTHER) is None
    assert (tmp_path / "history.sqlite3").stat().st_mode & 0o777 == 0o600


async def test_it_is_written_behind_the_answer(tmp_path: Path) -> None:
    """Storing costs the asker nothing; a task of its own writes soon."""
    file = opened(tmp_path)
    async with aclosing(file), anyio.create_task_group() as tasks:
        tasks.start_soon(file.run)
        file.store(KEY, some_series())
        assert not (tmp_path / "history.sqlite3").exists()
        with anyio.fail_after(10):
            while (await kept(tmp_path, KEY)) != [True]:  # noqa: ASYNC110 - written by a thread, which tells nobody
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


async def test_what_its_source_does_not_allow_is_neither_written_nor_read(tmp_path: Path) -> None:
    """Nor is what was fetched under other settings."""
    elsewhere = replace(KEY, source="two")
    async with aclosing(opened(tmp_path)) as file:
        file.store(elsewhere, some_series())
        assert await file.load([elsewhere]) == {}
    assert not (tmp_path / "history.sqlite3").exists()
    async with aclosing(opened(tmp_path)) as file:
        file.store(KEY, some_series())
    async with aclosing(HistoryFile(tmp_path / "history.sqlite3", ManualClock(NOW), {"one": "another plan"})) as file:
        assert await file.load([KEY]) == {}
    async with aclosing(HistoryFile(tmp_path / "history.sqlite3", ManualClock(NOW), {})) as file:
        assert await file.load([KEY]) == {}


async def test_what_is_dropped_or_corrected_leaves_the_disk(tmp_path: Path) -> None:
    """One series, or all of an instrument; what is written after that stays."""
    async with aclosing(opened(tmp_path)) as file:
        file.store(KEY, some_series())
        file.store(OTHER, some_series())
    async with aclosing(opened(tmp_path)) as file:
        file.remove(OTHER)
    assert await kept(tmp_path, KEY) == [True]
    assert await kept(tmp_path, OTHER) == [False]
    async with aclosing(opened(tmp_path)) as file:
        file.forget("AAPL", heard=True)
    assert await kept(tmp_path, KEY) == [False]
    async with aclosing(opened(tmp_path)) as file:
        file.forget("AAPL", heard=False)
        file.store(KEY, some_series())
    assert await kept(tmp_path, KEY) == [True]


async def test_the_file_is_bounded_in_size_and_age(tmp_path: Path) -> None:
    """The oldest leaves first."""
    clock = ManualClock(NOW)
    async with aclosing(opened(tmp_path, clock, FileLimits(most_bytes=8_000, oldest_s=86_400.0))) as file:
        for number in range(10):
            known = some_series(NOW - timedelta(minutes=10 - number))
            file.store(replace(KEY, symbol=f"S{number}"), replace(known, history=replace(known.history, symbol="S")))
        await file.flush()
    with sqlite3.connect(tmp_path / "history.sqlite3") as look:
        rows = look.execute("SELECT symbol, bytes FROM series ORDER BY symbol").fetchall()
    look.close()
    assert 0 < sum(size for _, size in rows) <= 8_000
    assert [symbol for symbol, _ in rows] == [f"S{number}" for number in range(10 - len(rows), 10)]
    await clock.advance(86_401)
    async with aclosing(opened(tmp_path, clock, FileLimits(oldest_s=86_400.0))) as file:
        file.remove(KEY)
    with sqlite3.connect(tmp_path / "history.sqlite3") as look:
        assert look.execute("SELECT COUNT(*) FROM series").fetchall() == [(0,)]
    look.close()


async def test_a_lock_of_another_process_costs_the_file_for_a_moment(tmp_path: Path) -> None:
    """It says so, keeps what is to be written, and writes it when the lock is gone."""
    clock = ManualClock(NOW)
    async with aclosing(opened(tmp_path, clock)) as file:
        await file.load([KEY])
        writer = sqlite3.connect(tmp_path / "history.sqlite3", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        file.store(KEY, some_series())
        assert not await file.flush()
        assert file.state == (
            "past prices are kept in memory only: history.sqlite3 cannot be used (database is locked)"
        )
        assert await file.load([OTHER]) == {}
        writer.execute("ROLLBACK")
        writer.close()
        await clock.advance(REST_S)
        assert await file.flush()
        assert file.state == "ok"
    assert await kept(tmp_path, KEY) == [True]


async def test_a_full_disk_costs_the_file_and_no_answer(tmp_path: Path) -> None:
    """A file that may not grow stands for it."""
    async with aclosing(opened(tmp_path)) as file:
        await file.load([KEY])
        connection = file._connection
        assert connection is not None
        connection.execute("PRAGMA max_page_count = 4")
        for number in range(30):
            file.store(replace(KEY, symbol=f"S{number}"), some_series())
        assert not await file.flush()
        assert "cannot be used (database or disk is full)" in file.state


async def test_a_damaged_file_is_put_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    """One of them is kept, and the state says what happened."""
    path = tmp_path / "history.sqlite3"
    path.write_bytes(b"this is not a database, and it is long enough to be read as one" * 100)
    async with aclosing(opened(tmp_path)) as file:
        assert await file.load([KEY]) == {}
        assert file.state == "ok; history.sqlite3 was damaged and begun anew"
        file.store(KEY, some_series())
    assert await kept(tmp_path, KEY) == [True]
    assert path.with_name("history.sqlite3.broken").read_bytes().startswith(b"this is not a database")


async def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    """And the cache goes on in memory."""
    file = HistoryFile(tmp_path / "gone" / "history.sqlite3", ManualClock(NOW), {"one": ""})
    cache = HistoryCache(shelves=[file])
    cache.keep(KEY, some_series())
    assert not await file.flush()
    await cache.recall([OTHER])
    assert cache.find(KEY) == some_series()
    assert (
        cache.state == "past prices are kept in memory only: history.sqlite3 cannot be used (No such file or directory)"
    )
    await file.aclose()


@pytest.mark.parametrize("body", [b"", b"rubbish", "text", None])
async def test_a_row_that_somebody_else_wrote_is_ignored(tmp_path: Path, body: object) -> None:
    """It is not read, and written over by the next answer."""
    async with aclosing(opened(tmp_path)) as file:
        file.store(KEY, some_series())
    with sqlite3.connect(tmp_path / "history.sqlite3") as change:
        change.execute("UPDATE series SET body = COALESCE(?, zeroblob(10))", (body,))
    change.close()
    async with aclosing(opened(tmp_path)) as file:
        assert await file.load([KEY]) == {}
        assert file.state == "ok"
        file.store(KEY, some_series())
    assert await kept(tmp_path, KEY) == [True]


def test_memory_is_bounded_by_bars() -> None:
    """The least recently used series leaves; one that is larger than all room is not kept."""
    size = len(some_series().history.bars)
    cache = HistoryCache(capacity=2 * size)
    for symbol in ("A", "B"):
        cache.keep(replace(KEY, symbol=symbol), some_series())
    cache.find(replace(KEY, symbol="A"))
    cache.keep(replace(KEY, symbol="C"), some_series())
    assert [cache.find(replace(KEY, symbol=s)) is not None for s in ("A", "B", "C")] == [True, False, True]
    assert cache.bars == 2 * size
    small = HistoryCache(capacity=size - 1)
    small.keep(KEY, some_series())
    assert (small.find(KEY), small.bars) == (None, 0)
