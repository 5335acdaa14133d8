"""Quotes among replicas: what one has asked for, the others judge for themselves.

The rule of this module: what travels are the sources' own quotes, never an answer. Whoever takes them over judges them
with its own memory, under an evidence id of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final

from mdagent_mcp.cache import Entry
from mdagent_mcp.cache.quote_codec import Said, decode, encode
from mdagent_mcp.cache.shared_flights import Found
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.engine.inquiry import InquiryKey
from mdagent_mcp.engine.shared_flight import SharedFlight

LONGEST_S: Final = 3600.0
"""How long other replicas find what was said about a market that is closed."""
BRIEF_S: Final = 60.0
"""How long a value stays on the server in which a source has a part whose terms forbid storing."""

Accept = Callable[[InquiryKey, Entry[Said]], bool]
"""Takes over what was said elsewhere; False when it does not do for the question."""


class QuoteSharing:
    """Shares quotes through the server.

    Args:
        flight: single flight across replicas.
        clock: time.
        sources: source ids there are.
        brief: those whose terms forbid storing: with them a value is left for a moment only.
    """

    def __init__(
        self, flight: SharedFlight, clock: Clock, sources: Collection[str], *, brief: Collection[str] = ()
    ) -> None:
        self._flight = flight
        self._clock = clock
        self._sources = frozenset(sources)
        self._brief = frozenset(brief)

    async def consult(self, keys: Sequence[InquiryKey], accept: Accept) -> None:
        """Offer what other replicas know, or are just finding out; return when the rest is ours to ask about."""
        names: Mapping[str, InquiryKey] = {_name(key): key for key in keys}

        def take(name: str, found: Found) -> bool:
            now = self._clock.now()
            said = decode(names[name].symbol, self._sources, found.body, now)
            return said is not None and accept(names[name], Entry(said, now - timedelta(seconds=found.age_s)))

        await self._flight.consult(names, take)

    def tell(self, key: InquiryKey, quotes: Sequence[Quote], failures: Sequence[Failure], kept_s: float) -> None:
        """Leave for the others what was said, for so long."""
        brief = any(quote.source in self._brief for quote in quotes)
        kept_s = min(kept_s, BRIEF_S if brief else LONGEST_S)
        self._flight.tell(_name(key), encode(quotes, failures), kept_s=kept_s)

    def gave_up(self, key: InquiryKey) -> None:
        """There is no answer: whoever waits for one asks now."""
        self._flight.tell(_name(key), None, kept_s=0.0)


def _name(key: InquiryKey) -> str:
    return "|".join((key.symbol, ",".join(key.sources), key.min_grade or ""))
