"""A whole server in one process for chaos runs: a real MCP client, the real engine, six sources of the sandbox.

Between them lie a network, a disk and a clock that fail as an `Episode` says; nothing waits in real time.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import anyio
import httpx
from mcp import Client
from mcp.types import TextContent

from chaos_calls import NAMELESS, Asked
from chaos_clock import EventClock, SkewedClock
from chaos_disk import Disk
from chaos_network import ChaosLine, Network
from chaos_plan import SOURCES, Episode
from chaos_valkey import KillableValkey
from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import load
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.service import MarketData
from mdagent_mcp.sandbox.app import Desk, app_of
from mdagent_mcp.sandbox.faults import FaultBoard, FaultKind, Faults
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.server.server import build_server

START: Final = datetime(2026, 11, 24, 15, 0, 20, tzinfo=UTC)
"""Tuesday 10:00:20 in New York: half an hour after the opening."""
SEED: Final = 11
LONGEST_S: Final = 40.0
"""A call that has not ended by then, by the true clock, is cut off and counts as one that never ends."""
ROOMY_KEYS: Final = {
    "finnhub": ("premium-key", "premium"),
    "twelve_data": ("ultra-key", "ultra"),
    "tiingo": ("power-key", "power"),
}
TIGHT_KEYS: Final = {
    "finnhub": ("sandbox-key", "free"),
    "twelve_data": ("basic-key", "basic"),
    "tiingo": ("free-key", "starter"),
}


@dataclass
class ChaosWorld:
    """What a chaos run plays in.

    Attributes:
        client: the agent.
        clock: the true time.
        skewed: the server's.
        desk: the sandbox's books and faults.
        network: between server and vendors.
        disk: under the data directory.
        valkey: keeps the budgets; None where the disk does.
        episode: what goes wrong now.
    """

    client: Client
    clock: EventClock
    skewed: SkewedClock
    desk: Desk
    network: Network
    disk: Disk
    valkey: KillableValkey | None = None
    episode: Episode = field(default_factory=lambda: Episode(0.0))

    def begin(self, episode: Episode) -> None:
        """Let other things go wrong from now on."""
        self.episode = episode
        faults = Faults.parse(episode.sandbox)
        self.desk.board.replace(faults)
        self.network.faults = episode.links
        self.network.throttled = frozenset(f.vendor for f in faults.items if f.kind is FaultKind.THROTTLE)
        self.disk.state = episode.disk
        if self.valkey is not None:
            self.valkey.set_down(down=episode.valkey_down)
        self.skewed.offset_s = episode.offset_s

    async def run(self, *calls: Asked) -> None:
        """Make these calls at the same time and let the clock run until all have ended."""
        async with anyio.create_task_group() as tasks:
            for asked in calls:
                tasks.start_soon(self._one, asked)
            await self.clock.run_until(lambda: all(a.ended is not None for a in calls), LONGEST_S)
            tasks.cancel_scope.cancel()

    async def _one(self, asked: Asked) -> None:
        asked.started = self.clock.monotonic()
        try:
            if asked.give_up_s is None:
                await self._ask(asked)
            else:
                with self.clock.limit(asked.give_up_s):
                    await self._ask(asked)
        except TimeoutError:
            asked.cancelled = True
        except Exception as error:  # noqa: BLE001 - whatever escapes is what is looked for
            asked.raised = f"{type(error).__name__}: {error}"
        asked.ended = self.clock.monotonic()

    async def _ask(self, asked: Asked) -> None:
        result = await self.client.call_tool(asked.tool, asked.arguments)
        asked.content = dict(result.structured_content or {})
        asked.is_error = bool(result.is_error)
        block = result.content[0]
        asked.text = block.text if isinstance(block, TextContent) else ""
        for quote in asked.content.get("quotes", ()):
            if quote["symbol"] in NAMELESS:
                asked.denied[quote["symbol"]] = await self._denied(quote["evidence_id"])

    async def _denied(self, evidence_id: str) -> frozenset[str]:
        """Which sources said of the symbol of an answer that they do not know it."""
        result = await self.client.call_tool("explain_quality", {"evidence_id": evidence_id})
        said = dict(result.structured_content or {}).get("unanswered", {})
        return frozenset(source for source, why in said.items() if why.startswith(FailureKind.UNKNOWN_SYMBOL))


def settings_of(*, tight: bool, shared_url: str | None = None) -> Settings:
    """The server's settings.

    Args:
        tight: whether keys have the smallest plans, so that quotas are what is scarce.
        shared_url: of a Valkey server that keeps the budgets.
    """
    environ = {f"MDAGENT_SOURCES__{s.upper()}__BASE_URL": f"http://127.0.0.1/{s}" for s in SOURCES}
    for source, (key, plan) in (TIGHT_KEYS if tight else ROOMY_KEYS).items():
        environ[f"MDAGENT_SOURCES__{source.upper()}__API_KEY"] = key
        environ[f"MDAGENT_SOURCES__{source.upper()}__PLAN"] = plan
        # Otherwise what costs is asked last, and in such a run hardly ever.
        environ[f"MDAGENT_SOURCES__{source.upper()}__COST_PER_CALL"] = "0"
    if shared_url is not None:
        environ["MDAGENT_SHARED__URL"] = shared_url
    return load(environ).settings


@cache
def _market() -> SimulatedMarket:
    """The one market of all runs, which is a pure function and costs time to walk through."""
    return SimulatedMarket(SEED)


def forget_market() -> None:
    """Empty the market's tables of what it has worked out before."""
    for table in vars(_market()._process).values():  # noqa: SLF001 - nobody else has a use for this
        if hasattr(table, "cache_clear"):
            table.cache_clear()


@dataclass
class Outside:
    """What outlives a server: the vendors, the network and the disk.

    Attributes:
        clock: the true time.
        desk: the sandbox's books and faults.
        network: between server and vendors.
        disk: under the data directory.
        app: the sandbox.
        valkey: keeps the budgets; None where the disk does.
    """

    clock: EventClock
    desk: Desk
    network: Network
    disk: Disk
    app: httpx.ASGITransport
    valkey: KillableValkey | None = None

    @classmethod
    def of(cls, seed: int, clock: EventClock) -> Outside:
        """All well."""
        desk = Desk(_market(), clock, FaultBoard(Faults(), seed))
        network = Network(clock, seed)
        return cls(clock, desk, network, Disk(), httpx.ASGITransport(app_of(desk)))


@asynccontextmanager
async def chaos_world(
    seed: int, settings: Settings, outside: Outside, data_dir: Path | None
) -> AsyncIterator[ChaosWorld]:
    """A server and a client; all is well until an episode begins.

    Args:
        seed: of the engine's chance.
        settings: the server's.
        outside: its disk is installed under every database by the caller.
        data_dir: where memory is kept.
    """
    clock, network = outside.clock, outside.network
    skewed = SkewedClock(clock)

    def opened() -> AbstractAsyncContextManager[MarketData]:
        return open_app(
            settings,
            clock=skewed,
            data_dir=data_dir,
            open_transport=lambda vendor: ChaosLine(vendor, network, outside.app),
            rng=random.Random(f"engine {seed}"),
        )

    async with Client(build_server(opened, skewed, "test")) as client:
        # The engine opens in the background, in real time; the run begins when it is open.
        await client.call_tool("source_status", {})
        yield ChaosWorld(client, clock, skewed, outside.desk, network, outside.disk, outside.valkey)
