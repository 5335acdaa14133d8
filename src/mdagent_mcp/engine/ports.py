"""What the engine needs from a source; the transport's `Source` is one, a test's fake another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mdagent_mcp.domain.failures import Outcome
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import History, Quote
from mdagent_mcp.domain.questions import Asked
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import HistoryQuery, Vendor


class AskedSource(Protocol):
    """A source that can be asked."""

    @property
    def vendor(self) -> Vendor:
        """Its declaration."""
        ...

    @property
    def declared_delay_s(self) -> float:
        """How late its prices are by contract."""
        ...

    @property
    def cost_per_call(self) -> float:
        """0 is free, 1 a scarce call."""
        ...

    def group_of(self, instrument: Instrument) -> str:
        """Whose data it passes on for an instrument."""
        ...

    def state(self) -> SourceState:
        """What it is doing."""
        ...

    @property
    def is_askable(self) -> bool:
        """Whether its state lets it be asked now."""
        ...

    def rests_quote(self, instrument: Instrument) -> bool:
        """Whether its quotes, or those of this instrument, are being rested, so that only a last resort is let in."""
        ...

    def wait_s(self) -> float:
        """How long its limiter would make a call wait now."""
        ...

    @property
    def is_silent(self) -> bool:
        """Whether it left a call for quotes unanswered for far longer than it usually takes, and said nothing since.

        It may be asked as before, but nobody who has something to show should wait for it.
        """
        ...

    def scarcity(self) -> float:
        """Shadow price of its quotas, as a multiple of its cost; 0 while they are spent no faster than evenly."""
        ...

    async def refresh_budget(self) -> None:
        """Hear what other processes spent with the same key. Never raises but for cancellation."""
        ...

    def refuses_quote(self, instrument: Instrument) -> str | None:
        """Why it cannot quote an instrument at all, decided without a call; None when it can."""
        ...

    def refuses_history(self, query: HistoryQuery) -> str | None:
        """Why it cannot serve a history at all, decided without a call; None when it can."""
        ...

    async def quotes(
        self,
        instruments: tuple[Instrument, ...],
        budget_s: float,
        *,
        last_resort: bool = False,
        background: bool = False,
    ) -> Asked[Mapping[str, Outcome[tuple[Quote, ...]]]]:
        """Quotes of every instrument, by canonical symbol. Never raises but for cancellation.

        As a last resort a source is asked although it is being rested. In the background, where nobody waits for the
        answer, it is asked after everybody else.
        """
        ...

    def wants_probe(self) -> bool:
        """Whether something of it was rested long enough to be tried again."""
        ...

    async def probe(self) -> None:
        """Find out whether what was rested is well again. Never raises but for cancellation."""
        ...

    async def history(self, query: HistoryQuery, budget_s: float) -> Asked[Outcome[History]]:
        """A series. Never raises but for cancellation."""
        ...
