"""What the teacher's comparisons add up to: records of sources, recalibrated confidence, clock offsets.

The rule of this module: pure, like `learning`; everything is a sum that can be joined, so that what waits to be
written, what is stored and what another process learned make one whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mdagent_mcp.domain.events import Compared, Stamped, Verified
from mdagent_mcp.resilience.calibration import CalibrationCounts, added, counted
from mdagent_mcp.resilience.clock_offset import ClockOffset, merged, stamped
from mdagent_mcp.resilience.latency import LatencyHistogram, decay, merge, recorded
from mdagent_mcp.resilience.track_record import Comparison, TrackRecord, joined, outcome

MOST_GROUPS: Final = 3
"""Three groups that confirm count like more."""
_MISS_DECAY: Final = 0.999
_LEAST_MISS: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Lessons:
    """Everything learned from authorities.

    Attributes:
        records: (source, field) -> how its claims fared.
        confidence: what became of stated probabilities; empty before the first.
        misses: confirming groups -> distance of the truth from the served price, in half widths of the interval.
        clocks: source -> what its stamps show.
    """

    records: Mapping[tuple[str, str], TrackRecord] = field(default_factory=dict)
    confidence: CalibrationCounts = field(default_factory=CalibrationCounts)
    misses: Mapping[int, LatencyHistogram] = field(default_factory=dict)
    clocks: Mapping[str, ClockOffset] = field(default_factory=dict)


def learn(event: Compared | Verified | Stamped, known: Lessons) -> Lessons:
    """What one event adds to `known`, as lessons of their own."""
    match event:
        case Compared():
            key = (event.source, event.field)
            comparison = Comparison(event.error, event.tolerance, event.fault_band, event.unit, event.age_s)
            return Lessons(records={key: outcome(known.records.get(key, TrackRecord()), comparison)})
        case Verified():
            counts = counted(CalibrationCounts(), event.probability, right=event.right)
            groups = min(max(event.groups, 1), MOST_GROUPS)
            return Lessons(confidence=counts, misses={groups: recorded([max(event.miss, _LEAST_MISS)])})
        case Stamped():
            return Lessons(clocks={event.source: stamped(None, event.behind_s, event.at.timestamp())})


def combine_lessons(older: Lessons, newer: Lessons) -> Lessons:
    """Both, older comparisons discounted for the newer ones."""
    records = dict(older.records)
    for key, record in newer.records.items():
        records[key] = joined(records[key], record) if key in records else record
    misses = dict(older.misses)
    for groups, seen in newer.misses.items():
        known = misses.get(groups)
        misses[groups] = seen if known is None else merge(decay(known, _MISS_DECAY**seen.total), seen)
    clocks = dict(older.clocks)
    for source, clock in newer.clocks.items():
        clocks[source] = merged(clocks.get(source), clock)
    return Lessons(records, added(older.confidence, newer.confidence), misses, clocks)
