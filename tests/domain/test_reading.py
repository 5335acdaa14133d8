"""Untrusted JSON and display text: what is read, and that a miss is told by name and by nothing else."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.reading import Json, display_number, instant_of, positive

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def refusal(body: bytes) -> str:
    """The message with which a body is refused."""
    with pytest.raises(SourceError) as refused:
        Json.parse(body)
    assert refused.value.kind is FailureKind.MALFORMED_REPLY
    return refused.value.detail


def test_members_are_read_with_the_path_that_led_to_them() -> None:
    """Objects, arrays, numbers, text, null."""
    reply = Json.parse(b'{"a":{"b":[1,"two",null]},"n":null}')
    one, two, three = reply.get("a").get("b").items()
    assert (one.number(), one.path) == (1.0, "reply.a.b[0]")
    assert (two.text(), two.path) == ("two", "reply.a.b[1]")
    assert three.value is None
    assert reply.get("n").value is None
    assert reply.find("n") is None
    assert reply.find("missing") is None
    assert [(name, member.path) for name, member in reply.members()] == [("a", "reply.a"), ("n", "reply.n")]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda r: r.get("missing"), "reply.missing is missing"),
        (lambda r: r.get("a").get("x"), "reply.a.x is missing"),
        (lambda r: r.get("n").find("x"), "reply.n should be an object, is null"),
        (lambda r: list(r.get("a").items()), "reply.a should be an array, is int"),
        (lambda r: list(r.get("a").members()), "reply.a should be an object, is int"),
        (lambda r: r.get("t").number(), "reply.t should be a number, is str"),
        (lambda r: r.get("b").number(), "reply.b should be a number, is bool"),
        (lambda r: r.get("n").number(), "reply.n should be a number, is null"),
        (lambda r: r.get("a").text(), "reply.a should be text, is int"),
        (lambda r: r.get("huge").number(), "reply.huge is too large"),
        (lambda r: r.get("inf").number(), "reply.inf is not finite"),
        (lambda r: r.get("huge").instant(), "reply.huge is too large"),
        (lambda r: r.get("late").instant(), "reply.late is no epoch in seconds: 99999999999"),
        (lambda r: r.optional_number("t"), "reply.t should be a number, is str"),
        (lambda r: r.optional_text("a"), "reply.a should be text, is int"),
    ],
)
def test_a_miss_names_the_field(read: Any, message: str) -> None:
    """Never the payload."""
    body = {"a": 1, "t": "x", "b": True, "n": None, "huge": 10**400, "late": 99999999999}
    reply = Json.parse(json.dumps(body).replace("}", ', "inf": 1e999}').encode())
    with pytest.raises(SourceError) as refused:
        read(reply)
    assert refused.value.kind is FailureKind.MALFORMED_REPLY
    assert refused.value.detail == message


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_a_number_is_refused_while_parsing(constant: str) -> None:
    """Python's parser would let it pass; JSON does not know it."""
    assert "not JSON" in refusal(f'{{"price": {constant}}}'.encode())


@pytest.mark.parametrize(
    "body", [b"", b"<html>Too many requests</html>", b"{", b"[" * 200_000, b"\xff\xfe\x00", b'{"a":}']
)
def test_a_body_that_is_no_json_is_told_by_its_first_characters(body: bytes) -> None:
    """An HTML page of a proxy, a cut reply, a bomb of brackets, rubbish."""
    message = refusal(body)
    assert message.startswith("the reply is not JSON")
    assert len(message) < 160
    assert message.isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    """Nothing but a SourceError is raised."""
    try:
        Json.parse(body)
    except SourceError as error:
        assert error.kind is FailureKind.MALFORMED_REPLY  # noqa: PT017 - the point is that nothing else is raised


@given(values, st.text(max_size=3))
def test_any_value_is_read_or_refused(value: Any, key: str) -> None:
    """Every way of reading, whatever the value: a finite number, bounded printable text, or a SourceError."""
    reply = Json(value)
    readers = (
        lambda: reply.get(key),
        lambda: reply.find(key),
        lambda: list(reply.items()),
        lambda: list(reply.members()),
        lambda: reply.optional_number(key),
        lambda: reply.optional_text(key),
        reply.instant,
    )
    for read in readers:
        try:
            read()
        except SourceError as error:
            assert error.kind is FailureKind.MALFORMED_REPLY  # noqa: PT017
    try:
        assert math.isfinite(reply.number())
    except SourceError:
        assert isinstance(value, bool) or not isinstance(value, int | float) or not _fits(value)
    try:
        assert reply.text(10).isprintable()
        assert len(reply.text(10)) <= 10
    except SourceError:
        assert not isinstance(value, str)


def test_optional_members_are_none_when_absent_or_null() -> None:
    """Zero and empty are values."""
    reply = Json.parse(b'{"zero":0,"empty":"","null":null}')
    assert reply.optional_number("zero") == 0.0
    assert reply.optional_text("empty") == ""
    assert [reply.optional_number(k) for k in ("null", "missing")] == [None, None]
    assert [reply.optional_text(k) for k in ("null", "missing")] == [None, None]


def test_epoch_seconds_are_instants_between_1900_and_2100() -> None:
    """Milliseconds are refused rather than read as the year 50000."""
    assert instant_of(0, "t") == datetime(1970, 1, 1, tzinfo=UTC)
    assert instant_of(1_700_000_000.5, "t") == datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)
    for wrong in (1_700_000_000_000, -9e9, math.nan, math.inf, -math.inf):
        with pytest.raises(SourceError, match="t is no epoch"):
            instant_of(wrong, "t")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("$1,234.50", 1234.5),
        ("+3.53%", 3.53),
        ("-0.5", -0.5),
        ("44,902.09", 44902.09),
        ("44,902", 44902.0),
        (".5", 0.5),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("", None),
        ("  ", None),
        ("N/A", None),
        ("n/a", None),
        ("UNCH", None),
        ("unch", None),
        ("--", None),
        ("-", None),
        ("$", None),
    ],
)
def test_a_number_as_a_web_page_shows_it(text: str, number: float | None) -> None:
    """Currency sign, thousands, percent, and the ways of saying nothing."""
    assert display_number(text, "price") == number


@pytest.mark.parametrize(
    "text", ["abc", "1.2.3", "1e5", "nan", "inf", "Infinity", "0x10", "1 2", "--5", "5-", "9" * 400]
)
def test_what_shows_no_number_is_refused(text: str) -> None:
    """Python would read some of them."""
    with pytest.raises(SourceError, match=r"price (should show a number|is too large)"):
        display_number(text, "price")


@given(st.text(max_size=20))
def test_any_display_text_is_a_finite_number_nothing_or_refused(text: str) -> None:
    """Nothing else is raised."""
    try:
        number = display_number(text, "price")
    except SourceError:
        return
    assert number is None or math.isfinite(number)


@given(st.integers(-(10**12), 10**12), st.integers(0, 99))
def test_a_shown_amount_is_read_back(whole: int, cents: int) -> None:
    """With separators of thousands."""
    shown = f"${whole:,}.{cents:02d}"
    expected = float(f"{whole}.{cents:02d}")
    assert display_number(shown, "price") == expected


def test_only_values_above_zero_are_positive() -> None:
    """Some vendors write 0 for none."""
    assert [positive(v) for v in (None, 0.0, -1.0, math.nan, 0.01)] == [None, None, None, None, 0.01]


def _fits(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
