"""Grades and what they are made of.

Every dimension speaks the rubric's own scale: 90 and more is worth an A, 80 a B, 70 a C, 60 a D, less an F. The
score is the weakest dimension, so the explanation of a grade is the dimension that limits it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Grade(StrEnum):
    """The letter of the rubric."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    F = "F"


GRADE_FLOORS: Final[tuple[tuple[float, Grade], ...]] = (
    (90.0, Grade.A),
    (80.0, Grade.B),
    (70.0, Grade.C),
    (60.0, Grade.D),
    (0.0, Grade.F),
)
"""Lowest score of each letter, best first."""
_FLOORS: Final[Mapping[Grade, float]] = {grade: floor for floor, grade in GRADE_FLOORS}


def grade_of(score: float) -> Grade:
    """The letter of a score between 0 and 100."""
    for floor, grade in GRADE_FLOORS:
        if score >= floor:
            return grade
    return Grade.F


def at_least(grade: Grade, wanted: Grade) -> bool:
    """Whether `grade` is as good as `wanted` or better."""
    return _GRADE_ORDER[grade] <= _GRADE_ORDER[wanted]


_GRADE_ORDER: Final[Mapping[Grade, int]] = {grade: place for place, grade in enumerate(Grade)}


class Dimension(StrEnum):
    """What a grade looks at, named after ISO/IEC 25012 where it has a name."""

    TIMELINESS = "timeliness"
    CORROBORATION = "corroboration"
    VALIDITY = "validity"
    PLAUSIBILITY = "plausibility"
    COMPLETENESS = "completeness"
    CONSISTENCY = "consistency"


class Verdict(StrEnum):
    """What became of one check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not_run"
    """It lacked what it needs; it never reads as passed."""


class Severity(StrEnum):
    """How bad a failed check is."""

    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"
    """The value must not get better than D."""
    FATAL = "fatal"
    """The value is wrong by construction: F."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        rule: the check's stable id, lower case with underscores.
        dimension: the dimension it bears on.
        verdict: passed, failed or not run.
        detail: with numbers: what was compared, or why it could not run.
        severity: weight of a failure; `INFO` when passed or not run.
        cap: the highest score its dimension may have because of this failure; None without effect.
    """

    rule: str
    dimension: Dimension
    verdict: Verdict
    detail: str
    severity: Severity = Severity.INFO
    cap: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """The dimension that decides a grade.

    Attributes:
        dimension: the weakest one.
        score: its score.
        because: why, with numbers and source names.
        raises_to: what would lift the grade, e.g. "A with a second independent source within 2 s".
    """

    dimension: Dimension
    score: float
    because: str
    raises_to: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """A grade with its reasons.

    Attributes:
        grade: the letter of `score`.
        score: 0 to 100.
        dimensions: the score of every dimension.
        limited_by: the weakest one.
        findings: every check that was considered.
    """

    grade: Grade
    score: float
    dimensions: Mapping[Dimension, float]
    limited_by: Limit
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class DimensionScore:
    """The score of one dimension with its reason.

    Attributes:
        score: 0 to 100 on the rubric's scale.
        because: why it is not higher, with numbers; empty when nothing limits it.
        raises_to: what would raise it; empty when nothing would.
    """

    score: float
    because: str = ""
    raises_to: str = ""


_ORDER: Final[Mapping[Dimension, int]] = {dimension: place for place, dimension in enumerate(Dimension)}

MAX_PENALTY: Final = 5.0
"""Points that the other dimensions may take off within the letter of the weakest one."""


def assess(dimensions: Mapping[Dimension, DimensionScore], findings: tuple[Finding, ...]) -> Assessment:
    """Grade by the weakest dimension.

    A failed finding's `cap` bounds its dimension first. With `low` the weakest dimension, the score is
    `max(floor(letter of low), low - min(5, mean(100 - d) / 10))`: the others may take points off, never a letter, and
    no strong dimension buys back a weak one.
    """
    capping = [f for f in findings if f.cap is not None and f.verdict is Verdict.FAILED]
    capped = {d: _capped(d, score, capping) for d, score in dimensions.items()} if capping else dimensions
    low = min([score.score for score in capped.values()])
    weakest = min([d for d, score in capped.items() if score.score == low], key=_ORDER.__getitem__)
    penalty = min(MAX_PENALTY, sum([100.0 - s.score for s in capped.values()]) / len(capped) / 10.0)
    grade = grade_of(low)
    return Assessment(
        grade,
        round(max(_FLOORS[grade], low - penalty), 1),
        {d: round(s.score, 1) for d, s in capped.items()},
        Limit(weakest, round(low, 1), capped[weakest].because, capped[weakest].raises_to),
        findings,
    )


def _capped(dimension: Dimension, score: DimensionScore, capping: Sequence[Finding]) -> DimensionScore:
    failed = [f for f in capping if f.dimension is dimension]
    worst = min(failed, key=lambda f: f.cap if f.cap is not None else 100.0, default=None)
    if worst is None or worst.cap is None or worst.cap >= score.score:
        return score
    return DimensionScore(worst.cap, worst.detail, f"a value that passes the check {worst.rule}")
