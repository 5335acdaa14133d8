"""Calls wait for a budget in fair order, a bounded number of them, and only while waiting is worth it."""

from __future__ import annotations

import anyio

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.vendor import Endpoint, Quota
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.budgets import Budget, PrivateStore
from mdagent_mcp.transport.limiting import MOST_WAITING, Limiting
from mdagent_mcp.transport.pipeline import Call, Priority
from transport.invented_vendor import NOON

PACE = Quota(1, 0.1, "tenth of a second")


class Counter:
    """A limiter whose calls end at once, and the order in which they were made."""

    def __init__(self, *quotas: Quota) -> None:
        self.clock = ManualClock(NOON)
        self.limiter = Limiting("invented", self.clock, Budget("invented", quotas, self.clock, PrivateStore()))
        self.made: list[str] = []
        self.outcomes: dict[str, Outcome[str]] = {}

    async def call(self, name: str, priority: Priority = Priority.QUOTE, ends_in_s: float = 10.0) -> None:
        async def proceed() -> Outcome[str]:
            self.made.append(name)
            return Answered(name)

        symbol = name.partition("/")[0]
        call = Call(Endpoint.QUOTE, (symbol,), self.clock.monotonic() + ends_in_s, priority=priority)
        self.outcomes[name] = await self.limiter.run(call, proceed)


async def test_a_quote_goes_before_a_series_and_both_before_what_nobody_waits_for() -> None:
    """Whatever came first."""
    desk = Counter(PACE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, "first")
        await desk.clock.settle()
        tasks.start_soon(desk.call, "probe", Priority.BACKGROUND)
        tasks.start_soon(desk.call, "series", Priority.HISTORY)
        tasks.start_soon(desk.call, "quote", Priority.QUOTE)
        await desk.clock.advance(1.0)
    assert desk.made == ["first", "quote", "series", "probe"]


async def test_the_first_call_about_each_symbol_goes_before_the_second_about_any() -> None:
    """One asker with many questions about one symbol does not hold up the others."""
    desk = Counter(PACE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, "AAPL/0")
        for name in ("AAPL/1", "AAPL/2", "AAPL/3", "MSFT/1", "IBM/1"):
            await desk.clock.settle()
            tasks.start_soon(desk.call, name)
        await desk.clock.advance(1.0)
    assert desk.made == ["AAPL/0", "AAPL/1", "MSFT/1", "IBM/1", "AAPL/2", "AAPL/3"]


async def test_a_turn_that_would_come_too_late_is_refused_at_once_with_its_time() -> None:
    """The queue is as long as a second of the budget; what is beyond hears so without waiting."""
    desk = Counter(Quota(1, 0.4, "pace"))
    async with anyio.create_task_group() as tasks:
        for name in ("A", "B", "C", "D"):
            tasks.start_soon(desk.call, name)
            await desk.clock.settle()
        assert sorted(desk.outcomes) == ["A", "D"]
        refusal = desk.outcomes["D"]
        await desk.clock.advance(1.0)
    assert isinstance(refusal, Failure)
    assert refusal.kind is FailureKind.THROTTLED
    assert refusal.retry_after_s is not None
    assert desk.made == ["A", "B", "C"]


async def test_a_call_whose_deadline_is_before_its_turn_is_not_made() -> None:
    """It is told so at once."""
    desk = Counter(PACE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, "A")
        await desk.clock.settle()
        tasks.start_soon(desk.call, "late", Priority.QUOTE, 0.05)
        await desk.clock.settle()
        assert isinstance(desk.outcomes["late"], Failure)
        await desk.clock.advance(1.0)
    assert desk.made == ["A"]


async def test_the_queue_is_bounded() -> None:
    """Beyond its size a call is refused at once, whatever the budget would allow later."""
    desk = Counter(Quota(1000, 0.5, "pace"))
    await desk.limiter.budget.admit(1000)
    async with anyio.create_task_group() as tasks:
        for n in range(MOST_WAITING + 1):
            tasks.start_soon(desk.call, f"S{n}")
        await desk.clock.settle()
        assert list(desk.outcomes) == [f"S{MOST_WAITING}"]
        await desk.clock.advance(1.0)
    assert len(desk.made) == MOST_WAITING


async def test_a_waiting_call_that_is_cancelled_leaves_the_queue_moving() -> None:
    """The next in line gets its turn."""
    desk = Counter(PACE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, "A")
        await desk.clock.settle()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as waiting:
                waiting.start_soon(desk.call, "B")
                await desk.clock.settle()
                tasks.start_soon(desk.call, "C")
                await desk.clock.settle()
                scope.cancel()
        await desk.clock.advance(1.0)
    assert desk.made == ["A", "C"]
