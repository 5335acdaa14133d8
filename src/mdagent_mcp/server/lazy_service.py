"""The engine opened behind the client's back, so that the handshake is answered at once.

The rule of this module: opening starts only after the client has been answered, runs in a task of its own (which also
closes it: a context manager must be left where it was entered), and its failure is told to every asker rather than
taking the server down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from enum import Enum
from typing import Final

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.isolation import run_isolated
from mdagent_mcp.domain.service import MarketData

OPENING_LIMIT_S: Final = 20.0
"""How long a call waits for the engine to be opened."""
CLOSING_LIMIT_S: Final = 5.0
"""How long the engine may take to close before it is cancelled."""

OpenService = Callable[[], AbstractAsyncContextManager[MarketData]]


class ServiceState(Enum):
    """How far the engine has come."""

    WAITING = "waiting"
    """Nobody has asked for it yet."""
    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"
    """It could not be opened, or fell over; only a restart helps."""


class ServiceUnavailableError(Exception):
    """The engine could not be opened, or not in time; the message says what to do."""


class LazyService:
    """The engine, opened in the background once asked for.

    Args:
        open_service: makes the context that holds the engine open. It should import and open in ways that leave the
            event loop free, since the client is being served meanwhile.
        clock: limits the wait for it.
    """

    def __init__(self, open_service: OpenService, clock: Clock) -> None:
        self._open_service = open_service
        self._clock = clock
        self._service: MarketData | None = None
        self._settled = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> ServiceState:
        """How far the engine has come."""
        if self._service is not None:
            return ServiceState.OPEN
        if self._task is None:
            return ServiceState.WAITING
        return ServiceState.FAILED if self._settled.is_set() else ServiceState.OPENING

    @property
    def opened(self) -> MarketData | None:
        """The engine, when it is open already; for what can do without."""
        return self._service

    @asynccontextmanager
    async def running(self) -> AsyncIterator[LazyService]:
        """The life of the server: on leaving, the engine is closed if it was opened."""
        self._settled, self._closing = asyncio.Event(), asyncio.Event()
        try:
            yield self
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()

    def begin(self) -> None:
        """Start opening, unless that was done before; returns at once."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._live(), name="mdagent service")

    async def get(self) -> MarketData:
        """The engine, once it is open.

        Raises:
            ServiceUnavailableError: it could not be opened, or not within the limit.
        """
        if (opened := self.opened) is not None:
            return opened
        self.begin()
        try:
            with self._clock.limit(OPENING_LIMIT_S):
                await self._settled.wait()
        except TimeoutError as error:
            raise ServiceUnavailableError("The market data service is still starting; ask again shortly.") from error
        if self._service is None:
            raise ServiceUnavailableError(
                "The market data service could not be started; the server's log (stderr) says why, "
                "and `mdagent-mcp config check` checks the settings."
            )
        return self._service

    async def _live(self) -> None:
        await run_isolated("opening the market data service", self._hold_open)
        self._service = None
        self._settled.set()

    async def _hold_open(self) -> None:
        async with self._open_service() as service:
            self._service = service
            self._settled.set()
            await self._closing.wait()

    async def _close(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        self._closing.set()
        with suppress(TimeoutError), self._clock.limit(CLOSING_LIMIT_S):
            await asyncio.wait({task})
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
