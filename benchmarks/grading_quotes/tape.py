"""The hidden truth of a simulated afternoon: what the last trade was at every second, and the book around it.

Volatility, spread and level come from the calibration figures and daily closes beside the repository when they are
there, else from the invented figures below. Nothing of those files is kept here.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

SHARED: Final = Path(__file__).resolve().parents[3] / "shared" / "market_data"
TICK: Final = 0.01
_NEW_YORK: Final = ZoneInfo("America/New_York")
_DEGREES_OF_FREEDOM: Final = 5.0
"""Of the returns: fat tails like the measured excess kurtosis of 1.3 to 14.7."""


@dataclass(frozen=True, slots=True)
class Character:
    """How a symbol behaves.

    Attributes:
        sigma: standard deviation of the log price over one second.
        spread: relative bid-ask spread.
        trades_per_s: mean rate of trades.
    """

    sigma: float
    spread: float
    trades_per_s: float


_INVENTED: Final[Mapping[str, tuple[Character, float]]] = {
    "SPY": (Character(0.4e-4, 0.5e-4, 12.0), 200.0),
    "AIG": (Character(0.8e-4, 2.0e-4, 1.5), 50.0),
    "GOOG": (Character(0.7e-4, 4.0e-4, 1.5), 800.0),
    "F": (Character(0.9e-4, 7.0e-4, 4.0), 15.0),
    "BAC": (Character(1.0e-4, 8.0e-4, 4.0), 12.0),
    "IBM": (Character(0.6e-4, 2.0e-4, 1.0), 150.0),
    "AAPL": (Character(0.7e-4, 1.0e-4, 8.0), 400.0),
    "FOXA": (Character(1.2e-4, 3.0e-4, 1.5), 30.0),
}
"""Character and price level where nothing measured is at hand; the rates of trades always."""


def source_of_truth() -> str:
    """Where the calibration comes from, for the report."""
    return "calibration and daily closes of the shared market data" if _calibration() else "built-in constants"


@cache
def _calibration() -> Mapping[str, Mapping[str, object]]:
    path = SHARED / "intraday_calibration.json"
    if not path.is_file():
        return {}
    minute: Mapping[str, Mapping[str, object]] = json.loads(path.read_text(encoding="utf-8"))["minute"]
    return {name.upper(): row for name, row in minute.items()}


@cache
def _closes(symbol: str) -> Mapping[date, float]:
    """Raw daily closes, of the first file that has the symbol."""
    for name in ("yahoo_2010s", "yahoo_bokeh", "quandl_wiki", "yahoo_zipline"):
        path = SHARED / "daily" / f"{name}.csv.gz"
        if not path.is_file():
            continue
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["symbol"] == symbol]
        if rows:
            return {date.fromisoformat(row["date"]): float(row["close"]) for row in rows}
    return {}


def character_of(symbol: str) -> Character:
    """Measured where the calibration has the symbol."""
    row = _calibration().get(symbol)
    if row is None:
        return _INVENTED[symbol][0]
    spread = row["spread_bps_p05_50_95"]
    minute_sd = row["vol1m_sd_bps"]
    if not isinstance(spread, list) or not isinstance(minute_sd, float):
        raise TypeError("the calibration file is not as expected")
    return Character(minute_sd * 1e-4 / math.sqrt(60), spread[1] * 1e-4, _INVENTED[symbol][0].trades_per_s)


def levels_of(symbol: str, day: date) -> tuple[float, float]:
    """Previous close and first price of a day: real closes where there are any, else invented around the level."""
    closes = _closes(symbol)
    before = max((d for d in closes if d < day and (day - d).days < 7), default=None)
    if before is not None:
        return closes[before], closes.get(day, closes[before])
    level = _INVENTED[symbol][1] if symbol not in _calibration() else float(str(_calibration()[symbol]["px"]))
    rng = random.Random(f"level {symbol} {day}")
    close = round(level * math.exp(rng.gauss(0, 0.02)), 2)
    return close, round(close * math.exp(rng.gauss(0, 0.008)), 2)


@dataclass(frozen=True, slots=True)
class State:
    """What was true at one second.

    Attributes:
        price: of the last trade.
        traded_at: seconds since the tape's start when it was made.
        bid: best bid.
        ask: best ask.
    """

    price: float
    traded_at: float
    bid: float
    ask: float


class Tape:
    """The truth of one symbol during some hours of one day.

    Args:
        symbol: one of the calibrated ones.
        day: trading date.
        seed: of everything that is drawn.
        length_s: seconds of tape.
        hour: local hour at which it starts.
    """

    def __init__(self, symbol: str, day: date, seed: str, *, length_s: int = 7200, hour: int = 11) -> None:
        self.symbol = symbol
        self.day = day
        self.character = character_of(symbol)
        self.length_s = length_s
        self.start = datetime.combine(day, time(hour), _NEW_YORK).astimezone(UTC)
        self.previous_close, opened = levels_of(symbol, day)
        self.open = opened
        self._states = tuple(self._run(random.Random(f"tape {symbol} {day} {seed}"), opened, length_s))
        prices = [state.price for state in self._states]
        room = 40 * self.character.sigma * math.sqrt(600)
        self.low = round(min(*prices, opened) * (1 - room), 2)
        self.high = round(max(*prices, opened) * (1 + room), 2)

    def at(self, second: float) -> State:
        """What was true `second` seconds after the start."""
        return self._states[min(max(0, int(second)), len(self._states) - 1)]

    def instant(self, second: float) -> datetime:
        """The instant `second` seconds after the start."""
        return self.start + timedelta(seconds=second)

    def _run(self, rng: random.Random, opened: float, length_s: int) -> list[State]:
        log_mid, traded_at = math.log(opened), 0.0
        bid, ask = self._book(opened)
        price, states = opened, []
        scale = self.character.sigma * math.sqrt((_DEGREES_OF_FREEDOM - 2) / _DEGREES_OF_FREEDOM)
        quiet = math.exp(-self.character.trades_per_s)
        for second in range(length_s):
            chi = rng.gammavariate(_DEGREES_OF_FREEDOM / 2, 2 / _DEGREES_OF_FREEDOM)
            log_mid += scale * rng.gauss(0, 1) / math.sqrt(chi)
            bid, ask = self._book(math.exp(log_mid))
            if rng.random() >= quiet:
                price = bid if rng.random() < 0.5 else ask
                traded_at = second + rng.random() ** 0.5
            states.append(State(price, traded_at, bid, ask))
        return states

    def _book(self, mid: float) -> tuple[float, float]:
        wide = max(1, round(mid * self.character.spread / TICK))
        low = round(math.floor((mid - wide * TICK / 2) / TICK + 0.5) * TICK, 2)
        return low, round(low + wide * TICK, 2)
