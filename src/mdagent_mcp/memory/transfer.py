"""Taking everything that was learned out of a store, putting it into one, and forgetting it.

The rule of this module: what is put in goes in whole or not at all, in one transaction, and has been read back by the
same functions that a server reads with before it counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from mdagent_mcp.memory.connection import Connection
from mdagent_mcp.memory.finding_rows import read_findings, read_symbol_findings
from mdagent_mcp.memory.interchange import Contents, Entity, Relation
from mdagent_mcp.memory.lesson_rows import read_lessons
from mdagent_mcp.memory.rows import most_used_symbols, read_cells, read_faults, read_memberships, read_symbols
from mdagent_mcp.memory.statistics_rows import read_all_statistics
from mdagent_mcp.memory.tables import KEPT_TABLES, SESSION_TABLES, TABLES, Row, Table

_EVERYTHING: Final = 1_000_000
_SYMBOL: Final = "symbol:"


class UnusableContentsError(ValueError):
    """What was to be put in cannot be read back; nothing was changed."""


async def read_contents(connection: Connection, symbols: int | None = None) -> Contents:
    """What was learned, with the notes of others.

    Args:
        connection: the store.
        symbols: how many instruments, those learned about most, for a reader that takes the whole file in at once;
            None for all of them.
    """
    rows = {table.name: await _rows(connection, table) for table in TABLES}
    if symbols is not None:
        chosen, _ = await most_used_symbols(connection, symbols)
        kept = {f"{_SYMBOL}{symbol}" for symbol in chosen}
        rows = {name: [row for row in found if _about(row) in kept | {None}] for name, found in rows.items()}
    entities: dict[str, Entity] = {}
    relations: set[Relation] = set()
    notes = await connection.execute_fetchall("SELECT kind, name, body FROM note ORDER BY kind, name")
    for kind, name, body in notes:
        if kind == "entity":
            entity_kind, observations = json.loads(body)
            entities[name] = Entity(entity_kind, tuple(observations))
        else:
            relations.add(Relation(*json.loads(body)))
    return Contents(rows, entities, frozenset(relations))


async def replace_contents(connection: Connection, contents: Contents) -> None:
    """Put these contents in the place of what was learned; sessions and kept answers stay.

    Raises:
        UnusableContentsError: when a server could not begin with them; nothing was changed.
        StoreError: when the store refuses; nothing was changed.
    """
    async with connection.transaction():
        await _empty(connection, (*(table.name for table in TABLES), "note"))
        for table in TABLES:
            rows = [tuple(row[name] for name in table.columns) for row in contents.rows.get(table.name, ())]
            await connection.executemany(table.upsert, rows)
        notes = [("entity", name, json.dumps([e.kind, e.observations])) for name, e in contents.entities.items()]
        notes += [("relation", json.dumps(relation), json.dumps(relation)) for relation in contents.relations]
        await connection.executemany("INSERT INTO note (kind, name, body) VALUES (?,?,?)", notes)
        try:
            await _read_back(connection)
        except (ValueError, TypeError, OverflowError) as error:
            raise UnusableContentsError(f"it could not be read back ({type(error).__name__}: {error})"[:200]) from error


async def forget_everything(connection: Connection) -> None:
    """Forget what was learned, the sessions and the kept answers; what keys have spent today is not memory."""
    async with connection.transaction():
        await _empty(connection, (*(table.name for table in TABLES), *SESSION_TABLES, *KEPT_TABLES))


async def count_rows(connection: Connection) -> dict[str, int]:
    """How many rows every table of memory has."""
    counts = {}
    for name in (*(table.name for table in TABLES), *SESSION_TABLES, *KEPT_TABLES):
        ((counts[name],),) = await connection.execute_fetchall(f"SELECT count(*) FROM {name}")  # noqa: S608 - constants only
    return counts


def _about(row: Row) -> str | None:
    """The instrument that a row is about, as a scope; None for whole sources."""
    if "symbol" in row:
        return f"{_SYMBOL}{row['symbol']}"
    scope = str(row.get("scope", ""))
    return scope if scope.startswith(_SYMBOL) else None


async def _rows(connection: Connection, table: Table) -> list[Row]:
    rows = await connection.execute_fetchall(f"{table.select} ORDER BY {', '.join(table.keys)}")
    return [dict(zip(table.columns, row, strict=True)) for row in rows]


async def _empty(connection: Connection, names: Iterable[str]) -> None:
    for name in names:
        await connection.execute(f"DELETE FROM {name}")  # noqa: S608 - constants only


async def _read_back(connection: Connection) -> None:
    await read_cells(connection)
    await read_faults(connection)
    await read_symbols(connection, _EVERYTHING)
    await read_memberships(connection)
    await read_lessons(connection)
    await read_all_statistics(connection)
    await read_findings(connection)
    await read_symbol_findings(connection, None)
