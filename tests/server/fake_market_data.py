"""A stand-in for the engine: answers that are written down, and a list of what was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import anyio

from mdagent_mcp.domain.answers import (
    Coverage,
    Explanation,
    HistoryAnswer,
    MarketView,
    QuoteAnswer,
    QuotesAnswer,
    Repair,
    SeriesIssue,
    SymbolFailure,
    Usage,
    Voice,
    VoiceVerdict,
)
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.plans import AskingPlan
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval, Session
from mdagent_mcp.domain.quality import Assessment, Dimension, Finding, Grade, Limit, Severity, Verdict
from mdagent_mcp.domain.questions import HistoryQuestion, QuoteQuestion
from mdagent_mcp.domain.service import AnswerKind, Progress
from mdagent_mcp.domain.status import BudgetView, Overall, Reliability, SourceState, SourceStatus, WeightParts

NOW = datetime(2026, 11, 23, 15, 4, 12, 500_000, UTC)
"""A Monday, half an hour into the New York session."""

EXPLANATION = Explanation(
    headline="AAPL 189.84 USD, 1.3 s old, two independent sources.",
    assessment=Assessment(
        Grade.A,
        94.2,
        {Dimension.TIMELINESS: 93.5, Dimension.CORROBORATION: 95.0},
        Limit(Dimension.TIMELINESS, 93.5, "1.3 s behind", "a higher score below 1 s"),
        (
            Finding("price_positive", Dimension.VALIDITY, Verdict.PASSED, "189.84 > 0"),
            Finding("crossed", Dimension.VALIDITY, Verdict.FAILED, "bid 190 > ask 189", Severity.MINOR, 66.0),
            Finding("daily_sigma", Dimension.PLAUSIBILITY, Verdict.NOT_RUN, "no memory of AAPL yet"),
        ),
    ),
    voices=(
        Voice(
            source="finnhub",
            upstream_group="finnhub",
            price=189.84,
            currency="USD",
            session=Session.REGULAR,
            event_time=datetime(2026, 11, 23, 15, 4, 11, 200_000, UTC),
            received_at=datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC),
            delay_s=1.3,
            weight=0.6,
            verdict=VoiceVerdict.SERVED,
        ),
        Voice(
            source="yahoo",
            upstream_group="nasdaq_basic",
            price=18984.0,
            currency=None,
            session=Session.REGULAR,
            event_time=None,
            received_at=datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC),
            delay_s=None,
            weight=0.0,
            verdict=VoiceVerdict.OUTLIER,
            cause="unit: 100x",
        ),
    ),
    dissent=("yahoo said 18984: unit, 100x.",),
    failures={"cboe": "timeout after 4 s"},
    learned={"reliability": "finnhub 0.97 after 40 observations"},
    use={"display": "yes", "analysis": "yes", "order_decision": "yes"},
    market=MarketView("open", Session.REGULAR, NOW, datetime(2026, 11, 24, 14, 30, tzinfo=UTC)),
)

QUOTE = QuoteAnswer(
    symbol="AAPL",
    price=189.84000000000003,
    currency="USD",
    price_low=189.82,
    price_high=189.86,
    session=Session.REGULAR,
    price_time=datetime(2026, 11, 23, 15, 4, 11, 200_000, UTC),
    delay_s=1.34,
    grade=Grade.A,
    score=94.2,
    summary="2 independent sources agree within 1.1 bp; 1.3 s old.",
    sources_used=("finnhub", "nasdaq"),
    sources_rejected=("yahoo",),
    evidence_id="q-1",
    explanation=EXPLANATION,
    judged_at=NOW,
    change=1.21,
    change_percent=0.64146,
    open=188.9,
    high=190.1,
    low=188.2,
    previous_close=188.63,
    volume=41_233_000.0,
    bid=189.83,
    ask=None,
)

BARS = tuple(
    Bar(datetime(2026, 11, 16 + n, tzinfo=UTC), 100.0 + n, 102.0 + n, 99.5 + n, 101.0 + n, 1000.0 + 10 * n)
    for n in range(5)
)

HISTORY = HistoryAnswer(
    symbol="AAPL",
    interval=Interval.DAY_1,
    currency="USD",
    timezone="America/New_York",
    adjustment=Adjustment.SPLITS,
    bars=BARS,
    coverage=Coverage(6, 5, (datetime(2026, 11, 13, tzinfo=UTC),)),
    issues=(SeriesIssue("gap", "minor", datetime(2026, 11, 13, tzinfo=UTC), "1 session missing"),),
    repairs=(Repair("ten_fold", datetime(2026, 11, 18, tzinfo=UTC), "close", 1030.0, 103.0, "10x its neighbours"),),
    partial_last_bar=True,
    grade=Grade.B,
    score=85.0,
    summary="5 of 6 sessions; one cell repaired.",
    sources_used=("yahoo",),
    sources_rejected=(),
    evidence_id="h-1",
    explanation=replace(EXPLANATION, voices=()),
    judged_at=NOW,
    usage=Usage(1, 0, 80.25),
)

PARTS = WeightParts(
    source="finnhub",
    upstream_group="finnhub",
    chance_right=0.96,
    current=0.9,
    fresh=0.85,
    complete=0.75,
    latency_s=0.16,
    cost_per_call=0.017,
    scarcity=0.5,
    price=0.0355,
    wait_s=0.0,
    load=4.0,
    utility=0.83333,
)

STATUS = SourceStatus(
    source="finnhub",
    title="Finnhub",
    state=SourceState.LIVE,
    since=datetime(2026, 11, 23, 15, tzinfo=UTC),
    reason="answering",
    upstream_group="finnhub",
    capabilities=("quote",),
    circuit={"source": "closed"},
    weight=0.41,
    cost_per_call=0.0,
    budget=(BudgetView("minute", 60, 3, datetime(2026, 11, 23, 15, 5, tzinfo=UTC)),),
    reliability=Reliability(0.97, 0.91, 40.0),
    latency_p50_ms=120.0,
    latency_p95_ms=310.0,
    clock_offset_s=0.2,
    last_success_at=NOW,
    weight_parts=PARTS,
)

OVERALL = Overall(0.995, None, 3, 12, 340)

OUTAGE = SymbolFailure(
    "ZZZZ",
    FailureKind.TIMEOUT,
    "No source answered in time.",
    "Try again shortly; nothing is wrong with the symbol.",
    {"finnhub": FailureKind.TIMEOUT, "yahoo": FailureKind.CIRCUIT_OPEN},
    retry_after_s=30.0,
)


@dataclass
class FakeMarketData:
    """Answers what it was given and keeps what it was asked.

    Attributes:
        asked: every call that reached the engine, in order.
        failing: symbols it has no answer for.
        crash: raised instead of answering.
        hold: when set, answers come when `release` is called; `held` tells that a call waits and `cancelled` that it
            was cut short.
        history_answer: what it says to get_history.
        planned: the last choices of sources.
    """

    asked: list[object] = field(default_factory=list)
    failing: frozenset[str] = frozenset()
    crash: BaseException | None = None
    hold: bool = False
    held: anyio.Event = field(default_factory=anyio.Event)
    cancelled: anyio.Event = field(default_factory=anyio.Event)
    released: anyio.Event = field(default_factory=anyio.Event)
    history_answer: HistoryAnswer | SymbolFailure = HISTORY
    quote_answer: QuoteAnswer = QUOTE
    planned: tuple[AskingPlan, ...] = ()
    source_ids: tuple[str, ...] = ("yahoo", "nasdaq", "cboe", "finnhub")

    async def quotes(self, question: QuoteQuestion, progress: Progress | None = None) -> QuotesAnswer:
        """Every symbol like AAPL, but for the failing ones."""
        await self._enter(question)
        quotes: list[QuoteAnswer] = []
        failures: list[SymbolFailure] = []
        for done, instrument in enumerate(question.instruments):
            if progress is not None:
                await progress(done + 1, len(question.instruments), instrument.symbol)
            if instrument.symbol in self.failing:
                failures.append(replace(OUTAGE, symbol=instrument.symbol))
            else:
                quotes.append(replace(self.quote_answer, symbol=instrument.symbol))
        return QuotesAnswer(tuple(quotes), tuple(failures), Usage(3, 0, 212.4))

    async def history(
        self, question: HistoryQuestion, progress: Progress | None = None
    ) -> HistoryAnswer | SymbolFailure:
        """The one series."""
        await self._enter(question)
        if progress is not None:
            await progress(1, 2, "asked")
            await progress(1, 2, "asked again")
            await progress(2, 2, "checked")
        return self.history_answer

    async def source_status(self, source: str | None = None) -> tuple[tuple[SourceStatus, ...], Overall]:
        """The one source."""
        await self._enter(("source_status", source))
        return (STATUS,), OVERALL

    async def explain_evidence(self, evidence_id: str) -> QuoteAnswer | HistoryAnswer | None:
        """The quote or the series under their ids."""
        await self._enter(("explain_evidence", evidence_id))
        kept: dict[str, QuoteAnswer | HistoryAnswer] = {"q-1": self.quote_answer, "h-1": HISTORY}
        return kept.get(evidence_id)

    def known_symbols(self) -> tuple[str, ...]:
        """Two that the well-known ones do not hold, and one that they do."""
        return ("AAPX", "ZVZZT", "MSFT")

    async def explain_symbol(self, instrument: Instrument, kind: AnswerKind) -> QuoteAnswer | HistoryAnswer | None:
        """The quote, for AAPL alone."""
        await self._enter(("explain_symbol", instrument.symbol, kind))
        return QUOTE if instrument.symbol == "AAPL" and kind == "quote" else None

    async def memory_graph(self) -> Mapping[str, Any]:
        """A graph of one node."""
        await self._enter("memory_graph")
        return {"totals": {"symbols": 1}, "nodes": [{"id": "source:finnhub", "kind": "source"}], "edges": []}

    async def memory_of_symbol(self, instrument: Instrument) -> Mapping[str, Any] | None:
        """Something about AAPL alone."""
        await self._enter(("memory_of_symbol", instrument.symbol))
        return {"symbol": "AAPL", "nodes": [], "edges": []} if instrument.symbol == "AAPL" else None

    async def learning(self) -> Mapping[str, Any]:
        """One session."""
        await self._enter("learning")
        return {"sessions": [{"requests": 3}]}

    def plans(self) -> tuple[AskingPlan, ...]:
        """Those set by the test."""
        return self.planned

    def opener(self) -> Callable[[], AbstractAsyncContextManager[FakeMarketData]]:
        """What `build_server` opens; opening and closing are kept in `asked` as words."""

        @asynccontextmanager
        async def open_service() -> AsyncIterator[FakeMarketData]:
            self.asked.append("opened")
            try:
                yield self
            finally:
                self.asked.append("closed")

        return open_service

    @property
    def questions(self) -> list[object]:
        """What was asked of the engine, without its opening and closing."""
        return [entry for entry in self.asked if entry not in ("opened", "closed")]

    def release(self) -> None:
        """Let the calls that are held go on."""
        self.released.set()

    async def _enter(self, question: object) -> None:
        self.asked.append(question)
        if self.crash is not None:
            raise self.crash
        if not self.hold:
            return
        self.held.set()
        try:
            await self.released.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled.set()
            raise
