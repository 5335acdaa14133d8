"""What our own connectors read from a sandbox, to be compared with what the vendors' clients read from it.

Those clients block, so here the sandbox runs in a thread with an event loop of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime

import anyio
from anyio.from_thread import start_blocking_portal

from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.failures import Answered, Failure, Outcome
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, History, Interval, Quote
from mdagent_mcp.domain.vendor import HistoryQuery, Quota, Vendor
from mdagent_mcp.sandbox.clock import HeldClock
from mdagent_mcp.sandbox.server import Sandbox, running_sandbox
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.source import Source, SourceOptions
from sandbox.loopback import SEED

BUDGET_S = 10.0


@contextmanager
def threaded_sandbox(instant: datetime) -> Iterator[Sandbox]:
    """A sandbox on a loopback port in a thread, its market held at an instant."""
    with start_blocking_portal() as portal:
        serving = running_sandbox(HeldClock(SystemClock(), instant), seed=SEED)
        with portal.wrap_async_context_manager(serving) as running:
            yield running


class OwnReader:
    """Our connector to one vendor of a sandbox.

    Args:
        sandbox: where it asks.
        vendor: whose connector.
        key: sent with every call.
        instant: the sandbox's present.
        quotas: kept by the connector itself.
    """

    def __init__(
        self, sandbox: Sandbox, vendor: Vendor, key: str, instant: datetime, quotas: tuple[Quota, ...] = ()
    ) -> None:
        self._sandbox = sandbox
        self._vendor = vendor
        self._key = key
        self._instant = instant
        self._quotas = quotas

    def quotes(self, *symbols: str) -> Mapping[str, Outcome[tuple[Quote, ...]]]:
        """Quotes or failures by symbol."""

        async def ask() -> Mapping[str, Outcome[tuple[Quote, ...]]]:
            source = self._source()
            try:
                return (await source.quotes(tuple(map(parse_symbol, symbols)), BUDGET_S)).answer
            finally:
                await source.aclose()

        return anyio.run(ask)

    def quote(self, symbol: str) -> Quote:
        """The first quote of one symbol, which there must be."""
        outcome = self.quotes(symbol)[symbol]
        assert isinstance(outcome, Answered), outcome
        return outcome.value[0]

    def failure(self, symbol: str) -> Failure:
        """Why there is no quote."""
        outcome = self.quotes(symbol)[symbol]
        assert isinstance(outcome, Failure)
        return outcome

    def history(
        self,
        symbol: str,
        interval: Interval,
        first: date,
        last: date,
        adjustment: Adjustment = Adjustment.SPLITS,
        *,
        extended: bool = False,
    ) -> History:
        """A series, which there must be."""
        outcome = self.series(
            HistoryQuery(parse_symbol(symbol), interval, first, last, adjustment, extended, self._instant)
        )
        assert isinstance(outcome, Answered), outcome
        return outcome.value

    def series(self, query: HistoryQuery) -> Outcome[History]:
        """A series or a failure."""

        async def ask() -> Outcome[History]:
            source = self._source()
            try:
                return (await source.history(query, BUDGET_S)).answer
            finally:
                await source.aclose()

        return anyio.run(ask)

    def _source(self) -> Source:
        clock = HeldClock(SystemClock(), self._instant)
        hosts = host_sets(self._vendor, [self._sandbox.url_for(self._vendor.id)])
        client = VendorClient(self._vendor, hosts, self._key, clock)
        rng = random.Random(1)
        options = SourceOptions(quotas=self._quotas)
        return Source(self._vendor, options, client, clock=clock, emit=lambda _event: None, rng=rng)
