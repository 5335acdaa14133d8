"""Memory: what is learned about sources and instruments, and the answers behind every evidence id, across restarts.

The rule of this module: telling memory something never waits and never fails, and what was told is known at once; it
reaches the disk later, in batches, after the answer. What is asked on the way to an answer (`source_knowledge`,
`symbol_knowledge`) comes from RAM.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from pathlib import Path

import aiosqlite
import anyio

from mdagent_mcp.domain.answers import QuoteAnswer
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.events import Compared, Event, Fetched, Graded, Judged, Stamped, Verified
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.service import AnswerKind
from mdagent_mcp.memory.archive import find_evidence, find_latest
from mdagent_mcp.memory.backlog import AnswerCount, Membership
from mdagent_mcp.memory.database import open_database, reason
from mdagent_mcp.memory.dependence import Pair, proven
from mdagent_mcp.memory.evidence import Answer
from mdagent_mcp.memory.finding_rows import Curve, read_curve, read_findings
from mdagent_mcp.memory.findings import Findings, FindingsLearner
from mdagent_mcp.memory.knowledge import Snapshot, SourceKnowledge, Totals, source_knowledge
from mdagent_mcp.memory.learning import Cell, CellKey, asset_class, combine, learn_fetched, learn_judged
from mdagent_mcp.memory.lesson_rows import read_lessons
from mdagent_mcp.memory.lessons import Lessons, combine_lessons, learn
from mdagent_mcp.memory.patterns import PatternBook, find_patterns
from mdagent_mcp.memory.rows import count_sessions, read_cells, read_symbols
from mdagent_mcp.memory.snapshots import read_snapshot, read_symbol_snapshot
from mdagent_mcp.memory.statistics_rows import read_statistics
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics, combine_statistics, from_text, learn_statistics
from mdagent_mcp.memory.symbols import SymbolKnowledge, combine_symbols, learn_symbol
from mdagent_mcp.memory.traces import Trace, TraceBook
from mdagent_mcp.memory.writer import MemoryOptions, Writer, Written

__all__ = ["Memory", "MemoryOptions", "open_memory"]


@dataclass(slots=True)
class _Stored:
    """What the store holds, as far as it is needed on the way to an answer.

    Attributes:
        cells: about whole sources.
        symbols: about instruments, the one written last at the end.
        most_symbols: how many of them.
        texts: how instruments behave, as stored, where it was not read yet: symbol -> (epoch seconds, JSON).
        statistics: the same, read.
        lessons: what authorities taught.
        findings: about whole sources.
        patterns: recurring faults in the findings; None until they are asked for again.
        copies: pairs of sources that are one voice by the findings.
        views: knowledge about sources as it was last asked for; forgotten when something changes it.
    """

    cells: dict[CellKey, Cell]
    symbols: dict[str, SymbolKnowledge]
    most_symbols: int
    texts: dict[str, tuple[float, str]] = field(default_factory=dict)
    statistics: dict[str, SymbolStatistics] = field(default_factory=dict)
    lessons: Lessons = field(default_factory=Lessons)
    findings: Findings = field(default_factory=Findings)
    patterns: PatternBook | None = None
    copies: tuple[Pair, ...] | None = None
    views: dict[str, SourceKnowledge | None] = field(default_factory=dict)

    def take_over(self, written: Written) -> None:
        """Note what the store holds after a batch, which may include what another process learned."""
        self.cells.update((key, cell) for key, cell in written.cells.items() if key == CellKey(key.source))
        for symbol, known in written.symbols.items():
            self.symbols.pop(symbol, None)
            self.symbols[symbol] = known
        while len(self.symbols) > self.most_symbols:
            del self.symbols[next(iter(self.symbols))]
        self.lessons = written.lessons
        self.statistics.update(written.statistics)
        while len(self.statistics) > self.most_symbols:
            del self.statistics[next(iter(self.statistics))]
        self.views.clear()
        self.findings.update(written.findings)
        self.patterns = self.copies = None

    def statistics_of(self, symbol: str) -> SymbolStatistics | None:
        """How an instrument behaves; its stored text is read when it is first asked for."""
        if symbol not in self.statistics and symbol in self.texts:
            self.statistics[symbol] = from_text(symbol, *self.texts.pop(symbol))
        return self.statistics.get(symbol)


class Memory:
    """What is remembered; made by `open_memory`."""

    def __init__(
        self, connection: aiosqlite.Connection, writer: Writer, stored: _Stored, *, earlier_sessions: int, note: str
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._stored = stored
        self._sessions = earlier_sessions + 1
        self._note = note
        self._reading_trouble = ""
        self._lessons: Lessons | None = None
        self._traces = TraceBook()
        self._findings = FindingsLearner()

    @property
    def state(self) -> str:
        """`ok`, or what is wrong with the store, for people."""
        lost = f"{self.dropped} entries were lost" if self.dropped else ""
        troubles = (self._note, self._writer.trouble, self._reading_trouble, lost)
        return "; ".join(trouble for trouble in troubles if trouble) or "ok"

    @property
    def dropped(self) -> int:
        """Entries that were lost because too much waited to be written."""
        return self._writer.dropped

    def keep(self, answer: Answer) -> None:
        """Keep an answer under its evidence id and learn from it; returns at once."""
        self._writer.backlog.add_answer(answer)
        if isinstance(answer, QuoteAnswer):
            self._learn_quote(answer)
            self._writer.backlog.add_findings(self._findings.learn_answer(answer))
        self._writer.notice()

    def listen(self, event: Event) -> None:
        """Learn from what lower layers say; returns at once."""
        self._writer.backlog.add_findings(self._findings.learn_event(event))
        match event:
            case Fetched():
                self._learn_cells(event.source, learn_fetched(event))
                if event.kind is not None:
                    self._writer.backlog.add_fault(event.source, event.kind.value, event.at.timestamp())
            case Judged():
                self._learn_cells(event.source, learn_judged(event))
                if event.fault:
                    fault = clean_text(event.fault, 40)
                    self._writer.backlog.add_fault(event.source, fault, event.at.timestamp())
            case Compared() | Verified() | Stamped():
                self._writer.backlog.add_lessons(learn(event, self.lessons()))
                self._lessons = None
            case Graded():
                unanswered = 1 if event.grade is None else 0
                self._writer.backlog.add_count(AnswerCount(1 - unanswered, 1 if event.cached else 0, unanswered))
        self._writer.notice()

    async def evidence(self, evidence_id: str) -> Answer | None:
        """The answer kept under an id, also one that is not written yet; None when there is none."""
        waiting = self._writer.backlog.answer(evidence_id) or self._writer.under_way.answer(evidence_id)
        return waiting or await self._read(find_evidence(self._connection, evidence_id))

    async def latest(self, symbol: str, kind: AnswerKind) -> Answer | None:
        """The latest kept answer about a symbol; None when there is none."""
        waiting = self._writer.backlog.latest(symbol, kind) or self._writer.under_way.latest(symbol, kind)
        return waiting or await self._read(find_latest(self._connection, symbol, kind))

    def source_knowledge(self, source: str) -> SourceKnowledge | None:
        """What is known about a source now; None when nothing is."""
        if source not in self._stored.views:
            cell = self._cell(CellKey(source))
            self._stored.views[source] = None if cell is None else source_knowledge(source, cell)
        return self._stored.views[source]

    def symbol_knowledge(self, symbol: str) -> SymbolKnowledge | None:
        """What is known about an instrument now; None when nothing is."""
        places = (self._stored.symbols, self._writer.under_way.symbols, self._writer.backlog.symbols)
        parts = [place[symbol] for place in places if symbol in place]
        return reduce(combine_symbols, parts) if parts else None

    def known_symbols(self) -> tuple[str, ...]:
        """Symbols of which something is known, the one learned last first."""
        places = (self._writer.backlog.symbols, self._writer.under_way.symbols, self._stored.symbols)
        return tuple(dict.fromkeys(symbol for place in places for symbol in reversed(place)))

    def symbol_statistics(self, symbol: str) -> SymbolStatistics | None:
        """How an instrument behaves; None when nothing is known."""
        stored = self._stored.statistics_of(symbol)
        waiting = (self._writer.under_way.statistics.get(symbol), self._writer.backlog.statistics.get(symbol))
        parts = [part for part in (stored, *waiting) if part is not None]
        return reduce(combine_statistics, parts) if parts else None

    def traces(self, symbol: str) -> Mapping[str, Trace]:
        """What every source said last about an instrument, as far as it was asked since the start."""
        return self._traces.of(symbol)

    def last_confirmed(self, symbol: str) -> tuple[float, datetime] | None:
        """The last price that two independent sources stated since the start, and when it was judged."""
        return self._traces.last_confirmed(symbol)

    def lessons(self) -> Lessons:
        """What authorities have taught about the sources, and what became of stated probabilities."""
        if self._lessons is None:
            parts = (self._stored.lessons, self._writer.under_way.lessons, self._writer.backlog.lessons)
            self._lessons = reduce(combine_lessons, parts)
        return self._lessons

    def patterns(self) -> PatternBook:
        """Faults that recur, as of the last batch that was written."""
        if self._stored.patterns is None:
            self._stored.patterns = find_patterns(self._stored.findings.tallies)
        return self._stored.patterns

    def copies(self) -> tuple[Pair, ...]:
        """Sources that make the same mistakes and are one voice, as of the last batch that was written."""
        if self._stored.copies is None:
            self._stored.copies = proven(self._stored.findings.dependences)
        return self._stored.copies

    def totals(self) -> Totals:
        """How much is remembered now."""
        places = (self._stored.symbols, self._writer.under_way.symbols, self._writer.backlog.symbols)
        cells = (self._stored.cells, self._writer.under_way.cells, self._writer.backlog.cells)
        return Totals(
            self._sessions,
            len({symbol for place in places for symbol in place}),
            sum(cell.outcomes for place in cells for key, cell in place.items() if key == CellKey(key.source)),
        )

    async def flush(self) -> None:
        """Write everything that waits now, as the background task does by itself."""
        await self._writer.flush()

    async def snapshot(self, symbols: int | None = None) -> Snapshot:
        """Everything learned, as the store holds it after writing what waits.

        Args:
            symbols: how many instruments, those learned about most; None for all of them.

        Raises:
            sqlite3.Error: when the store cannot be read.
        """
        await self.flush()
        return await read_snapshot(self._connection, self.totals(), symbols)

    async def symbol_snapshot(self, symbol: str) -> Snapshot:
        """What was learned about one instrument, as `snapshot`."""
        await self.flush()
        return await read_symbol_snapshot(self._connection, symbol, self.totals())

    async def curve(self, sessions: int) -> Curve:
        """The figures of the latest sessions, this one included, as `snapshot`."""
        await self.flush()
        return await read_curve(self._connection, sessions)

    def _learn_quote(self, answer: QuoteAnswer) -> None:
        statistics = learn_statistics(answer, self.symbol_knowledge(answer.symbol))
        if statistics is not None:
            self._writer.backlog.add_statistics(statistics)
        self._traces.note(answer)
        learned = learn_symbol(answer)
        if learned is not None:
            self._writer.backlog.add_symbol(learned)
        at = answer.judged_at.timestamp()
        for voice in answer.explanation.voices:
            membership = Membership(voice.upstream_group, at)
            self._writer.backlog.add_membership(voice.source, asset_class(answer.symbol), membership)

    def _learn_cells(self, source: str, outcomes: Iterable[tuple[CellKey, Cell]]) -> None:
        for key, cell in outcomes:
            self._writer.backlog.add_cell(key, cell)
        self._stored.views.pop(source, None)

    def _cell(self, key: CellKey) -> Cell | None:
        places = (self._stored.cells, self._writer.under_way.cells, self._writer.backlog.cells)
        parts = [place[key] for place in places if key in place]
        return reduce(combine, parts) if parts else None

    async def _read(self, finding: Awaitable[Answer | None]) -> Answer | None:
        try:
            found = await finding
        except (sqlite3.Error, ValueError) as error:  # ValueError: aiosqlite's word for a closed connection
            self._reading_trouble = f"kept answers cannot be read: {reason(error)}"
            return None
        self._reading_trouble = ""
        return found


@asynccontextmanager
async def open_memory(path: Path | None, clock: Clock, options: MemoryOptions | None = None) -> AsyncIterator[Memory]:
    """Open the memory kept at `path`, for the body; None for one that is lost at the end.

    Trouble with the file is no error: `Memory.state` tells of it, and what cannot be on disk is in RAM. On leaving,
    everything that waits is written.
    """
    options = MemoryOptions() if options is None else options
    opened = await open_database(path, clock)
    connection = opened.connection
    try:
        stored = _Stored(
            await read_cells(connection, whole_sources_only=True),
            await read_symbols(connection, options.symbols),
            options.symbols,
            await read_statistics(connection, options.symbols),
            lessons=await read_lessons(connection),
            findings=await read_findings(connection),
        )
        sessions = await count_sessions(connection)
        writer = Writer(connection, clock, options, stored.take_over)
        async with _running(writer):
            yield Memory(connection, writer, stored, earlier_sessions=sessions, note=opened.note)
    finally:
        with anyio.CancelScope(shield=True):
            with suppress(sqlite3.Error):
                await connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            await connection.close()


@asynccontextmanager
async def _running(writer: Writer) -> AsyncIterator[None]:
    """Let the writer write during the body and write the rest after it, also when the body is cancelled."""
    writing = asyncio.create_task(writer.run(), name="memory writer")
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            writer.stop()
            await writing
            await writer.flush()
