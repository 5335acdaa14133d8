"""A slice of the history benchmark: the tuning side, few cases of every kind; the held-out side is left unseen here."""

from __future__ import annotations

import pytest

from history_quality import worlds
from history_quality.faults import HELD_OUT_KINDS, TUNED
from history_quality.grading import TUNING_SEED, Tally, measure
from history_quality.timing import measure_times


def test_nearly_every_injected_fault_gets_exactly_the_letter_of_its_label() -> None:
    """Two cases of each of the 26 kinds that rules were written with."""
    tally = measure(TUNED, 2, TUNING_SEED, tuning=True)
    assert tally.total.total() == 52
    assert tally.accuracy >= 0.96, dict(tally.confused)
    assert tally.over_graded <= 0.02


def test_the_simulated_market_stands_in_for_real_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the shared data the same kinds are laid over it."""
    worlds._bars.cache_clear()
    monkeypatch.setattr(worlds, "available", lambda: False)
    tally = measure((*TUNED[:8], *HELD_OUT_KINDS), 1, TUNING_SEED, tuning=True)
    worlds._bars.cache_clear()
    assert tally.total.total() == 12
    assert tally.accuracy >= 0.75, dict(tally.confused)


def test_a_tally_counts_exact_letters_kinds_and_the_dangerous_side() -> None:
    """Three cases of two kinds, one graded too well, one too badly."""

    class _Case:
        def __init__(self, kind: str, label: str) -> None:
            self.kind, self.label = kind, label

    tally = Tally()
    for kind, label, grade in (("x", "B", "B"), ("x", "C", "A"), ("y", "A", "D")):
        tally.count(_Case(kind, label), grade)  # type: ignore[arg-type]
    assert tally.accuracy == pytest.approx(1 / 3)
    assert tally.macro == pytest.approx(0.25)
    assert tally.over_graded == pytest.approx(1 / 3)
    low, high = tally.wilson
    assert (low, high) == pytest.approx((0.0615, 0.7923), abs=1e-3)


def test_five_thousand_bars_take_a_small_multiple_of_reading_them() -> None:
    """Against the floor, so that a slow machine does not matter; the promise of 50 ms is the benchmark's."""
    alone, three, paid = measure_times()
    assert alone.milliseconds < 400 * alone.floor
    assert three.milliseconds < 600 * three.floor
    assert paid.milliseconds < 900 * paid.floor
