"""What the calendar says about the instant of judging, in the terms that aligning quotes needs.

The rule of this module: the market's state comes from the calendar, never from time stamps of quotes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mdagent_mcp.domain.calendar import Calendar, MarketState, TradingSession
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.resilience.machine_clock import LEAST_S

_LONGEST_BLOCK: Final = 7
"""Sessions of a market that trades through the week without a pause."""

_EXTENDED_ASSETS: Final = frozenset({AssetClass.US_EQUITY, AssetClass.FOREIGN_EQUITY})
"""Only shares trade outside regular hours; an index is not computed then."""
_REGULAR: Final = frozenset({MarketState.OPEN, MarketState.BREAK, MarketState.UNKNOWN})
_EXTENDED: Final = frozenset({MarketState.PRE, MarketState.POST})
_CLOCK_DOUBT: Final = timedelta(seconds=LEAST_S)
_CONTINUOUS: Final = frozenset({"24/7", "24/5"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The market at the instant of judging.

    Attributes:
        state: as the calendar says.
        calendar: of the market.
        now: the instant of judging.
        since: start of the trading that is going on (the block of sessions without a pause between them); None while
            closed, without calendar, and for a market that never closes.
        last: the latest completed regular session.
        current: the session whose hours, extended ones included, contain `now`.
        extended_asset: whether this instrument trades before the open and after the close, where its market does.
        regular_hours: whether regular trading goes on, or must be assumed to without a calendar.
        extended_hours: whether pre- or post-market trading of this instrument goes on.
        known: whether the calendar covers the instant.
        continuous: whether the market has no sessions within its week, so that session tags of vendors mean nothing.
        paused_at: start of the midday break while it lasts.
    """

    state: MarketState
    calendar: Calendar
    now: datetime
    since: datetime | None
    last: TradingSession | None
    current: TradingSession | None
    extended_asset: bool = False

    regular_hours: bool = field(init=False)
    extended_hours: bool = field(init=False)
    known: bool = field(init=False)
    continuous: bool = field(init=False)
    paused_at: datetime | None = field(init=False)

    def __post_init__(self) -> None:
        state, current = self.state, self.current
        derive = object.__setattr__  # every quote and most checks ask for these
        derive(self, "regular_hours", state in _REGULAR)
        derive(self, "extended_hours", state in _EXTENDED)
        derive(self, "known", state is not MarketState.UNKNOWN)
        derive(self, "continuous", self.calendar.name in _CONTINUOUS)
        derive(self, "paused_at", current.break_start if state is MarketState.BREAK and current is not None else None)

    @property
    def extended_nearby(self) -> bool:
        """Whether extended trading ended, or begins, so close to now that a clock not known to be wrong may hide it."""
        if self.state is not MarketState.CLOSED or not self.extended_asset:
            return False
        return any(self.calendar.state_at(self.now + side * _CLOCK_DOUBT) in _EXTENDED for side in (-1, 1))

    @property
    def next_open(self) -> datetime | None:
        """When regular trading begins next; looked up when it is told."""
        return self.calendar.next_open(self.now) if self.known and not self.calendar.always_open else None


def market_at(instrument: Instrument, calendar: Calendar, now: datetime) -> Market:
    """What the calendar says about `instrument` at `now`."""
    state, session = calendar.placed_at(now)
    extended_asset = instrument.asset_class in _EXTENDED_ASSETS
    if state in _EXTENDED and not extended_asset:
        state = MarketState.CLOSED
    known = state is not MarketState.UNKNOWN
    current = session if known and state is not MarketState.CLOSED else None
    return Market(
        state=state,
        calendar=calendar,
        now=now,
        since=None if current is None else _trading_since(calendar, current, state),
        last=calendar.latest_completed(now) if known and not calendar.always_open else None,
        current=current,
        extended_asset=extended_asset,
    )


def _trading_since(calendar: Calendar, session: TradingSession, state: MarketState) -> datetime | None:
    if calendar.always_open:
        return None
    if state is MarketState.PRE:
        return session.pre_open
    if state is MarketState.POST:
        return session.close
    start = session.open
    for _ in range(_LONGEST_BLOCK):
        before = calendar.latest_completed(start)
        if before is None or before.close != start:
            break
        start = before.open
    return start
