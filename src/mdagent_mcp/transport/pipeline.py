"""The pipeline of a call to a vendor: strategies wrapped around the exchange, in an order that can be read back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, TypeVar

from mdagent_mcp.domain.failures import Outcome
from mdagent_mcp.domain.vendor import Endpoint

AnswerT = TypeVar("AnswerT")
Proceed = Callable[[], Awaitable[Outcome[AnswerT]]]
"""The rest of the pipeline, down to the exchange. Never raises but for cancellation."""


class Priority(IntEnum):
    """Who goes first where calls have to wait; the lower one."""

    QUOTE = 0
    """Somebody waits for a price."""
    HISTORY = 1
    """Somebody waits for a series."""
    BACKGROUND = 2
    """Nobody waits: probes and exploration."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a strategy may know of the call it stands around.

    Attributes:
        endpoint: which kind of call.
        symbols: canonical symbols it is about.
        ends_at: monotonic instant at which its answer is of no more use.
        cost: calls or credits that the vendor charges for it.
        priority: who goes first where calls have to wait.
        last_resort: nobody else is left to ask, so a source that is rested is asked all the same.
    """

    endpoint: Endpoint
    symbols: tuple[str, ...]
    ends_at: float
    cost: int = 1
    priority: Priority = Priority.QUOTE
    last_resort: bool = False


class Strategy(Protocol):
    """One concern of a call: wraps the rest of the pipeline."""

    @property
    def name(self) -> str:
        """Its name, for reading the pipeline back."""
        ...

    async def run(self, call: Call, proceed: Proceed[AnswerT]) -> Outcome[AnswerT]:
        """Proceed, or answer instead."""
        ...


async def run_pipeline(strategies: Sequence[Strategy], call: Call, exchange: Proceed[AnswerT]) -> Outcome[AnswerT]:
    """Run the exchange inside the strategies, the first one outermost."""
    proceed = exchange
    for strategy in reversed(strategies):
        proceed = _wrapped(strategy, call, proceed)
    return await proceed()


def _wrapped(strategy: Strategy, call: Call, inner: Proceed[AnswerT]) -> Proceed[AnswerT]:
    async def proceed() -> Outcome[AnswerT]:
        return await strategy.run(call, inner)

    return proceed
