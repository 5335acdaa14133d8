"""The one task that writes: takes what waits, puts it into one transaction, and tries again when the disk refuses.

The rule of this module: a unit of work is a function of a connection, and one transaction runs all of them or none.
What could not be written waits in RAM, bounded, and the reason is told in `trouble`; nobody who learned or answered
something ever waits for the disk or hears of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import aiosqlite
from anyio import to_thread

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.memory.archive import ArchiveLimits, EvidenceRow, encoded, prune_evidence, write_evidence
from mdagent_mcp.memory.backlog import Backlog, BacklogLimits
from mdagent_mcp.memory.database import reason
from mdagent_mcp.memory.finding_rows import join_findings, prune_findings
from mdagent_mcp.memory.findings import Findings
from mdagent_mcp.memory.learning import Cell, CellKey
from mdagent_mcp.memory.lesson_rows import join_lessons
from mdagent_mcp.memory.lessons import Lessons
from mdagent_mcp.memory.rows import (
    begin_session,
    join_cells,
    join_faults,
    join_memberships,
    join_session,
    join_symbols,
    prune_knowledge,
)
from mdagent_mcp.memory.statistics_rows import join_statistics, prune_statistics
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics
from mdagent_mcp.memory.symbols import SymbolKnowledge
from mdagent_mcp.memory.transactions import transaction


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """How much is remembered and how often it is written.

    Attributes:
        flush_s: seconds that something may wait to be written.
        flush_entries: entries that are written at once without waiting.
        retry_s: seconds until the next attempt after the disk refused.
        backlog: how much may wait.
        archive: how much evidence is kept.
        parts: rows about (source, endpoint, symbol) that are kept.
        symbols: instruments that are kept.
    """

    flush_s: float = 1.0
    flush_entries: int = 200
    retry_s: float = 5.0
    backlog: BacklogLimits = field(default_factory=BacklogLimits)
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    parts: int = 20_000
    symbols: int = 5_000

    def __post_init__(self) -> None:
        if self.flush_s <= 0 or self.retry_s <= 0 or min(self.flush_entries, self.parts, self.symbols) < 1:
            raise ValueError("memory needs positive intervals and room for at least one of everything")


@dataclass(frozen=True, slots=True)
class Written:
    """What the store holds now of the things a batch was about."""

    cells: dict[CellKey, Cell]
    symbols: dict[str, SymbolKnowledge]
    statistics: dict[str, SymbolStatistics] = field(default_factory=dict)
    lessons: Lessons = field(default_factory=Lessons)
    findings: Findings = field(default_factory=Findings)


class Writer:
    """Owns the backlog and the writing side of the connection.

    Args:
        connection: the store.
        clock: for intervals and record times.
        options: how often and how much.
        tell: called with every batch that was written.
    """

    def __init__(
        self, connection: aiosqlite.Connection, clock: Clock, options: MemoryOptions, tell: Callable[[Written], None]
    ) -> None:
        self.backlog = Backlog(options.backlog)
        self.under_way = Backlog(options.backlog)
        self.trouble = ""
        self._connection = connection
        self._clock = clock
        self._options = options
        self._tell = tell
        self._session: int | None = None
        self._started_at = clock.now().timestamp()
        self._batches = 0
        self._unwritable = 0
        self._writing = asyncio.Lock()
        self._waiting = asyncio.Event()
        self._urgent = asyncio.Event()
        self._stopped = asyncio.Event()
        self._waiting.set()  # the session itself wants to be written

    @property
    def dropped(self) -> int:
        """Entries that were lost: to the bounds of the backlog, or because they could not be written at all."""
        return self.backlog.dropped + self._unwritable

    def notice(self) -> None:
        """Something was put into the backlog."""
        self._waiting.set()
        if self.backlog.added >= self._options.flush_entries:
            self._urgent.set()

    async def run(self) -> None:
        """Write whenever something waits, until `stop`."""
        while not self._stopped.is_set():
            await self._waiting.wait()
            await self._pause(self._urgent, self._options.flush_s)
            await self.flush()
            if self.trouble:
                await self._pause(self._stopped, self._options.retry_s)

    def stop(self) -> None:
        """Let `run` end after the batch it is at."""
        for event in (self._stopped, self._waiting, self._urgent):
            event.set()

    async def flush(self) -> None:
        """Write everything that waits now; when the disk refuses it keeps waiting and `trouble` says why."""
        async with self._writing:
            if not self._stopped.is_set():
                self._waiting.clear()
                self._urgent.clear()
            if self._session is not None and self.backlog.added == 0:
                return
            self.under_way = taken = self.backlog.drain()
            try:
                written = await self._write(taken)
            except sqlite3.Error as error:
                self.trouble = f"not saving at the moment: {reason(error)}"
            else:
                self.trouble = ""
                self.under_way = Backlog(self._options.backlog)
                self._tell(written)
            finally:
                if self.under_way is taken:  # not written: the disk refused, or the task was cancelled
                    self.backlog.restore(taken)
                    self.under_way = Backlog(self._options.backlog)
                    self._waiting.set()

    async def _write(self, batch: Backlog) -> Written:
        answers = batch.answers
        evidence = await to_thread.run_sync(encoded, answers) if answers else []
        async with transaction(self._connection):
            written, session = await self._units(batch, evidence)
        self._session = session
        self._batches += 1
        self._unwritable += len(answers) - len(evidence)
        return written

    async def _units(self, batch: Backlog, evidence: list[EvidenceRow]) -> tuple[Written, int]:
        connection, options, now = self._connection, self._options, self._clock.now().timestamp()
        session = self._session
        if session is None:
            session = await begin_session(connection, self._started_at)
        await join_session(connection, session, now, batch.count)
        cells = await join_cells(connection, batch.cells)
        symbols = await join_symbols(connection, batch.symbols)
        statistics = await join_statistics(connection, batch.statistics)
        lessons = await join_lessons(connection, batch.lessons)
        findings = await join_findings(connection, session, batch.findings)
        await join_faults(connection, batch.faults)
        await join_memberships(connection, batch.memberships)
        if evidence:
            await write_evidence(connection, evidence)
        if evidence or self._batches == 0:
            await prune_evidence(connection, options.archive, now)
        if self._batches % 100 == 0:
            await prune_knowledge(connection, options.parts, options.symbols)
            await prune_statistics(connection, options.symbols)
            await prune_findings(connection, options.parts)
        return Written(cells, symbols, statistics, lessons, findings), session

    async def _pause(self, until: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError), self._clock.limit(seconds):
            await until.wait()
