"""The teacher: what sources said is kept for a while and graded when an authority tells what had been true.

The rules of this module: an authority never votes on the present. A delayed tape's price grades what other upstream
groups said at that instant, and so do the closes of intraday bars that were fetched anyhow; the official close, the
previous close that they state the next day; and a session's other figures are graded by what at least two other groups
agree on. Nobody is graded by a reference that his own group is part of, and no price by our own consensus: that
collapses when a stale majority agrees (measured: precision .35 instead of .97).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median_low
from typing import Final

from mdagent_mcp.consensus.context import QuoteContext
from mdagent_mcp.consensus.evidence import SAME_PRICE
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.consensus.tolerance import Tolerance, tolerance_for
from mdagent_mcp.domain.answers import HistoryAnswer
from mdagent_mcp.domain.events import Compared, Emit, Stamped, Verified
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.quality import Grade, at_least

AUTHORITY_DELAY_S: Final = 300.0
"""A source that declares at least this delay shows a tape that is complete by then."""
REACH_S: Final = 20.0
"""Greatest time between an authority's event and a claim that it grades."""
BAR_SETTLED_S: Final = 120.0
"""Time after a bar's end by which late prints are in it."""
BAR_OLDEST_S: Final = 8 * 3600.0
"""Bars of one session are on the basis of what was said in it; older ones may be adjusted."""
CLAIMS_KEPT: Final = 96
SYMBOLS_KEPT: Final = 500
PRICE_FAULT: Final = 50e-4
_SUSPICIOUS: Final = 0.02
_LEAST_HALF: Final = 1e-5
_FIELD_TOLERANCE: Final[Mapping[str, float]] = {
    "previous_close": 1e-4,
    "open": 30e-4,
    "high": 10e-4,
    "low": 10e-4,
    "volume": 0.05,
}
"""Relative difference of two values of a field that mean the same; three real vendors agree that well (measured)."""


@dataclass(slots=True)
class _Claim:
    source: str
    group: str
    price: float
    age_s: float | None
    at: datetime
    graded: bool = False


@dataclass(frozen=True, slots=True)
class _Told:
    """What an authority says: the price at an instant, and whose data that is."""

    price: float
    at: datetime
    group: str


@dataclass(slots=True)
class _Given:
    price: float
    at: datetime
    probability: float
    groups: int
    half: float
    verified: bool = False


@dataclass(slots=True)
class _Kept:
    """What is kept about one symbol.

    Attributes:
        claims: what sources said, oldest first.
        given: what was answered.
        closes: date of the session -> upstream group -> official close.
    """

    claims: deque[_Claim] = field(default_factory=lambda: deque(maxlen=CLAIMS_KEPT))
    given: deque[_Given] = field(default_factory=lambda: deque(maxlen=CLAIMS_KEPT))
    closes: dict[date, dict[str, float]] = field(default_factory=dict)


class Teacher:
    """Keeps claims per symbol, bounded, and emits what authorities teach."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._symbols: dict[str, _Kept] = {}

    def hear(
        self, instrument: Instrument, quotes: Sequence[Quote], judgement: QuoteJudgement, context: QuoteContext
    ) -> None:
        """Take note of the quotes behind an answer, and let the authorities among them teach.

        Called once per answer, with all its quotes.
        """
        kept = self._kept(instrument.symbol)
        live = [q for q in quotes if q.session is Session.REGULAR and q.price > 0 and math.isfinite(q.price)]
        self._note_stamps(live)
        for quote in live:
            if quote.declared_delay_s >= AUTHORITY_DELAY_S and quote.event_time is not None:
                told = _Told(quote.price, quote.event_time, context.group_of(quote.source))
                self._teach_prices(instrument, kept, told, context)
        self._teach_previous_closes(instrument.symbol, kept, live, context)
        self._teach_fields(instrument.symbol, live, context)
        self._note_closes(kept, quotes, context)
        kept.claims.extend(_claim(q, context) for q in live if q.declared_delay_s < AUTHORITY_DELAY_S)
        if judgement.session is Session.REGULAR:
            belief = judgement.belief
            half = max(belief.below, belief.above, _LEAST_HALF)
            kept.given.append(_Given(judgement.price, judgement.judged_at, belief.probability, belief.groups, half))

    def hear_bars(self, instrument: Instrument, served: HistoryAnswer, context: QuoteContext) -> None:
        """Let the intraday bars of a history, fetched anyhow, grade what was said at their ends.

        Only bars that two independent sources show: their closes are then the tape's last trades, and no claim of the
        served source's own group is graded by them.
        """
        kept = self._symbols.get(instrument.symbol)
        groups = [context.group_of(source) for source in served.sources_used]
        shown = served.interval.is_intraday and len(set(groups)) > 1 and at_least(served.grade, Grade.B)
        if kept is None or not shown:
            return
        length, now = served.interval.length, context.now
        closes = [(bar.start + length, bar.close) for bar in served.bars if bar.close > 0]
        settled = [pair for pair in closes if BAR_SETTLED_S <= (now - pair[0]).total_seconds() <= BAR_OLDEST_S]
        for true_at, price in _near(settled, kept):
            self._teach_prices(instrument, kept, _Told(price, true_at, groups[0]), context)

    def _kept(self, symbol: str) -> _Kept:
        kept = self._symbols.pop(symbol, None) or _Kept()
        self._symbols[symbol] = kept
        while len(self._symbols) > SYMBOLS_KEPT:
            del self._symbols[next(iter(self._symbols))]
        return kept

    def _note_stamps(self, quotes: Iterable[Quote]) -> None:
        for quote in quotes:
            if quote.event_time is not None and quote.event_time_resolution_s <= 1 and quote.declared_delay_s == 0:
                behind = (quote.received_at - quote.event_time).total_seconds()
                self._emit(Stamped(quote.source, quote.received_at, behind))

    def _teach_prices(self, instrument: Instrument, kept: _Kept, told: _Told, context: QuoteContext) -> None:
        true_at = told.at
        near = [c for c in kept.claims if abs((c.at - true_at).total_seconds()) <= REACH_S and c.group != told.group]
        if _is_contradicted(told.price, near):
            return
        tolerance = tolerance_for(instrument, told.price, context.learned)
        for claim in near:
            if not claim.graded:
                claim.graded = True
                self._emit(_compared(instrument.symbol, claim, told, tolerance, context.now))
        for given in kept.given:
            if not given.verified and abs((given.at - true_at).total_seconds()) <= REACH_S:
                given.verified = True
                self._emit(_verified(instrument.symbol, given, told.price, tolerance, context.now))

    def _teach_previous_closes(self, symbol: str, kept: _Kept, quotes: Iterable[Quote], context: QuoteContext) -> None:
        last = context.calendar.latest_completed(context.now) if not context.calendar.always_open else None
        closes = {} if last is None else kept.closes.get(last.day, {})
        for quote in quotes:
            group = context.group_of(quote.source)
            official = [close for whose, close in closes.items() if whose != group]
            if official and quote.previous_close is not None and quote.previous_close > 0:
                self._compare_field(symbol, quote, "previous_close", median_low(official), context)

    def _teach_fields(self, symbol: str, quotes: Sequence[Quote], context: QuoteContext) -> None:
        """Open, high, low and volume: against what at least two other groups agree on."""
        for name in ("open", "high", "low", "volume"):
            said = [(q, context.group_of(q.source), getattr(q, name)) for q in quotes if q.declared_delay_s == 0]
            stated = [(q, group, float(value)) for q, group, value in said if value is not None and value > 0]
            for quote, group, _ in stated:
                others = {whose: value for _, whose, value in stated if whose != group}
                reference = _agreed(list(others.values()), _FIELD_TOLERANCE[name])
                if reference is not None:
                    self._compare_field(symbol, quote, name, reference, context)

    def _compare_field(self, symbol: str, quote: Quote, name: str, true: float, context: QuoteContext) -> None:
        tolerance = _FIELD_TOLERANCE[name]
        error = math.log(getattr(quote, name) / true)
        unit = tolerance * tolerance
        self._emit(Compared(quote.source, symbol, name, context.now, error, tolerance, math.inf, unit, None))

    @staticmethod
    def _note_closes(kept: _Kept, quotes: Iterable[Quote], context: QuoteContext) -> None:
        last = context.calendar.latest_completed(context.now) if not context.calendar.always_open else None
        if last is None or (context.now - last.close).total_seconds() < context.thresholds.settle_s:
            return
        for quote in quotes:
            official = quote.session is Session.CLOSED and quote.event_time is not None and quote.price > 0
            if official and quote.event_time is not None and last.open < quote.event_time <= context.now:
                kept.closes = {last.day: kept.closes.get(last.day, {})}
                kept.closes[last.day][context.group_of(quote.source)] = quote.price


def _claim(quote: Quote, context: QuoteContext) -> _Claim:
    stamp = quote.event_time
    age = None if stamp is None else (quote.received_at - stamp).total_seconds()
    if age is not None:
        age = max(0.0, age + context.clock_offsets.get(quote.source, 0.0))
    return _Claim(quote.source, context.group_of(quote.source), quote.price, age, quote.received_at)


def _near(closes: Sequence[tuple[datetime, float]], kept: _Kept) -> list[tuple[datetime, float]]:
    """The closes, oldest first, near which something ungraded was said."""
    said = [c.at for c in kept.claims if not c.graded] + [g.at for g in kept.given if not g.verified]
    ends, reach = [end for end, _ in closes], timedelta(seconds=REACH_S)
    first = {bisect_left(ends, at - reach): at for at in said}
    return [closes[i] for i, at in sorted(first.items()) if i < len(ends) and ends[i] <= at + reach]


def _compared(symbol: str, claim: _Claim, told: _Told, tolerance: Tolerance, now: datetime) -> Compared:
    apart = abs((claim.at - told.at).total_seconds())
    return Compared(
        source=claim.source,
        symbol=symbol,
        field="price",
        at=now,
        error=math.log(claim.price / told.price),
        tolerance=max(SAME_PRICE, tolerance.tick),
        fault_band=PRICE_FAULT,
        unit=tolerance.sigma**2,
        age_s=None if claim.age_s is None else claim.age_s + apart,
    )


def _verified(symbol: str, given: _Given, true: float, tolerance: Tolerance, now: datetime) -> Verified:
    error = abs(math.log(given.price / true))
    right = error <= max(SAME_PRICE, tolerance.tick)
    return Verified(symbol, now, given.probability, right, given.groups, error / given.half)


def _is_contradicted(price: float, claims: Sequence[_Claim]) -> bool:
    """Whether at least two groups agree on a price that is far from the authority's: then it is the one in error."""
    far = [c for c in claims if abs(c.price / price - 1) > _SUSPICIOUS]
    return any(
        first.group != second.group and abs(first.price / second.price - 1) <= _SUSPICIOUS
        for first in far
        for second in far
    )


def _agreed(values: Sequence[float], tolerance: float) -> float | None:
    """The middle of the largest set of at least two values that mean the same; None when there is none."""
    sets = [[v for v in values if abs(math.log(v / value)) <= tolerance] for value in sorted(values)]
    best = max(sets, key=len, default=[])
    return median_low(best) if len(best) > 1 and 2 * len(best) > len(values) else None
