"""What the teacher has learned about the sources: how often each is wrong, how late it really is, how sure a vote was.

The rule of this module: everything here was graded by an authority that had no say in the answer it graded; empty
until then, and the documented defaults hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from mdagent_mcp.resilience.calibration import CalibrationCounts, calibrated
from mdagent_mcp.resilience.latency import LatencyHistogram, quantile
from mdagent_mcp.resilience.track_record import TrackRecord, believed_age_s, fault_probability

PRICE: Final = "price"
UNDATED_AGE_S: Final = 900.0
"""Age assumed of a price without a time whose source nothing is known of."""
_RECORDED: Final = 20.0
"""Comparisons after which a record replaces the default drawn from trust."""
_FEWEST_SCORES: Final = 50.0
_MOST_WIDENING: Final = 5.0
_LEAST_WIDENING: Final = 0.2
DEFAULT_WIDENING: Final = 0.38
"""Before the interval was recalibrated: tails of simulated worlds with unknown volatility, ends on whole steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackKnowledge:
    """Learned from delayed authoritative values.

    Attributes:
        records: source -> field (`price`, `previous_close`, `open`, `high`, `low`, `volume`) -> its record.
        calibration: what became of earlier probabilities.
        misses: number of confirming groups (1, 2, 3 for three and more) -> how far the truth lay from the served
            price, in half widths of the interval that was not yet recalibrated.
    """

    records: Mapping[str, Mapping[str, TrackRecord]] = field(default_factory=lambda: _NO_RECORDS)
    calibration: CalibrationCounts = field(default_factory=CalibrationCounts)
    misses: Mapping[int, LatencyHistogram] = field(default_factory=lambda: _NO_MISSES)

    def record(self, source: str, which: str = PRICE) -> TrackRecord | None:
        """The record of a source's field; None before there are enough comparisons to go by."""
        if not self.records:
            return None
        found = self.records.get(source, _NO_FIELDS).get(which)
        return found if found is not None and found.trials >= _RECORDED else None

    def fault(self, source: str, trust: float) -> float:
        """How probable it is that a price of the source is wrong whatever its age.

        Learned; until then a quarter of the distrust in it.
        """
        return fault_by(self.record(source), trust)

    def age_s(self, source: str, age_s: float | None) -> float:
        """The age of a source's price: as stamped, unless its record proves the stamps wrong or it has none."""
        return age_by(self.record(source), age_s)

    def is_mostly_wrong(self, source: str, which: str) -> bool:
        """Whether a source's field was more often wrong than right, as learned."""
        found = self.record(source, which)
        return found is not None and 2 * found.hits < found.trials

    def calibrated(self, probability: float) -> float:
        """What a stated probability has turned out to mean."""
        return calibrated(self.calibration, probability)

    def widening(self, groups: int) -> float:
        """By how much the interval is stretched so that it covers the truth as often as it says."""
        scores = self.misses.get(min(groups, 3))
        if scores is None or scores.total < _FEWEST_SCORES:
            return DEFAULT_WIDENING
        found = quantile(scores, 0.95)
        return DEFAULT_WIDENING if found is None else min(max(found, _LEAST_WIDENING), _MOST_WIDENING)


def fault_by(record: TrackRecord | None, trust: float) -> float:
    """See `TrackKnowledge.fault`; by the source's record, None before there is one."""
    return (1.0 - trust) / 4 if record is None else fault_probability(record)


def age_by(record: TrackRecord | None, age_s: float | None) -> float:
    """See `TrackKnowledge.age_s`; by the source's record, None before there is one."""
    if record is None:
        return UNDATED_AGE_S if age_s is None else age_s
    return believed_age_s(record, age_s, UNDATED_AGE_S)


_NO_FIELDS: Final[Mapping[str, TrackRecord]] = MappingProxyType({})
_NO_RECORDS: Final[Mapping[str, Mapping[str, TrackRecord]]] = MappingProxyType({})
_NO_MISSES: Final[Mapping[int, LatencyHistogram]] = MappingProxyType({})
NOTHING_TRACKED: Final = TrackKnowledge()
"""Before the first comparison."""
