"""What an authority's word teaches about a source: how often it was right, how it was wrong, how late it really is.

The rule of this module: a record is a value of additive, discounted sums, so that records of two processes can be
joined, and estimates are read from it together with a broader one (the source as a whole) that it leans on while it
is short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

DECAY: Final = 0.9995
"""What a comparison counts after the next one: half after 1,386."""
LOCAL_DECAY: Final = 0.99
"""The same for a record about one context (a symbol, a place), which sees far fewer."""
LEAN: Final = 8.0
"""Comparisons that the broader record is worth to a narrower one."""
PRIOR_TRIALS: Final = 5.0
PRIOR_FAULT: Final = 0.05
LATEST: Final = 9.0
"""A squared error counts as at most so many times what was expected: one gross error must not look like lateness."""
_STABLE_AFTER: Final = 30.0
_LEAST_LAG_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """Sums over comparisons with an authority.

    Attributes:
        trials: discounted number of comparisons.
        hits: those within the tolerance.
        faults: those that no age explains.
        sound: the others.
        lags: over these, sum of the squared errors in variances of one second (or squared tolerances), less the
            declared age.
        errors: sum of the signed errors in tolerances, bounded to four.
        deviations: sum of their squares.
    """

    trials: float = 0.0
    hits: float = 0.0
    faults: float = 0.0
    sound: float = 0.0
    lags: float = 0.0
    errors: float = 0.0
    deviations: float = 0.0

    @property
    def bias(self) -> float:
        """Usual signed error in tolerances, once stable: many comparisons, and little scatter around it; else 0."""
        if self.trials < _STABLE_AFTER:
            return 0.0
        mean = self.errors / self.trials
        scatter = max(0.0, self.deviations / self.trials - mean * mean)
        return mean if scatter < 1.0 < abs(mean) else 0.0

    @property
    def dispersion(self) -> float | None:
        """Root mean square error in tolerances; None before the first comparison."""
        return math.sqrt(self.deviations / self.trials) if self.trials > 0 else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One claim against what an authority says was true.

    Attributes:
        error: signed distance, on the additive scale.
        tolerance: greatest distance that means the same.
        fault_band: least distance that may be called a fault.
        unit: variance of one second; the squared tolerance where claims have no time.
        age_s: declared age; None when undated.
    """

    error: float
    tolerance: float
    fault_band: float
    unit: float
    age_s: float | None


def compared(record: TrackRecord, comparison: Comparison, decay: float = DECAY) -> TrackRecord:
    """The record with one more comparison."""
    return joined(record, outcome(record, comparison), decay)


def outcome(record: TrackRecord, comparison: Comparison) -> TrackRecord:
    """What one comparison adds; what is known already bounds what a single error can mean."""
    c = comparison
    lag = lag_s(record)
    expected = c.unit * ((c.age_s or 0.0) + lag)
    size = abs(c.error)
    scaled = min(max(c.error / c.tolerance, -4.0), 4.0)
    bound = LATEST * ((c.age_s or 0.0) + max(lag, 1.0))
    faulty = size > max(c.fault_band, 8.0 * math.sqrt(expected))
    return TrackRecord(
        trials=1.0,
        hits=float(size <= c.tolerance),
        faults=float(faulty),
        sound=float(not faulty),
        lags=0.0 if faulty else min(c.error * c.error / c.unit, bound) - (c.age_s or 0.0),
        errors=scaled,
        deviations=scaled * scaled,
    )


def joined(older: TrackRecord, newer: TrackRecord, decay: float = DECAY) -> TrackRecord:
    """Both, the older one discounted for the comparisons since."""
    kept = decay**newer.trials
    return TrackRecord(*(getattr(older, f.name) * kept + getattr(newer, f.name) for f in fields(TrackRecord)))


def fault_probability(record: TrackRecord) -> float:
    """How probable it is that the source says something no age explains."""
    return (record.faults + PRIOR_FAULT * PRIOR_TRIALS) / (record.trials + PRIOR_TRIALS)


def hit_probability(record: TrackRecord, broader: TrackRecord | None = None) -> float:
    """How probable it is that the source is within the tolerance, leaning on the broader record."""
    whole = record if broader is None else broader
    share = (whole.hits + 0.7 * PRIOR_TRIALS) / (whole.trials + PRIOR_TRIALS)
    return share if broader is None else (record.hits + share * LEAN) / (record.trials + LEAN)


def lag_s(record: TrackRecord, broader: TrackRecord | None = None) -> float:
    """By how much the source lags behind its own time stamps (or behind the truth, where it has none)."""
    whole = record if broader is None else broader
    share = max(0.0, whole.lags / whole.sound) if whole.sound > PRIOR_TRIALS else 0.0
    return share if broader is None else max(0.0, (record.lags + share * LEAN) / (record.sound + LEAN))


def believed_age_s(record: TrackRecord, age_s: float | None, unknown_s: float) -> float:
    """The age of a claim: the declared one, unless the record shows that the source's stamps are not true.

    Args:
        record: of the source.
        age_s: as declared; None when it is not.
        unknown_s: for an undated claim of a source nothing is known of.
    """
    known = record.sound > 4 * PRIOR_TRIALS
    lag = lag_s(record)
    if age_s is None:
        return lag if known else unknown_s
    return age_s + lag if known and lag > _LEAST_LAG_S + age_s else age_s
