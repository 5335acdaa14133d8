"""The arithmetic of date ranges."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.cache.ranges import Span, hull, missing, united

START = date(2026, 1, 1)


def day(number: int) -> date:
    """The day of that number."""
    return START + timedelta(days=number)


def dates(*spans: Span) -> set[date]:
    """Every date in them."""
    return {span.first + timedelta(days=n) for span in spans for n in range((span.last - span.first).days + 1)}


spans = st.tuples(st.integers(0, 60), st.integers(0, 15)).map(lambda t: Span(day(t[0]), day(t[0] + t[1])))


@given(spans, st.lists(spans, max_size=6))
def test_what_is_missing_and_what_is_known_is_what_was_asked(asked: Span, known: list[Span]) -> None:
    """Nothing twice, nothing left out, in order."""
    gaps = missing(asked, known)
    assert dates(*gaps) == dates(asked) - dates(*known)
    assert list(gaps) == sorted(gaps)
    assert sum(len(dates(gap)) for gap in gaps) == len(dates(*gaps))


@given(st.lists(spans, max_size=8))
def test_united_spans_hold_the_same_dates_and_never_touch(listed: list[Span]) -> None:
    """As few as possible."""
    result = united(listed)
    assert dates(*result) == dates(*listed)
    assert all((b.first - a.last).days > 1 for a, b in pairwise(result))


@given(st.lists(spans, min_size=1, max_size=6))
def test_the_hull_is_the_smallest_span_that_holds_all(listed: list[Span]) -> None:
    """Its ends are theirs."""
    whole = hull(listed)
    assert whole is not None
    assert (whole.first, whole.last) == (min(dates(*listed)), max(dates(*listed)))


@given(spans, spans)
def test_what_two_spans_have_in_common_is_in_both(one: Span, other: Span) -> None:
    """And nothing else is."""
    common = one.common(other)
    assert (set() if common is None else dates(common)) == dates(one) & dates(other)


def test_the_ends_of_the_calendar_are_ordinary_dates() -> None:
    """No arithmetic runs over them."""
    everything = Span(date.min, date.max)
    assert missing(everything, [everything]) == ()
    assert missing(everything, [Span(START, date.max)]) == (Span(date.min, day(-1)),)
    assert united([everything, Span(START, date.max)]) == (everything,)
    assert hull([]) is None


def test_a_span_is_never_empty() -> None:
    """Its last date is not before its first."""
    with pytest.raises(ValueError, match="first <= last"):
        Span(day(1), day(0))
