"""Answers as the engine gives them: the price, the grade, and the evidence that both can be explained from later.

Everything here is plain data, so that memory can keep it and every surface (tools, terminal, resources) shows the
same facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval, Session
from mdagent_mcp.domain.quality import Assessment, Grade


class VoiceVerdict(StrEnum):
    """What the consensus made of one source's quote."""

    SERVED = "served"
    """Its value is the answer."""
    AGREES = "agrees"
    DIFFERS = "differs"
    """Outside the tolerance but no conflict: neither corroborates nor contradicts."""
    OUTLIER = "outlier"
    """Rejected: it contradicts the others."""
    DELAYED = "delayed"
    """Of this session, but too late to have a say about now: no rejection."""
    STALE = "stale"
    """From before this session, or without a time: refused."""
    OTHER_SESSION = "other_session"
    """A price of another session than the one that is answered."""
    UNUSABLE = "unusable"
    """Refused by construction: wrong currency, not positive, from the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One source's quote with what the consensus made of it.

    Attributes:
        source: source id.
        upstream_group: whose data it passes on; voices of one group count once.
        price: in `currency`.
        currency: ISO code, None when the source does not say.
        session: the session its price belongs to.
        event_time: when it was true, as the source says.
        received_at: when we had it.
        delay_s: effective delay at the time of judging; None when it cannot be known.
        weight: its share of the vote, 0 when it had none.
        verdict: what became of it.
        cause: likely cause when it was not taken, such as `unit: 100x` or `stale by 3 days`; empty otherwise.
    """

    source: str
    upstream_group: str
    price: float
    currency: str | None
    session: Session
    event_time: datetime | None
    received_at: datetime
    delay_s: float | None
    weight: float
    verdict: VoiceVerdict
    cause: str = ""


@dataclass(frozen=True, slots=True)
class MarketView:
    """What the calendar says.

    Attributes:
        state: pre, open, break, post, closed or unknown.
        session: the session that the answered price belongs to.
        as_of: the instant of judging.
        next_open: when regular trading begins next, where known.
    """

    state: str
    session: Session
    as_of: datetime
    next_open: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why an answer has its grade, in the order an agent needs it.

    Attributes:
        headline: one sentence with price, time and number of sources.
        assessment: grade, dimensions, what limits it and every check.
        voices: every source that answered; empty for a history.
        dissent: sources that were not taken, each with its reason, as sentences.
        failures: sources that did not answer: id -> reason.
        learned: what memory contributed, name -> sentence; empty when nothing.
        use: advice by use: display, analysis, order_decision.
        market: what the calendar says.
    """

    headline: str
    assessment: Assessment
    voices: tuple[Voice, ...]
    dissent: tuple[str, ...]
    failures: Mapping[str, str]
    learned: Mapping[str, str]
    use: Mapping[str, str]
    market: MarketView


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteAnswer:
    """The consensus about one instrument's current price.

    Attributes:
        symbol: canonical symbol.
        price: the served source's own value, never an average.
        currency: ISO code, of the symbol where no source states one; None when neither tells.
        price_low: lower end of the interval the consensus is sure of.
        price_high: upper end.
        session: the session the price belongs to.
        price_time: when it was true; None when no source says.
        delay_s: effective delay when it was judged; None when it cannot be known.
        grade: the letter.
        score: 0 to 100.
        summary: one or two sentences for an agent.
        sources_used: agreeing sources, the served one first.
        sources_rejected: sources whose word was refused.
        evidence_id: under which the explanation is kept.
        explanation: the evidence.
        judged_at: when.
        cached: whether this answer came out of the cache.
        change: price minus previous close.
        change_percent: the same in percent of the previous close.
        open: of the session the price belongs to or follows; like the next five filled field by field.
        high: see `open`.
        low: see `open`.
        previous_close: see `open`.
        volume: see `open`.
        bid: of the served source or a peer of the same session.
        ask: see `bid`.
    """

    symbol: str
    price: float
    currency: str | None
    price_low: float
    price_high: float
    session: Session
    price_time: datetime | None
    delay_s: float | None
    grade: Grade
    score: float
    summary: str
    sources_used: tuple[str, ...]
    sources_rejected: tuple[str, ...]
    evidence_id: str
    explanation: Explanation
    judged_at: datetime
    cached: bool = False
    change: float | None = None
    change_percent: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    previous_close: float | None = None
    volume: float | None = None
    bid: float | None = None
    ask: float | None = None


@dataclass(frozen=True, slots=True)
class SymbolFailure:
    """Why one symbol has no answer.

    Attributes:
        symbol: canonical symbol.
        kind: the public code that names it.
        message: what happened, for an agent; says not to estimate.
        hint: what can be done.
        sources: every source's own code.
        retry_after_s: when asking again makes sense, where known.
    """

    symbol: str
    kind: FailureKind
    message: str
    hint: str
    sources: Mapping[str, FailureKind]
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost.

    Attributes:
        vendor_calls: calls to vendors made for it.
        cache_hits: symbols answered from the cache.
        elapsed_ms: time the asker waited.
    """

    vendor_calls: int
    cache_hits: int
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class QuotesAnswer:
    """The answer to `get_quote`: some symbols answered, some not."""

    quotes: tuple[QuoteAnswer, ...]
    failures: tuple[SymbolFailure, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class SeriesIssue:
    """Something wrong with a series.

    Attributes:
        rule: the check's id.
        severity: info, minor, major or fatal.
        time: start of the bar concerned; None for the whole series.
        detail: what was seen, with numbers.
    """

    rule: str
    severity: str
    time: datetime | None
    detail: str


@dataclass(frozen=True, slots=True)
class Repair:
    """A value that was corrected, or one correction of consecutive bars.

    Attributes:
        rule: the rule that decided it.
        time: start of the bar, or of the first one.
        field: open, high, low, close, volume, `adjusted_close`, `dividend` (then `time` is the ex-date), or `prices`:
            all four prices of every bar by one factor, `before` and `after` being closes.
        before: as the source gave it; None when it gave nothing that is a number.
        after: as it is served; 0 for a dividend that never was.
        why: the evidence.
        until: start of the last bar that the same was done to, each in its own proportion; None for a single bar.
        bars: how many bars.
    """

    rule: str
    time: datetime
    field: str
    before: float | None
    after: float
    why: str
    until: datetime | None = None
    bars: int = 1


@dataclass(frozen=True, slots=True)
class Coverage:
    """How complete a series is.

    Attributes:
        expected: bars the calendar expects; None without a calendar.
        present: bars there are.
        missing: starts of the missing ones, the newest 50.
    """

    expected: int | None
    present: int
    missing: tuple[datetime, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryAnswer:
    """The consensus about one instrument's past prices.

    Attributes:
        symbol: canonical symbol.
        interval: bar length.
        currency: ISO code, None when not told.
        timezone: of the exchange.
        adjustment: basis of the prices.
        bars: oldest first, all of them.
        coverage: how complete.
        issues: what is wrong with it.
        repairs: what was corrected.
        partial_last_bar: the last bar is not finished.
        grade: the letter.
        score: 0 to 100.
        summary: one or two sentences for an agent.
        sources_used: the served source first, then those that agree.
        sources_rejected: sources that contradict it.
        evidence_id: under which explanation and series are kept.
        explanation: the evidence.
        usage: what it cost.
        judged_at: when.
        cached: whether it came out of the cache.
        unrepaired: the repaired bars as the source stated them, oldest first.
    """

    symbol: str
    interval: Interval
    currency: str | None
    timezone: str
    adjustment: Adjustment
    bars: tuple[Bar, ...]
    coverage: Coverage
    issues: tuple[SeriesIssue, ...]
    repairs: tuple[Repair, ...]
    partial_last_bar: bool
    grade: Grade
    score: float
    summary: str
    sources_used: tuple[str, ...]
    sources_rejected: tuple[str, ...]
    evidence_id: str
    explanation: Explanation
    judged_at: datetime
    usage: Usage = field(default_factory=lambda: Usage(0, 0, 0.0))
    cached: bool = False
    unrepaired: tuple[Bar, ...] = ()
