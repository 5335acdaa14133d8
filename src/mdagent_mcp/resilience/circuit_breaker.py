"""The circuit breaker: a source that fails is rested, tried again by few, and trusted again after proof.

The rules of this module: every move of the circuit stands in `MOVES`, and nothing else changes it; how much a failure
speaks against a source stands in `WEIGHTS`. Pure arithmetic: `allow(breaker, now)` and `report(breaker, permit, kind,
now, rng)` return the next state; chance comes in as a `random.Random`.

A source has one breaker for itself and one per endpoint. A permit carries the generation it was given in, and reports
from an older generation are ignored: a call that was sent before the break says nothing about the time after it.
Probes are leases: one that is never reported runs out, so nothing can wedge the circuit.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.resilience.cusum import Detector, calmed, observe, threshold
from mdagent_mcp.resilience.quota import seconds_until


class Circuit(StrEnum):
    """The states of a circuit."""

    CLOSED = "closed"
    """Calls flow."""
    OPEN = "open"
    """The source is being rested."""
    HALF_OPEN = "half_open"
    """A few probes find out whether it is well again."""


class Signal(StrEnum):
    """What moves a circuit."""

    FAILING = "failing"
    """Failures became frequent, or the source asked to be rested."""
    RESTED = "rested"
    """A call wants to be made and the break is over."""
    RECOVERED = "recovered"
    """Enough probes came back well."""
    RELAPSED = "relapsed"
    """A probe came back unwell."""


MOVES: Final[Mapping[tuple[Circuit, Signal], Circuit]] = MappingProxyType(
    {
        (Circuit.CLOSED, Signal.FAILING): Circuit.OPEN,
        (Circuit.CLOSED, Signal.RESTED): Circuit.CLOSED,
        (Circuit.CLOSED, Signal.RECOVERED): Circuit.CLOSED,
        (Circuit.CLOSED, Signal.RELAPSED): Circuit.CLOSED,
        (Circuit.OPEN, Signal.FAILING): Circuit.OPEN,
        (Circuit.OPEN, Signal.RESTED): Circuit.HALF_OPEN,
        (Circuit.OPEN, Signal.RECOVERED): Circuit.OPEN,
        (Circuit.OPEN, Signal.RELAPSED): Circuit.OPEN,
        (Circuit.HALF_OPEN, Signal.FAILING): Circuit.HALF_OPEN,
        (Circuit.HALF_OPEN, Signal.RESTED): Circuit.HALF_OPEN,
        (Circuit.HALF_OPEN, Signal.RECOVERED): Circuit.CLOSED,
        (Circuit.HALF_OPEN, Signal.RELAPSED): Circuit.OPEN,
    }
)
"""Where each signal leads; total, so that no pair is left to chance."""


class Level(StrEnum):
    """What a breaker stands for."""

    SOURCE = "source"
    ENDPOINT = "endpoint"
    SYMBOL = "symbol"
    """One instrument at one endpoint."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an outcome says about a source's health.

    Attributes:
        source: weight against the source as a whole; 0 says nothing against it.
        endpoint: weight against the one endpoint.
        symbol: weight against the one instrument at that endpoint.
        answered: without weight against it, it proves that the source works; otherwise it proves nothing.
    """

    source: float = 0.0
    endpoint: float = 0.0
    symbol: float = 0.0
    answered: bool = False

    def against(self, level: Level) -> float:
        """The weight on one level."""
        return {Level.SOURCE: self.source, Level.ENDPOINT: self.endpoint, Level.SYMBOL: self.symbol}[level]


_ANSWERED: Final = Evidence(answered=True)
_SILENT: Final = Evidence()
_ENDPOINT_UNWELL: Final = Evidence(source=0.3, endpoint=1.0, symbol=1.0)
WRONG_PRICE: Final = Evidence(source=0.1, endpoint=0.3, symbol=1.25)
"""What a price says that the consensus found wrong: mostly against this source for this instrument, where it also
takes back that the call had counted as answered."""

WEIGHTS: Final[Mapping[FailureKind | None, Evidence]] = MappingProxyType(
    {
        None: _ANSWERED,
        FailureKind.UNKNOWN_SYMBOL: _ANSWERED,
        FailureKind.NO_DATA: _ANSWERED,
        FailureKind.STALE: _ANSWERED,
        FailureKind.NOT_ENTITLED: _ANSWERED,
        FailureKind.UNSUPPORTED: _SILENT,
        FailureKind.THROTTLED: _SILENT,
        FailureKind.QUOTA_EXHAUSTED: _SILENT,
        FailureKind.UNAUTHORIZED: _SILENT,
        FailureKind.SOURCE_ERROR: _ENDPOINT_UNWELL,
        FailureKind.TIMEOUT: _ENDPOINT_UNWELL,
        FailureKind.MALFORMED_REPLY: _ENDPOINT_UNWELL,
        FailureKind.NETWORK: Evidence(source=1.0),
        FailureKind.CIRCUIT_OPEN: _SILENT,
        FailureKind.RETIRED: _SILENT,
        FailureKind.BAD_REQUEST: _SILENT,
        FailureKind.CANCELLED: _SILENT,
    }
)
"""What each outcome says; None is success. A host that cannot be reached speaks against the source and not against
each of its endpoints, a bad answer mostly against the endpoint that gave it. Total over `FailureKind`."""


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """How long a source is rested and how it is tried again.

    Attributes:
        first_break_s: seconds of the first break; each further one doubles.
        longest_break_s: seconds no break exceeds, but for what the source itself asks for.
        longest_requested_s: seconds that a source's `Retry-After` is believed.
        jitter: share by which a break is shortened or lengthened by chance.
        recovery_s: seconds of health after which one doubling is taken back.
        probes_to_close: probes in a row that must come back well; as many may be under way as came back, plus one.
        lease_s: seconds after which an unreported probe is given up.
    """

    first_break_s: float = 5.0
    longest_break_s: float = 60.0
    longest_requested_s: float = 3600.0
    jitter: float = 0.2
    recovery_s: float = 60.0
    probes_to_close: int = 2
    lease_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.first_break_s <= self.longest_break_s < float("inf"):
            raise ValueError("a breaker needs 0 < first_break_s <= longest_break_s")
        if not 0 <= self.jitter < 1 or self.longest_requested_s < 0:
            raise ValueError("a breaker needs a jitter of 0 to below 1 and longest_requested_s >= 0")
        if self.recovery_s <= 0 or self.probes_to_close < 1 or self.lease_s <= 0:
            raise ValueError("a breaker needs recovery_s > 0, probes_to_close >= 1 and lease_s > 0")


MAX_DOUBLINGS: Final = 8
SUSPICION: Final = 0.6
"""Share of the threshold that somebody else's trouble is worth."""
EARLY_AFTER_S: Final = 1.0
"""Seconds after which a break may be cut short when nobody else is left to ask."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe under way: its number and when it is given up, seconds."""

    number: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call; to be reported exactly once, as CANCELLED when the call was not made.

    Attributes:
        generation: of the breaker when it was given.
        probe: number of the probe; None while the circuit is closed.
    """

    generation: int
    probe: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """No call now.

    Attributes:
        retry_after_s: seconds after which asking again makes sense.
    """

    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Breaker:
    """A circuit with what moves it.

    Attributes:
        level: what it stands for.
        since: when the circuit last moved, seconds.
        options: how it rests and tries.
        circuit: its state.
        generation: counts the moves.
        detector: notices that failures became frequent.
        doublings: how often the next break is doubled.
        rest_until: when the break is over, seconds.
        probes: under way.
        recovered: probes that came back well since the break.
        issued: probes given out so far.
    """

    level: Level
    since: float
    options: BreakerOptions = field(default_factory=BreakerOptions)
    circuit: Circuit = Circuit.CLOSED
    generation: int = 0
    detector: Detector = field(default_factory=Detector)
    doublings: int = 0
    rest_until: float = 0.0
    probes: tuple[Probe, ...] = ()
    recovered: int = 0
    issued: int = 0


def allow(breaker: Breaker, now: float, *, early: bool = False) -> tuple[Breaker, Permit | Refusal]:
    """Ask leave to make a call.

    Args:
        breaker: as it is.
        now: seconds.
        early: whether a break may be cut short because nobody else is left to ask; at most once in `EARLY_AFTER_S`.
    """
    if breaker.circuit is Circuit.CLOSED:
        return breaker, Permit(breaker.generation)
    if breaker.circuit is Circuit.OPEN:
        over_at = min(breaker.rest_until, breaker.since + EARLY_AFTER_S) if early else breaker.rest_until
        if now < over_at:
            return breaker, Refusal(seconds_until(over_at, now))
        breaker = _moved(breaker, Signal.RESTED, now)
    under_way = tuple(probe for probe in breaker.probes if probe.expires_at > now)
    if len(under_way) > breaker.recovered:
        first_free = min(probe.expires_at for probe in under_way)
        return replace(breaker, probes=under_way), Refusal(seconds_until(first_free, now))
    number = breaker.issued + 1
    lease = Probe(number, now + breaker.options.lease_s)
    return replace(breaker, probes=(*under_way, lease), issued=number), Permit(breaker.generation, number)


def report(
    breaker: Breaker,
    permit: Permit,
    kind: FailureKind | None,
    now: float,
    rng: random.Random,
    *,
    retry_after_s: float | None = None,
    share: float = 1.0,
    learn: bool = True,
) -> Breaker:
    """Tell what became of a permitted call.

    Args:
        breaker: as it is now.
        permit: as `allow` gave it; one from before the circuit last moved, or of a probe that was given up, is ignored.
        kind: why the call failed; None when it succeeded.
        now: seconds.
        rng: chance for the jitter of a break.
        retry_after_s: the wait an unwell source asked for; it is rested at once where the failure weighs fully.
        share: of the weight of a failure; less than 1 for one that repeats what was told a moment ago.
        learn: whether the idea of what is usual may follow; not where peers show that it is not usual.
    """
    if permit.generation != breaker.generation:
        return breaker
    evidence = WEIGHTS[kind]
    if permit.probe is None:
        seen = Observed(evidence.against(breaker.level) * share, evidence.answered, retry_after_s, learn)
        return _reported_closed(breaker, seen, now, rng)
    if not any(probe.number == permit.probe and probe.expires_at > now for probe in breaker.probes):
        return breaker
    others = tuple(probe for probe in breaker.probes if probe.number != permit.probe)
    breaker = replace(breaker, probes=others)
    if evidence.against(breaker.level) > 0:
        return _rested(_moved(breaker, Signal.RELAPSED, now), now, rng, retry_after_s)
    if not evidence.answered:
        return breaker
    breaker = replace(breaker, recovered=breaker.recovered + 1)
    if breaker.recovered < breaker.options.probes_to_close:
        return breaker
    return replace(_moved(breaker, Signal.RECOVERED, now), detector=calmed(breaker.detector))


def contradict(breaker: Breaker, now: float, rng: random.Random) -> Breaker:
    """Tell that the consensus found a price wrong which an answered call had brought.

    It says nothing while the circuit is not closed: who is rested or tried has not been asked.
    """
    if breaker.circuit is not Circuit.CLOSED:
        return breaker
    return _reported_closed(breaker, Observed(WRONG_PRICE.against(breaker.level)), now, rng)


def warned(breaker: Breaker, now: float, rest_s: float) -> Breaker:
    """Hear that somebody else rests the same source: rest it as long, though never longer than one break of our own.

    It is tried again afterwards as after a break of our own; an open or half-open circuit knows better already.
    """
    if breaker.circuit is not Circuit.CLOSED or rest_s <= 0:
        return breaker
    moved = _moved(breaker, Signal.FAILING, now)
    return replace(moved, rest_until=now + min(rest_s, breaker.options.longest_break_s))


def suspected(breaker: Breaker) -> Breaker:
    """Hear that somebody else rests the same part of a source: fewer failures of our own are needed to do so too."""
    if breaker.circuit is not Circuit.CLOSED:
        return breaker
    score = max(breaker.detector.score, SUSPICION * threshold(breaker.detector))
    return replace(breaker, detector=replace(breaker.detector, score=score))


def retry_at(breaker: Breaker) -> float | None:
    """When the source is tried again, seconds; None while its circuit is not open."""
    return breaker.rest_until if breaker.circuit is Circuit.OPEN else None


@dataclass(frozen=True, slots=True)
class Observed:
    """An outcome as one closed breaker sees it.

    Attributes:
        weight: against it; 0 for none.
        answered: without weight, it proves that the source works; otherwise it proves nothing.
        retry_after_s: the wait that was asked for; None for none.
        learn: whether the idea of what is usual may follow.
    """

    weight: float
    answered: bool = False
    retry_after_s: float | None = None
    learn: bool = True


def _reported_closed(breaker: Breaker, seen: Observed, now: float, rng: random.Random) -> Breaker:
    if seen.weight == 0 and not seen.answered:
        return breaker
    detector, alarm = observe(breaker.detector, now, seen.weight, learn=seen.learn)
    asked_for_rest = seen.retry_after_s is not None and seen.retry_after_s > 0 and seen.weight >= 1
    if not alarm and not asked_for_rest:
        return replace(breaker, detector=detector)
    forgiven = int((now - breaker.since) / breaker.options.recovery_s)
    doublings = max(0, breaker.doublings - max(0, forgiven))
    failing = replace(breaker, detector=detector, doublings=doublings)
    return _rested(_moved(failing, Signal.FAILING, now), now, rng, seen.retry_after_s)


def _rested(breaker: Breaker, now: float, rng: random.Random, retry_after_s: float | None) -> Breaker:
    options = breaker.options
    ceiling = options.longest_break_s / (1.0 + options.jitter)
    planned = min(options.first_break_s * 2.0**breaker.doublings, ceiling)
    seconds = planned * rng.uniform(1.0 - options.jitter, 1.0 + options.jitter)
    if retry_after_s is not None:
        seconds = max(seconds, min(retry_after_s, options.longest_requested_s))
    return replace(breaker, rest_until=now + seconds, doublings=min(breaker.doublings + 1, MAX_DOUBLINGS))


def _moved(breaker: Breaker, signal: Signal, now: float) -> Breaker:
    return replace(
        breaker,
        circuit=MOVES[breaker.circuit, signal],
        since=now,
        generation=breaker.generation + 1,
        probes=(),
        recovered=0,
    )
