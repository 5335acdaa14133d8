"""What several replies come to: pages joined to one series, one symbol's part of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.prices import History, Quote
from mdagent_mcp.domain.vendor import QuoteReading
from mdagent_mcp.transport.pipeline import AnswerT

QuoteOutcomes = Mapping[str, Outcome[tuple[Quote, ...]]]
"""By canonical symbol."""


def joined(pages: list[AnswerT]) -> AnswerT:
    """Pages of one series as one, oldest first; anything else has one page."""
    first = pages[0]
    histories = [page for page in pages if isinstance(page, History)]
    if not isinstance(first, History) or len(histories) == 1:
        return first
    joined = replace(
        first,
        bars=tuple(sorted((bar for page in histories for bar in page.bars), key=lambda bar: bar.start)),
        null_rows=tuple(row for page in histories for row in page.null_rows),
        dividends=tuple(dict.fromkeys(d for page in histories for d in page.dividends)),
        splits=tuple(dict.fromkeys(s for page in histories for s in page.splits)),
        partial_last_bar=any(page.partial_last_bar for page in histories),
        notes=tuple(dict.fromkeys(note for page in histories for note in page.notes)),
    )
    return cast("AnswerT", joined)


def is_unknown(outcome: Outcome[Any], symbol: str) -> bool:
    """Whether an answer, or the part of it about a symbol, says that the symbol is unknown."""
    found = outcome if isinstance(outcome, Failure) else outcome.value
    if isinstance(found, Mapping):
        found = found.get(symbol)
    return isinstance(found, Failure) and found.kind is FailureKind.UNKNOWN_SYMBOL


def with_declared_delay(outcome: Outcome[tuple[Quote, ...]], delay_s: float) -> Outcome[tuple[Quote, ...]]:
    """Quotes without a time of their own are as late as the plan says, at least; one that is stamped tells its age."""
    if isinstance(outcome, Failure):
        return outcome
    return Answered(
        tuple(
            replace(quote, declared_delay_s=max(quote.declared_delay_s, delay_s)) if quote.event_time is None else quote
            for quote in outcome.value
        )
    )


def of_symbol(source: str, outcome: Outcome[QuoteReading], symbol: str) -> Outcome[tuple[Quote, ...]]:
    """The part of an answer that is about one symbol."""
    if isinstance(outcome, Failure):
        return outcome
    return outcome.value.get(symbol) or Failure(source, FailureKind.NO_DATA, "not in the reply")
