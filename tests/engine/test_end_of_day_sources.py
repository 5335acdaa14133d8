"""A source that tells closes only is no voice about a market that trades, and its calls are few."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.scripted_source import OPEN_MARKET, ScriptedSource, question, quote_desk
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.testing import ManualClock

DAY_S = 86_400.0
YESTERDAY = datetime(2026, 11, 23, 21, tzinfo=UTC)


def closes(clock: ManualClock) -> ScriptedSource:
    """A trusted source whose plan is end-of-day."""
    return ScriptedSource("closes", clock, {"AAPL": 188.0}, weight=0.9, declared_delay_s=DAY_S, at=YESTERDAY)


@pytest.mark.parametrize("grade", [None, Grade.A])
async def test_it_is_not_asked_while_the_market_trades(grade: Grade | None) -> None:
    """Not even where one lone source leaves much to be wished, and a grade is asked for that is out of reach."""
    clock = ManualClock(OPEN_MARKET)
    lone, source = ScriptedSource("lone", clock, {"AAPL": 189.5}), closes(clock)
    async with quote_desk(clock, lone, source) as desk:
        answer = await desk.engine.answer(question("AAPL", min_grade=grade))
    (quote,) = answer.quotes
    assert (quote.price, quote.sources_used, quote.sources_rejected) == (189.5, ("lone",), ())
    assert (lone.asked, source.asked) == ([("AAPL",)], [])


async def test_it_is_asked_when_nobody_else_is_left() -> None:
    """The others failed; a close that says what it is, with the grade of one, serves better than nothing."""
    clock = ManualClock(OPEN_MARKET)
    down, source = ScriptedSource("down", clock, {"AAPL": FailureKind.NETWORK}), closes(clock)
    async with quote_desk(clock, down, source) as desk:
        (quote,) = (await desk.engine.answer(question("AAPL"))).quotes
    assert (quote.price, quote.grade, quote.sources_used) == (188.0, Grade.F, ("closes",))
    assert (down.asked, source.asked) == ([("AAPL",)], [("AAPL",)])


async def test_it_is_asked_where_it_is_named() -> None:
    """Whoever names it wants it."""
    clock = ManualClock(OPEN_MARKET)
    lone, source = ScriptedSource("lone", clock, {"AAPL": 189.5}), closes(clock)
    async with quote_desk(clock, lone, source) as desk:
        await desk.engine.answer(question("AAPL", sources=("closes", "lone")))
    assert (lone.asked, source.asked) == ([("AAPL",)], [("AAPL",)])


async def test_it_is_asked_while_the_market_is_closed() -> None:
    """Then a close is the price."""
    clock = ManualClock(datetime(2026, 11, 24, 4, tzinfo=UTC))
    lone, source = ScriptedSource("lone", clock, {"AAPL": 188.0}, at=YESTERDAY), closes(clock)
    async with quote_desk(clock, lone, source) as desk:
        (quote,) = (await desk.engine.answer(question("AAPL"))).quotes
    assert (quote.price, set(quote.sources_used)) == (188.0, {"closes", "lone"})
