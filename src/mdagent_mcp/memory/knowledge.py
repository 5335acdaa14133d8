"""What memory answers with: knowledge about a source, about everything, and how much there is. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from mdagent_mcp.domain.status import Reliability
from mdagent_mcp.memory.backlog import FaultCount, Membership
from mdagent_mcp.memory.findings import Findings
from mdagent_mcp.memory.learning import Cell, CellKey, reliability
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics
from mdagent_mcp.memory.symbols import SymbolKnowledge
from mdagent_mcp.resilience.clock_offset import ClockOffset
from mdagent_mcp.resilience.latency import quantile


@dataclass(frozen=True, slots=True)
class SourceKnowledge:
    """What was learned about a source.

    Attributes:
        source: source id.
        reliability: how often it was right.
        latency_p50_ms: median time to an answer, milliseconds; None before the first.
        latency_p90_ms: nine answers in ten came within this time.
        latency_p95_ms: 95 % of answers came within this time.
        observations: outcomes it was learned from.
        last_success_at: when it last answered; None before.
        last_error_at: when it last failed; None before.
        last_error: how it failed then (after a restart the failure's code alone); None before.
    """

    source: str
    reliability: Reliability
    latency_p50_ms: float | None
    latency_p90_ms: float | None
    latency_p95_ms: float | None
    observations: int
    last_success_at: datetime | None
    last_error_at: datetime | None
    last_error: str | None


class Totals(NamedTuple):
    """How much memory holds.

    Attributes:
        sessions: this one included.
        symbols: instruments known.
        observations: outcomes learned from.
    """

    sessions: int
    symbols: int
    observations: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything learned, for a view of it as a whole.

    Attributes:
        cells: what was learned about sources, in whole and in part.
        faults: how often each source showed each fault.
        symbols: what was learned about instruments.
        memberships: whose data each source passes on, by source and asset class.
        totals: how much there is.
        statistics: how instruments behave.
        clocks: what the sources' stamps show.
        findings: deviations, dependences, recurring faults.
        left_out: instruments that are known but not in here.
    """

    cells: Mapping[CellKey, Cell]
    faults: Mapping[tuple[str, str], FaultCount]
    symbols: Mapping[str, SymbolKnowledge]
    memberships: Mapping[tuple[str, str], Membership]
    totals: Totals
    statistics: Mapping[str, SymbolStatistics] = field(default_factory=dict)
    clocks: Mapping[str, ClockOffset] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    left_out: int = 0


def source_knowledge(source: str, cell: Cell) -> SourceKnowledge:
    """A source's cell as others see it."""
    return SourceKnowledge(
        source=source,
        reliability=reliability(cell),
        latency_p50_ms=_milliseconds(quantile(cell.latency, 0.50)),
        latency_p90_ms=_milliseconds(quantile(cell.latency, 0.90)),
        latency_p95_ms=_milliseconds(quantile(cell.latency, 0.95)),
        observations=cell.outcomes,
        last_success_at=_instant(cell.last_success_at),
        last_error_at=_instant(cell.last_error_at),
        last_error=cell.last_error or None,
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000.0, 3)


def _instant(epoch_s: float | None) -> datetime | None:
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)
