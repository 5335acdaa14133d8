"""Opening the engine for a command: over the real sources, or over the embedded sandbox.

The rule of this module: engine and sandbox are imported when they are opened, in a thread, since a server answers its
client meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from anyio import to_thread

from mdagent_mcp.cli.startup import data_directory
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.clock import Clock, SystemClock
from mdagent_mcp.domain.service import MarketData

_NOW = timedelta(0)


@dataclass(frozen=True, slots=True)
class Opening:
    """What is needed to open the engine.

    Attributes:
        settings: validated.
        clock: the engine's time, within trading hours where the market is simulated.
        simulated: whether the sandbox answers for every source.
    """

    settings: Settings
    clock: Clock
    simulated: bool

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

    settings = opening.settings
    async with open_app(settings, clock=opening.clock, data_dir=data_directory(settings)) as service:
        yield service


@asynccontextmanager
async def _over_sandbox(opening: Opening) -> AsyncIterator[MarketData]:
    for module in ("mdagent_mcp.app", "mdagent_mcp.sandbox.app"):
        await to_thread.run_sync(importlib.import_module, module)
    from mdagent_mcp.app import open_app  # noqa: PLC0415 - imported by the thread
    from mdagent_mcp.cli import simulation  # noqa: PLC0415 - for simulated prices only
    from mdagent_mcp.sandbox.server import running_sandbox  # noqa: PLC0415 - for simulated prices only

    data_dir = simulation.simulated_data_directory(data_directory(opening.settings))
    async with running_sandbox(opening.clock) as sandbox:
        settings = simulation.simulated_settings(opening.settings, sandbox)
        async with open_app(settings, clock=opening.clock, data_dir=data_dir) as service:
            yield simulation.SimulatedMarketData(service)
