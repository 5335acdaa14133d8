"""What the state of a market makes of a price."""

from __future__ import annotations

from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.sessions import running_session, session_of


def test_every_state_of_a_market_has_the_session_its_prices_belong_to() -> None:
    """The lunch break belongs to the regular session; outside of all of them a price is a close."""
    running = {
        MarketState.PRE: Session.PRE,
        MarketState.OPEN: Session.REGULAR,
        MarketState.BREAK: Session.REGULAR,
        MarketState.POST: Session.POST,
    }
    assert {state: running_session(state) for state in MarketState} == {s: running.get(s) for s in MarketState}
    assert {state: session_of(state) for state in MarketState} == {
        s: running.get(s, Session.CLOSED) for s in MarketState
    }
