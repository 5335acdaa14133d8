"""The circuit breakers of one source: one for the source itself, one per endpoint, both asked before every call."""

from __future__ import annotations

import random
from collections.abc import Mapping

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.resilience.circuit_breaker import Breaker, Circuit, Level, Permit, Refusal, allow, report, retry_at
from mdagent_mcp.transport.pipeline import AnswerT, Call, Proceed

_Key = Endpoint | None
"""None is the breaker of the source itself."""


class Breaking:
    """Rests a source, or one of its endpoints, that fails; tries it again with few calls.

    Args:
        source: source id.
        clock: time.
        rng: chance, for the jitter of breaks.
    """

    name = "breaker"

    def __init__(self, source: str, clock: Clock, rng: random.Random) -> None:
        self._source = source
        self._clock = clock
        self._rng = rng
        now = clock.monotonic()
        self._breakers: dict[_Key, Breaker] = {None: Breaker(Level.SOURCE, now)}

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed when both breakers allow it, and report to both what became of the call."""
        permits: dict[_Key, Permit] = {}
        for key in (None, call.endpoint):
            granted = self._allow(key)
            if isinstance(granted, Refusal):
                self._report(permits, FailureKind.CANCELLED, None)
                what = "the source" if key is None else f"its {key} endpoint"
                detail = f"{what} failed repeatedly and is being rested"
                return Failure(self._source, FailureKind.CIRCUIT_OPEN, detail, round(granted.retry_after_s, 1))
            permits[key] = granted
        kind: FailureKind | None = FailureKind.CANCELLED
        retry_after: float | None = None
        try:
            outcome = await proceed()
            kind = outcome.kind if isinstance(outcome, Failure) else None
            retry_after = outcome.retry_after_s if isinstance(outcome, Failure) else None
        finally:
            self._report(permits, kind, retry_after)
        return outcome

    def state(self) -> SourceState:
        """Open while the source itself is rested, degraded while it is tried again or an endpoint is rested."""
        now = self._clock.monotonic()
        own = self._breakers[None]
        if own.circuit is Circuit.OPEN and now < own.rest_until:
            return SourceState.OPEN
        unwell = any(breaker.circuit is not Circuit.CLOSED for breaker in self._breakers.values())
        return SourceState.DEGRADED if unwell else SourceState.LIVE

    def circuits(self) -> Mapping[str, str]:
        """The state of the circuit on every level that has one."""
        return {"source" if key is None else str(key): breaker.circuit.value for key, breaker in self._breakers.items()}

    def retry_in_s(self) -> float | None:
        """Seconds until the source is tried again; None while its circuit is closed."""
        instant = retry_at(self._breakers[None])
        return None if instant is None else max(0.0, instant - self._clock.monotonic())

    def since_s(self) -> float:
        """Seconds since the source's own circuit last moved."""
        return self._clock.monotonic() - self._breakers[None].since

    def _allow(self, key: _Key) -> Permit | Refusal:
        now = self._clock.monotonic()
        breaker = self._breakers.get(key) or Breaker(Level.ENDPOINT, now)
        self._breakers[key], granted = allow(breaker, now)
        return granted

    def _report(self, permits: Mapping[_Key, Permit], kind: FailureKind | None, retry_after_s: float | None) -> None:
        now = self._clock.monotonic()
        for key, permit in permits.items():
            self._breakers[key] = report(self._breakers[key], permit, kind, now, self._rng, retry_after_s=retry_after_s)
