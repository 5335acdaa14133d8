"""Time stamps and prices that cannot be believed: what one source said before tells what is wrong with it now.

The rule of this module: a doubt is about one source and rests on that source's own earlier word, on the calendar's
clock, or on the symbol's learned behaviour; other sources' prices have no say here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from mdagent_mcp.consensus.context import SourceTrace, SymbolKnowledge
from mdagent_mcp.consensus.wording import duration_text
from mdagent_mcp.domain.prices import Quote

CONSTANT_STAMP: Final = "constant_stamp"
ZONE_SHIFT: Final = "zone_shift"
_HOUR_S: Final = 3600.0
_MOST_HOURS: Final = 14
"""Zones of exchanges and of vendors' servers lie at most so many hours apart."""
_ZONE_EARLY_S: Final = 2.0
_ZONE_LATE_S: Final = 5.0
_COARSE_S: Final = 60.0
_LEAST_FREEZE_S: Final = 30.0
_GAPS: Final = 25.0
_SPREADS: Final = 4.0
_STAY_CHANCE: Final = 5e-3
"""A price stands still by a fault when a healthy one would do so less often than this."""


def stamp_doubt(quote: Quote, event_time: datetime | None, now: datetime, learned: SymbolKnowledge | None) -> str:
    """Why the event time is none, beginning with the fault's id; empty when it may be believed.

    A stamp that stands still while the price moves is the time of something else (seen with daily bars' time). One
    that is late by whole hours, to a few seconds, was written in another zone: a stale price is that punctual once in
    five hundred times.
    """
    if event_time is None or quote.event_time_resolution_s > _COARSE_S:
        return ""
    trace = None if learned is None else learned.traces.get(quote.source)
    if trace is not None and trace.stamp == quote.event_time and trace.price != quote.price:
        apart = (quote.received_at - trace.seen_at).total_seconds()
        if apart > 2 * quote.event_time_resolution_s:
            return f"{CONSTANT_STAMP}: its time {event_time:%H:%M:%S} UTC stands still while its price moves"
    late = (now - event_time).total_seconds() - quote.declared_delay_s
    hours = round(late / _HOUR_S)
    if 1 <= hours <= _MOST_HOURS and -_ZONE_EARLY_S <= late - hours * _HOUR_S <= _ZONE_LATE_S:
        return f"{ZONE_SHIFT}: stamped {hours} h ago to the second, the time of another zone"
    return ""


def frozen_s(quote: Quote, now: datetime, learned: SymbolKnowledge | None) -> float:
    """Seconds for which the price has stood still although it should have moved and its time stamps go on; else 0.

    It should have moved after the greatest of 30 s, 25 usual gaps between trades and the time in which four times the
    step and half spread are one standard deviation, or once the price that others confirm moved so often that a
    healthy source of this symbol would have followed but once in two hundred times.
    """
    if learned is None:
        return 0.0
    trace = learned.traces.get(quote.source)
    standing, chance = learned.unchanged_s.get(quote.source, 0.0), 1.0
    if trace is not None and trace.price == quote.price and _stamps_go_on(trace, quote):
        standing, chance = (now - trace.price_since).total_seconds(), trace.stay_chance
    if standing <= _LEAST_FREEZE_S:
        return 0.0
    return standing if chance < _STAY_CHANCE or standing > _usual_standstill(quote, learned) else 0.0


def frozen_text(seconds: float) -> str:
    """How a frozen price reads."""
    return f"unchanged for {duration_text(seconds)} while its time stamps go on"


def _stamps_go_on(trace: SourceTrace, quote: Quote) -> bool:
    """Whether the event time moved since the price last did: a last trade that is only repeated is an honest one."""
    return trace.stamp != quote.event_time or trace.stamp_since > trace.price_since


def _usual_standstill(quote: Quote, learned: SymbolKnowledge) -> float:
    sigma, spread = learned.volatility_per_sqrt_s, learned.relative_spread
    if sigma is None or spread is None:
        return float("inf")
    tick = 0.0 if learned.tick is None or not quote.price > 0 else learned.tick / quote.price
    step = float((_SPREADS * (tick + spread / 2) / sigma) ** 2)
    return max(_LEAST_FREEZE_S, _GAPS * learned.gap_q95_s.get(quote.source, 0.0), step)
