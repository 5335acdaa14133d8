"""Which symbols, days and seeds the rules were made with, and which were kept back. Frozen.

Every look at the kept-back part is logged in `docs/benchmarks/grading.md`.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from grading_quotes.world import Setting

TUNING_SYMBOLS: Final = ("SPY", "AIG", "GOOG", "F")
TUNING_DAYS: Final = (date(2013, 10, 8), date(2013, 10, 9))
TUNING_FRIDAY: Final = date(2013, 10, 4)
TUNING_SEEDS: Final = (1, 2)

HELD_OUT_SYMBOLS: Final = ("BAC", "IBM", "AAPL", "FOXA")
HELD_OUT_DAYS: Final = (date(2013, 10, 10), date(2012, 5, 16))
HELD_OUT_FRIDAY: Final = date(2013, 10, 11)
HELD_OUT_SEEDS: Final = (101, 102, 103)


def settings(*, held_out: bool, skew_s: float, friday: bool = False, early_freeze: bool = False) -> tuple[Setting, ...]:
    """The afternoons of one part."""
    symbols = HELD_OUT_SYMBOLS if held_out else TUNING_SYMBOLS
    days: tuple[date, ...] = HELD_OUT_DAYS if held_out else TUNING_DAYS
    if friday:
        days = (HELD_OUT_FRIDAY,) if held_out else (TUNING_FRIDAY,)
    seeds = HELD_OUT_SEEDS if held_out else TUNING_SEEDS
    return tuple(
        Setting(symbol, day, seed, skew_s, until_close=friday, early_freeze=early_freeze)
        for symbol in symbols
        for day in days
        for seed in seeds
    )
