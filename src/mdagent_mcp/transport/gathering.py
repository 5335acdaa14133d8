"""Gathering: quote requests that several questions make at about the same time become one vendor call.

An agent that asks for twenty symbols in twenty tool calls must not cost twenty calls of a vendor that would have told
them in one. Whether somebody else is about to ask cannot be known, so the rule is: a request takes along those that
are made in the same round of the event loop, which costs no time; and only where others are there already (a second
request in that round, a call of this source in flight, or one that was asked for a few milliseconds ago) it waits a
few milliseconds more. A request that comes alone is therefore never held up, nobody waits for a reply, and as soon as
a batch is full it is sent. (Nagle's rule for small packets, RFC 896, with a bound on the wait.)

The calls run in the background: whoever waits leaves at the end of his own question, and nobody's leaving hurts the
others; a call that nobody waits for any more is cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.isolation import run_isolated
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.questions import Asked
from mdagent_mcp.domain.vendor import Offer, QuoteQuery, QuoteReading, Vendor
from mdagent_mcp.transport.asking import Manner
from mdagent_mcp.transport.outcomes import QuoteOutcomes

_TYPICAL: Final = (parse_symbol("AAPL"), parse_symbol("MSFT"))
"""Any two instruments, by which it is found out what a batch costs."""


class Spawn(Protocol):
    """Starts a task in the background of the application."""

    def __call__(self, func: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any) -> object:
        """Start it."""
        ...


@dataclass(frozen=True, slots=True)
class Portion:
    """What one call asks for.

    Attributes:
        instruments: one, or those of a batch.
        batch: the batch call; None for one instrument asked by itself.
    """

    instruments: tuple[Instrument, ...]
    batch: Offer[QuoteQuery, QuoteReading] | None = None


@dataclass(frozen=True, slots=True)
class QuoteCalls:
    """What a gathering needs from its source.

    Attributes:
        split: the calls that so many instruments take.
        send: makes one of them. Never raises but for cancellation.
        most: instruments of a full batch.
    """

    split: Callable[[Sequence[Instrument]], Sequence[Portion]]
    send: Callable[[Portion, Manner], Awaitable[Asked[QuoteOutcomes]]]
    most: int


@dataclass(eq=False)
class _Waiter:
    """Somebody who waits for quotes."""

    instruments: tuple[Instrument, ...]
    manner: Manner
    open: set[str]
    answers: dict[str, Outcome[tuple[Quote, ...]]] = field(default_factory=dict)
    calls: int = 0
    told: anyio.Event = field(default_factory=anyio.Event)
    gone: bool = False

    def hear(self, asked: Asked[QuoteOutcomes]) -> None:
        """Take what one call said about what is wanted here."""
        wanted = self.open & asked.answer.keys()
        if self.gone or not wanted:
            return
        self.answers.update({symbol: asked.answer[symbol] for symbol in wanted})
        self.open -= wanted
        self.calls += asked.calls
        if not self.open:
            self.told.set()


@dataclass(eq=False)
class _Window:
    """Requests that will be sent together."""

    opened_at: float
    waiters: list[_Waiter] = field(default_factory=list)
    full: anyio.Event = field(default_factory=anyio.Event)

    @property
    def instruments(self) -> dict[str, Instrument]:
        """What is wanted by those who still wait, each once, in the order of asking."""
        return {i.symbol: i for waiter in self.waiters if not waiter.gone for i in waiter.instruments}


@dataclass(eq=False)
class _Flight:
    """One call and those who wait for it."""

    portion: Portion
    waiters: tuple[_Waiter, ...]
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def manner(self) -> Manner:
        """As urgent as the most urgent of those who wait, for as long as the most patient does."""
        manners = [waiter.manner for waiter in self.waiters]
        priorities = [m.priority for m in manners]
        priority = None if None in priorities else min(p for p in priorities if p is not None)
        return Manner(max(m.ends_at for m in manners), priority, manners[0].last_resort)


class Gathering:
    """Gathers the quote requests to one source.

    Args:
        source: source id.
        clock: time.
        spawn: starts the calls in the background.
        window_s: how long a request waits for others where others are there.
        source_calls: how the source makes its calls.
    """

    def __init__(self, source: str, clock: Clock, spawn: Spawn, window_s: float, source_calls: QuoteCalls) -> None:
        self._source = source
        self._clock = clock
        self._spawn = spawn
        self._window_s = window_s
        self._calls = source_calls
        self._open: dict[bool, _Window] = {}
        self._flights: set[_Flight] = set()
        self._asked_at: float | None = None

    async def ask(self, instruments: tuple[Instrument, ...], manner: Manner) -> Asked[QuoteOutcomes]:
        """The quotes of these instruments, from calls that others may share; ends with the question.

        The calls are those that carried them, whoever else they served.
        """
        waiter = _Waiter(instruments, manner, {i.symbol for i in instruments})
        self._join(waiter)
        try:
            with self._clock.limit(max(0.0, manner.ends_at - self._clock.monotonic())):
                await waiter.told.wait()
        except TimeoutError:
            late = Failure(self._source, FailureKind.TIMEOUT, "no answer before the end of the question")
            waiter.answers.update(dict.fromkeys(waiter.open, late))
        finally:
            waiter.gone = True
            self._cancel_abandoned()
        return Asked(waiter.answers, waiter.calls)

    def _join(self, waiter: _Waiter) -> None:
        now, kind = self._clock.monotonic(), waiter.manner.last_resort
        window = self._open.get(kind)
        if window is None:
            window = self._open[kind] = _Window(now)
            others = bool(self._flights) or self._was_asked_lately(now)
            self._spawn(run_isolated, f"gathering for {self._source}", self._run, window, kind, others)
        self._asked_at = now
        window.waiters.append(waiter)
        if len(window.instruments) >= self._calls.most:
            window.full.set()
            del self._open[kind]

    def _was_asked_lately(self, now: float) -> bool:
        return self._asked_at is not None and now - self._asked_at <= self._window_s

    async def _run(self, window: _Window, kind: bool, others: bool) -> None:  # noqa: FBT001 - passed by the spawner
        try:
            await self._hold(window, others=others)
        finally:
            if self._open.get(kind) is window:
                del self._open[kind]
        portions = self._calls.split(tuple(window.instruments.values()))
        flights = [_Flight(portion, _served(portion, window.waiters)) for portion in portions]
        self._flights.update(flights)
        if len(flights) == 1:  # nearly always: a task of its own would send it a round later
            await self._fly(flights[0])
            return
        async with anyio.create_task_group() as tasks:
            for flight in flights:
                tasks.start_soon(self._fly, flight)

    async def _hold(self, window: _Window, *, others: bool) -> None:
        """Wait for others where there are any, or where the round in which this was started brought some."""
        if not others and len(window.waiters) == 1:
            return
        try:
            with self._clock.limit(self._window_s):
                await window.full.wait()
        except TimeoutError:
            return

    async def _fly(self, flight: _Flight) -> None:
        symbols = [i.symbol for i in flight.portion.instruments]
        failed = Failure(self._source, FailureKind.SOURCE_ERROR, "the call failed by a fault of our own; see the log")
        asked: Asked[QuoteOutcomes] = Asked(dict.fromkeys(symbols, failed), 0)
        try:
            with flight.scope:
                asked = await self._calls.send(flight.portion, flight.manner)
        finally:
            self._flights.discard(flight)
            for waiter in flight.waiters:
                waiter.hear(asked)

    def _cancel_abandoned(self) -> None:
        for flight in self._flights:
            if all(waiter.gone for waiter in flight.waiters):
                flight.scope.cancel()


def _served(portion: Portion, waiters: Sequence[_Waiter]) -> tuple[_Waiter, ...]:
    """Those who still wait for any of the instruments of a call."""
    symbols = {i.symbol for i in portion.instruments}
    return tuple(w for w in waiters if not w.gone and not w.open.isdisjoint(symbols))


def saves_calls(vendor: Vendor, clock: Clock) -> bool:
    """Whether a batch costs less than its symbols one by one, and not a credit for each of them."""
    if vendor.quotes is None:
        return False
    one, two = QuoteQuery(_TYPICAL[:1], clock.now()), QuoteQuery(_TYPICAL, clock.now())
    return vendor.quotes.build(two)[0].cost < 2 * vendor.quote.build(one)[0].cost
