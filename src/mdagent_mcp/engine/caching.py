"""What is known, where it is kept and with whom it is shared, put together from plain options.

The rule of this module: it is built before the background work begins and closed after that has ended, so that what
waits to be written is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mdagent_mcp.cache.histories import HistoryCache, HistoryShelf
from mdagent_mcp.cache.history_file import FileLimits, HistoryFile
from mdagent_mcp.cache.history_server import HistoryServer
from mdagent_mcp.cache.shared_flights import SharedFlights
from mdagent_mcp.cache.shared_server import TIMEOUT_S, SharedServer
from mdagent_mcp.cache.shared_signals import SharedSignals
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.isolation import run_isolated
from mdagent_mcp.domain.vendor import Storing
from mdagent_mcp.engine.flight import Spawn
from mdagent_mcp.engine.quote_sharing import QuoteSharing
from mdagent_mcp.engine.shared_flight import FOLLOW_S, SharedFlight
from mdagent_mcp.engine.signals import Signalling
from mdagent_mcp.transport.source import Source

STORED_ON_SERVER_S: Final = 86_400.0
"""How long other replicas find a series whose source allows storing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachingOptions:
    """Where past prices are kept, and with whom what is known is shared.

    Attributes:
        bars: bars kept in memory.
        file: where series are kept on disk; None for nowhere.
        file_limits: how much is kept there.
        stored: sources whose series may be kept there.
        origins: source id -> what its replies depend on beside the question: address, plan, entitlement.
        url: of the server that replicas share; None for a replica that is alone.
        timeout_s: limit of a command on it.
        follow_s: how long a question waits for other replicas at most, seconds.
        series_s: how long a series stays on the server whose source says nothing about storing.
    """

    bars: int = 200_000
    file: Path | None = None
    file_limits: FileLimits = field(default_factory=FileLimits)
    stored: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    timeout_s: float = TIMEOUT_S
    follow_s: float = FOLLOW_S
    series_s: float = 60.0


class Caching:
    """The cache of past prices, its stores and what replicas share.

    Args:
        options: where and with whom.
        sources: by id.
        clock: time.

    Attributes:
        histories: what is known of past prices.
    """

    def __init__(self, options: CachingOptions, sources: Mapping[str, Source], clock: Clock) -> None:
        self._clock = clock
        self._sources = sources
        self._follow_s = options.follow_s
        self._server = None if options.url is None else SharedServer(options.url, clock, timeout_s=options.timeout_s)
        self._space = digest(*(f"{name} {origin}" for name, origin in sorted(options.origins.items())))
        self._file: HistoryFile | None = None
        self._shelf: HistoryServer | None = None
        self._signalling: Signalling | None = None
        shelves: list[HistoryShelf] = []
        if self._server is not None:
            self._shelf = HistoryServer(self._server, self._space, clock, self._kept_s(options))
            shelves.append(self._shelf)
        if options.file is not None and options.stored:
            origins = {name: digest(options.origins.get(name, "")) for name in options.stored}
            self._file = HistoryFile(options.file, clock, origins, options.file_limits)
            shelves.append(self._file)
        self.histories = HistoryCache(options.bars, shelves)
        if self._server is not None:
            signals = SharedSignals(self._server, self._space)
            self._signalling = Signalling(signals, self._server, sources, self.histories, clock)

    def corrected(self, symbol: str) -> None:
        """A source corrected past prices: other replicas forget theirs of this instrument."""
        if self._signalling is not None:
            self._signalling.corrected(symbol)

    def quote_sharing(self, spawn: Spawn) -> QuoteSharing | None:
        """Quotes among replicas; None for one that is alone."""
        flight = self._flight("quote", spawn)
        if flight is None:
            return None
        forbidden = {name for name, s in self._sources.items() if s.vendor.storing is Storing.FORBIDDEN}
        return QuoteSharing(flight, self._clock, self._sources, brief=forbidden)

    def history_flight(self, spawn: Spawn) -> SharedFlight | None:
        """Histories that replicas ask for once; None for one that is alone."""
        return self._flight("history", spawn)

    def start(self, spawn: Spawn) -> None:
        """Begin to write behind and to exchange signals."""
        if self._file is not None:
            spawn(run_isolated, "the writing of past prices", self._file.run)
        if self._shelf is not None:
            spawn(run_isolated, "the sharing of past prices", self._shelf.run)
        if self._signalling is not None:
            spawn(run_isolated, "the exchange with other replicas", self._signalling.run)

    async def aclose(self) -> None:
        """Write what is waiting and close file and connections."""
        if self._file is not None:
            await self._file.aclose()
        if self._server is not None:
            await self._server.aclose()

    def _flight(self, kind: str, spawn: Spawn) -> SharedFlight | None:
        if self._server is None:
            return None
        flights = SharedFlights(self._server, self._space, kind)
        return SharedFlight(flights, self._clock, spawn, follow_s=self._follow_s)

    def _kept_s(self, options: CachingOptions) -> dict[str, float]:
        """How long the series of each source may stay on the server."""
        kept = {}
        for name, source in self._sources.items():
            forbidden = source.vendor.storing is Storing.FORBIDDEN
            kept[name] = 0.0 if forbidden else STORED_ON_SERVER_S if name in options.stored else options.series_s
        return kept


def digest(*texts: str) -> str:
    """A short name for what these texts say together."""
    return hashlib.blake2s("\n".join(texts).encode(), digest_size=8, person=b"caching").hexdigest()
