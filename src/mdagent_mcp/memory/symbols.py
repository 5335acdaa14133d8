"""What answers teach about an instrument: its price range, its official close, how often it was seen.

The rule of this module: pure, like `learning`, and with the same `combine`: earlier knowledge joined with later. Only
answers that are not from the cache and are graded C or better are learned from, so that a wrong price does not become
what the next one is compared with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from mdagent_mcp.domain.answers import QuoteAnswer
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Grade, at_least

LOWEST_GRADE: Final = Grade.C
RANGE_HALF_LIFE_S: Final = 60 * 86_400.0
"""Seconds in which a price range closes half the way to the latest price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolKnowledge:
    """What was learned about one instrument.

    Attributes:
        symbol: canonical symbol.
        price: the latest one learned.
        price_at: when it was judged, epoch seconds.
        low: lower end of the recent price range.
        high: upper end.
        currency: ISO code; None when never told.
        previous_close: the official close that a regular price is compared with; None when never told.
        previous_close_at: when that was judged, epoch seconds.
        observations: answers learned from.
        first_day: first UTC date of them.
        last_day: last UTC date.
        days: number of dates on which there were some.
    """

    symbol: str
    price: float
    price_at: float
    low: float
    high: float
    currency: str | None
    previous_close: float | None
    previous_close_at: float | None
    observations: int
    first_day: date
    last_day: date
    days: int


def learn_symbol(answer: QuoteAnswer) -> SymbolKnowledge | None:
    """What one answer teaches; None when it is not to be learned from."""
    if answer.cached or not at_least(answer.grade, LOWEST_GRADE) or not _is_price(answer.price):
        return None
    at = answer.judged_at.timestamp()
    day = datetime.fromtimestamp(at, UTC).date()
    close = _official_close(answer)
    return SymbolKnowledge(
        symbol=answer.symbol,
        price=answer.price,
        price_at=at,
        low=answer.price,
        high=answer.price,
        currency=answer.currency,
        previous_close=close,
        previous_close_at=None if close is None else at,
        observations=1,
        first_day=day,
        last_day=day,
        days=1,
    )


def combine_symbols(older: SymbolKnowledge, newer: SymbolKnowledge) -> SymbolKnowledge:
    """Both: newer facts win, the older range closes in on the newer price, counts add up."""
    latest = newer if newer.price_at >= older.price_at else older
    kept = math.exp2(-max(0.0, newer.price_at - older.price_at) / RANGE_HALF_LIFE_S)
    older_close_wins = (older.previous_close_at or 0.0) > (newer.previous_close_at or 0.0)
    close = older if older_close_wins or newer.previous_close is None else newer
    return SymbolKnowledge(
        symbol=newer.symbol,
        price=latest.price,
        price_at=latest.price_at,
        low=min(newer.low, newer.price * (min(older.low, newer.price) / newer.price) ** kept),
        high=max(newer.high, newer.price * (max(older.high, newer.price) / newer.price) ** kept),
        currency=latest.currency or older.currency,
        previous_close=close.previous_close,
        previous_close_at=close.previous_close_at,
        observations=older.observations + newer.observations,
        first_day=min(older.first_day, newer.first_day),
        last_day=max(older.last_day, newer.last_day),
        days=older.days + newer.days - (1 if newer.first_day <= older.last_day else 0),
    )


def _official_close(answer: QuoteAnswer) -> float | None:
    """While the market is closed the price itself; in regular hours what the sources say; else unclear which day's."""
    if answer.session is Session.CLOSED:
        return answer.price
    if answer.session is Session.REGULAR and answer.previous_close is not None and _is_price(answer.previous_close):
        return answer.previous_close
    return None


def _is_price(value: float) -> bool:
    return math.isfinite(value) and value > 0
