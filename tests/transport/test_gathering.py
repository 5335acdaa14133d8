"""Quote requests of several questions become one vendor call, and nobody notices but the vendor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.questions import Asked
from mdagent_mcp.domain.vendor import QuoteQuery, Request, Vendor
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.asking import Manner
from mdagent_mcp.transport.gathering import Gathering, Portion, QuoteCalls
from mdagent_mcp.transport.outcomes import QuoteOutcomes
from mdagent_mcp.transport.pipeline import Priority
from transport.invented_vendor import INVENTED, NOON, Bench, BrokenBatches, never, prices, quote

WINDOW_S = 0.004


@dataclass
class Vendors:
    """The vendor's side of a gathering.

    Attributes:
        clock: time.
        most: symbols of a full batch.
        takes_s: how long every call takes.
        fails: symbols whose whole call fails.
        sent: when each call was sent, and about what.
        manners: how each was sent.
        cancelled: calls that were cancelled.
    """

    clock: ManualClock
    most: int = 5
    takes_s: float = 0.1
    fails: frozenset[str] = frozenset()
    sent: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    manners: list[Manner] = field(default_factory=list)
    cancelled: list[tuple[str, ...]] = field(default_factory=list)

    def split(self, instruments: Sequence[Instrument]) -> list[Portion]:
        """Full batches and a rest."""
        chunks = (tuple(instruments[i : i + self.most]) for i in range(0, len(instruments), self.most))
        return [Portion(chunk, INVENTED.quotes) for chunk in chunks]

    async def send(self, portion: Portion, manner: Manner) -> Asked[QuoteOutcomes]:
        """Answer every symbol with a price of its own."""
        symbols = tuple(i.symbol for i in portion.instruments)
        self.sent.append((round(self.clock.monotonic(), 6), symbols))
        self.manners.append(manner)
        try:
            await self.clock.sleep(self.takes_s)
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(symbols)
            raise
        if self.fails.intersection(symbols):
            broken = Failure("invented", FailureKind.SOURCE_ERROR, "broken")
            return Asked(dict.fromkeys(symbols, broken), 1)
        return Asked({symbol: Answered((quote(symbol, price_of(symbol)),)) for symbol in symbols}, 1)


def price_of(symbol: str) -> float:
    """A price that no other symbol has."""
    return float(int.from_bytes(symbol.encode(), "big") % 9973) + 1.0


def expected(*symbols: str) -> dict[str, Outcome[tuple[Quote, ...]]]:
    """What somebody hears who asked for these."""
    return {symbol: Answered((quote(symbol, price_of(symbol)),)) for symbol in symbols}


@dataclass
class Table:
    """A gathering, the vendor's side of it, and those who ask."""

    clock: ManualClock
    vendors: Vendors
    gathering: Gathering
    tasks: anyio.abc.TaskGroup
    heard: dict[str, Asked[QuoteOutcomes]] = field(default_factory=dict)
    ended_at: dict[str, float] = field(default_factory=dict)

    def ask(
        self,
        name: str,
        *symbols: str,
        ends_in_s: float = 10.0,
        priority: Priority | None = None,
        last_resort: bool = False,
    ) -> anyio.CancelScope:
        """Ask in the background; the scope lets the asker leave."""
        scope = anyio.CancelScope()

        async def ask() -> None:
            with scope:
                manner = Manner(self.clock.monotonic() + ends_in_s, priority, last_resort)
                self.heard[name] = await self.gathering.ask(tuple(map(parse_symbol, symbols)), manner)
                self.ended_at[name] = round(self.clock.monotonic(), 6)

        self.tasks.start_soon(ask)
        return scope


@asynccontextmanager
async def table(*, most: int = 5, takes_s: float = 0.1, settle_rounds: int = 40) -> AsyncIterator[Table]:
    """A gathering on a hand-turned clock."""
    clock = ManualClock(NOON, settle_rounds=settle_rounds)
    vendors = Vendors(clock, most, takes_s)
    async with anyio.create_task_group() as tasks:
        calls = QuoteCalls(vendors.split, vendors.send, most)
        yield Table(clock, vendors, Gathering("invented", clock, tasks.start_soon, WINDOW_S, calls), tasks)
        tasks.cancel_scope.cancel()


async def test_a_lonely_request_is_sent_at_once() -> None:
    """It waits for nobody, however long the last one is ago."""
    async with table() as t:
        t.ask("one", "AAPL")
        await t.clock.settle()
        assert t.vendors.sent == [(0.0, ("AAPL",))]
        await t.clock.advance(1.0)
        t.ask("two", "MSFT")
        await t.clock.settle()
        assert t.vendors.sent[1:] == [(1.0, ("MSFT",))]


async def test_requests_of_the_same_moment_are_one_call_and_everybody_hears_his_own() -> None:
    """Three questions, one of them about two symbols: one call, told to everybody who waited for it."""
    async with table() as t:
        t.ask("one", "AAPL")
        t.ask("two", "MSFT", "IBM")
        t.ask("three", "AAPL")
        await t.clock.advance(0.2)
    assert t.vendors.sent == [(WINDOW_S, ("AAPL", "MSFT", "IBM"))]
    assert t.heard == {
        "one": Asked(expected("AAPL"), 1),
        "two": Asked(expected("MSFT", "IBM"), 1),
        "three": Asked(expected("AAPL"), 1),
    }


async def test_while_a_call_is_under_way_others_wait_a_moment_for_each_other_and_not_for_it() -> None:
    """The window opens with the first of them and is not prolonged by the next."""
    async with table() as t:
        t.ask("alone", "AAPL")
        await t.clock.advance(0.05)
        t.ask("one", "MSFT")
        await t.clock.advance(0.003)
        t.ask("two", "IBM")
        await t.clock.advance(0.2)
    assert t.vendors.sent == [(0.0, ("AAPL",)), (0.054, ("MSFT", "IBM"))]


async def test_a_request_soon_after_another_waits_for_more_of_them() -> None:
    """Although the other has been answered already."""
    async with table(takes_s=0.001) as t:
        t.ask("one", "AAPL")
        await t.clock.advance(0.003)
        t.ask("two", "MSFT")
        await t.clock.advance(0.003)
        t.ask("three", "IBM")
        await t.clock.advance(0.1)
    assert t.vendors.sent == [(0.0, ("AAPL",)), (0.007, ("MSFT", "IBM"))]


async def test_a_full_batch_is_sent_at_once_and_the_rest_in_the_next() -> None:
    """Twelve symbols, five to a batch: nobody waits for a window whose batch is full."""
    symbols = [f"S{n}" for n in range(12)]
    async with table() as t:
        for symbol in symbols:
            t.ask(symbol, symbol)
        await t.clock.settle()
        assert t.vendors.sent == [(0.0, tuple(symbols[:5])), (0.0, tuple(symbols[5:10]))]
        await t.clock.advance(0.2)
    assert t.vendors.sent[2:] == [(WINDOW_S, tuple(symbols[10:]))]
    assert t.heard == {symbol: Asked(expected(symbol), 1) for symbol in symbols}


async def test_whoever_leaves_takes_nobodys_answer_along() -> None:
    """The first asker, who opened the window, goes while the call is under way; the others hear."""
    async with table() as t:
        leaver = t.ask("first", "AAPL")
        t.ask("second", "AAPL", "MSFT")
        await t.clock.advance(0.05)
        leaver.cancel()
        await t.clock.advance(0.2)
    assert t.heard == {"second": Asked(expected("AAPL", "MSFT"), 1)}
    assert t.vendors.cancelled == []


async def test_what_nobody_waits_for_any_more_is_not_asked_or_is_cancelled() -> None:
    """Of the symbols of those who left in the window only the others' are asked; a call without waiters ends."""
    async with table() as t:
        t.ask("stays", "AAPL")
        early = t.ask("early", "MSFT")
        await t.clock.advance(0.001)
        early.cancel()
        await t.clock.advance(0.2)
        assert t.vendors.sent == [(WINDOW_S, ("AAPL",))]
        late = t.ask("late", "IBM")
        await t.clock.advance(0.05)
        late.cancel()
        await t.clock.settle()
        assert t.vendors.cancelled == [("IBM",)]


async def test_everybody_leaves_at_the_end_of_his_own_question_and_the_call_lasts_for_the_longest() -> None:
    """The hasty one hears that there was no time; the patient one is answered."""
    async with table(takes_s=3.0) as t:
        t.ask("hasty", "AAPL", ends_in_s=1.0)
        t.ask("patient", "AAPL", "MSFT", ends_in_s=5.0)
        await t.clock.advance(4.0)
    late = Failure("invented", FailureKind.TIMEOUT, "no answer before the end of the question")
    assert t.heard == {"hasty": Asked({"AAPL": late}, 0), "patient": Asked(expected("AAPL", "MSFT"), 1)}
    assert t.ended_at == {"hasty": 1.0, "patient": 3.004}
    assert [manner.ends_at for manner in t.vendors.manners] == [5.0]


@pytest.mark.parametrize(
    ("priorities", "best"),
    [
        ((Priority.BACKGROUND, Priority.QUOTE), Priority.QUOTE),
        ((Priority.BACKGROUND, Priority.HISTORY), Priority.HISTORY),
        ((Priority.BACKGROUND, None), None),
    ],
)
async def test_a_call_is_as_urgent_as_the_most_urgent_of_its_askers(
    priorities: tuple[Priority | None, ...], best: Priority | None
) -> None:
    """None is the usual priority of a quote, which nothing goes before."""
    async with table() as t:
        for number, priority in enumerate(priorities):
            t.ask(str(number), f"S{number}", priority=priority)
        await t.clock.advance(0.2)
    assert [manner.priority for manner in t.vendors.manners] == [best]


async def test_a_last_resort_is_asked_apart_from_what_is_not_one() -> None:
    """Only it may pass an open circuit."""
    async with table() as t:
        t.ask("usual", "AAPL")
        t.ask("last", "MSFT", last_resort=True)
        await t.clock.advance(0.2)
    asked = [
        (symbols, manner.last_resort) for (_, symbols), manner in zip(t.vendors.sent, t.vendors.manners, strict=True)
    ]
    assert asked == [(("AAPL",), False), (("MSFT",), True)]


async def test_a_failed_batch_is_told_for_each_symbol() -> None:
    """And a full one beside it that succeeds is not touched."""
    async with table(most=2) as t:
        t.vendors.fails = frozenset({"A"})
        t.ask("one", "A")
        t.ask("two", "B", "C")
        await t.clock.advance(0.2)
    broken = Failure("invented", FailureKind.SOURCE_ERROR, "broken")
    assert t.heard == {"one": Asked({"A": broken}, 1), "two": Asked({"B": broken, **expected("C")}, 2)}


async def test_a_fault_of_our_own_in_a_call_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and told as a failure."""

    async def fault(_portion: Portion, _manner: Manner) -> Asked[QuoteOutcomes]:
        raise RuntimeError("a bug")

    clock = ManualClock(NOON)
    heard: list[Asked[QuoteOutcomes]] = []
    async with anyio.create_task_group() as tasks:
        calls = QuoteCalls(Vendors(clock).split, fault, 5)
        gathering = Gathering("invented", clock, tasks.start_soon, WINDOW_S, calls)
        heard.append(await gathering.ask((parse_symbol("AAPL"),), Manner(clock.monotonic() + 10.0)))
    assert [told.kind for told in heard[0].answer.values() if isinstance(told, Failure)] == [FailureKind.SOURCE_ERROR]
    assert "gathering for invented failed" in caplog.text


_asker = st.tuples(
    st.sampled_from([0.0, 0.0, 0.001, 0.003, 0.02, 0.5]),  # seconds after the one before
    st.lists(st.sampled_from([f"S{n}" for n in range(9)]), min_size=1, max_size=4, unique=True),
    st.one_of(st.none(), st.sampled_from([0.0, 0.002, 0.05])),  # seconds until the asker leaves
)


@settings(deadline=None, max_examples=40)
@given(st.lists(_asker, min_size=1, max_size=8), st.integers(1, 4))
def test_everybody_hears_exactly_his_own_and_no_call_is_too_large_or_names_a_symbol_twice(
    askers: list[tuple[float, list[str], float | None]], most: int
) -> None:
    """Whoever comes when, asks for what, and leaves before it is there."""

    async def play() -> None:
        async with table(most=most, settle_rounds=15) as t:
            stayed: dict[str, list[str]] = {}
            for number, (after, symbols, leaves_after) in enumerate(askers):
                await t.clock.advance(after)
                scope = t.ask(str(number), *symbols)
                if leaves_after is None:
                    stayed[str(number)] = symbols
                else:
                    await t.clock.advance(leaves_after)
                    scope.cancel()
            await t.clock.advance(1.0)
            assert {n: dict(t.heard[n].answer) for n in stayed} == {n: expected(*s) for n, s in stayed.items()}
            for _, symbols_sent in t.vendors.sent:
                assert len(set(symbols_sent)) == len(symbols_sent) <= most
            assert all(asked.calls <= len(asked.answer) for asked in t.heard.values())

    anyio.run(play)


def by_credit() -> Vendor:
    """A vendor whose batches cost a credit for every symbol."""
    assert INVENTED.quotes is not None
    build = INVENTED.quotes.build

    def charged(query: QuoteQuery) -> tuple[Request, ...]:
        return tuple(replace(request, cost=len(query.instruments)) for request in build(query))

    return replace(INVENTED, quotes=replace(INVENTED.quotes, max_batch=10, build=charged), token=None)


def by_call() -> Vendor:
    """A vendor whose batches cost one call."""
    assert INVENTED.quotes is not None
    return replace(INVENTED, quotes=replace(INVENTED.quotes, max_batch=10), token=None)


@pytest.mark.parametrize(
    ("vendor", "gather_s", "paths"),
    [
        (by_call(), 0.004, ["/batch"]),
        (by_call(), 0.0, ["/stock/A", "/stock/B", "/stock/C"]),
        (by_credit(), 0.004, ["/stock/A", "/stock/B", "/stock/C"]),
        (replace(by_call(), quotes=None), 0.004, ["/stock/A", "/stock/B", "/stock/C"]),
    ],
)
async def test_only_where_a_batch_costs_less_requests_are_gathered(
    vendor: Vendor, gather_s: float, paths: list[str]
) -> None:
    """Not where every symbol of it is charged, where there is none, and where the settings say no."""
    bench = Bench(prices(A=1.0, B=2.0, C=3.0), vendor=vendor, gather_s=gather_s)
    answers: dict[str, Outcome[tuple[Quote, ...]]] = {}

    async def ask(symbol: str) -> None:
        answers.update(await bench.ask(symbol))

    async with anyio.create_task_group() as background:
        bench.source.gather_with(background.start_soon)
        async with anyio.create_task_group() as tasks:
            for symbol in "ABC":
                tasks.start_soon(ask, symbol)
            await bench.clock.advance(0.1)
    assert sorted(request.url.path for request in bench.web.requests) == paths
    assert answers == {s: Answered((quote(s, float(n)),)) for n, s in enumerate("ABC", start=1)}


async def test_two_requests_at_once_stay_single_calls_which_carry_more_fields() -> None:
    """As two symbols of one question do."""
    bench = Bench(prices(A=1.0, B=2.0), vendor=by_call(), gather_s=0.004)
    async with anyio.create_task_group() as background:
        bench.source.gather_with(background.start_soon)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.ask, "A")
            tasks.start_soon(bench.ask, "B")
            await bench.clock.advance(0.1)
    assert sorted(request.url.path for request in bench.web.requests) == ["/stock/A", "/stock/B"]


async def test_while_batches_are_rested_requests_are_made_one_by_one() -> None:
    """A batch that fails again and again must not take along the questions that single calls answer."""
    bench = Bench(BrokenBatches(prices(A=1.0, B=2.0, C=3.0)), vendor=by_call(), gather_s=0.004)

    async def break_batches() -> None:
        for _ in range(12):
            await bench.ask("A", "B", "C")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(break_batches)
        await bench.clock.advance(3.0)
    answers: dict[str, Outcome[tuple[Quote, ...]]] = {}

    async def ask(symbol: str) -> None:
        answers.update(await bench.ask(symbol))

    async with anyio.create_task_group() as background:
        bench.source.gather_with(background.start_soon)
        async with anyio.create_task_group() as tasks:
            for symbol in "ABC":
                tasks.start_soon(ask, symbol)
            await bench.clock.advance(0.1)
    assert answers == {s: Answered((quote(s, float(n)),)) for n, s in enumerate("ABC", start=1)}


async def test_a_gathered_call_that_hangs_ends_for_everybody_with_the_time_limit_of_the_source() -> None:
    """Every asker is told a timeout for his own symbol."""
    bench = Bench(never, vendor=by_call(), gather_s=0.004)
    answers: dict[str, Outcome[tuple[Quote, ...]]] = {}

    async def ask(symbol: str) -> None:
        answers.update(await bench.ask(symbol))

    async with anyio.create_task_group() as background:
        bench.source.gather_with(background.start_soon)
        async with anyio.create_task_group() as tasks:
            for symbol in "ABC":
                tasks.start_soon(ask, symbol)
            await bench.clock.advance(4.1)
    assert answers == dict.fromkeys("ABC", Failure("invented", FailureKind.TIMEOUT, "no answer within 4.0 s"))
    assert [request.url.path for request in bench.web.requests] == ["/batch"]


async def test_a_call_of_its_own_is_sent_in_the_round_after_the_window_was_opened() -> None:
    """Two rounds after the asker's own: an answer waits for every round that its slowest source's request takes."""
    async with table() as t:
        t.ask("one", "AAPL")
        for _ in range(3):
            await checkpoint()
        assert t.vendors.sent == [(0.0, ("AAPL",))]
        await t.clock.advance(1.0)
    assert t.heard["one"].answer == expected("AAPL")
