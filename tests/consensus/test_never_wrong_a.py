"""A small, seeded slice of `python benchmarks/never_wrong_a.py`, and the answers that once were a wrong A."""

from __future__ import annotations

import numpy as np
import pytest

from never_wrong_a import CHUNK, Tally, build, judge_answer, run

ONCE_WRONG = (
    (77_013_321_039, 1989, "a lone price a step up, confirmed by three from before a step down"),
    (77_013_386_039, 3486, "an older price between two wrong and two right young ones"),
    (77_013_441_039, 3593, "a lone price that was the previous close, a step from four others"),
    (77_013_496_039, 2807, "an older price between a wrong and a right young one"),
    (77_013_516_039, 2455, "prices of a quarter minute ago, volatility not known"),
    (90_001_835_003, 1277, "prices of ten seconds ago, volatility not known"),
    (90_002_070_003, 1991, "a lone price two steps from two that state the same"),
    (90_003_040_003, 4547, "prices of five seconds ago, volatility not known"),
    (90_003_360_003, 651, "prices of a quarter minute ago, volatility not known"),
    (300_005_265_003, 3082, "a lone price beside two within a step of each other"),
    (300_005_445_003, 2881, "a lone price beside two within a step of each other"),
    (20_261_188_368_381, 1851, "a lone stale price near two of ten to twenty seconds ago"),
    (300_001_900_003, 3336, "the same, ten seconds"),
    (300_002_975_003, 2711, "a lone previous close near two of twenty seconds ago"),
    (300_003_575_003, 1433, "the same, seven seconds"),
    (300_004_720_003, 3310, "a lone price some basis points off near two of eleven seconds ago"),
    (300_005_550_003, 2611, "a lone stale price near two of nine seconds ago"),
    (6_160_025_230_018, 3344, "a price of four seconds ago between a wrong and a right young one"),
    (90_002_040_003, 2498, "a group whose newer word is another price"),
)


def test_no_a_on_a_wrong_price_while_a_minority_of_groups_is_wrong() -> None:
    """In 1,500 simulated answers, most of them an A; the interval covers the truth about as often as it says."""
    tally = run((1_500, 11))
    assert tally.wrong["A"] == 0
    assert tally.grades["A"] > 600
    assert 0.93 <= sum(tally.covered.values()) / sum(tally.intervals.values()) <= 0.985


def test_looking_only_at_answers_that_could_become_a_wrong_a_finds_all_that_are_wrong() -> None:
    """The same wrong letters among one answer in nine."""
    every, few = run((1_500, 22)), run((1_500, 22), only_dangerous=True)
    assert (few.simulated, sum(few.grades.values()) < 300) == (1_500, True)
    assert {letter: few.wrong[letter] for letter in "AB"} == {letter: every.wrong[letter] for letter in "AB"}


@pytest.mark.parametrize(("seed", "number", "why"), ONCE_WRONG)
def test_answers_that_once_were_a_wrong_a_are_none_now(seed: int, number: int, why: str) -> None:
    """Each was found among millions and led to a rule."""
    tally = Tally()
    judge_answer(build(CHUNK, np.random.default_rng(seed)), number, tally)
    assert tally.wrong["A"] == 0, why
