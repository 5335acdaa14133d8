"""Laws of hedging, of the queue before a source and of shared work, tried on arbitrary traffic."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import anyio
from anyio.abc import TaskGroup
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scripted_source import ScriptedSource, question, quote_desk
from mdagent_mcp.domain.answers import QuotesAnswer
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.vendor import Endpoint, Quota
from mdagent_mcp.engine.flight import SingleFlight
from mdagent_mcp.resilience.backoff import earn, new_budget
from mdagent_mcp.resilience.hedging import (
    HEDGE_BUDGET,
    SPARED_SHARE,
    HedgeOptions,
    hedge_delay_s,
    spend_on_hedge,
)
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.budgets import Budget, PrivateStore
from mdagent_mcp.transport.limiting import Limiting
from mdagent_mcp.transport.pipeline import Call, Priority

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
OPTIONS = HedgeOptions()
_unhurried = settings(deadline=None)  # a busy machine is no failure
_few = settings(deadline=None, max_examples=30)
_usual = st.lists(st.one_of(st.none(), st.floats(0.0, 60.0)), max_size=6)


@_unhurried
@given(_usual, st.one_of(st.none(), st.floats(0.0, 60.0)))
def test_the_delay_before_a_hedge_is_bounded_and_never_shorter_for_another_slow_source(
    usual: list[float | None], another: float | None
) -> None:
    """The slowest source that was asked decides, within the bounds; order is of no account."""
    delay = hedge_delay_s(usual, OPTIONS)
    assert OPTIONS.shortest_s <= delay <= OPTIONS.longest_s
    assert hedge_delay_s(reversed(usual), OPTIONS) == delay
    assert hedge_delay_s([*usual, another], OPTIONS) >= delay
    unhurried = [OPTIONS.unknown_s if seconds is None else seconds for seconds in usual]
    assert all(delay >= min(seconds, OPTIONS.longest_s) for seconds in unhurried)


@_unhurried
@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.lists(st.booleans(), max_size=3)), max_size=120))
def test_hedges_never_exceed_their_share_of_the_questions(questions: list[tuple[float, list[bool]]]) -> None:
    """Not in total and not in any stretch: a tenth of its questions and what may be saved up; a part is spared."""
    budget, now = new_budget(HEDGE_BUDGET, 0.0), 0.0
    hedges: list[int] = []
    for step, wanted in questions:
        now += step
        budget = earn(budget, HEDGE_BUDGET, now)
        granted = 0
        for urgent in wanted:
            before = budget.saved
            budget, allowed = spend_on_hedge(budget, now, urgent=urgent)
            granted += allowed
            assert urgent or not allowed or before >= HEDGE_BUDGET.cap * SPARED_SHARE
            assert not urgent or allowed is (before >= 1.0)
        hedges.append(granted)
    assert sum(hedges) <= HEDGE_BUDGET.start + HEDGE_BUDGET.share * len(hedges) + 1e-9
    for first in range(0, len(hedges), 7):
        stretch = hedges[first:]
        assert sum(stretch) <= HEDGE_BUDGET.cap + HEDGE_BUDGET.share * len(stretch) + 1e-9


_call = st.tuples(st.sampled_from(Priority), st.sampled_from("ABC"), st.sampled_from([0.0, 0.02, 0.3, 1.5]))


class Queue:
    """A limiter of one call in a tenth of a second, and what becomes of each call made through it."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON, settle_rounds=12)
        quotas = (Quota(1, 0.1, "tenth of a second"),)
        self.limiter = Limiting("invented", self.clock, Budget("invented", quotas, self.clock, PrivateStore()))
        self.waiting: dict[int, tuple[int, str]] = {}
        self.sent: list[tuple[float, int, tuple[tuple[int, str], ...]]] = []
        self.ended: dict[int, tuple[float, Outcome[int]]] = {}

    async def call(self, number: int, priority: Priority, symbol: str, ends_at: float) -> None:
        async def proceed() -> Outcome[int]:
            mine = self.waiting.pop(number)
            self.sent.append((self.clock.monotonic(), mine[0], tuple(self.waiting.values())))
            return Answered(number)

        self.waiting[number] = (priority, symbol)
        call = Call(Endpoint.QUOTE, (symbol,), ends_at, priority=priority)
        outcome = await self.limiter.run(call, proceed)
        self.waiting.pop(number, None)
        self.ended[number] = (self.clock.monotonic(), outcome)


@_few
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.05, 0.4]), _call), max_size=30))
def test_no_call_starves_and_the_queue_respects_priority(
    arrivals: list[tuple[float, tuple[Priority, str, float]]],
) -> None:
    """Every call is sent or refused by its deadline; none is sent while a more urgent one waits."""
    queue, deadlines = Queue(), dict[int, float]()

    async def play() -> None:
        async with anyio.create_task_group() as tasks:
            for number, (gap, (priority, symbol, patience)) in enumerate(arrivals):
                await queue.clock.advance(gap)
                deadlines[number] = queue.clock.monotonic() + patience
                tasks.start_soon(queue.call, number, priority, symbol, deadlines[number])
                await queue.clock.settle()
            await queue.clock.advance(3.0)

    anyio.run(play)
    assert queue.ended.keys() == deadlines.keys()
    for number, (at, outcome) in queue.ended.items():
        assert at <= deadlines[number] + 1e-6
        assert not isinstance(outcome, Failure) or outcome.kind is FailureKind.THROTTLED
    times = [at for at, _, _ in queue.sent]
    assert all(later - earlier >= 0.1 - 1e-6 for earlier, later in itertools.pairwise(times))
    assert all(priority <= min((p for p, _ in waiting), default=priority) for _, priority, waiting in queue.sent)


_asker = st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.3]), st.sampled_from([None, 0.0, 0.1, 0.2]))
"""When somebody asks, and how much later he goes away; None for staying."""


async def _play(
    clock: ManualClock, askers: list[tuple[float, float | None]], ask: Callable[[int], Awaitable[None]]
) -> None:
    """Let everybody ask, and go away, at his time; those who stay are waited for."""

    async def one(number: int, at: float, leaves_after: float | None) -> None:
        await clock.sleep(at)
        with anyio.CancelScope() as scope:
            if leaves_after is not None:
                tasks.start_soon(_leave, clock, leaves_after, scope)
            await ask(number)

    async with anyio.create_task_group() as tasks:
        _start_all(tasks, one, askers)
        for _ in range(12):
            await clock.advance(0.05)
        await clock.advance(12.0)
        tasks.cancel_scope.cancel()


def _start_all(
    tasks: TaskGroup,
    one: Callable[[int, float, float | None], Coroutine[Any, Any, None]],
    askers: list[tuple[float, float | None]],
) -> None:
    for number, (at, leaves_after) in enumerate(askers):
        tasks.start_soon(one, number, at, leaves_after)


async def _leave(clock: ManualClock, seconds: float, scope: anyio.CancelScope) -> None:
    await clock.sleep(seconds)
    scope.cancel()


@_few
@given(st.lists(_asker, min_size=1, max_size=8), st.sampled_from([0.0, 0.1, 0.25]))
def test_whoever_stays_gets_the_shared_result_whoever_else_leaves(
    askers: list[tuple[float, float | None]], takes_s: float
) -> None:
    """Single flight: at most one piece of work at a time, and its result for all who wait to the end."""
    clock, results = ManualClock(NOON, settle_rounds=12), dict[int, int]()
    running, most = 0, 0

    async def work() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await clock.sleep(takes_s)
        finally:
            running -= 1
        return 42

    async def play() -> None:
        async with anyio.create_task_group() as background:
            flights: SingleFlight[str, int] = SingleFlight(background.start_soon)

            async def ask(number: int) -> None:
                results[number] = await flights.run("AAPL", work)

            await _play(clock, askers, ask)

    anyio.run(play)
    stayed = {number for number, (_, leaves_after) in enumerate(askers) if leaves_after is None}
    assert stayed <= results.keys()
    assert set(results.values()) <= {42}
    assert running == 0


@_few
@given(st.lists(_asker, min_size=1, max_size=6), st.sampled_from([0.1, 0.25]))
def test_whoever_stays_gets_a_quote_whoever_else_leaves(
    askers: list[tuple[float, float | None]], takes_s: float
) -> None:
    """The same for questions that share a collection, also when one comes the moment the last one goes."""
    clock, answers = ManualClock(NOON, settle_rounds=12), dict[int, QuotesAnswer]()

    async def play() -> None:
        sources = [ScriptedSource(name, clock, {"AAPL": 189.5}, takes_s=takes_s) for name in ("one", "two", "three")]
        async with quote_desk(clock, *sources) as desk:

            async def ask(number: int) -> None:
                answers[number] = await desk.engine.answer(question("AAPL", max_age_s=0.0))

            await _play(clock, askers, ask)

    anyio.run(play)
    for number, (_, leaves_after) in enumerate(askers):
        if leaves_after is None:
            assert [quote.price for quote in answers[number].quotes] == [189.5]
