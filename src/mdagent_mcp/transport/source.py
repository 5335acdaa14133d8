"""One source ready to be asked: a vendor's declaration, its client, and the pipeline around every call.

The order of the pipeline is retry ⊃ circuit breaker ⊃ limiter ⊃ timeout ⊃ exchange. An exchange ends with the reply
parsed, because a reply is judged by its content: an HTTP 200 that says "limit reached" is a throttled call to every
strategy around it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, cast

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.events import Emit, Fetched
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import History, Quote
from mdagent_mcp.domain.questions import Asked
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import (
    Endpoint,
    HistoryQuery,
    Offer,
    Quota,
    QuoteQuery,
    QuoteReading,
    Reply,
    Request,
    Vendor,
    refuse_errors,
    remaining_of,
)
from mdagent_mcp.resilience.backoff import BackoffOptions, BudgetOptions
from mdagent_mcp.transport.breaking import Breaking
from mdagent_mcp.transport.budgets import Budget, BudgetStore, PrivateStore, account_of
from mdagent_mcp.transport.entitlement import Entitlements
from mdagent_mcp.transport.http import VendorClient
from mdagent_mcp.transport.limiting import Limiting
from mdagent_mcp.transport.peers import Peers
from mdagent_mcp.transport.pipeline import AnswerT, Call, Priority, Strategy, run_pipeline
from mdagent_mcp.transport.redaction import Redactor
from mdagent_mcp.transport.strategies import Retrying, TimeLimiting
from mdagent_mcp.transport.tokens import TokenKeeper, is_refusal

BATCH_FROM: Final = 3
"""Symbols from which a batch call is worth more than single ones, which carry more fields."""
CONCURRENT_CALLS: Final = 8
REMEMBERED_FORMS: Final = 4096
MOST_PAGES: Final = 20
"""Pages of one series that are followed; what lies beyond is missing bars to the consensus."""

QuoteOutcomes = Mapping[str, Outcome[tuple[Quote, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is used.

    Attributes:
        enabled: whether it is ever asked.
        timeout_s: time limit of one call, seconds.
        quotas: all hold at once.
        declared_delay_s: how late its prices are by contract.
        cost_per_call: 0 is free, 1 a scarce call.
        excluded: endpoints the plan does not include.
        upstream_group: replaces the vendor's own; None for the vendor's.
    """

    enabled: bool = True
    timeout_s: float = 4.0
    quotas: tuple[Quota, ...] = ()
    declared_delay_s: float = 0.0
    cost_per_call: float = 0.0
    excluded: frozenset[Endpoint] = frozenset()
    upstream_group: str | None = None


class Source:
    """A source that can be asked; implements `engine.ports.AskedSource`."""

    def __init__(
        self,
        vendor: Vendor,
        options: SourceOptions,
        client: VendorClient,
        *,
        clock: Clock,
        emit: Emit,
        rng: random.Random,
        budgets: BudgetStore | None = None,
        peers: Peers | None = None,
    ) -> None:
        self.vendor = vendor
        self.options = options
        self.client = client
        self._clock = clock
        self._emit = emit
        self._redact = Redactor.of([client.key] if client.key is not None else [])
        account = account_of(vendor.id, client.key)
        self.limiter = Limiting(vendor.id, clock, Budget(account, options.quotas, clock, budgets or PrivateStore()))
        self.breaker = Breaking(vendor.id, clock, rng, peers)
        self.strategies: tuple[Strategy, ...] = (
            Retrying(clock, rng, BackoffOptions(), BudgetOptions()),
            self.breaker,
            self.limiter,
            TimeLimiting(vendor.id, clock, options.timeout_s),
        )
        self._entitlements = Entitlements(options.excluded)
        self._tokens = None if vendor.token is None else TokenKeeper(vendor, vendor.token, client.send)
        self._forms: dict[tuple[Endpoint, str], int] = {}
        self._asked_last: dict[Endpoint, tuple[Offer[Any, Any], Any]] = {}

    @property
    def declared_delay_s(self) -> float:
        """How late its prices are by contract."""
        return self.options.declared_delay_s

    @property
    def cost_per_call(self) -> float:
        """0 is free, 1 a scarce call."""
        return self.options.cost_per_call

    @property
    def is_enabled(self) -> bool:
        """Whether it may be asked at all: not retired, not disabled, and with a key where it needs one."""
        return self.state() not in {SourceState.RETIRED, SourceState.DISABLED, SourceState.NO_KEY}

    @property
    def excluded(self) -> frozenset[Endpoint]:
        """Endpoints the key is not entitled to: by its plan, or because the vendor said so. Asked no more."""
        return self._entitlements.excluded

    @property
    def is_askable(self) -> bool:
        """Whether its state lets it be asked now."""
        return self.state() in {SourceState.LIVE, SourceState.DEGRADED}

    def group_of(self, instrument: Instrument) -> str:
        """Whose data it passes on for an instrument."""
        return self.options.upstream_group or self.vendor.group_of(instrument)

    def wait_s(self) -> float:
        """How long its limiter would make a call wait now."""
        return self.limiter.wait_s()

    async def refresh_budget(self) -> None:
        """Hear what other processes spent with the same key."""
        await self.limiter.budget.refresh()

    def state(self) -> SourceState:
        """What it is doing; the first thing that keeps it from being asked."""
        if self.vendor.retirement is not None and not self.client.hosts:
            return SourceState.RETIRED
        if not self.options.enabled:
            return SourceState.DISABLED
        if self.vendor.key is not None and self.client.key is None:
            return SourceState.NO_KEY
        resting = self.limiter.resting()
        if resting is not None:
            return SourceState.EXHAUSTED if resting[0] is FailureKind.QUOTA_EXHAUSTED else SourceState.THROTTLED
        return self.breaker.state()

    def refuses_quote(self, instrument: Instrument) -> str | None:
        """Why it cannot quote an instrument at all; None when it can."""
        if not self._entitlements.includes(Endpoint.QUOTE, instrument.asset_class):
            return f"the plan of this key does not include current quotes at {self.vendor.title}"
        return self.vendor.quote.refuses(QuoteQuery((instrument,), self._clock.now()))

    def _serves_in_batch(self, offer: Offer[QuoteQuery, QuoteReading], instrument: Instrument) -> bool:
        """Whether an instrument may be among those of a batch call."""
        included = self._entitlements.includes(offer.endpoint, instrument.asset_class)
        return included and offer.refuses(QuoteQuery((instrument,), self._clock.now())) is None

    def refuses_history(self, query: HistoryQuery) -> str | None:
        """Why it cannot serve a history at all; None when it can."""
        if self.vendor.history is None:
            return f"{self.vendor.title} offers no history"
        if not self._entitlements.includes(Endpoint.HISTORY, query.instrument.asset_class):
            return f"the plan of this key does not include history at {self.vendor.title}"
        return self.vendor.history.refuses(query)

    async def quotes(
        self, instruments: tuple[Instrument, ...], budget_s: float, *, last_resort: bool = False
    ) -> Asked[QuoteOutcomes]:
        """Quotes of every instrument by canonical symbol, in batch calls where that is worth it."""
        asking = _Asking(self, self._clock.monotonic() + budget_s, last_resort=last_resort)
        answers: dict[str, Outcome[tuple[Quote, ...]]] = {}
        batch = self.vendor.quotes
        together = () if batch is None else tuple(i for i in instruments if self._serves_in_batch(batch, i))
        together = together if len(together) >= BATCH_FROM else ()
        work: list[Callable[[], Awaitable[None]]] = [
            partial(asking.quote_one, instrument, answers) for instrument in instruments if instrument not in together
        ]
        if batch is not None:
            size = self._batch_size(batch, together)
            chunks = (together[i : i + size] for i in range(0, len(together), size))
            work += (partial(asking.quote_batch, batch, chunk, answers) for chunk in chunks)
        await _each(lambda task: task(), work)
        return Asked(answers, asking.calls)

    def _batch_size(self, batch: Offer[QuoteQuery, QuoteReading], instruments: tuple[Instrument, ...]) -> int:
        """Symbols of a batch: fewer than it may carry where a full one costs more than the smallest quota."""
        served = instruments[: batch.max_batch]
        cost = batch.build(QuoteQuery(served, self._clock.now()))[0].cost if served else 0
        limit = min((quota.limit for quota in self.options.quotas), default=cost)
        return batch.max_batch if cost <= limit else max(1, limit * len(served) // cost)

    async def history(self, query: HistoryQuery, budget_s: float) -> Asked[Outcome[History]]:
        """A series."""
        if self.vendor.history is None:
            return Asked(Failure(self.vendor.id, FailureKind.UNSUPPORTED, "offers no history"), 0)
        asking = _Asking(self, self._clock.monotonic() + budget_s)
        outcome: Outcome[History] = await asking.first_known(self.vendor.history, query, query.instrument)
        return Asked(outcome, asking.calls)

    def wants_probe(self) -> bool:
        """Whether something was rested long enough to be tried again."""
        return self.is_enabled and bool(self._asked_last) and bool(self.breaker.to_probe())

    async def probe(self) -> None:
        """Find out whether what was rested is well again, by a call whose answer nobody waits for."""
        for cell in self.breaker.to_probe():
            found = self._asked_last.get(cell.endpoint) if cell.endpoint else next(iter(self._asked_last.values()))
            if found is None:
                continue
            offer, query = found
            asking = _Asking(self, self._clock.monotonic() + self.options.timeout_s, priority=Priority.BACKGROUND)
            await asking.probe(offer, _about(query, cell.symbol, self._clock.now()))

    async def aclose(self) -> None:
        """Close its connections."""
        await self.client.aclose()

    async def call(
        self, call: Call, request: Request, read: Callable[[Any], AnswerT], count: Callable[[], None]
    ) -> Outcome[AnswerT]:
        """One call through the pipeline: send, refuse errors, parse. A token is placed where one is needed."""

        async def exchange() -> Outcome[AnswerT]:
            count()
            started = self._clock.monotonic()
            outcome: Outcome[AnswerT] | None = None
            try:
                outcome = await self._exchange(call.endpoint, request, read)
            finally:
                self._tell(call, started, outcome)
            return outcome

        outcome = self._clean(await run_pipeline(self.strategies, replace(call, cost=request.cost), exchange))
        self._entitlements.heed(call.endpoint, call.symbols, outcome)
        return outcome

    async def _exchange(self, endpoint: Endpoint, request: Request, read: Callable[[Any], AnswerT]) -> Outcome[AnswerT]:
        if self._tokens is None or self.vendor.token is None or endpoint not in self.vendor.token.endpoints:
            return await self._send(request, read)
        outcome: Outcome[AnswerT] = Failure(self.vendor.id, FailureKind.UNAUTHORIZED, "no session token")
        for _ in range(2):
            token = await self._tokens.token()
            if isinstance(token, Failure):
                return token
            outcome = await self._send(self._tokens.placed(request, token.value), read)
            if not isinstance(outcome, Failure) or not is_refusal(outcome):
                return outcome
            self._tokens.refused(token.value)
        return outcome

    async def _send(self, request: Request, read: Callable[[Any], AnswerT]) -> Outcome[AnswerT]:
        try:
            reply = await self.client.send(request)
            await self.limiter.correct(remaining_of(self.vendor, reply))
            refuse_errors(self.vendor, reply)
            return Answered(read(reply))
        except SourceError as error:
            return error.as_failure(self.vendor.id)

    def _clean(self, outcome: Outcome[AnswerT]) -> Outcome[AnswerT]:
        if not isinstance(outcome, Failure):
            return outcome
        return Failure(outcome.source, outcome.kind, self._redact(outcome.detail), outcome.retry_after_s)

    def _tell(self, call: Call, started: float, outcome: Outcome[Any] | None) -> None:
        """Emit what became of an exchange; one that was cut short is a timeout or a cancellation, told by who cut."""
        if outcome is None:
            at_limit = self._clock.monotonic() - started >= self.options.timeout_s * 0.99
            kind: FailureKind | None = FailureKind.TIMEOUT if at_limit else FailureKind.CANCELLED
            detail = "no answer in time" if at_limit else "cut short"
        elif isinstance(outcome, Failure):
            kind, detail = outcome.kind, self._redact(outcome.detail)
        else:
            kind, detail = None, ""
        latency = self._clock.monotonic() - started
        if kind is None:
            self.breaker.took(latency)
        self._emit(Fetched(self.vendor.id, call.endpoint, call.symbols, self._clock.now(), latency, kind, detail))

    def asked(self, offer: Offer[Any, Any], query: Any) -> None:
        """Remember what was asked last, for probes to ask again."""
        self._asked_last[offer.endpoint] = (offer, query)

    def form(self, endpoint: Endpoint, symbol: str) -> int:
        """Which of the request forms worked for a symbol last time (asset classes differ by form at some vendors)."""
        return self._forms.get((endpoint, symbol), 0)

    def form_worked(self, endpoint: Endpoint, symbol: str, index: int) -> None:
        """Remember the request form that worked."""
        if index and len(self._forms) < REMEMBERED_FORMS:
            self._forms[endpoint, symbol] = index


class _Asking:
    """One question to one source: counts its calls and knows when its answer is of no more use."""

    def __init__(
        self, source: Source, ends_at: float, *, priority: Priority | None = None, last_resort: bool = False
    ) -> None:
        self._source = source
        self._ends_at = ends_at
        self._priority = priority
        self._last_resort = last_resort
        self.calls = 0

    async def probe(self, offer: Offer[Any, Any], query: Any) -> None:
        """One call, no other form of it and no further pages."""
        symbols = tuple(i.symbol for i in query.instruments) if isinstance(query, QuoteQuery) else ()
        call = self._call(offer.endpoint, symbols or (query.instrument.symbol,))
        request = offer.build(query)[0]
        await self._source.call(call, request, lambda reply: offer.parse(query, reply), self._count)

    def _call(self, endpoint: Endpoint, symbols: tuple[str, ...]) -> Call:
        usual = Priority.HISTORY if endpoint is Endpoint.HISTORY else Priority.QUOTE
        priority = usual if self._priority is None else self._priority
        return Call(endpoint, symbols, self._ends_at, priority=priority, last_resort=self._last_resort)

    async def quote_one(self, instrument: Instrument, answers: dict[str, Outcome[tuple[Quote, ...]]]) -> None:
        query = QuoteQuery((instrument,), self._source._clock.now())  # noqa: SLF001 - one class in two parts
        outcome = await self.first_known(self._source.vendor.quote, query, instrument)
        answers[instrument.symbol] = _of_symbol(self._source.vendor.id, outcome, instrument.symbol)

    async def quote_batch(
        self,
        offer: Offer[QuoteQuery, QuoteReading],
        instruments: tuple[Instrument, ...],
        answers: dict[str, Outcome[tuple[Quote, ...]]],
    ) -> None:
        outcome = await self._batch(offer, instruments)
        for instrument in instruments:
            answers[instrument.symbol] = _of_symbol(self._source.vendor.id, outcome, instrument.symbol)

    async def _batch(
        self, offer: Offer[QuoteQuery, QuoteReading], instruments: tuple[Instrument, ...]
    ) -> Outcome[QuoteReading]:
        query = QuoteQuery(instruments, self._source._clock.now())  # noqa: SLF001
        self._source.asked(offer, query)
        call = self._call(offer.endpoint, tuple(i.symbol for i in instruments))
        request = offer.build(query)[0]
        return await self._source.call(call, request, lambda reply: offer.parse(query, reply), self._count)

    async def first_known(self, offer: Offer[Any, AnswerT], query: Any, instrument: Instrument) -> Outcome[AnswerT]:
        """Send the request forms in turn until one knows the symbol, beginning with the one that did last time."""
        requests = offer.build(query)
        self._source.asked(offer, query)
        call = self._call(offer.endpoint, (instrument.symbol,))
        first = min(self._source.form(offer.endpoint, instrument.symbol), len(requests) - 1)
        order = [first, *(i for i in range(len(requests)) if i != first)]
        outcome: Outcome[AnswerT] = Failure(self._source.vendor.id, FailureKind.UNSUPPORTED, "nothing to send")
        for index in order:
            outcome = await self._all_pages(offer, query, call, requests[index])
            if not _is_unknown(outcome, instrument.symbol):
                self._source.form_worked(offer.endpoint, instrument.symbol, index)
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

            outcome = await self._source.call(call, request, read, self._count)
            if isinstance(outcome, Failure):
                # A page may hold nothing of what was asked, such as the trades after the last regular bar.
                if answers and outcome.kind is FailureKind.NO_DATA:
                    break
                return outcome
            answers.append(outcome.value)
            request = offer.next_page(query, replies[-1]) if offer.next_page is not None else None
        return Answered(_joined(answers))

    def _count(self) -> None:
        self.calls += 1


def _about(query: Any, symbol: str, now: datetime) -> Any:
    """The same question asked now, about one instrument where a symbol is given."""
    if not isinstance(query, QuoteQuery):
        return replace(query, now=now)
    named = (parse_symbol(symbol),) if symbol else query.instruments
    return QuoteQuery(named, now)


def _joined(pages: list[AnswerT]) -> AnswerT:
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


def _is_unknown(outcome: Outcome[Any], symbol: str) -> bool:
    found = outcome if isinstance(outcome, Failure) else outcome.value
    if isinstance(found, Mapping):
        found = found.get(symbol)
    return isinstance(found, Failure) and found.kind is FailureKind.UNKNOWN_SYMBOL


def _of_symbol(source: str, outcome: Outcome[QuoteReading], symbol: str) -> Outcome[tuple[Quote, ...]]:
    if isinstance(outcome, Failure):
        return outcome
    return outcome.value.get(symbol) or Failure(source, FailureKind.NO_DATA, "not in the reply")


async def _each(work: Callable[[Any], Awaitable[None]], items: Sequence[Any]) -> None:
    """Do the work for every item, a few at a time."""
    limiter = anyio.CapacityLimiter(CONCURRENT_CALLS)

    async def limited(item: Any) -> None:
        async with limiter:
            await work(item)

    async with anyio.create_task_group() as tasks:
        for item in items:
            tasks.start_soon(limited, item)
