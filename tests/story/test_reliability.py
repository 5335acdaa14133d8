"""Answers while sources are in trouble: a short run of what `benchmarks/reliability.py` does at length."""

from __future__ import annotations

from reliability import availability, with_faults
from reliability_world import SIX


async def test_with_any_four_of_six_sources_down_there_is_an_answer_and_no_wrong_a_or_b() -> None:
    """Outages change every few minutes; at least 999 of 1000 questions are answered, so here every one."""
    report = await availability(calls=250, seed=7)
    assert report.unanswered == []
    assert report.wrong == []
    assert sum(report.grades.values()) == 250


async def _growth(seed: int, questions: int, *sources: str) -> dict[str, float]:
    """By how much the slowest answers take longer with each of these sources hung, every question being answered."""
    healthy = await with_faults((), questions, seed)
    growth = dict[str, float]()
    for source in sources:
        hung = await with_faults((f"{source}=hang",), questions, seed)
        assert hung.unanswered == []
        growth[source] = hung.quantile_s(0.99) / healthy.quantile_s(0.99)
    return growth


async def test_no_hung_source_makes_the_slowest_answers_slower() -> None:
    """Whichever of the six falls silent: the promise is a fifth more; the slowest of so few stays well within it."""
    growth = await _growth(2, 45, *SIX)
    assert {source: by for source, by in growth.items() if by >= 1.1} == {}


async def test_a_source_that_used_to_be_slow_makes_the_slowest_answers_no_slower_when_it_hangs() -> None:
    """This Yahoo has taken up to 0.3 s: whoever waited for it half as long again would be a third slower."""
    assert (await _growth(1, 45, "yahoo"))["yahoo"] < 1.1


async def test_hedging_cuts_the_slow_answers_for_at_most_a_tenth_more_calls() -> None:
    """Every fourth call takes more than a second: without hedging one answer in seventeen waits for such a one.

    Over two seeds together, because the budget of hedges runs out where so many calls are slow.
    """
    slow = ("all=delay:1.2,chance=0.25",)
    without = [await with_faults(slow, questions=120, seed=seed, hedging=False) for seed in (3, 8)]
    hedged = [await with_faults(slow, questions=120, seed=seed) for seed in (3, 8)]
    late = [sum(took > 0.6 for report in reports for took in report.took_s) for reports in (without, hedged)]
    assert late[0] >= 10
    assert late[1] <= late[0] / 2
    assert sum(report.calls for report in hedged) <= 1.1 * sum(report.calls for report in without)
