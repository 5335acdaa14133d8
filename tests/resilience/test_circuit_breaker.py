"""The circuit breaker told as stories. Its laws are in `tests/properties`."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from mdagent_mcp.domain.failures import TRAITS, FailureKind
from mdagent_mcp.resilience.circuit_breaker import (
    MOVES,
    WEIGHTS,
    Breaker,
    BreakerOptions,
    Circuit,
    Level,
    Permit,
    Refusal,
    Signal,
    allow,
    report,
    retry_at,
)
from mdagent_mcp.resilience.cusum import Detector

QUIET = BreakerOptions(jitter=0.0)


def _call(breaker: Breaker, kind: FailureKind | None, now: float) -> Breaker:
    breaker, permit = allow(breaker, now)
    assert isinstance(permit, Permit)
    return report(breaker, permit, kind, now, random.Random(1))


def _failing(breaker: Breaker, start: float, step: float = 10.0) -> tuple[Breaker, float, int]:
    """Fail until the circuit opens; the breaker, the instant and the number of calls it took."""
    now, calls = start, 0
    while breaker.circuit is Circuit.CLOSED:
        breaker, now, calls = _call(breaker, FailureKind.TIMEOUT, now), now + step, calls + 1
        assert calls < 100
    return breaker, now - step, calls


def test_the_table_of_moves_is_total() -> None:
    """Every state knows where every signal leads."""
    assert set(MOVES) == set(product(Circuit, Signal))


def test_the_moves_are_the_known_ones() -> None:
    """Four moves change the circuit; every other signal leaves it."""
    assert {(state, signal): to for (state, signal), to in MOVES.items() if to is not state} == {
        (Circuit.CLOSED, Signal.FAILING): Circuit.OPEN,
        (Circuit.OPEN, Signal.RESTED): Circuit.HALF_OPEN,
        (Circuit.HALF_OPEN, Signal.RECOVERED): Circuit.CLOSED,
        (Circuit.HALF_OPEN, Signal.RELAPSED): Circuit.OPEN,
    }


def test_the_table_of_weights_is_total_and_agrees_with_the_traits() -> None:
    """Exactly the kinds that trip a breaker have weight on some level, and those prove nothing good."""
    assert set(WEIGHTS) == {None, *FailureKind}
    for kind, traits in TRAITS.items():
        evidence = WEIGHTS[kind]
        assert (max(evidence.source, evidence.endpoint) > 0) is traits.trips_breaker, kind
        assert not (evidence.answered and traits.trips_breaker), kind


@pytest.mark.parametrize(("step", "most_calls"), [(0.1, 8), (1.0, 7), (12.0, 6), (60.0, 8), (600.0, 8)])
def test_a_dead_endpoint_opens_after_a_few_calls_at_any_pace(step: float, most_calls: int) -> None:
    """From ten a second to one in ten minutes, after twenty good calls, a handful of failures suffices."""
    breaker, now = Breaker(Level.ENDPOINT, 0.0), 0.0
    for _ in range(20):
        breaker, now = _call(breaker, None, now), now + step
    breaker, _, calls = _failing(breaker, now, step)
    assert 3 <= calls <= most_calls


def test_a_few_failures_among_many_successes_open_nothing() -> None:
    """One in ten fails for a day at one a minute: the circuit stays closed."""
    rng, breaker = random.Random(3), Breaker(Level.ENDPOINT, 0.0)
    for minute in range(1440):
        kind = FailureKind.TIMEOUT if rng.random() < 0.1 else None
        breaker = _call(breaker, kind, minute * 60.0)
    assert breaker.circuit is Circuit.CLOSED


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if not TRAITS[kind].trips_breaker])
@pytest.mark.parametrize("level", list(Level))
def test_what_is_not_the_sources_illness_opens_nothing(kind: FailureKind, level: Level) -> None:
    """A hundred throttled, unauthorized, unknown or cancelled calls in a row leave the circuit closed."""
    breaker = Breaker(level, 0.0)
    for second in range(100):
        breaker = _call(breaker, kind, float(second))
    assert breaker.circuit is Circuit.CLOSED
    assert breaker.detector.score == 0.0


def test_an_unreachable_host_opens_the_source_and_not_the_endpoint() -> None:
    """NETWORK speaks against the source alone."""
    source, endpoint = Breaker(Level.SOURCE, 0.0), Breaker(Level.ENDPOINT, 0.0)
    for second in range(10):
        if source.circuit is Circuit.CLOSED:
            source = _call(source, FailureKind.NETWORK, float(second))
        endpoint = _call(endpoint, FailureKind.NETWORK, float(second))
    assert (source.circuit, endpoint.circuit) == (Circuit.OPEN, Circuit.CLOSED)


def test_a_broken_endpoint_opens_itself_long_before_its_source() -> None:
    """While its other endpoint answers, the source stays closed."""
    source, endpoint = Breaker(Level.SOURCE, 0.0), Breaker(Level.ENDPOINT, 0.0)
    for second in range(30):
        if endpoint.circuit is Circuit.CLOSED:
            endpoint = _call(endpoint, FailureKind.MALFORMED_REPLY, float(second))
            source = _call(source, FailureKind.MALFORMED_REPLY, float(second))
        source = _call(source, None, second + 0.5)
    assert (source.circuit, endpoint.circuit) == (Circuit.CLOSED, Circuit.OPEN)


def test_an_open_circuit_refuses_until_the_break_is_over() -> None:
    """Refused with the time that is left, then one probe is let through."""
    breaker, now, _ = _failing(Breaker(Level.ENDPOINT, 0.0, QUIET), 0.0)
    assert retry_at(breaker) == now + 5.0
    assert allow(breaker, now + 2.0) == (breaker, Refusal(3.0))
    breaker, permit = allow(breaker, now + 5.0)
    assert (breaker.circuit, permit) == (Circuit.HALF_OPEN, Permit(2, 1))
    assert retry_at(breaker) is None


def test_two_good_probes_close_the_circuit() -> None:
    """After the first, two may be under way; after the second the circuit is closed and its score forgotten."""
    breaker, now, _ = _failing(Breaker(Level.ENDPOINT, 0.0, QUIET), 0.0)
    breaker = _call(breaker, None, now + 5.0)
    assert breaker.circuit is Circuit.HALF_OPEN
    breaker = _call(breaker, FailureKind.UNKNOWN_SYMBOL, now + 6.0)
    assert (breaker.circuit, breaker.detector.score, breaker.since) == (Circuit.CLOSED, 0.0, now + 6.0)


def test_of_a_hundred_calls_at_half_open_one_reaches_the_source() -> None:
    """The others are refused until the probe's lease would run out."""
    breaker, now, _ = _failing(Breaker(Level.ENDPOINT, 0.0, QUIET), 0.0)
    verdicts = []
    for _ in range(100):
        breaker, verdict = allow(breaker, now + 5.0)
        verdicts.append(verdict)
    assert verdicts == [Permit(2, 1), *[Refusal(10.0)] * 99]


def test_a_bad_probe_opens_again_and_each_break_is_longer() -> None:
    """5, 10, 20, 40 seconds and then the longest break."""
    breaker, now, _ = _failing(Breaker(Level.ENDPOINT, 0.0, QUIET), 0.0)
    breaks = []
    for _ in range(6):
        breaks.append(breaker.rest_until - now)
        now = breaker.rest_until
        breaker = _call(breaker, FailureKind.TIMEOUT, now)
    assert breaks == pytest.approx([5.0, 10.0, 20.0, 40.0, 60.0, 60.0])


def test_health_takes_the_doublings_back() -> None:
    """After minutes of health the next break is short again."""
    breaker = replace(Breaker(Level.ENDPOINT, 0.0, QUIET), doublings=4)
    assert [_opened_at(breaker, second) - second for second in (30.0, 60.0, 150.0, 600.0)] == pytest.approx(
        [60.0, 40.0, 20.0, 5.0]
    )


def _opened_at(breaker: Breaker, now: float) -> float:
    alarmed = replace(breaker, detector=Detector(score=15.9, at=now))
    breaker = _call(alarmed, FailureKind.TIMEOUT, now)
    assert breaker.circuit is Circuit.OPEN
    return breaker.rest_until


def test_jitter_comes_from_the_chance_handed_in() -> None:
    """Breaks differ by seed within a fifth of five seconds."""
    breaker = replace(Breaker(Level.ENDPOINT, 0.0), detector=Detector(score=15.9, at=0.0))
    rests = {report(breaker, Permit(0), FailureKind.TIMEOUT, 0.0, random.Random(n)).rest_until for n in range(50)}
    assert len(rests) == 50
    assert 4.0 <= min(rests) < 4.3
    assert 5.7 < max(rests) <= 6.0


def test_a_requested_rest_is_kept_at_once() -> None:
    """A 503 with Retry-After opens the endpoint for as long, up to an hour, and the source not at all."""
    options = BreakerOptions(jitter=0.0, longest_requested_s=3600.0)
    rests = {
        asked: report(
            Breaker(Level.ENDPOINT, 0.0, options),
            Permit(0),
            FailureKind.SOURCE_ERROR,
            0.0,
            random.Random(1),
            retry_after_s=asked,
        ).rest_until
        for asked in (1.0, 120.0, 1e9)
    }
    assert rests == {1.0: 5.0, 120.0: 120.0, 1e9: 3600.0}
    source = report(
        Breaker(Level.SOURCE, 0.0), Permit(0), FailureKind.SOURCE_ERROR, 0.0, random.Random(1), retry_after_s=9.0
    )
    assert source.circuit is Circuit.CLOSED


def test_a_report_from_before_the_break_is_ignored() -> None:
    """A slow success sent before the circuit opened neither closes it nor counts as a probe."""
    breaker = Breaker(Level.ENDPOINT, 0.0, QUIET)
    breaker, early = allow(breaker, 0.0)
    assert isinstance(early, Permit)
    breaker, now, _ = _failing(breaker, 0.0)
    assert report(breaker, early, None, now + 1.0, random.Random(1)) == breaker
    half_open, _ = allow(breaker, now + 5.0)
    assert report(half_open, early, FailureKind.TIMEOUT, now + 6.0, random.Random(1)) == half_open


def test_a_lost_probe_frees_its_place() -> None:
    """Never reported: after its lease another probe goes out, and the lost one's late report is ignored."""
    breaker, now, _ = _failing(Breaker(Level.ENDPOINT, 0.0, QUIET), 0.0)
    breaker, lost = allow(breaker, now + 5.0)
    assert isinstance(lost, Permit)
    breaker, verdict = allow(breaker, now + 14.0)
    assert verdict == Refusal(1.0)
    breaker, second = allow(breaker, now + 15.0)
    assert second == Permit(2, 2)
    assert report(breaker, lost, FailureKind.TIMEOUT, now + 16.0, random.Random(1)) == breaker


def test_a_probe_reported_after_its_lease_counts_for_nothing() -> None:
    """Also when nobody has asked for its place yet."""
    breaker, now, _ = _failing(Breaker(Level.ENDPOINT, 0.0, QUIET), 0.0)
    breaker, late = allow(breaker, now + 5.0)
    assert isinstance(late, Permit)
    assert report(breaker, late, None, now + 15.0, random.Random(1)) == breaker


def test_failures_of_long_ago_are_no_evidence() -> None:
    """Four failures yesterday and three today open nothing; seven within minutes do."""
    for pause, circuit in ((86_400.0, Circuit.CLOSED), (10.0, Circuit.OPEN)):
        breaker, now = Breaker(Level.ENDPOINT, 0.0), 0.0
        for step in (10.0, 10.0, 10.0, pause, 10.0, 10.0, 10.0):
            if breaker.circuit is Circuit.CLOSED:
                breaker, now = _call(breaker, FailureKind.TIMEOUT, now), now + step
        assert breaker.circuit is circuit


@pytest.mark.parametrize("step", [0.01, 1.0, 10.0, 60.0, 300.0])
def test_a_source_that_was_never_well_opens_soon_too(step: float) -> None:
    """A server started without a network does not ask in vain for long: failures are not learned as usual."""
    assert _failing(Breaker(Level.ENDPOINT, 0.0), 0.0, step)[2] <= 8


def test_a_cancelled_probe_gives_its_place_back() -> None:
    """Nothing is learned from it and the next call may probe at once."""
    breaker, now, _ = _failing(Breaker(Level.ENDPOINT, 0.0, QUIET), 0.0)
    breaker = _call(breaker, FailureKind.CANCELLED, now + 5.0)
    assert (breaker.circuit, breaker.recovered) == (Circuit.HALF_OPEN, 0)
    assert allow(breaker, now + 5.0)[1] == Permit(2, 2)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"first_break_s": 0.0},
        {"first_break_s": 90.0},
        {"jitter": 1.0},
        {"probes_to_close": 0},
        {"lease_s": 0.0},
        {"longest_requested_s": -1.0},
    ],
)
def test_nonsense_options_are_refused(nonsense: dict[str, Any]) -> None:
    """Options that could never work say so on construction."""
    with pytest.raises(ValueError, match="a breaker needs"):
        replace(BreakerOptions(), **nonsense)
