"""By how much each source differs from the others, field by field: signed bias and dispersion.

The rule of this module: pure, like `learning`, and with the same `combine`: earlier knowledge joined with later. A
source is only ever compared with what at least two other upstream groups state, never with a consensus it is part of.
Both figures are clipped, exponentially weighted means of logarithms: one gross error among a hundred moves neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median_low
from typing import Final, NamedTuple

from mdagent_mcp.domain.answers import QuoteAnswer, Voice, VoiceVerdict
from mdagent_mcp.domain.events import Compared
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.memory.learning import asset_class
from mdagent_mcp.memory.symbol_statistics import CLIP, NORMAL_RATIO, PLAIN_SAMPLES

HALF_LIFE: Final = 100.0
"""Comparisons after which a comparison counts half."""
MOST_SAMPLES: Final = 100_000
LARGEST_ERROR: Final = math.log(100.0)
"""A statement that is off by more than a hundredfold says nothing about a bias."""
OTHER_GROUPS: Final = 2
"""Upstream groups, the source's own not counted, that make a reference."""
PRICE: Final = "price"
_TAKEN: Final = frozenset({VoiceVerdict.SERVED, VoiceVerdict.AGREES})
_COMPARABLE: Final = _TAKEN | {VoiceVerdict.DIFFERS, VoiceVerdict.OUTLIER}


class DeviationKey(NamedTuple):
    """What a deviation is about.

    Attributes:
        source: source id.
        scope: an asset class as `asset:us_equity`, or a symbol as `symbol:AAPL`.
        field: `price`, `previous_close`, `open`, `high`, `low` or `volume`.
    """

    source: str
    scope: str
    field: str


@dataclass(frozen=True, slots=True)
class Deviation:
    """How a source's statements lie against those of the others.

    Attributes:
        bias: clipped mean of the logarithm of what it said over what the others said.
        spread: clipped mean absolute distance of that logarithm from the bias.
        samples: comparisons behind it, at most `MOST_SAMPLES`.
        updated_at: of the latest one, epoch seconds.
    """

    bias: float
    spread: float
    samples: int
    updated_at: float

    @property
    def ratio(self) -> float:
        """What it usually says, in what the others say: 0.5 where it counts half of the volume."""
        return math.exp(min(max(self.bias, -LARGEST_ERROR), LARGEST_ERROR))

    @property
    def deviation(self) -> float:
        """The standard deviation of a normal variable with this spread."""
        return NORMAL_RATIO * self.spread


def combine_deviations(older: Deviation, newer: Deviation) -> Deviation:
    """Both; once enough is known to tell what is usual, what is new is clipped."""
    total = older.samples + newer.samples
    error = newer.bias
    if older.samples < PLAIN_SAMPLES:
        share = newer.samples / total
    else:
        share = 1.0 - math.exp2(-newer.samples / HALF_LIFE)
        reach = CLIP * NORMAL_RATIO * older.spread
        error = min(max(error, older.bias - reach), older.bias + reach) if reach > 0 else error
    bias = older.bias + share * (error - older.bias)
    apart = max(newer.spread, abs(error - bias))
    return Deviation(
        bias,
        older.spread + share * (apart - older.spread),
        min(total, MOST_SAMPLES),
        max(older.updated_at, newer.updated_at),
    )


def learn_prices(answer: QuoteAnswer) -> Iterator[tuple[DeviationKey, Deviation]]:
    """What an answer's voices teach: each against the middle of the accepted prices of at least two other groups."""
    if answer.cached or answer.session is not Session.REGULAR:
        return
    at = answer.judged_at.timestamp()
    voices = [v for v in answer.explanation.voices if v.session is answer.session and v.weight > 0 and v.price > 0]
    for voice in voices:
        reference = _reference(voice, voices)
        if reference is not None and voice.verdict in _COMPARABLE:
            yield from _about(voice.source, answer.symbol, PRICE, math.log(voice.price / reference), at)


def learn_compared(event: Compared) -> Iterator[tuple[DeviationKey, Deviation]]:
    """What the teacher's comparison of a field teaches; prices are learned from answers."""
    if event.field != PRICE:
        yield from _about(event.source, event.symbol, event.field, event.error, event.at.timestamp())


def _reference(voice: Voice, voices: list[Voice]) -> float | None:
    others: dict[str, float] = {}
    for each in voices:
        if each.verdict in _TAKEN and each.upstream_group != voice.upstream_group:
            others.setdefault(each.upstream_group, each.price)
    return median_low(others.values()) if len(others) >= OTHER_GROUPS else None


def _about(source: str, symbol: str, field: str, error: float, at: float) -> Iterator[tuple[DeviationKey, Deviation]]:
    if not math.isfinite(error) or abs(error) > LARGEST_ERROR:
        return
    sample = Deviation(error, 0.0, 1, at)
    yield DeviationKey(source, f"asset:{asset_class(symbol)}", field), sample
    yield DeviationKey(source, f"symbol:{symbol}", field), sample
