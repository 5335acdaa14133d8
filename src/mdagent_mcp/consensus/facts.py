"""The facts of one judgement, as checks, grading and explanation see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mdagent_mcp.consensus.alignment import Observation
from mdagent_mcp.consensus.context import GradingThresholds, QuoteContext
from mdagent_mcp.consensus.fusion import Fusion
from mdagent_mcp.consensus.market import Market
from mdagent_mcp.consensus.quote_fields import PreviousClose
from mdagent_mcp.consensus.tolerance import Tolerance
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Session

_SYMBOL_FIXES_CURRENCY: Final = frozenset({AssetClass.US_EQUITY, AssetClass.CRYPTO, AssetClass.FOREX})
_RECENT_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteFacts:
    """Everything a check may look at.

    Attributes:
        instrument: what was asked.
        market: what the calendar says.
        context: what else is known.
        wanted: the session that should be answered.
        observations: every quote, aligned.
        fusion: the result of the vote.
        previous: what the sources say about the previous close.
        tolerance: of the symbol.
        currency: the currency of the answer.
        halted_since: the last trade that independent sources agree on, when nothing was traded since for so long that
            trading seems halted; None otherwise.
    """

    instrument: Instrument
    market: Market
    context: QuoteContext
    wanted: Session
    observations: tuple[Observation, ...]
    fusion: Fusion
    previous: PreviousClose
    tolerance: Tolerance
    currency: str | None
    halted_since: datetime | None = None

    @property
    def served(self) -> Observation:
        """The observation whose value is the answer."""
        return self.fusion.served

    @property
    def lines(self) -> GradingThresholds:
        """The rubric's lines."""
        return self.context.thresholds

    @property
    def confirmed(self) -> bool:
        """Whether two independent groups say the same."""
        return self.fusion.groups > 1

    @property
    def unit_is_settled(self) -> bool:
        """Whether it is known in which unit the price is: two groups say the same, or memory knows the last close."""
        learned = self.context.learned
        return self.confirmed or (learned is not None and learned.previous_official_close is not None)

    @property
    def reference_close(self) -> float | None:
        """The remembered previous close, else the one the sources state."""
        learned = self.context.learned
        if learned is not None and learned.previous_official_close is not None:
            return learned.previous_official_close
        return self.previous.value

    @property
    def recent(self) -> tuple[float, float] | None:
        """The last confirmed price and the seconds from it to the served event, when it is at most 5 min old."""
        learned, served = self.context.learned, self.served
        if learned is None or learned.last_price is None or learned.last_price_time is None:
            return None
        if served.event_time is None:
            return None
        elapsed = abs((served.event_time - learned.last_price_time).total_seconds())
        return (learned.last_price, elapsed) if elapsed <= _RECENT_S else None


def symbol_fixes_currency(instrument: Instrument) -> bool:
    """Whether the symbol itself says the currency, so that another one means another instrument."""
    return instrument.asset_class in _SYMBOL_FIXES_CURRENCY
