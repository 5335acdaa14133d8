"""Memory: what is learned about sources and instruments, and the answers behind every evidence id, across restarts.

The rule of this module: telling memory something never waits and never fails, and what was told is known at once; it
reaches the store later, in batches, after the answer. What is asked on the way to an answer (`source_knowledge`,
`symbol_knowledge`) comes from RAM: sources are read at the start, an instrument when a question about it begins
(`recall`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Final

import anyio

from mdagent_mcp.domain.answers import QuoteAnswer
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.events import Compared, Event, Fetched, Graded, Judged, Stamped, Verified
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.service import AnswerKind
from mdagent_mcp.memory.archive import find_evidence, find_latest
from mdagent_mcp.memory.backlog import AnswerCount, Membership
from mdagent_mcp.memory.connection import Connection, StoreError
from mdagent_mcp.memory.database import Database, FileDatabase, Opened, RamDatabase
from mdagent_mcp.memory.dependence import Pair, proven
from mdagent_mcp.memory.evidence import Answer
from mdagent_mcp.memory.finding_rows import Curve, read_curve
from mdagent_mcp.memory.findings import FindingsLearner
from mdagent_mcp.memory.knowledge import Snapshot, SourceKnowledge, Totals, source_knowledge
from mdagent_mcp.memory.learning import Cell, CellKey, asset_class, combine, learn_fetched, learn_judged
from mdagent_mcp.memory.lessons import Lessons, combine_lessons, learn
from mdagent_mcp.memory.patterns import PatternBook, find_patterns
from mdagent_mcp.memory.recalling import Recalls
from mdagent_mcp.memory.rows import CHUNK, find_symbols, read_cells_of
from mdagent_mcp.memory.snapshots import read_snapshot, read_symbol_snapshot
from mdagent_mcp.memory.statistics_rows import find_statistics
from mdagent_mcp.memory.stored import Parts, Stored
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics, combine_statistics, learn_statistics
from mdagent_mcp.memory.symbols import SymbolKnowledge, combine_symbols, learn_symbol
from mdagent_mcp.memory.traces import Trace, TraceBook
from mdagent_mcp.memory.writer import MemoryOptions, Writer

__all__ = ["Memory", "MemoryOptions", "open_memory"]

RECALLING_S: Final = 0.25
"""Seconds that a question waits for what is stored about its instruments."""


class Memory:
    """What is remembered; made by `open_memory`."""

    def __init__(self, writer: Writer, stored: Stored, clock: Clock) -> None:
        self._writer = writer
        self._stored = stored
        self._clock = clock
        self._reading_trouble = ""
        self._traces = TraceBook()
        self._findings = FindingsLearner()
        self._recalls = Recalls(self._recall)

    @property
    def state(self) -> str:
        """`ok`, or what is wrong with the store, for people."""
        lost = f"{self.dropped} entries were lost" if self.dropped else ""
        troubles = (self._writer.note, self._writer.trouble, self._reading_trouble, lost)
        return "; ".join(trouble for trouble in troubles if trouble) or "ok"

    @property
    def dropped(self) -> int:
        """Entries that were lost because too much waited to be written."""
        return self._writer.dropped

    def keep(self, answer: Answer) -> None:
        """Keep an answer under its evidence id and learn from it; returns at once."""
        self.hold(answer)
        self.learn_from(answer)

    def hold(self, answer: Answer) -> None:
        """Keep an answer under its evidence id, to be learned from behind it; returns at once."""
        self._writer.backlog.add_answer(answer)
        self._writer.notice()

    def learn_from(self, answer: Answer) -> None:
        """Learn from an answer that is kept; returns at once."""
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
                self._stored.lessons = None
            case Graded():
                unanswered = 1 if event.grade is None else 0
                self._writer.backlog.add_count(AnswerCount(1 - unanswered, 1 if event.cached else 0, unanswered))
        self._writer.notice()

    async def evidence(self, evidence_id: str) -> Answer | None:
        """The answer kept under an id, also one that is not written yet; None when there is none."""
        waiting = self._writer.backlog.answer(evidence_id) or self._writer.under_way.answer(evidence_id)
        return waiting or await self._read(lambda reader: find_evidence(reader, evidence_id))

    async def latest(self, symbol: str, kind: AnswerKind) -> Answer | None:
        """The latest kept answer about a symbol; None when there is none."""
        waiting = self._writer.backlog.latest(symbol, kind) or self._writer.under_way.latest(symbol, kind)
        return waiting or await self._read(lambda reader: find_latest(reader, symbol, kind))

    async def recall(self, symbols: Iterable[str]) -> None:
        """Read what is stored about instruments, so that it is known from now on; what cannot be read is not known."""
        now = self._clock.monotonic()
        missing = [s for s in symbols if not self._stored.is_held(s, now)]
        if missing and self._writer.opened is not None:
            await self._recalls.recall(missing)

    async def _recall(self, symbols: Sequence[str]) -> None:
        opened = self._writer.opened
        for start in range(0, len(symbols), CHUNK):
            if opened is None:
                return
            names = symbols[start : start + CHUNK]
            try:
                with self._clock.limit(RECALLING_S):
                    await self._recall_chunk(opened, names)
            except (StoreError, TimeoutError) as error:
                self._reading_trouble = f"what was learned cannot be read: {str(error) or 'it takes too long'}"
                return
            self._reading_trouble = ""

    async def _recall_chunk(self, opened: Opened, names: Sequence[str]) -> None:
        found = await find_symbols(opened.reader, names)
        behaviour = await find_statistics(opened.reader, names)
        if opened is self._writer.opened:
            self._stored.recalled(names, found, behaviour)
        at, batches = self._clock.monotonic(), self._stored.batches
        parts = Parts(await read_cells_of(opened.reader, names), batches, at)
        if opened is self._writer.opened:
            self._stored.recalled_parts(names, parts, self._writer.under_way.cells)

    def source_knowledge(self, source: str) -> SourceKnowledge | None:
        """What is known about a source now; None when nothing is."""
        if source not in self._stored.views:
            cell = self.cell(CellKey(source))
            self._stored.views[source] = None if cell is None else source_knowledge(source, cell)
        return self._stored.views[source]

    def cell(self, key: CellKey) -> Cell | None:
        """What was learned about a source, or a part of what it serves; None when nothing was.

        Of what was stored about a symbol nothing is at hand before its `recall`.
        """
        if key not in self._stored.joined:
            self._stored.joined[key] = self._cell(key)
        return self._stored.joined[key]

    def symbol_knowledge(self, symbol: str) -> SymbolKnowledge | None:
        """What is known about an instrument now; None when nothing is."""
        places = (self._stored.symbols, self._writer.under_way.symbols, self._writer.backlog.symbols)
        parts = [known for place in places if (known := place.get(symbol)) is not None]
        return reduce(combine_symbols, parts) if parts else None

    def known_symbols(self) -> tuple[str, ...]:
        """Symbols of which something is known, the one learned last first."""
        stored = [symbol for symbol, known in reversed(self._stored.symbols.items()) if known is not None]
        waiting = (self._writer.backlog.symbols, self._writer.under_way.symbols)
        latest = (symbol for place in waiting for symbol in reversed(place))
        return tuple(dict.fromkeys((*latest, *stored, *self._stored.loaded.latest)))

    def symbol_statistics(self, symbol: str) -> SymbolStatistics | None:
        """How an instrument behaves; None when nothing is known."""
        places = (self._stored.statistics, self._writer.under_way.statistics, self._writer.backlog.statistics)
        parts = [known for place in places if (known := place.get(symbol)) is not None]
        return reduce(combine_statistics, parts) if parts else None

    def traces(self, symbol: str) -> Mapping[str, Trace]:
        """What every source said last about an instrument, as far as it was asked since the start."""
        return self._traces.of(symbol)

    def last_confirmed(self, symbol: str) -> tuple[float, datetime] | None:
        """The last price that two independent sources stated since the start, and when it was judged."""
        return self._traces.last_confirmed(symbol)

    def lessons(self) -> Lessons:
        """What authorities have taught about the sources, and what became of stated probabilities."""
        if self._stored.lessons is None:
            parts = (self._stored.loaded.lessons, self._writer.under_way.lessons, self._writer.backlog.lessons)
            self._stored.lessons = reduce(combine_lessons, parts)
        return self._stored.lessons

    def patterns(self) -> PatternBook:
        """Faults that recur, as of the last batch that was written."""
        if self._stored.patterns is None:
            self._stored.patterns = find_patterns(self._stored.loaded.findings.tallies)
        return self._stored.patterns

    def copies(self) -> tuple[Pair, ...]:
        """Sources that make the same mistakes and are one voice, as of the last batch that was written."""
        if self._stored.copies is None:
            self._stored.copies = proven(self._stored.loaded.findings.dependences)
        return self._stored.copies

    def totals(self) -> Totals:
        """How much is remembered now."""
        stored, waiting = self._stored, {*self._writer.under_way.symbols, *self._writer.backlog.symbols}
        cells = (stored.loaded.cells, self._writer.under_way.cells, self._writer.backlog.cells)
        return Totals(
            stored.loaded.sessions + 1,
            stored.loaded.symbols + sum(stored.symbols.get(symbol) is None for symbol in waiting),
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
            StoreError: when the store cannot be read.
        """
        return await read_snapshot(await self._reader(), self.totals(), symbols)

    async def symbol_snapshot(self, symbol: str) -> Snapshot:
        """What was learned about one instrument, as `snapshot`."""
        return await read_symbol_snapshot(await self._reader(), symbol, self.totals())

    async def curve(self, sessions: int) -> Curve:
        """The figures of the latest sessions, this one included, as `snapshot`."""
        return await read_curve(await self._reader(), sessions)

    async def _reader(self) -> Connection:
        await self.flush()
        if self._writer.opened is None:
            raise StoreError(self.state)
        return self._writer.opened.reader

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
            self._stored.joined.pop(key, None)
        self._stored.views.pop(source, None)

    def _cell(self, key: CellKey) -> Cell | None:
        places = (self._stored.cells_with(key), self._writer.under_way.cells, self._writer.backlog.cells)
        parts = [place[key] for place in places if key in place]
        return reduce(combine, parts) if parts else None

    async def _read(self, find: Callable[[Connection], Awaitable[Answer | None]]) -> Answer | None:
        if self._writer.opened is None:
            return None
        try:
            found = await find(self._writer.opened.reader)
        except StoreError as error:
            self._reading_trouble = f"kept answers cannot be read: {error}"
            return None
        self._reading_trouble = ""
        return found


@asynccontextmanager
async def open_memory(
    place: Path | Database | None, clock: Clock, options: MemoryOptions | None = None
) -> AsyncIterator[Memory]:
    """Open memory for the body.

    Args:
        place: the file, or another store; None for one that is lost at the end.
        clock: time.
        options: how much is kept and how often it is written.

    Trouble with the store is no error: `Memory.state` tells of it, and what cannot be written waits in RAM until it
    can. On leaving, everything that waits is written.
    """
    options = MemoryOptions() if options is None else options
    if place is None:
        place = RamDatabase(clock)
    database = FileDatabase(place, clock) if isinstance(place, Path) else place
    stored = Stored(options.recalled, holds_all=isinstance(database, RamDatabase))
    writer = Writer(database, clock, options, stored)
    try:
        await writer.open()
        async with _running(writer):
            yield Memory(writer, stored, clock)
    finally:
        with anyio.CancelScope(shield=True):
            await writer.close()


@asynccontextmanager
async def _running(writer: Writer) -> AsyncIterator[None]:
    """Let the writer write during the body and write the rest after it, also when the body is cancelled."""
    writing = asyncio.create_task(writer.run(), name="memory writer")
    checking = asyncio.create_task(writer.keep_safe(), name="memory copies")
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            checking.cancel()
            await asyncio.wait((checking,))
            writer.stop()
            await writing
            await writer.flush()
