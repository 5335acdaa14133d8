"""Answers with several voices, for what memory learns from comparing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mdagent_mcp.domain.answers import QuoteAnswer, Voice, VoiceVerdict
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Dimension, DimensionScore, assess
from memory.memory_samples import NOON, quote_answer


@dataclass(frozen=True)
class Said:
    """What one source said.

    Attributes:
        price: its price.
        verdict: what became of it.
        cause: why it was not taken.
        group: its upstream group; None for one of its own.
    """

    price: float
    verdict: VoiceVerdict = VoiceVerdict.AGREES
    cause: str = ""
    group: str | None = None


def answered(
    said: Mapping[str, Said],
    symbol: str = "AAPL",
    *,
    at: datetime = NOON,
    evidence_id: str = "q-1",
    corroboration: float = 95.0,
    **given: Any,
) -> QuoteAnswer:
    """An answer in which these sources spoke."""
    plain = quote_answer(evidence_id, symbol, at=at)
    voices = tuple(
        Voice(
            source=source,
            upstream_group=each.group or source,
            price=each.price,
            currency="USD",
            session=Session.REGULAR,
            event_time=at - timedelta(seconds=1),
            received_at=at,
            delay_s=1.0,
            weight=0.0 if each.verdict in {VoiceVerdict.STALE, VoiceVerdict.UNUSABLE} else 0.3,
            verdict=each.verdict,
            cause=each.cause,
        )
        for source, each in said.items()
    )
    scores = {d: DimensionScore(95.0, "because", "more") for d in Dimension}
    scores[Dimension.CORROBORATION] = DimensionScore(corroboration, "because", "more")
    explanation = replace(plain.explanation, voices=voices, assessment=assess(scores, ()))
    return replace(plain, explanation=explanation, **given)
