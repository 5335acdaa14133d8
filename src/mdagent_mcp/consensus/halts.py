"""Halts: when nothing trades although the market is open, and the last trade is as fresh as a price can be.

The rule of this module: a halt is inferred only from independent sources that name the same last trade and have
named it before; one silent source is a delayed or frozen source, not a halt.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from mdagent_mcp.consensus.alignment import Observation
from mdagent_mcp.consensus.context import QuoteContext
from mdagent_mcp.consensus.fusion import Fusion
from mdagent_mcp.consensus.market import Market

_SAME_TRADE_S: Final = 2.0
_LEAST_SILENCE_S: Final = 120.0
"""Halts last five minutes or more; a liquid share trades every few seconds."""
_GAPS: Final = 5.0


def halted_since(fusion: Fusion, market: Market, context: QuoteContext) -> datetime | None:
    """When the last trade was, when trading seems halted; None while it goes on or nothing can be concluded.

    It seems so when two independent groups at least, and nobody against them, name a last trade of the same two
    seconds, older than two minutes and five usual gaps, and each named it already when it was last asked.
    """
    if not market.known or not market.regular_hours or market.continuous or fusion.groups < 2 or fusion.outsiders:
        return None
    standing = fusion.confirming
    if not all(_stands(m, context) for m in standing) or len({m.group for m in standing}) < 2:
        return None
    stamps = [m.event_time for m in standing if m.event_time is not None]
    first, last = min(stamps), max(stamps)
    if (last - first).total_seconds() > _SAME_TRADE_S:
        return None
    return last if (market.now - last).total_seconds() > _silence_s(standing, context) else None


def _stands(member: Observation, context: QuoteContext) -> bool:
    """Whether the source names the same trade as when it was last asked, a while ago."""
    trace = None if context.learned is None else context.learned.traces.get(member.quote.source)
    if trace is None or member.event_time is None or member.quote.declared_delay_s > 0:
        return False
    asked_before = (member.quote.received_at - trace.stamp_since).total_seconds() > _SAME_TRADE_S
    return asked_before and trace.stamp == member.quote.event_time and trace.price == member.quote.price


def _silence_s(standing: Iterable[Observation], context: QuoteContext) -> float:
    gaps = {} if context.learned is None else context.learned.gap_q95_s
    return max(_LEAST_SILENCE_S, *(_GAPS * gaps.get(m.quote.source, 0.0) for m in standing))
