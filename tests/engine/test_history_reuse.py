"""A second question about a series costs only what the first one left unknown."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date

import anyio
import pytest

from cache.simulated_series import SimulatedSeries
from engine.scripted_source import OPEN_MARKET, ScriptedSource
from mdagent_mcp.cache.histories import HistoryCache
from mdagent_mcp.cache.ranges import Span
from mdagent_mcp.domain.answers import HistoryAnswer, SymbolFailure
from mdagent_mcp.domain.events import Event, Judged
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import History, Interval
from mdagent_mcp.domain.questions import HistoryQuestion
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import HistoryQuery
from mdagent_mcp.engine.history import HistoryEngine
from mdagent_mcp.engine.parts import EngineParts, FreshnessOptions
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock

AUTUMN = HistoryQuestion(parse_symbol("AAPL"), Interval.DAY_1, date(2026, 9, 1), date(2026, 11, 24))
"""Up to the day whose session is on."""
OCTOBER = replace(AUTUMN, first=date(2026, 10, 1), last=date(2026, 10, 30))


@dataclass
class Bench:
    """An engine over two sources that tell the same simulated series."""

    engine: HistoryEngine
    clock: ManualClock
    sources: list[ScriptedSource]
    series: dict[str, SimulatedSeries]
    parts: EngineParts
    corrected: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    async def ask(self, question: HistoryQuestion) -> HistoryAnswer:
        """The answer, which there is."""
        answer = await self.engine.answer(question)
        assert isinstance(answer, HistoryAnswer)
        return answer

    def fetched(self) -> list[list[Span]]:
        """The ranges that the sources were asked for since the last look."""
        result = [list(series.fetched) for series in self.series.values()]
        for series in self.series.values():
            series.fetched.clear()
        return result


def telling(name: str, series: SimulatedSeries) -> Callable[[HistoryQuery], Outcome[History]]:
    """A source that tells a series."""

    def say(query: HistoryQuery) -> Outcome[History]:
        told = series.say(Span(query.first, query.last), query.now)
        return Answered(replace(told, source=name)) if told.bars else Failure(name, FailureKind.NO_DATA, "nothing")

    return say


@asynccontextmanager
async def bench(*, freshness: FreshnessOptions | None = None, **splits: float) -> AsyncIterator[Bench]:
    """An open market that stands still."""
    clock, events, corrected = ManualClock(OPEN_MARKET), list[Event](), list[str]()
    days = {date.fromisoformat(day.removeprefix("on_").replace("_", "-")): ratio for day, ratio in splits.items()}
    series = {name: SimulatedSeries(splits=days) for name in ("one", "two")}
    sources = [ScriptedSource(n, clock, {}, history_answer=telling(n, s)) for n, s in series.items()]
    async with open_memory(None, clock) as memory, anyio.create_task_group() as background:
        parts = EngineParts(
            sources={s.name: s for s in sources},
            clock=clock,
            memory=memory,
            emit=events.append,
            spawn=background.start_soon,
            rng=random.Random(7),
            freshness=freshness or FreshnessOptions(),
            histories=HistoryCache(),
            corrected=corrected.append,
        )
        yield Bench(HistoryEngine(parts), clock, sources, series, parts, corrected, events)
        background.cancel_scope.cancel()


async def test_a_range_inside_what_is_known_costs_no_call() -> None:
    """And is judged for itself: its own coverage, its own statistics, and it says that it is cached."""
    async with bench() as it:
        first = await it.ask(AUTUMN)
        assert (first.cached, first.usage.vendor_calls, first.usage.cache_hits) == (False, 2, 0)
        await it.clock.advance(600)
        inside = await it.ask(OCTOBER)
    assert (inside.cached, inside.usage.vendor_calls, inside.usage.cache_hits) == (True, 0, 1)
    assert (inside.coverage.expected, inside.coverage.present) == (22, 22)
    assert inside.bars == tuple(bar for bar in first.bars if bar.day in Span(OCTOBER.first, OCTOBER.last))
    assert (inside.grade, inside.sources_used) == (first.grade, first.sources_used)


async def test_an_overlapping_range_fetches_only_what_is_missing() -> None:
    """From the last completed bar on, of every source; the answer is the same as without a cache."""
    async with bench() as it:
        await it.ask(OCTOBER)
        assert it.fetched() == [[Span(OCTOBER.first, OCTOBER.last)]] * 2
        longer = await it.ask(AUTUMN)
        assert it.fetched() == [[Span(date(2026, 9, 1), date(2026, 11, 24))]] * 2  # both sides are missing
        await it.clock.advance(61)
        again = await it.ask(AUTUMN)
        assert it.fetched() == [[Span(date(2026, 11, 23), date(2026, 11, 24))]] * 2
        assert again.bars == tuple(SimulatedSeries().bars(Span(AUTUMN.first, AUTUMN.last), it.clock.now()))
    assert (longer.cached, longer.usage.vendor_calls) == (False, 2)
    assert (again.cached, again.usage.vendor_calls, again.usage.cache_hits) == (False, 2, 1)
    assert again.partial_last_bar


async def test_a_split_since_then_has_everything_fetched_anew() -> None:
    """The overlap disagrees: both sources are asked again for the whole, and the other replicas are told."""
    async with bench(on_2026_11_25=4.0) as it:
        before = await it.ask(AUTUMN)
        it.fetched()
        await it.clock.advance(86_400)
        after = await it.ask(replace(AUTUMN, last=date(2026, 11, 25)))
        whole = Span(AUTUMN.first, date(2026, 11, 25))
        asked = it.fetched()
        assert after.bars == tuple(SimulatedSeries(splits={date(2026, 11, 25): 4.0}).bars(whole, it.clock.now()))
    assert after.bars[0].close == pytest.approx(before.bars[0].close / 4)
    assert [spans[-1] for spans in asked] == [whole, whole]
    assert it.corrected == ["AAPL"]
    assert after.usage.vendor_calls == sum(map(len, asked)) == 4


async def test_bars_that_were_known_do_not_count_twice_for_their_source() -> None:
    """What was judged when it was fetched is no new evidence of anybody's reliability."""
    async with bench() as it:
        await it.ask(AUTUMN)
        before = sum(isinstance(e, Judged) for e in it.events)
        await it.clock.advance(600)
        await it.ask(OCTOBER)
    assert (before, sum(isinstance(e, Judged) for e in it.events)) == (2, 2)


async def test_without_reuse_every_series_is_fetched_whole() -> None:
    """An age of 0 for completed bars."""
    async with bench(freshness=FreshnessOptions(completed_s=0.0)) as it:
        await it.ask(AUTUMN)
        again = await it.ask(OCTOBER)
    assert (again.cached, again.usage.vendor_calls, again.usage.cache_hits) == (False, 2, 0)


async def test_in_an_outage_what_is_known_is_served_and_says_so() -> None:
    """At the grade of what is missing from it."""
    async with bench() as it:
        await it.ask(AUTUMN)
        for source in it.sources:
            source.history_answer = lambda _query: Failure("", FailureKind.NETWORK, "no route")
        await it.clock.advance(1800)
        old = await it.ask(AUTUMN)
        assert old.summary.startswith("No source answers now; this is what was known 30 min ago.")
        assert (old.cached, old.usage.vendor_calls, old.usage.cache_hits) == (True, 2, 1)
        never = await it.engine.answer(replace(AUTUMN, instrument=parse_symbol("MSFT")))
    assert isinstance(never, SymbolFailure)


async def test_a_source_that_is_disabled_is_not_served_from_what_is_known() -> None:
    """Its series takes no part any more."""
    async with bench() as it:
        await it.ask(AUTUMN)
        await it.clock.advance(600)
        it.sources[0].now_state = SourceState.DISABLED
        answer = await it.ask(OCTOBER)
        assert answer.sources_used == ("two",)
        it.sources[0].now_state = SourceState.THROTTLED
        answer = await it.ask(replace(OCTOBER, last=date(2026, 10, 29)))
    assert set(answer.sources_used) == {"one", "two"}


async def test_series_that_contradict_each_other_are_not_reused() -> None:
    """Both are asked again: with one of them alone the next answer would not show the contradiction."""
    async with bench() as it:
        wrong = it.sources[1].history_answer
        assert wrong is not None

        def doubled(query: HistoryQuery) -> Outcome[History]:
            told = wrong(query)
            assert isinstance(told, Answered)
            bars = tuple(
                replace(b, open=b.open * 1.3, high=b.high * 1.3, low=b.low * 1.3, close=b.close * 1.3)
                for b in told.value.bars
            )
            return Answered(replace(told.value, bars=bars))

        it.sources[1].history_answer = doubled
        first = await it.ask(AUTUMN)
        it.fetched()
        await it.clock.advance(600)
        second = await it.ask(OCTOBER)
        assert it.fetched() == [[Span(OCTOBER.first, OCTOBER.last)]] * 2
    assert len(first.sources_rejected) == 1
    assert (second.sources_rejected, second.grade) == (first.sources_rejected, first.grade)
