"""The one task that writes: takes what waits, puts it into one transaction, and tries again when the store refuses.

The rule of this module: a unit of work is a function of a connection, and one transaction runs all of them or none.
What could not be written waits in RAM, bounded, and the reason is told in `trouble`; nobody who learned or answered
something ever waits for the store or hears of it. A batch is written once: its number is written with it, so that after
a connection was lost in mid-commit the store itself says whether it has it.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
from anyio import to_thread

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.memory.archive import ArchiveLimits, EvidenceRow, encoded, prune_evidence, write_evidence
from mdagent_mcp.memory.backlog import Backlog, BacklogLimits
from mdagent_mcp.memory.connection import Connection, InDoubtError, StoreError
from mdagent_mcp.memory.database import Database, Opened
from mdagent_mcp.memory.finding_rows import join_findings, prune_findings, read_findings
from mdagent_mcp.memory.findings import Findings
from mdagent_mcp.memory.learning import Cell, CellKey
from mdagent_mcp.memory.lesson_rows import join_lessons, read_lessons
from mdagent_mcp.memory.lessons import Lessons
from mdagent_mcp.memory.rows import (
    count_sessions,
    count_symbols,
    join_cells,
    join_faults,
    join_memberships,
    join_session,
    join_symbols,
    latest_symbols,
    prune_knowledge,
    read_source_cells,
    written_batch,
)
from mdagent_mcp.memory.statistics_rows import join_statistics, prune_statistics
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics
from mdagent_mcp.memory.symbols import SymbolKnowledge


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """How much is remembered and how often it is written.

    Attributes:
        flush_s: seconds that something may wait to be written.
        flush_entries: entries that are written at once without waiting.
        retry_s: seconds until the next attempt after the store refused.
        backlog: how much may wait.
        archive: how much evidence is kept.
        parts: rows about (source, endpoint, symbol) that are kept.
        symbols: instruments that are kept.
        recalled: instruments whose knowledge is held in RAM after it was read or written.
    """

    flush_s: float = 1.0
    flush_entries: int = 2_000
    retry_s: float = 5.0
    backlog: BacklogLimits = field(default_factory=BacklogLimits)
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    parts: int = 200_000
    symbols: int = 20_000
    recalled: int = 5_000

    def __post_init__(self) -> None:
        if self.flush_s <= 0 or self.retry_s <= 0 or self._least() < 1:
            raise ValueError("memory needs positive intervals and room for at least one of everything")

    def _least(self) -> int:
        return min(self.flush_entries, self.parts, self.symbols, self.recalled)


_DAY_CHECKED_S: Final = 3_600.0
"""How often it is looked whether the day's copy is there."""
_FIRST_CHECKED_S: Final = 5.0
"""A start is not held up by checks and copies."""
_PRUNED_EVERY: Final = 100
_LATEST: Final = 100


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is read when a store is opened; whatever is about single instruments is read when it is needed.

    Attributes:
        cells: about whole sources.
        lessons: what authorities taught.
        sessions: that have written there.
        symbols: how many instruments something is known about.
        latest: those of them that were learned last, the latest first.
        findings: deviations, dependences and recurring faults of whole sources.
    """

    cells: dict[CellKey, Cell] = field(default_factory=dict)
    lessons: Lessons = field(default_factory=Lessons)
    sessions: int = 0
    symbols: int = 0
    latest: tuple[str, ...] = ()
    findings: Findings = field(default_factory=Findings)


@dataclass(frozen=True, slots=True)
class Written:
    """What the store holds now of the things a batch was about; None where it was not about any of the kind.

    `added` alone is what the batch itself held: outcomes that were added in the store and not read back.
    """

    cells: dict[CellKey, Cell]
    symbols: dict[str, SymbolKnowledge]
    added: dict[CellKey, Cell] = field(default_factory=dict)
    statistics: dict[str, SymbolStatistics] = field(default_factory=dict)
    lessons: Lessons | None = None
    symbol_count: int | None = None
    findings: Findings = field(default_factory=Findings)


class Listener(Protocol):
    """Who holds in RAM what the store holds."""

    def begin_with(self, loaded: Loaded) -> None:
        """Start over with what a store that was just opened holds."""
        ...

    def take_over(self, written: Written) -> None:
        """Note what the store holds after a batch."""
        ...


class Writer:
    """Owns the backlog and the connections.

    Args:
        database: where the store is.
        clock: for intervals and record times.
        options: how often and how much.
        listener: told of every opening and of every batch that was written.
    """

    def __init__(self, database: Database, clock: Clock, options: MemoryOptions, listener: Listener) -> None:
        self.backlog = Backlog(options.backlog)
        self.under_way = Backlog(options.backlog)
        self.opened: Opened | None = None
        self.note = ""
        self._trouble = ""
        self._copy_trouble = ""
        self._database = database
        self._clock = clock
        self._options = options
        self._listener = listener
        self._session = uuid.uuid4().hex
        self._started_at = clock.now().timestamp()
        self._batches = 0
        self._is_in_doubt = False
        self._is_damaged = False
        self._unwritable = 0
        self._writing = asyncio.Lock()
        self._checking = asyncio.Lock()
        self._waiting = asyncio.Event()
        self._urgent = asyncio.Event()
        self._stopped = asyncio.Event()
        self._waiting.set()  # the session itself wants to be written

    @property
    def trouble(self) -> str:
        """Why nothing is saved, or no copy made, at the moment; empty when all is well."""
        if not self._trouble and self.opened is not None and not self.opened.is_current():
            return "not saving at the moment: the store has gone"
        return self._trouble or self._copy_trouble

    @property
    def dropped(self) -> int:
        """Entries that were lost: to the bounds of the backlog, or because they could not be written at all."""
        return self.backlog.dropped + self._unwritable

    def notice(self) -> None:
        """Something was put into the backlog."""
        self._waiting.set()
        if self.backlog.added >= self._options.flush_entries:
            self._urgent.set()

    async def open(self) -> None:
        """Open the store; when that fails `trouble` says why, and every flush tries again."""
        async with self._writing:
            try:
                await self._connection()
            except StoreError as error:
                await self._note_trouble(error)

    async def run(self) -> None:
        """Write whenever something waits, until `stop`."""
        while not self._stopped.is_set():
            await self._waiting.wait()
            await self._pause(self._urgent, self._options.flush_s)
            await self.flush()
            if self._trouble:
                await self._pause(self._stopped, self._options.retry_s)

    async def keep_safe(self) -> None:
        """Check the store and see to its daily copies, until cancelled."""
        await self._clock.sleep(_FIRST_CHECKED_S)
        while True:
            await self.check()
            await self._clock.sleep(_DAY_CHECKED_S)

    async def check(self) -> None:
        """Check the store and see to the copy of today; a store found damaged is replaced by its last good copy."""
        if self.opened is None:
            return
        try:
            async with self._checking:
                is_sound = await self._database.keep_safe(f"{self._clock.now():%Y%m%d}")
        except StoreError as error:
            self._copy_trouble = str(error)
            return
        self._copy_trouble = ""
        if not is_sound:
            async with self._writing:
                await self._note_trouble(StoreError("what is stored is damaged", damaged=True))
            await self.flush()

    def stop(self) -> None:
        """Let `run` end after the batch it is at."""
        for event in (self._stopped, self._waiting, self._urgent):
            event.set()

    async def close(self) -> None:
        """Close the store."""
        async with self._writing:
            if self.opened is not None:
                with suppress(StoreError):
                    await self.opened.tidy()
            await self._disconnect()

    async def flush(self) -> None:
        """Write everything that waits now; when the store refuses it keeps waiting and `trouble` says why."""
        async with self._writing:
            if not self._stopped.is_set():
                self._waiting.clear()
                self._urgent.clear()
            if self._is_all_written():
                return
            taken = self.under_way if self._is_in_doubt else self.backlog.drain()
            self.under_way = taken
            try:
                written = await self._write(taken)
            except StoreError as error:
                self._is_in_doubt |= isinstance(error, InDoubtError)
                await self._note_trouble(error)
            else:
                self._trouble, self._is_in_doubt = "", False
                self.under_way = Backlog(self._options.backlog)
                # What was written already was loaded when the store was opened again.
                self._listener.take_over(Written({}, {}) if written is None else written)
            finally:
                if self.under_way is taken:  # not written: the store refused, or the task was cancelled
                    self._waiting.set()
                    if not self._is_in_doubt:
                        self.backlog.restore(taken)
                        self.under_way = Backlog(self._options.backlog)

    def _is_all_written(self) -> bool:
        return self._batches > 0 and self.backlog.added == 0 and not self._is_in_doubt and not self._trouble

    async def _connection(self) -> Connection:
        """The open connection, or a new one where there is none of use.

        Raises:
            StoreError: when there is none to be had.
        """
        if self.opened is not None and not self.opened.is_current():
            await self._disconnect()
        if self.opened is None:
            opened = await self._database.open(damaged=self._is_damaged)
            try:
                loaded = await _load(opened.connection)
            except BaseException:
                await opened.close()
                raise
            self.opened, self._is_damaged, self.note = opened, False, opened.note or self.note
            self._listener.begin_with(loaded)
        return self.opened.connection

    async def _disconnect(self) -> None:
        opened, self.opened = self.opened, None
        if opened is not None:
            with anyio.CancelScope(shield=True):
                await opened.close()

    async def _note_trouble(self, error: StoreError) -> None:
        kept = "kept in RAM until it can be saved" if self.opened is None else "not saving at the moment"
        self._trouble = f"{kept}: {error}"
        self._is_damaged |= error.damaged
        self._waiting.set()
        if error.lasting:
            await self._disconnect()

    async def _write(self, batch: Backlog) -> Written | None:
        """Write a batch; None when it turns out to be written already."""
        connection = await self._connection()
        answers = batch.answers
        evidence = await to_thread.run_sync(encoded, answers) if answers else []
        async with connection.transaction():
            known = self._is_in_doubt and await written_batch(connection, self._session) == self._batches + 1
            written = None if known else await self._units(connection, batch, evidence)
        self._batches += 1
        self._unwritable += len(answers) - len(evidence)
        return written

    async def _units(self, connection: Connection, batch: Backlog, evidence: list[EvidenceRow]) -> Written:
        options, now = self._options, self._clock.now().timestamp()
        await join_session(connection, self._session, self._batches + 1, (self._started_at, now), batch.count)
        cells = await join_cells(connection, batch.cells)
        symbols = await join_symbols(connection, batch.symbols)
        statistics = await join_statistics(connection, batch.statistics)
        lessons = await join_lessons(connection, batch.lessons)
        findings = await join_findings(connection, self._session, batch.findings)
        await join_faults(connection, batch.faults)
        await join_memberships(connection, batch.memberships)
        if evidence:
            await write_evidence(connection, evidence)
        if evidence or self._batches == 0:
            await prune_evidence(connection, options.archive, now)
        symbol_count = await count_symbols(connection) if symbols else None
        if self._batches % _PRUNED_EVERY == 0 or (symbol_count or 0) > options.symbols:
            await prune_knowledge(connection, options.parts, options.symbols)
            await prune_statistics(connection, options.symbols)
            await prune_findings(connection, options.parts)
            symbol_count = await count_symbols(connection)
        added = {key: cell for key, cell in batch.cells.items() if key not in cells}
        return Written(cells, symbols, added, statistics, lessons, symbol_count, findings)

    async def _pause(self, until: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError), self._clock.limit(seconds):
            await until.wait()


async def _load(connection: Connection) -> Loaded:
    return Loaded(
        await read_source_cells(connection),
        await read_lessons(connection),
        await count_sessions(connection),
        await count_symbols(connection),
        await latest_symbols(connection, _LATEST),
        await read_findings(connection),
    )
