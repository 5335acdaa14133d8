"""Knowledge as rows: reading tables, and joining what was learned to what they hold.

The rule of this module: every function takes a connection, and those that write run inside the caller's transaction.
Two processes may write the same store, so nothing is ever overwritten with one process's own idea of it: counters are
added in SQL, and what has to be discounted is read, combined and written under the transaction's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

import aiosqlite

from mdagent_mcp.memory.backlog import AnswerCount, FaultCount, Membership
from mdagent_mcp.memory.learning import Cell, CellKey, combine, settled
from mdagent_mcp.memory.symbols import SymbolKnowledge, combine_symbols
from mdagent_mcp.resilience.latency import EMPTY, LatencyHistogram, from_json, to_json

_CHUNK: Final = 300
"""Keys per statement: SQLite bounds the number of parameters."""

_CELL: Final = (
    "source, endpoint, scope, updated_at, right_count, wrong_count, outcomes, latency, "
    "last_success_at, last_error_at, last_error"
)
_SYMBOL: Final = (
    "symbol, price, price_at, low, high, currency, previous_close, previous_close_at, "
    "observations, first_day, last_day, days"
)


async def read_cells(connection: aiosqlite.Connection, *, whole_sources_only: bool = False) -> dict[CellKey, Cell]:
    """What was learned about sources, in whole and in part."""
    where = "WHERE endpoint = '' AND scope = ''" if whole_sources_only else ""
    rows = await connection.execute_fetchall(f"SELECT {_CELL} FROM cell {where}")  # noqa: S608 - constants only
    return dict(_cell(row) for row in rows)


async def read_cells_of(connection: aiosqlite.Connection, symbols: Iterable[str]) -> dict[CellKey, Cell]:
    """What was learned about sources as far as it is about these instruments."""
    found: dict[CellKey, Cell] = {}
    for keys in _chunks(symbols):
        marks = ",".join("?" for _ in keys)
        rows = await connection.execute_fetchall(
            f"SELECT {_CELL} FROM cell WHERE scope IN ({marks})",  # noqa: S608 - marks only
            tuple(f"symbol:{symbol}" for symbol in keys),
        )
        found.update(map(_cell, rows))
    return found


async def read_source_cells(connection: aiosqlite.Connection) -> dict[CellKey, Cell]:
    """What was learned about sources, single instruments left out."""
    rows = await connection.execute_fetchall(
        f"SELECT {_CELL} FROM cell WHERE scope NOT LIKE 'symbol:%'"  # noqa: S608 - constants only
    )
    return dict(map(_cell, rows))


async def join_cells(connection: aiosqlite.Connection, cells: Mapping[CellKey, Cell]) -> dict[CellKey, Cell]:
    """Join outcomes to the stored ones; returns what is stored now.

    What went wrong last is stored by its kind alone: the text that came with it is for the running session.
    """
    joined = {key: settled(cell) for key, cell in cells.items()}
    for keys in _chunks(cells):
        values = ",".join("(?,?,?)" for _ in keys)
        rows = await connection.execute_fetchall(
            f"SELECT {_CELL} FROM cell WHERE (source, endpoint, scope) IN (VALUES {values})",  # noqa: S608 - marks only
            tuple(part for key in keys for part in key),
        )
        for key, stored in map(_cell, rows):
            joined[key] = settled(combine(stored, cells[key]))
    await connection.executemany(
        f"INSERT OR REPLACE INTO cell ({_CELL}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - constants only
        [_cell_row(key, cell) for key, cell in joined.items()],
    )
    return joined


async def read_faults(connection: aiosqlite.Connection) -> dict[tuple[str, str], FaultCount]:
    """How often each source showed each fault."""
    rows = await connection.execute_fetchall("SELECT source, fault, n, last_at FROM fault")
    return {(source, fault): FaultCount(n, last_at) for source, fault, n, last_at in rows}


async def join_faults(connection: aiosqlite.Connection, faults: Mapping[tuple[str, str], FaultCount]) -> None:
    """Add to the counters."""
    await connection.executemany(
        "INSERT INTO fault (source, fault, n, last_at) VALUES (?,?,?,?) ON CONFLICT (source, fault) DO UPDATE "
        "SET n = n + excluded.n, last_at = max(last_at, excluded.last_at)",
        [(source, fault, seen.n, seen.last_at) for (source, fault), seen in faults.items()],
    )


async def read_symbols(connection: aiosqlite.Connection, most: int) -> dict[str, SymbolKnowledge]:
    """What was learned about instruments: those seen last, at most `most`, the latest at the end."""
    rows = await connection.execute_fetchall(
        f"SELECT {_SYMBOL} FROM symbol ORDER BY price_at DESC LIMIT ?",  # noqa: S608 - constants only
        (most,),
    )
    return {known.symbol: known for known in map(_symbol, reversed(list(rows)))}


async def read_symbols_named(connection: aiosqlite.Connection, symbols: Iterable[str]) -> dict[str, SymbolKnowledge]:
    """What was learned about these instruments."""
    found: dict[str, SymbolKnowledge] = {}
    for keys in _chunks(symbols):
        marks = ",".join("?" for _ in keys)
        rows = await connection.execute_fetchall(
            f"SELECT {_SYMBOL} FROM symbol WHERE symbol IN ({marks})",  # noqa: S608 - marks only
            tuple(keys),
        )
        found.update({known.symbol: known for known in map(_symbol, rows)})
    return found


async def most_used_symbols(connection: aiosqlite.Connection, most: int) -> tuple[list[str], int]:
    """The instruments that were learned about most, and how many there are in all."""
    rows = await connection.execute_fetchall(
        "SELECT symbol FROM symbol ORDER BY observations DESC, symbol LIMIT ?", (most,)
    )
    ((count,),) = await connection.execute_fetchall("SELECT count(*) FROM symbol")
    return [str(symbol) for (symbol,) in rows], int(count)


async def join_symbols(
    connection: aiosqlite.Connection, symbols: Mapping[str, SymbolKnowledge]
) -> dict[str, SymbolKnowledge]:
    """Join facts to the stored ones; returns what is stored now."""
    joined = dict(symbols)
    for keys in _chunks(symbols):
        marks = ",".join("?" for _ in keys)
        rows = await connection.execute_fetchall(
            f"SELECT {_SYMBOL} FROM symbol WHERE symbol IN ({marks})",  # noqa: S608 - marks only
            tuple(keys),
        )
        for stored in map(_symbol, rows):
            joined[stored.symbol] = combine_symbols(stored, symbols[stored.symbol])
    await connection.executemany(
        f"INSERT OR REPLACE INTO symbol ({_SYMBOL}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - constants only
        [_symbol_row(known) for known in joined.values()],
    )
    return joined


async def read_memberships(connection: aiosqlite.Connection) -> dict[tuple[str, str], Membership]:
    """Whose data each source passes on, by asset class."""
    rows = await connection.execute_fetchall("SELECT source, asset_class, upstream_group, seen_at FROM membership")
    return {(source, asset_class): Membership(group, at) for source, asset_class, group, at in rows}


async def join_memberships(connection: aiosqlite.Connection, memberships: Mapping[tuple[str, str], Membership]) -> None:
    """Note the latest."""
    await connection.executemany(
        "INSERT INTO membership (source, asset_class, upstream_group, seen_at) VALUES (?,?,?,?) "
        "ON CONFLICT (source, asset_class) DO UPDATE "
        "SET upstream_group = excluded.upstream_group, seen_at = excluded.seen_at "
        "WHERE excluded.seen_at >= seen_at",
        [(source, asset_class, m.upstream_group, m.seen_at) for (source, asset_class), m in memberships.items()],
    )


async def count_sessions(connection: aiosqlite.Connection) -> int:
    """How many sessions have written here."""
    ((count,),) = await connection.execute_fetchall("SELECT count(*) FROM session")
    return int(count)


async def begin_session(connection: aiosqlite.Connection, started_at: float) -> int:
    """Note a session; returns its id."""
    cursor = await connection.execute(
        "INSERT INTO session (started_at, seen_at) VALUES (?, ?)", (started_at, started_at)
    )
    if cursor.lastrowid is None:
        raise RuntimeError("an INSERT has a row id")
    return cursor.lastrowid


async def join_session(connection: aiosqlite.Connection, session: int, seen_at: float, count: AnswerCount) -> None:
    """Add to a session's counters and note that it was alive."""
    await connection.execute(
        "UPDATE session SET seen_at = ?, answers = answers + ?, cached = cached + ?, unanswered = unanswered + ? "
        "WHERE id = ?",
        (seen_at, count.answers, count.cached, count.unanswered, session),
    )


async def prune_knowledge(connection: aiosqlite.Connection, most_parts: int, most_symbols: int) -> None:
    """Forget what was touched longest ago beyond these numbers of rows."""
    await connection.execute(
        "DELETE FROM cell WHERE scope LIKE 'symbol:%' AND (source, endpoint, scope) NOT IN (SELECT source, endpoint, "
        "scope FROM cell WHERE scope LIKE 'symbol:%' ORDER BY updated_at DESC LIMIT ?)",
        (most_parts,),
    )
    await connection.execute(
        "DELETE FROM symbol WHERE symbol NOT IN (SELECT symbol FROM symbol ORDER BY price_at DESC LIMIT ?)",
        (most_symbols,),
    )


def _chunks(keys: Iterable[Any]) -> Iterable[list[Any]]:
    waiting = list(keys)
    return (waiting[start : start + _CHUNK] for start in range(0, len(waiting), _CHUNK))


def _cell(row: Any) -> tuple[CellKey, Cell]:
    source, endpoint, scope, updated_at, right, wrong, outcomes, latency, success_at, error_at, error = row
    cell = Cell(updated_at, right, wrong, outcomes, _histogram(latency), success_at, error_at, error)
    return CellKey(source, endpoint, scope), cell


def _cell_row(key: CellKey, cell: Cell) -> tuple[Any, ...]:
    kind = cell.last_error.split(":")[0]
    return (
        *key,
        cell.updated_at,
        cell.right,
        cell.wrong,
        cell.outcomes,
        to_json(cell.latency),
        cell.last_success_at,
        cell.last_error_at,
        kind,
    )


def _histogram(text: str) -> LatencyHistogram:
    try:
        return from_json(text)
    except ValueError:
        # Written by hand or by another version: latencies are soon learned again.
        return EMPTY


def _symbol(row: Any) -> SymbolKnowledge:
    symbol, price, price_at, low, high, currency, close, close_at, observations, first_day, last_day, days = row
    return SymbolKnowledge(
        symbol=symbol,
        price=price,
        price_at=price_at,
        low=low,
        high=high,
        currency=currency,
        previous_close=close,
        previous_close_at=close_at,
        observations=observations,
        first_day=date.fromisoformat(first_day),
        last_day=date.fromisoformat(last_day),
        days=days,
    )


def _symbol_row(known: SymbolKnowledge) -> tuple[Any, ...]:
    return (
        known.symbol,
        known.price,
        known.price_at,
        known.low,
        known.high,
        known.currency,
        known.previous_close,
        known.previous_close_at,
        known.observations,
        known.first_day.isoformat(),
        known.last_day.isoformat(),
        known.days,
    )
