"""Statistics of instruments as rows: one per symbol, joined under the transaction's lock like all other knowledge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from mdagent_mcp.memory.connection import Connection
from mdagent_mcp.memory.dialect import upsert
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics, combine_statistics, from_text, to_text

_CHUNK: Final = 20
"""Keys that are combined at a time: between two chunks, answers have their turn."""
_SPARE: Final = 1.05


async def find_statistics(connection: Connection, names: Sequence[str]) -> dict[str, SymbolStatistics]:
    """How some instruments behave."""
    marks = ",".join("?" for _ in names)
    rows = await connection.execute_fetchall(
        f"SELECT symbol, updated_at, body FROM symbol_statistics WHERE symbol IN ({marks})",  # noqa: S608 - marks only
        tuple(names),
    )
    return {symbol: from_text(symbol, updated_at, body) for symbol, updated_at, body in rows}


async def read_statistics_of(connection: Connection, symbols: Iterable[str]) -> dict[str, SymbolStatistics]:
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


async def read_all_statistics(connection: Connection) -> dict[str, SymbolStatistics]:
    """How every instrument behaves."""
    rows = await connection.execute_fetchall("SELECT symbol, updated_at, body FROM symbol_statistics")
    return {symbol: from_text(symbol, updated_at, body) for symbol, updated_at, body in rows}


async def join_statistics(
    connection: Connection, statistics: Mapping[str, SymbolStatistics]
) -> dict[str, SymbolStatistics]:
    """Join what was learned to what is stored; returns what is stored now."""
    joined = dict(statistics)
    waiting = list(statistics)
    for start in range(0, len(waiting), _CHUNK):
        for symbol, stored in (await find_statistics(connection, waiting[start : start + _CHUNK])).items():
            joined[symbol] = combine_statistics(stored, statistics[symbol])
    await connection.executemany(
        upsert("symbol_statistics", ("symbol",), ("updated_at", "body")),
        [(known.symbol, known.updated_at, to_text(known)) for known in joined.values()],
    )
    return joined


async def prune_statistics(connection: Connection, most: int) -> None:
    """Forget the symbols touched longest ago beyond `most`."""
    ((count,),) = await connection.execute_fetchall("SELECT count(*) FROM symbol_statistics")
    if count <= most * _SPARE:
        return
    await connection.execute(
        "DELETE FROM symbol_statistics WHERE symbol NOT IN "
        "(SELECT symbol FROM symbol_statistics ORDER BY updated_at DESC LIMIT ?)",
        (most,),
    )
