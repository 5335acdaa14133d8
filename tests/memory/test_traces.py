"""What each source said last: since when its price and its stamp stand, and how likely that is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from mdagent_mcp.domain.answers import QuoteAnswer, VoiceVerdict
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.memory.traces import Trace, TraceBook
from memory.memory_samples import NOON, quote_answer

TEN_S = timedelta(seconds=10)


def answer(n: int, prices: dict[str, float], stamps: dict[str, int] | None = None) -> QuoteAnswer:
    """The `n`-th answer, ten seconds after the one before; stamps are the numbers of the answers they were new in."""
    at = NOON + n * TEN_S
    plain = quote_answer(f"q-{n}", at=at, price=next(iter(prices.values())))
    (voice,) = plain.explanation.voices
    voices = tuple(
        replace(
            voice,
            source=source,
            price=price,
            received_at=at,
            event_time=_stamp((stamps or {}).get(source, n)),
            verdict=VoiceVerdict.AGREES,
        )
        for source, price in prices.items()
    )
    return replace(plain, explanation=replace(plain.explanation, voices=voices))


def _stamp(n: int) -> datetime:
    return NOON + n * TEN_S - timedelta(seconds=1)


def test_a_trace_tells_since_when_price_and_stamp_stand() -> None:
    """The price moved with the second answer, the stamp with every one."""
    book = TraceBook()
    for n, price in enumerate((100.0, 101.0, 101.0)):
        book.note(answer(n, {"a": price}))
    assert book.of("AAPL") == {
        "a": Trace(
            price=101.0,
            price_since=NOON + TEN_S,
            stamp=_stamp(2),
            stamp_since=NOON + 2 * TEN_S,
            seen_at=NOON + 2 * TEN_S,
            market_price=101.0,
        )
    }
    assert book.last_confirmed("AAPL") == (101.0, NOON + 2 * TEN_S)
    assert (book.of("MSFT"), book.last_confirmed("MSFT")) == ({}, None)


def test_a_price_that_must_not_be_stated_is_no_last_confirmed_one_however_many_agree() -> None:
    """Two in the wrong unit confirm each other: the right price of a minute before must not look wrong by theirs."""
    book = TraceBook()
    book.note(answer(0, {"a": 100.0, "b": 100.0}))
    book.note(replace(answer(1, {"a": 1000.0, "b": 1000.0}), grade=Grade.F))
    assert book.last_confirmed("AAPL") == (100.0, NOON)
    assert book.of("AAPL")["a"].price == 1000.0
    book.note(replace(answer(2, {"a": 101.0, "b": 101.0}), grade=Grade.D))
    assert book.last_confirmed("AAPL") == (101.0, NOON + 2 * TEN_S)


def test_standing_still_while_the_confirmed_price_moves_becomes_unlikely() -> None:
    """Each move that a source does not follow, though its stamp goes on, multiplies the chance down."""
    book = TraceBook()
    for n in range(12):
        book.note(answer(n, {"live": 100.0 + n, "frozen": 100.0, "old": 100.0}, {"old": 0}))
    traces = book.of("AAPL")
    assert traces["live"].stay_chance == 1.0
    assert traces["frozen"].stay_chance < 1e-3
    assert traces["old"].stay_chance == 1.0  # it only repeats its last trade and says so


def test_a_price_that_moves_again_is_forgiven() -> None:
    """The chance is of the present standstill."""
    book = TraceBook()
    for n in range(12):
        book.note(answer(n, {"live": 100.0 + n, "b": 100.0 if n < 11 else 111.0}))
    assert book.of("AAPL")["b"].stay_chance == 1.0


def test_where_prices_seldom_move_standing_still_is_no_surprise() -> None:
    """A source stays behind every second move of the others: three moves in a row are nothing."""
    book = TraceBook()
    for n in range(60):
        book.note(answer(n, {"a": 100.0 + n, "b": 100.0 + n // 3, "c": 100.0 + n // 3}))
    assert book.of("AAPL")["b"].stay_chance > 0.1


def test_cached_answers_and_long_silences_conclude_nothing() -> None:
    """What was said a quarter of an hour ago does not make a standstill."""
    book = TraceBook()
    book.note(answer(0, {"a": 100.0}))
    book.note(replace(answer(1, {"a": 105.0}), cached=True))
    assert book.of("AAPL")["a"].price == 100.0
    book.note(answer(92, {"a": 100.0}))
    assert book.of("AAPL")["a"].price_since == NOON + 92 * TEN_S


@pytest.mark.parametrize("most", [1, 2])
def test_the_symbol_touched_longest_ago_is_forgotten_first(most: int) -> None:
    """The book is bounded."""
    book = TraceBook(most_symbols=most)
    for n, symbol in enumerate(("AAPL", "MSFT", "IBM")):
        book.note(replace(answer(n, {"a": 100.0}), symbol=symbol))
    assert [bool(book.of(symbol)) for symbol in ("AAPL", "MSFT", "IBM")] == [False, most == 2, True]
