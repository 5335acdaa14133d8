"""Behaviour of the quote engine with scripted sources under a hand-turned clock."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from engine.scripted_source import OPEN_MARKET, ScriptedSource, question, quote_desk
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.consensus.quotes import judge_quote
from mdagent_mcp.domain.answers import QuotesAnswer, Usage
from mdagent_mcp.domain.events import Fetched, Graded, Judged
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.collection import CollectionOptions
from mdagent_mcp.engine.quotes import QuoteEngine
from mdagent_mcp.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """An open market that stands still."""
    return ManualClock(OPEN_MARKET)


def three(clock: ManualClock, **prices: float | FailureKind) -> list[ScriptedSource]:
    """Three independent sources that agree."""
    return [ScriptedSource(name, clock, dict(prices)) for name in ("one", "two", "three")]


async def test_three_sources_that_agree_make_an_a(clock: ManualClock) -> None:
    """Every symbol is answered in the order asked, with one call per source for all of them."""
    sources = three(clock, AAPL=189.5, MSFT=402.25)
    async with quote_desk(clock, *sources) as desk:
        answer = await desk.engine.answer(question("MSFT", "AAPL"))
    assert [(q.symbol, q.price, q.grade) for q in answer.quotes] == [
        ("MSFT", 402.25, Grade.A),
        ("AAPL", 189.5, Grade.A),
    ]
    assert answer.failures == ()
    assert answer.usage == Usage(3, 0, 0.0)
    assert [s.asked for s in sources] == [[("MSFT", "AAPL")]] * 3


async def test_a_second_question_within_the_age_costs_nothing(clock: ManualClock) -> None:
    """It is judged again at its new age under the same evidence id, and says that it is cached."""
    sources = three(clock, AAPL=189.5)
    async with quote_desk(clock, *sources) as desk:
        first = await desk.engine.answer(question("AAPL"))
        await clock.advance(1.0)
        second = await desk.engine.answer(question("AAPL"))
        assert second.usage == Usage(0, 1, 0.0)
        assert (second.quotes[0].cached, second.quotes[0].evidence_id) == (True, first.quotes[0].evidence_id)
        assert second.quotes[0].delay_s == pytest.approx(1.5, abs=0.01)
        await clock.advance(2.0)
        third = await desk.engine.answer(question("AAPL"))
        assert third.usage == Usage(3, 0, 0.0)
        older = await desk.engine.answer(question("AAPL", max_age_s=60.0))
        assert older.usage.vendor_calls == 0
        none = await desk.engine.answer(question("AAPL", max_age_s=0.0))
        assert none.usage.vendor_calls == 3


async def test_after_the_clock_was_set_back_sources_are_asked_and_not_the_cache(clock: ManualClock) -> None:
    """Else the cache would serve until the clock had caught up, an hour of old prices and nobody asked."""
    sources = three(clock, AAPL=189.5)
    async with quote_desk(clock, *sources) as desk:
        await desk.engine.answer(question("AAPL"))
        clock.jump_to(clock.now() - timedelta(hours=1))
        assert (await desk.engine.answer(question("AAPL", max_age_s=60.0))).usage == Usage(3, 0, 0.0)
        for source in sources:
            source.prices["AAPL"] = FailureKind.NETWORK
        clock.jump_to(clock.now() - timedelta(seconds=3))
        (known,) = (await desk.engine.answer(question("AAPL"))).quotes
        told = "No source answers now; this is what was known before this machine's clock was set back."
        assert known.summary.startswith(told)


async def test_a_cached_answer_grows_older_and_its_grade_with_it(clock: ManualClock) -> None:
    """Ten seconds later the same prices are no A any more, and that judgement has evidence of its own."""
    async with quote_desk(clock, *three(clock, AAPL=189.5)) as desk:
        first = (await desk.engine.answer(question("AAPL"))).quotes[0]
        await clock.advance(10.0)
        later = (await desk.engine.answer(question("AAPL", max_age_s=60.0))).quotes[0]
        assert (first.grade, later.grade, later.price) == (Grade.A, Grade.C, first.price)
        assert later.evidence_id != first.evidence_id
        assert await desk.parts.memory.evidence(later.evidence_id) is not None


async def test_fifty_equal_questions_at_once_make_one_call_per_source(clock: ManualClock) -> None:
    """They share one collection and get the same answer."""
    sources = three(clock, AAPL=189.5)
    for source in sources:
        source.takes_s = 0.3
    answers: list[QuotesAnswer] = []
    async with quote_desk(clock, *sources) as desk, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answers.append(await desk.engine.answer(question("AAPL")))

        for _ in range(50):
            tasks.start_soon(ask)
        await clock.advance(0.5)
    assert [s.asked for s in sources] == [[("AAPL",)]] * 3
    assert len({a.quotes[0].evidence_id for a in answers}) == 1
    assert len(answers) == 50


async def test_one_bad_symbol_never_spoils_the_others(clock: ManualClock) -> None:
    """It is told as unknown, because every source said so."""
    async with quote_desk(clock, *three(clock, AAPL=189.5)) as desk:
        answer = await desk.engine.answer(question("AAPL", "ZZZZ"))
    assert [q.symbol for q in answer.quotes] == ["AAPL"]
    (failure,) = answer.failures
    assert (failure.symbol, failure.kind) == ("ZZZZ", FailureKind.UNKNOWN_SYMBOL)
    assert failure.sources == dict.fromkeys(("one", "three", "two"), FailureKind.UNKNOWN_SYMBOL)
    assert "Do not estimate" in failure.message


async def test_a_price_that_only_one_source_has_while_two_deny_the_symbol_is_an_f(clock: ManualClock) -> None:
    """Everybody is asked before that; the evidence says who denies it, and so does the answer from the cache."""
    sources = [ScriptedSource(name, clock, {}) for name in ("one", "two", "three", "four")]
    sources[0].prices = {"ZZZZ": 189.5}
    async with quote_desk(clock, *sources) as desk:
        (given,) = (await desk.engine.answer(question("ZZZZ"))).quotes
        await clock.advance(1.0)
        (cached,) = (await desk.engine.answer(question("ZZZZ"))).quotes
    why = "four, three and two do not know ZZZZ, one alone states a price: it may be another company's"
    assert [(q.grade, q.price, q.cached) for q in (given, cached)] == [(Grade.F, 189.5, False), (Grade.F, 189.5, True)]
    assert {q.explanation.assessment.limited_by.because for q in (given, cached)} == {why}
    assert [len(s.asked) for s in sources] == [1, 1, 1, 1]


async def test_sources_that_cannot_be_asked_deny_nothing(clock: ManualClock) -> None:
    """A source that does not cover the instrument, or fails, is no evidence that it does not exist."""
    sources = three(clock, AAPL=FailureKind.UNSUPPORTED)
    sources[0].prices, sources[2].prices = {"AAPL": 189.5}, {"AAPL": FailureKind.NETWORK}
    async with quote_desk(clock, *sources) as desk:
        (given,) = (await desk.engine.answer(question("AAPL"))).quotes
    assert given.grade is Grade.C


async def test_an_outage_is_never_told_as_an_unknown_symbol(clock: ManualClock) -> None:
    """One source does not know it, the others could not be asked: that is an outage."""
    sources = three(clock, ZZZZ=FailureKind.NETWORK)
    sources[0].prices = {}
    async with quote_desk(clock, *sources) as desk:
        (failure,) = (await desk.engine.answer(question("ZZZZ"))).failures
    assert failure.kind is FailureKind.NETWORK


async def test_a_silent_source_does_not_hold_up_an_a(clock: ManualClock) -> None:
    """Two independent sources agree at once; the third hangs and is not waited for."""
    sources = three(clock, AAPL=189.5)
    sources[1].takes_s = None
    async with quote_desk(clock, *sources) as desk:
        answer = await desk.engine.answer(question("AAPL"))
        assert (answer.quotes[0].grade, answer.usage.elapsed_ms) == (Grade.A, 0.0)


async def test_a_wrong_price_is_outvoted_and_named(clock: ManualClock) -> None:
    """A hundredfold price is refused with its cause; the others are served."""
    sources = three(clock, AAPL=189.5)
    sources[0].prices = {"AAPL": 18950.0}
    async with quote_desk(clock, *sources) as desk:
        (quote,) = (await desk.engine.answer(question("AAPL"))).quotes
    assert (quote.price, quote.sources_rejected) == (189.5, ("one",))
    assert any("100" in text for text in quote.explanation.dissent)
    judged = {e.source: e.agreed for e in desk.events if isinstance(e, Judged)}
    assert judged == {"one": False, "two": True, "three": True}


async def test_failed_sources_are_replaced_by_the_next(clock: ManualClock) -> None:
    """The first wave is three; what fails there is made up for by those left."""
    sources = [
        *three(clock, AAPL=FailureKind.THROTTLED),
        *(ScriptedSource(n, clock, {"AAPL": 5.0}, weight=0.5) for n in ("four", "five")),
    ]
    async with quote_desk(clock, *sources) as desk:
        (quote,) = (await desk.engine.answer(question("AAPL"))).quotes
    assert (quote.grade, set(quote.sources_used)) == (Grade.A, {"four", "five"})
    assert set(quote.explanation.failures) == {"one", "two", "three"}


async def test_with_nobody_answering_the_question_ends_at_its_deadline(clock: ManualClock) -> None:
    """Every source is named with its timeout, the budget is kept."""
    sources = three(clock, AAPL=189.5)
    for source in sources:
        source.takes_s = None
    answers: list[QuotesAnswer] = []
    async with quote_desk(clock, *sources) as desk, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answers.append(await desk.engine.answer(question("AAPL")))

        tasks.start_soon(ask)
        await clock.advance(9.9)
        assert answers == []
        await clock.advance(0.2)
    (failure,) = answers[0].failures
    assert (failure.kind, dict(failure.sources)) == (
        FailureKind.TIMEOUT,
        dict.fromkeys(("one", "two", "three"), FailureKind.TIMEOUT),
    )


async def test_patience_ends_before_the_deadline_when_there_is_something_to_show(clock: ManualClock) -> None:
    """One answer in hand, the others silent: after patience it is given with the grade it deserves."""
    sources = three(clock, AAPL=189.5)
    sources[1].takes_s = sources[2].takes_s = None
    answers: list[QuotesAnswer] = []
    async with quote_desk(clock, *sources) as desk, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answers.append(await desk.engine.answer(question("AAPL")))

        tasks.start_soon(ask)
        await clock.advance(0.4)
        assert answers == []
        await clock.advance(0.1)
    (quote,) = answers[0].quotes
    assert (quote.grade, quote.sources_used) == (Grade.C, ("one",))


@pytest.mark.parametrize("silent", ["one", "two", "three"])
async def test_a_silent_source_that_nobody_knows_is_waited_for_no_longer_than_the_slowest_known_one(
    clock: ManualClock, silent: str
) -> None:
    """Whichever of three it is: the others take 0.2 s nine times in ten, so that is how long it is waited for."""
    sources = [ScriptedSource(n, clock, {"AAPL": 189.5}, lag_s=4.0, group="same") for n in ("one", "two", "three")]
    answers: list[QuotesAnswer] = []
    async with quote_desk(clock, *sources) as desk, anyio.create_task_group() as tasks:
        for source in sources:
            source.takes_s = 0.1 if source.name != silent else None
            for _ in range(20 if source.name != silent else 1):
                desk.parts.memory.listen(Fetched(source.name, Endpoint.QUOTE, ("MSFT",), OPEN_MARKET, 0.2, None))

        async def ask() -> None:
            answers.append(await desk.engine.answer(question("AAPL")))

        tasks.start_soon(ask)
        await clock.advance(0.19)
        assert answers == []
        await clock.advance(0.03)
        by_then = tuple(answers)
        await clock.advance(1.0)
    assert [[(q.grade, len(q.sources_used)) for q in answer.quotes] for answer in by_then] == [[(Grade.C, 2)]]


async def test_replies_that_arrive_together_are_judged_once(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the answer is that judgement, which is made of all of them."""
    judged: list[int] = []

    def counting(*given: Any) -> QuoteJudgement | None:
        judged.append(len(given[1]))
        return judge_quote(*given)

    monkeypatch.setattr("mdagent_mcp.engine.quotes.judge_quote", counting)
    async with quote_desk(clock, *three(clock, AAPL=189.5)) as desk:
        answer = await desk.engine.answer(question("AAPL"))
    assert (judged, answer.quotes[0].grade) == ([3], Grade.A)


async def test_a_slow_wave_is_helped_by_the_next_source(clock: ManualClock) -> None:
    """After half a second a fourth source is asked although the first three may still answer."""
    sources = [*three(clock, AAPL=189.5), ScriptedSource("four", clock, {"AAPL": 189.5}, weight=0.5)]
    sources[1].takes_s = sources[2].takes_s = None
    patient = CollectionOptions(patience_s=2.0)
    async with quote_desk(clock, *sources, options=patient) as desk, anyio.create_task_group() as tasks:
        answers: list[QuotesAnswer] = []

        async def ask() -> None:
            answers.append(await desk.engine.answer(question("AAPL")))

        tasks.start_soon(ask)
        await clock.advance(0.4)
        assert sources[3].asked == []
        await clock.advance(0.2)
    assert (answers[0].quotes[0].grade, answers[0].quotes[0].sources_used) == (Grade.A, ("one", "four"))


async def test_a_wanted_grade_is_asked_for_until_nobody_is_left(clock: ManualClock) -> None:
    """One fresh source is a C; with B wanted the free ones are asked before the scarce one."""
    sources = [
        ScriptedSource("fresh", clock, {"AAPL": 10.0}, weight=1.0),
        ScriptedSource("scarce", clock, {"AAPL": 10.0}, weight=0.9, cost_per_call=1.0),
        ScriptedSource("free", clock, {"AAPL": 10.0}, weight=0.5, lag_s=4.0),
    ]
    async with quote_desk(clock, *sources, options=CollectionOptions(first_wave=1)) as desk:
        (quote,) = (await desk.engine.answer(question("AAPL", min_grade=Grade.B))).quotes
    assert quote.grade in {Grade.A, Grade.B}
    assert sources[1].asked == []


async def test_only_named_sources_are_asked_and_a_missing_key_is_told(clock: ManualClock) -> None:
    """Who names a source wants to know why it has no answer."""
    sources = three(clock, AAPL=189.5)
    sources[0].now_state = SourceState.NO_KEY
    async with quote_desk(clock, *sources) as desk:
        answer = await desk.engine.answer(question("AAPL", sources=("one",)))
    assert [f.kind for f in answer.failures] == [FailureKind.UNAUTHORIZED]
    assert [s.asked for s in sources] == [[], [], []]


async def test_the_last_askers_cancellation_ends_the_calls(clock: ManualClock) -> None:
    """Nobody waits any more, so nobody is kept busy."""
    sources = three(clock, AAPL=189.5)
    for source in sources:
        source.takes_s = None
    async with quote_desk(clock, *sources) as desk:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.engine.answer, question("AAPL"))
            await clock.settle()
            tasks.cancel_scope.cancel()
        await clock.settle()
        assert [s.ended for s in sources] == [["cancelled"]] * 3
        sources[0].takes_s = sources[1].takes_s = sources[2].takes_s = 0.0
        assert (await desk.engine.answer(question("AAPL"))).quotes[0].grade is Grade.A


async def test_every_answer_is_told_as_an_event(clock: ManualClock) -> None:
    """One per symbol, with its grade or none."""
    async with quote_desk(clock, *three(clock, AAPL=189.5)) as desk:
        await desk.engine.answer(question("AAPL", "ZZZZ"))
    graded = [(e.symbol, e.grade, e.cached) for e in desk.events if isinstance(e, Graded)]
    assert graded == [("AAPL", Grade.A, False), ("ZZZZ", None, False)]


async def test_most_sources_not_knowing_a_symbol_outweigh_one_that_could_not_be_asked(clock: ManualClock) -> None:
    """A keyless source that refuses us must not turn every misspelling into an outage."""
    sources = three(clock)
    sources[0].prices = {"ZZZZ": FailureKind.THROTTLED}
    async with quote_desk(clock, *sources) as desk:
        (failure,) = (await desk.engine.answer(question("ZZZZ"))).failures
    assert (failure.kind, failure.sources["one"]) == (FailureKind.UNKNOWN_SYMBOL, FailureKind.THROTTLED)


async def test_what_is_slow_depends_on_how_long_a_source_usually_takes(clock: ManualClock) -> None:
    """A source that answers within 40 ms nine times in ten is helped after 40 ms; nobody is asked sooner."""
    sources = [
        ScriptedSource("quick", clock, {"AAPL": 189.5}, takes_s=None, weight=1.0),
        ScriptedSource("other", clock, {"AAPL": 189.5}),
    ]
    async with quote_desk(clock, *sources, options=CollectionOptions(first_wave=1)) as desk:
        for _ in range(20):
            desk.parts.memory.listen(Fetched("quick", Endpoint.QUOTE, ("MSFT",), OPEN_MARKET, 0.04, None))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.engine.answer, question("AAPL"))
            await clock.advance(0.035)
            assert sources[1].asked == []
            await clock.advance(0.01)
            assert sources[1].asked == [("AAPL",)]
            await clock.advance(1.0)


async def test_hedges_stay_within_their_budget(clock: ManualClock) -> None:
    """Of forty questions to a silent source five and one in ten are hedged early; the rest wait for the fixed delay."""
    silent = ScriptedSource("silent", clock, {}, takes_s=None, weight=1.0)
    other = ScriptedSource("other", clock, {f"A{chr(65 + n // 26)}{chr(65 + n % 26)}": 9.5 for n in range(40)})
    early = 0
    async with quote_desk(clock, silent, other, options=CollectionOptions(first_wave=1)) as desk:
        for symbol in other.prices:
            before = len(other.asked)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(desk.engine.answer, question(symbol))
                await clock.advance(0.6)
                early += len(other.asked) - before
                await clock.advance(10.0)
    assert early == 5 + 40 // 10 - 1
    assert len(other.asked) == 40


async def test_a_confirmed_b_asks_nobody_else(clock: ManualClock) -> None:
    """Two groups agree on a price three seconds old: a third call would buy a letter that nobody waits for."""
    sources = [ScriptedSource(name, clock, {"AAPL": 189.5}, lag_s=3.0) for name in ("one", "two")]
    third = ScriptedSource("third", clock, {"AAPL": 189.5}, weight=0.1)
    async with quote_desk(clock, *sources, third, options=CollectionOptions(first_wave=2)) as desk:
        desk.parts.rng.random = lambda: 0.99  # type: ignore[method-assign]
        (quote,) = (await desk.engine.answer(question("AAPL"))).quotes
        assert (quote.grade, third.asked) == (Grade.B, [])
        (wanted,) = (await desk.engine.answer(question("AAPL", min_grade=Grade.A))).quotes
        assert (wanted.grade, third.asked) == (Grade.A, [("AAPL",)])


async def test_a_confirmed_price_is_not_taken_to_a_source_that_is_late_by_contract(clock: ManualClock) -> None:
    """What a confirmed C lacks is freshness, which a late price cannot give; nor is a scarce call worth it."""
    sources = [ScriptedSource(name, clock, {"AAPL": 189.5}, lag_s=9.0) for name in ("one", "two")]
    late = ScriptedSource("late", clock, {"AAPL": 189.5}, declared_delay_s=900.0)
    scarce = ScriptedSource("scarce", clock, {"AAPL": 189.5}, cost_per_call=0.5)
    async with quote_desk(clock, *sources, late, scarce, options=CollectionOptions(first_wave=2)) as desk:
        desk.parts.rng.random = lambda: 0.99  # type: ignore[method-assign]
        (quote,) = (await desk.engine.answer(question("AAPL"))).quotes
    assert (quote.grade, late.asked, scarce.asked) == (Grade.C, [], [])


async def test_now_and_then_a_source_that_was_not_asked_is_asked_for_the_memory_alone(clock: ManualClock) -> None:
    """About three answers in a hundred; the asker neither waits for it nor pays for it."""
    sources = three(clock, **{f"A{chr(65 + n // 26)}{chr(65 + n % 26)}": 9.5 for n in range(400)})
    unasked = ScriptedSource("unasked", clock, dict(sources[0].prices), takes_s=2.0, weight=0.1)
    async with quote_desk(clock, *sources, unasked) as desk:
        for symbol in sources[0].prices:
            answer = await desk.engine.answer(question(symbol))
            assert answer.usage == Usage(3, 0, 0.0)
        await clock.advance(3.0)
    assert 5 <= len(unasked.asked) <= 22


async def test_a_symbol_that_nobody_knows_is_not_asked_for_again_for_a_while(clock: ManualClock) -> None:
    """Ten minutes; who insists on a fresh answer gets one, and an outage is never kept as an unknown symbol."""
    sources = three(clock)
    async with quote_desk(clock, *sources) as desk:
        first = await desk.engine.answer(question("ZZZZ"))
        again = await desk.engine.answer(question("ZZZZ"))
        assert (again.failures, again.usage) == (first.failures, Usage(0, 1, 0.0))
        assert (await desk.engine.answer(question("ZZZZ", max_age_s=0.0))).usage.vendor_calls == 3
        await clock.advance(601.0)
        assert (await desk.engine.answer(question("ZZZZ"))).usage.vendor_calls == 3
        sources[0].prices["YYYY"] = FailureKind.TIMEOUT
        await desk.engine.answer(question("YYYY"))
        assert (await desk.engine.answer(question("YYYY"))).usage.vendor_calls == 3


async def test_during_an_outage_what_was_known_is_told_with_its_age_and_the_grade_of_it(clock: ManualClock) -> None:
    """Five minutes old it is a D; after half an hour it must not be stated any more and the failure is told."""
    sources = three(clock, AAPL=189.5)
    async with quote_desk(clock, *sources) as desk:
        await desk.engine.answer(question("AAPL"))
        for source in sources:
            source.prices["AAPL"] = FailureKind.SOURCE_ERROR
        await clock.advance(300.0)
        (known,) = (await desk.engine.answer(question("AAPL"))).quotes
        assert (known.price, known.grade, known.cached) == (189.5, Grade.D, True)
        assert known.summary.startswith("No source answers now; this is what was known 5 min ago.")
        assert set(known.explanation.failures) == {"one", "two", "three"}
        await clock.advance(1500.0)
        gone = await desk.engine.answer(question("AAPL"))
        assert (gone.quotes, [f.kind for f in gone.failures]) == ((), [FailureKind.SOURCE_ERROR])


async def test_an_answer_that_must_not_be_stated_does_not_displace_what_an_outage_falls_back_on(
    clock: ManualClock,
) -> None:
    """A good price, then one of yesterday alone (F), then nobody: the good one is told with its age."""
    sources = three(clock, AAPL=189.5)
    async with quote_desk(clock, *sources) as desk:
        await desk.engine.answer(question("AAPL"))
        await clock.advance(100.0)
        for source in sources[1:]:
            source.prices["AAPL"] = FailureKind.SOURCE_ERROR
        sources[0].at = clock.now() - timedelta(days=4)
        (stale,) = (await desk.engine.answer(question("AAPL"))).quotes
        assert stale.grade is Grade.F
        sources[0].prices["AAPL"] = FailureKind.SOURCE_ERROR
        await clock.advance(100.0)
        (known,) = (await desk.engine.answer(question("AAPL"))).quotes
    assert (known.price, known.grade, known.cached) == (189.5, Grade.D, True)
    assert known.summary.startswith("No source answers now; this is what was known 3 min ago.")


async def test_a_lone_price_does_not_displace_a_confirmed_one_that_ages_better(clock: ManualClock) -> None:
    """Three agreed, then one alone with an old price; that is past stating sooner."""
    sources = three(clock, AAPL=189.5)
    async with quote_desk(clock, *sources) as desk:
        (confirmed,) = (await desk.engine.answer(question("AAPL"))).quotes
        await clock.advance(10.0)
        for source in sources[1:]:
            source.prices["AAPL"] = FailureKind.SOURCE_ERROR
        sources[0].prices["AAPL"], sources[0].at = 189.6, clock.now() - timedelta(seconds=1100)
        (lone,) = (await desk.engine.answer(question("AAPL", max_age_s=0.0))).quotes
        sources[0].prices["AAPL"] = FailureKind.SOURCE_ERROR
        await clock.advance(150.0)
        (known,) = (await desk.engine.answer(question("AAPL"))).quotes
    assert (confirmed.grade, lone.grade, lone.price) == (Grade.A, Grade.D, 189.6)
    assert (known.grade, known.price) == (Grade.D, 189.5)
    assert known.summary.startswith("No source answers now; this is what was known 3 min ago.")


async def test_a_settled_close_is_not_asked_for_again_before_the_market_trades() -> None:
    """From Saturday to Sunday nothing can have changed; on Monday morning it can."""
    clock = ManualClock(datetime(2026, 11, 21, 15, tzinfo=UTC))
    close = ScriptedSource("close", clock, {"AAPL": 189.5}, at=datetime(2026, 11, 20, 21, tzinfo=UTC))
    other = ScriptedSource("other", clock, {"AAPL": 189.5}, at=datetime(2026, 11, 20, 21, tzinfo=UTC))
    async with quote_desk(clock, close, other) as desk:
        first = await desk.engine.answer(question("AAPL"))
        assert first.usage.vendor_calls == 2
        await clock.advance(24 * 3600.0)
        later = await desk.engine.answer(question("AAPL"))
        assert (later.usage.vendor_calls, later.quotes[0].grade) == (0, first.quotes[0].grade)
        await clock.advance(23 * 3600.0)
        assert (await desk.engine.answer(question("AAPL"))).usage.vendor_calls == 2


async def test_as_a_last_resort_a_source_that_is_rested_is_asked(clock: ManualClock) -> None:
    """Nobody else is left; with somebody else it is left alone, and its probe goes out beside the question."""
    rested = ScriptedSource("rested", clock, {"AAPL": 189.5}, now_state=SourceState.OPEN, rested_enough=True)
    async with quote_desk(clock, rested) as desk:
        (quote,) = (await desk.engine.answer(question("AAPL"))).quotes
        assert (quote.price, rested.asked, rested.probes) == (189.5, [("AAPL",)], 1)
    rested = ScriptedSource("rested", clock, {"AAPL": 189.5}, now_state=SourceState.OPEN)
    well = ScriptedSource("well", clock, {"AAPL": 189.5})
    async with quote_desk(clock, rested, well) as desk:
        await desk.engine.answer(question("AAPL"))
        assert (rested.asked, well.asked) == ([], [("AAPL",)])


@pytest.mark.parametrize("rounds", range(8))
async def test_who_asks_the_moment_the_last_asker_leaves_is_answered(clock: ManualClock, rounds: int) -> None:
    """However many rounds of the event loop lie between the two, nobody inherits calls that are being cancelled."""
    sources = three(clock, AAPL=189.5)
    for source in sources:
        source.takes_s = 0.1
    async with quote_desk(clock, *sources) as desk:
        answers, leaver = list[QuotesAnswer](), anyio.CancelScope()

        async def ask() -> None:
            answers.append(await desk.engine.answer(question("AAPL")))

        async def ask_and_leave() -> None:
            with leaver:
                await desk.engine.answer(question("AAPL"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_and_leave)
            await clock.settle()
            leaver.cancel()
            for _ in range(rounds):
                await anyio.lowlevel.checkpoint()
            tasks.start_soon(ask)
            await clock.advance(12.0)
    assert [quote.price for quote in answers[0].quotes] == [189.5]


async def test_as_a_last_resort_a_source_is_asked_whose_quotes_alone_are_rested(clock: ManualClock) -> None:
    """Every source is well as a whole and rests this instrument: one is asked all the same."""
    sources = three(clock, AAPL=189.5, MSFT=400.0)
    for source in sources:
        source.rested_symbols = frozenset({"AAPL"})
    async with quote_desk(clock, *sources) as desk:
        rested = await desk.engine.answer(question("AAPL"))
        well = await desk.engine.answer(question("MSFT"))
    assert sorted(s.asked for s in sources) == [[("AAPL",), ("MSFT",)], [("MSFT",)], [("MSFT",)]]
    assert [quote.price for quote in (*rested.quotes, *well.quotes)] == [189.5, 400.0]


async def test_as_a_last_resort_a_source_is_asked_that_refused_many_symbols_at_once(clock: ManualClock) -> None:
    """Everybody's batches are rested: all refused, nothing was sent; one is asked all the same, and only once."""
    symbols = [f"S{n}" for n in range(12)]
    sources = three(clock, **dict.fromkeys(symbols, 189.5))
    for source in sources:
        source.refuses_batches = True
    async with quote_desk(clock, *sources) as desk:
        answered = await desk.engine.answer(question(*symbols))
    assert [quote.symbol for quote in answered.quotes] == symbols
    assert sorted(s.manners for s in sources) == [[(False, False)], [(False, False)], [(False, False), (True, False)]]


async def test_a_last_resort_that_fails_is_not_asked_for_ever(clock: ManualClock) -> None:
    """Each is asked once more, one after the other, and then the question ends with what they said."""
    symbols = [f"S{n}" for n in range(12)]
    sources = three(clock)
    for source in sources:
        source.refuses_batches = True
        source.prices = dict.fromkeys(symbols, FailureKind.CIRCUIT_OPEN)
    async with quote_desk(clock, *sources) as desk:
        answered = await desk.engine.answer(question(*symbols))
    assert {failure.kind for failure in answered.failures} == {FailureKind.CIRCUIT_OPEN}
    assert [s.manners for s in sources] == [[(False, False), (True, False)]] * 3


class Curious(random.Random):
    """Chance that always explores."""

    def random(self) -> float:
        """The lowest draw there is."""
        return 0.0


async def test_a_source_that_is_asked_only_to_learn_is_asked_after_everybody_else(clock: ManualClock) -> None:
    """Exploration goes out in the background; who asked has his answer."""
    sources = [ScriptedSource(name, clock, {"AAPL": 189.5}, group=name) for name in ("a", "b", "c", "d")]
    async with quote_desk(clock, *sources, options=CollectionOptions(first_wave=2)) as desk:
        await QuoteEngine(replace(desk.parts, rng=Curious(7))).answer(question("AAPL"))
        await clock.settle()
    assert sorted(s.manners for s in sources) == [[], [(False, False)], [(False, False)], [(False, True)]]
