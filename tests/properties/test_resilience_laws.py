"""Laws of the resilience policies, tried on arbitrary traffic."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience import quota as quotas_module
from mdagent_mcp.resilience.backoff import BudgetOptions, earn, new_budget, spend
from mdagent_mcp.resilience.circuit_breaker import (
    MOVES,
    WEIGHTS,
    Breaker,
    BreakerOptions,
    Circuit,
    Level,
    Permit,
    Refusal,
    allow,
    report,
)
from mdagent_mcp.resilience.latency import decay, from_json, merge, quantile, recorded, to_json
from mdagent_mcp.resilience.quota import admit, block_until, peek, usage
from mdagent_mcp.resilience.token_bucket import FULL, BucketOptions, draw, level

_steps = st.one_of(st.just(0.0), st.floats(0.0, 3.0), st.floats(0.0, 500.0))
_quota = st.builds(Quota, st.integers(1, 6), st.floats(0.5, 100.0), st.just("q"))
_calls = st.lists(st.tuples(_steps, st.integers(1, 3)), max_size=60)

_unhurried = settings(deadline=None)  # a busy machine is no failure


@_unhurried
@given(st.lists(_quota, min_size=1, max_size=3, unique=True), _calls, st.sampled_from([0.0, 0.5]))
def test_no_sliding_window_ever_holds_more_than_its_limit(
    quotas: list[Quota], calls: list[tuple[float, int]], margin_s: float
) -> None:
    """1.00 times the limit at most, in every window that ends with an admitted call, for every quota at once."""
    log, now, admitted = quotas_module.EMPTY, 0.0, []
    for step, weight in calls:
        now += step
        log, admission = admit(log, quotas, now, weight, margin_s=margin_s)
        if admission.allowed:
            admitted.append((now, weight))
    for quota in quotas:
        for end, _ in admitted:
            margin = min(margin_s, quotas_module.share_of(quota) * quota.window_s)
            inside = [weight for at, weight in admitted if at <= end < at + (quota.window_s + margin)]
            assert sum(inside) <= quota.limit


@_unhurried
@given(
    st.lists(_quota, min_size=1, max_size=3, unique=True), _calls, st.integers(1, 3), st.sampled_from([0.0, 0.25, 50.0])
)
def test_a_call_is_admitted_when_there_is_room_and_exactly_after_its_wait(
    quotas: list[Quota], calls: list[tuple[float, int]], weight: int, rest: float
) -> None:
    """Liveness: refused only when some window is really full, and admitted as soon as the promised wait is over."""
    log, now = quotas_module.EMPTY, 0.0
    for step, spent in calls:
        now += step
        log, _ = admit(log, quotas, now, spent)
    log = block_until(log, now, now + rest)
    verdict = peek(log, quotas, now, weight)
    full = [view.quota for view in usage(log, quotas, now) if view.used + weight > view.quota.limit]
    assert verdict.allowed is (not full and rest == 0.0)
    if verdict.wait_s is None:
        assert any(weight > quota.limit for quota in quotas)
    else:
        assert peek(log, quotas, now + verdict.wait_s, weight).allowed is True


@_unhurried
@given(st.integers(1, 4), _calls)
def test_the_coarse_memory_of_a_large_quota_is_on_the_vendors_side(factor: int, calls: list[tuple[float, int]]) -> None:
    """Remembered in slots, a window still never holds more than its limit."""
    limit = quotas_module.MAX_ENTRIES * factor + 1
    quota = Quota(limit, 1024.0, "large")
    log, now, admitted = quotas_module.EMPTY, 0.0, []
    for step, weight in calls:
        now += step
        log, admission = admit(log, (quota,), now, weight * limit // 9 + 1)
        if admission.allowed:
            admitted.append((now, weight * limit // 9 + 1))
    for end, _ in admitted:
        assert sum(weight for at, weight in admitted if at <= end < at + 1024.0) <= limit


@_unhurried
@given(st.lists(_quota, min_size=1, max_size=4, unique=True), st.floats(0.0, 2.0))
def test_a_margin_never_costs_more_than_its_share_of_what_a_plan_allows_in_the_long_run(
    quotas: list[Quota], margin_s: float
) -> None:
    """Held that much longer, every window still allows the pace of the tightest quota, less that share."""
    tightest = min(quota.limit / quota.window_s for quota in quotas)
    for quota, margin in quotas_module.margins_of(quotas, margin_s).items():
        assert 0.0 <= margin <= margin_s
        pace = quota.limit / (quota.window_s + margin)
        assert pace * (1 + 1e-9) >= tightest / (1 + quotas_module.share_of(quota))


@_unhurried
@given(st.floats(0.1, 50.0), st.floats(1.0, 20.0), st.lists(st.tuples(_steps, st.floats(0.1, 3.0)), max_size=60))
def test_a_bucket_never_gives_more_than_rate_times_time_plus_burst(
    rate: float, burst: float, draws: list[tuple[float, float]]
) -> None:
    """Between any two draws, and its level stays within zero and the burst."""
    options, bucket, now, given_out = BucketOptions(rate, burst), FULL, 0.0, []
    for step, weight in draws:
        now += step
        bucket, drawing = draw(bucket, options, now, weight)
        assert 0.0 <= level(bucket, options, now) <= burst
        if drawing.allowed:
            given_out.append((now, weight))
        elif drawing.wait_s is not None:
            assert draw(bucket, options, now + drawing.wait_s, weight)[1].allowed is True
    for first, (start, _) in enumerate(given_out):
        total = 0.0
        for end, weight in given_out[first:]:
            total += weight
            assert total <= rate * (end - start) + burst + 1e-6


@_unhurried
@given(st.lists(st.tuples(_steps, st.booleans()), max_size=100))
def test_retries_never_exceed_their_budget(calls: list[tuple[float, bool]]) -> None:
    """At most what there was at the start, a tenth of the requests and the trickle."""
    options, now, requests, retries = BudgetOptions(), 0.0, 0, 0
    budget = new_budget(options, now)
    for step, is_request in calls:
        now += step
        if is_request:
            budget, requests = earn(budget, options, now), requests + 1
        else:
            budget, allowed = spend(budget, options, now)
            retries += allowed
        assert 0.0 <= budget.saved <= options.cap
    assert retries <= options.start + options.share * requests + options.trickle_per_s * now + 1e-9


_latencies = st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=200)


@_unhurried
@given(_latencies, st.floats(0.0, 1.0))
def test_a_quantile_is_within_two_percent_of_the_recorded_value(latencies: list[float], share: float) -> None:
    """The shortest value up to which that share of them lies, give or take the width of a bucket."""
    exact = sorted(latencies)[max(0, math.ceil((share - 1e-9) * len(latencies)) - 1)]
    assert quantile(recorded(latencies), share) == pytest.approx(exact, rel=0.02)


@_unhurried
@given(_latencies, _latencies)
def test_merging_is_recording_everything_in_one(first: list[float], second: list[float]) -> None:
    """In either order, and through the text form."""
    both = recorded(first + second)
    assert merge(recorded(first), recorded(second)) == both
    assert merge(recorded(second), from_json(to_json(recorded(first)))) == both


@_unhurried
@given(_latencies, st.floats(0.01, 1.0))
def test_decay_keeps_the_shape(latencies: list[float], factor: float) -> None:
    """Decayed as a whole, quantiles stay and the total shrinks by the factor."""
    histogram = recorded(latencies)
    for share in (0.0, 0.33, 0.77, 1.0):
        assert quantile(decay(histogram, factor), share) == quantile(histogram, share)
    assert decay(histogram, factor).total == pytest.approx(histogram.total * factor)


_kinds = st.one_of(st.none(), st.sampled_from([FailureKind.TIMEOUT, FailureKind.NETWORK]), st.sampled_from(FailureKind))
_signals = st.one_of(
    st.tuples(st.just("allow"), _steps, st.none()),
    st.tuples(st.just("report"), _steps, _kinds),
    st.tuples(st.just("fail"), st.just(0.0), st.just(FailureKind.TIMEOUT)),
    st.tuples(st.just("wait"), st.just(0.0), st.none()),
)


@_unhurried
@given(st.sampled_from(Level), st.lists(_signals, max_size=150), st.randoms(use_true_random=False))
def test_a_breaker_keeps_its_laws_under_any_traffic(
    where: Level, signals: list[tuple[str, float, FailureKind | None]], rng: random.Random
) -> None:
    """Moves are in the table, probes are few, late reports change nothing, and there is always a way back."""
    breaker, now = Breaker(where, 0.0), 0.0
    under_way: list[Permit] = []
    for action, step, kind in signals:
        now += step
        before = breaker
        if action == "report" and under_way:
            permit = under_way.pop(rng.randrange(len(under_way)))
            breaker = report(breaker, permit, kind, now, rng)
            assert permit.generation == before.generation or breaker == before
        elif action == "wait":
            now += _refused_for(breaker, now)
        else:
            breaker, verdict = allow(breaker, now)
            if isinstance(verdict, Permit):
                under_way.append(verdict)
            if under_way and action == "fail":
                breaker = report(breaker, under_way.pop(), kind, now, rng)
        _assert_sound(before, breaker, now)
    _assert_a_way_back(breaker, now, rng)


def _refused_for(breaker: Breaker, now: float) -> float:
    verdict = allow(breaker, now)[1]
    if isinstance(verdict, Permit):
        return 0.0
    assert 0 < verdict.retry_after_s <= max(breaker.options.longest_break_s, breaker.options.lease_s)
    return verdict.retry_after_s


def _assert_sound(before: Breaker, after: Breaker, now: float) -> None:
    reachable = {to for (state, _), to in MOVES.items() if state is before.circuit}
    # `fail` and the first probe after a break take two moves at once: rested, then relapsed.
    reachable |= {to for (state, _), to in MOVES.items() if state in reachable}
    assert after.circuit in reachable
    assert (after.circuit is before.circuit) or after.generation > before.generation
    live = [probe for probe in after.probes if probe.expires_at > now]
    assert len(live) <= after.recovered + 1 <= after.options.probes_to_close
    assert after.circuit is Circuit.HALF_OPEN or not after.probes
    if after.circuit is Circuit.OPEN:
        assert after.rest_until <= after.since + after.options.longest_break_s


def _assert_a_way_back(breaker: Breaker, now: float, rng: random.Random) -> None:
    """From any state a healthy source is called again and its circuit closes."""
    for _ in range(20):
        breaker, verdict = allow(breaker, now)
        if isinstance(verdict, Refusal):
            now += verdict.retry_after_s
        else:
            breaker = report(breaker, verdict, None, now, rng)
            if breaker.circuit is Circuit.CLOSED:
                return
    pytest.fail(f"no way back from {breaker}")


@_unhurried
@given(st.integers(1, 5), st.lists(st.tuples(st.floats(0.0, 4.0), _kinds), max_size=60))
def test_at_half_open_no_more_probes_are_under_way_than_came_back_plus_one(
    probes_to_close: int, steps: list[tuple[float, FailureKind | None]]
) -> None:
    """Counted by the callers themselves and not by the breaker's own list."""
    options = BreakerOptions(probes_to_close=probes_to_close, jitter=0.0)
    breaker = replace(Breaker(Level.ENDPOINT, 0.0, options), circuit=Circuit.OPEN, generation=1, rest_until=1.0)
    now, rng, well = 1.0, random.Random(0), 0
    live: list[tuple[Permit, float]] = []
    for step, kind in steps:
        now += step
        live = [(permit, until) for permit, until in live if until > now]
        breaker, verdict = allow(breaker, now)
        if breaker.circuit is not Circuit.HALF_OPEN:
            return
        if isinstance(verdict, Permit):
            live.append((verdict, now + options.lease_s))
        assert len(live) <= well + 1
        if len(live) > well:
            permit, _ = live.pop(0)
            breaker = report(breaker, permit, kind, now, rng)
            well += WEIGHTS[kind].answered
