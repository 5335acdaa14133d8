"""Grades: the weakest dimension decides, and no strong one buys it back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.quality import (
    GRADE_FLOORS,
    MAX_PENALTY,
    Assessment,
    Dimension,
    DimensionScore,
    Finding,
    Grade,
    Limit,
    Severity,
    Verdict,
    assess,
    at_least,
    grade_of,
)

scores = st.floats(0, 100, allow_nan=False)
all_scores = st.fixed_dictionaries({d: scores.map(DimensionScore) for d in Dimension})
findings = st.lists(
    st.builds(
        Finding,
        st.just("rule"),
        st.sampled_from(list(Dimension)),
        st.sampled_from(list(Verdict)),
        st.just("detail"),
        st.just(Severity.MINOR),
        st.none() | scores,
    ),
    max_size=4,
).map(tuple)


def perfect() -> dict[Dimension, DimensionScore]:
    """Every dimension at its best."""
    return {d: DimensionScore(100.0) for d in Dimension}


@pytest.mark.parametrize(
    ("score", "grade"),
    [
        (100, "A"),
        (90, "A"),
        (89.9, "B"),
        (80, "B"),
        (79.9, "C"),
        (70, "C"),
        (69.9, "D"),
        (60, "D"),
        (59.9, "F"),
        (0, "F"),
    ],
)
def test_the_letters_of_the_rubric(score: float, grade: str) -> None:
    """Ten points each, everything below 60 an F."""
    assert grade_of(score) is Grade(grade)


def test_the_floors_cover_every_letter() -> None:
    """Best first, down to zero."""
    assert [g for _, g in GRADE_FLOORS] == list(Grade)
    assert [f for f, _ in GRADE_FLOORS] == [90.0, 80.0, 70.0, 60.0, 0.0]


def test_as_good_as_wanted_or_better() -> None:
    """The order of letters."""
    assert [at_least(g, Grade.B) for g in Grade] == [True, True, False, False, False]
    assert all(at_least(g, g) for g in Grade)


def test_nothing_wrong_is_a_hundred() -> None:
    """No penalty, no limit worth a reason."""
    assert assess(perfect(), ()) == Assessment(
        Grade.A, 100.0, dict.fromkeys(Dimension, 100.0), Limit(Dimension.TIMELINESS, 100.0, "", ""), ()
    )


def test_the_weakest_dimension_names_letter_limit_and_remedy() -> None:
    """One 79 among hundreds is a C, with its own reason."""
    dimensions = perfect() | {Dimension.VALIDITY: DimensionScore(79.0, "one thing", "another thing")}
    assessed = assess(dimensions, ())
    assert assessed.grade is Grade.C
    assert assessed.limited_by == Limit(Dimension.VALIDITY, 79.0, "one thing", "another thing")
    assert assessed.score == pytest.approx(79.0 - 21 / 6 / 10, abs=0.05)


def test_a_failed_check_bounds_its_own_dimension_only() -> None:
    """And explains it; one that passed or could not run bounds nothing."""
    check = Finding("rule", Dimension.PLAUSIBILITY, Verdict.FAILED, "off by 100", Severity.FATAL, 45.0)
    failed = assess(perfect(), (check,))
    assert failed.dimensions == {d: 45.0 if d is Dimension.PLAUSIBILITY else 100.0 for d in Dimension}
    assert failed.limited_by == Limit(Dimension.PLAUSIBILITY, 45.0, "off by 100", "a value that passes the check rule")
    assert failed.findings == (check,)
    for verdict in (Verdict.PASSED, Verdict.NOT_RUN):
        assert assess(perfect(), (replace(check, verdict=verdict),)).grade is Grade.A
    assert assess(perfect(), (replace(check, cap=None),)).grade is Grade.A


def test_of_several_failures_the_lowest_counts() -> None:
    """Two failures in one dimension are not worse than the worse one."""
    checks = tuple(
        Finding(f"r{cap}", Dimension.VALIDITY, Verdict.FAILED, "", Severity.MINOR, float(cap)) for cap in (75, 66, 79)
    )
    assert assess(perfect(), checks).dimensions[Dimension.VALIDITY] == 66.0


@given(all_scores, findings)
def test_the_letter_is_the_weakest_dimensions_and_the_penalty_never_changes_it(
    dimensions: dict[Dimension, DimensionScore], checks: tuple[Finding, ...]
) -> None:
    """The others take off five points at most, and never a letter."""
    assessed = assess(dimensions, checks)
    caps = [
        min(
            [dimensions[d].score]
            + [c.cap for c in checks if c.dimension is d and c.verdict is Verdict.FAILED and c.cap is not None]
        )
        for d in Dimension
    ]
    low = min(caps)
    assert assessed.grade is grade_of(low)
    assert grade_of(assessed.score) is assessed.grade or assessed.score >= low - 0.05
    assert low - MAX_PENALTY - 0.05 <= assessed.score <= low + 0.05
    assert assessed.limited_by.score == pytest.approx(low, abs=0.06)


@given(all_scores, findings, st.sampled_from(list(Dimension)), scores)
def test_a_worse_dimension_never_makes_a_better_grade(
    dimensions: dict[Dimension, DimensionScore], checks: tuple[Finding, ...], which: Dimension, lower: float
) -> None:
    """Monotone in every dimension."""
    worse = dimensions | {which: DimensionScore(min(lower, dimensions[which].score))}
    before, after = assess(dimensions, checks), assess(worse, checks)
    assert at_least(before.grade, after.grade)
    assert after.score <= before.score


@given(all_scores, findings, findings)
def test_one_more_finding_never_makes_a_better_grade(
    dimensions: dict[Dimension, DimensionScore], checks: tuple[Finding, ...], more: tuple[Finding, ...]
) -> None:
    """Monotone in what was found."""
    before, after = assess(dimensions, checks), assess(dimensions, (*checks, *more))
    assert at_least(before.grade, after.grade)
    assert after.score <= before.score
