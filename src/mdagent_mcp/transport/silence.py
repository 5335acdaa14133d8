"""The strategy that notices when a source is silent: the thin shell around `resilience.silence`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.resilience.silence import HEARD, Silence, began, call_of, ended, is_silent
from mdagent_mcp.transport.pipeline import AnswerT, Call, Proceed

UNANSWERED: Final = frozenset({FailureKind.TIMEOUT, FailureKind.NETWORK, FailureKind.CANCELLED})
"""Kinds of a call to which the source said nothing."""


class SilenceDetection:
    """Watches how long calls for current prices stay without an answer; stands around the time limit.

    A long history takes as long as it takes, and says nothing about how quickly a price would come.

    Args:
        clock: time.
        usual_p90_s: within which time nine calls in ten to an endpoint are answered; None while that is not known.
    """

    name = "silence"

    def __init__(self, clock: Clock, usual_p90_s: Callable[[Endpoint], float | None]) -> None:
        self._clock = clock
        self._usual_p90_s = usual_p90_s
        self._silence: Silence = HEARD

    @property
    def is_silent(self) -> bool:
        """Whether a call has been overdue since the source last answered one."""
        return is_silent(self._silence, self._clock.monotonic())

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed, and keep in mind whether and when an answer came."""
        if call.endpoint is Endpoint.HISTORY:
            return await proceed()
        sent = call_of(self._clock.monotonic(), self._usual_p90_s(call.endpoint))
        self._silence = began(self._silence, sent)
        outcome: Outcome[AnswerT] | None = None
        try:
            outcome = await proceed()
        finally:
            self._silence = ended(self._silence, sent, self._clock.monotonic(), answered=_is_answer(outcome))
        return outcome


def _is_answer(outcome: Outcome[AnswerT] | None) -> bool:
    """Whether the source said anything; None is a call that was cut short."""
    return outcome is not None and not (isinstance(outcome, Failure) and outcome.kind in UNANSWERED)
