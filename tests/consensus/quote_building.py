"""Builders of quotes and contexts for the consensus tests: every test names only what it is about.

The market is New York on Monday 2026-11-23; the prices are made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mdagent_mcp.consensus.context import QuoteContext, SymbolKnowledge
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.consensus.quotes import judge_quote
from mdagent_mcp.domain.answers import Voice, VoiceVerdict
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.quality import Dimension, Finding

ACME: Final = parse_symbol("ACME")
"""An instrument on XNYS that exists nowhere else."""

PRE_MARKET: Final = datetime(2026, 11, 23, 13, 0, 0, tzinfo=UTC)
"""Monday 08:00 in New York."""
MID_SESSION: Final = datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC)
"""Monday 10:04:12 in New York."""
AT_CLOSE: Final = datetime(2026, 11, 23, 21, 0, 0, tzinfo=UTC)
POST_MARKET: Final = datetime(2026, 11, 23, 22, 30, 0, tzinfo=UTC)
"""Monday 17:30 in New York."""
NIGHT: Final = datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC)
"""Monday 22:00 in New York, nothing trades."""
SUNDAY: Final = datetime(2026, 11, 22, 18, 0, 0, tzinfo=UTC)
FRIDAY_CLOSE: Final = datetime(2026, 11, 20, 21, 0, 0, tzinfo=UTC)
THURSDAY_CLOSE: Final = datetime(2026, 11, 19, 21, 0, 0, tzinfo=UTC)

KNOWN: Final = SymbolKnowledge(observations=240, previous_official_close=188.60)
"""A symbol that memory knows well enough to vouch for one source."""

_FULL: Final[Mapping[str, Any]] = {
    "currency": "USD",
    "open": 188.90,
    "high": 190.50,
    "low": 188.20,
    "previous_close": 188.60,
    "volume": 41_000_000.0,
}


def quote(source: str = "finnhub", price: float = 189.84, age_s: float | None = 1.0, **given: Any) -> Quote:
    """A complete, healthy quote of the regular session, `age_s` seconds old at `now` (default `MID_SESSION`)."""
    now: datetime = given.pop("now", MID_SESSION)
    session: Session = given.pop("session", Session.REGULAR)
    values: dict[str, Any] = {
        "symbol": "ACME",
        "source": source,
        "price": price,
        "session": session,
        "received_at": now,
        "event_time": None if age_s is None else now - timedelta(seconds=age_s),
        "bid": round(price - 0.01, 6),
        "ask": round(price + 0.01, 6),
        **_FULL,
        **given,
    }
    return Quote(**values)


def close_quote(source: str = "finnhub", price: float = 189.84, at: datetime = FRIDAY_CLOSE, **given: Any) -> Quote:
    """The official close as a source states it."""
    return quote(
        source, price, None, **{"session": Session.CLOSED, "event_time": at, "bid": None, "ask": None, **given}
    )


def context(**given: Any) -> QuoteContext:
    """Mid-session in New York; yahoo and nasdaq pass on the same data."""
    values: dict[str, Any] = {
        "now": MID_SESSION,
        "calendar": calendar_named("XNYS"),
        "groups": {"yahoo": "nasdaq_last_sale", "nasdaq": "nasdaq_last_sale"},
        **given,
    }
    return QuoteContext(**values)


def judge(quotes: Sequence[Quote], instrument: Instrument = ACME, **given: Any) -> QuoteJudgement:
    """Judge quotes of which at least one can be used; keywords go to `context`, `failures` apart."""
    failures: Mapping[str, str] = given.pop("failures", {})
    judgement = judge_quote(instrument, quotes, failures, context(**given))
    assert judgement is not None
    return judgement


def dimension(judgement: QuoteJudgement, which: Dimension) -> float:
    """The score of one dimension."""
    return judgement.explanation.assessment.dimensions[which]


def finding(judgement: QuoteJudgement, rule: str) -> Finding:
    """What became of one check."""
    return next(f for f in judgement.explanation.assessment.findings if f.rule == rule)


def voice(judgement: QuoteJudgement, source: str) -> Voice:
    """The (first) voice of a source."""
    return next(v for v in judgement.explanation.voices if v.source == source)


def verdicts(judgement: QuoteJudgement) -> dict[str, VoiceVerdict]:
    """Verdict by source; for sources with one quote."""
    return {v.source: v.verdict for v in judgement.explanation.voices}
