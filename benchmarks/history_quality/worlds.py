"""True series for part (a): windows of real daily bars, or of the simulated market where the real ones are not there.

A truth is an ordinary stock with quarterly dividends: real bars of one vendor, in which the price falls by each
dividend that is laid over them. Symbols and years are split into tuning and held out; a window in which vendors are
known to disagree by more than 2 % is not used, because its truth is not known, and none with 6 May 2010, whose lows
were real and yet of a kind that no single vendor can be believed.
"""

from __future__ import annotations

import csv
import gzip
import random
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from typing import Final

from mdagent_mcp.domain.prices import Bar, Dividend
from mdagent_mcp.sandbox.market import SimulatedMarket

FOLDER: Final = Path(__file__).resolve().parents[2] / ".." / "shared" / "market_data"
TUNING: Final = ("KO", "JPM", "PG", "CVX")
"""Symbols that thresholds were looked at with, in the years before 2010."""
HELD_OUT: Final = ("WMT", "PEP", "XOM", "SPY", "AAPL")
"""Symbols that no rule was tuned on, in the years from 2010."""
_LAST_TUNING_DAY: Final = {True: date(2009, 12, 31), False: date(2013, 12, 31)}
"""For real bars and for simulated ones."""
_FLASH_CRASH: Final = date(2010, 5, 6)
LENGTH: Final = 440
"""Bars of a window: about 21 months."""
_FILES: Final = ("yahoo_2010s", "yahoo_bokeh")
_SIMULATED: Final = {True: ("KO", "JPM"), False: ("XOM", "AAPL")}


@dataclass(frozen=True)
class Truth:
    """What really happened.

    Attributes:
        symbol: of the data; cases are told under another name.
        bars: on the basis of splits, `adjusted_close` exactly by the dividends.
        dividends: as paid.
    """

    symbol: str
    bars: tuple[Bar, ...]
    dividends: tuple[Dividend, ...]


def available() -> bool:
    """Whether the real bars are there."""
    return (FOLDER / "daily" / f"{_FILES[0]}.csv.gz").exists()


def draw(chance: random.Random, *, tuning: bool) -> Truth:
    """A random window of a random symbol of one of the two sides."""
    while True:
        symbol = chance.choice(TUNING if tuning else HELD_OUT) if available() else chance.choice(_SIMULATED[tuning])
        bars = [b for b in _bars(symbol) if (b.day <= _LAST_TUNING_DAY[available()]) is tuning]
        begin = chance.randrange(0, len(bars) - LENGTH)
        window = bars[begin : begin + LENGTH]
        if not any(b.day in _disputed(symbol) or b.day == _FLASH_CRASH for b in window):
            return _with_dividends(symbol, window, chance)


def _with_dividends(symbol: str, bars: list[Bar], chance: random.Random) -> Truth:
    share = chance.uniform(0.004, 0.012)
    days = range(chance.randrange(20, 60), len(bars) - 15, 63)
    paid: list[tuple[int, Dividend]] = []
    fallen: list[Bar] = []
    factor = 1.0
    for n, bar in enumerate(bars):
        if n in days:
            before = fallen[-1].close
            paid.append((n, Dividend(bar.day, round(share * before, 4))))
            factor *= 1.0 - paid[-1][1].amount / before
        fallen.append(_times(bar, factor))
    adjusted = 1.0
    exact: list[Bar] = []
    amounts = dict(paid)
    for n in range(len(fallen) - 1, -1, -1):
        exact.append(replace(fallen[n], adjusted_close=fallen[n].close * adjusted))
        if n in amounts:
            adjusted *= 1.0 - amounts[n].amount / fallen[n - 1].close
    return Truth(symbol, tuple(reversed(exact)), tuple(d for _, d in paid))


def _times(bar: Bar, factor: float) -> Bar:
    opened, high, low, close = (round(p * factor, 4) for p in (bar.open, bar.high, bar.low, bar.close))
    return Bar(bar.start, opened, max(high, opened, close), min(low, opened, close), close, bar.volume)


@cache
def _bars(symbol: str) -> tuple[Bar, ...]:
    if not available():
        return _simulated(symbol)
    found: dict[date, Bar] = {}
    for name in _FILES:
        with gzip.open(FOLDER / "daily" / f"{name}.csv.gz", "rt", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                if row["symbol"] == symbol and row["date"] >= "2005-03-01":
                    bar = _read(row)
                    found.setdefault(bar.day, bar)
    return tuple(found[day] for day in sorted(found))


def _read(row: dict[str, str]) -> Bar:
    start = datetime.combine(date.fromisoformat(row["date"]), time(0), UTC)
    opened, high, low, close, volume = (float(row[name]) for name in ("open", "high", "low", "close", "volume"))
    return Bar(start, opened, high, low, close, volume)


def _simulated(symbol: str) -> tuple[Bar, ...]:
    return SimulatedMarket(20).daily_bars(symbol, date(2010, 1, 4), date(2017, 12, 29))


@cache
def _disputed(symbol: str) -> frozenset[date]:
    path = FOLDER / "real_disagreements_gt2pct.csv"
    if not path.exists():
        return frozenset()
    with path.open(encoding="utf-8") as lines:
        return frozenset(date.fromisoformat(r["date"]) for r in csv.DictReader(lines) if r["symbol"] == symbol)
