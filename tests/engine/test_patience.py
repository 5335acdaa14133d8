"""How long an answer that lacks a confirmation waits for one, by scripted sources under a hand-turned clock."""

from __future__ import annotations

import anyio
import pytest

from engine.scripted_source import OPEN_MARKET, ScriptedSource, question, quote_desk
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.engine.collection import CollectionOptions
from mdagent_mcp.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """An open market that stands still."""
    return ManualClock(OPEN_MARKET)


def source(name: str, clock: ManualClock, takes_s: float | None, weight: float) -> ScriptedSource:
    """A source with a fresh price."""
    return ScriptedSource(name, clock, {"AAPL": 189.5}, takes_s=takes_s, weight=weight)


async def answered(clock: ManualClock, *sources: ScriptedSource, hedge_after_s: float = 0.8) -> tuple[float, Grade]:
    """How long the answer took, seconds, and its grade; two sources are asked at once."""
    found: list[tuple[float, Grade]] = []
    options = CollectionOptions(first_wave=2, hedge_after_s=hedge_after_s)
    async with quote_desk(clock, *sources, options=options) as desk:
        desk.parts.rng.random = lambda: 0.99  # type: ignore[method-assign]

        async def ask() -> None:
            answer = await desk.engine.answer(question("AAPL"))
            found.append((round(answer.usage.elapsed_ms / 1000.0, 2), answer.quotes[0].grade))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await clock.advance(12.0)
    return found[0]


async def test_waves_together_take_no_longer_than_the_patience_with_the_question(clock: ManualClock) -> None:
    """One answered, the others hang, and every tenth of a second another is asked: after 0.45 seconds that is all."""
    hanging = [source(name, clock, None, 0.9) for name in ("two", "a", "b", "c", "d", "e", "f")]
    assert await answered(clock, source("one", clock, 0.05, 1.0), *hanging, hedge_after_s=0.1) == (0.45, Grade.C)


async def test_no_wave_begins_when_patience_has_ended(clock: ManualClock) -> None:
    """The second wave is not heard in time: what is in hand is given, although one could still be asked."""
    first = source("one", clock, 0.1, 1.0), source("two", clock, 0.19, 1.0)
    first[1].prices = {"AAPL": FailureKind.SOURCE_ERROR}
    third, fourth = source("third", clock, 0.5, 0.5), source("fourth", clock, 0.1, 0.3)
    assert await answered(clock, *first, third, fourth) == (0.45, Grade.C)
    assert (len(third.asked), fourth.asked) == (1, [])


async def test_a_confirmed_b_does_not_wait_for_a_second_wave(clock: ManualClock) -> None:
    """Only what is below a B is worth the wait."""
    pair = [source(name, clock, 0.1, 1.0) for name in ("one", "two")]
    for each in pair:
        each.lag_s = 3.5
    elapsed_s, grade = await answered(clock, *pair, source("third", clock, 0.4, 0.5))
    assert (elapsed_s <= 0.2, grade) == (True, Grade.B)
