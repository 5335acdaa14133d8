"""No key leaves in any text."""

from __future__ import annotations

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
