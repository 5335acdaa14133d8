"""Six sources over the sandbox, each as slow as a seeded distribution says, under a hand-turned clock.

Quotas are out of the way: what is watched here is trouble, not scarcity.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import anyio
import httpx

from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import load
from mdagent_mcp.domain.answers import QuotesAnswer
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.domain.status import SourceStatus
from mdagent_mcp.engine.service import Engine
from mdagent_mcp.sandbox.app import Desk, app_of
from mdagent_mcp.sandbox.faults import Fault, FaultBoard, Faults
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.testing import ManualClock

REGULAR: Final = datetime(2026, 11, 24, 16, 30, 20, tzinfo=UTC)
"""Tuesday 11:30:20 in New York: regular trading."""
SEED: Final = 11
LONGEST_S: Final = 15.0
"""A question that takes longer than this, by the hand-turned clock, has outlived its own deadline."""
SETTLE_ROUNDS: Final = 20
SIX: Final = ("yahoo", "nasdaq", "cboe", "finnhub", "twelve_data", "tiingo")
KEYS: Final = {"finnhub": "sandbox-key", "twelve_data": "ultra-key", "tiingo": "power-key"}
"""Of plans whose own limits, which the sandbox keeps, are out of the way as well."""
MEDIAN_S: Final = 0.12
SPREAD: Final = 0.35
"""Standard deviation of the logarithm of a source's delay."""
STALL_SHARE: Final = 0.01
STALL_S: Final = 1.5


@dataclass
class Network:
    """How long calls take and who cannot be reached.

    Attributes:
        clock: delays wait on it.
        rng: draws the delays.
        unreachable: vendors to whom no connection is made.
        calls: requests sent so far.
        is_slow: whether calls take time at all.
    """

    clock: ManualClock
    rng: random.Random
    unreachable: set[str] = field(default_factory=set)
    calls: int = 0
    is_slow: bool = True

    def delay_s(self) -> float:
        """Log-normal, and now and then a stall."""
        stalled = STALL_S if self.rng.random() < STALL_SHARE else 0.0
        return stalled + self.rng.lognormvariate(math.log(MEDIAN_S), SPREAD)


class Line(httpx.AsyncBaseTransport):
    """The way to one vendor."""

    def __init__(self, vendor: str, network: Network, app: httpx.ASGITransport) -> None:
        self._vendor = vendor
        self._network = network
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, late, or not at all."""
        self._network.calls += 1
        if self._vendor in self._network.unreachable:
            raise httpx.ConnectError("Connection refused")
        if self._network.is_slow:
            await self._network.clock.sleep(self._network.delay_s())
        return await self._app.handle_async_request(request)


@dataclass
class SixSources:
    """An engine over six sources.

    Attributes:
        engine: the real one.
        clock: everybody's.
        desk: the sandbox's own books.
        network: between them.
    """

    engine: Engine
    clock: ManualClock
    desk: Desk
    network: Network

    def set_faults(self, *faults: str | Fault) -> None:
        """Switch faults, replacing those before."""
        self.desk.board.replace(Faults.parse(faults))

    async def ask(self, *symbols: str) -> QuotesAnswer:
        """One question for current prices, the clock turned until it is answered.

        Raises:
            TimeoutError: when it is not within `LONGEST_S`.
        """
        question = QuoteQuestion(tuple(map(parse_symbol, symbols)))
        answers: list[QuotesAnswer] = []

        async def run() -> None:
            answers.append(await self.engine.quotes(question))

        started = self.clock.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            while not answers and self.clock.monotonic() - started < LONGEST_S:
                await self.clock.advance(0.1)
            tasks.cancel_scope.cancel()
        if not answers:
            raise TimeoutError(f"{', '.join(symbols)} was not answered within {LONGEST_S} s")
        return answers[0]

    async def status(self, source: str) -> SourceStatus:
        """What `source_status` says of a source."""
        (status,), _ = await self.engine.source_status(source)
        return status

    def truth(self, symbol: str, at: datetime) -> float:
        """The price that the market really had."""
        return self.desk.market.snapshot(symbol, at).price


@asynccontextmanager
async def six_sources(
    *, seed: int = 3, sources: Sequence[str] = SIX, is_slow: bool = True, settings: dict[str, str] | None = None
) -> AsyncIterator[SixSources]:
    """A world in regular trading, all sources well.

    Args:
        seed: of the delays and of the engine's own chance.
        sources: those that are configured; the others of the six are disabled.
        is_slow: whether calls take time.
        settings: more of them, as environment variables.
    """
    clock = ManualClock(REGULAR, settle_rounds=SETTLE_ROUNDS)
    desk = Desk(SimulatedMarket(SEED), clock, FaultBoard(Faults(), SEED))
    network = Network(clock, random.Random(seed), is_slow=is_slow)
    app = httpx.ASGITransport(app_of(desk))
    environ = dict(settings or {})
    for source in sources:
        prefix = f"MDAGENT_SOURCES__{source.upper()}__"
        environ[f"{prefix}BASE_URL"] = f"http://127.0.0.1/{source}"
        environ[f"{prefix}QUOTAS"] = "[]"
        environ[f"{prefix}COST_PER_CALL"] = "0"
        if source in KEYS:
            environ[f"{prefix}API_KEY"] = KEYS[source]
    for source in set(SIX) - set(sources):
        environ[f"MDAGENT_SOURCES__{source.upper()}__ENABLED"] = "false"
    async with open_app(
        load(environ).settings,
        clock=clock,
        data_dir=None,
        open_transport=lambda vendor: Line(vendor, network, app),
        rng=random.Random(seed),
    ) as engine:
        yield SixSources(engine, clock, desk, network)
