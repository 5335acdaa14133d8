"""Failure kinds, their treatment, and foreign text made safe."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import (
    DETAIL_LIMIT,
    TRAITS,
    Failure,
    FailureKind,
    SourceError,
    clean_text,
    gravest,
)

KINDS = (
    "unknown_symbol unsupported no_data stale throttled quota_exhausted unauthorized not_entitled source_error timeout "
    "network malformed_reply circuit_open retired bad_request cancelled"
).split()


def test_the_codes_are_those_of_the_contract() -> None:
    """Sixteen words, in its order."""
    assert [kind.value for kind in FailureKind] == KINDS


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_kind_says_how_it_is_treated(kind: FailureKind) -> None:
    """The table is total; meaning and hint are sentences."""
    traits = TRAITS[kind]
    assert traits.meaning.endswith(".")
    assert traits.hint.endswith(".")
    assert traits.meaning[0].isupper()
    # What trips a breaker is evidence against the source, so it counts against its reliability as well.
    assert not traits.trips_breaker or traits.counts_against_reliability


def test_no_kind_without_a_treatment_and_no_treatment_without_a_kind() -> None:
    """The table has exactly the kinds."""
    assert set(TRAITS) == set(FailureKind)


def test_an_outage_is_never_told_as_an_unknown_symbol_nor_a_quota_as_an_outage_of_the_symbol() -> None:
    """The gravest reason names the answer."""
    order = [
        FailureKind.UNKNOWN_SYMBOL,
        FailureKind.NO_DATA,
        FailureKind.UNAUTHORIZED,
        FailureKind.QUOTA_EXHAUSTED,
        FailureKind.THROTTLED,
        FailureKind.SOURCE_ERROR,
        FailureKind.TIMEOUT,
    ]
    for lesser, graver in pairwise(order):
        failures = (Failure("a", lesser, ""), Failure("b", graver, ""))
        assert gravest(failures) == failures[1]
        assert gravest(failures[::-1]) == failures[1]
    assert gravest(()) is None


def test_an_error_becomes_the_failure_of_its_source() -> None:
    """The detail is cleaned once, on the way in."""
    error = SourceError(FailureKind.THROTTLED, "slow\x00 down\r\nplease", 12.0)
    assert error.as_failure("nasdaq") == Failure("nasdaq", FailureKind.THROTTLED, "slow down please", 12.0)
    assert str(error) == "throttled: slow down please"


def test_foreign_text_is_bounded_and_on_one_line() -> None:
    """An ellipsis says that something was cut."""
    assert clean_text("a\n\tb\x1b[0m  c") == "a b [0m c"
    assert clean_text("x" * 500) == "x" * (DETAIL_LIMIT - 1) + "…"
    assert clean_text("x" * 10, 10) == "x" * 10


@given(st.text(), st.integers(1, 50))
def test_cleaned_text_is_always_printable_and_short(text: str, limit: int) -> None:
    """Whatever a vendor sends."""
    cleaned = clean_text(text, limit)
    assert len(cleaned) <= limit
    assert cleaned.isprintable()
    assert clean_text(cleaned, limit) == cleaned
