"""What each source said last about an instrument, and since when: the way to see a price or a stamp that stands still.

The rule of this module: kept in RAM only and bounded; after a restart nothing is known until a source was asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mdagent_mcp.domain.answers import QuoteAnswer, Voice, VoiceVerdict
from mdagent_mcp.domain.quality import Dimension, Grade

_NOTHING: Final[Mapping[str, Trace]] = {}
_FIRST_STAYS: Final = (2.0, 4.0)
"""Stays and steps that are assumed of an instrument before it was watched."""
_KEPT: Final = 0.995
"""What a step counts after another one: half after 140 of them."""
_SUSPECT: Final = 0.05
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
        market_price: the confirmed price when it was last heard; None before there was one.
        stay_chance: with which a healthy source's price would stand still for that long, given how often the price of
            confirmed answers moved meanwhile.
    """

    price: float
    price_since: datetime
    stamp: datetime | None
    stamp_since: datetime
    seen_at: datetime
    market_price: float | None = None
    stay_chance: float = 1.0


@dataclass(slots=True)
class TraceBook:
    """Traces by symbol and source; the symbol touched longest ago is forgotten first.

    Attributes:
        most_symbols: how many instruments are kept.
    """

    most_symbols: int = 2_000
    _traces: dict[str, dict[str, Trace]] = field(default_factory=dict)
    _served: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    _stays: dict[str, tuple[float, float]] = field(default_factory=dict)

    def note(self, answer: QuoteAnswer) -> None:
        """Take note of what every source said in an answer that was just judged."""
        if answer.cached:
            return
        symbol = answer.symbol
        known = self._traces.pop(symbol, {})
        market_price = self._confirmed(answer)
        chance = self._learn_stays(answer, known, market_price)
        for voice in answer.explanation.voices:
            if voice.verdict is not VoiceVerdict.OTHER_SESSION:
                known[voice.source] = _continued(known.get(voice.source), voice, market_price, chance)
        self._traces[symbol] = known
        while len(self._traces) > self.most_symbols:
            oldest = next(iter(self._traces))
            del self._traces[oldest]
            self._served.pop(oldest, None)
            self._stays.pop(oldest, None)

    def of(self, symbol: str) -> Mapping[str, Trace]:
        """What every source said last about `symbol`."""
        return self._traces.get(symbol, _NOTHING)

    def last_confirmed(self, symbol: str) -> tuple[float, datetime] | None:
        """The last price of `symbol` that two independent sources stated, and when it was judged."""
        return self._served.get(symbol)

    def _learn_stays(self, answer: QuoteAnswer, known: Mapping[str, Trace], market_price: float | None) -> float:
        """How often a source's price stays the same while that of confirmed answers moves, this answer included.

        A source that is already suspected of standing still teaches nothing.
        """
        stays, steps = self._stays.get(answer.symbol, _FIRST_STAYS)
        for voice in answer.explanation.voices:
            trace = known.get(voice.source)
            if trace is not None and trace.stay_chance >= _SUSPECT and _is_tested(trace, voice, market_price):
                stays, steps = stays * _KEPT + (voice.price == trace.price), steps * _KEPT + 1.0
        self._stays[answer.symbol] = (stays, steps)
        return stays / steps

    def _confirmed(self, answer: QuoteAnswer) -> float | None:
        """The price when two independent sources stated it and nothing speaks against stating it.

        Two in the wrong unit confirm each other, and by their price the right one of a minute before would look
        like an error.
        """
        if answer.grade is Grade.F or answer.explanation.assessment.dimensions[Dimension.CORROBORATION] < 90:
            return None
        self._served[answer.symbol] = (answer.price, answer.judged_at)
        return answer.price


def _continued(trace: Trace | None, voice: Voice, market_price: float | None, chance: float) -> Trace:
    at = voice.received_at
    if trace is None or (at - trace.seen_at).total_seconds() > _LONGEST_SILENCE_S:
        return Trace(voice.price, at, voice.event_time, at, at, market_price)
    if at <= trace.seen_at:
        return trace
    same_price, same_stamp = voice.price == trace.price, voice.event_time == trace.stamp
    tested = _is_tested(trace, voice, market_price)
    return Trace(
        price=voice.price,
        price_since=trace.price_since if same_price else at,
        stamp=voice.event_time,
        stamp_since=trace.stamp_since if same_stamp else at,
        seen_at=at,
        market_price=market_price if tested or trace.market_price is None else trace.market_price,
        stay_chance=1.0 if not same_price else trace.stay_chance * chance if tested else trace.stay_chance,
    )


def _is_tested(trace: Trace, voice: Voice, market_price: float | None) -> bool:
    """Whether a source claims to have looked again and the confirmed price has moved since it was last compared.

    A last trade that is only repeated claims nothing.
    """
    moved = None not in {market_price, trace.market_price} and market_price != trace.market_price
    return moved and voice.received_at > trace.seen_at and voice.event_time not in {None, trace.stamp}
