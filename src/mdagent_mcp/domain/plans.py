"""Why sources were asked: what every choice of routing was made from, for people and for debugging."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.status import WeightParts
from mdagent_mcp.domain.vendor import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingPlan:
    """One choice of sources.

    Attributes:
        at: when it was made.
        symbol: canonical symbol.
        endpoint: quote or history.
        wanted: the grade asked for; None for the usual.
        live: whether the market traded.
        voices: independent groups that still had to say the same.
        needs_fresh: whether one as fresh as the grade wants was lacking.
        needs_complete: whether one that states all there is beside the price was lacking.
        asked: the cheapest set expected to be enough.
        spares: free sources asked beside it.
        reserved: sources left out because their quotas run short.
        chance: that the set is enough.
        expected_cost: of the set, in units of trust.
        candidates: everybody who could be asked.
    """

    at: datetime
    symbol: str
    endpoint: Endpoint
    wanted: Grade | None
    live: bool
    voices: int
    needs_fresh: bool
    needs_complete: bool
    asked: tuple[str, ...]
    spares: tuple[str, ...]
    reserved: tuple[str, ...]
    chance: float
    expected_cost: float
    candidates: tuple[WeightParts, ...]
