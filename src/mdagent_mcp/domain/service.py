"""What every surface (MCP tools, terminal, resources) asks of the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

from mdagent_mcp.domain.answers import HistoryAnswer, QuoteAnswer, QuotesAnswer, SymbolFailure
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.plans import AskingPlan
from mdagent_mcp.domain.questions import HistoryQuestion, QuoteQuestion
from mdagent_mcp.domain.status import Overall, SourceStatus

Progress = Callable[[int, int, str], Awaitable[None]]
"""Told while long work goes on: how much is done, of how much, and a short word on what."""

AnswerKind = Literal["quote", "history"]


class MarketData(Protocol):
    """The engine as its surfaces see it. Every method answers within its deadline whatever the sources do."""

    @property
    def source_ids(self) -> tuple[str, ...]:
        """The ids of all sources, in listing order."""
        ...

    async def quotes(self, question: QuoteQuestion, progress: Progress | None = None) -> QuotesAnswer:
        """Current prices; what could not be answered is among the failures."""
        ...

    async def history(
        self, question: HistoryQuestion, progress: Progress | None = None
    ) -> HistoryAnswer | SymbolFailure:
        """Bars of one instrument, or why there are none."""
        ...

    async def source_status(self, source: str | None = None) -> tuple[tuple[SourceStatus, ...], Overall]:
        """What the sources are doing: all of them, or the one named (which must be one of `source_ids`)."""
        ...

    async def explain_evidence(self, evidence_id: str) -> QuoteAnswer | HistoryAnswer | None:
        """The kept answer behind an evidence id, also from before a restart; None when it is not kept."""
        ...

    def known_symbols(self) -> tuple[str, ...]:
        """Symbols that earlier answers were about, the latest first."""
        ...

    async def explain_symbol(self, instrument: Instrument, kind: AnswerKind) -> QuoteAnswer | HistoryAnswer | None:
        """The latest kept answer of this kind about an instrument; None when there is none."""
        ...

    async def memory_graph(self) -> Mapping[str, Any]:
        """What was learned as a graph of bounded size, as JSON-able data that says what is left out."""
        ...

    async def memory_of_symbol(self, instrument: Instrument) -> Mapping[str, Any] | None:
        """What was learned about one instrument, as JSON-able data; None when nothing is known of it."""
        ...

    async def learning(self) -> Mapping[str, Any]:
        """The figures of the latest sessions, as JSON-able data: how good the answers were, and how good the first."""
        ...

    def plans(self) -> tuple[AskingPlan, ...]:
        """The last choices of sources with their reasons, the latest first."""
        ...
