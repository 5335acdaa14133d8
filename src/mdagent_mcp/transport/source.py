"""One source ready to be asked: a vendor's declaration, its client, and the pipeline around every call.

The order of the pipeline is concurrency ⊃ retry ⊃ circuit breaker ⊃ limiter ⊃ silence ⊃ timeout ⊃ exchange. An exchange
ends with the reply parsed, because a reply is judged by its content: an HTTP 200 that says "limit reached" is a
throttled call to every strategy around it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.events import Emit, Fetched
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import History
from mdagent_mcp.domain.questions import Asked
from mdagent_mcp.domain.refusals import refuse_errors, remaining_of, rest_s
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
)
from mdagent_mcp.resilience.backoff import BackoffOptions, BudgetOptions
from mdagent_mcp.resilience.concurrency import ConcurrencyOptions
from mdagent_mcp.resilience.scarcity import dearest
from mdagent_mcp.transport.asking import Asking, Manner, Remembered, about
from mdagent_mcp.transport.breaking import Breaking
from mdagent_mcp.transport.budgets import Budget, BudgetStore, PrivateStore, account_of
from mdagent_mcp.transport.concurrency import Concurrency
from mdagent_mcp.transport.entitlement import Entitlements
from mdagent_mcp.transport.gathering import Gathering, Portion, QuoteCalls, Spawn, saves_calls
from mdagent_mcp.transport.http import VendorClient
from mdagent_mcp.transport.limiting import Limiting
from mdagent_mcp.transport.outcomes import QuoteOutcomes, with_declared_delay
from mdagent_mcp.transport.peers import Peers
from mdagent_mcp.transport.pipeline import AnswerT, Call, Priority, Strategy, run_pipeline
from mdagent_mcp.transport.redaction import Redactor
from mdagent_mcp.transport.silence import SilenceDetection
from mdagent_mcp.transport.strategies import Retrying, TimeLimiting
from mdagent_mcp.transport.tokens import TokenKeeper, is_refusal

BATCH_FROM: Final = 3
"""Symbols from which a batch call is worth more than single ones, which carry more fields."""
SINGLE_INSTEAD: Final = 10
"""Symbols up to which single calls take the place of a batch call that is being rested."""


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
        concurrency: calls at once at most; None for the vendor's.
        gather_s: how long a quote request waits for others where others are there; 0 never.
    """

    enabled: bool = True
    timeout_s: float = 4.0
    quotas: tuple[Quota, ...] = ()
    declared_delay_s: float = 0.0
    cost_per_call: float = 0.0
    excluded: frozenset[Endpoint] = frozenset()
    upstream_group: str | None = None
    concurrency: int | None = None
    gather_s: float = 0.0


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
        self._time = TimeLimiting(vendor.id, clock, options.timeout_s)
        self._silence = SilenceDetection(clock, self._time.usual_p90_s)
        most = options.concurrency or vendor.concurrency
        self.concurrency = Concurrency(vendor.id, clock, ConcurrencyOptions(most=most))
        self.strategies: tuple[Strategy, ...] = (
            self.concurrency,
            Retrying(clock, rng, BackoffOptions(), BudgetOptions()),
            self.breaker,
            self.limiter,
            self._silence,
            self._time,
        )
        self._entitlements = Entitlements(options.excluded)
        self._tokens = None if vendor.token is None else TokenKeeper(vendor, vendor.token, self._send_for_token)
        self._remembered = Remembered()
        self._gathering: Gathering | None = None

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

    @property
    def is_silent(self) -> bool:
        """Whether a call for quotes has been overdue since it last answered one."""
        return self._silence.is_silent

    def scarcity(self) -> float:
        """Shadow price of its quotas, as a multiple of its cost."""
        return dearest(self.limiter.usage(), self.limiter.budget.now)

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

    def rests_quote(self, instrument: Instrument) -> bool:
        """Whether its quotes, or those of this instrument, failed so often that only a last resort gets through."""
        return self.breaker.rests(Endpoint.QUOTE, instrument.symbol)

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
        self,
        instruments: tuple[Instrument, ...],
        budget_s: float,
        *,
        last_resort: bool = False,
        background: bool = False,
    ) -> Asked[QuoteOutcomes]:
        """Quotes of every instrument by canonical symbol, in batch calls where that is worth it.

        What others ask of it at about the same time is asked together with it, where that costs less.
        """
        priority = Priority.BACKGROUND if background else Priority.QUOTE
        manner = Manner(self._clock.monotonic() + budget_s, priority, last_resort)
        batch, gathering = self.vendor.quotes, self._gathering
        if batch is None or gathering is None or self.breaker.rests(batch.endpoint):
            return await self._quotes_apart(instruments, manner)
        shared = tuple(i for i in instruments if self._serves_in_batch(batch, i))
        if len(shared) == len(instruments):
            return await gathering.ask(shared, manner)
        return await self._quotes_apart(instruments, manner)

    async def _quotes_apart(self, instruments: Sequence[Instrument], manner: Manner) -> Asked[QuoteOutcomes]:
        """By calls that nobody else shares."""
        portions = self._portions(instruments, last_resort=manner.last_resort)
        if len(portions) == 1:
            return await self._send_portion(portions[0], manner)
        heard: list[Asked[QuoteOutcomes]] = []

        async def send(portion: Portion) -> None:
            heard.append(await self._send_portion(portion, manner))

        async with anyio.create_task_group() as tasks:
            for portion in portions:
                tasks.start_soon(send, portion)
        return Asked({s: t for each in heard for s, t in each.answer.items()}, sum(each.calls for each in heard))

    async def _send_portion(self, portion: Portion, manner: Manner) -> Asked[QuoteOutcomes]:
        asking = self._asking(manner)
        if portion.batch is None:
            answers = await asking.quote_one(portion.instruments[0])
        else:
            answers = await asking.quote_batch(portion.batch, portion.instruments)
        delay = self.declared_delay_s
        return Asked({symbol: with_declared_delay(told, delay) for symbol, told in answers.items()}, asking.calls)

    def _portions(self, instruments: Sequence[Instrument], *, last_resort: bool = False) -> list[Portion]:
        """The calls that these instruments take: batches where they are worth it, the others one by one.

        As a last resort, a batch call that is being rested is tried for what single calls do not reach.
        """
        batch = self.vendor.quotes
        together = () if batch is None else tuple(i for i in instruments if self._serves_in_batch(batch, i))
        together = together if len(together) >= self._batch_from(batch) else ()
        if last_resort and self._rests_in_batches_alone(batch):
            together = together[SINGLE_INSTEAD:]
        portions = [Portion((instrument,)) for instrument in instruments if instrument not in together]
        if batch is not None:
            size = self._batch_size(batch, together)
            portions += [Portion(together[i : i + size], batch) for i in range(0, len(together), size)]
        return portions

    def _rests_in_batches_alone(self, batch: Offer[QuoteQuery, QuoteReading] | None) -> bool:
        """Whether its batches failed so often that they are rested, and its single quotes did not."""
        return batch is not None and self.breaker.rests(batch.endpoint) and not self.breaker.rests(Endpoint.QUOTE)

    def gather_with(self, spawn: Spawn) -> None:
        """From now on, ask what several questions want at about the same time in one call, where that costs less.

        Args:
            spawn: starts calls that more than one question may wait for.
        """
        batch = self.vendor.quotes
        if batch is not None and self.options.gather_s > 0 and saves_calls(self.vendor, self._clock):
            calls = QuoteCalls(self._portions, self._send_portion, batch.max_batch)
            self._gathering = Gathering(self.vendor.id, self._clock, spawn, self.options.gather_s, calls)

    def _batch_from(self, batch: Offer[QuoteQuery, QuoteReading] | None) -> int:
        """From how many symbols on they are asked in a batch."""
        return SINGLE_INSTEAD + 1 if batch is not None and self.breaker.rests(batch.endpoint) else BATCH_FROM

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
        asking = self._asking(Manner(self._clock.monotonic() + budget_s))
        outcome: Outcome[History] = await asking.first_known(self.vendor.history, query, query.instrument)
        return Asked(outcome, asking.calls)

    def wants_probe(self) -> bool:
        """Whether something was rested long enough to be tried again."""
        return bool(self._remembered.asked) and bool(self.breaker.to_probe()) and self.is_enabled

    async def probe(self) -> None:
        """Find out whether what was rested is well again, by calls whose answers nobody waits for."""
        for cell in self.breaker.to_probe():
            found = self._remembered.latest(cell.endpoint)
            if found is not None:
                offer, query = found
                asking = self._asking(Manner(self._clock.monotonic() + self.options.timeout_s, Priority.BACKGROUND))
                await asking.probe(offer, about(query, cell.symbol, self._clock.now()))

    def _asking(self, manner: Manner) -> Asking:
        return Asking(self.vendor, self._clock, self.call, self._remembered, manner)

    async def aclose(self) -> None:
        """Close its connections and have what it spent known."""
        await self.limiter.budget.aclose()
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
                return self._rested(token)
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
            self.client.forget(request)
            return self._rested(error.as_failure(self.vendor.id))

    async def _send_for_token(self, request: Request) -> Reply:
        await self.limiter.charge()
        return await self.client.send(request)

    def _rested(self, failure: Failure) -> Failure:
        """The failure with the rest that it asks for."""
        wait = rest_s(self.vendor, failure.kind, failure.retry_after_s, self._clock.now())
        return replace(failure, retry_after_s=wait)

    def _clean(self, outcome: Outcome[AnswerT]) -> Outcome[AnswerT]:
        if not isinstance(outcome, Failure):
            return outcome
        return Failure(outcome.source, outcome.kind, self._redact(outcome.detail), outcome.retry_after_s)

    def _tell(self, call: Call, started: float, outcome: Outcome[Any] | None) -> None:
        """Emit what became of an exchange; one that was cut short is a timeout or a cancellation, told by who cut."""
        if outcome is None:
            at_limit = self._clock.monotonic() - started >= self._time.limit_s(call.endpoint) * 0.99
            kind: FailureKind | None = FailureKind.TIMEOUT if at_limit else FailureKind.CANCELLED
            detail = "no answer in time" if at_limit else "cut short"
        elif isinstance(outcome, Failure):
            kind, detail = outcome.kind, self._redact(outcome.detail)
        else:
            kind, detail = None, ""
        latency = self._clock.monotonic() - started
        if kind is None:
            self.breaker.took(latency)
        self.concurrency.heard(call.endpoint, latency, kind)
        ours = self.breaker.is_own_network(kind)
        self._emit(Fetched(self.vendor.id, call.endpoint, call.symbols, self._clock.now(), latency, kind, detail, ours))
