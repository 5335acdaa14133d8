"""Replicas of a quote engine that share a server, in one process, over scripted sources."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import anyio

from engine.scripted_source import OPEN_MARKET, ScriptedSource
from mdagent_mcp.cache.shared_flights import SharedFlights
from mdagent_mcp.cache.shared_server import SharedServer
from mdagent_mcp.domain.answers import QuoteAnswer
from mdagent_mcp.domain.clock import Clock, SystemClock
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.engine.parts import EngineParts
from mdagent_mcp.engine.quote_sharing import QuoteSharing
from mdagent_mcp.engine.quotes import QuoteEngine
from mdagent_mcp.engine.shared_flight import SharedFlight
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.sandbox.clock import ShiftedClock

PATIENT_S = 2.0
"""Limit of a command on a server that is well: a busy machine must not make it look lost."""


def open_market() -> Clock:
    """Real time in a market that trades."""
    return ShiftedClock(SystemClock(), OPEN_MARKET)


@dataclass
class Replica:
    """One engine with its own sources and memory.

    Attributes:
        engine: for quotes.
        server: as it sees it.
        sources: scripted.
        parts: of the engine.
    """

    engine: QuoteEngine
    server: SharedServer
    sources: tuple[ScriptedSource, ...]
    parts: EngineParts

    async def ask(self, question: QuoteQuestion) -> QuoteAnswer:
        """The one answer."""
        answer = await self.engine.answer(question)
        assert [failure.message for failure in answer.failures] == []
        return answer.quotes[0]

    @property
    def calls(self) -> int:
        """Calls to its sources so far."""
        return sum(len(source.asked) for source in self.sources)


@asynccontextmanager
async def replica(
    url: str,
    *,
    takes_s: float | None = 0.05,
    timeout_s: float = PATIENT_S,
    prices: dict[str, float | FailureKind] | None = None,
    space: str = "test",
) -> AsyncIterator[Replica]:
    """A replica whose one source answers after a moment; None for never."""
    clock = open_market()
    said: dict[str, float | FailureKind] = {"AAPL": 190.0, "MSFT": 430.0} if prices is None else prices
    source = ScriptedSource("one", clock, said, takes_s=takes_s)
    server = SharedServer(url, clock, timeout_s=timeout_s)
    async with aclosing(server), open_memory(None, clock) as memory, anyio.create_task_group() as background:
        flight = SharedFlight(SharedFlights(server, space, "quote"), clock, background.start_soon)
        parts = EngineParts(
            sources={source.name: source},
            clock=clock,
            memory=memory,
            emit=lambda _event: None,
            spawn=background.start_soon,
            rng=random.Random(),
            quote_sharing=QuoteSharing(flight, clock, ["one"]),
        )
        yield Replica(QuoteEngine(parts), server, (source,), parts)
        background.cancel_scope.cancel()
