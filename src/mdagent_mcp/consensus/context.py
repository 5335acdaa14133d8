"""What a quote is judged with besides the quotes: the instant, the calendar, what is known of sources and symbol.

The rule of this module: everything the judgement depends on is handed in here, so the same facts give the same grade.
Everything learned is optional; without it the documented defaults hold and the grade is capped accordingly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import pairwise
from typing import Final

from mdagent_mcp.consensus.track_knowledge import NOTHING_TRACKED, TrackKnowledge
from mdagent_mcp.domain.calendar import Calendar
from mdagent_mcp.domain.prices import require_utc

DEFAULT_TRUST: Final = 0.8
"""Trust in a source of which nothing is said."""


_SHARES: Final = (
    "unit_closeness",
    "large_move",
    "previous_close_gap",
    "outside_book",
    "outside_range",
    "same_price",
    "conflicting_price",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradingThresholds:
    """Where the rubric draws its lines.

    Attributes:
        real_time_s: greatest delay that counts as real time (A).
        low_delay_s: greatest delay of a B.
        acceptable_delay_s: greatest delay of a C.
        stale_s: greatest delay of a D; beyond it a price is stale (F).
        vote_age_s: greatest age of a price that has a say about now.
        corroboration_age_s: greatest age of a price that counts as a second opinion.
        explained_lag_s: an outlier that much older than the rest is explained by its age.
        future_tolerance_s: how far an event time may lie ahead of our clock.
        close_slack_s: how long before the closing bell a price already counts as the close.
        settle_s: how long after the close the official close is not final.
        opening_s: how long after the open prices are not settled.
        known_observations: outcomes after which a symbol counts as known.
        unit_closeness: relative distance to a power of ten that is taken for a mix-up of units.
        large_move: move against the previous close that one source alone cannot prove.
        previous_close_gap: relative gap between two statements of the previous close that names another instrument.
        same_price: relative difference, beside the spread, beyond which two prices never confirm each other.
        conflicting_price: relative difference, beside half the spread, beyond which they contradict each other.
        outside_book: relative distance of the price outside bid and ask that fails.
        outside_range: relative distance of the price outside the day's range that fails.
    """

    real_time_s: float = 2.0
    low_delay_s: float = 5.0
    acceptable_delay_s: float = 30.0
    stale_s: float = 1200.0
    vote_age_s: float = 60.0
    corroboration_age_s: float = 30.0
    explained_lag_s: float = 30.0
    future_tolerance_s: float = 5.0
    close_slack_s: float = 5.0
    settle_s: float = 1200.0
    opening_s: float = 60.0
    known_observations: int = 100
    unit_closeness: float = 0.12
    large_move: float = 0.20
    previous_close_gap: float = 0.03
    same_price: float = 10e-4
    conflicting_price: float = 25e-4
    outside_book: float = 0.01
    outside_range: float = 0.002

    def __post_init__(self) -> None:
        for each in fields(self):
            _require_positive(each.name, getattr(self, each.name))
        limits = (self.real_time_s, self.low_delay_s, self.acceptable_delay_s, self.stale_s, 86400.0)
        if any(low >= high for low, high in pairwise(limits)):
            raise ValueError(
                "the delay limits must rise: real_time_s < low_delay_s < acceptable_delay_s < stale_s < 86400, "
                f"got {limits[:-1]}"
            )
        if self.corroboration_age_s > self.vote_age_s:
            raise ValueError(
                f"corroboration_age_s ({self.corroboration_age_s:g}) must not exceed vote_age_s ({self.vote_age_s:g})"
            )
        for name in _SHARES:
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} is a share and must be below 1, got {getattr(self, name)}")
        if self.same_price >= self.conflicting_price:
            raise ValueError(
                f"same_price ({self.same_price:g}) must be below conflicting_price ({self.conflicting_price:g})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTrace:
    """What a source said about the symbol when it was last asked.

    Attributes:
        price: its price then.
        price_since: since when it says that price without a break.
        stamp: its event time then; None when it stated none.
        stamp_since: since when it states that event time.
        seen_at: when it was last heard.
        stay_chance: with which a healthy source's price would stand still for that long.
    """

    price: float
    price_since: datetime
    stamp: datetime | None
    stamp_since: datetime
    seen_at: datetime
    stay_chance: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolKnowledge:
    """What memory knows about one symbol; None and empty where it knows nothing.

    Attributes:
        observations: outcomes behind it.
        volatility_per_sqrt_s: standard deviation of the log price over one second, for this time of day.
        relative_spread: usual bid-ask spread as a share of the price.
        tick: smallest price step, in the instrument's currency.
        previous_official_close: official close of the regular session before the one that is answered.
        last_price: the last price served with two independent sources.
        last_price_time: when that price was true.
        gap_q95_s: by source: 95 % quantile of the time between its trades in this symbol.
        unchanged_s: by source: how long its price has not moved although it was asked.
        traces: by source: what it said when it was last asked.
        range_low: lower end of the recent price range.
        range_high: upper end.
    """

    observations: int = 0
    volatility_per_sqrt_s: float | None = None
    relative_spread: float | None = None
    tick: float | None = None
    previous_official_close: float | None = None
    last_price: float | None = None
    last_price_time: datetime | None = None
    gap_q95_s: Mapping[str, float] = field(default_factory=dict)
    unchanged_s: Mapping[str, float] = field(default_factory=dict)
    traces: Mapping[str, SourceTrace] = field(default_factory=dict)
    range_low: float | None = None
    range_high: float | None = None

    def __post_init__(self) -> None:
        if self.observations < 0:
            raise ValueError(f"observations must not be negative, got {self.observations}")
        for name in (
            "volatility_per_sqrt_s",
            "tick",
            "previous_official_close",
            "last_price",
            "range_low",
            "range_high",
        ):
            if (value := getattr(self, name)) is not None:
                _require_positive(name, value)
        if self.relative_spread is not None and not 0 <= self.relative_spread < 1:
            raise ValueError(f"relative_spread must lie in 0..1, got {self.relative_spread}")
        if self.last_price_time is not None:
            require_utc("last_price_time", self.last_price_time)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteContext:
    """Everything beside the quotes that a judgement depends on.

    Attributes:
        now: the instant of judging, UTC.
        calendar: of the instrument's market.
        groups: source -> upstream group; a source that is not named is its own group.
        weights: source -> trust between 0 and 1, static or learned; `DEFAULT_TRUST` where not named.
        clock_offsets: source -> seconds that its clock runs ahead of ours (positive: its stamps lie in our future).
        clock_error_s: by how much our own clock is ahead of the time, seconds, negative when behind, by what most
            servers say; None while none has said.
        reliability_bounds: source -> learned lower bound of its reliability; only where it was learned.
        learned: what memory knows about the symbol.
        track: what the teacher has learned about the sources.
        habits: source -> what memory warns of about it here, such as a recurring fault, as a sentence.
        unknown_to: sources that were asked and answered that they do not know the symbol; not those that do not cover
            its kind, which are not asked.
        suggestions: what could raise the grade beyond the sources asked, such as `finnhub (needs FINNHUB_API_KEY)`.
        thresholds: the rubric's lines.
    """

    now: datetime
    calendar: Calendar
    groups: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    clock_offsets: Mapping[str, float] = field(default_factory=dict)
    clock_error_s: float | None = None
    reliability_bounds: Mapping[str, float] = field(default_factory=dict)
    learned: SymbolKnowledge | None = None
    track: TrackKnowledge = NOTHING_TRACKED
    habits: Mapping[str, str] = field(default_factory=dict)
    unknown_to: frozenset[str] = frozenset()
    suggestions: tuple[str, ...] = ()
    thresholds: GradingThresholds = field(default_factory=GradingThresholds)

    def __post_init__(self) -> None:
        require_utc("now", self.now)
        for name in ("weights", "reliability_bounds"):
            for source, share in getattr(self, name).items():
                if not 0 <= share <= 1:
                    raise ValueError(f"{name} of {source} must lie in 0..1, got {share}")

    def group_of(self, source: str) -> str:
        """Whose data `source` passes on."""
        return self.groups.get(source, source)

    def trust_in(self, source: str) -> float:
        """Trust in `source`, 0 to 1."""
        return self.weights.get(source, DEFAULT_TRUST)

    @property
    def observations(self) -> int:
        """Outcomes that memory has seen of this symbol."""
        return 0 if self.learned is None else self.learned.observations

    @property
    def symbol_is_known(self) -> bool:
        """Whether memory has seen enough of this symbol to vouch for a single source."""
        return self.observations >= self.thresholds.known_observations


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, got {value}")
