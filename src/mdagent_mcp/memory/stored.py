"""What the store holds, as far as it is needed on the way to an answer and therefore held in RAM.

The rule of this module: it only notes what was read from the store and what was written to it; nothing is learned here.
Sources are known from the start, an instrument from when a question about it began.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from mdagent_mcp.memory.dependence import Pair
from mdagent_mcp.memory.knowledge import SourceKnowledge
from mdagent_mcp.memory.learning import SYMBOL_SCOPE, Cell, CellKey, combine, settled
from mdagent_mcp.memory.lessons import Lessons
from mdagent_mcp.memory.patterns import PatternBook
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics
from mdagent_mcp.memory.symbols import SymbolKnowledge
from mdagent_mcp.memory.writer import Loaded, Written

MOST_ADDED: Final = 500
"""Outcomes of a batch that are added here as well; of more, what they are about is rather read again when needed."""
HELD_FOR_S: Final = 300.0
"""Seconds after which it is read again how sources did with an instrument: other processes learn about it too."""


class Parts(NamedTuple):
    """How sources did with some instruments, as it was read.

    Attributes:
        cells: what was found.
        batches: `Stored.batches` as the read began.
        at: when that was, monotonic seconds.
    """

    cells: Mapping[CellKey, Cell]
    batches: int
    at: float


@dataclass(slots=True)
class Stored:
    """What the store holds.

    Attributes:
        most: instruments that are held in RAM.
        holds_all: whether nothing is stored about an instrument that is not held here: the store began empty, nobody
            else writes it, and nothing was dropped for `most`.
        loaded: about sources and asset classes, and how much there is.
        symbols: about instruments, those read or written last at the end; None where nothing is stored.
        statistics: how they behave; likewise.
        parts: how sources did with the instruments that were recalled.
        read_at: when that was read, monotonic seconds.
        batches: how many were written since the start.
        views: knowledge about sources as it was last asked for; forgotten when something changes it.
        lessons: everything that authorities taught, as it was last asked for; likewise.
        patterns: recurring faults in the findings; None until they are asked for again.
        copies: pairs of sources that are one voice by the findings; likewise.
        joined: cells with what waits to be written, as they were last asked for; forgotten likewise.
    """

    most: int
    holds_all: bool = False
    loaded: Loaded = field(default_factory=Loaded)
    symbols: dict[str, SymbolKnowledge | None] = field(default_factory=dict)
    statistics: dict[str, SymbolStatistics | None] = field(default_factory=dict)
    parts: dict[str, dict[CellKey, Cell]] = field(default_factory=dict)
    read_at: dict[str, float] = field(default_factory=dict)
    batches: int = 0
    views: dict[str, SourceKnowledge | None] = field(default_factory=dict)
    lessons: Lessons | None = None
    patterns: PatternBook | None = None
    copies: tuple[Pair, ...] | None = None
    joined: dict[CellKey, Cell | None] = field(default_factory=dict)

    def begin_with(self, loaded: Loaded) -> None:
        """Start over with what a store that was just opened holds."""
        self.loaded, self.lessons = loaded, None
        self.patterns = self.copies = None
        self.batches += 1
        for known in (self.symbols, self.statistics, self.parts, self.read_at, self.views, self.joined):
            known.clear()

    def take_over(self, written: Written) -> None:
        """Note what the store holds after a batch, which may include what another process learned."""
        loaded = self.loaded
        count = loaded.symbols if written.symbol_count is None else written.symbol_count
        lessons = loaded.lessons if written.lessons is None else written.lessons
        self.batches += 1
        for key, cell in written.cells.items():
            held = self._held(key)
            if held is not None:
                held[key] = cell
        self._add(written.added)
        self.loaded = replace(loaded, lessons=lessons, symbols=count)
        for symbol, known in written.symbols.items():
            self.symbols.pop(symbol, None)
            self.symbols[symbol] = known
        self.statistics.update(written.statistics)
        self._bound()
        self.views.clear()
        self.lessons = None
        self.loaded.findings.update(written.findings)
        self.patterns = self.copies = None
        self.joined.clear()

    def is_held(self, symbol: str, now: float) -> bool:
        """Whether nothing needs to be read about an instrument at `now` (monotonic seconds)."""
        return self.holds_all or now - self.read_at.get(symbol, -math.inf) < HELD_FOR_S

    def recalled(
        self, asked: Iterable[str], symbols: Mapping[str, SymbolKnowledge], statistics: Mapping[str, SymbolStatistics]
    ) -> None:
        """Note what was read about instruments; what was written meanwhile is newer and stays."""
        for symbol in asked:
            self.symbols.setdefault(symbol, symbols.get(symbol))
            self.statistics.setdefault(symbol, statistics.get(symbol))
        self._bound()

    def recalled_parts(self, asked: Iterable[str], found: Parts, under_way: Iterable[CellKey]) -> None:
        """Note how sources did with instruments, as it was read.

        These are sums. Where a batch was, or is, on its way to the store, nobody can say whether what was read includes
        it: then it is left out, and read again with the next question.

        Args:
            asked: the instruments.
            found: what was read about them.
            under_way: what a batch that is being written is about.
        """
        if found.batches != self.batches:
            return
        unsure = {symbol_of(key) for key in under_way}
        for symbol in asked:
            if symbol not in unsure:
                self._forget(symbol)
                self.parts[symbol], self.read_at[symbol] = {}, found.at
        for key, cell in found.cells.items():
            symbol = symbol_of(key)
            if symbol not in unsure:
                self.parts[symbol][key] = cell
                self.joined.pop(key, None)
        self._bound()

    def cells_with(self, key: CellKey) -> Mapping[CellKey, Cell]:
        """Those among which a key is, if it is held."""
        symbol = symbol_of(key)
        return self.parts.get(symbol, {}) if symbol else self.loaded.cells

    def _held(self, key: CellKey) -> dict[CellKey, Cell] | None:
        """Those among which a key is held; None where nothing of the instrument is."""
        symbol = symbol_of(key)
        if not symbol:
            return self.loaded.cells
        return self.parts.setdefault(symbol, {}) if self.holds_all else self.parts.get(symbol)

    def _add(self, outcomes: Mapping[CellKey, Cell]) -> None:
        """Add what a batch added to the store."""
        if len(outcomes) > MOST_ADDED and not self.holds_all:
            for symbol in {symbol_of(key) for key in outcomes}:
                self._forget(symbol)
            return
        for key, cell in outcomes.items():
            held = self._held(key)
            if held is not None:
                held[key] = settled(combine(held[key], cell) if key in held else cell)

    def _forget(self, symbol: str) -> None:
        """Have it read again how sources did with an instrument."""
        self.read_at.pop(symbol, None)
        for key in self.parts.pop(symbol, ()):
            self.joined.pop(key, None)

    def _bound(self) -> None:
        while len(self.symbols) > self.most:
            self.holds_all = False
            oldest = next(iter(self.symbols))
            del self.symbols[oldest]
            self.statistics.pop(oldest, None)
            self._forget(oldest)
        while len(self.parts) > self.most:
            self.holds_all = False
            self._forget(next(iter(self.parts)))


def symbol_of(key: CellKey) -> str:
    """The instrument that a cell is about; empty when it is about more than one."""
    return key.scope[len(SYMBOL_SCOPE) :] if key.scope.startswith(SYMBOL_SCOPE) else ""
