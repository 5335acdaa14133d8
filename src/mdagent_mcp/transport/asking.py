"""One question to one source: which requests it takes, and what their replies come to together.

Request forms are tried until one knows the symbol, pages are followed, and what was asked last is remembered, so that
a probe can ask it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.vendor import Endpoint, Offer, QuoteQuery, QuoteReading, Reply, Request, Vendor
from mdagent_mcp.transport.outcomes import is_unknown, joined, of_symbol
from mdagent_mcp.transport.pipeline import AnswerT, Call, Priority

REMEMBERED_FORMS: Final = 4096
MOST_PAGES: Final = 20
"""Pages of one series that are followed; what lies beyond is missing bars to the consensus."""


class SendCall(Protocol):
    """One call through a source's pipeline."""

    async def __call__(
        self, call: Call, request: Request, read: Callable[[Any], AnswerT], count: Callable[[], None]
    ) -> Outcome[AnswerT]:
        """Send, refuse errors, parse; `count` is called with every request that is sent."""
        ...


@dataclass(frozen=True, slots=True)
class Manner:
    """How urgently a question is asked.

    Attributes:
        ends_at: monotonic instant at which its answer is of no more use.
        priority: None for the usual one of the endpoint.
        last_resort: nobody else is left to ask.
    """

    ends_at: float
    priority: Priority | None = None
    last_resort: bool = False


@dataclass
class Remembered:
    """What earlier questions to a source taught.

    Attributes:
        forms: by endpoint and symbol, the request form that worked (asset classes differ by form at some vendors).
        asked: by endpoint, what was asked last.
    """

    forms: dict[tuple[Endpoint, str], int] = field(default_factory=dict)
    asked: dict[Endpoint, tuple[Offer[Any, Any], Any]] = field(default_factory=dict)

    def form(self, endpoint: Endpoint, symbol: str) -> int:
        """Which of the request forms worked for a symbol last time."""
        return self.forms.get((endpoint, symbol), 0)

    def form_worked(self, endpoint: Endpoint, symbol: str, index: int) -> None:
        """Remember the request form that worked."""
        if index and len(self.forms) < REMEMBERED_FORMS:
            self.forms[endpoint, symbol] = index

    def ask(self, offer: Offer[Any, Any], query: Any) -> None:
        """Remember what is asked."""
        self.asked[offer.endpoint] = (offer, query)

    def latest(self, endpoint: Endpoint | None) -> tuple[Offer[Any, Any], Any] | None:
        """What was asked last of an endpoint, or of any; None when nothing was."""
        return self.asked.get(endpoint) if endpoint is not None else next(iter(self.asked.values()), None)


class Asking:
    """One question to one source: counts its calls and knows when its answer is of no more use.

    Args:
        vendor: whom.
        clock: time.
        send: one call through the source's pipeline.
        remembered: what earlier questions taught.
        manner: how urgently it asks.

    Attributes:
        calls: HTTP requests made so far.
    """

    def __init__(self, vendor: Vendor, clock: Clock, send: SendCall, remembered: Remembered, manner: Manner) -> None:
        self.calls = 0
        self._vendor = vendor
        self._clock = clock
        self._send = send
        self._remembered = remembered
        self._manner = manner

    async def probe(self, offer: Offer[Any, Any], query: Any) -> None:
        """One call, no other form of it and no further pages."""
        symbols = tuple(i.symbol for i in query.instruments) if isinstance(query, QuoteQuery) else ()
        call = self._call(offer.endpoint, symbols or (query.instrument.symbol,))
        request = offer.build(query)[0]
        await self._send(call, request, lambda reply: offer.parse(query, reply), self._count)

    def _call(self, endpoint: Endpoint, symbols: tuple[str, ...]) -> Call:
        usual = Priority.HISTORY if endpoint is Endpoint.HISTORY else Priority.QUOTE
        how = self._manner
        priority = usual if how.priority is None else how.priority
        return Call(endpoint, symbols, how.ends_at, priority=priority, last_resort=how.last_resort)

    async def quote_one(self, instrument: Instrument, answers: dict[str, Outcome[tuple[Quote, ...]]]) -> None:
        """Put the quotes of one instrument, or why there are none, among the answers."""
        query = QuoteQuery((instrument,), self._clock.now())
        outcome = await self.first_known(self._vendor.quote, query, instrument)
        answers[instrument.symbol] = of_symbol(self._vendor.id, outcome, instrument.symbol)

    async def quote_batch(
        self,
        offer: Offer[QuoteQuery, QuoteReading],
        instruments: tuple[Instrument, ...],
        answers: dict[str, Outcome[tuple[Quote, ...]]],
    ) -> None:
        """Put the quotes of several instruments, asked in one call, among the answers."""
        outcome = await self._batch(offer, instruments)
        for instrument in instruments:
            answers[instrument.symbol] = of_symbol(self._vendor.id, outcome, instrument.symbol)

    async def _batch(
        self, offer: Offer[QuoteQuery, QuoteReading], instruments: tuple[Instrument, ...]
    ) -> Outcome[QuoteReading]:
        query = QuoteQuery(instruments, self._clock.now())
        self._remembered.ask(offer, query)
        call = self._call(offer.endpoint, tuple(i.symbol for i in instruments))
        request = offer.build(query)[0]
        return await self._send(call, request, lambda reply: offer.parse(query, reply), self._count)

    async def first_known(self, offer: Offer[Any, AnswerT], query: Any, instrument: Instrument) -> Outcome[AnswerT]:
        """Send the request forms in turn until one knows the symbol, beginning with the one that did last time."""
        requests = offer.build(query)
        self._remembered.ask(offer, query)
        call = self._call(offer.endpoint, (instrument.symbol,))
        first = min(self._remembered.form(offer.endpoint, instrument.symbol), len(requests) - 1)
        order = [first, *(i for i in range(len(requests)) if i != first)]
        outcome: Outcome[AnswerT] = Failure(self._vendor.id, FailureKind.UNSUPPORTED, "nothing to send")
        for index in order:
            outcome = await self._all_pages(offer, query, call, requests[index])
            if not is_unknown(outcome, instrument.symbol):
                self._remembered.form_worked(offer.endpoint, instrument.symbol, index)
                return outcome
        return outcome

    async def _all_pages(self, offer: Offer[Any, AnswerT], query: Any, call: Call, first: Request) -> Outcome[AnswerT]:
        """The answer to a request and to those its replies lead on to; a page that fails fails the whole."""
        answers: list[AnswerT] = []
        request: Request | None = first
        while request is not None and len(answers) < MOST_PAGES:
            replies: list[Reply] = []

            def read(reply: Reply, replies: list[Reply] = replies) -> AnswerT:
                replies.append(reply)
                return offer.parse(query, reply)

            outcome = await self._send(call, request, read, self._count)
            if isinstance(outcome, Failure):
                # A page may hold nothing of what was asked, such as the trades after the last regular bar.
                if answers and outcome.kind is FailureKind.NO_DATA:
                    break
                return outcome
            answers.append(outcome.value)
            request = offer.next_page(query, replies[-1]) if offer.next_page is not None else None
        return Answered(joined(answers))

    def _count(self) -> None:
        self.calls += 1


def about(query: Any, symbol: str, now: datetime) -> Any:
    """The same question asked now, about one instrument where a symbol is given."""
    if not isinstance(query, QuoteQuery):
        return replace(query, now=now)
    named = (parse_symbol(symbol),) if symbol else query.instruments
    return QuoteQuery(named, now)


async def each(work: Sequence[Callable[[], Awaitable[None]]], slots: AbstractAsyncContextManager[None]) -> None:
    """Do all the work, as much at a time as there are slots."""

    async def limited(task: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            await task()

    if len(work) == 1:  # the usual question is about one instrument, and needs no tasks of its own
        await limited(work[0])
        return
    async with anyio.create_task_group() as tasks:
        for task in work:
            tasks.start_soon(limited, task)
