"""Bias and dispersion of each source: against others only, field by field, unmoved by single gross errors."""

from __future__ import annotations

import math
import random
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.answers import VoiceVerdict
from mdagent_mcp.domain.events import Compared
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.memory.deviations import (
    Deviation,
    DeviationKey,
    combine_deviations,
    learn_compared,
    learn_prices,
)
from memory.memory_samples import NOON
from memory.voice_samples import Said, answered

AT = NOON.timestamp()


def test_a_source_is_compared_with_the_others_and_not_with_itself() -> None:
    """Its own price, and that of a source with the same upstream, would pull the reference towards it."""
    said = {
        "alpha": Said(101.0, VoiceVerdict.OUTLIER, group="tape"),
        "alpha_too": Said(101.0, VoiceVerdict.OUTLIER, group="tape"),
        "beta": Said(100.0, VoiceVerdict.SERVED),
        "gamma": Said(100.02),
    }
    learned = dict(learn_prices(answered(said)))
    assert learned[DeviationKey("alpha", "symbol:AAPL", "price")].bias == pytest.approx(math.log(101.0 / 100.0))
    assert learned[DeviationKey("alpha", "asset:us_equity", "price")] == Deviation(math.log(1.01), 0.0, 1, AT)
    # Without a second group of others nothing is a consensus: beta has gamma alone, the outliers do not count.
    assert {key.source for key in learned} == {"alpha", "alpha_too"}


@pytest.mark.parametrize("given_", [{"cached": True}, {"session": Session.POST}])
def test_answers_that_repeat_or_that_are_not_of_regular_trading_teach_nothing(given_: dict[str, Any]) -> None:
    """A cached answer was learned from already; outside of regular trading prices differ by themselves."""
    said = {name: Said(100.0) for name in ("alpha", "beta", "gamma")}
    assert len(list(learn_prices(answered(said)))) == 6
    assert list(learn_prices(answered(said, **given_))) == []


def test_fields_are_learned_from_what_the_teacher_compared() -> None:
    """Volume as a ratio: half of what the others count is 0.5."""
    event = Compared("alpha", "AAPL", "volume", NOON, math.log(0.5), 0.05, math.inf, 0.0025, None)
    learned = dict(learn_compared(event))
    assert set(learned) == {
        DeviationKey("alpha", "asset:us_equity", "volume"),
        DeviationKey("alpha", "symbol:AAPL", "volume"),
    }
    assert learned[DeviationKey("alpha", "symbol:AAPL", "volume")].ratio == pytest.approx(0.5)
    price = Compared("alpha", "AAPL", "price", NOON, 0.001, 5e-4, 50e-4, 1e-8, 1.0)
    assert list(learn_compared(price)) == []


def test_one_gross_error_in_a_hundred_moves_neither_bias_nor_dispersion_much() -> None:
    """Where a mean of squares would be useless: 20 to 400 deviations off."""
    rng = random.Random(4)
    clean = [rng.gauss(2e-4, 1e-4) for _ in range(3000)]
    spoiled = [e if rng.random() > 0.01 else e + rng.choice((-1, 1)) * rng.uniform(20, 400) * 1e-4 for e in clean]
    learned = _learned(spoiled)
    assert learned.bias == pytest.approx(2e-4, abs=5e-5)
    assert learned.deviation == pytest.approx(1e-4, rel=0.35)


def test_a_new_bias_is_taken_over_within_a_few_hundred_comparisons() -> None:
    """A vendor that changes its feed."""
    rng = random.Random(5)
    learned = _learned([rng.gauss(0.0, 1e-4) for _ in range(1000)] + [rng.gauss(5e-4, 1e-4) for _ in range(400)])
    assert learned.bias == pytest.approx(5e-4, abs=1e-4)


def test_errors_beyond_a_hundredfold_are_no_bias() -> None:
    """They are faults, which are counted elsewhere."""
    event = Compared("alpha", "AAPL", "volume", NOON, math.log(1000.0), 0.05, math.inf, 0.0025, None)
    assert list(learn_compared(event)) == []


_ERRORS = st.floats(min_value=-1.0, max_value=1.0)


@given(st.lists(_ERRORS, min_size=1, max_size=60))
def test_bias_stays_within_what_was_seen_and_nothing_is_lost_in_count(errors: list[float]) -> None:
    """Whatever the order."""
    learned = _learned(errors)
    assert min(errors) - 1e-12 <= learned.bias <= max(errors) + 1e-12
    assert 0.0 <= learned.spread <= max(errors) - min(errors) + 1e-12
    assert learned.samples == len(errors)


def _learned(errors: list[float]) -> Deviation:
    return reduce(combine_deviations, (Deviation(error, 0.0, 1, AT) for error in errors))
