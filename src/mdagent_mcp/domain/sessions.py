"""What the state of a market makes of a price: the calendar's words in those of a quote."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.domain.prices import Session

_RUNNING: Final[Mapping[MarketState, Session]] = MappingProxyType(
    {
        MarketState.PRE: Session.PRE,
        MarketState.OPEN: Session.REGULAR,
        # A price of the lunch break is the last one of the morning.
        MarketState.BREAK: Session.REGULAR,
        MarketState.POST: Session.POST,
    }
)


def running_session(state: MarketState) -> Session | None:
    """The session that runs in this state of the market; None when none does, or nobody knows."""
    return _RUNNING.get(state)


def session_of(state: MarketState) -> Session:
    """The session a price of that state belongs to; `CLOSED`, the official close, when no session runs."""
    return _RUNNING.get(state, Session.CLOSED)
