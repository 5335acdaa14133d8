"""A lone price under a symbol that others do not know is not stated, unless there is a reason for their not knowing."""

from __future__ import annotations

from typing import Any, Final

import pytest

from consensus.quote_building import MID_SESSION, finding, judge, quote
from mdagent_mcp.consensus.context import SymbolKnowledge
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.quality import Dimension, Grade, Verdict

TWO: Final = frozenset({"cboe", "tiingo"})


def _verdict(unknown_to: set[str] | frozenset[str], *sources: str, **given: Any) -> tuple[Grade, Verdict, str]:
    judgement = judge([quote(name) for name in sources], unknown_to=frozenset(unknown_to), **given)
    found = finding(judgement, "symbol_known")
    return judgement.grade, found.verdict, found.detail


def test_a_price_that_two_groups_deny_is_an_f_with_the_reason() -> None:
    """The number is there for whoever knows better, and nobody is told that it is a price of this symbol."""
    judgement = judge([quote()], unknown_to=TWO, failures=dict.fromkeys(TWO, "unknown_symbol"))
    why = "cboe and tiingo do not know ACME, finnhub alone states a price: it may be another company's"
    assert (judgement.grade, judgement.price) == (Grade.F, 189.84)
    limit = judgement.explanation.assessment.limited_by
    assert (limit.dimension, limit.because) == (Dimension.PLAUSIBILITY, why)
    assert judgement.summary.startswith("Do not state this number as fact: ")
    assert why in judgement.summary


def test_what_one_group_denies_is_as_before() -> None:
    """A vendor may lack a symbol; two sources of one group are one voice, and so is one that states a price itself."""
    alone = _verdict(set(), "finnhub")
    assert alone == (Grade.C, Verdict.NOT_RUN, "no source says that it does not know the symbol")
    one = "cboe does not know ACME, which one upstream group alone does not prove"
    assert _verdict({"cboe"}, "finnhub") == (Grade.C, Verdict.NOT_RUN, one)
    same = "nasdaq and yahoo do not know ACME, which one upstream group alone does not prove"
    assert _verdict({"yahoo", "nasdaq"}, "finnhub") == (Grade.C, Verdict.NOT_RUN, same)
    assert _verdict({"yahoo", "cboe"}, "nasdaq") == (Grade.C, Verdict.NOT_RUN, one)


def test_two_groups_that_state_a_price_outweigh_any_denial() -> None:
    """Two sources that lie by chance alike are another matter."""
    told = "2 upstream groups state a price; cboe and tiingo do not know ACME"
    assert _verdict(TWO, "finnhub", "yahoo") == (Grade.A, Verdict.PASSED, told)


@pytest.mark.parametrize(
    "learned",
    [
        SymbolKnowledge(observations=3, last_price=189.80, last_price_time=MID_SESSION),
        SymbolKnowledge(observations=40, volatility_per_sqrt_s=4e-5),
    ],
)
def test_a_symbol_that_two_groups_confirmed_before_exists(learned: SymbolKnowledge) -> None:
    """Whoever denies it now has a bad moment."""
    told = "two groups confirmed prices of it before; cboe and tiingo do not know ACME"
    assert _verdict(TWO, "finnhub", learned=learned) == (Grade.C, Verdict.PASSED, told)


@pytest.mark.parametrize(
    ("symbol", "calendar", "currency"),
    [("VOD.L", "XLON", "GBP"), ("ETH-EUR", "24/7", "EUR"), ("^FTSE", "XLON", "USD"), ("EUR/NOK", "24/5", "NOK")],
)
def test_what_sources_cover_in_parts_is_shown_with_its_defect(symbol: str, calendar: str, currency: str) -> None:
    """A foreign listing, a coin, an index or a pair that a single source has is a D and not lost."""
    lone = quote(currency=currency)
    judgement = judge([lone], parse_symbol(symbol), calendar=calendar_named(calendar), unknown_to=TWO)
    found = finding(judgement, "symbol_known")
    assert (judgement.grade, found.verdict) == (Grade.D, Verdict.FAILED)
    assert found.detail == f"cboe and tiingo do not know {parse_symbol(symbol).symbol}, finnhub alone states a price"
