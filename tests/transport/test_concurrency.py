"""A source gets as many calls at once as it takes; the others wait in order, or hear at once when to come again."""

from __future__ import annotations

import anyio
import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.resilience.concurrency import KNOWN_FROM, ConcurrencyOptions
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.concurrency import MOST_WAITING, Concurrency
from mdagent_mcp.transport.pipeline import Call, Priority
from transport.invented_vendor import NOON


class Counter:
    """Calls that take a tenth of a second each, and the order in which they were made."""

    def __init__(self, most: int = 1) -> None:
        self.clock = ManualClock(NOON)
        self.concurrency = Concurrency("invented", self.clock, ConcurrencyOptions(most=most))
        self.made: list[str] = []
        self.inside = self.at_once = 0
        self.outcomes: dict[str, Outcome[str]] = {}

    async def call(self, name: str, priority: Priority = Priority.QUOTE, ends_in_s: float = 10.0) -> None:
        async def proceed() -> Outcome[str]:
            self.made.append(name)
            self.inside += 1
            self.at_once = max(self.at_once, self.inside)
            try:
                await self.clock.sleep(0.1)
            finally:
                self.inside -= 1
            return Answered(name)

        symbol = name.partition("/")[0]
        call = Call(Endpoint.QUOTE, (symbol,), self.clock.monotonic() + ends_in_s, priority=priority)
        self.outcomes[name] = await self.concurrency.run(call, proceed)

    def hear(self, latency_s: float, kind: FailureKind | None = None, times: int = 1) -> None:
        """So many calls ended like this."""
        for _ in range(times):
            self.concurrency.heard(Endpoint.QUOTE, latency_s, kind)


async def test_a_quote_goes_before_a_series_before_what_nobody_waits_for_and_every_symbol_gets_its_first_turn() -> None:
    """Whatever came first."""
    desk = Counter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, "first")
        await desk.clock.settle()
        tasks.start_soon(desk.call, "probe", Priority.BACKGROUND)
        tasks.start_soon(desk.call, "series", Priority.HISTORY)
        for name in ("AAPL/1", "AAPL/2", "MSFT/1"):
            tasks.start_soon(desk.call, name)
            await desk.clock.settle()
        await desk.clock.advance(1.0)
    assert desk.made == ["first", "AAPL/1", "MSFT/1", "AAPL/2", "series", "probe"]
    assert desk.at_once == 1


async def test_who_would_wait_beyond_the_end_of_his_question_hears_at_once_when_there_is_a_place() -> None:
    """Two calls ahead at a tenth of a second each: no use to wait with 0.15 s left."""
    desk = Counter()
    desk.hear(0.1, times=KNOWN_FROM)
    async with anyio.create_task_group() as tasks:
        for name in ("A", "B"):
            tasks.start_soon(desk.call, name)
            await desk.clock.settle()
        tasks.start_soon(desk.call, "hasty", Priority.QUOTE, 0.15)
        await desk.clock.settle()
        refused = Failure("invented", FailureKind.THROTTLED, "1 calls of ours are with it and 1 wait already", 0.2)
        assert desk.outcomes == {"hasty": refused}
        await desk.clock.advance(1.0)
    assert desk.made == ["A", "B"]


async def test_the_queue_is_bounded() -> None:
    """Beyond its size a call is refused at once."""
    desk = Counter()
    async with anyio.create_task_group() as tasks:
        for n in range(MOST_WAITING + 2):
            tasks.start_soon(desk.call, f"S{n}", Priority.QUOTE, 100.0)
        await desk.clock.settle()
        assert list(desk.outcomes) == [f"S{MOST_WAITING + 1}"]
        tasks.cancel_scope.cancel()


async def test_who_still_waits_at_the_end_of_his_question_is_not_sent_and_who_leaves_keeps_nobody_waiting() -> None:
    """The place goes to the next in line."""
    desk = Counter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, "A")
        await desk.clock.settle()
        tasks.start_soon(desk.call, "late", Priority.QUOTE, 0.05)
        leaver = anyio.CancelScope()

        async def leave() -> None:
            with leaver:
                await desk.call("leaver")

        tasks.start_soon(leave)
        await desk.clock.settle()
        tasks.start_soon(desk.call, "B")
        await desk.clock.settle()
        leaver.cancel()
        await desk.clock.advance(1.0)
    assert desk.outcomes["late"] == Failure("invented", FailureKind.TIMEOUT, "no time was left to ask")
    assert desk.made == ["A", "B"]


@pytest.mark.parametrize("rounds", range(5))
async def test_a_place_given_in_the_moment_of_leaving_is_given_on(rounds: int) -> None:
    """However the two fall together: afterwards a call still enters."""
    desk = Counter()
    leaver = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, "A")
        await desk.clock.settle()

        async def leave() -> None:
            with leaver:
                await desk.call("leaver")

        tasks.start_soon(leave)
        tasks.start_soon(desk.call, "B")
        await desk.clock.settle()
        turning = anyio.create_task_group()
        async with turning:
            turning.start_soon(desk.clock.advance, 0.1)
            for _ in range(40 + rounds):
                await anyio.lowlevel.checkpoint()
            leaver.cancel()
        await desk.clock.advance(1.0)
    assert (desk.made[0], desk.made[-1], desk.inside) == ("A", "B", 0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, "C")
        await desk.clock.advance(0.2)
    assert desk.outcomes["C"] == Answered("C")


async def test_calls_that_get_no_answer_in_time_leave_the_source_fewer_at_once_until_it_answers_again() -> None:
    """Down to one, and back to what its vendor declares."""
    desk = Counter(most=4)
    desk.hear(4.0, FailureKind.TIMEOUT, times=20)
    assert (desk.concurrency.allowed, desk.concurrency.most) == (1, 4)
    async with anyio.create_task_group() as tasks:
        for name in "ABCD":
            tasks.start_soon(desk.call, name)
        await desk.clock.advance(1.0)
    assert desk.at_once == 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, "E")
        await desk.clock.settle()
        desk.hear(0.1, times=20)
        await desk.clock.advance(1.0)
    assert 1 < desk.concurrency.allowed <= 4


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        (FailureKind.THROTTLED, 5),
        (FailureKind.TIMEOUT, 7),
        (FailureKind.UNKNOWN_SYMBOL, 8),
        (FailureKind.NETWORK, 8),
        (FailureKind.SOURCE_ERROR, 8),
        (FailureKind.CANCELLED, 8),
        (FailureKind.QUOTA_EXHAUSTED, 8),
    ],
)
async def test_only_what_tells_of_too_much_at_once_lowers_the_limit(kind: FailureKind, allowed: int) -> None:
    """An unknown symbol is an answer; what is broken or unreachable is the breaker's."""
    desk = Counter(most=8)
    desk.hear(0.1, kind)
    assert desk.concurrency.allowed == allowed


async def test_a_long_series_is_no_sign_of_a_busy_source_but_a_slow_quote_is() -> None:
    """A series takes as long as it is."""
    desk = Counter(most=8)
    desk.hear(0.1, times=KNOWN_FROM)
    for _ in range(KNOWN_FROM):
        desk.concurrency.heard(Endpoint.HISTORY, 0.1, None)
    desk.concurrency.heard(Endpoint.HISTORY, 3.0, None)
    assert desk.concurrency.allowed == 8
    desk.hear(3.0)
    assert desk.concurrency.allowed == 7
