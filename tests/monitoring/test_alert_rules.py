"""What should not be so, seen in events and states."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.events import Graded, Judged
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.status import BudgetView, Overall, SourceState, SourceStatus
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.monitoring.alert_rules import Observations, RuleLimits, conditions
from mdagent_mcp.monitoring.moves import Moves, moved
from mdagent_mcp.monitoring.shares import Share, wilson_lower
from monitoring.test_metrics import OVERALL, status

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
HEALTHY = (
    status(source="yahoo", state=SourceState.LIVE, budget=()),
    status(source="cboe", state=SourceState.LIVE, budget=()),
)


def told(
    observations: Observations | None = None,
    statuses: tuple[SourceStatus, ...] = HEALTHY,
    overall: Overall = OVERALL,
    now: datetime = NOON,
) -> dict[str, str]:
    """Rule and subject of every condition with its text."""
    found = conditions(observations or Observations(), statuses, overall, now)
    return {" ".join(c.key).strip(): c.text for c in found}


def graded(grade: Grade | None, at: datetime, price: float | None = None) -> Graded:
    """An answer about AAPL."""
    return Graded("AAPL", Endpoint.QUOTE, at, grade, cached=False, elapsed_s=0.1, price=price)


def test_a_healthy_server_gives_no_cause() -> None:
    """Nor do sources that are not in use."""
    idle = [status(source=s.value, state=s, budget=()) for s in (SourceState.NO_KEY, SourceState.RETIRED)]
    assert told(statuses=(*HEALTHY, *idle)) == {}
    assert told(statuses=tuple(idle)) == {}


def test_a_source_whose_circuit_is_open_is_down_and_all_of_them_are_another_matter() -> None:
    """The last one that can be asked makes the difference."""
    down = replace(HEALTHY[0], state=SourceState.OPEN)
    assert list(told(statuses=(down, HEALTHY[1]))) == ["source_down yahoo"]
    throttled = replace(HEALTHY[1], state=SourceState.THROTTLED)
    assert list(told(statuses=(down, throttled))) == ["all_sources_down", "source_down yahoo"]


def test_a_long_quota_that_is_nearly_spent_is_told_with_its_figures_and_a_short_one_never() -> None:
    """A minute's quota fills all the time."""
    budget = (BudgetView("day", 25, 23, NOON + timedelta(hours=7)), BudgetView("minute", 8, 8, NOON))
    assert told(statuses=(replace(HEALTHY[0], budget=budget), HEALTHY[1])) == {
        "quota_nearly_spent yahoo day": "yahoo has spent 23 of 25 calls per day; "
        "it frees up from 2026-11-25 00:00 UTC on."
    }
    spared = (BudgetView("day", 25, 22, NOON),)
    assert told(statuses=(replace(HEALTHY[0], budget=spared), HEALTHY[1])) == {}


def test_memory_trouble_is_told_in_its_own_words() -> None:
    """As source_status has them."""
    assert told(overall=replace(OVERALL, memory_state="kept in RAM only")) == {
        "memory_trouble": "The memory is not kept as configured: kept in RAM only"
    }


@pytest.mark.parametrize(("low", "expected"), [(3, []), (30, ["grades_falling"])])
def test_falling_grades_are_told_when_chance_does_not_explain_them(low: int, expected: list[str]) -> None:
    """Of sixty answers in a quarter of an hour."""
    observations = Observations()
    for number in range(60):
        grade = Grade.D if number < low else Grade.A
        observations(graded(grade, NOON + timedelta(seconds=10 * number)))
    assert list(told(observations, now=NOON + timedelta(minutes=10))) == expected


def test_symbols_without_an_answer_are_critical_and_are_forgotten_when_the_window_has_passed() -> None:
    """A quarter of an hour later nothing is known any more."""
    observations = Observations()
    for number in range(40):
        observations(graded(None if number < 20 else Grade.A, NOON + timedelta(seconds=number)))
    assert told(observations, now=NOON + timedelta(minutes=1)) == {
        "unanswered": "20 of the last 40 symbols got no answer; usual is 0.5%."
    }
    assert told(observations, now=NOON + timedelta(minutes=20)) == {}


def test_a_source_that_others_contradict_is_named() -> None:
    """And so is the disagreement as a whole; a healthy one is not."""
    observations = Observations()
    for number in range(30):
        at = NOON + timedelta(seconds=number)
        observations(Judged("yahoo", "AAPL", Endpoint.QUOTE, at, agreed=number % 2 == 0))
        observations(Judged("cboe", "AAPL", Endpoint.QUOTE, at, agreed=True))
        observations(Judged("tiingo", "AAPL", Endpoint.QUOTE, at, agreed=None))
    assert list(told(observations, now=NOON + timedelta(minutes=1))) == [
        "sources_disagree",
        "source_contradicted yahoo",
    ]


def test_what_is_usual_is_learned_so_that_a_server_of_delayed_sources_is_left_in_peace() -> None:
    """Thirty per cent of low grades are an alert at first, and none after they were usual for days."""
    share = Share(0.05, floor=0.02)
    at = NOON
    for number in range(4000):
        share.add(bad=number % 10 == 0, at=at)
        at += timedelta(seconds=20)
    assert share.usual == pytest.approx(0.1, abs=0.02)
    assert not share.has_risen(at)
    for number in range(45):
        share.add(bad=number % 2 == 0, at=at)
        at += timedelta(seconds=10)
    assert share.has_risen(at)


def test_a_fault_that_lasts_does_not_become_usual() -> None:
    """A day of half the answers bad."""
    share = Share(0.05, floor=0.2)
    at = NOON
    for number in range(4320):
        share.add(bad=number % 2 == 0, at=at)
        at += timedelta(seconds=20)
    assert share.has_risen(at)
    assert share.usual == pytest.approx(0.05, abs=0.01)


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_lower_bound_of_a_share_lies_between_nothing_and_the_share(bad: int, more: int) -> None:
    """And rises with the evidence."""
    total = bad + more
    bound = wilson_lower(bad, total)
    assert 0.0 <= bound <= bad / total + 1e-12
    assert wilson_lower(10 * bad, 10 * total) >= bound - 1e-12


def test_an_unusual_move_of_a_watched_symbol_is_told_with_its_size() -> None:
    """Five per cent in a minute after an hour of hundredths; another symbol's is not."""
    observations = Observations(RuleLimits(frozenset({"AAPL"})))
    at = NOON
    for number in range(60):
        observations(graded(Grade.A, at, 200.0 * (1 + 0.0002 * math.sin(number))))
        at += timedelta(seconds=60)
    observations(graded(Grade.A, at, 210.0))
    observations(replace(graded(Grade.A, at, 1.0), symbol="MSFT"))
    assert told(observations, now=at) == {
        "unusual_move AAPL": f"AAPL moved by +4.99% at {at:%H:%M:%S} UTC, far beyond what it usually does."
    }
    assert told(observations, now=at + timedelta(minutes=11)) == {}


def test_a_price_of_a_low_grade_is_no_move() -> None:
    """A wrong price must not raise an alarm about the market."""
    observations = Observations(RuleLimits(frozenset({"AAPL"})))
    at = NOON
    for number in range(60):
        observations(graded(Grade.A, at, 200.0 + number % 2))
        at += timedelta(seconds=60)
    observations(graded(Grade.F, at, 20000.0))
    assert told(observations, now=at) == {}


def test_moves_over_a_night_or_of_less_than_a_per_cent_are_never_unusual() -> None:
    """Whatever was usual."""
    known = Moves(100.0, NOON, deviation=1e-5, samples=100)
    assert moved(known, 120.0, NOON + timedelta(hours=12))[1] is None
    assert moved(known, 100.9, NOON + timedelta(seconds=10))[1] is None
    assert moved(known, 101.5, NOON + timedelta(seconds=10))[1] == pytest.approx(0.015)


@given(st.lists(st.floats(0.5, 2.0), min_size=40, max_size=80))
def test_one_outlier_widens_its_own_limit_by_little(factors: list[float]) -> None:
    """By a seventh at most while little is known, however large it is."""
    known: Moves | None = None
    at = NOON
    for factor in factors:
        at += timedelta(seconds=30)
        before = known
        known, _ = moved(known, 100.0 * factor, at)
        if before is not None and before.samples >= 30:
            assert known.deviation <= before.deviation * 1.14 + 2e-6
