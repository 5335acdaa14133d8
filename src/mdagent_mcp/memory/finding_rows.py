"""Findings as rows: read in whole or in part, joined to what is stored under the transaction's lock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Final, Generic, TypeVar

from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.memory.connection import Connection
from mdagent_mcp.memory.dependence import Dependence, Pair, combine_dependences
from mdagent_mcp.memory.deviations import Deviation, DeviationKey, combine_deviations
from mdagent_mcp.memory.findings import (
    Findings,
    SymbolFault,
    SymbolFaultKey,
    combine_symbol_faults,
    whole_sources,
)
from mdagent_mcp.memory.patterns import FaultTrace, Tally, TallyKey, combine_tallies
from mdagent_mcp.memory.session_figures import SessionFigures
from mdagent_mcp.memory.tables import (
    DEPENDENCE,
    DEVIATION,
    FAULT_TALLY,
    MOST_PARAMETERS,
    SYMBOL_FAULT,
    Table,
)

KeyT = TypeVar("KeyT", bound="tuple[Any, ...]")
ValueT = TypeVar("ValueT")

Curve = list[tuple[float, float, dict[str, SessionFigures]]]
"""Of every session, oldest first: when it started and was last seen (epoch seconds), and its figures by part."""
_FIGURES: Final = tuple(each.name for each in fields(SessionFigures))


@dataclass(frozen=True, slots=True)
class _Kind(Generic[KeyT, ValueT]):
    """How one kind of finding is kept.

    Attributes:
        table: where.
        key: makes the key from its columns.
        value: makes the value from the others.
        columns: the others from the value.
        combine: joins an older and a newer one.
    """

    table: Table
    key: Callable[..., KeyT]
    value: Callable[..., ValueT]
    columns: Callable[[ValueT], Sequence[Any]]
    combine: Callable[[ValueT, ValueT], ValueT]

    async def read(self, connection: Connection, where: str = "", values: Sequence[Any] = ()) -> dict[KeyT, ValueT]:
        rows = await connection.execute_fetchall(f"{self.table.select} {where}", tuple(values))
        keys = len(self.table.keys)
        return {self.key(*row[:keys]): self.value(*row[keys:]) for row in rows}

    async def join(self, connection: Connection, newer: Mapping[KeyT, ValueT]) -> dict[KeyT, ValueT]:
        joined = dict(newer)
        names = f"({', '.join(self.table.keys)})"
        mark = f"({','.join('?' for _ in self.table.keys)})"
        for keys in _chunks(newer, MOST_PARAMETERS // len(self.table.keys)):
            where = f"WHERE {names} IN (VALUES {','.join(mark for _ in keys)})"
            stored = await self.read(connection, where, tuple(part for key in keys for part in key))
            joined.update({key: self.combine(value, newer[key]) for key, value in stored.items()})
        rows = [(*key, *self.columns(value)) for key, value in joined.items()]
        if rows:
            await connection.executemany(self.table.upsert, rows)
        return joined


def tally_of(trials: float, updated_at: float, text: str) -> Tally:
    """A tally as it is stored."""
    try:
        faults = {fault: FaultTrace(w, n, at, tuple(ids)) for fault, (w, n, at, ids) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return Tally(0.0, updated_at)  # written by hand or by another version: it is counted anew
    return Tally(trials, updated_at, faults)


def _tally_columns(tally: Tally) -> tuple[Any, ...]:
    faults = {fault: [t.weight, t.n, t.last_at, list(t.evidence)] for fault, t in sorted(tally.faults.items())}
    return tally.trials, tally.updated_at, json.dumps(faults, separators=(",", ":"))


_SCOPES: Final = tuple(f"asset:{name}" for name in (*AssetClass, "unknown"))
"""By name rather than by what they begin with, so that an index finds them among those of the symbols."""
_DEVIATIONS: Final = _Kind(DEVIATION, DeviationKey, Deviation, astuple, combine_deviations)
_DEPENDENCES: Final = _Kind(DEPENDENCE, Pair, Dependence, astuple, combine_dependences)
_TALLIES: Final = _Kind(FAULT_TALLY, TallyKey, tally_of, _tally_columns, combine_tallies)
_SYMBOL_FAULTS: Final = _Kind(SYMBOL_FAULT, SymbolFaultKey, SymbolFault, astuple, combine_symbol_faults)


async def read_findings(connection: Connection) -> Findings:
    """What is known of whole sources; there are a few hundred rows, whatever the number of symbols."""
    return Findings(
        await _DEVIATIONS.read(connection, f"WHERE scope IN ({','.join('?' for _ in _SCOPES)})", _SCOPES),
        await _DEPENDENCES.read(connection),
        await _TALLIES.read(connection),
    )


async def read_symbol_findings(connection: Connection, symbols: Iterable[str] | None) -> Findings:
    """What is known of single instruments; of all of them for None."""
    if symbols is None:
        deviations = await _DEVIATIONS.read(connection, "WHERE scope LIKE 'symbol:%'")
        return Findings(deviations, symbol_faults=await _SYMBOL_FAULTS.read(connection))
    found = Findings()
    for chunk in _chunks(symbols, MOST_PARAMETERS):
        marks = ",".join("?" for _ in chunk)
        scopes = [f"symbol:{symbol}" for symbol in chunk]
        found.deviations.update(await _DEVIATIONS.read(connection, f"WHERE scope IN ({marks})", scopes))
        found.symbol_faults.update(await _SYMBOL_FAULTS.read(connection, f"WHERE symbol IN ({marks})", chunk))
    return found


async def join_findings(connection: Connection, session: str, findings: Findings) -> Findings:
    """Join what was found to what is stored; returns what is stored now of the things that were about whole sources."""
    joined = Findings(
        await _DEVIATIONS.join(connection, findings.deviations),
        await _DEPENDENCES.join(connection, findings.dependences),
        await _TALLIES.join(connection, findings.tallies),
    )
    await _SYMBOL_FAULTS.join(connection, findings.symbol_faults)
    await _add_figures(connection, session, findings.figures)
    return whole_sources(joined)


async def prune_findings(connection: Connection, most: int) -> None:
    """Forget what is about single instruments and was touched longest ago, beyond `most` rows of a kind."""
    await connection.execute(
        "DELETE FROM deviation WHERE scope LIKE 'symbol:%' AND updated_at < (SELECT updated_at FROM deviation "
        "WHERE scope LIKE 'symbol:%' ORDER BY updated_at DESC LIMIT 1 OFFSET ?)",
        (most - 1,),
    )
    await connection.execute(
        "DELETE FROM symbol_fault WHERE last_at < "
        "(SELECT last_at FROM symbol_fault ORDER BY last_at DESC LIMIT 1 OFFSET ?)",
        (most - 1,),
    )


async def read_curve(connection: Connection, most: int) -> Curve:
    """The figures of the latest sessions that were asked something."""
    names = ", ".join(f"f.{name}_count" if len(name) == 1 else f"f.{name}" for name in _FIGURES)
    rows = await connection.execute_fetchall(
        f"SELECT s.id, s.started_at, s.seen_at, f.part, {names} FROM session s "  # noqa: S608 - constants only
        "JOIN session_figures f ON f.session = s.name WHERE s.id IN "
        "(SELECT t.id FROM session t JOIN session_figures g ON g.session = t.name GROUP BY t.id "
        "HAVING sum(g.requests) > 0 ORDER BY t.id DESC LIMIT ?) ORDER BY s.id",
        (most,),
    )
    sessions: dict[int, tuple[float, float, dict[str, SessionFigures]]] = {}
    for number, started_at, seen_at, part, *figures in rows:
        sessions.setdefault(number, (started_at, seen_at, {}))[2][part] = SessionFigures(*figures)
    return list(sessions.values())


async def _add_figures(connection: Connection, session: str, figures: Mapping[str, SessionFigures]) -> None:
    names = [f"{name}_count" if len(name) == 1 else name for name in _FIGURES]
    added = ", ".join(f"{name} = session_figures.{name} + excluded.{name}" for name in names)
    marks = ",".join("?" for _ in range(len(names) + 2))
    await connection.executemany(
        f"INSERT INTO session_figures (session, part, {', '.join(names)}) VALUES ({marks}) "  # noqa: S608 - constants only
        f"ON CONFLICT (session, part) DO UPDATE SET {added}",
        [(session, part, *astuple(figure)) for part, figure in figures.items()],
    )


def _chunks(keys: Iterable[Any], size: int) -> Iterable[list[Any]]:
    waiting = list(keys)
    return (waiting[start : start + size] for start in range(0, len(waiting), size))
