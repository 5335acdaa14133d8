"""What the engine is built from, and what it reads off its sources before it plans."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from mdagent_mcp.cache.histories import HistoryCache
from mdagent_mcp.consensus.context import GradingThresholds, QuoteContext, SourceTrace, SymbolKnowledge
from mdagent_mcp.consensus.track_knowledge import TrackKnowledge
from mdagent_mcp.domain.calendar import MarketState, calendar_named
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.events import Emit
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.isolation import run_isolated
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.engine.collection import PATIENCE_FACTOR, CollectionOptions
from mdagent_mcp.engine.flight import Spawn
from mdagent_mcp.engine.inquiry import Inquiry
from mdagent_mcp.engine.ports import AskedSource
from mdagent_mcp.engine.quote_sharing import QuoteSharing
from mdagent_mcp.engine.router import Router
from mdagent_mcp.engine.shared_flight import SharedFlight
from mdagent_mcp.memory.dependence import joined_groups
from mdagent_mcp.memory.lessons import Lessons
from mdagent_mcp.memory.patterns import contexts_of, pattern_caution
from mdagent_mcp.memory.store import Memory
from mdagent_mcp.memory.traces import Trace
from mdagent_mcp.resilience.clock_offset import offset_s
from mdagent_mcp.resilience.load_shedding import SheddingOptions
from mdagent_mcp.resilience.track_record import TrackRecord

LEARNED_AFTER: Final = 50.0
"""Outcomes after which learned reliability weighs as much as the static trust of a source."""
USUAL_AFTER: Final = 20
"""Outcomes after which it is known how long a source usually takes."""

LEARNED_SAMPLES: Final = 30
"""Samples of an instrument's volatility and spread before they replace the defaults of its class."""

STATE_FAILURES: Final[Mapping[SourceState, FailureKind]] = {
    SourceState.OPEN: FailureKind.CIRCUIT_OPEN,
    SourceState.THROTTLED: FailureKind.THROTTLED,
    SourceState.EXHAUSTED: FailureKind.QUOTA_EXHAUSTED,
    SourceState.NO_KEY: FailureKind.UNAUTHORIZED,
    SourceState.RETIRED: FailureKind.RETIRED,
}
"""Why a source in this state is not asked."""
OUT_OF_USE: Final = frozenset({SourceState.NO_KEY, SourceState.RETIRED, SourceState.DISABLED})
"""States that only a change of the settings ends."""


def _nobody_says() -> float | None:
    """Where no server tells the time."""
    return None


def _nobody_hears(_symbol: str) -> None:
    """Where no other replica shares what is known."""


@dataclass(frozen=True, slots=True)
class FreshnessOptions:
    """How old a kept answer may be when the asker does not say, seconds.

    Attributes:
        open_market_s: for a quote while its market trades.
        closed_market_s: for a quote while it does not.
        history_s: for a history, and for the part of a series that may still change.
        entries: answers kept.
        completed_s: for bars of sessions that are over; 0 fetches every series whole.
    """

    open_market_s: float = 2.0
    closed_market_s: float = 60.0
    history_s: float = 60.0
    entries: int = 5_000
    completed_s: float = 30 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class EngineParts:
    """Everything the engine works with.

    Attributes:
        sources: by id, in listing order.
        clock: time.
        memory: what was learned and what was answered.
        emit: where events go.
        spawn: starts background work.
        rng: chance, for evidence ids.
        collection: how widely sources are asked.
        freshness: how long answers are kept.
        thresholds: of grading.
        shedding: how many questions are worked on at once.
        clock_error_s: by how much the clock is ahead of the time, by what the vendors' servers say; None when unknown.
        histories: what is known of past prices.
        corrected: told the symbol when a source turns out to have corrected past prices that were known.
        quote_sharing: quotes among replicas; None for one that is alone.
        history_flight: histories that replicas ask for once; None for one that is alone.
    """

    sources: Mapping[str, AskedSource]
    clock: Clock
    memory: Memory
    emit: Emit
    spawn: Spawn
    rng: random.Random
    collection: CollectionOptions = field(default_factory=CollectionOptions)
    freshness: FreshnessOptions = field(default_factory=FreshnessOptions)
    thresholds: GradingThresholds = field(default_factory=GradingThresholds)
    shedding: SheddingOptions = field(default_factory=SheddingOptions)
    clock_error_s: Callable[[], float | None] = _nobody_says
    histories: HistoryCache = field(default_factory=HistoryCache)
    corrected: Callable[[str], None] = _nobody_hears
    quote_sharing: QuoteSharing | None = None
    history_flight: SharedFlight | None = None

    def evidence_id(self, prefix: str) -> str:
        """A new id under which an answer is kept: sortable by time, not guessable from the outside."""
        return f"{prefix}-{self.clock.now():%Y%m%d%H%M%S}-{self.rng.getrandbits(48):012x}"

    def trust(self, source: AskedSource) -> float:
        """Static trust, moved towards the learned reliability as outcomes come in."""
        static = source.vendor.weight
        known = self.memory.source_knowledge(source.vendor.id)
        if known is None:
            return static
        n = known.reliability.observations
        return (n * known.reliability.estimate + LEARNED_AFTER * static) / (n + LEARNED_AFTER)

    @cached_property
    def router(self) -> Router:
        """What chooses among the sources, by what was learned of them."""
        return Router(self.clock, self.memory, self.thresholds, self.caution)

    def usual_p90_s(self, source: str) -> float | None:
        """The time within which nine calls in ten to a source are answered, seconds; None before enough were."""
        known = self.memory.source_knowledge(source)
        if known is None or known.latency_p90_ms is None or known.observations < USUAL_AFTER:
            return None
        return known.latency_p90_ms / 1000.0

    def expected_p90_s(self, source: str) -> float | None:
        """The usual time of a source, seconds; of one that was hardly ever asked, that of the slowest known one.

        A source that only difficult questions reach stays unknown for long, and if it hangs meanwhile nobody should
        wait for it longer than for any other. None while nobody's time is known.
        """
        own = self.usual_p90_s(source)
        if own is not None:
            return own
        known = (self.usual_p90_s(name) for name in self.sources)
        return max((seconds for seconds in known if seconds is not None), default=None)

    def usual_s(self, inquiry: Inquiry) -> float | None:
        """The usual time of the slowest source that has not answered; None when nothing is known of anybody's.

        One that hardly ever answered gets as long as the slowest known one, without the allowance of those; nor has one
        the allowance that was silent when it was asked.
        """
        with_allowance = {s for s in inquiry.awaited if self.usual_p90_s(s) is not None}
        times = {s: self.expected_p90_s(s) for s in inquiry.pending}
        usual = [t if s in with_allowance else t / PATIENCE_FACTOR for s, t in times.items() if t is not None]
        return max(usual, default=None)

    def last_asked(self, source: str) -> tuple[float, str]:
        """When a source was last heard of, epoch seconds, for choosing the one not seen longest."""
        known = self.memory.source_knowledge(source)
        heard = [] if known is None else [at for at in (known.last_success_at, known.last_error_at) if at is not None]
        return (max(heard).timestamp() if heard else 0.0, source)

    def last_resort(self, inquiry: Inquiry) -> tuple[str, ...]:
        """When nobody else can be asked: one source that is being rested, the one whose trouble is longest ago.

        A source may also have been asked and have sent nothing, because what it would have sent is being rested.
        """
        instrument, again = inquiry.instrument, inquiry.refused_unasked
        rested = [
            name
            for name, source in allowed(self.sources, inquiry.key.sources).items()
            if (name in again or (name not in inquiry.asked and _is_rested(source, instrument)))
            and source.refuses_quote(instrument) is None
        ]
        return tuple(sorted(rested, key=self.last_asked)[:1])

    def probe_rested(self) -> None:
        """Try again in the background what was rested long enough, now that somebody asks."""
        for name, source in self.sources.items():
            if source.wants_probe():
                self.spawn(run_isolated, f"a probe of {name}", source.probe)

    def groups(self, instrument: Instrument) -> dict[str, str]:
        """The upstream group of every source for an instrument."""
        return {name: source.group_of(instrument) for name, source in self.sources.items()}

    def trusts(self, instrument: Instrument) -> dict[str, float]:
        """The trust in every source about an instrument now."""
        book = self.memory.patterns()
        contexts = contexts_of(instrument.symbol, self.clock.now()) if book.all else ()
        return {
            name: self.trust(source) * (1.0 - (book.caution(name, contexts) or 0.0))
            for name, source in self.sources.items()
        }

    def cautious_trust(self, source: AskedSource, instrument: Instrument) -> float:
        """The trust in a source, less where it is prone to a fault: about this instrument, at this time of its day."""
        return self.trust(source) * (1.0 - self.caution(source, instrument))

    def caution(self, source: AskedSource, instrument: Instrument) -> float:
        """By how much a source is trusted less about this instrument now because of a recurring fault, 0 to 1."""
        return pattern_caution(self.memory.patterns(), source.vendor.id, instrument.symbol, self.clock.now()) or 0.0

    def quote_context(self, instrument: Instrument) -> QuoteContext:
        """Everything beside the quotes that a judgement about an instrument depends on, as of now."""
        lessons = self.memory.lessons()
        return QuoteContext(
            now=self.clock.now(),
            calendar=calendar_named(instrument.calendar),
            groups=joined_groups(self.groups(instrument), self.memory.copies()),
            weights=self.trusts(instrument),
            clock_offsets={name: offset_s(clock) for name, clock in lessons.clocks.items()},
            clock_error_s=self.clock_error_s(),
            learned=self.learned(instrument),
            track=_track(lessons),
            suggestions=self.suggestions(instrument),
            habits=self.habits(instrument),
            thresholds=self.thresholds,
        )

    def habits(self, instrument: Instrument) -> dict[str, str]:
        """What memory warns of about sources and this instrument now: source -> recurring faults and copies, in words.

        Empty as long as nothing recurs, which is told apart without looking at the calendar.
        """
        book, copies = self.memory.patterns(), self.memory.copies()
        told: dict[str, list[str]] = {}
        if book.all:
            contexts = contexts_of(instrument.symbol, self.clock.now())
            for name in self.sources:
                told[name] = [pattern.told for pattern in book.of(name, contexts)]
        for first, second in copies:
            told.setdefault(second, []).append(f"{second} makes the same errors as {first}, so they are one voice")
        return {name: "; ".join(sentences) for name, sentences in told.items() if sentences}

    def learned(self, instrument: Instrument) -> SymbolKnowledge | None:
        """What memory knows of an instrument; a previous close only while it is still the previous one.

        Volatility, spread and price step count once `LEARNED_SAMPLES` samples are behind them.
        """
        symbol = instrument.symbol
        known, traces = self.memory.symbol_knowledge(symbol), self.memory.traces(symbol)
        if known is None:
            return SymbolKnowledge(traces=_traces(traces)) if traces else None
        close = known.previous_close
        if known.previous_close_at is None or not self._same_session(instrument, known.previous_close_at):
            close = None
        confirmed = self.memory.last_confirmed(symbol)
        return replace(
            self._behaviour(symbol, traces),
            observations=known.observations,
            previous_official_close=close,
            last_price=None if confirmed is None else confirmed[0],
            last_price_time=None if confirmed is None else confirmed[1],
            traces=_traces(traces),
            range_low=known.low,
            range_high=known.high,
        )

    def _behaviour(self, symbol: str, sources: Iterable[str]) -> SymbolKnowledge:
        statistics = self.memory.symbol_statistics(symbol)
        if statistics is None:
            return SymbolKnowledge()
        gaps = {source: statistics.gap_q95_s(source) for source in sources}
        now = self.clock.now()
        return SymbolKnowledge(
            volatility_per_sqrt_s=statistics.volatility_at(now, LEARNED_SAMPLES),
            relative_spread=statistics.spread_at(now, LEARNED_SAMPLES),
            tick=statistics.tick,
            gap_q95_s={s: gap for s, gap in gaps.items() if gap is not None and gap > self.thresholds.real_time_s},
        )

    def _same_session(self, instrument: Instrument, epoch_s: float) -> bool:
        calendar, now = calendar_named(instrument.calendar), self.clock.now()
        then = datetime.fromtimestamp(epoch_s, UTC)
        if MarketState.PRE in {calendar.state_at(now), calendar.state_at(then)}:
            return False
        return calendar.latest_opened(then) == calendar.latest_opened(now)

    def suggestions(self, instrument: Instrument) -> tuple[str, ...]:
        """Sources that could help but have no key, with the name under which the key is looked for."""
        return tuple(told for told, source in self._without_key if source.refuses_quote(instrument) is None)

    @cached_property
    def _without_key(self) -> tuple[tuple[str, AskedSource], ...]:
        """The sources that have no key, with what to set; only other settings change that."""
        return tuple(
            (f"{name} (set {source.vendor.key.environment[0]})", source)
            for name, source in self.sources.items()
            if source.vendor.key is not None and source.state() is SourceState.NO_KEY
        )


def _track(lessons: Lessons) -> TrackKnowledge:
    records: dict[str, dict[str, TrackRecord]] = {}
    for (source, which), record in lessons.records.items():
        records.setdefault(source, {})[which] = record
    return TrackKnowledge(records=records, calibration=lessons.confidence, misses=lessons.misses)


def _traces(traces: Mapping[str, Trace]) -> dict[str, SourceTrace]:
    return {
        source: SourceTrace(
            price=trace.price,
            price_since=trace.price_since,
            stamp=trace.stamp,
            stamp_since=trace.stamp_since,
            seen_at=trace.seen_at,
            stay_chance=trace.stay_chance,
        )
        for source, trace in traces.items()
    }


def _is_rested(source: AskedSource, instrument: Instrument) -> bool:
    """Whether nothing but a circuit keeps a source from being asked for a quote."""
    return source.state() is SourceState.OPEN or (source.is_askable and source.rests_quote(instrument))


def allowed(sources: Mapping[str, AskedSource], only: Iterable[str]) -> dict[str, AskedSource]:
    """The sources a question may ask."""
    names = set(only)
    return {name: source for name, source in sources.items() if not names or name in names}


def not_asked(
    source: AskedSource, refusal: str | None, *, named: bool, instrument: Instrument | None = None
) -> Failure | None:
    """Why a source is not asked; None when it can be, or when nobody needs to be told.

    That it could not serve the question is of no interest where it may not be asked at all: without a key it is no
    plan of a key that excludes something.

    Args:
        source: the source.
        refusal: why it cannot serve the question; None when it can.
        named: whether the asker named it, who then wants to know even about a missing key.
        instrument: whose current price is asked for; None for a history.
    """
    state = source.state()
    kind = STATE_FAILURES.get(state, FailureKind.UNSUPPORTED)
    if state in OUT_OF_USE and not named:
        return None
    if state not in OUT_OF_USE and refusal is not None:
        return Failure(source.vendor.id, FailureKind.UNSUPPORTED, refusal)
    if source.is_askable:
        resting = instrument is not None and source.rests_quote(instrument)
        return Failure(source.vendor.id, FailureKind.CIRCUIT_OPEN, "its quotes are rested") if resting else None
    retirement = source.vendor.retirement
    if state is SourceState.RETIRED and retirement is not None:
        return Failure(source.vendor.id, kind, retirement.told)
    wait = source.wait_s() or None
    return Failure(source.vendor.id, kind, f"the source is {state.value.replace('_', ' ')}", wait)


def is_live(instrument: Instrument, now: datetime) -> bool:
    """Whether an instrument trades now, extended hours included; an unknown calendar counts as trading."""
    return calendar_named(instrument.calendar).state_at(now) is not MarketState.CLOSED
