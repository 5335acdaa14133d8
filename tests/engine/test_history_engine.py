"""Behaviour of the history engine with scripted sources under a hand-turned clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time

import anyio
import pytest

from engine.scripted_source import OPEN_MARKET, ScriptedSource
from mdagent_mcp.consensus.context import QuoteContext
from mdagent_mcp.domain.answers import HistoryAnswer, SymbolFailure
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.events import Event, Graded
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.questions import HistoryQuestion
from mdagent_mcp.domain.vendor import HistoryQuery
from mdagent_mcp.engine.history import HistoryEngine
from mdagent_mcp.engine.parts import EngineParts
from mdagent_mcp.engine.teacher import Teacher
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock

QUESTION = HistoryQuestion(parse_symbol("AAPL"), Interval.DAY_1, date(2026, 9, 1), date(2026, 11, 20))


def series(name: str, level: float = 100.0) -> Callable[[HistoryQuery], Outcome[History]]:
    """A clean daily series: a slow random walk that is the same for every source at the same level."""

    def say(query: HistoryQuery) -> Outcome[History]:
        walk, price, bars = random.Random(3), level, []
        for session in calendar_named("XNYS").sessions_between(query.first, query.last):
            opened = price
            price = round(price * (1 + walk.gauss(0, 0.01)), 2)
            low, high = min(opened, price) - 0.2, max(opened, price) + 0.2
            start = datetime.combine(session.day, time(0), UTC)
            bars.append(Bar(start, opened, round(high, 2), round(low, 2), price, 1_000_000.0 + walk.randrange(500_000)))
        return Answered(
            History(
                symbol="AAPL",
                source=name,
                interval=query.interval,
                adjustment=Adjustment.SPLITS,
                timezone="America/New_York",
                received_at=query.now,
                bars=tuple(bars),
                currency="USD",
            )
        )

    return say


def refusing(name: str, kind: FailureKind) -> Callable[[HistoryQuery], Outcome[History]]:
    """A source that fails."""
    return lambda _query: Failure(name, kind, "scripted")


def source(clock: ManualClock, name: str, answer: Callable[[HistoryQuery], Outcome[History]] | None) -> ScriptedSource:
    """A source of history."""
    return ScriptedSource(name, clock, {}, history_answer=answer)


@asynccontextmanager
async def desk(
    clock: ManualClock, *sources: ScriptedSource
) -> AsyncIterator[tuple[HistoryEngine, list[Event], EngineParts]]:
    """An engine around these sources, with memory in RAM."""
    events: list[Event] = []
    async with open_memory(None, clock) as memory, anyio.create_task_group() as background:
        parts = EngineParts(
            sources={s.name: s for s in sources},
            clock=clock,
            memory=memory,
            emit=events.append,
            spawn=background.start_soon,
            rng=random.Random(7),
        )
        yield HistoryEngine(parts), events, parts
        background.cancel_scope.cancel()


@pytest.fixture
def clock() -> ManualClock:
    """An open market that stands still."""
    return ManualClock(OPEN_MARKET)


async def test_two_independent_series_that_agree_are_enough(clock: ManualClock) -> None:
    """The third source is not asked; the answer is kept as evidence and told as an event."""
    sources = [source(clock, name, series(name)) for name in ("one", "two", "three")]
    async with desk(clock, *sources) as (engine, events, parts):
        answer = await engine.answer(QUESTION)
        assert isinstance(answer, HistoryAnswer)
        assert (answer.grade, answer.usage.vendor_calls) == (Grade.A, 2)
        assert (answer.coverage.present, answer.coverage.missing) == (answer.coverage.expected, ())
        assert await parts.memory.evidence(answer.evidence_id) is not None
    assert sorted(len(s.asked) for s in sources) == [0, 1, 1]
    assert [(e.symbol, e.grade) for e in events if isinstance(e, Graded)] == [("AAPL", Grade.A)]


async def test_a_failing_source_is_replaced_by_the_next(clock: ManualClock) -> None:
    """One of two fails: the third makes up for it and the failure is in the explanation."""
    sources = [source(clock, "one", refusing("one", FailureKind.TIMEOUT)), source(clock, "two", series("two"))]
    sources.append(ScriptedSource("three", clock, {}, weight=0.5, history_answer=series("three")))
    async with desk(clock, *sources) as (engine, _, _parts):
        answer = await engine.answer(replace(QUESTION, min_grade=Grade.A))
    assert isinstance(answer, HistoryAnswer)
    assert (answer.grade, set(answer.sources_used)) == (Grade.A, {"two", "three"})
    assert answer.explanation.failures == {"one": "timeout (scripted)"}


async def test_a_source_without_history_is_never_called(clock: ManualClock) -> None:
    """It is known from its declaration."""
    sources = [source(clock, "one", series("one")), source(clock, "two", None)]
    async with desk(clock, *sources) as (engine, _, _parts):
        answer = await engine.answer(QUESTION)
    assert isinstance(answer, HistoryAnswer)
    assert answer.sources_used == ("one",)
    assert sources[1].asked == []


async def test_when_every_source_fails_the_gravest_failure_names_it(clock: ManualClock) -> None:
    """With what each source said, and not to estimate."""
    sources = [
        source(clock, "one", refusing("one", FailureKind.NO_DATA)),
        source(clock, "two", refusing("two", FailureKind.NETWORK)),
    ]
    async with desk(clock, *sources) as (engine, _, _parts):
        answer = await engine.answer(QUESTION)
    assert isinstance(answer, SymbolFailure)
    assert (answer.kind, dict(answer.sources)) == (
        FailureKind.NETWORK,
        {"one": FailureKind.NO_DATA, "two": FailureKind.NETWORK},
    )
    assert "Do not estimate" in answer.message


async def test_the_same_question_is_answered_from_the_cache_and_later_judged_anew(clock: ManualClock) -> None:
    """A cached answer costs no call and says that it is cached; sessions that are over are not fetched again."""
    sources = [source(clock, name, series(name)) for name in ("one", "two")]
    async with desk(clock, *sources) as (engine, _, _parts):
        await engine.answer(QUESTION)
        again = await engine.answer(QUESTION)
        assert isinstance(again, HistoryAnswer)
        assert (again.cached, again.usage.vendor_calls, again.usage.cache_hits) == (True, 0, 1)
        await clock.advance(61)
        later = await engine.answer(QUESTION)
        assert isinstance(later, HistoryAnswer)
        assert (later.cached, later.usage.vendor_calls, later.usage.cache_hits) == (True, 0, 1)
        assert later.judged_at == clock.now()
        assert later.bars == again.bars


async def test_equal_questions_at_once_share_the_calls(clock: ManualClock) -> None:
    """Twenty askers, one call per source."""
    sources = [source(clock, name, series(name)) for name in ("one", "two")]
    for each in sources:
        each.takes_s = 0.2
    grades: list[Grade] = []
    async with desk(clock, *sources) as (engine, _, _parts), anyio.create_task_group() as tasks:

        async def ask() -> None:
            answer = await engine.answer(QUESTION)
            assert isinstance(answer, HistoryAnswer)
            grades.append(answer.grade)

        for _ in range(20):
            tasks.start_soon(ask)
        await clock.advance(0.3)
    assert grades == [Grade.A] * 20
    assert [len(s.asked) for s in sources] == [1, 1]


async def test_intraday_bars_are_told_to_the_teacher_and_daily_ones_are_not(clock: ManualClock) -> None:
    """Whatever was fetched for a question anyhow; an answer from the cache is told once."""
    told: list[tuple[Interval, datetime]] = []

    class Listening(Teacher):
        def hear_bars(self, instrument: Instrument, served: HistoryAnswer, context: QuoteContext) -> None:
            told.append((served.interval, context.now))
            super().hear_bars(instrument, served, context)

    async with desk(clock, source(clock, "one", series("one")), source(clock, "two", series("two"))) as (_, _, parts):
        engine = HistoryEngine(parts, teacher=Listening(parts.emit))
        for interval in (Interval.DAY_1, Interval.MIN_5, Interval.MIN_5):
            assert isinstance(await engine.answer(replace(QUESTION, interval=interval)), HistoryAnswer)
    assert told == [(Interval.MIN_5, OPEN_MARKET)]
