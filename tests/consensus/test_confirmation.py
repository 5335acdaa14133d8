"""What makes an A of agreement: who confirms a price when nothing but older prices agrees with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from consensus.quote_building import MID_SESSION, judge, quote
from mdagent_mcp.consensus.context import SymbolKnowledge
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.quality import Grade

_BARE: Final[dict[str, Any]] = {"open": None, "high": None, "low": None}
"""Without the day's range, so that nothing but the vote decides."""
_LEARNED: Final = SymbolKnowledge(volatility_per_sqrt_s=0.8e-4, relative_spread=2e-4, tick=0.01)
_QUIET: Final = replace(_LEARNED, volatility_per_sqrt_s=0.3e-4)


def confirmed(quotes: Sequence[Quote], **given: Any) -> bool:
    """Whether two independent groups say the same."""
    return judge(quotes, **given).confirmed


def test_an_older_price_confirms_only_as_far_as_the_symbols_volatility_allows() -> None:
    """A quarter minute ago a share may have stood elsewhere, whether its volatility was learned or not: B, and why."""
    quotes = [quote("a", 189.84, 0.5), quote("b", 189.85, 16.0)]
    assumed, lively, quiet = judge(quotes), judge(quotes, learned=_LEARNED), judge(quotes, learned=_QUIET)
    assert (assumed.grade, lively.grade, quiet.grade) == (Grade.B, Grade.B, Grade.A)
    for judgement in (assumed, lively):
        assert "a and b agree, too far apart in price or time to confirm each other" in judgement.summary
    assert confirmed([quote("a", 189.84, 0.5), quote("b", 189.85, 4.0)]) is True


def test_a_young_price_that_only_older_ones_confirm_needs_room_for_what_has_happened_since() -> None:
    """It may be an hour old with a false stamp, near the older ones by chance, and the price beyond them by now."""
    plain: dict[str, Any] = {"previous_close": 486.5, **_BARE}
    young = quote("young", 486.02, 0.3, **plain)
    older = [quote("b", 486.03, 23.2, **plain), quote("c", 486.12, 12.8, **plain)]
    lively = replace(_LEARNED, volatility_per_sqrt_s=0.9e-4)
    alone = judge([young, *older], learned=lively)
    assert (alone.price, alone.grade, alone.confirmed) == (486.02, Grade.B, False)
    assert confirmed([young, *older, quote("d", 486.05, 4.9, **plain)], learned=lively) is True


@pytest.mark.parametrize(("price", "age_s", "sure"), [(189.84, 3.0, True), (189.84, 30.0, False), (189.97, 3.0, False)])
def test_the_price_confirmed_last_is_a_confirmation_too(price: float, age_s: float, *, sure: bool) -> None:
    """As young as memory has it, and as close as another source's would have to be."""
    last = replace(_LEARNED, last_price=price, last_price_time=MID_SESSION - timedelta(seconds=age_s))
    assert confirmed([quote("a", 189.84, 0.5), quote("b", 189.85, 16.0)], learned=last) is sure


def test_what_older_prices_cannot_confirm_they_still_defend_against_a_single_opponent() -> None:
    """Three that agree are no minority: the answer is a B, not a contested one."""
    three = [quote("a", 189.84, 0.5), quote("b", 189.85, 16.0), quote("c", 189.85, 16.0)]
    judgement = judge([*three, quote("far", 195.0, 0.6, **_BARE)], learned=replace(_LEARNED, observations=240))
    assert (judgement.grade, judgement.confirmed, judgement.facts.contested) == (Grade.B, False, False)
    assert judgement.explanation.headline == "ACME 189.84 USD, 0.5 s old, one independent source."


def test_an_older_price_does_not_decide_between_two_younger_ones() -> None:
    """It agrees with one of them, but what it differs from the other by may have happened since: nobody is confirmed.

    Only one that contradicts the other, beyond what the time explains, decides.
    """
    liar, honest = quote("liar", 185.50, 1.0, **_BARE), quote("a", 185.03, 0.2, **_BARE)
    older = quote("b", 185.52, 7.6, **_BARE)
    assert confirmed([liar, honest, older], learned=_LEARNED) is False
    assert confirmed([liar, older], learned=_LEARNED) is True
    assert confirmed([liar, quote("a", 183.5, 0.2, **_BARE), older], learned=_LEARNED) is True


@pytest.mark.parametrize(("age_s", "sure"), [(4.6, False), (2.6, True)])
def test_two_seconds_make_a_price_too_old_to_decide(age_s: float, *, sure: bool) -> None:
    """A share may move by ten basis points in four seconds; in less than two that is a contradiction."""
    lively, plain = replace(_LEARNED, volatility_per_sqrt_s=1.24e-4), {"previous_close": 521.0, **_BARE}
    quotes = [quote("liar", 520.84, 0.7, **plain), quote("a", 521.46, 0.9, **plain), quote("b", 520.94, age_s, **plain)]
    assert confirmed(quotes, learned=lively) is sure
