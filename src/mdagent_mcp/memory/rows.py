"""Knowledge as rows: reading tables, and joining what was learned to what they hold.

The rule of this module: every function takes a connection, and those that write run inside the caller's transaction.
Several processes may write the same store, so nothing is ever overwritten with one process's own idea of it: counters
and discounted sums are joined in SQL, and what is no plain sum is read, combined and written under the transaction's
lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from sys import intern
from typing import Any, Final

from mdagent_mcp.memory.backlog import AnswerCount, FaultCount, Membership
from mdagent_mcp.memory.connection import Connection
from mdagent_mcp.memory.dialect import upsert
from mdagent_mcp.memory.learning import (
    HALF_LIFE_OUTCOMES,
    HALF_LIFE_S,
    RECENT_HALF_LIFE_OUTCOMES,
    SYMBOL_SCOPE,
    Cell,
    CellKey,
    combine,
    settled,
)
from mdagent_mcp.memory.symbols import SymbolKnowledge, combine_symbols
from mdagent_mcp.resilience.latency import EMPTY, LatencyHistogram, from_json, to_json

CHUNK: Final = 50
"""Keys that are combined at a time: between two chunks, answers have their turn."""
MOST_SESSIONS: Final = 10_000
_SPARE: Final = 1.05
"""What a table may hold beyond its bound before rows are dropped, so that it is not sorted all the time."""
_NO_HISTOGRAM: Final = to_json(EMPTY)
_OF_SYMBOLS: Final = f"scope LIKE '{SYMBOL_SCOPE}%'"

_CELL_KEY: Final = ("source", "endpoint", "scope")
_CELL_REST: Final = (
    *("updated_at", "right_count", "wrong_count", "outcomes", "latency"),
    *("last_success_at", "last_error_at", "last_error"),
    *("recent_right", "recent_wrong", "delay", "recent_full", "recent_bare", "recent_s", "recent_calls"),
    "contradicted",
)
_SYMBOL_REST: Final = (
    *("price", "price_at", "low", "high", "currency", "previous_close", "previous_close_at"),
    *("observations", "first_day", "last_day", "days"),
)
_CELL: Final = ", ".join((*_CELL_KEY, *_CELL_REST))
_SYMBOL: Final = ", ".join(("symbol", *_SYMBOL_REST))

_OLDER_KEPT: Final = (
    f"pow(2.0, greatest(-1000.0, -excluded.outcomes / {HALF_LIFE_OUTCOMES} "
    f"- greatest(0.0, excluded.updated_at - cell.updated_at) / {HALF_LIFE_S}))"
)
_NEWER_KEPT: Final = (
    f"pow(2.0, greatest(-1000.0, -greatest(0.0, cell.updated_at - excluded.updated_at) / {HALF_LIFE_S}))"
)
_RECENT_KEPT: Final = (
    f"pow(2.0, greatest(-1000.0, -excluded.outcomes / {RECENT_HALF_LIFE_OUTCOMES} "
    f"- greatest(0.0, excluded.updated_at - cell.updated_at) / {HALF_LIFE_S}))"
)
_RECENT: Final = ("recent_right", "recent_wrong", "recent_full", "recent_bare", "recent_s", "recent_calls")
_LATER_ERROR: Final = "coalesce(excluded.last_error_at, 0) >= coalesce(cell.last_error_at, 0)"
_JOIN_CELL: Final = (
    f"INSERT INTO cell ({_CELL}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) "  # noqa: S608 - constants only
    "ON CONFLICT (source, endpoint, scope) DO UPDATE SET "
    f"right_count = cell.right_count * {_OLDER_KEPT} + excluded.right_count * {_NEWER_KEPT}, "
    f"wrong_count = cell.wrong_count * {_OLDER_KEPT} + excluded.wrong_count * {_NEWER_KEPT}, "
    f"contradicted = cell.contradicted * {_OLDER_KEPT} + excluded.contradicted * {_NEWER_KEPT}, "
    + "".join(f"{n} = cell.{n} * {_RECENT_KEPT} + excluded.{n} * {_NEWER_KEPT}, " for n in _RECENT)
    + "outcomes = cell.outcomes + excluded.outcomes, "
    "updated_at = greatest(cell.updated_at, excluded.updated_at), "
    "last_success_at = CASE WHEN cell.last_success_at IS NULL OR excluded.last_success_at > cell.last_success_at "
    "THEN excluded.last_success_at ELSE cell.last_success_at END, "
    f"last_error_at = CASE WHEN {_LATER_ERROR} THEN excluded.last_error_at ELSE cell.last_error_at END, "
    f"last_error = CASE WHEN {_LATER_ERROR} THEN excluded.last_error ELSE cell.last_error END"
)
"""`learning.combine` in SQL, for cells of a symbol, which have no latencies."""


async def read_cells(connection: Connection, *, whole_sources_only: bool = False) -> dict[CellKey, Cell]:
    """What was learned about sources, in whole and in part."""
    where = "WHERE endpoint = '' AND scope = ''" if whole_sources_only else ""
    rows = await connection.execute_fetchall(f"SELECT {_CELL} FROM cell {where}")  # noqa: S608 - constants only
    return dict(_cell(row) for row in rows)


async def read_cells_of(connection: Connection, symbols: Iterable[str]) -> dict[CellKey, Cell]:
    """What was learned about sources as far as it is about these instruments."""
    found: dict[CellKey, Cell] = {}
    for keys in _chunks(symbols):
        marks = ",".join("?" for _ in keys)
        rows = await connection.execute_fetchall(
            f"SELECT {_CELL} FROM cell WHERE scope IN ({marks})",  # noqa: S608 - marks only
            tuple(f"{SYMBOL_SCOPE}{symbol}" for symbol in keys),
        )
        found.update(map(_cell, rows))
    return found


async def read_source_cells(connection: Connection) -> dict[CellKey, Cell]:
    """What was learned about sources, single instruments left out."""
    rows = await connection.execute_fetchall(
        f"SELECT {_CELL} FROM cell WHERE NOT {_OF_SYMBOLS}"  # noqa: S608 - constants only
    )
    return dict(map(_cell, rows))


async def join_cells(connection: Connection, cells: Mapping[CellKey, Cell]) -> dict[CellKey, Cell]:
    """Join outcomes to the stored ones; returns what is stored now, leaving out what was joined in SQL.

    What went wrong last is stored by its kind alone: the text that came with it is for the running session.
    """
    plain = {key: cell for key, cell in cells.items() if _is_plain(key, cell)}
    await connection.executemany(_JOIN_CELL, [_cell_row(key, cell) for key, cell in plain.items()])
    joined = {key: settled(cell) for key, cell in cells.items() if key not in plain}
    for keys in _chunks(joined):
        values = ",".join("(?,?,?)" for _ in keys)
        rows = await connection.execute_fetchall(
            f"SELECT {_CELL} FROM cell WHERE (source, endpoint, scope) IN (VALUES {values})",  # noqa: S608 - marks only
            tuple(part for key in keys for part in key),
        )
        for key, stored in map(_cell, rows):
            joined[key] = settled(combine(stored, cells[key]))
    await connection.executemany(
        upsert("cell", _CELL_KEY, _CELL_REST),
        [_cell_row(key, cell) for key, cell in joined.items()],
    )
    return joined


async def read_faults(connection: Connection) -> dict[tuple[str, str], FaultCount]:
    """How often each source showed each fault."""
    rows = await connection.execute_fetchall("SELECT source, fault, n, last_at FROM fault")
    return {(source, fault): FaultCount(n, last_at) for source, fault, n, last_at in rows}


async def join_faults(connection: Connection, faults: Mapping[tuple[str, str], FaultCount]) -> None:
    """Add to the counters."""
    await connection.executemany(
        "INSERT INTO fault (source, fault, n, last_at) VALUES (?,?,?,?) ON CONFLICT (source, fault) DO UPDATE "
        "SET n = fault.n + excluded.n, last_at = greatest(fault.last_at, excluded.last_at)",
        [(source, fault, seen.n, seen.last_at) for (source, fault), seen in faults.items()],
    )


async def read_symbols(connection: Connection, most: int) -> dict[str, SymbolKnowledge]:
    """What was learned about instruments: those seen last, at most `most`, the latest at the end."""
    rows = await connection.execute_fetchall(
        f"SELECT {_SYMBOL} FROM symbol ORDER BY price_at DESC LIMIT ?",  # noqa: S608 - constants only
        (most,),
    )
    return {known.symbol: known for known in map(_symbol, reversed(list(rows)))}


async def read_symbols_named(connection: Connection, symbols: Iterable[str]) -> dict[str, SymbolKnowledge]:
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


async def most_used_symbols(connection: Connection, most: int) -> tuple[list[str], int]:
    """The instruments that were learned about most, and how many there are in all."""
    rows = await connection.execute_fetchall(
        "SELECT symbol FROM symbol ORDER BY observations DESC, symbol LIMIT ?", (most,)
    )
    ((count,),) = await connection.execute_fetchall("SELECT count(*) FROM symbol")
    return [str(symbol) for (symbol,) in rows], int(count)


async def join_symbols(connection: Connection, symbols: Mapping[str, SymbolKnowledge]) -> dict[str, SymbolKnowledge]:
    """Join facts to the stored ones; returns what is stored now."""
    joined = dict(symbols)
    for keys in _chunks(symbols):
        for symbol, stored in (await find_symbols(connection, keys)).items():
            joined[symbol] = combine_symbols(stored, symbols[symbol])
    await connection.executemany(
        upsert("symbol", ("symbol",), _SYMBOL_REST), [_symbol_row(known) for known in joined.values()]
    )
    return joined


async def find_symbols(connection: Connection, names: Sequence[str]) -> dict[str, SymbolKnowledge]:
    """What was learned about some instruments."""
    marks = ",".join("?" for _ in names)
    rows = await connection.execute_fetchall(
        f"SELECT {_SYMBOL} FROM symbol WHERE symbol IN ({marks})",  # noqa: S608 - marks only
        tuple(names),
    )
    return {known.symbol: known for known in map(_symbol, rows)}


async def latest_symbols(connection: Connection, most: int) -> tuple[str, ...]:
    """The instruments that were learned about last, the latest first."""
    rows = await connection.execute_fetchall("SELECT symbol FROM symbol ORDER BY price_at DESC LIMIT ?", (most,))
    return tuple(str(symbol) for (symbol,) in rows)


async def count_symbols(connection: Connection) -> int:
    """How many instruments something was learned about."""
    ((count,),) = await connection.execute_fetchall("SELECT count(*) FROM symbol")
    return int(count)


async def read_memberships(connection: Connection) -> dict[tuple[str, str], Membership]:
    """Whose data each source passes on, by asset class."""
    rows = await connection.execute_fetchall("SELECT source, asset_class, upstream_group, seen_at FROM membership")
    return {(source, asset_class): Membership(group, at) for source, asset_class, group, at in rows}


async def join_memberships(connection: Connection, memberships: Mapping[tuple[str, str], Membership]) -> None:
    """Note the latest."""
    await connection.executemany(
        "INSERT INTO membership (source, asset_class, upstream_group, seen_at) VALUES (?,?,?,?) "
        "ON CONFLICT (source, asset_class) DO UPDATE "
        "SET upstream_group = excluded.upstream_group, seen_at = excluded.seen_at "
        "WHERE excluded.seen_at >= membership.seen_at",
        [(source, asset_class, m.upstream_group, m.seen_at) for (source, asset_class), m in memberships.items()],
    )


async def count_sessions(connection: Connection) -> int:
    """How many sessions have written here."""
    ((count,),) = await connection.execute_fetchall("SELECT count(*) FROM session")
    return int(count)


async def written_batch(connection: Connection, session: str) -> int | None:
    """The number of the last batch that a session has written; None before the first."""
    rows = await connection.execute_fetchall("SELECT batch FROM session WHERE name = ?", (session,))
    return int(rows[0][0]) if rows else None


async def join_session(
    connection: Connection, session: str, batch: int, times: tuple[float, float], count: AnswerCount
) -> int:
    """Add to a session's counters, and note which batch that was and that it was alive; returns its id.

    Args:
        connection: in a transaction.
        session: its name.
        batch: number of the batch.
        times: when the session began, and now; epoch seconds.
        count: what is added.
    """
    await connection.execute(
        "INSERT INTO session (name, batch, started_at, seen_at, answers, cached, unanswered) VALUES (?,?,?,?,?,?,?) "
        "ON CONFLICT (name) DO UPDATE SET batch = excluded.batch, seen_at = excluded.seen_at, "
        "answers = session.answers + excluded.answers, cached = session.cached + excluded.cached, "
        "unanswered = session.unanswered + excluded.unanswered",
        (session, batch, *times, count.answers, count.cached, count.unanswered),
    )
    ((number,),) = await connection.execute_fetchall("SELECT id FROM session WHERE name = ?", (session,))
    return int(number)


async def prune_knowledge(connection: Connection, most_parts: int, most_symbols: int) -> None:
    """Forget what was touched longest ago beyond these numbers of rows, and sessions beyond `MOST_SESSIONS`."""
    ((parts,),) = await connection.execute_fetchall(f"SELECT count(*) FROM cell WHERE {_OF_SYMBOLS}")  # noqa: S608 - constants only
    if parts > most_parts * _SPARE:
        await connection.execute(
            f"DELETE FROM cell WHERE {_OF_SYMBOLS} AND (source, endpoint, scope) NOT IN (SELECT source, endpoint, "  # noqa: S608
            f"scope FROM cell WHERE {_OF_SYMBOLS} ORDER BY updated_at DESC LIMIT ?)",
            (most_parts,),
        )
    if await count_symbols(connection) > most_symbols * _SPARE:
        await connection.execute(
            "DELETE FROM symbol WHERE symbol NOT IN (SELECT symbol FROM symbol ORDER BY price_at DESC LIMIT ?)",
            (most_symbols,),
        )
    await connection.execute(
        "DELETE FROM session WHERE id <= (SELECT id FROM session ORDER BY id DESC LIMIT 1 OFFSET ?)", (MOST_SESSIONS,)
    )


def _is_plain(key: CellKey, cell: Cell) -> bool:
    """Whether a cell is nothing but sums; one that takes something back may have to be settled."""
    return key.scope.startswith(SYMBOL_SCOPE) and not cell.latency.weights and min(cell.right, cell.wrong) >= 0


def _chunks(keys: Iterable[Any]) -> Iterable[list[Any]]:
    waiting = list(keys)
    return (waiting[start : start + CHUNK] for start in range(0, len(waiting), CHUNK))


def _cell(row: Any) -> tuple[CellKey, Cell]:
    source, endpoint, scope, updated_at, right, wrong, outcomes, latency, success_at, error_at, error, *recent = row
    recent_right, recent_wrong, delay, *shares = recent
    cell = Cell(
        updated_at,
        right,
        wrong,
        outcomes,
        _histogram(latency),
        success_at,
        error_at,
        error,
        recent_right,
        recent_wrong,
        _histogram(delay),
        *shares,
    )
    # Thousands of rows share these few names.
    return CellKey(intern(source), intern(endpoint), intern(scope)), cell


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
        cell.recent_right,
        cell.recent_wrong,
        to_json(cell.delay),
        cell.recent_full,
        cell.recent_bare,
        cell.recent_s,
        cell.recent_calls,
        cell.contradicted,
    )


def _histogram(text: str) -> LatencyHistogram:
    if text == _NO_HISTOGRAM:  # as in every row about a symbol
        return EMPTY
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
