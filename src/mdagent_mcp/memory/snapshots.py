"""Reading what was learned for a view of it: everything, the sources and a bounded number of instruments, or one.

The rule of this module: it only reads, and what is left out is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mdagent_mcp.memory.connection import Connection
from mdagent_mcp.memory.finding_rows import read_findings, read_symbol_findings
from mdagent_mcp.memory.knowledge import Snapshot, Totals
from mdagent_mcp.memory.lesson_rows import read_lessons
from mdagent_mcp.memory.rows import (
    most_used_symbols,
    read_cells,
    read_cells_of,
    read_faults,
    read_memberships,
    read_source_cells,
    read_symbols,
    read_symbols_named,
)
from mdagent_mcp.memory.statistics_rows import read_all_statistics, read_statistics_of

_EVERY_SYMBOL: Final = 1_000_000


async def read_snapshot(connection: Connection, totals: Totals, symbols: int | None = None) -> Snapshot:
    """What the store holds.

    Args:
        connection: the store.
        totals: how much there is.
        symbols: how many instruments, those learned about most; None for all of them.
    """
    if symbols is not None:
        chosen, in_all = await most_used_symbols(connection, symbols)
        return await _bounded(connection, totals, chosen, in_all)
    findings, about_symbols = await read_findings(connection), await read_symbol_findings(connection, None)
    findings.update(about_symbols)
    return Snapshot(
        cells=await read_cells(connection),
        faults=await read_faults(connection),
        symbols=await read_symbols(connection, _EVERY_SYMBOL),
        memberships=await read_memberships(connection),
        totals=totals,
        statistics=await read_all_statistics(connection),
        clocks=(await read_lessons(connection)).clocks,
        findings=findings,
    )


async def read_symbol_snapshot(connection: Connection, symbol: str, totals: Totals) -> Snapshot:
    """What the store holds about one instrument, and of the sources what is about it."""
    return Snapshot(
        cells=await read_cells_of(connection, [symbol]),
        faults={},
        symbols=await read_symbols_named(connection, [symbol]),
        memberships={},
        totals=totals,
        statistics=await read_statistics_of(connection, [symbol]),
        findings=await read_symbol_findings(connection, [symbol]),
    )


async def _bounded(connection: Connection, totals: Totals, chosen: Sequence[str], in_all: int) -> Snapshot:
    findings, about_symbols = await read_findings(connection), await read_symbol_findings(connection, chosen)
    findings.update(about_symbols)
    return Snapshot(
        cells=await read_source_cells(connection) | await read_cells_of(connection, chosen),
        faults=await read_faults(connection),
        symbols=await read_symbols_named(connection, chosen),
        memberships=await read_memberships(connection),
        totals=totals,
        statistics=await read_statistics_of(connection, chosen),
        clocks=(await read_lessons(connection)).clocks,
        findings=findings,
        left_out=in_all - len(chosen),
    )
