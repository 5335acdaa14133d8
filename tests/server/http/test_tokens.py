"""Bearer tokens: made, hashed, told apart."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.server.http.tokens import TokenBook, bearer_of, new_token, token_hash


def test_tokens_are_long_recognisable_and_never_the_same() -> None:
    """256 bits in 43 characters behind a prefix."""
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(token.startswith("mdagent_") and len(token) == 51 for token in made)


def test_the_settings_hold_a_hash_that_any_tool_can_make() -> None:
    """SHA-256 in hex."""
    assert token_hash("mdagent_x") == f"sha256:{hashlib.sha256(b'mdagent_x').hexdigest()}"


def test_a_token_is_recognised_by_its_owner_and_no_other_is() -> None:
    """Neither a beginning of it, nor more than it, nor its hash."""
    book = TokenBook({"alice": token_hash("a-token"), "bob": token_hash("b-token")})
    assert (book.name_of("a-token"), book.name_of("b-token")) == ("alice", "bob")
    wrong = ["", "a-toke", "a-token ", "A-token", token_hash("a-token"), "a-token" + "x" * 1_000_000, "ä-token"]
    assert [book.name_of(token) for token in wrong] == [None] * len(wrong)
    assert TokenBook({}).is_empty
    assert TokenBook({}).name_of("") is None


@given(st.text(max_size=600))
def test_whatever_is_presented_is_refused_without_an_error(token: str) -> None:
    """Also what no header could carry."""
    assert TokenBook({"alice": token_hash("a-token")}).name_of(token) == ("alice" if token == "a-token" else None)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("abc", None),
        ("", None),
    ],
)
def test_a_bearer_token_is_read_from_its_header(header: str, token: str | None) -> None:
    """The scheme is told without regard to case (RFC 9110, section 11.1)."""
    assert bearer_of(header) == token
