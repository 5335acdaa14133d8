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


async def test_no_hung_source_makes_the_slowest_answers_slower() -> None:
    """Whichever of the six falls silent: the promise is a fifth more; the slowest of sixty stays well within it."""
    healthy = await with_faults((), questions=60, seed=2)
    hung = {source: await with_faults((f"{source}=hang",), questions=60, seed=2) for source in SIX}
    growth = {source: report.quantile_s(0.99) / healthy.quantile_s(0.99) for source, report in hung.items()}
    assert {source: by for source, by in growth.items() if by >= 1.15} == {}
    assert {source: report.unanswered for source, report in hung.items() if report.unanswered} == {}


async def test_hedging_cuts_the_slow_answers_for_at_most_a_tenth_more_calls() -> None:
    """Every fourth call takes more than a second: without hedging one answer in twenty waits for such a one."""
    slow = ("all=delay:1.2,chance=0.25",)
    without = await with_faults(slow, questions=100, seed=3, hedging=False)
    hedged = await with_faults(slow, questions=100, seed=3)
    assert hedged.quantile_s(0.95) < 0.6 * without.quantile_s(0.95)
    assert hedged.calls <= 1.1 * without.calls
