"""What `source_status` says of a source: its state and why, its circuits, its budget, and what was learned about it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.status import BudgetView, SourceState, SourceStatus
from mdagent_mcp.domain.vendor import Key
from mdagent_mcp.engine.router import Routed
from mdagent_mcp.memory.store import Memory
from mdagent_mcp.resilience.circuit_breaker import Level
from mdagent_mcp.resilience.clock_offset import FEWEST, offset_s
from mdagent_mcp.transport.breaking import Trouble
from mdagent_mcp.transport.browser import INSTALL
from mdagent_mcp.transport.source import Source

TROUBLES_TOLD: Final = 3
"""Circuits that are not closed of which a status tells the reason."""
_LISTED_FOR: Final = parse_symbol("AAPL")
"""The upstream group that is listed is the one for United States equities."""


def source_status(source: Source, routed: Routed, memory: Memory, clock: Clock) -> SourceStatus:
    """The status of one source.

    Args:
        source: which.
        routed: what routing would do with it now.
        memory: what was learned.
        clock: now.
    """
    state = source.state()
    known = memory.source_knowledge(source.vendor.id)
    retry_in = _retry_in_s(source, state)
    return SourceStatus(
        source=source.vendor.id,
        title=source.vendor.title,
        state=state,
        since=_since(source, state, clock),
        reason=_reason(source, state),
        upstream_group=source.group_of(_LISTED_FOR),
        capabilities=_capabilities(source),
        circuit=source.breaker.circuits(),
        weight=routed.share,
        weight_parts=routed.parts,
        cost_per_call=source.cost_per_call,
        budget=_budget(source, clock),
        next_retry_at=None if retry_in is None else clock.now() + timedelta(seconds=retry_in),
        reliability=None if known is None else known.reliability,
        latency_p50_ms=None if known is None else known.latency_p50_ms,
        latency_p95_ms=None if known is None else known.latency_p95_ms,
        clock_offset_s=_clock_offset_s(source, memory),
        last_success_at=None if known is None else known.last_success_at,
        last_error=None if known is None else known.last_error,
        successors=_successors(source, state),
        learned=_learned(memory, source.vendor.id),
    )


def _clock_offset_s(source: Source, memory: Memory) -> float | None:
    """How far its clock is off; None before enough of its time stamps were seen."""
    clock = memory.lessons().clocks.get(source.vendor.id)
    return None if clock is None or clock.samples < FEWEST else offset_s(clock)


def _since(source: Source, state: SourceState, clock: Clock) -> datetime:
    """Since when it is in its state; a retired one since its last day."""
    retirement = source.vendor.retirement
    if state is SourceState.RETIRED and retirement is not None:
        return datetime.combine(retirement.since, time(0), UTC)
    return clock.now() - timedelta(seconds=source.breaker.since_s())


def _learned(memory: Memory, source: str) -> tuple[str, ...]:
    """What recurs with it, as sentences: the faults it is prone to, and whose errors it shares."""
    copies = [pair for pair in memory.copies() if source in pair]
    others = [pair.first if source == pair.second else pair.second for pair in copies]
    return (
        *(f"{pattern.told}." for pattern in memory.patterns().all if pattern.source == source),
        *(f"{source} makes the same errors as {other}: they count as one voice." for other in others),
    )


def _successors(source: Source, state: SourceState) -> tuple[str, ...]:
    """What takes the place of a retired source; nothing where a configured host answers in its stead."""
    retirement = source.vendor.retirement
    return retirement.successors if state is SourceState.RETIRED and retirement is not None else ()


def _retry_in_s(source: Source, state: SourceState) -> float | None:
    troubles = source.breaker.troubles()
    if troubles and state in {SourceState.OPEN, SourceState.DEGRADED, SourceState.LIVE}:
        return min(trouble.retry_in_s for trouble in troubles)
    resting = source.limiter.resting()
    return None if resting is None else resting[1]


def _reason(source: Source, state: SourceState) -> str:
    key = source.vendor.key
    reasons = {
        SourceState.LIVE: "answers, or was not asked yet",
        SourceState.DEGRADED: "has become slow",
        SourceState.OPEN: "failed repeatedly and is being rested",
        SourceState.THROTTLED: f"asked us to slow down{_as_browser(source)}",
        SourceState.EXHAUSTED: "its quota is spent",
        SourceState.NO_KEY: _missing_key(key) if key is not None else "",
        SourceState.DISABLED: "disabled in the settings",
        SourceState.RETIRED: source.vendor.retirement.reason if source.vendor.retirement is not None else "",
    }
    told = [_trouble_text(trouble) for trouble in source.breaker.troubles()[:TROUBLES_TOLD]]
    allowed, most = source.concurrency.allowed, source.concurrency.most
    if allowed < most and not told:
        told.append(f"gets at most {allowed} of {most} calls at once, because it slowed down")
    if source.limiter.budget.trouble:
        told.append(f"its budget is kept by this process alone: {source.limiter.budget.trouble}")
    if not told or state not in {SourceState.LIVE, SourceState.DEGRADED, SourceState.OPEN}:
        return reasons[state]
    return clean_text("; ".join(told))


def _trouble_text(trouble: Trouble) -> str:
    """Which circuit is not closed, why, and when it is tried again."""
    named = {Level.SOURCE: "the source"}.get(trouble.cell.level, str(trouble.cell).replace(":", " of "))
    because = f" ({trouble.because})" if trouble.because else ""
    when = f"is rested for {trouble.retry_in_s:.0f} s more" if trouble.retry_in_s > 0 else "is being tried again"
    return f"{named} failed repeatedly{because} and {when}"


def _as_browser(source: Source) -> str:
    """What helps against a vendor that turns programs away."""
    helps = source.vendor.impersonates_browser and not source.client.imitates_browser
    return f"; it turns programs away: {INSTALL} makes us speak like a browser" if helps else ""


def _missing_key(key: Key) -> str:
    where = f"; a key comes from {key.signup_url}" if key.signup_url else ""
    return f"set {key.environment[0]}{where}"


def _capabilities(source: Source) -> tuple[str, ...]:
    return tuple(str(o.endpoint) for o in source.vendor.offers if o.endpoint not in source.excluded)


def _budget(source: Source, clock: Clock) -> tuple[BudgetView, ...]:
    now, spent_at = clock.now(), source.limiter.budget.now
    return tuple(
        BudgetView(
            view.quota.name,
            view.quota.limit,
            view.used,
            None if view.resets_at is None else now + timedelta(seconds=view.resets_at - spent_at),
        )
        for view in source.limiter.usage()
    )
