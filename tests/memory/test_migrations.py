"""The steps of the schema: once each, in order, all or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest

from mdagent_mcp.memory.connection import StoreError
from mdagent_mcp.memory.migrations import MIGRATIONS, Migration, NewerSchemaError, applied, migrate
from mdagent_mcp.memory.sqlite_connection import SqliteConnection

FIRST = Migration("001_first", ("CREATE TABLE one (a)", "INSERT INTO one VALUES (1)"))
SECOND = Migration("002_second", ("ALTER TABLE one ADD COLUMN b", "UPDATE one SET b = 2"))
BROKEN = Migration("003_broken", ("INSERT INTO one VALUES (3, 3)", "INSERT INTO nowhere VALUES (1)"))


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[SqliteConnection]:
    """An empty database."""
    async with aiosqlite.connect(tmp_path / "some.sqlite3", isolation_level=None) as opened:
        yield SqliteConnection(opened)


async def test_each_step_is_carried_out_once_and_recorded(connection: SqliteConnection) -> None:
    """A second run does nothing; a step appended later is carried out alone."""
    assert await applied(connection) == ()
    assert await migrate(connection, 1.0, (FIRST,)) == ("001_first",)
    assert await migrate(connection, 2.0, (FIRST,)) == ()
    assert await migrate(connection, 3.0, (FIRST, SECOND)) == ("002_second",)
    assert await _rows(connection, "SELECT a, b FROM one") == [(1, 2)]
    assert await _rows(connection, "SELECT * FROM migration") == [("001_first", 1.0), ("002_second", 3.0)]
    assert await applied(connection) == ("001_first", "002_second")


async def test_a_step_that_fails_leaves_nothing_of_itself(connection: SqliteConnection) -> None:
    """The steps before it stay, the half of it that worked is undone, and it is not recorded."""
    with pytest.raises(StoreError, match="nowhere"):
        await migrate(connection, 1.0, (FIRST, SECOND, BROKEN))
    assert await _rows(connection, "SELECT a, b FROM one") == [(1, 2)]
    assert await applied(connection) == ("001_first", "002_second")


async def test_a_store_with_unknown_steps_is_refused_unchanged(connection: SqliteConnection) -> None:
    """A newer version's store is not touched by an older one, and the error names the step."""
    await migrate(connection, 1.0, (FIRST, SECOND))
    with pytest.raises(NewerSchemaError, match="002_second"):
        await migrate(connection, 2.0, (FIRST, Migration("003_third", ("CREATE TABLE three (a)",))))
    assert await applied(connection) == ("001_first", "002_second")


def test_names_are_unique_and_in_order() -> None:
    """The list is appended to and never shuffled."""
    names = [migration.name for migration in MIGRATIONS]
    assert names == sorted(set(names))


async def test_a_new_store_gets_every_table(connection: SqliteConnection) -> None:
    """The released steps carry out on an empty database."""
    assert await migrate(connection, 1.0) == tuple(migration.name for migration in MIGRATIONS)
    tables = await _rows(connection, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    assert {str(name) for (name,) in tables} == {
        "cell",
        "clock_offset",
        "confidence",
        "dependence",
        "deviation",
        "evidence",
        "fault",
        "fault_tally",
        "interval_miss",
        "membership",
        "migration",
        "note",
        "session",
        "session_figures",
        "symbol",
        "symbol_fault",
        "symbol_statistics",
        "track_record",
    }


async def _rows(connection: SqliteConnection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await connection.execute_fetchall(query)]
