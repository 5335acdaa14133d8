"""A server that has too much to do says so at once, and answers from its cache all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import anyio
import pytest

from engine.scripted_source import OPEN_MARKET, ScriptedSource, question, quote_desk
from mdagent_mcp.domain.answers import HistoryAnswer, QuotesAnswer, SymbolFailure, Usage
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Interval
from mdagent_mcp.domain.questions import HistoryQuestion
from mdagent_mcp.engine.history import HistoryEngine
from mdagent_mcp.engine.load import QuestionLoad
from mdagent_mcp.engine.quotes import QuoteEngine
from mdagent_mcp.resilience.load_shedding import SheddingOptions
from mdagent_mcp.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """Time in the middle of a session."""
    return ManualClock(OPEN_MARKET)


def told(symbol: str, wait_s: float) -> SymbolFailure:
    """What somebody hears for whose question there is no place."""
    return SymbolFailure(
        symbol,
        FailureKind.THROTTLED,
        f"{symbol}: this server works on as many questions as it may at once; none was sent to a source."
        " Do not estimate a price or reuse an older one.",
        f"Ask again after {wait_s:g} s; ask for several symbols in one call instead of many calls.",
        {},
        wait_s,
    )


async def test_a_question_too_many_is_refused_at_once_and_what_is_kept_is_still_served(clock: ManualClock) -> None:
    """Two places, both taken by questions that take their time: the third hears in no time when to come again."""
    source = ScriptedSource("one", clock, dict.fromkeys(("A", "B", "C", "D", "E"), 100.0), takes_s=0.0)
    async with quote_desk(clock, source) as desk:
        load = QuestionLoad(clock, SheddingOptions(most=2))
        engine = QuoteEngine(desk.parts, load)
        await engine.answer(question("A"))
        source.takes_s = 0.4
        answers: dict[str, QuotesAnswer] = {}

        async def ask(name: str, *symbols: str) -> None:
            answers[name] = await engine.answer(question(*symbols))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "first", "B")
            tasks.start_soon(ask, "second", "C")
            await clock.settle()
            assert (load.in_flight, list(answers)) == (2, [])
            tasks.start_soon(ask, "third", "A", "D", "E")
            await clock.settle()
            refused = answers.pop("third")
            assert [quote.symbol for quote in refused.quotes] == ["A"]
            assert (refused.failures, refused.usage) == ((told("D", 0.1), told("E", 0.1)), Usage(0, 1, 0.0))
            await clock.advance(1.0)
        assert sorted(answers) == ["first", "second"]
        assert (load.in_flight, source.asked) == (0, [("A",), ("B",), ("C",)])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "again", "D")
            await clock.advance(1.0)
        assert [quote.symbol for quote in answers["again"].quotes] == ["D"]


async def test_an_asker_who_leaves_frees_his_place(clock: ManualClock) -> None:
    """Cancelled in the middle."""
    source = ScriptedSource("one", clock, {"A": 100.0}, takes_s=None)
    async with quote_desk(clock, source) as desk:
        load = QuestionLoad(clock, SheddingOptions(most=1))
        engine = QuoteEngine(desk.parts, load)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.answer, question("A"))
            await clock.settle()
            assert load.in_flight == 1
            tasks.cancel_scope.cancel()
        assert load.in_flight == 0


async def test_a_series_takes_a_place_as_well(clock: ManualClock) -> None:
    """And is refused where there is none."""
    source = ScriptedSource("one", clock, {}, takes_s=None, history_answer=lambda _query: pytest.fail("not asked"))
    ask = HistoryQuestion(parse_symbol("AAPL"), Interval.DAY_1, date(2026, 11, 2), date(2026, 11, 6))
    async with quote_desk(clock, source) as desk:
        load = QuestionLoad(clock, SheddingOptions(most=1))
        engine = HistoryEngine(desk.parts, load)
        answers: list[HistoryAnswer | SymbolFailure] = []

        async def second() -> None:
            answers.append(await engine.answer(replace(ask, instrument=parse_symbol("MSFT"))))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.answer, ask)
            await clock.settle()
            tasks.start_soon(second)
            await clock.settle()
            tasks.cancel_scope.cancel()
    assert answers == [told("MSFT", 0.1)]
    assert source.asked == [("AAPL",)]
