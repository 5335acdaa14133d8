"""Streaming through the product's selection: claims in, choice out, and the teacher's word fifteen minutes later.

Everything that decides is the product's: `consensus.selection` (which `judge_quote` uses as well), the track records,
the recalibration and the width of the interval. Here stands only what the engine does in the product: who said what
when, and how volatile a symbol is.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, median_low

from fusion_streams import Query, is_right, tolerance
from mdagent_mcp.consensus.selection import Claim, Known, Selection, interval, select
from mdagent_mcp.consensus.track_knowledge import UNDATED_AGE_S, TrackKnowledge
from mdagent_mcp.memory.symbol_statistics import NORMAL_RATIO, PLAIN_SAMPLES, ClippedMean, combine_means
from mdagent_mcp.resilience.calibration import CalibrationCounts, calibrated, counted
from mdagent_mcp.resilience.latency import EMPTY, LatencyHistogram, decay, record
from mdagent_mcp.resilience.track_record import Comparison, TrackRecord, believed_age_s, compared, fault_probability

FAULT_BAND = 50e-4
DEFAULT_SIGMA = 1e-4
SPREAD = 0.02
NIGHT_S = 23_400.0
OLD_S = 600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one query.

    Attributes:
        query: which.
        price: the chosen claim's own.
        confidence: recalibrated.
        right: within the tolerance.
        covered: the truth lay in the nominal 95 % interval.
        groups: independent sources within tolerance of the choice and fresh.
    """

    query: Query
    price: float
    confidence: float
    right: bool
    covered: bool
    groups: int


class Learner:
    """One stream's state: what the teacher has told so far."""

    def __init__(self, members: Sequence[str]) -> None:
        self._members = members
        self._records: dict[str, TrackRecord] = defaultdict(TrackRecord)
        self._volatility: dict[str, ClippedMean] = {}
        self._last: dict[str, tuple[str, float, float]] = {}
        self._counts = CalibrationCounts()
        self._misses: LatencyHistogram = EMPTY
        self._pending: deque[tuple[Query, float, Selection, float]] = deque()

    def run(self, queries: Iterable[Query]) -> list[Outcome]:
        """Answer every query in order; the truth of each is used only once an authority has told it."""
        outcomes = []
        for query in queries:
            while self._pending and self._is_known(self._pending[0][0], query):
                self._learn(*self._pending.popleft())
            if any(m in query.said for m in self._members):
                outcomes.append(self._answer(query))
        return outcomes

    @staticmethod
    def _is_known(earlier: Query, now: Query) -> bool:
        return earlier.day != now.day or earlier.known_at_s <= now.at_s

    def _variance(self, symbol: str) -> float:
        known = self._volatility.get(symbol)
        return DEFAULT_SIGMA**2 if known is None else max(known.deviation, 1e-6) ** 2

    def _answer(self, query: Query) -> Outcome:
        variance = self._variance(query.symbol)
        said = [(m, *query.said[m]) for m in self._members if m in query.said]
        ages = [believed_age_s(self._records[m], age, UNDATED_AGE_S) for m, _, age in said]
        claims = [
            Claim(math.log(price), variance * max(age, 0.05), fault_probability(self._records[m]), group=m)
            for (m, price, _), age in zip(said, ages, strict=True)
        ]
        chosen = select(claims, self._known(query, [price for _, price, _ in said], ages))
        price = said[chosen.index][1]
        log_price = math.log(price)
        low, high = interval(chosen, log_price)
        step, half = 0.5 * 0.01 / price, max(log_price - low, high - log_price, 1e-9)
        widening = TrackKnowledge(misses={1: self._misses}).widening(1)
        error = abs(log_price - math.log(query.truth))
        self._pending.append((query, price, chosen, half))
        return Outcome(
            query,
            price,
            calibrated(self._counts, chosen.probability),
            is_right(price, query),
            error <= widening * half + step,
            sum(abs(p - price) <= tolerance(price) and age <= 30 for (_, p, _), age in zip(said, ages, strict=True)),
        )

    def _known(self, query: Query, prices: Sequence[float], ages: Sequence[float]) -> Known:
        middle = median_low(prices)
        earlier, drift = None, 0.0
        if query.symbol in self._last:
            day, at_s, earlier = self._last[query.symbol]
            elapsed = query.at_s - at_s if day == query.day else NIGHT_S + query.at_s
            drift = self._variance(query.symbol) * (elapsed + 1.0)
        return Known(
            math.log1p(tolerance(middle) / middle),
            0.01 / middle,
            math.log(median(prices)),
            SPREAD,
            earlier,
            drift,
            tuple(math.log(p) for p, age in zip(prices, ages, strict=True) if age > OLD_S),
        )

    def _learn(self, query: Query, price: float, chosen: Selection, half: float) -> None:
        truth = math.log(query.truth)
        self._learn_volatility(query, truth)
        unit = self._variance(query.symbol)
        for member in self._members:
            if member in query.said:
                said, age = query.said[member]
                close = math.log1p(tolerance(query.truth) / query.truth)
                comparison = Comparison(math.log(said) - truth, close, FAULT_BAND, unit, age)
                self._records[member] = compared(self._records[member], comparison)
        self._counts = counted(self._counts, chosen.probability, right=is_right(price, query))
        miss = max(0.0, abs(math.log(price) - truth) - 0.5 * 0.01 / price) / half
        self._misses = record(decay(self._misses, 0.999), max(miss, 1e-4))

    def _learn_volatility(self, query: Query, truth: float) -> None:
        last = self._last.get(query.symbol)
        if last is not None and last[0] == query.day and query.at_s > last[1]:
            size = abs(truth - last[2]) / math.sqrt(query.at_s - last[1])
            known = self._volatility.get(query.symbol, ClippedMean(DEFAULT_SIGMA / NORMAL_RATIO, PLAIN_SAMPLES))
            self._volatility[query.symbol] = combine_means(known, ClippedMean(size, 1))
        self._last[query.symbol] = (query.day, query.at_s, truth)


def median_of(query: Query, members: Sequence[str]) -> float:
    """The plain median."""
    return median([query.said[m][0] for m in members if m in query.said])


def tolerance_vote(query: Query, members: Sequence[str], gate_s: float = math.inf) -> float:
    """The price that most others lie within tolerance of, the freshest on a tie; older ones than the gate are left out.

    When nobody is that fresh all vote.
    """
    said = [query.said[m] for m in members if m in query.said]
    aged = [(p, math.inf if age is None else age) for p, age in said]
    young = aged if math.isinf(gate_s) else [x for x in aged if x[1] <= gate_s] or aged
    near = tolerance(median([p for p, _ in young]))
    return max(young, key=lambda x: (sum(abs(x[0] - p) <= near for p, _ in young), -x[1], -x[0]))[0]


def best_possible(query: Query, members: Sequence[str]) -> bool:
    """Whether any member's own value is right: no choice among them can be right more often."""
    return any(is_right(query.said[m][0], query) for m in members if m in query.said)


def freshest_faultless(query: Query, members: Sequence[str]) -> bool:
    """Whether the youngest value within fifty basis points is right: what knowing every fault would give."""
    faultless = _faultless(query, members)
    return bool(faultless) and is_right(faultless[0], query)


def older_instead(query: Query, members: Sequence[str]) -> tuple[float, int] | None:
    """How far the next older faultless value lies from the youngest, and what choosing it would change.

    The change is 1 where it is right and the youngest wrong, -1 where it is the other way, else 0. None where no
    faultless member states another value.
    """
    youngest, *older = _faultless(query, members) or [math.nan]
    other = next((price for price in older if price != youngest), None)
    if other is None:
        return None
    return abs(math.log(other / youngest)), is_right(other, query) - is_right(youngest, query)


def most_by_distance(changes: Iterable[tuple[float, int]]) -> int:
    """The greatest sum of changes of distances between any two limits: what the best such rule gains in hindsight."""
    most = here = 0
    for _, change in sorted(changes):
        here = max(0, here + change)
        most = max(most, here)
    return most


def _faultless(query: Query, members: Sequence[str]) -> list[float]:
    """Values within fifty basis points of the truth (all where there is none), the youngest first."""
    said = [query.said[m] for m in members if m in query.said and m != "liar"]
    sound = [s for s in said if abs(s[0] / query.truth - 1) < FAULT_BAND] or said
    return [price for price, _ in sorted(sound, key=lambda s: 900.0 if s[1] is None else s[1])]
