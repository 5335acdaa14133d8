"""Arguments of get_quote, source_status and explain_quality: what is read, and how what is wrong is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.answers import SymbolFailure
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.questions import InvalidArgumentError, QuoteQuestion
from mdagent_mcp.server.arguments import (
    ExplainRequest,
    QuoteRequest,
    explain_request,
    quote_request,
    status_source,
)

SOURCES = ("yahoo", "nasdaq", "cboe", "finnhub")
AAPL, MSFT, VOD = parse_symbol("AAPL"), parse_symbol("MSFT"), parse_symbol("VOD.L")


@pytest.mark.parametrize(
    "symbols",
    [
        ["AAPL", "MSFT"],
        "AAPL,MSFT",
        " aapl , msft ,",
        '["AAPL", "MSFT"]',
        ["AAPL", "msft", "aapl", "MSFT"],
        ("AAPL", "MSFT"),
    ],
)
def test_symbols_are_read_from_a_list_or_one_text_without_duplicates(symbols: Any) -> None:
    """Order is the asker's; a spelling that means the same instrument counts once."""
    assert quote_request({"symbols": symbols}, SOURCES) == QuoteRequest(QuoteQuestion((AAPL, MSFT)), (), "brief")


def test_every_argument_of_get_quote_reaches_the_question() -> None:
    """Grades and sources are read without regard to case; sources keep their order and lose duplicates."""
    arguments = {
        "symbols": ["VOD.L"],
        "min_grade": "b",
        "max_age_s": 0,
        "sources": ["Nasdaq", "yahoo", "nasdaq"],
        "detail": "full",
    }
    question = QuoteQuestion((VOD,), Grade.B, 0.0, ("nasdaq", "yahoo"))
    assert quote_request(arguments, SOURCES) == QuoteRequest(question, (), "full")


def test_null_arguments_count_as_not_given() -> None:
    """Some hosts send null for every optional argument."""
    arguments = {"symbols": "AAPL", "min_grade": None, "max_age_s": None, "sources": None, "detail": None}
    assert quote_request(arguments, SOURCES) == QuoteRequest(QuoteQuestion((AAPL,)), (), "brief")


def test_one_entry_that_is_no_symbol_does_not_fail_the_others() -> None:
    """It becomes a failure of its own, and is not part of the question."""
    request = quote_request({"symbols": ["AAPL", "../../etc/passwd"]}, SOURCES)
    refusal = SymbolFailure(
        "../../etc/passwd",
        FailureKind.BAD_REQUEST,
        "'../../etc/passwd' is not a symbol; write it like AAPL, BRK.B, VOD.L, ^GSPC, BTC-USD or EURUSD",
        "Correct this entry of symbols; no source was asked about it.",
        {},
    )
    assert request == QuoteRequest(QuoteQuestion((AAPL,)), (refusal,), "brief")


def test_a_hundred_symbols_are_accepted_and_one_more_is_not() -> None:
    """Counted after duplicates fell together."""
    hundred = [f"A{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(100)]
    assert len(quote_request({"symbols": [*hundred, "aaa"]}, SOURCES).question.instruments) == 100
    with pytest.raises(InvalidArgumentError) as caught:
        quote_request({"symbols": [*hundred, "ZZZ"]}, SOURCES)
    assert str(caught.value) == "symbols: 101 different ones are too many; ask for at most 100 at once"


LIKE = "; write it like "
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, f'symbols: is required{LIKE}["AAPL", "MSFT"]'),
    ({"symbols": None}, f'symbols: is required{LIKE}["AAPL", "MSFT"]'),
    ({"symbols": []}, f'symbols: is required{LIKE}["AAPL", "MSFT"]'),
    ({"symbols": 12345}, f'symbols: should be a list of texts, is a number{LIKE}["AAPL", "MSFT"]'),
    ({"symbols": {"a": 1}}, f'symbols: should be a list of texts, is an object{LIKE}["AAPL", "MSFT"]'),
    ({"symbols": True}, f'symbols: should be a list of texts, is true or false{LIKE}["AAPL", "MSFT"]'),
    ({"symbols": ["AAPL", 7]}, f'symbols: entry 2 should be text, is a number{LIKE}["AAPL", "MSFT"]'),
    ({"symbols": ["AAPL", None]}, f'symbols: entry 2 should be text, is null{LIKE}["AAPL", "MSFT"]'),
    ({"symbols": [["AAPL"]]}, f'symbols: entry 1 should be text, is a list{LIKE}["AAPL", "MSFT"]'),
    ({"symbols": ""}, "symbols: is empty; give a symbol such as AAPL, BRK.B, VOD.L, ^GSPC, BTC-USD or EURUSD"),
    ({"symbols": [" "]}, "symbols: is empty; give a symbol such as AAPL, BRK.B, VOD.L, ^GSPC, BTC-USD or EURUSD"),
    (
        {"symbols": "A" * 10_000},
        f"symbols: '{'A' * 40}…' is longer than 24 characters; give one symbol such as AAPL per entry",
    ),
    (
        {"symbols": ["AA\r\nPL", "a b"]},
        (
            "symbols: 'AA��PL' is not a symbol; write it like AAPL, BRK.B, VOD.L, ^GSPC, BTC-USD or EURUSD "
            "(1 more are none either)"
        ),
    ),
    ({"symbols": "AAPL", "min_grade": "F"}, "min_grade: 'F' is not known; use one of A, B, C, D"),
    ({"symbols": "AAPL", "min_grade": 1}, 'min_grade: should be text, is a number; write it like "A"'),
    (
        {"symbols": "AAPL", "max_age_s": "5"},
        "max_age_s: should be a number, is text; give 0 or more, without quotes",
    ),
    ({"symbols": "AAPL", "max_age_s": -1}, "max_age_s: is out of range; give 0 or more"),
    ({"symbols": "AAPL", "max_age_s": float("nan")}, "max_age_s: is out of range; give 0 or more"),
    ({"symbols": "AAPL", "max_age_s": float("inf")}, "max_age_s: is out of range; give 0 or more"),
    ({"symbols": "AAPL", "max_age_s": 10**400}, "max_age_s: is out of range; give 0 or more"),
    (
        {"symbols": "AAPL", "max_age_s": True},
        "max_age_s: should be a number, is true or false; give 0 or more, without quotes",
    ),
    (
        {"symbols": "AAPL", "sources": ["yaho"]},
        "sources: 'yaho' is not a source; did you mean 'yahoo'? known: yahoo, nasdaq, cboe, finnhub",
    ),
    (
        {"symbols": "AAPL", "sources": ["\x00" * 99]},
        f"sources: '{'�' * 40}…' is not a source; known: yahoo, nasdaq, cboe, finnhub",
    ),
    ({"symbols": "AAPL", "detail": "all"}, "detail: 'all' is not known; use one of brief, full"),
    (
        {"ticker": "AAPL"},
        (
            "ticker: there is no such argument; did you mean 'symbols'? "
            "known: symbols, min_grade, max_age_s, sources, detail"
        ),
    ),
    (
        {"symbols": "AAPL", "max_age": 3},
        (
            "max_age: there is no such argument; did you mean 'max_age_s'? "
            "known: symbols, min_grade, max_age_s, sources, detail"
        ),
    ),
    (
        {"symbols": "AAPL", "x" * 10_000: 3},
        f"{'x' * 40}…: there is no such argument; known: symbols, min_grade, max_age_s, sources, detail",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_a_wrong_argument_of_get_quote_is_refused_with_its_name_and_remedy(
    arguments: dict[str, Any], message: str
) -> None:
    """One line, no more than 40 characters of what was sent."""
    with pytest.raises(InvalidArgumentError) as caught:
        quote_request(arguments, SOURCES)
    assert str(caught.value) == message
    assert message.startswith(f"{caught.value.argument}: ")


# A written-out alphabet: over all of Unicode hypothesis first builds a table, for seconds in a fresh checkout.
_TEXT = st.text("AZaz019 .,-_^/\\=:%\"'[]{}\x00\x1b\r\n\u200b\u202e\ud7ffß漢😀", max_size=60)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["symbols", "min_grade", "max_age_s", "sources", "detail", "other"]), _JSON))
def test_arbitrary_arguments_are_either_read_or_refused_in_one_bounded_line(arguments: dict[str, Any]) -> None:
    """Nothing but `InvalidArgumentError` leaves the reading of arguments."""
    outcome = read_or_refused(arguments)
    if isinstance(outcome, QuoteRequest):
        assert 1 <= len(outcome.question.instruments) <= 100
    else:
        assert len(outcome) < 300
        assert outcome.isprintable()


def read_or_refused(arguments: dict[str, Any]) -> QuoteRequest | str:
    """What get_quote makes of arguments: a request, or the refusal's message."""
    try:
        return quote_request(arguments, SOURCES)
    except InvalidArgumentError as error:
        return str(error)


def test_a_source_is_named_in_any_case_and_none_means_all() -> None:
    """The argument of source_status."""
    assert status_source({}, SOURCES) is None
    assert status_source({"source": "Yahoo"}, SOURCES) == "yahoo"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "bloomberg"}, "source: 'bloomberg' is not a source; known: yahoo, nasdaq, cboe, finnhub"),
        ({"source": ["yahoo"]}, 'source: should be text, is a list; write it like "yahoo"'),
        ({"sources": "yahoo"}, "sources: there is no such argument; did you mean 'source'? known: source"),
    ],
)
def test_a_wrong_argument_of_source_status_is_refused(arguments: dict[str, Any], message: str) -> None:
    """Naming what exists."""
    with pytest.raises(InvalidArgumentError) as caught:
        status_source(arguments, SOURCES)
    assert str(caught.value) == message


def test_an_explanation_is_asked_by_symbol_or_by_evidence_id() -> None:
    """The kind is a quote unless it is said."""
    assert explain_request({"symbol": "aapl"}) == ExplainRequest(None, AAPL, "quote")
    assert explain_request({"symbol": "AAPL", "kind": "history"}) == ExplainRequest(None, AAPL, "history")
    assert explain_request({"evidence_id": "q-7f3a"}) == ExplainRequest("q-7f3a", None, "quote")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, 'symbol: is required unless evidence_id is given; write it like "AAPL"'),
        (
            {"symbol": "AAPL", "evidence_id": "q-1"},
            "evidence_id: cannot be combined with symbol; give one or the other",
        ),
        (
            {"evidence_id": "../../etc/passwd"},
            "evidence_id: '../../etc/passwd' is not an evidence id; copy it from an earlier answer",
        ),
        ({"symbol": "AAPL", "kind": "bars"}, "kind: 'bars' is not known; use one of quote, history"),
        ({"symbol": " "}, 'symbol: is empty; write it like "AAPL", or leave it out'),
        (
            {"symbol": "A B"},
            "symbol: 'A B' is not a symbol; write it like AAPL, BRK.B, VOD.L, ^GSPC, BTC-USD or EURUSD",
        ),
    ],
)
def test_a_wrong_argument_of_explain_quality_is_refused(arguments: dict[str, Any], message: str) -> None:
    """Naming the argument and the remedy."""
    with pytest.raises(InvalidArgumentError) as caught:
        explain_request(arguments)
    assert str(caught.value) == message
