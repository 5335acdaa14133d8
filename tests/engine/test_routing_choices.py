"""Behaviour of the choice of sources in the engine: what was learned, what is explored, what is told."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path
from typing import cast

import pytest

from engine.scripted_source import OPEN_MARKET, Desk, ScriptedSource, question, quote_desk
from mdagent_mcp.domain.events import Fetched, Judged
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Interval
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.questions import HistoryQuestion
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery
from mdagent_mcp.engine.collection import CollectionOptions
from mdagent_mcp.engine.quote_routing import DAILY_PRICE, DOUBT_EXPLORATION, EXPLORATION
from mdagent_mcp.engine.router import PLANS_KEPT
from mdagent_mcp.engine.service import Engine, Reporting
from mdagent_mcp.memory.learning import QUOTE, CellKey
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """An open market that stands still."""
    return ManualClock(OPEN_MARKET)


def named(clock: ManualClock, names: str, **more: float) -> list[ScriptedSource]:
    """Sources that agree about AAPL."""
    return [ScriptedSource(name, clock, {"AAPL": 189.5}, **more) for name in names]  # type: ignore[arg-type]


def teach(
    desk: Desk,
    source: str,
    outcomes: int,
    kind: FailureKind | None = None,
    *,
    delay_s: float = 0.5,
    took_s: float = 0.1,
) -> None:
    """Let memory see so many calls of a source."""
    memory, now = desk.parts.memory, desk.clock.now()
    for _ in range(outcomes):
        memory.listen(Fetched(source, Endpoint.QUOTE, ("AAPL",), now, took_s, kind))
        if kind is None:
            memory.listen(Judged(source, "AAPL", Endpoint.QUOTE, now, agreed=True, delay_s=delay_s, complete=True))


def shares(desk: Desk) -> dict[str, float]:
    """The chance of being right that routing expects of every source."""
    parts, limit_s = desk.parts, desk.parts.router.limit_s(None)
    instrument = parse_symbol("AAPL")
    return {
        name: parts.router.expected(source, instrument, Endpoint.QUOTE, limit_s).trust
        for name, source in parts.sources.items()
    }


async def test_sources_that_proved_good_are_asked_and_no_more_than_are_needed(clock: ManualClock) -> None:
    """Of five that cost something three are asked while nothing is known, then the two that never failed."""
    sources = named(clock, "abcde", cost_per_call=0.1)
    async with quote_desk(clock, *sources) as desk:
        first = await desk.engine.answer(question("AAPL"))
        teach(desk, "d", 40)
        teach(desk, "e", 40)
        for name in "abc":
            teach(desk, name, 20, FailureKind.SOURCE_ERROR)
        second = await desk.engine.answer(question("AAPL", max_age_s=0.0))
        (plan, *_) = desk.parts.router.plans()
    assert (first.usage.vendor_calls, second.usage.vendor_calls) == (3, 2)
    assert (set(plan.asked), second.quotes[0].grade) == ({"d", "e"}, Grade.A)
    assert plan.chance > 0.9


async def test_sources_that_proved_late_are_not_asked_for_a_fresh_price(clock: ManualClock) -> None:
    """They declare no delay, but were minutes behind whenever they were asked."""
    sources = named(clock, "abcd", cost_per_call=0.1)
    async with quote_desk(clock, *sources) as desk:
        teach(desk, "a", 30, delay_s=300.0)
        teach(desk, "b", 30, delay_s=300.0)
        await desk.engine.answer(question("AAPL"))
    assert [len(s.asked) for s in sources] == [0, 0, 1, 1]


async def test_a_source_that_was_wrong_about_one_instrument_is_not_asked_about_that_one(
    clock: ManualClock, tmp_path: Path
) -> None:
    """It was right about the other one, and the next session knows, from when a price or a history is asked for."""
    prices: dict[str, float | FailureKind] = {"AAPL": 189.5, "MSFT": 410.0}
    cheap, dear = (ScriptedSource(n, clock, dict(prices), cost_per_call=c) for n, c in (("cheap", 0.1), ("dear", 0.15)))
    path, now = tmp_path / "memory.sqlite3", clock.now()
    async with open_memory(path, clock) as memory:
        for source, symbol in product(("cheap", "dear"), 8 * ("AAPL", *20 * ("MSFT",))):
            is_right = (source, symbol) != ("cheap", "AAPL")
            for endpoint in (Endpoint.QUOTE, Endpoint.HISTORY):
                memory.listen(Fetched(source, endpoint, (symbol,), now, 0.1, None))
                memory.listen(Judged(source, symbol, endpoint, now, agreed=is_right, delay_s=0.5, complete=True))
    histories: list[str] = []
    for source_ in (cheap, dear):
        source_.history_answer = partial(_no_history, source_.name, histories)
    day = now.date()
    async with quote_desk(clock, cheap, dear, path=path) as desk:
        service = Engine(desk.parts, cast("Reporting", None))
        await service.history(HistoryQuestion(parse_symbol("AAPL"), Interval.DAY_1, day, day, min_grade=Grade.C))
        known = desk.parts.memory.cell(CellKey("cheap", "history", "symbol:AAPL"))
        assert (sorted(histories), known and round(known.contradicted)) == (["cheap", "dear"], 8)
        cheap.asked.clear()
        dear.asked.clear()
        for symbol in 3 * ("AAPL", "MSFT"):
            await service.quotes(question(symbol, min_grade=Grade.C, max_age_s=0.0))
        assert (cheap.asked, dear.asked) == (3 * [("MSFT",)], 3 * [("AAPL",)])


def _no_history(name: str, asked: list[str], _: HistoryQuery) -> Failure:
    asked.append(name)
    return Failure(name, FailureKind.NO_DATA, "scripted")


async def test_equals_are_asked_in_turn(clock: ManualClock) -> None:
    """Nobody is always the first."""
    sources = named(clock, "abcdef", cost_per_call=0.1)
    async with quote_desk(clock, *sources) as desk:
        for source in sources:
            teach(desk, source.name, 30)
        for _ in range(12):
            await desk.engine.answer(question("AAPL", max_age_s=0.0))
    assert {len(s.asked) for s in sources} <= {3, 4, 5}


async def test_a_source_kept_in_reserve_is_asked_where_it_is_urgent(clock: ManualClock) -> None:
    """Its quota runs short: the usual question does without it, one that names a grade does not."""
    short = ScriptedSource("short", clock, {"AAPL": 189.5}, cost_per_call=0.5, short=4.0)
    alone = ScriptedSource("alone", clock, {"AAPL": 189.5})
    async with quote_desk(clock, short, alone) as desk:
        usual = await desk.engine.answer(question("AAPL"))
        assert (short.asked, usual.quotes[0].sources_used) == ([], ("alone",))
        wanted = await desk.engine.answer(question("AAPL", min_grade=Grade.A, max_age_s=0.0))
    assert (len(short.asked), wanted.quotes[0].grade) == (1, Grade.A)


async def test_a_late_answer_is_judged_like_the_others(clock: ManualClock) -> None:
    """Once: a source that comes too late with a wrong price does not count as right."""
    sources = named(clock, "abc")
    sources[2].prices = {"AAPL": 240.0}
    sources[2].takes_s = 0.3
    async with quote_desk(clock, *sources) as desk:
        await desk.engine.answer(question("AAPL"))
        await clock.settle()
        early = [(e.source, e.agreed) for e in desk.events if isinstance(e, Judged)]
        await clock.advance(1.0)
        late = [(e.source, e.agreed) for e in desk.events if isinstance(e, Judged)]
    assert sorted(early) == [("a", True), ("b", True)]
    assert late[2:] == [("c", False)]


async def test_exploration_asks_the_cheap_source_not_seen_longest(clock: ManualClock) -> None:
    """One that costs little too, but none whose quota is ahead of its pace or whose calls are scarce."""
    asked = named(clock, "ab")
    seen, forgotten = named(clock, "cd", cost_per_call=0.1, weight=0.1)
    scarce = ScriptedSource("e", clock, {"AAPL": 189.5}, cost_per_call=0.9, weight=0.1)
    short = ScriptedSource("f", clock, {"AAPL": 189.5}, cost_per_call=0.1, weight=0.1, short=0.5)
    options = CollectionOptions(first_wave=2)
    async with quote_desk(clock, *asked, seen, forgotten, scarce, short, options=options) as desk:
        desk.parts.rng.random = lambda: 0.0  # type: ignore[method-assign]
        teach(desk, "c", 1, FailureKind.SOURCE_ERROR)
        assert desk.parts.memory.cell(CellKey("c", QUOTE, "asset:us_equity")) is not None
        await desk.engine.answer(question("AAPL"))
        await clock.advance(0.1)
    assert [len(s.asked) for s in (*asked, seen, forgotten, scarce, short)] == [1, 1, 0, 1, 0, 0]


async def test_a_cheap_source_that_nobody_heard_of_today_is_explored_sooner(clock: ManualClock) -> None:
    """By a chance that explores nobody else; a dear one has to wait its turn, and one heard of today too."""
    asked = named(clock, "ab")
    cheap, heard = named(clock, "cd", cost_per_call=DAILY_PRICE, weight=0.1)
    dear = ScriptedSource("e", clock, {"AAPL": 189.5}, cost_per_call=2 * DAILY_PRICE, weight=0.1)
    sources = [*asked, cheap, heard, dear]
    async with quote_desk(clock, *sources, options=CollectionOptions(first_wave=2)) as desk:
        for source in sources[2:]:
            teach(desk, source.name, 3)
        desk.parts.rng.random = lambda: EXPLORATION  # type: ignore[method-assign]
        counts = []
        for hours in (1, 13, 0):
            await clock.advance(hours * 3600.0)
            teach(desk, heard.name if hours else cheap.name, 1)
            await desk.engine.answer(question("AAPL", max_age_s=0.0))
            await clock.advance(0.1)
            counts.append([len(s.asked) for s in sources[2:]])
    assert counts == [[0, 0, 0], [1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("price", "expected"),
    [(DAILY_PRICE, [[0, 0], [1, 0], [2, 0], [2, 0]]), (2 * DAILY_PRICE, [[0, 0], [1, 0], [1, 0], [1, 0]])],
    ids=["cheap", "dear"],
)
async def test_a_source_that_turns_out_better_than_remembered_is_explored_again_soon(
    clock: ManualClock, price: float, expected: list[list[int]]
) -> None:
    """One that failed ten times answers: by chances that explore nobody else it is asked until that is settled.

    A dear one would hardly be used were it good, and is explored as seldom as ever.
    """
    sources = named(clock, "abcd", cost_per_call=price)
    options = CollectionOptions(first_wave=2)
    async with quote_desk(clock, *sources, options=options) as desk:
        for name, kind in (("a", None), ("b", None), ("c", FailureKind.SOURCE_ERROR), ("d", FailureKind.SOURCE_ERROR)):
            teach(desk, name, 10, kind)
        chances = iter([DOUBT_EXPLORATION - 0.01, 0.0, DOUBT_EXPLORATION - 0.01, DOUBT_EXPLORATION])
        desk.parts.rng.random = lambda: next(chances)  # type: ignore[method-assign]
        asked = []
        for _ in range(4):
            await desk.engine.answer(question("AAPL", max_age_s=0.0))
            await clock.advance(0.1)
            asked.append([len(s.asked) for s in sources[2:]])
    assert asked == expected


@pytest.mark.parametrize(("takes_s", "asked"), [(0.0, True), (1.2, False)], ids=["quick by now", "slow as ever"])
async def test_a_free_source_remembered_as_slow_is_asked_as_soon_as_it_proves_quick(
    clock: ManualClock, takes_s: float, asked: bool
) -> None:
    """It is explored, found to be quick, explored again, and from then on asked in the place of one that costs."""
    sources = named(clock, "ab", cost_per_call=0.4)
    slow = ScriptedSource("slow", clock, {"AAPL": 189.5}, takes_s=takes_s)
    async with quote_desk(clock, *sources, slow) as desk:
        for source in sources:
            teach(desk, source.name, 30)
        teach(desk, "slow", 30, took_s=1.2)
        desk.parts.rng.random = lambda: 0.0  # type: ignore[method-assign]
        for _ in range(8):
            await desk.engine.answer(question("AAPL", max_age_s=0.0))
            await clock.advance(2.0)
        (plan, *earlier) = desk.parts.router.plans()
    assert {*earlier[-1].asked} == {"a", "b"}
    assert ("slow" in plan.asked) is asked


async def test_memory_that_proves_wrong_is_given_up_within_a_few_questions(clock: ManualClock) -> None:
    """Two sources that never failed now always do, and one that always failed is well."""
    sources = named(clock, "abcd", cost_per_call=0.1)
    async with quote_desk(clock, *sources) as desk:
        for name, kind in (("a", None), ("b", None), ("c", FailureKind.SOURCE_ERROR), ("d", FailureKind.SOURCE_ERROR)):
            teach(desk, name, 60, kind)
        for source in sources[:2]:
            source.prices = {"AAPL": FailureKind.SOURCE_ERROR}
        for _ in range(12):
            await desk.engine.answer(question("AAPL", max_age_s=0.0))
            for source in sources[:2]:
                teach(desk, source.name, 1, FailureKind.SOURCE_ERROR)
            for source in sources[2:]:
                teach(desk, source.name, 1)
        (plan, *_) = desk.parts.router.plans()
    assert set(plan.asked) == {"c", "d"}


async def test_what_a_source_taught_since_is_not_doubted_because_others_changed(clock: ManualClock) -> None:
    """All used to fail and none does; of the one heard most often the comparison begins anew after 120 outcomes."""
    sources = named(clock, "abcd", cost_per_call=0.1)
    options = CollectionOptions(first_wave=4)
    async with quote_desk(clock, *sources, options=options) as desk:
        for source in sources:
            teach(desk, source.name, 60, FailureKind.SOURCE_ERROR)
        chances = []
        for _ in range(60):
            await desk.engine.answer(question("AAPL", min_grade=Grade.A, max_age_s=0.0))
            await clock.advance(61.0)
            chances.append(shares(desk)["d"])
            teach(desk, "d", 3)
    assert [round(chance, 2) for chance in chances[20:] if chance < 0.9] == []


async def test_only_the_last_plans_are_kept(clock: ManualClock) -> None:
    """The latest first."""
    async with quote_desk(clock, *named(clock, "abc")) as desk:
        for _ in range(PLANS_KEPT + 5):
            await desk.engine.answer(question("AAPL", max_age_s=0.0))
            await clock.advance(1.0)
        plans = desk.parts.router.plans()
    assert len(plans) == PLANS_KEPT
    assert plans[0].at > plans[-1].at
