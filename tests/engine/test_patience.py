"""How long an answer that lacks a confirmation waits for one, by scripted sources under a hand-turned clock."""

from __future__ import annotations

import anyio
import pytest

from engine.scripted_source import OPEN_MARKET, ScriptedSource, question, quote_desk
from mdagent_mcp.domain.events import Fetched
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.collection import CollectionOptions
from mdagent_mcp.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """An open market that stands still."""
    return ManualClock(OPEN_MARKET)


def source(
    name: str, clock: ManualClock, takes_s: float | None, weight: float, *, fails: bool = False
) -> ScriptedSource:
    """A source with a fresh price, or with a failure."""
    says: dict[str, float | FailureKind] = {"AAPL": FailureKind.SOURCE_ERROR if fails else 189.5}
    return ScriptedSource(name, clock, says, takes_s=takes_s, weight=weight)


async def answered(
    clock: ManualClock, *sources: ScriptedSource, usual_s: float = 0.0, hedge_after_s: float = 0.8
) -> tuple[float, Grade]:
    """How long the answer took, seconds, and its grade; two sources are asked at once.

    Before that each has answered twenty times within its usual time, unless that is 0.
    """
    found: list[tuple[float, Grade]] = []
    options = CollectionOptions(first_wave=2, hedge_after_s=hedge_after_s)
    async with quote_desk(clock, *sources, options=options) as desk:
        desk.parts.rng.random = lambda: 0.99  # type: ignore[method-assign]
        for name in [each.name for each in sources] * (20 if usual_s else 0):
            desk.parts.memory.listen(Fetched(name, Endpoint.QUOTE, ("MSFT",), OPEN_MARKET, usual_s, None))

        async def ask() -> None:
            answer = await desk.engine.answer(question("AAPL"))
            found.append((round(answer.usage.elapsed_ms / 1000.0, 2), answer.quotes[0].grade))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await clock.advance(12.0)
    return found[0]


async def test_the_second_wave_has_time_after_the_patience_with_the_question_has_ended(clock: ManualClock) -> None:
    """One has answered and one failed late: the third, asked then, has not had to answer before it was asked."""
    first = source("one", clock, 0.05, 1.0), source("two", clock, 0.08, 1.0, fails=True)
    third = source("third", clock, 0.17, 0.5)
    assert await answered(clock, *first, third, usual_s=0.15) == (0.25, Grade.A)


async def test_a_call_in_vain_is_waited_for_no_more_than_a_fifth_longer(clock: ManualClock) -> None:
    """The second wave stays silent, which it did not before: 1.2 times half as long again as the usual time."""
    first = source("one", clock, 0.05, 1.0), source("two", clock, 0.12, 1.0, fails=True)
    third = source("third", clock, None, 0.5)
    assert await answered(clock, *first, third, usual_s=0.15) == (0.27, Grade.C)
    third.is_silent = True
    assert await answered(clock, *first, third, usual_s=0.15) == (0.2, Grade.C)


async def test_waves_together_take_no_more_than_a_fifth_longer(clock: ManualClock) -> None:
    """One answered, the others hang, and every tenth of a second another is asked: after 0.54 seconds that is all."""
    hanging = [source(name, clock, None, 0.9) for name in ("two", "a", "b", "c", "d", "e", "f")]
    assert await answered(clock, source("one", clock, 0.05, 1.0), *hanging, hedge_after_s=0.1) == (0.54, Grade.C)


async def test_no_wave_begins_when_patience_has_ended(clock: ManualClock) -> None:
    """The second wave fails after half a second: what is in hand is given, although one could still be asked."""
    first = source("one", clock, 0.1, 1.0), source("two", clock, 0.19, 1.0, fails=True)
    third, fourth = source("third", clock, 0.3, 0.5, fails=True), source("fourth", clock, 0.1, 0.3)
    assert await answered(clock, *first, third, fourth) == (0.49, Grade.C)
    assert fourth.asked == []


async def test_a_confirmed_b_does_not_wait_for_a_second_wave(clock: ManualClock) -> None:
    """Only what is below a B is worth the wait."""
    pair = [source(name, clock, 0.1, 1.0) for name in ("one", "two")]
    for each in pair:
        each.lag_s = 3.5
    elapsed_s, grade = await answered(clock, *pair, source("third", clock, 0.4, 0.5))
    assert (elapsed_s <= 0.2, grade) == (True, Grade.B)
