"""What each source said last about an instrument, and since when: the way to see a price or a stamp that stands still.

The rule of this module: kept in RAM only and bounded; after a restart nothing is known until a source was asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from mdagent_mcp.domain.answers import QuoteAnswer, Voice, VoiceVerdict
from mdagent_mcp.domain.quality import Dimension

_NOTHING: Final[Mapping[str, Trace]] = {}
_LEAST_MOVE: Final = 1e-4
"""Least relative change of the served price that counts as a move."""
_LONGEST_SILENCE_S: Final = 900.0
"""After a longer pause between two questions nothing is concluded from what was said before it."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What one source said last.

    Attributes:
        price: its price.
        price_since: when it was first heard, of the unbroken run of answers with that price.
        stamp: its event time; None when it states none.
        stamp_since: when that event time was first heard.
        seen_at: when it was last heard.
        market_moves: how often the price of confirmed answers moved since `price_since`.
    """

    price: float
    price_since: datetime
    stamp: datetime | None
    stamp_since: datetime
    seen_at: datetime
    market_moves: int = 0


@dataclass(slots=True)
class TraceBook:
    """Traces by symbol and source; the symbol touched longest ago is forgotten first.

    Attributes:
        most_symbols: how many instruments are kept.
    """

    most_symbols: int = 2_000
    _traces: dict[str, dict[str, Trace]] = field(default_factory=dict)
    _served: dict[str, tuple[float, datetime]] = field(default_factory=dict)

    def note(self, answer: QuoteAnswer) -> None:
        """Take note of what every source said in an answer that was just judged."""
        if answer.cached:
            return
        symbol = answer.symbol
        known = self._traces.pop(symbol, {})
        moved = self._moved(answer)
        for voice in answer.explanation.voices:
            if voice.verdict is not VoiceVerdict.OTHER_SESSION:
                known[voice.source] = _continued(known.get(voice.source), voice, moved=moved)
        self._traces[symbol] = known
        while len(self._traces) > self.most_symbols:
            oldest = next(iter(self._traces))
            del self._traces[oldest]
            self._served.pop(oldest, None)

    def of(self, symbol: str) -> Mapping[str, Trace]:
        """What every source said last about `symbol`."""
        return self._traces.get(symbol, _NOTHING)

    def last_confirmed(self, symbol: str) -> tuple[float, datetime] | None:
        """The last price of `symbol` that two independent sources stated, and when it was judged."""
        return self._served.get(symbol)

    def _moved(self, answer: QuoteAnswer) -> bool:
        """Whether the price of confirmed answers has moved since the last one."""
        if answer.explanation.assessment.dimensions[Dimension.CORROBORATION] < 90:
            return False
        last = self._served.get(answer.symbol)
        self._served[answer.symbol] = (answer.price, answer.judged_at)
        return last is not None and abs(answer.price / last[0] - 1) >= _LEAST_MOVE


def _continued(trace: Trace | None, voice: Voice, *, moved: bool) -> Trace:
    at = voice.received_at
    if trace is None or (at - trace.seen_at).total_seconds() > _LONGEST_SILENCE_S:
        return Trace(voice.price, at, voice.event_time, at, at)
    if at <= trace.seen_at:
        return trace
    same_stamp = voice.event_time == trace.stamp
    trace = replace(trace, seen_at=at, stamp=voice.event_time, stamp_since=trace.stamp_since if same_stamp else at)
    if voice.price != trace.price:
        return replace(trace, price=voice.price, price_since=at, market_moves=0)
    return replace(trace, market_moves=trace.market_moves + (1 if moved else 0))
