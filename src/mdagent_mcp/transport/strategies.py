"""The strategies of a source's pipeline: thin shells that hold a policy's state, read the clock and sleep.

The policies themselves are pure and stand in `resilience`. Nothing here raises but for cancellation: a refusal is an
outcome like any other.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.backoff import BackoffOptions, BudgetOptions, earn, full_jitter, new_budget, spend
from mdagent_mcp.resilience.quota import EMPTY, Admission, QuotaUsage, admit, block_until, peek, usage
from mdagent_mcp.transport.pipeline import AnswerT, Call, Proceed

LONGEST_QUEUE_S: Final = 1.0
"""A call that its own limiter would hold back longer is refused at once; another source is the better answer."""
RETRIED: Final = frozenset({FailureKind.NETWORK, FailureKind.SOURCE_ERROR})
"""Kinds that a second call to the same source may heal within one request. A timeout has used up its time already,
and after a refusal to serve us asking again only makes it worse."""
ATTEMPTS: Final = 2


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
        from tenacity import AsyncRetrying, retry_if_result, stop_after_attempt  # noqa: PLC0415 - not at start-up

        self._budget = earn(self._budget, self._budget_options, self._clock.monotonic())
        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=full_jitter(self._options, self._rng),
            retry=retry_if_result(lambda outcome: self._worth_another(call, outcome)),
            sleep=self._clock.sleep,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome is not None else None,
        )
        outcome: Outcome[AnswerT] = await retrying(proceed)
        return outcome

    def _worth_another(self, call: Call, outcome: object) -> bool:
        if not isinstance(outcome, Failure) or outcome.kind not in RETRIED or outcome.retry_after_s is not None:
            return False
        now = self._clock.monotonic()
        if now + self._options.cap_s >= call.ends_at:
            return False
        self._budget, granted = spend(self._budget, self._budget_options, now)
        return granted


class Limiting:
    """Keeps the vendor's quotas exactly; waits a moment, refuses when the wait would be long."""

    name = "limiter"

    def __init__(self, source: str, clock: Clock, quotas: Sequence[Quota]) -> None:
        self._source = source
        self._clock = clock
        self.quotas = tuple(quotas)
        self._log = EMPTY
        self._resting_because: FailureKind | None = None

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed within the quotas, or say how long it would take."""
        while True:
            now = self._clock.monotonic()
            self._log, admission = admit(self._log, self.quotas, now, call.cost)
            if admission.allowed:
                break
            wait = admission.wait_s
            if wait is None or wait > LONGEST_QUEUE_S or now + wait >= call.ends_at:
                return Failure(self._source, self._refusal_kind(admission), self._told(admission), wait)
            await self._clock.sleep(wait)
        outcome = await proceed()
        if isinstance(outcome, Failure):
            self._heed(outcome)
        return outcome

    def charge(self) -> None:
        """Count a request that a call brings along; what the quotas have no room for is counted no more."""
        self._log, _ = admit(self._log, self.quotas, self._clock.monotonic())

    def wait_s(self) -> float:
        """How long a call would have to wait now, seconds."""
        wait = peek(self._log, self.quotas, self._clock.monotonic()).wait_s
        return 0.0 if wait is None else wait

    def usage(self) -> tuple[QuotaUsage, ...]:
        """How much of each quota is spent."""
        return usage(self._log, self.quotas, self._clock.monotonic())

    def resting(self) -> tuple[FailureKind, float] | None:
        """Why and for how many more seconds the vendor wants us to rest; None when it does not."""
        left = self._log.blocked_until - self._clock.monotonic()
        return (self._resting_because, left) if self._resting_because is not None and left > 0 else None

    def _heed(self, failure: Failure) -> None:
        """A vendor that refuses to serve us is left alone for as long as it says."""
        if failure.kind in {FailureKind.THROTTLED, FailureKind.QUOTA_EXHAUSTED} and failure.retry_after_s:
            now = self._clock.monotonic()
            self._log = block_until(self._log, now, now + failure.retry_after_s)
            self._resting_because = failure.kind

    def _refusal_kind(self, admission: Admission) -> FailureKind:
        resting = self.resting()
        if admission.quota is None and resting is not None:
            return resting[0]
        daily = admission.quota is not None and admission.quota.window_s >= 3600
        return FailureKind.QUOTA_EXHAUSTED if daily else FailureKind.THROTTLED

    def _told(self, admission: Admission) -> str:
        if admission.quota is None:
            return "resting because the vendor asked for it"
        return f"our own limit of {admission.quota.limit} calls per {admission.quota.name} is reached"


class TimeLimiting:
    """Ends a call that takes too long; the limit is also never later than the end of the question."""

    name = "timeout"

    def __init__(self, source: str, clock: Clock, seconds: float) -> None:
        self._source = source
        self._clock = clock
        self.seconds = seconds

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed within the time limit."""
        limit = min(self.seconds, max(0.0, call.ends_at - self._clock.monotonic()))
        try:
            with self._clock.limit(limit):
                return await proceed()
        except TimeoutError:
            return Failure(self._source, FailureKind.TIMEOUT, f"no answer within {limit:.1f} s")
