"""Telling other replicas what is rested here, and hearing what they rest: a hint, on which each decides for itself.

The rule of this module: what others say never rests more than half of the sources that could be asked, and never the
last one; whatever has answered us since they said it is not rested.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from mdagent_mcp.cache.histories import HistoryCache
from mdagent_mcp.cache.shared_server import SharedServer, SharedServerError
from mdagent_mcp.cache.shared_signals import WRONG_PRICES, Opening, SharedSignals
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.engine.parts import OUT_OF_USE
from mdagent_mcp.transport.breaking import Trouble
from mdagent_mcp.transport.source import Source

EVERY_S: Final = 1.0
"""Seconds between two exchanges."""
_SAME_S: Final = 0.5
"""Two instants of retry so close together are of one break."""
_Cell = tuple[str, str]


def may_rest(resting: int, usable: int) -> bool:
    """Whether one more source may be rested because others rest it.

    Args:
        resting: sources that are rested already, for whatever reason.
        usable: sources that could be asked if none were rested.
    """
    return 2 * (resting + 1) <= usable


class Signalling:
    """Exchanges signals with the other replicas.

    Args:
        signals: on the server.
        server: to notice that it was lost and is back.
        sources: by id.
        histories: whose past prices are forgotten when others found them corrected.
        clock: time.
    """

    def __init__(
        self,
        signals: SharedSignals,
        server: SharedServer,
        sources: Mapping[str, Source],
        histories: HistoryCache,
        clock: Clock,
    ) -> None:
        self._signals = signals
        self._server = server
        self._sources = sources
        self._histories = histories
        self._clock = clock
        self._known: dict[_Cell, float] = {}
        self._heeded: set[tuple[str, str, str, int]] = set()
        self._corrected: list[str] = []
        self._losses = server.losses

    def corrected(self, symbol: str) -> None:
        """A source corrected past prices: the others forget theirs of this instrument."""
        self._corrected.append(symbol)

    async def run(self) -> None:
        """Exchange signals until cancelled."""
        while True:
            await self.exchange()
            await self._clock.sleep(EVERY_S)

    async def exchange(self) -> None:
        """Tell what is new and heed what is heard; without the server what is new is told later."""
        new, corrected = self._new_openings(), tuple(self._corrected)
        try:
            heard = await self._signals.exchange(tuple(new.values()), corrected)
        except SharedServerError:
            return
        now = self._clock.monotonic()
        self._known.update({cell: now + opening.rest_s for cell, opening in new.items()})
        del self._corrected[: len(corrected)]
        if self._server.losses != self._losses:
            # What the others found corrected meanwhile may be lost with the server.
            self._losses = self._server.losses
            self._histories.doubt()
        for symbol in heard.corrected:
            if symbol not in corrected:
                self._histories.forget(symbol, heard=True)
        self._heed(heard.openings)

    def _new_openings(self) -> dict[_Cell, Opening]:
        """Circuits of sources and endpoints that we opened ourselves and have not told."""
        now, found = self._clock.monotonic(), dict[_Cell, Opening]()
        for name, source in self._sources.items():
            for trouble in source.breaker.troubles():
                cell = (name, str(trouble.cell.endpoint or ""))
                told = self._known.get(cell)
                is_new = told is None or abs(told - (now + trouble.retry_in_s)) > _SAME_S
                if not trouble.cell.symbol and trouble.retry_in_s > 0 and is_new:
                    found[cell] = Opening(name, trouble.cell.endpoint, _reason(trouble), trouble.retry_in_s)
        return found

    def _heed(self, openings: Collection[Opening]) -> None:
        now = self._clock.monotonic()
        current = {_identity(opening): opening for opening in openings if opening.source in self._sources}
        for identity in current.keys() - self._heeded:
            self._heed_one(current[identity], now)
        self._heeded = set(current)

    def _heed_one(self, opening: Opening, now: float) -> None:
        if opening.endpoint is None and not may_rest(*self._standing()):
            return
        told = f"another replica found: {opening.because.replace('_', ' ')}"
        breaker = self._sources[opening.source].breaker
        if breaker.warn(opening.endpoint, opening.rest_s, opening.told_ago_s, told):
            wait = max((t.retry_in_s for t in breaker.troubles() if t.cell.endpoint is opening.endpoint), default=0.0)
            self._known[opening.source, str(opening.endpoint or "")] = now + wait

    def _standing(self) -> tuple[int, int]:
        """How many sources are rested, and how many could be asked if none were."""
        states = [source.state() for source in self._sources.values()]
        usable = [state for state in states if state not in OUT_OF_USE]
        return sum(state is SourceState.OPEN for state in usable), len(usable)


def _identity(opening: Opening) -> tuple[str, str, str, int]:
    """What tells an opening from the next one of the same circuit."""
    return opening.replica, opening.source, str(opening.endpoint or ""), opening.told_at


def _reason(trouble: Trouble) -> str:
    """The kind of failure alone: no text of a vendor travels."""
    kind = trouble.because.partition(":")[0]
    return kind if kind in set(FailureKind) else WRONG_PRICES
