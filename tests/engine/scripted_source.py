"""Sources that say what a test tells them to, and an engine around them on a hand-turned clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.events import Event
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import History, Quote, Session
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.questions import Asked, QuoteQuestion
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery, Offer, QuoteQuery, QuoteReading, Vendor
from mdagent_mcp.engine.collection import CollectionOptions
from mdagent_mcp.engine.parts import EngineParts
from mdagent_mcp.engine.quotes import QuoteEngine
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock

OPEN_MARKET = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)
"""Tuesday 11:30 in New York."""


def vendor(name: str, weight: float = 0.8) -> Vendor:
    """A declaration whose one endpoint is never used."""
    offer: Offer[QuoteQuery, QuoteReading] = Offer(
        Endpoint.QUOTE, lambda _: None, lambda _: (), lambda _query, _reply: {}, lambda _: None
    )
    return Vendor(
        id=name, title=name, docs_url="", terms="", hosts={"api": "http://x.invalid"}, quote=offer, weight=weight
    )


@dataclass
class ScriptedSource:
    """A source whose every word is scripted.

    Attributes:
        name: its id and upstream group.
        clock: time.
        prices: what it says, by symbol; a failure kind instead of a price fails.
        takes_s: how long it takes to answer; None for ever.
        lag_s: how old its prices are.
        weight: static trust.
        cost_per_call: see the port.
        now_state: its state.
        is_silent: whether its last call is overdue.
        short: shadow price of its quota.
        asked: the symbols of every call so far.
        manners: whether each question for quotes was a last resort, and one in the background.
        refuses_batches: whether it refuses questions about several symbols, because its circuit for them is open.
        began: set when it is asked for the first quote.
        calls: its name for every question for quotes, in the order of those of all sources that share the list.
    """

    name: str
    clock: Clock
    prices: dict[str, float | FailureKind]
    takes_s: float | None = 0.0
    lag_s: float = 0.5
    weight: float = 0.8
    cost_per_call: float = 0.0
    declared_delay_s: float = 0.0
    now_state: SourceState = SourceState.LIVE
    group: str = ""
    history_answer: Callable[[HistoryQuery], Outcome[History]] | None = None
    at: datetime | None = None
    rested_enough: bool = False
    rested_symbols: frozenset[str] = frozenset()
    refuses_batches: bool = False
    probes: int = 0
    short: float = 0.0
    is_silent: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)
    manners: list[tuple[bool, bool]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    began: anyio.Event = field(default_factory=anyio.Event)
    calls: list[str] = field(default_factory=list)

    @property
    def vendor(self) -> Vendor:
        return vendor(self.name, self.weight)

    @property
    def is_askable(self) -> bool:
        return self.now_state in {SourceState.LIVE, SourceState.DEGRADED}

    def group_of(self, instrument: Instrument) -> str:
        return self.group or self.name

    def state(self) -> SourceState:
        return self.now_state

    def rests_quote(self, instrument: Instrument) -> bool:
        return self.now_state is SourceState.OPEN or instrument.symbol in self.rested_symbols

    def wait_s(self) -> float:
        return 0.0

    def scarcity(self) -> float:
        return self.short

    async def refresh_budget(self) -> None:
        return

    def refuses_quote(self, instrument: Instrument) -> str | None:
        return None

    def refuses_history(self, query: HistoryQuery) -> str | None:
        return None if self.history_answer is not None else "has no history"

    async def quotes(
        self,
        instruments: tuple[Instrument, ...],
        budget_s: float,
        *,
        last_resort: bool = False,
        background: bool = False,
    ) -> Asked[Mapping[str, Outcome[tuple[Quote, ...]]]]:
        self.calls.append(self.name)
        self.manners.append((last_resort, background))
        self.asked.append(tuple(i.symbol for i in instruments))
        self.began.set()
        try:
            await self._take_time()
        except anyio.get_cancelled_exc_class():
            self.ended.append("cancelled")
            raise
        if self.refuses_batches and len(instruments) > 1 and not last_resort:
            return Asked({i.symbol: Failure(self.name, FailureKind.CIRCUIT_OPEN, "rested") for i in instruments}, 0)
        return Asked({i.symbol: self._say(i.symbol) for i in instruments}, 1)

    def wants_probe(self) -> bool:
        return self.rested_enough

    async def probe(self) -> None:
        self.rested_enough = False
        self.probes += 1

    async def history(self, query: HistoryQuery, budget_s: float) -> Asked[Outcome[History]]:
        self.asked.append((query.instrument.symbol,))
        await self._take_time()
        assert self.history_answer is not None
        return Asked(self.history_answer(query), 1)

    async def _take_time(self) -> None:
        if self.takes_s is None:
            await anyio.Event().wait()
        else:
            await self.clock.sleep(self.takes_s)

    def _say(self, symbol: str) -> Outcome[tuple[Quote, ...]]:
        said = self.prices.get(symbol, FailureKind.UNKNOWN_SYMBOL)
        if isinstance(said, FailureKind):
            return Failure(self.name, said, "scripted")
        now = self.clock.now()
        return Answered(
            (
                Quote(
                    symbol=symbol,
                    source=self.name,
                    price=said,
                    session=Session.REGULAR if self.at is None else Session.CLOSED,
                    received_at=now,
                    event_time=now - timedelta(seconds=self.lag_s) if self.at is None else self.at,
                    event_time_resolution_s=0.001,
                    currency="USD",
                    bid=round(said - 0.01, 4),
                    ask=round(said + 0.01, 4),
                    open=said,
                    high=said,
                    low=said,
                    previous_close=said,
                    volume=1000.0,
                ),
            )
        )


@dataclass
class Desk:
    """An engine for quotes with scripted sources."""

    engine: QuoteEngine
    clock: ManualClock
    events: list[Event]
    parts: EngineParts


@asynccontextmanager
async def quote_desk(
    clock: ManualClock, *sources: ScriptedSource, options: CollectionOptions | None = None, path: Path | None = None
) -> AsyncIterator[Desk]:
    """An engine around these sources, with memory in a file, or in RAM."""
    events: list[Event] = []
    async with open_memory(path, clock) as memory, anyio.create_task_group() as background:
        parts = EngineParts(
            sources={s.name: s for s in sources},
            clock=clock,
            memory=memory,
            emit=events.append,
            spawn=background.start_soon,
            rng=random.Random(7),
            collection=options or CollectionOptions(),
        )
        yield Desk(QuoteEngine(parts), clock, events, parts)
        background.cancel_scope.cancel()


def question(
    *symbols: str, min_grade: Grade | None = None, max_age_s: float | None = None, sources: tuple[str, ...] = ()
) -> QuoteQuestion:
    """A question about these symbols."""
    return QuoteQuestion(tuple(map(parse_symbol, symbols)), min_grade, max_age_s, sources)
