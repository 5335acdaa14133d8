"""What was learned and answered but is not written yet: bounded, and joined as it comes in.

The rule of this module: nothing here waits or fails. Outcomes about the same thing are combined, so that a busy minute
becomes a few rows; where a bound is reached, what was touched longest ago is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mdagent_mcp.domain.answers import HistoryAnswer, QuoteAnswer
from mdagent_mcp.domain.service import AnswerKind
from mdagent_mcp.memory.evidence import Answer
from mdagent_mcp.memory.findings import Findings
from mdagent_mcp.memory.learning import Cell, CellKey, combine
from mdagent_mcp.memory.lessons import Lessons, combine_lessons
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics, combine_statistics
from mdagent_mcp.memory.symbols import SymbolKnowledge, combine_symbols

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class BacklogLimits:
    """How much may wait to be written.

    Attributes:
        outcomes: different things learned about (source and symbol).
        quotes: quote answers.
        histories: series; they are large.
    """

    outcomes: int = 20_000
    quotes: int = 2_000
    histories: int = 50

    def __post_init__(self) -> None:
        if min(self.outcomes, self.quotes, self.histories) < 1:
            raise ValueError("a backlog holds at least one of each")


@dataclass(frozen=True, slots=True)
class FaultCount:
    """How often a source showed a fault, and when last (epoch seconds)."""

    n: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Membership:
    """Whose data a source passes on for an asset class, and when that was seen (epoch seconds)."""

    upstream_group: str
    seen_at: float


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """Answers of this session.

    Attributes:
        answers: given, cached ones included.
        cached: given from the cache.
        unanswered: symbols without an answer.
    """

    answers: int = 0
    cached: int = 0
    unanswered: int = 0

    def __add__(self, other: AnswerCount) -> AnswerCount:
        return AnswerCount(self.answers + other.answers, self.cached + other.cached, self.unanswered + other.unanswered)


@dataclass(slots=True)
class Backlog:
    """Everything that waits, by what it is about; the least recently touched first.

    Attributes:
        limits: how much may wait.
        cells: outcomes.
        faults: by source and fault.
        symbols: facts about instruments.
        statistics: how instruments behave.
        memberships: by source and asset class.
        quotes: answers by evidence id.
        histories: answers by evidence id.
        count: answers given.
        lessons: what authorities taught.
        findings: deviations, dependences, recurring faults, figures of the session.
        dropped: entries lost to the bounds since the start.
        added: entries taken in since the last `drain`.
    """

    limits: BacklogLimits
    cells: dict[CellKey, Cell] = field(default_factory=dict)
    faults: dict[tuple[str, str], FaultCount] = field(default_factory=dict)
    symbols: dict[str, SymbolKnowledge] = field(default_factory=dict)
    statistics: dict[str, SymbolStatistics] = field(default_factory=dict)
    memberships: dict[tuple[str, str], Membership] = field(default_factory=dict)
    quotes: dict[str, QuoteAnswer] = field(default_factory=dict)
    histories: dict[str, HistoryAnswer] = field(default_factory=dict)
    count: AnswerCount = field(default_factory=AnswerCount)
    lessons: Lessons = field(default_factory=Lessons)
    findings: Findings = field(default_factory=Findings)
    dropped: int = 0
    added: int = 0

    def add_cell(self, key: CellKey, cell: Cell) -> None:
        """Join an outcome to what waits about the same thing."""
        self._join(self.cells, key, cell, combine)

    def add_fault(self, source: str, fault: str, at: float, n: int = 1) -> None:
        """Count a fault."""
        self._join(self.faults, (source, fault), FaultCount(n, at), _sum_faults)

    def add_symbol(self, knowledge: SymbolKnowledge) -> None:
        """Join facts about an instrument."""
        self._join(self.symbols, knowledge.symbol, knowledge, combine_symbols)

    def add_statistics(self, statistics: SymbolStatistics) -> None:
        """Join samples of an instrument's behaviour."""
        self._join(self.statistics, statistics.symbol, statistics, combine_statistics)

    def add_membership(self, source: str, asset_class: str, membership: Membership) -> None:
        """Note whose data a source passes on."""
        self._join(self.memberships, (source, asset_class), membership, _latest_membership)

    def add_answer(self, answer: Answer) -> None:
        """Keep an answer; the first one under an evidence id stays."""
        self.added += 1
        if isinstance(answer, QuoteAnswer):
            self.quotes.setdefault(answer.evidence_id, answer)
            self._bound(self.quotes, self.limits.quotes)
        else:
            self.histories.setdefault(answer.evidence_id, answer)
            self._bound(self.histories, self.limits.histories)

    def add_count(self, count: AnswerCount) -> None:
        """Count an answer."""
        self.added += 1
        self.count += count

    def add_lessons(self, lessons: Lessons) -> None:
        """Join what an authority taught; there are a few rows per source."""
        self.added += 1
        self.lessons = combine_lessons(self.lessons, lessons)

    def add_findings(self, findings: Findings) -> None:
        """Join what was found out."""
        if findings:
            self.added += 1
            self.dropped += self.findings.absorb(findings, self.limits.outcomes)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Every answer that waits."""
        return (*self.quotes.values(), *self.histories.values())

    def answer(self, evidence_id: str) -> Answer | None:
        """The waiting answer under an id."""
        return self.quotes.get(evidence_id) or self.histories.get(evidence_id)

    def latest(self, symbol: str, kind: AnswerKind) -> Answer | None:
        """The waiting answer about a symbol that was judged last."""
        waiting: list[Answer] = [*self.quotes.values()] if kind == "quote" else [*self.histories.values()]
        return max((a for a in waiting if a.symbol == symbol), key=lambda a: a.judged_at, default=None)

    def drain(self) -> Backlog:
        """Hand over everything that waits and start again with nothing; `dropped` stays with this one."""
        taken = Backlog(
            self.limits,
            self.cells,
            self.faults,
            self.symbols,
            self.statistics,
            self.memberships,
            self.quotes,
            self.histories,
            self.count,
            self.lessons,
            self.findings,
        )
        self.cells, self.faults, self.symbols, self.memberships = {}, {}, {}, {}
        self.quotes, self.histories, self.statistics = {}, {}, {}
        self.count, self.lessons, self.added = AnswerCount(), Lessons(), 0
        self.findings = Findings()
        return taken

    def restore(self, earlier: Backlog) -> None:
        """Take back what could not be written; it is older than everything that came in since."""
        since = self.drain()
        for part in (earlier, since):
            self._absorb(part)

    def _absorb(self, other: Backlog) -> None:
        for key, cell in other.cells.items():
            self.add_cell(key, cell)
        for (source, fault), seen in other.faults.items():
            self.add_fault(source, fault, seen.last_at, seen.n)
        for knowledge in other.symbols.values():
            self.add_symbol(knowledge)
        for statistics in other.statistics.values():
            self.add_statistics(statistics)
        for (source, asset_class), membership in other.memberships.items():
            self.add_membership(source, asset_class, membership)
        for answer in other.answers:
            self.add_answer(answer)
        self.add_count(other.count)
        self.add_lessons(other.lessons)
        self.add_findings(other.findings)

    def _join(
        self, store: dict[KeyT, ValueT], key: KeyT, value: ValueT, join: Callable[[ValueT, ValueT], ValueT]
    ) -> None:
        self.added += 1
        known = store.pop(key, None)
        store[key] = value if known is None else join(known, value)
        self._bound(store, self.limits.outcomes)

    def _bound(self, store: dict[KeyT, ValueT], limit: int) -> None:
        while len(store) > limit:
            del store[next(iter(store))]
            self.dropped += 1


def _sum_faults(older: FaultCount, newer: FaultCount) -> FaultCount:
    return FaultCount(older.n + newer.n, max(older.last_at, newer.last_at))


def _latest_membership(older: Membership, newer: Membership) -> Membership:
    return newer if newer.seen_at >= older.seen_at else older
