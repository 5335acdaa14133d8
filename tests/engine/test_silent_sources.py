"""An answer does not wait for a source that is silent, by scripted sources under a hand-turned clock."""

from __future__ import annotations

import anyio
import pytest

from engine.scripted_source import OPEN_MARKET, ScriptedSource, question, quote_desk
from mdagent_mcp.domain.answers import QuoteAnswer
from mdagent_mcp.domain.events import Fetched
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.collection import CollectionOptions
from mdagent_mcp.engine.inquiry import Inquiry
from mdagent_mcp.engine.quote_routing import QuoteRouting
from mdagent_mcp.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """An open market that stands still."""
    return ManualClock(OPEN_MARKET)


def source(
    name: str, clock: ManualClock, takes_s: float | None = 0.1, *, weight: float = 0.8, lag_s: float = 9.0
) -> ScriptedSource:
    """A source whose prices are nine seconds old: two of them are a C, which a fresher one would improve."""
    return ScriptedSource(name, clock, {"AAPL": 189.5}, takes_s=takes_s, weight=weight, lag_s=lag_s)


async def answered(
    clock: ManualClock, *sources: ScriptedSource, min_grade: Grade | None = None, usual_s: float = 0.0
) -> tuple[float, QuoteAnswer]:
    """How long the answer about one symbol took, seconds, and the answer; two sources are asked at once.

    Before that each has answered twenty times within its usual time, unless that is 0.
    """
    found: list[tuple[float, QuoteAnswer]] = []
    async with quote_desk(clock, *sources, options=CollectionOptions(first_wave=2)) as desk:
        desk.parts.rng.random = lambda: 0.99  # type: ignore[method-assign]
        for name in [each.name for each in sources] * (20 if usual_s else 0):
            desk.parts.memory.listen(Fetched(name, Endpoint.QUOTE, ("MSFT",), OPEN_MARKET, usual_s, None))

        async def ask() -> None:
            answer = await desk.engine.answer(question("AAPL", min_grade=min_grade))
            found.append((round(answer.usage.elapsed_ms / 1000.0, 2), answer.quotes[0]))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await clock.advance(12.0)
    return found[0]


@pytest.mark.parametrize(
    ("silent", "known", "took_s", "voices"),
    [(True, True, 0.2, 2), (False, True, 0.3, 1), (True, False, 0.3, 2), (False, False, 0.45, 1)],
)
async def test_a_silent_source_is_asked_and_waited_for_no_longer_than_it_usually_takes(
    clock: ManualClock, silent: bool, known: bool, took_s: float, voices: int
) -> None:
    """The next one is asked as soon as the others have answered; otherwise not before the first one is late."""
    hung, one, two = (
        source("hung", clock, None, weight=1.0),
        source("one", clock, 0.02),
        source("two", clock, weight=0.5),
    )
    hung.is_silent = silent
    elapsed_s, quote = await answered(clock, hung, one, two, usual_s=0.2 if known else 0.0)
    assert (elapsed_s, quote.grade, "hung" in quote.explanation.failures) == (took_s, Grade.C, True)
    assert (len(quote.explanation.voices), [s.asked for s in (hung, one)]) == (voices, [[("AAPL",)]] * 2)


async def test_a_silent_source_that_answers_in_time_counts_like_any_other(clock: ManualClock) -> None:
    """It was silent; now two agree on a fresh price, and nobody else is asked."""
    back, one = source("back", clock, 0.05, weight=1.0, lag_s=0.5), source("one", clock, lag_s=0.5)
    back.is_silent = True
    spare = source("spare", clock, weight=0.5)
    elapsed_s, quote = await answered(clock, back, one, spare)
    assert (elapsed_s, quote.grade, set(quote.sources_used), spare.asked) == (0.1, Grade.A, {"back", "one"}, [])


async def test_where_all_that_are_asked_are_silent_they_are_waited_for_as_usual(clock: ManualClock) -> None:
    """It is more likely our own network: nobody floods the rest with questions."""
    hung, other = source("hung", clock, None, weight=1.0), source("other", clock, None, weight=1.0)
    well = source("well", clock, weight=0.5)
    for each in (hung, other, well):
        each.is_silent = True
    elapsed_s, quote = await answered(clock, hung, other, well)
    assert (elapsed_s, quote.grade) == (0.6, Grade.C)


async def test_who_wants_a_better_grade_than_there_is_waits_for_a_silent_source(clock: ManualClock) -> None:
    """Nobody else is left who could give it."""
    slow = source("slow", clock, 1.5, weight=1.0, lag_s=0.5)
    slow.is_silent = True
    elapsed_s, quote = await answered(clock, slow, source("one", clock), source("two", clock), min_grade=Grade.B)
    assert (elapsed_s, quote.sources_used[0]) == (1.5, "slow")


async def test_waiting_for_a_silent_source_that_alone_is_left_is_no_busy_wait(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who wants an A gets what there is at the end of ten seconds; whom to ask next was looked up now and then."""
    looked = list[float]()
    wave = QuoteRouting.wave

    def counted(routing: QuoteRouting, inquiry: Inquiry, most: int) -> tuple[str, ...]:
        looked.append(clock.monotonic())
        return wave(routing, inquiry, most)

    monkeypatch.setattr(QuoteRouting, "wave", counted)
    hung = source("hung", clock, None, weight=1.0)
    hung.is_silent = True
    elapsed_s, quote = await answered(clock, hung, source("one", clock), min_grade=Grade.A)
    assert (elapsed_s, quote.grade) == (10.0, Grade.C)
    assert 2 <= len(looked) <= 15
