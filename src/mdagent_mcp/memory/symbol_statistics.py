"""How an instrument behaves, learned from answers: volatility and spread by time of day, price step, stamps' lag.

The rule of this module: pure, like `learning`, and with the same `combine`: earlier knowledge joined with later.
Volatility and spread are clipped exponentially weighted means of absolute deviations: a mean of squares would be
inflated fifteenfold by one bad price in a hundred, a clipped mean of absolute values by a tenth less than nothing
(measured on fifteen-second returns with spikes of 20 to 400 deviations).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.answers import QuoteAnswer, VoiceVerdict
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Dimension, Grade, at_least
from mdagent_mcp.memory.symbols import SymbolKnowledge

LOWEST_GRADE: Final = Grade.B
HALF_LIFE: Final = 200.0
"""Samples after which a sample counts half: about five sessions of a half hour asked forty times."""
PLAIN_SAMPLES: Final = 30
"""Samples that are averaged plainly before clipping begins."""
CLIP: Final = 4.0
"""A sample counts as at most so many standard deviations."""
NORMAL_RATIO: Final = 1.2533
"""Standard deviation of a normal variable divided by its mean absolute value, sqrt(pi / 2)."""
STAMPS_HALF_LIFE: Final = 500.0
MOST_SAMPLES: Final = 100_000
_SHORTEST_STEP_S: Final = 1.0
_LONGEST_STEP_S: Final = 600.0
_MOST_SOURCES: Final = 12
_FEWEST_STAMPS: Final = 30.0
_MOST_DECIMALS: Final = 8
_ON_GRID: Final = 0.9
_LAG_UNIT_S: Final = 0.5
_LAG_STEP: Final = 0.1
_TAKEN: Final = frozenset({VoiceVerdict.SERVED, VoiceVerdict.AGREES})


@dataclass(frozen=True, slots=True)
class ClippedMean:
    """A clipped, exponentially weighted mean of absolute values.

    Attributes:
        mean: of the absolute values.
        samples: how many are behind it, at most `MOST_SAMPLES`.
    """

    mean: float
    samples: int

    @property
    def deviation(self) -> float:
        """The standard deviation of a normal variable with this mean absolute value."""
        return NORMAL_RATIO * self.mean


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolStatistics:
    """What is known of an instrument's behaviour.

    Attributes:
        symbol: canonical symbol.
        updated_at: instant of the newest sample, epoch seconds.
        volatility: half hour of the exchange's day (0 to 47) -> mean absolute log return per square root of seconds.
        spread: half hour of the exchange's day -> mean relative bid-ask spread.
        decimals: digits after the point -> weight of the prices that have as many.
        lags: source -> logarithmic bucket of the seconds from event time to receipt -> weight.
    """

    symbol: str
    updated_at: float
    volatility: Mapping[int, ClippedMean] = field(default_factory=dict)
    spread: Mapping[int, ClippedMean] = field(default_factory=dict)
    decimals: Mapping[int, float] = field(default_factory=dict)
    lags: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    def volatility_at(self, instant: datetime, fewest: int) -> float | None:
        """Standard deviation of the log price over one second at that time of day, else of the whole day.

        None while it rests on fewer samples than `fewest`.
        """
        found = self._at(self.volatility, instant, fewest)
        return None if found is None or found.mean <= 0 else found.deviation

    def spread_at(self, instant: datetime, fewest: int) -> float | None:
        """Relative spread at that time of day, else of the whole day; None while there are too few samples."""
        found = self._at(self.spread, instant, fewest)
        return None if found is None else min(found.mean, 0.5)

    @property
    def tick(self) -> float | None:
        """The coarsest power of ten on whose grid nine in ten prices lie; None before there are enough."""
        total = sum(self.decimals.values())
        if total < PLAIN_SAMPLES:
            return None
        reached = 0.0
        for digits in sorted(self.decimals):
            reached += self.decimals[digits]
            if reached >= _ON_GRID * total:
                return float(10.0**-digits)
        return None

    def gap_q95_s(self, source: str) -> float | None:
        """By how much a source's stamps usually lag more than its most punctual ones, 95 % of the time.

        For a source that stamps its last trade, this is how long ago that trade may be without anything being late.
        None while there are too few samples.
        """
        return self.gap_s(source, 0.95)

    def gap_s(self, source: str, share: float) -> float | None:
        """The same for any share of the time: the quantile of how long ago its last trade was."""
        lags = self.lags.get(source, {})
        if sum(lags.values()) < _FEWEST_STAMPS:
            return None
        return max(0.0, _lag_quantile(lags, share) - _lag_quantile(lags, 0.02))

    def _at(self, means: Mapping[int, ClippedMean], instant: datetime, fewest: int) -> ClippedMean | None:
        found = means.get(half_hour(self.symbol, instant))
        if found is not None and found.samples >= fewest:
            return found
        samples = sum(m.samples for m in means.values())
        if samples < fewest:
            return None
        return ClippedMean(sum(m.mean * m.samples for m in means.values()) / samples, samples)


def learn_statistics(answer: QuoteAnswer, before: SymbolKnowledge | None) -> SymbolStatistics | None:
    """What one answer teaches; None when it is not to be learned from.

    Args:
        answer: fresh, of regular trading, graded B or better and confirmed by a second independent source: a price
            that only one source vouches for must not widen what is believed of the next.
        before: what was known of the instrument before this answer.
    """
    usable = not answer.cached and answer.session is Session.REGULAR and at_least(answer.grade, LOWEST_GRADE)
    if not usable or answer.explanation.assessment.dimensions[Dimension.CORROBORATION] < 90:
        return None
    bucket = half_hour(answer.symbol, answer.judged_at)
    step = _step(answer, before)
    spread = _relative_spread(answer)
    taken = [v for v in answer.explanation.voices if v.verdict in _TAKEN and v.session is Session.REGULAR]
    return SymbolStatistics(
        symbol=answer.symbol,
        updated_at=answer.judged_at.timestamp(),
        volatility={} if step is None else {bucket: ClippedMean(step, 1)},
        spread={} if spread is None else {bucket: ClippedMean(spread, 1)},
        decimals={_decimals(answer.price): 1.0},
        lags={
            v.source: {_lag_bucket((v.received_at - v.event_time).total_seconds()): 1.0}
            for v in taken[:_MOST_SOURCES]
            if v.event_time is not None
        },
    )


def combine_statistics(older: SymbolStatistics, newer: SymbolStatistics) -> SymbolStatistics:
    """Both, the older part discounted for the samples since."""
    return SymbolStatistics(
        symbol=newer.symbol,
        updated_at=max(older.updated_at, newer.updated_at),
        volatility=_joined_means(older.volatility, newer.volatility),
        spread=_joined_means(older.spread, newer.spread),
        decimals=_joined_weights(older.decimals, newer.decimals),
        lags={
            source: _joined_weights(older.lags.get(source, {}), newer.lags.get(source, {}))
            for source in sorted({*older.lags, *newer.lags})[:_MOST_SOURCES]
        },
    )


def combine_means(older: ClippedMean, newer: ClippedMean) -> ClippedMean:
    """Both; what is new is clipped once enough is known to tell what is usual."""
    samples = min(older.samples + newer.samples, MOST_SAMPLES)
    if older.samples < PLAIN_SAMPLES:
        total = older.samples + newer.samples
        return ClippedMean((older.mean * older.samples + newer.mean * newer.samples) / total, samples)
    share = 1.0 - math.exp2(-newer.samples / HALF_LIFE)
    clipped = min(newer.mean, CLIP * NORMAL_RATIO * older.mean) if older.mean > 0 else newer.mean
    return ClippedMean(older.mean + share * (clipped - older.mean), samples)


def to_text(statistics: SymbolStatistics) -> str:
    """Compact JSON for the store."""
    return json.dumps(
        {
            "volatility": {k: [m.mean, m.samples] for k, m in statistics.volatility.items()},
            "spread": {k: [m.mean, m.samples] for k, m in statistics.spread.items()},
            "decimals": {k: round(w, 4) for k, w in statistics.decimals.items()},
            "lags": {s: {k: round(w, 4) for k, w in lags.items()} for s, lags in statistics.lags.items()},
        },
        separators=(",", ":"),
    )


def from_text(symbol: str, updated_at: float, text: str) -> SymbolStatistics:
    """Read what `to_text` wrote; what is something else is forgotten, since it is soon learned again."""
    try:
        body: Any = json.loads(text)
        return SymbolStatistics(
            symbol=symbol,
            updated_at=updated_at,
            volatility={int(k): ClippedMean(float(m), int(n)) for k, (m, n) in body["volatility"].items()},
            spread={int(k): ClippedMean(float(m), int(n)) for k, (m, n) in body["spread"].items()},
            decimals={int(k): float(w) for k, w in body["decimals"].items()},
            lags={s: {int(k): float(w) for k, w in lags.items()} for s, lags in body["lags"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return SymbolStatistics(symbol=symbol, updated_at=updated_at)


def half_hour(symbol: str, instant: datetime) -> int:
    """Which half hour of the exchange's day an instant falls in, 0 to 47."""
    local = instant.astimezone(_zone(symbol))
    return local.hour * 2 + local.minute // 30


@lru_cache(maxsize=4096)
def _zone(symbol: str) -> ZoneInfo:
    try:
        return calendar_named(parse_symbol(symbol).calendar).zone
    except InvalidSymbolError:
        return ZoneInfo("UTC")


def _step(answer: QuoteAnswer, before: SymbolKnowledge | None) -> float | None:
    """Absolute log return since the last learned price per square root of the seconds between."""
    if before is None or before.price <= 0:
        return None
    elapsed = answer.judged_at.timestamp() - before.price_at
    if not _SHORTEST_STEP_S <= elapsed <= _LONGEST_STEP_S:
        return None
    return abs(math.log(answer.price / before.price)) / math.sqrt(elapsed)


def _relative_spread(answer: QuoteAnswer) -> float | None:
    if answer.bid is None or answer.ask is None or not 0 < answer.bid <= answer.ask:
        return None
    return (answer.ask - answer.bid) / answer.price


def _decimals(price: float) -> int:
    exponent = Decimal(f"{price:.10g}").normalize().as_tuple().exponent
    return min(_MOST_DECIMALS, max(0, -exponent)) if isinstance(exponent, int) else 0


def _lag_bucket(lag_s: float) -> int:
    """Buckets as wide as a twentieth of a second around zero and as a tenth of the lag far from it."""
    return round(math.asinh(lag_s / _LAG_UNIT_S) / _LAG_STEP)


def _lag_quantile(lags: Mapping[int, float], share: float) -> float:
    wanted = share * sum(lags.values())
    reached = 0.0
    for bucket in sorted(lags):
        reached += lags[bucket]
        if reached >= wanted:
            return math.sinh(bucket * _LAG_STEP) * _LAG_UNIT_S
    return math.sinh(max(lags) * _LAG_STEP) * _LAG_UNIT_S


def _joined_means(older: Mapping[int, ClippedMean], newer: Mapping[int, ClippedMean]) -> dict[int, ClippedMean]:
    joined = dict(older)
    for key, mean in newer.items():
        joined[key] = combine_means(joined[key], mean) if key in joined else mean
    return joined


def _joined_weights(older: Mapping[int, float], newer: Mapping[int, float]) -> dict[int, float]:
    kept = math.exp2(-sum(newer.values()) / STAMPS_HALF_LIFE)
    joined = {key: weight * kept for key, weight in older.items() if weight * kept >= 1e-3}
    for key, weight in newer.items():
        joined[key] = joined.get(key, 0.0) + weight
    return joined
