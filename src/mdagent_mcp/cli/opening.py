"""Opening the engine for a command: over the real sources, or over the embedded sandbox.

The rule of this module: engine and sandbox are imported when they are opened, in a thread, since a server answers its
client meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypedDict

from anyio import to_thread

from mdagent_mcp.cli.garbage import garbage_collected
from mdagent_mcp.cli.startup import data_directory
from mdagent_mcp.cli.watching import Watching
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.clock import Clock, SystemClock
from mdagent_mcp.domain.service import MarketData
from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.monitoring.metrics import Metrics

_NOW = timedelta(0)
OpenEngine = Callable[[Settings], AbstractAsyncContextManager[MarketData]]


class Watched(TypedDict, total=False):
    """Listeners, as `open_app` takes them."""

    alerts: Alerts | None
    metrics: Metrics | None


@dataclass(frozen=True, slots=True)
class Opening:
    """What is needed to open the engine.

    Attributes:
        settings: validated.
        clock: the engine's time, within trading hours where the market is simulated.
        simulated: whether the sandbox answers for every source.
        watching: over a server that runs; None for a command that asks once.
    """

    settings: Settings
    clock: Clock
    simulated: bool
    watching: Watching | None = None

    @property
    def watched(self) -> Watched:
        """Who listens to the engine."""
        if self.watching is None:
            return {}
        return {"alerts": self.watching.alerts, "metrics": self.watching.metrics}

    def open(self) -> AbstractAsyncContextManager[MarketData]:
        """The engine, ready to be asked as long as the context is held."""
        return _over_sandbox(self) if self.simulated else _over_sources(self)


def opening_of(arguments: argparse.Namespace, settings: Settings, clock_offset: timedelta = _NOW) -> Opening:
    """What the command line asks for; says on stderr when prices will be simulated.

    Args:
        arguments: with the global options.
        settings: validated.
        clock_offset: how far the engine's clock is ahead of the machine's, for a server whose sources are a sandbox
            that shows another time.
    """
    clock: Clock = SystemClock()
    if clock_offset != _NOW:
        from mdagent_mcp.sandbox.clock import ShiftedClock  # noqa: PLC0415 - for simulated time only

        clock = ShiftedClock(clock, clock.now() + clock_offset)
    if arguments.sandbox:
        from mdagent_mcp.sandbox.clock import market_hours_clock  # noqa: PLC0415 - for simulated time only

        clock = market_hours_clock(clock)
        sys.stderr.write("mdagent-mcp: --sandbox: all prices are SIMULATED\n")
    return Opening(settings, clock, arguments.sandbox)


@asynccontextmanager
async def _over_sources(opening: Opening) -> AsyncIterator[MarketData]:
    await to_thread.run_sync(importlib.import_module, "mdagent_mcp.app")
    from mdagent_mcp.app import open_app  # noqa: PLC0415 - imported by the thread

    def engine(settings: Settings) -> AbstractAsyncContextManager[MarketData]:
        return open_app(settings, clock=opening.clock, data_dir=data_directory(settings), **opening.watched)

    async with _held_open(opening, engine) as service:
        yield service


@asynccontextmanager
async def _over_sandbox(opening: Opening) -> AsyncIterator[MarketData]:
    for module in ("mdagent_mcp.app", "mdagent_mcp.sandbox.app"):
        await to_thread.run_sync(importlib.import_module, module)
    from mdagent_mcp.app import open_app  # noqa: PLC0415 - imported by the thread
    from mdagent_mcp.cli import simulation  # noqa: PLC0415 - for simulated prices only
    from mdagent_mcp.sandbox.server import running_sandbox  # noqa: PLC0415 - for simulated prices only

    async with running_sandbox(opening.clock) as sandbox:

        def engine(settings: Settings) -> AbstractAsyncContextManager[MarketData]:
            data_dir = simulation.simulated_data_directory(data_directory(settings))
            simulated = simulation.simulated_settings(settings, sandbox)
            return open_app(simulated, clock=opening.clock, data_dir=data_dir, **opening.watched)

        async with _held_open(opening, engine, simulation.is_replaced) as service:
            yield simulation.SimulatedMarketData(service)


@asynccontextmanager
async def _held_open(
    opening: Opening, engine: OpenEngine, is_replaced: Callable[[str], bool] = lambda _: False
) -> AsyncIterator[MarketData]:
    """One engine, or, where the settings are followed, that of the settings in effect."""
    watching = opening.watching
    if watching is None:
        async with engine(opening.settings) as service:
            yield service
        return
    from mdagent_mcp.cli.reloading import Reloading, file_changes, reloading  # noqa: PLC0415 - once the server runs

    told = partial(watching.not_taken_over, is_replaced=is_replaced)
    parts = Reloading(watching.loaded, watching.load, engine, file_changes, opening.clock, watching.applied, told)
    async with reloading(parts) as followed, garbage_collected(opening.clock):
        yield followed
