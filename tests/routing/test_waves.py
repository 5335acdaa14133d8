"""Behaviour of the choice of a set of sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.routing.planning import EQUAL, LATENCY_WEIGHT, Candidate, asking_order, toll, utility
from mdagent_mcp.routing.waves import (
    MISS,
    REACH,
    RESERVE_PRICE,
    SURENESS,
    Need,
    affordable,
    choose_wave,
    expected_cost,
    reach_chance,
    request_shares,
)

chances = st.floats(0, 1)
candidate = st.builds(
    Candidate,
    st.sampled_from("abcdef"),
    st.sampled_from(["x", "y", "z", "w"]),
    chances,
    cost_per_call=st.sampled_from([0.0, 0.02, 0.1, 0.9]),
    wait_s=st.sampled_from([0.0, 0.4, 5.0]),
    fresh=chances,
    current=chances,
    complete=chances,
    latency_s=st.floats(0, 2),
    scarcity=st.sampled_from([0.0, 0.5, 20.0]),
    load=st.integers(0, 5).map(float),
)
several = st.lists(candidate, min_size=1, max_size=4, unique_by=lambda c: c.source).map(tuple)
needs = st.builds(Need, st.integers(1, 2), st.booleans(), st.booleans(), live=st.booleans(), urgent=st.booleans())


def source(name: str, trust: float = 0.97, **more: float) -> Candidate:
    """A source of a group of its own."""
    return replace(Candidate(name, name, trust), **more)  # type: ignore[arg-type]


def brute_chance(chosen: tuple[Candidate, ...], need: Need) -> float:
    """The same by going through everything that can happen."""
    total = 0.0
    outcomes: list[tuple[float, tuple[tuple[str, bool, bool] | None, ...]]] = [(1.0, ())]
    for one in chosen:
        voice, fresh = one.says(live=need.live)
        says: list[tuple[float, tuple[str, bool, bool] | None]] = [(1.0 - voice, None)]
        for share, is_fresh in ((fresh, True), (voice - fresh, False)):
            says.append((share * one.complete, (one.upstream_group, is_fresh, True)))
            says.append((share * (1.0 - one.complete), (one.upstream_group, is_fresh, False)))
        outcomes = [(p * q, (*told, what)) for p, told in outcomes for q, what in says]
    for chance, told in outcomes:
        heard = [what for what in told if what is not None]
        groups = {group for group, _, _ in heard} - need.covered
        fresh_enough = not need.fresh or any(is_fresh for _, is_fresh, _ in heard)
        full_enough = not need.complete or any(full for _, _, full in heard)
        total += chance * (len(groups) >= need.voices and fresh_enough and full_enough)
    return total


@given(st.lists(candidate, max_size=3, unique_by=lambda c: c.source).map(tuple), needs, st.booleans())
def test_the_chance_of_a_set_is_that_of_all_that_can_happen(
    chosen: tuple[Candidate, ...], need: Need, covered: bool
) -> None:
    """Groups, freshness and completeness included, whether or not a group confirms already."""
    need = replace(need, covered=frozenset({"x"}) if covered else frozenset())
    assert reach_chance(chosen, need) == pytest.approx(brute_chance(chosen, need), abs=1e-9)


@given(several, needs)
def test_one_more_source_never_lowers_the_chance(chosen: tuple[Candidate, ...], need: Need) -> None:
    """It may say nothing, but takes nothing away."""
    assert reach_chance(chosen, need) >= reach_chance(chosen[:-1], need) - 1e-9


def cost_of(chosen: Sequence[Candidate], need: Need) -> float:
    """What a set is expected to cost, each of its sources being heard when it usually answers."""
    fastest_first = sorted(chosen, key=lambda c: c.latency_s)
    return expected_cost(
        fastest_first, [reach_chance(fastest_first[:count], need) for count in range(1, len(fastest_first) + 1)]
    )


@settings(deadline=None)  # all sets are compared
@given(several, needs, st.integers(1, 3))
def test_the_set_is_the_cheapest_of_those_that_reach_the_grade(
    found: tuple[Candidate, ...], need: Need, most: int
) -> None:
    """Up to what counts as equal; and where a set reaches it at a price that is worth it, one that does is chosen."""
    wave = choose_wave(found, need, most)
    usable = affordable(found, urgent=need.urgent)
    sets = [s for n in range(1, most + 1) for s in combinations(usable, n)]
    reaching = [s for s in sets if reach_chance(s, need) >= REACH]
    chosen = tuple(c for c in found if c.source in wave.sources)
    assert 1 <= len(wave.asked) <= most
    assert set(wave.asked) <= {c.source for c in usable}
    cost = {s: cost_of(s, need) for s in sets}
    if not reaching or (not need.urgent and min(cost[s] for s in reaching) > min(cost.values()) + SURENESS - 1e-9):
        return
    assert reach_chance(chosen, need) >= REACH - 1e-9
    least = min(cost[s] for s in reaching)
    assert cost_of(chosen, need) <= least + EQUAL + 1e-9


def test_who_names_no_grade_does_not_buy_sureness_at_any_price() -> None:
    """Two good cheap sources, and a dear third one: it is asked where it costs little, or where a grade is named."""
    first, second = (Candidate(name, name, trust=0.94, latency_s=0.1) for name in "ab")
    little, much = (Candidate("c", "c", trust=0.9, latency_s=0.1, cost_per_call=cost) for cost in (0.04, 0.4))
    need = Need(2, fresh=False, live=True)
    assert reach_chance((first, second), need) < REACH <= reach_chance((first, second, much), need)
    asked = [set(choose_wave((first, second, third), need, 3).sources) for third in (little, much)]
    assert asked == [{"a", "b", "c"}, {"a", "b"}]
    assert set(choose_wave((first, second, much), replace(need, urgent=True), 3).sources) == {"a", "b", "c"}


@settings(deadline=None)  # all sets are compared
@given(several, needs, st.integers(1, 3))
def test_a_wave_does_not_depend_on_the_order_of_the_candidates(
    found: tuple[Candidate, ...], need: Need, most: int
) -> None:
    """The same knowledge gives the same choice."""
    assert choose_wave(found, need, most).asked == choose_wave(tuple(reversed(found)), need, most).asked


@given(candidate, st.floats(0, 0.5), st.sampled_from([0.0, 0.3]), st.booleans())
def test_a_dominated_source_is_never_asked_first(good: Candidate, worse_by: float, dearer: float, live: bool) -> None:
    """Worse or equal in everything, its load included, and of the same group."""
    worse = replace(
        good,
        source="zz",
        trust=max(0.0, good.trust - worse_by),
        cost_per_call=good.cost_per_call + dearer,
        latency_s=good.latency_s + worse_by,
    )
    assert asking_order((worse, good), live=live)[0] == good.source
    assert choose_wave((worse, good), Need(1, fresh=False, live=False), 1).asked == (good.source,)


@given(candidate, st.floats(0, 50), st.floats(0, 50), st.booleans())
def test_more_quota_left_never_lowers_the_utility(found: Candidate, less: float, more: float, live: bool) -> None:
    """A quota that runs short makes a call dearer, free ones too."""
    short, ample = (replace(found, scarcity=s) for s in (max(less, more), min(less, more)))
    assert utility(ample, live=live) >= utility(short, live=live)
    assert toll(ample) <= toll(short)


def test_two_sure_sources_are_enough_and_three_doubtful_ones_are_asked() -> None:
    """Of sources that cost something, no more are asked than are expected to be needed."""
    sure = tuple(source(name, cost_per_call=0.1) for name in "abc")
    doubtful = tuple(replace(c, trust=0.7) for c in sure)
    assert len(choose_wave(sure, Need(), 3).asked) == 2
    assert len(choose_wave(doubtful, Need(), 3).asked) == 3


def test_a_free_source_is_asked_beside_the_set_so_that_the_fastest_answers_count() -> None:
    """One, and none that is hardly ever right or would keep everybody waiting."""
    free = tuple(source(name, 0.995, load=4.0) for name in "abc")
    wave = choose_wave(free, Need(), 3)
    assert (len(wave.sources), len(wave.spares)) == (2, 1)
    assert choose_wave((*free[:2], replace(free[2], trust=0.3)), Need(), 3).spares == ()
    assert choose_wave((*free[:2], replace(free[2], latency_s=1.2)), Need(), 3).spares == ()


def test_a_source_whose_quota_runs_short_is_kept_for_those_that_need_it() -> None:
    """It is asked where it is urgent, or where nobody else is left."""
    scarce = source("scarce", 0.99, cost_per_call=0.5, scarcity=3.0)
    others = (source("a", 0.6), source("b", 0.6))
    assert scarce.price > RESERVE_PRICE
    calm = choose_wave((scarce, *others), Need(), 3)
    assert (set(calm.asked), calm.reserved) == ({"a", "b"}, ("scarce",))
    assert "scarce" in choose_wave((scarce, *others), Need(urgent=True, voices=1), 3).asked
    assert choose_wave((scarce,), Need(), 3).asked == ("scarce",)


def test_a_call_that_would_wait_for_its_limiter_too_long_counts_for_nothing() -> None:
    """A quota is a hard limit: the limiter refuses such a call at once."""
    full = source("full", wait_s=40.0)
    assert reach_chance((full,), Need(1, fresh=False)) == 0.0
    assert choose_wave((full, source("a", 0.5)), Need(1), 1).asked == ("a",)
    assert choose_wave((full,), Need(1), 1).asked == ("full",)


def test_where_nobody_is_fresh_late_voices_are_asked_together() -> None:
    """A need that cannot be met does not make one ask one after the other."""
    late = tuple(source(name, fresh=0.0, current=0.02) for name in "abc")
    wave = choose_wave(late, Need(), 3)
    assert len(wave.asked) == 3
    assert wave.need == Need(2, fresh=False, live=False)


def test_equals_share_the_calls() -> None:
    """None of them is asked more than once oftener than another."""
    equals = [source(name, cost_per_call=0.1) for name in "abcde"]
    sent = dict.fromkeys("abcde", 0)
    for _ in range(40):
        loaded = tuple(replace(c, load=float(sent[c.source])) for c in equals)
        for name in choose_wave(loaded, Need(), 3).asked:
            sent[name] += 1
    assert max(sent.values()) - min(sent.values()) <= 1
    assert sum(sent.values()) == 80
    shares = request_shares(equals, live=True)
    assert max(shares.values()) - min(shares.values()) < 0.1


def test_a_fast_third_source_is_worth_its_price_where_one_would_wait_for_a_slow_second() -> None:
    """One waits until two have answered, not for all: the same call is not made where the second is as fast."""
    first, slow, third = source("a", latency_s=0.1), source("b", latency_s=0.8), source("c", latency_s=0.1)
    dear = replace(third, cost_per_call=0.2)
    assert set(choose_wave((first, slow, dear), Need(), 3).asked) == {"a", "c"}
    assert expected_cost((first, slow), (0.0, 0.9)) == pytest.approx(LATENCY_WEIGHT * 0.8 + MISS * 0.1)
    assert expected_cost((first, third, slow), (0.0, 0.8, 0.95)) == pytest.approx(
        LATENCY_WEIGHT * (0.8 * 0.1 + 0.15 * 0.8 + 0.05 * 0.8) + MISS * 0.05
    )


def test_a_source_that_cannot_help_is_not_asked_because_it_is_cheap() -> None:
    """It is fast and late; the two that could confirm each other cost something and are known little of."""
    late = source("late", 1.0, current=0.01, fresh=0.01, latency_s=0.05, cost_per_call=0.01)
    unknown = [source(name, 0.75, cost_per_call=0.3, latency_s=0.3) for name in "ab"]
    assert set(choose_wave((late, *unknown), Need(), 3).sources) == {"a", "b"}
