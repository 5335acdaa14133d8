"""The strategies of a source's pipeline: thin shells that hold a policy's state, read the clock and sleep.

The policies themselves are pure and stand in `resilience`. Nothing here raises but for cancellation: a refusal is an
outcome like any other.
"""

from __future__ import annotations

import random
from typing import Final

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.resilience.backoff import BackoffOptions, BudgetOptions, earn, full_jitter, new_budget, spend
from mdagent_mcp.resilience.latency import EMPTY, LatencyHistogram, decay, quantile, record
from mdagent_mcp.transport.pipeline import AnswerT, Call, Proceed

RETRIED: Final = frozenset({FailureKind.NETWORK, FailureKind.SOURCE_ERROR})
"""Kinds that a second call to the same source may heal within one request. A timeout has used up its time already,
and after a refusal to serve us asking again only makes it worse."""
ATTEMPTS: Final = 2
KNOWN_FROM: Final = 15.0
"""Answered calls after which it is known how long an endpoint takes."""
LIMIT_FACTOR: Final = 4.0
"""Of the time that 99 of 100 calls take: what takes longer will hardly come."""
SHORTEST_LIMIT_S: Final = 1.0
LATENCY_KEPT: Final = 0.995
"""What a latency counts for after each newer one."""


class Retrying:
    """Asks the same source once more after a failure that may heal, within a budget of retries."""

    name = "retry"

    def __init__(self, clock: Clock, rng: random.Random, options: BackoffOptions, budget: BudgetOptions) -> None:
        self._clock = clock
        self._rng = rng
        self._options = options
        self._budget_options = budget
        self._budget = new_budget(budget, clock.monotonic())

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed, and once more when that is worth it."""
        self._budget = earn(self._budget, self._budget_options, self._clock.monotonic())
        first = await proceed()
        return await self._again(call, first, proceed) if self._worth_another(call, first) else first

    async def _again(self, call: Call, first: Outcome[AnswerT], proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Go on from a first attempt that failed; whoever succeeds at once never pays for the machinery of retries."""
        from tenacity import AsyncRetrying, retry_if_result, stop_after_attempt  # noqa: PLC0415 - not at start-up

        made = iter((first,))

        async def attempt() -> Outcome[AnswerT]:
            known = next(made, None)
            return await proceed() if known is None else known

        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=full_jitter(self._options, self._rng),
            retry=retry_if_result(lambda outcome: outcome is first or self._worth_another(call, outcome)),
            sleep=self._clock.sleep,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome is not None else None,
        )
        outcome: Outcome[AnswerT] = await retrying(attempt)
        return outcome

    def _worth_another(self, call: Call, outcome: object) -> bool:
        if not isinstance(outcome, Failure) or outcome.kind not in RETRIED or outcome.retry_after_s is not None:
            return False
        now = self._clock.monotonic()
        if now + self._options.cap_s >= call.ends_at:
            return False
        self._budget, granted = spend(self._budget, self._budget_options, now)
        return granted


class TimeLimiting:
    """Ends a call that takes too long: later than the settings allow, or than this endpoint ever takes.

    The limit is also never later than the end of the question.

    Args:
        source: source id.
        clock: time.
        seconds: what the settings allow.
    """

    name = "timeout"

    def __init__(self, source: str, clock: Clock, seconds: float) -> None:
        self._source = source
        self._clock = clock
        self.seconds = seconds
        self._usual: dict[Endpoint, LatencyHistogram] = {}

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed within the time limit."""
        started = self._clock.monotonic()
        limit = min(self.limit_s(call.endpoint), max(0.0, call.ends_at - started))
        try:
            with self._clock.limit(limit):
                outcome = await proceed()
        except TimeoutError:
            return Failure(self._source, FailureKind.TIMEOUT, f"no answer within {limit:.1f} s")
        if not isinstance(outcome, Failure):
            before = decay(self._usual.get(call.endpoint, EMPTY), LATENCY_KEPT)
            self._usual[call.endpoint] = record(before, self._clock.monotonic() - started)
        return outcome

    def limit_s(self, endpoint: Endpoint) -> float:
        """How long a call to an endpoint may take, seconds: a few times what 99 in 100 take, once that is known."""
        rare = self._usual_s(endpoint, 0.99)
        return self.seconds if rare is None else min(max(LIMIT_FACTOR * rare, SHORTEST_LIMIT_S), self.seconds)

    def usual_p90_s(self, endpoint: Endpoint) -> float | None:
        """Within which time nine calls in ten to an endpoint are answered, seconds; None while that is not known."""
        return self._usual_s(endpoint, 0.9)

    def _usual_s(self, endpoint: Endpoint, share: float) -> float | None:
        usual = self._usual.get(endpoint, EMPTY)
        return quantile(usual, share) if usual.total >= KNOWN_FROM else None
