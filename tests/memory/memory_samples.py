"""Answers and events that the tests of memory are fed with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from mdagent_mcp.domain.answers import (
    Coverage,
    Explanation,
    HistoryAnswer,
    MarketView,
    QuoteAnswer,
    Repair,
    SeriesIssue,
    Usage,
    Voice,
    VoiceVerdict,
)
from mdagent_mcp.domain.events import Fetched, Judged
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval, Session
from mdagent_mcp.domain.quality import Dimension, DimensionScore, Finding, Grade, Severity, Verdict, assess
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.memory.store import Memory

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)


def explanation(at: datetime = NOON, *, source: str = "alpha") -> Explanation:
    """Evidence with one voice and one finding."""
    finding = Finding("spread", Dimension.VALIDITY, Verdict.FAILED, "crossed by 2 bp", Severity.MINOR, 85.0)
    voice = Voice(
        source=source,
        upstream_group="tape",
        price=101.25,
        currency="USD",
        session=Session.REGULAR,
        event_time=at - timedelta(seconds=2),
        received_at=at,
        delay_s=2.0,
        weight=0.5,
        verdict=VoiceVerdict.SERVED,
    )
    return Explanation(
        headline="101.25 at noon by one source",
        assessment=assess({d: DimensionScore(95.0, "because", "more") for d in Dimension}, (finding,)),
        voices=(voice,),
        dissent=("beta differs by 3 %",),
        failures=MappingProxyType({"gamma": "timeout: no reply in 4 s"}),
        learned={},
        use={"display": "fine"},
        market=MarketView("open", Session.REGULAR, at, None),
    )


def quote_answer(
    evidence_id: str = "q-1",
    symbol: str = "AAPL",
    *,
    at: datetime = NOON,
    price: float = 101.25,
    grade: Grade = Grade.B,
    session: Session = Session.REGULAR,
    previous_close: float | None = 100.0,
    cached: bool = False,
) -> QuoteAnswer:
    """A quote as the engine would give it."""
    return QuoteAnswer(
        symbol=symbol,
        price=price,
        currency="USD",
        price_low=price - 0.01,
        price_high=price + 0.01,
        session=session,
        price_time=at - timedelta(seconds=2),
        delay_s=2.0,
        grade=grade,
        score=84.5,
        summary="One source.",
        sources_used=("alpha",),
        sources_rejected=("beta",),
        evidence_id=evidence_id,
        explanation=explanation(at),
        judged_at=at,
        cached=cached,
        previous_close=previous_close,
    )


def history_answer(
    evidence_id: str = "h-1", symbol: str = "AAPL", *, at: datetime = NOON, bars: int = 3
) -> HistoryAnswer:
    """A series as the engine would give it."""
    first = datetime(2026, 11, 2, tzinfo=UTC)
    return HistoryAnswer(
        symbol=symbol,
        interval=Interval.DAY_1,
        currency="USD",
        timezone="America/New_York",
        adjustment=Adjustment.SPLITS,
        bars=tuple(
            Bar(first + timedelta(days=n), 100.0 + n, 101.5 + n, 99.25 + n, 100.5 + n, None if n == 1 else 1e6 + n)
            for n in range(bars)
        ),
        coverage=Coverage(4, 3, (first + timedelta(days=9),)),
        issues=(SeriesIssue("gap", "minor", first, "one bar is missing"),),
        repairs=(Repair("unit", first, "close", 10050.0, 100.5, "100 times the neighbours"),),
        partial_last_bar=False,
        grade=Grade.C,
        score=75.0,
        summary="Three bars.",
        sources_used=("alpha",),
        sources_rejected=(),
        evidence_id=evidence_id,
        explanation=explanation(at),
        judged_at=at,
        usage=Usage(2, 0, 12.5),
    )


def fetched(
    source: str = "alpha",
    kind: FailureKind | None = None,
    *symbols: str,
    at: datetime = NOON,
    latency_s: float = 0.2,
    endpoint: Endpoint = Endpoint.QUOTE,
    detail: str = "",
) -> Fetched:
    """The end of a call for some symbols (AAPL when none is named)."""
    return Fetched(source, endpoint, symbols or ("AAPL",), at, latency_s, kind, detail)


def judged(source: str = "alpha", *, agreed: bool | None, fault: str = "", symbol: str = "AAPL") -> Judged:
    """A verdict about a quote."""
    return Judged(source, symbol, Endpoint.QUOTE, NOON, agreed, fault)


async def run(memory: Memory, statement: str) -> None:
    """Run a statement on the connection that memory writes with."""
    opened = memory._writer.opened
    assert opened is not None
    await opened.connection.execute_fetchall(statement)
