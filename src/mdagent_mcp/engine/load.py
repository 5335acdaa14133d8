"""The questions that are being worked on, bounded for the whole server.

What the cache answers costs next to nothing and is never refused; a question that has to ask sources takes a place
here, or is told at once when to come again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mdagent_mcp.domain.answers import SymbolFailure
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.engine.refusals import NOT_TO_ESTIMATE
from mdagent_mcp.resilience.load_shedding import IDLE, SheddingOptions, Verdict, begin, end


class QuestionLoad:
    """Counts the questions in flight, and refuses what is too much.

    Args:
        clock: time.
        options: the bound.
    """

    def __init__(self, clock: Clock, options: SheddingOptions) -> None:
        self._clock = clock
        self._options = options
        self._load = IDLE

    @property
    def in_flight(self) -> int:
        """Questions that are being worked on."""
        return self._load.in_flight

    @contextmanager
    def place(self) -> Iterator[Verdict]:
        """A place for one question while the body runs; without one where the verdict does not allow it."""
        self._load, verdict = begin(self._load, self._options)
        started = self._clock.monotonic()
        try:
            yield verdict
        finally:
            if verdict.allowed:
                self._load = end(self._load, self._clock.monotonic() - started)


def shed(symbol: str, verdict: Verdict) -> SymbolFailure:
    """What the asker of a question is told for which there is no place."""
    wait = round(verdict.retry_after_s, 1)
    return SymbolFailure(
        symbol,
        FailureKind.THROTTLED,
        f"{symbol}: this server works on as many questions as it may at once; none was sent to a source."
        f" {NOT_TO_ESTIMATE}",
        f"Ask again after {wait:g} s; ask for several symbols in one call instead of many calls.",
        {},
        wait,
    )
