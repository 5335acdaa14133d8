"""Answers survive being kept: equal to the original, whatever is in them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.answers import HistoryAnswer, QuoteAnswer
from mdagent_mcp.domain.service import AnswerKind
from mdagent_mcp.memory.archive import encoded
from mdagent_mcp.memory.evidence import Answer, UnreadableEvidenceError, decode, encode, kind_of
from memory.memory_samples import NOON, history_answer, quote_answer

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ATOMS: Mapping[type, st.SearchStrategy[Any]] = {
    str: _TEXT,
    float: st.floats(allow_nan=False),
    int: st.integers(-(10**12), 10**12),
    bool: st.booleans(),
    type(None): st.none(),
    datetime: st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
}


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that answers are made of, found from its annotations, so that no field is forgotten."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=3).map(MappingProxyType)
    if origin is UnionType or len(arguments) > 1:
        return st.one_of(*map(_values, arguments))
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{part.name: _values(hints[part.name]) for part in fields(hint)})
    return st.sampled_from(list(hint)) if issubclass(hint, Enum) else _ATOMS[hint]


_patient = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


@_patient
@given(_values(QuoteAnswer))
def test_any_quote_reads_back_equal(answer: QuoteAnswer) -> None:
    """Every field of every part, infinities and zeros included."""
    assert decode("quote", encode(answer)) == answer


@_patient
@given(_values(HistoryAnswer))
def test_any_history_reads_back_equal(answer: HistoryAnswer) -> None:
    """With its bars, their missing volumes, its issues and its repairs."""
    assert decode("history", encode(answer)) == answer


def test_what_is_read_has_the_types_it_had() -> None:
    """Enums are enums again and instants are in UTC."""
    answer = decode("quote", encode(quote_answer()))
    assert isinstance(answer, QuoteAnswer)
    assert (type(answer.grade), type(answer.explanation.voices[0].verdict).__name__) == (
        type(quote_answer().grade),
        "VoiceVerdict",
    )
    assert answer.judged_at.isoformat() == NOON.isoformat()


def test_a_long_series_is_small() -> None:
    """Five thousand bars take less than thirty bytes each."""
    assert len(encode(history_answer(bars=5000))) < 150_000


def test_the_kind_is_told_from_the_answer() -> None:
    """Under which it is found again."""
    assert (kind_of(quote_answer()), kind_of(history_answer())) == ("quote", "history")


@pytest.mark.parametrize("kind", ["quote", "history"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not deflated",
        zlib.compress(b""),
        zlib.compress(b"[]"),
        zlib.compress(b"null"),
        zlib.compress(b'{"head":{},"bars":[]}'),
        zlib.compress(b'{"symbol":"AAPL"}'),
        zlib.compress(b"\xff\xfe"),
        encode(quote_answer())[:-10],
    ],
)
def test_other_bytes_are_refused(kind: AnswerKind, body: bytes) -> None:
    """Whatever lies in the store, reading it ends in one kind of error."""
    with pytest.raises(UnreadableEvidenceError, match=f"kept {kind}"):
        decode(kind, body)


def test_bytes_that_inflate_without_bound_are_refused() -> None:
    """A file prepared by somebody cannot fill the memory, even with an answer in it."""
    padded = zlib.decompress(encode(quote_answer())) + b" " * (65 * 1024 * 1024)
    with pytest.raises(UnreadableEvidenceError):
        decode("quote", zlib.compress(padded, 1))


def test_an_answer_that_cannot_be_written_does_not_hold_up_the_others() -> None:
    """It is left out of the batch."""
    explanation = quote_answer().explanation
    broken = replace(quote_answer("q-broken"), explanation=replace(explanation, learned={"what": object()}))  # type: ignore[dict-item]
    answers: tuple[Answer, ...] = (quote_answer("q-1"), broken, history_answer("h-1"))
    assert [row[:3] for row in encoded(answers)] == [("q-1", "quote", "AAPL"), ("h-1", "history", "AAPL")]
