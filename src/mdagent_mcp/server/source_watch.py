"""Noticing that a source has changed its state, for subscribers of `mdagent://sources`.

The rule of this module: it looks only while somebody is subscribed, and what changes with every call (budgets,
latencies, the seconds until a retry) is no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.isolation import run_isolated
from mdagent_mcp.domain.status import SourceStatus
from mdagent_mcp.server.lazy_service import LazyService, ServiceUnavailableError
from mdagent_mcp.server.notices import ResourceNotices

SOURCES_URI: Final = "mdagent://sources"
PERIOD_S: Final = 2.0
"""How often the states are looked at."""

States = Mapping[str, tuple[str, Mapping[str, str]]]
"""By source: its state, and those of its circuits."""


def states_of(statuses: Iterable[SourceStatus]) -> States:
    """What subscribers are told changes of."""
    return {status.source: (status.state.value, dict(status.circuit)) for status in statuses}


async def publish_source_states(service: LazyService, notices: ResourceNotices, clock: Clock) -> None:
    """Publish a notice whenever a state has changed; runs for the life of the server."""
    known: States | None = None

    async def look() -> None:
        nonlocal known
        try:
            engine = await service.get()
        except ServiceUnavailableError:
            return
        statuses, _ = await engine.source_status()
        states = states_of(statuses)
        before, known = known, states
        if before is not None and states != before:
            await notices.publish(SOURCES_URI)

    while True:
        if not notices.are_wanted:
            known = None
            await notices.until_wanted()
        await run_isolated("looking at the states of the sources", look)
        await clock.sleep(PERIOD_S)
