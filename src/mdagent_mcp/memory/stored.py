"""What the store holds, as far as it is needed on the way to an answer and therefore held in RAM.

The rule of this module: it only notes what was read from the store and what was written to it; nothing is learned here.
Sources are known from the start, an instrument from when a question about it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mdagent_mcp.memory.dependence import Pair
from mdagent_mcp.memory.knowledge import SourceKnowledge
from mdagent_mcp.memory.learning import SYMBOL_SCOPE, Cell, CellKey, combine, settled
from mdagent_mcp.memory.lessons import Lessons
from mdagent_mcp.memory.patterns import PatternBook
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics
from mdagent_mcp.memory.symbols import SymbolKnowledge
from mdagent_mcp.memory.writer import Loaded, Written


class Recalled(NamedTuple):
    """What was read about some instruments.

    Attributes:
        symbols: facts about them.
        statistics: how they behave.
        cells: how sources did with them.
        batches: `Stored.batches` as the read began.
    """

    symbols: Mapping[str, SymbolKnowledge]
    statistics: Mapping[str, SymbolStatistics]
    cells: Mapping[CellKey, Cell]
    batches: int


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
        for known in (self.symbols, self.statistics, self.parts, self.views, self.joined):
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
        for key, cell in written.added.items():
            held = self._held(key)
            if held is not None:
                held[key] = settled(combine(held[key], cell) if key in held else cell)
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

    def recalled(self, asked: Iterable[str], found: Recalled, under_way: Iterable[CellKey]) -> None:
        """Note what was read; what was written meanwhile is newer and stays.

        How sources did with an instrument is a sum. Where a batch was, or is, on its way to the store, nobody can say
        whether what was read includes it: then it is left out, and read again with the next question.

        Args:
            asked: the instruments.
            found: what was read about them.
            under_way: what a batch that is being written is about.
        """
        unsure = {symbol_of(key) for key in under_way}
        fresh = [s for s in asked if found.batches == self.batches and s not in unsure and s not in self.parts]
        self.parts.update({symbol: {} for symbol in fresh})
        for symbol in asked:
            self.symbols.setdefault(symbol, found.symbols.get(symbol))
            self.statistics.setdefault(symbol, found.statistics.get(symbol))
        for key, cell in found.cells.items():
            if symbol_of(key) in fresh:
                self.parts[symbol_of(key)][key] = cell
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

    def _bound(self) -> None:
        while len(self.symbols) > self.most:
            self.holds_all = False
            oldest = next(iter(self.symbols))
            del self.symbols[oldest]
            self.statistics.pop(oldest, None)
            self.parts.pop(oldest, None)
        while len(self.parts) > self.most:
            self.holds_all = False
            del self.parts[next(iter(self.parts))]


def symbol_of(key: CellKey) -> str:
    """The instrument that a cell is about; empty when it is about more than one."""
    return key.scope[len(SYMBOL_SCOPE) :] if key.scope.startswith(SYMBOL_SCOPE) else ""
