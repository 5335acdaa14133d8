"""A small, seeded slice of the grading benchmark: fails when the accuracy of grades falls clearly.

The whole of it is `python benchmarks/grading.py --held-out`; its figures stand in `docs/benchmarks/grading.md`.
"""

from __future__ import annotations

from datetime import date

import pytest

from grading_quotes.closed import CLOSED
from grading_quotes.drafts import Draft, Profile
from grading_quotes.kinds import CONTINUOUS, DISCRETE
from grading_quotes.measure import Result, Tally, run, wilson_low
from grading_quotes.oracle import Truth, right_grade
from grading_quotes.world import Setting
from mdagent_mcp.domain.quality import Grade

DAY = date(2013, 10, 8)
FRIDAY = date(2013, 10, 4)


async def test_grades_are_right_where_the_fault_is_clear() -> None:
    """All discrete kinds on two calm afternoons, and a week-end."""
    open_market = await run([Setting(s, DAY, 5, 0.3, early_freeze=True) for s in ("SPY", "F")], DISCRETE, 3)
    closed = await run([Setting("AIG", FRIDAY, 5, 0.3, until_close=True)], CLOSED, 3)
    assert open_market.exact >= 0.97
    assert open_market.over <= 0.015
    assert closed.exact == 1.0


async def test_grades_are_right_where_severities_lie_on_the_lines() -> None:
    """Half of all severities within 30 % of a line of the rubric."""
    tally = await run([Setting(s, DAY, 6, 0.3) for s in ("AIG", "GOOG")], CONTINUOUS, 14)
    assert tally.exact >= 0.95
    assert tally.over <= 0.025


def draft(price: float = 100.0, age_s: float = 1.0, group: str = "a", **wrong: bool) -> Draft:
    """What a source says of a price whose truth is 100."""
    return Draft(Profile(group, group, 0.0, 0.0, 1.0), 1000.0 - age_s, 1000.0, {"price": price}, **wrong)


@pytest.mark.parametrize(
    ("served", "others", "right"),
    [
        (draft(), [draft(group="b")], Grade.A),
        (draft(), [], Grade.B),
        (draft(), [draft()], Grade.B),
        (draft(age_s=4.0), [draft(age_s=4.0, group="b")], Grade.B),
        (draft(), [draft(100.15, group="b")], Grade.B),
        (draft(age_s=20.0), [draft(group="b")], Grade.C),
        (draft(other_session=True), [draft(group="b")], Grade.C),
        (draft(100.3), [draft(group="b")], Grade.D),
        (draft(), [draft(100.3, group="b")], Grade.D),
        (draft(), [draft(100.3, group="b"), draft(group="c")], Grade.A),
        (draft(age_s=31.0), [], Grade.D),
        (draft(wrong_fields=True), [draft(group="b")], Grade.D),
        (draft(wrong_stamp=True), [], Grade.D),
        (draft(121.0), [], Grade.F),
        (draft(wrong_kind=True), [], Grade.F),
        (draft(earlier_session=True), [], Grade.F),
        (draft(age_s=1201.0), [], Grade.F),
        (None, [], Grade.F),
    ],
)
def test_the_right_grade_follows_from_the_truth_alone(served: Draft | None, others: list[Draft], right: Grade) -> None:
    """The lines of the rubric, and nothing of the product."""
    drafts = [d for d in (served, *others) if d is not None]
    assert right_grade(served, drafts, Truth(1000.0, 100.0, 100.0)) is right


def test_a_tally_counts_exact_over_and_by_kind() -> None:
    """Four cases of two kinds."""
    tally = Tally(
        [
            Result("x", Grade.A, Grade.A, near=False),
            Result("x", Grade.B, Grade.A, near=True),
            Result("x", Grade.A, Grade.C, near=False),
            Result("y", Grade.F, Grade.F, near=True),
        ]
    )
    assert (tally.exact, tally.over, tally.macro) == (0.5, 0.25, (1 / 3 + 1.0) / 2)
    assert (tally.where(near=True).exact, tally.confusion()[Grade.B, Grade.A]) == (0.5, 1)
    assert wilson_low(97, 100) == pytest.approx(0.9155, abs=1e-4)
