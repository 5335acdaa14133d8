"""What answers teach about an instrument."""

from __future__ import annotations

import math
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.memory.symbols import RANGE_HALF_LIFE_S, SymbolKnowledge, combine_symbols, learn_symbol
from memory.memory_samples import NOON, quote_answer

SECOND = timedelta(seconds=1)


def _learned(price: float, after: timedelta = timedelta(0), session: Session = Session.REGULAR) -> SymbolKnowledge:
    learned = learn_symbol(quote_answer(price=price, at=NOON + after, session=session, previous_close=99.0))
    assert learned is not None
    return learned


@pytest.mark.parametrize(
    ("session", "close"),
    [(Session.REGULAR, 99.0), (Session.CLOSED, 101.0), (Session.PRE, None), (Session.POST, None)],
)
def test_the_official_close_depends_on_the_session(session: Session, close: float | None) -> None:
    """In regular hours the previous close, at rest the price; in extended hours it is unclear whose day is meant."""
    assert _learned(101.0, session=session).previous_close == close


@pytest.mark.parametrize("grade", [Grade.D, Grade.F])
def test_a_bad_grade_teaches_nothing(grade: Grade) -> None:
    """A price nobody should trust is not what the next one is compared with."""
    assert learn_symbol(quote_answer(grade=grade)) is None


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_price_teaches_nothing(price: float) -> None:
    """Whatever its grade."""
    assert learn_symbol(quote_answer(price=price)) is None


def test_the_range_closes_in_on_the_price_with_time() -> None:
    """A low of long ago is half as far away, in logarithms, after the half-life."""
    known = combine_symbols(_learned(50.0), _learned(200.0, timedelta(seconds=RANGE_HALF_LIFE_S)))
    assert (known.low, known.high) == pytest.approx((100.0, 200.0))


def test_days_are_counted_once_each() -> None:
    """Three answers on two dates."""
    known = combine_symbols(
        combine_symbols(_learned(100.0), _learned(101.0, SECOND)), _learned(102.0, timedelta(days=3))
    )
    assert (known.days, known.observations, known.first_day, known.last_day) == (
        2,
        3,
        date(2026, 11, 23),
        date(2026, 11, 26),
    )


def test_an_answer_without_close_does_not_forget_the_one_known() -> None:
    """Extended hours after a regular session."""
    known = combine_symbols(_learned(100.0), _learned(103.0, SECOND, Session.POST))
    assert (known.price, known.previous_close, known.previous_close_at) == (103.0, 99.0, NOON.timestamp())


def test_a_late_report_does_not_replace_newer_facts() -> None:
    """Two processes may write in either order."""
    known = combine_symbols(_learned(100.0, SECOND, Session.CLOSED), _learned(90.0))
    assert (known.price, known.previous_close, known.low, known.high) == (100.0, 100.0, 90.0, 100.0)


_unhurried = settings(deadline=None)  # a busy machine is no failure


@_unhurried
@given(st.lists(st.tuples(st.floats(0.01, 1e6), st.floats(0, 1e7)), min_size=1, max_size=20))
def test_the_latest_price_is_within_the_range(prices: list[tuple[float, float]]) -> None:
    """And the range is within everything seen."""
    known = None
    for price, after in sorted(prices, key=lambda entry: entry[1]):
        learned = _learned(price, timedelta(seconds=after))
        known = learned if known is None else combine_symbols(known, learned)
    assert known is not None
    seen = [price for price, _ in prices]
    assert min(seen) * (1 - 1e-9) <= known.low <= known.price <= known.high <= max(seen) * (1 + 1e-9)
