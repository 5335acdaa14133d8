"""The engine behind every surface: quotes, histories, the state of the sources, explanations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mdagent_mcp.domain.answers import HistoryAnswer, QuoteAnswer, QuotesAnswer, SymbolFailure
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.plans import AskingPlan
from mdagent_mcp.domain.questions import HistoryQuestion, InvalidArgumentError, QuoteQuestion
from mdagent_mcp.domain.service import AnswerKind, Progress
from mdagent_mcp.domain.status import Overall, SourceStatus
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.flight import WorkFailedError
from mdagent_mcp.engine.history import HistoryEngine
from mdagent_mcp.engine.learned import graph_view, learning_view, symbol_view
from mdagent_mcp.engine.load import QuestionLoad
from mdagent_mcp.engine.parts import EngineParts, is_live
from mdagent_mcp.engine.quotes import QuoteEngine
from mdagent_mcp.engine.refusals import NOT_TO_ESTIMATE
from mdagent_mcp.engine.router import Routed, weight_parts
from mdagent_mcp.engine.teacher import Teacher
from mdagent_mcp.routing.waves import request_shares

_USUAL_INSTRUMENT: Final = parse_symbol("SPY")
"""Of the market that most questions are about: for it the share of requests is told."""


class Totals(Protocol):
    """Running totals over the answers of the last day."""

    @property
    def availability(self) -> float | None:
        """Share of asked symbols that got an answer."""
        ...

    @property
    def cache_hit_rate(self) -> float | None:
        """Share of asked symbols answered from the cache."""
        ...


@dataclass(frozen=True)
class Reporting:
    """Where `source_status` reads what the engine itself does not keep.

    Attributes:
        status: the status of one source, given what routing would do with it.
        totals: of the last day.
    """

    status: Callable[[str, Routed], SourceStatus]
    totals: Totals


class Engine:
    """Implements `domain.service.MarketData`."""

    def __init__(self, parts: EngineParts, reporting: Reporting) -> None:
        self._parts = parts
        self._reporting = reporting
        load, teacher = QuestionLoad(parts.clock, parts.shedding), Teacher(parts.emit)
        self._quotes = QuoteEngine(parts, load, teacher)
        self._history = HistoryEngine(parts, load, teacher)

    @property
    def source_ids(self) -> tuple[str, ...]:
        """The ids of all sources, in listing order."""
        return tuple(self._parts.sources)

    async def quotes(self, question: QuoteQuestion, progress: Progress | None = None) -> QuotesAnswer:
        """Current prices; what could not be answered is among the failures."""
        await self._parts.memory.recall(instrument.symbol for instrument in question.instruments)
        return await self._quotes.answer(question, progress)

    async def history(
        self, question: HistoryQuestion, progress: Progress | None = None
    ) -> HistoryAnswer | SymbolFailure:
        """Bars of one instrument, or why there are none."""
        await self._parts.memory.recall((question.instrument.symbol,))
        try:
            return await self._history.answer(question, progress)
        except WorkFailedError:
            symbol = question.instrument.symbol
            return SymbolFailure(
                symbol,
                FailureKind.SOURCE_ERROR,
                f"{symbol}: the engine failed on this series; the log has the reason. {NOT_TO_ESTIMATE}",
                "Report it with the log; other symbols are not affected.",
                {},
            )

    async def source_status(self, source: str | None = None) -> tuple[tuple[SourceStatus, ...], Overall]:
        """What the sources are doing.

        Raises:
            InvalidArgumentError: for a source that does not exist.
        """
        if source is not None and source not in self._parts.sources:
            raise InvalidArgumentError("source", f"must be one of {', '.join(self._parts.sources)}")
        names = self.source_ids if source is None else (source,)
        for name in names:
            await self._parts.sources[name].refresh_budget()
        routed = self._routed()
        sessions, symbols, observations = self._parts.memory.totals()
        totals = self._reporting.totals
        return tuple(self._reporting.status(name, routed.get(name, Routed())) for name in names), Overall(
            totals.availability,
            totals.cache_hit_rate,
            sessions,
            symbols,
            observations,
            self._parts.memory.state,
            cache_state=self._parts.histories.state,
        )

    async def explain_evidence(self, evidence_id: str) -> QuoteAnswer | HistoryAnswer | None:
        """The kept answer behind an evidence id, also from before a restart."""
        return await self._parts.memory.evidence(evidence_id)

    def known_symbols(self) -> tuple[str, ...]:
        """Symbols that earlier answers were about, the latest first."""
        return self._parts.memory.known_symbols()

    async def explain_symbol(self, instrument: Instrument, kind: AnswerKind) -> QuoteAnswer | HistoryAnswer | None:
        """The latest kept answer of this kind about an instrument."""
        return await self._parts.memory.latest(instrument.symbol, kind)

    async def memory_graph(self) -> Mapping[str, Any]:
        """What was learned as a graph of bounded size."""
        return await graph_view(self._parts.memory)

    async def memory_of_symbol(self, instrument: Instrument) -> Mapping[str, Any] | None:
        """What was learned about one instrument."""
        return await symbol_view(self._parts.memory, instrument.symbol)

    async def learning(self) -> Mapping[str, Any]:
        """The figures of the latest sessions."""
        return await learning_view(self._parts.memory)

    def plans(self) -> tuple[AskingPlan, ...]:
        """The last choices of sources, the latest first."""
        return self._parts.router.plans()

    def _routed(self) -> dict[str, Routed]:
        """The share of requests that every usable source would get for a share of the usual market, and why."""
        parts = self._parts
        usable = [
            parts.router.candidate(source, _USUAL_INSTRUMENT, Endpoint.QUOTE)
            for source in parts.sources.values()
            if source.is_askable
        ]
        live = is_live(_USUAL_INSTRUMENT, parts.clock.now())
        shares = request_shares(usable, live=live, most=parts.collection.first_wave)
        return {c.source: Routed(shares[c.source], weight_parts(c, live=live)) for c in usable}
