"""How an instrument behaves, learned from answers: volatility, spread, price step and stamps, despite bad prices."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.answers import QuoteAnswer, Voice
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.memory.symbol_statistics import (
    CLIP,
    NORMAL_RATIO,
    ClippedMean,
    SymbolStatistics,
    combine_means,
    combine_statistics,
    from_text,
    half_hour,
    learn_statistics,
    to_text,
)
from mdagent_mcp.memory.symbols import SymbolKnowledge, learn_symbol
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, quote_answer

NOON_BUCKET = 24


def confirmed(price: float = 101.25, at: datetime = NOON, *, lag_s: float = 0.4, **given: Any) -> QuoteAnswer:
    """An answer of two sources with a book of 2 cents."""
    plain = quote_answer(f"q-{at.timestamp()}", price=price, at=at)
    (voice,) = plain.explanation.voices
    voices = tuple(_voice(voice, name, price, at, lag_s) for name in ("alpha", "beta"))
    explanation = replace(plain.explanation, voices=voices)
    answer = replace(plain, explanation=explanation, bid=price - 0.01, ask=price + 0.01)
    return replace(answer, **given)


def _voice(voice: Voice, source: str, price: float, at: datetime, lag_s: float) -> Voice:
    return replace(voice, source=source, price=price, received_at=at, event_time=at - timedelta(seconds=lag_s))


def before(price: float, seconds: float) -> SymbolKnowledge:
    """What was known that long before noon."""
    known = learn_symbol(quote_answer(price=price, at=NOON - timedelta(seconds=seconds)))
    assert known is not None
    return known


def test_an_answer_teaches_the_step_since_the_last_one_the_spread_the_grid_and_the_stamps() -> None:
    """Absolute log return per square root of seconds, in the half hour of the exchange's own day."""
    learned = learn_statistics(confirmed(101.25), before(101.0, 100.0))
    assert learned is not None
    assert learned.volatility[NOON_BUCKET].mean == pytest.approx(math.log(101.25 / 101.0) / 10)
    assert learned.spread[NOON_BUCKET].mean == pytest.approx(0.02 / 101.25)
    assert (learned.volatility[NOON_BUCKET].samples, learned.spread[NOON_BUCKET].samples) == (1, 1)
    assert (learned.decimals, set(learned.lags)) == ({2: 1.0}, {"alpha", "beta"})


@pytest.mark.parametrize("seconds", [0.5, 601.0])
def test_steps_too_short_or_too_long_teach_no_volatility(seconds: float) -> None:
    """Within a second the tick rules, after ten minutes the drift."""
    learned = learn_statistics(confirmed(), before(101.0, seconds))
    assert learned is not None
    assert learned.volatility == {}


@pytest.mark.parametrize(
    "given_",
    [{"cached": True}, {"session": Session.POST}, {"grade": Grade.C}],
)
def test_what_is_cached_extended_or_doubtful_teaches_nothing(given_: dict[str, Any]) -> None:
    """A price only one source vouches for must not widen what is believed of the next."""
    assert learn_statistics(confirmed(**given_), None) is None


def test_half_hours_are_those_of_the_exchange() -> None:
    """Noon in New York is noon for AAPL and 02:00 for a share in Tokyo."""
    assert half_hour("AAPL", NOON) == NOON_BUCKET
    assert half_hour("7203.T", NOON) == 4
    assert half_hour("no symbol at all", datetime(2026, 1, 1, 1, 31, tzinfo=UTC)) == 3


def test_one_bad_price_in_a_hundred_hardly_moves_the_volatility() -> None:
    """Clipped at four deviations: within a fifth of the truth, where a mean of squares is many times too high."""
    rng = random.Random(7)
    known = ClippedMean(abs(rng.gauss(0, 1)), 1)
    squares = 0.0
    for n in range(4000):
        x = abs(rng.gauss(0, 1)) * (200 if n % 100 == 50 else 1)
        squares += x * x / 4000
        known = combine_means(known, ClippedMean(x, 1))
    assert known.deviation == pytest.approx(1.0, rel=0.2)
    assert math.sqrt(squares) > 10


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=60))
def test_a_sample_never_lifts_the_mean_above_its_clip(samples: list[float]) -> None:
    """Whatever comes: never negative, and one step moves it by less than the clip."""
    known = ClippedMean(1.0, 30)
    for x in samples:
        after = combine_means(known, ClippedMean(x, 1))
        assert 0 <= after.mean <= known.mean * CLIP * NORMAL_RATIO + 1e-12
        known = after


def test_figures_count_once_enough_is_behind_them() -> None:
    """Of the half hour where there is enough, else of the whole day, else nothing."""
    statistics = SymbolStatistics(
        symbol="AAPL",
        updated_at=0.0,
        volatility={NOON_BUCKET: ClippedMean(1e-4, 40), NOON_BUCKET + 1: ClippedMean(3e-4, 10)},
        spread={NOON_BUCKET: ClippedMean(2e-4, 5)},
    )
    later = NOON + timedelta(minutes=30)
    assert statistics.volatility_at(NOON, 30) == pytest.approx(1.2533e-4)
    assert statistics.volatility_at(later, 30) == pytest.approx(1.2533 * 1.4e-4)
    assert statistics.volatility_at(later, 60) is None
    assert (statistics.spread_at(NOON, 30), statistics.spread_at(NOON, 5)) == (None, 2e-4)


@pytest.mark.parametrize(
    ("decimals", "tick"), [({2: 50.0}, 0.01), ({2: 50.0, 4: 4.0}, 0.01), ({2: 50.0, 4: 9.0}, 0.0001), ({2: 5.0}, None)]
)
def test_the_price_step_is_the_grid_of_nine_prices_in_ten(decimals: dict[int, float], tick: float | None) -> None:
    """A few sub-penny prints do not change it."""
    assert SymbolStatistics(symbol="AAPL", updated_at=0.0, decimals=decimals).tick == tick


def test_a_source_that_stamps_its_last_trade_has_a_gap_and_one_that_is_merely_late_has_none() -> None:
    """By how much the stamps lag more than the most punctual ones, 95 % of the time."""
    rng = random.Random(3)
    known = None
    for n in range(300):
        at = NOON + timedelta(seconds=n)
        sample = learn_statistics(confirmed(at=at, lag_s=0.3 + rng.expovariate(0.1)), None)
        assert sample is not None
        late = {"late": dict.fromkeys(learn_late(at), 1.0)}
        sample = replace(sample, lags={**sample.lags, **late})
        known = sample if known is None else combine_statistics(known, sample)
    assert known is not None
    gap, none = known.gap_q95_s("alpha"), known.gap_q95_s("late")
    assert gap == pytest.approx(30.0, rel=0.35)
    assert none == pytest.approx(0.0, abs=0.3)
    assert known.gap_q95_s("unheard") is None


def learn_late(at: datetime) -> dict[int, float]:
    """The stamp of a source that is always four seconds late."""
    sample = learn_statistics(confirmed(at=at, lag_s=4.0), None)
    assert sample is not None
    return dict(sample.lags["alpha"])


def test_what_is_stored_is_read_again_and_what_is_damaged_is_forgotten() -> None:
    """JSON with whole numbers as keys."""
    known = learn_statistics(confirmed(), before(101.0, 100.0))
    assert known is not None
    assert from_text("AAPL", known.updated_at, to_text(known)) == known
    for text in ("", "[]", "{}", '{"volatility":{"x":1}}'):
        assert from_text("AAPL", 1.0, text) == SymbolStatistics(symbol="AAPL", updated_at=1.0)


async def test_behaviour_is_known_at_once_and_after_a_restart(tmp_path: Path) -> None:
    """Two sessions of ten answers are twenty samples."""
    path = tmp_path / "memory.sqlite3"
    clock = ManualClock(NOON)
    for session in range(2):
        async with open_memory(path, clock) as memory:
            await memory.recall(["AAPL"])
            for n in range(10):
                at = NOON + timedelta(seconds=20 * (10 * session + n))
                memory.keep(confirmed(101.0 + 0.01 * n, at))
            known = memory.symbol_statistics("AAPL")
            assert known is not None
            assert known.spread[NOON_BUCKET].samples == 10 * (session + 1)
            assert known.volatility.get(NOON_BUCKET, ClippedMean(0.0, 0)).samples == 10 * (session + 1) - 1
