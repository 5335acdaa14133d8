"""No key leaves in any text."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.transport.redaction import MASK, Redactor


def test_an_echoed_key_is_removed_in_every_spelling() -> None:
    """Vendors echo keys in capitals, in URLs and in plain text."""
    redact = Redactor.of(["s3cret+key/1"])
    text = "We have detected your API key as S3CRET+KEY/1; see https://x.example/?apikey=s3cret%2Bkey%2F1&x=1"
    assert redact(text) == f"We have detected your API key as {MASK}; see https://x.example/?apikey={MASK}&x=1"


def test_a_longer_key_is_removed_before_a_shorter_one_inside_it() -> None:
    """Otherwise the rest of the longer one would stay."""
    assert Redactor.of(["abcd", "abcdefgh"])("key abcdefgh") == f"key {MASK}"


def test_without_keys_nothing_changes() -> None:
    """A keyless source's text passes as it is."""
    assert Redactor.of([])("plain text") == "plain text"


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=8), st.text(), st.text())
def test_no_text_keeps_a_key(key: str, before: str, after: str) -> None:
    """Whatever stands around it, the key itself is gone."""
    assert key.lower() not in Redactor.of([key])(f"{before} {key} {after}").replace(
        MASK, ""
    ).lower() or key.lower() in (f"{before}{after}".lower())


KEY = "s3cret+key/1&x='2"
FORMS = {
    "plain": KEY,
    "capitals": KEY.upper(),
    "url": quote(KEY, safe=""),
    "url as a path": quote(KEY),
    "form": quote_plus(KEY),
    "lower-case url": quote(KEY, safe="").lower(),
    "twice in a url": quote(quote(KEY, safe=""), safe=""),
    "json": json.dumps(KEY)[1:-1],
    "json with escaped slashes": json.dumps(KEY)[1:-1].replace("/", r"\/"),
    "url in json with escaped slashes": quote(KEY).replace("/", r"\/"),
    "markup": html.escape(KEY),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 of a pair": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "base64 of a pair, one on": base64.b64encode(f"user2:{KEY}".encode()).decode(),
    "base64 for urls": base64.urlsafe_b64encode(f"k={KEY}?>".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_key_is_removed_from_texts_and_bodies_in_every_form(form: str) -> None:
    """Nothing of it stays but the ends of a base64 text, which other characters decide as well."""
    redact = Redactor.of([KEY])
    text = redact(f"before {form} after")
    body = redact.in_body(b"\xff" * 2000 + f"before {form} after".encode())
    for left in (text, body[2000:].decode()):
        assert left.startswith("before ")
        assert left.endswith(" after")
        assert MASK in left
        assert len(left.replace(MASK, "").split("before ")[1]) <= len(" after") + 12


def test_a_body_without_the_key_is_the_same_object() -> None:
    """Nothing is copied that need not be."""
    body = b'{"c": 1.5}'
    assert Redactor.of([KEY]).in_body(body) is body
    assert Redactor.of([]).in_body(body) is body


def test_a_key_that_may_be_a_word_of_the_reply_is_left_in_a_body() -> None:
    """`demo` is a key of one vendor, and a word."""
    assert Redactor.of(["demo"]).in_body(b"a demo") == b"a demo"


def test_letters_that_change_their_length_in_lower_case_hide_nothing() -> None:
    """A dotted capital I becomes two characters."""
    assert Redactor.of(["abcdefgh"])("\u0130\u0130 ABCDEFGH") == f"\u0130\u0130 {MASK}"


def test_a_redactor_does_not_show_what_it_removes() -> None:
    """Not even to a debugger's printout."""
    assert KEY not in repr(Redactor.of([KEY]))
