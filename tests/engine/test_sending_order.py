"""What stands on the way of an answer: requests go before thoughts about the next, and learning goes last."""

from __future__ import annotations

import pytest
from anyio.lowlevel import checkpoint

from engine.scripted_source import OPEN_MARKET, Desk, ScriptedSource, question, quote_desk
from mdagent_mcp.domain.events import Fetched, Judged
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.collection import Collection
from mdagent_mcp.engine.inquiry import Inquiry
from mdagent_mcp.engine.quote_routing import QuoteRouting
from mdagent_mcp.testing import ManualClock

ON_ITS_WAY_OUT = 22
"""Rounds until standard output has taken an answer, the most that was counted."""


@pytest.fixture
def clock() -> ManualClock:
    """An open market that stands still."""
    return ManualClock(OPEN_MARKET)


def three(clock: ManualClock, calls: list[str]) -> list[ScriptedSource]:
    """Sources that agree about AAPL and note in one list when they are asked."""
    return [ScriptedSource(name, clock, {"AAPL": 189.5}, calls=calls) for name in "abc"]


def teach(desk: Desk, source: str, latency_s: float) -> None:
    """Let memory see that a source takes so long."""
    for _ in range(30):
        desk.parts.memory.listen(Fetched(source, Endpoint.QUOTE, ("AAPL",), OPEN_MARKET, latency_s, None))
        desk.parts.memory.listen(
            Judged(source, "AAPL", Endpoint.QUOTE, OPEN_MARKET, agreed=True, delay_s=0.5, complete=True)
        )


@pytest.mark.parametrize("slow_to_fast", ["abc", "bca", "cba"])
async def test_of_those_asked_at_once_the_usually_slowest_is_asked_first(clock: ManualClock, slow_to_fast: str) -> None:
    """The answer waits for its reply: the making of other requests should not come on top."""
    calls: list[str] = []
    async with quote_desk(clock, *three(clock, calls)) as desk:
        for name, latency_s in zip(slow_to_fast, (0.3, 0.2, 0.1), strict=True):
            teach(desk, name, latency_s)
        await desk.engine.answer(question("AAPL"))
    assert calls == [name for name in slow_to_fast if name in calls]
    assert len(calls) >= 2


async def test_requests_are_made_before_it_is_worked_out_when_to_ask_others(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a hedge's time, everybody for the requests."""
    calls: list[str] = []
    asked_by_then: list[int] = []
    next_deadline = Collection._next_deadline

    def noting(collection: Collection, inquiries: list[Inquiry]) -> float:
        asked_by_then.append(len(calls))
        return next_deadline(collection, inquiries)

    monkeypatch.setattr(Collection, "_next_deadline", noting)
    sources = three(clock, calls)
    for source in sources:
        source.takes_s = 0.1
    async with quote_desk(clock, *sources) as desk:
        desk.parts.spawn(desk.engine.answer, question("AAPL"))
        await clock.advance(1.0)
    assert asked_by_then[0] == len(calls) == 3


async def test_an_answer_is_kept_at_once_and_learned_from_when_it_is_out(clock: ManualClock) -> None:
    """Its evidence id is good from the first moment; learning would hold the interpreter while it is written."""
    async with quote_desk(clock, *three(clock, [])) as desk:
        memory = desk.parts.memory
        (given,) = (await desk.engine.answer(question("AAPL"))).quotes
        kept = await memory.evidence(given.evidence_id)
        for _ in range(ON_ITS_WAY_OUT - 1):
            await checkpoint()
        before = (memory.symbol_knowledge("AAPL"), any(isinstance(event, Judged) for event in desk.events))
        await clock.settle()
        after = memory.symbol_knowledge("AAPL")
        told = {event.source for event in desk.events if isinstance(event, Judged)}
    assert kept == given
    assert before == (None, False)
    assert after is not None
    assert after.observations == 1
    assert told == {"a", "b", "c"}


async def test_what_was_not_learned_yet_when_everything_ends_is_learned_then(clock: ManualClock) -> None:
    """A server that is stopped right after an answer has learned from it."""
    async with quote_desk(clock, *three(clock, [])) as desk:
        await desk.engine.answer(question("AAPL"))
        memory = desk.parts.memory
        assert memory.symbol_knowledge("AAPL") is None
    known = memory.symbol_knowledge("AAPL")
    assert known is not None
    assert {event.source for event in desk.events if isinstance(event, Judged)} == {"a", "b", "c"}


async def test_who_has_the_wanted_grade_does_not_work_out_whom_else_to_ask(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is there is not held up by what would be done without it."""
    ordered: list[str] = []
    order = QuoteRouting.order

    def noting(routing: QuoteRouting, inquiry: Inquiry) -> tuple[str, ...]:
        ordered.append(inquiry.key.symbol)
        return order(routing, inquiry)

    monkeypatch.setattr(QuoteRouting, "order", noting)
    async with quote_desk(clock, *three(clock, [])) as desk:
        answer = await desk.engine.answer(question("AAPL"))
        nobody = await desk.engine.answer(question("MSFT"))
    assert (len(answer.quotes), len(nobody.failures), set(ordered)) == (1, 1, {"MSFT"})
