"""A fault of our own about one instrument costs its askers no time, and the others nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from engine.scripted_source import OPEN_MARKET, ScriptedSource, question, quote_desk
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.consensus.quotes import judge_quote
from mdagent_mcp.domain.answers import QuoteAnswer
from mdagent_mcp.domain.failures import Answered, FailureKind, Outcome
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.engine import quotes
from mdagent_mcp.testing import ManualClock


def stumbling(instrument: Instrument, said: Sequence[Quote], *others: Any) -> QuoteJudgement | None:
    """The judgement, which fails for one symbol."""
    if instrument.symbol == "MSFT" and said:
        raise ZeroDivisionError("a fault of our own")
    return judge_quote(instrument, said, *others)


def two(clock: ManualClock) -> list[ScriptedSource]:
    """Two sources that agree."""
    return [ScriptedSource(name, clock, {"AAPL": 189.5, "MSFT": 402.0}) for name in ("one", "two")]


async def test_a_judgement_that_fails_is_a_failure_at_once_and_of_its_symbol_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not after the deadline; the fault is in the log, its text is not in the answer; the next question is asked."""
    clock = ManualClock(OPEN_MARKET)
    monkeypatch.setattr(quotes, "judge_quote", stumbling)
    async with quote_desk(clock, *two(clock)) as desk:
        with caplog.at_level(logging.ERROR, "mdagent_mcp"):
            answer = await desk.engine.answer(question("MSFT", "AAPL"))
        assert [(q.symbol, q.price) for q in answer.quotes] == [("AAPL", 189.5)]
        (failure,) = answer.failures
        assert (failure.symbol, failure.kind) == ("MSFT", FailureKind.MALFORMED_REPLY)
        assert failure.sources == dict.fromkeys(("one", "two"), FailureKind.MALFORMED_REPLY)
        assert "fault of our own" not in failure.message
        assert answer.usage.elapsed_ms == 0.0
        assert {record.message for record in caplog.records} == {"the judgement of MSFT failed"}
        monkeypatch.setattr(quotes, "judge_quote", judge_quote)
        (healed,) = (await desk.engine.answer(question("MSFT"))).quotes
        assert healed.price == 402.0


async def test_a_kept_answer_that_cannot_be_judged_again_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache holds quotes; when they cannot be judged any more they are as good as gone."""
    clock = ManualClock(OPEN_MARKET)
    async with quote_desk(clock, *two(clock)) as desk:
        await desk.engine.answer(question("MSFT"))
        await clock.advance(1.0)
        monkeypatch.setattr(quotes, "judge_quote", stumbling)
        (failure,) = (await desk.engine.answer(question("MSFT"))).failures
    assert failure.kind is FailureKind.MALFORMED_REPLY


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What memory makes of it is not the asker's concern."""
    clock = ManualClock(OPEN_MARKET)
    async with quote_desk(clock, *two(clock)) as desk:

        def keep(_answer: QuoteAnswer) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(desk.parts.memory, "hold", keep)
        with caplog.at_level(logging.ERROR, "mdagent_mcp"):
            answer = await desk.engine.answer(question("AAPL"))
    assert [(q.symbol, q.price, q.grade) for q in answer.quotes] == [("AAPL", 189.5, Grade.A)]
    assert answer.usage.elapsed_ms == 0.0
    assert [record.message for record in caplog.records] == ["the keeping of an answer about AAPL failed"]


async def test_a_source_whose_price_cannot_be_used_is_named_in_the_failure() -> None:
    """The only one that answered quotes in another currency than the listing: that is no missing source."""
    clock = ManualClock(OPEN_MARKET)
    (source, _) = two(clock)
    said = source._say

    def in_yen(symbol: str) -> Outcome[tuple[Quote, ...]]:
        outcome = said(symbol)
        assert isinstance(outcome, Answered)
        return Answered(tuple(replace(quote, currency="JPY") for quote in outcome.value))

    source._say = in_yen  # type: ignore[method-assign]
    async with quote_desk(clock, source) as desk:
        (failure,) = (await desk.engine.answer(question("AAPL"))).failures
    assert (failure.kind, failure.sources) == (FailureKind.MALFORMED_REPLY, {"one": FailureKind.MALFORMED_REPLY})
