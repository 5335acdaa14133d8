"""Statistics of instruments as rows: one per symbol, joined under the transaction's lock like all other knowledge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import aiosqlite

from mdagent_mcp.memory.symbol_statistics import SymbolStatistics, combine_statistics, from_text, to_text

_CHUNK: Final = 300
"""Keys per statement: SQLite bounds the number of parameters."""


async def read_statistics(connection: aiosqlite.Connection, most: int) -> dict[str, tuple[float, str]]:
    """The stored text of the symbols touched last, at most `most`; it is read only when a symbol is asked for."""
    rows = await connection.execute_fetchall(
        "SELECT symbol, updated_at, body FROM symbol_statistics ORDER BY updated_at DESC LIMIT ?", (most,)
    )
    return {symbol: (updated_at, body) for symbol, updated_at, body in reversed(list(rows))}


async def read_statistics_of(connection: aiosqlite.Connection, symbols: Iterable[str]) -> dict[str, SymbolStatistics]:
    """How these instruments behave."""
    found: dict[str, SymbolStatistics] = {}
    waiting = list(symbols)
    for start in range(0, len(waiting), _CHUNK):
        keys = waiting[start : start + _CHUNK]
        marks = ",".join("?" for _ in keys)
        rows = await connection.execute_fetchall(
            f"SELECT symbol, updated_at, body FROM symbol_statistics WHERE symbol IN ({marks})",  # noqa: S608 - marks only
            tuple(keys),
        )
        found.update({symbol: from_text(symbol, updated_at, body) for symbol, updated_at, body in rows})
    return found


async def join_statistics(
    connection: aiosqlite.Connection, statistics: Mapping[str, SymbolStatistics]
) -> dict[str, SymbolStatistics]:
    """Join what was learned to what is stored; returns what is stored now."""
    joined = dict(statistics)
    waiting = list(statistics)
    for start in range(0, len(waiting), _CHUNK):
        keys = waiting[start : start + _CHUNK]
        marks = ",".join("?" for _ in keys)
        rows = await connection.execute_fetchall(
            f"SELECT symbol, updated_at, body FROM symbol_statistics WHERE symbol IN ({marks})",  # noqa: S608 - marks only
            tuple(keys),
        )
        for symbol, updated_at, body in rows:
            joined[symbol] = combine_statistics(from_text(symbol, updated_at, body), statistics[symbol])
    await connection.executemany(
        "INSERT OR REPLACE INTO symbol_statistics (symbol, updated_at, body) VALUES (?,?,?)",
        [(known.symbol, known.updated_at, to_text(known)) for known in joined.values()],
    )
    return joined


async def prune_statistics(connection: aiosqlite.Connection, most: int) -> None:
    """Forget the symbols touched longest ago beyond `most`."""
    await connection.execute(
        "DELETE FROM symbol_statistics WHERE symbol NOT IN "
        "(SELECT symbol FROM symbol_statistics ORDER BY updated_at DESC LIMIT ?)",
        (most,),
    )
