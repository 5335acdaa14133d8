"""A source that gets fewer calls at once than it may is seen in its status."""

from __future__ import annotations

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.router import Routed
from mdagent_mcp.engine.status import source_status
from mdagent_mcp.memory.store import open_memory
from transport.invented_vendor import Bench, prices


async def test_the_reason_tells_how_many_calls_a_slow_source_gets_at_once() -> None:
    """While it gets all of them nothing is told."""
    bench = Bench(prices(AAPL=1.0))
    async with open_memory(None, bench.clock) as memory:
        well = source_status(bench.source, Routed(0.5), memory, bench.clock)
        for _ in range(12):
            bench.source.concurrency.heard(Endpoint.QUOTE, 4.0, FailureKind.TIMEOUT)
        slow = source_status(bench.source, Routed(0.5), memory, bench.clock)
    assert (well.state, well.reason) == (SourceState.LIVE, "answers, or was not asked yet")
    assert (slow.state, slow.reason) == (SourceState.LIVE, "gets at most 2 of 8 calls at once, because it slowed down")
