"""Questions as the engine takes them: checked, canonical, complete. Whoever builds one has refused what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.quality import Grade

AnswerT = TypeVar("AnswerT")


class InvalidArgumentError(ValueError):
    """An argument that cannot be used; the message names it and says how to mend it.

    Attributes:
        argument: its public name.
    """

    def __init__(self, argument: str, problem: str) -> None:
        self.argument = argument
        super().__init__(f"{argument}: {problem}")


@dataclass(frozen=True, slots=True)
class QuoteQuestion:
    """What `get_quote` asks.

    Attributes:
        instruments: 1 to 100, without duplicates, in the asker's order.
        min_grade: keep asking more sources until this is reached; None for the plan's own quorum.
        max_age_s: how old a cached answer may be; None for the default by market state.
        sources: ask only these; empty for all.
    """

    instruments: tuple[Instrument, ...]
    min_grade: Grade | None = None
    max_age_s: float | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryQuestion:
    """What `get_history` asks.

    Attributes:
        instrument: one.
        interval: bar length.
        first: first trading date wanted.
        last: last trading date wanted, included.
        adjustment: basis of the prices.
        extended_hours: whether pre- and post-market bars are wanted.
        min_grade: as for a quote.
        sources: ask only these; empty for all.
    """

    instrument: Instrument
    interval: Interval
    first: date
    last: date
    adjustment: Adjustment = Adjustment.SPLITS
    extended_hours: bool = False
    min_grade: Grade | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked(Generic[AnswerT]):
    """What asking a source came to.

    Attributes:
        answer: per symbol, or for a series.
        calls: HTTP requests it took.
    """

    answer: AnswerT
    calls: int
