"""Streams of claims with a hidden truth: the frozen live set, or the simulated market with modelled vendors."""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

SHARED: Final = Path(__file__).resolve().parents[2] / "shared" / "fusion_data"
LIVE: Final = SHARED / "live_nasdaq100.csv.gz"
WEATHER: Final = SHARED / "weather_claims.csv.gz"

SCENARIOS: Final[Mapping[str, tuple[str, ...]]] = {
    "free mix": ("rt_a", "rt_b", "cache60", "delay15", "delay15_nots", "prevclose"),
    "free mix with a consolidated tape": ("rt_sip", "rt_a", "cache60", "delay15", "delay15_b", "prevclose"),
    "real-time majority": ("rt_sip", "rt_a", "rt_b", "delay15", "prevclose"),
    "stale majority": ("rt_a", "cache60", "delay15", "delay15_b", "delay15_nots"),
    "liar": ("rt_a", "rt_b", "minute_bar", "flaky", "liar"),
    "one venue": ("rt_a", "venue_only", "delay15"),
    "flaky": ("rt_a", "rt_b", "flaky"),
    "all twelve": (
        "rt_sip", "rt_a", "rt_b", "venue_only", "cache60", "minute_bar", "delay15", "delay15_b", "delay15_nots",
        "prevclose", "flaky", "liar",
    ),
}  # fmt: skip
"""Which vendor classes answer; named after the scenarios of the protocol."""


@dataclass(frozen=True, slots=True)
class Query:
    """One instant at which everybody is asked for one price.

    Attributes:
        day: label of the trading day.
        at_s: seconds since its open.
        symbol: which instrument.
        truth: what was true.
        known_at_s: when an authority tells.
        said: vendor -> price and declared age in seconds (None: undated).
    """

    day: str
    at_s: float
    symbol: str
    truth: float
    known_at_s: float
    said: Mapping[str, tuple[float, float | None]]


def live() -> list[Query]:
    """The frozen live set, in order."""
    with gzip.open(LIVE, "rt") as file:
        return [_query(row) for row in csv.DictReader(file)]


def _query(row: Mapping[str, str]) -> Query:
    said = {}
    for column, text in row.items():
        if column.endswith("_px") and text and float(text) > 0:
            age = row[column.removesuffix("_px") + "_age"]
            said[column.removesuffix("_px")] = (float(text), float(age) if age else None)
    known_at = float(row["teacher_known_at_s"])
    return Query(row["day"], float(row["t_s"]), row["symbol"], float(row["truth"]), known_at, said)


def simulated(seed: int, days: int = 4, per_day: int = 200) -> Iterator[Query]:
    """The sandbox's market, seen by vendors of the same twelve classes."""
    from mdagent_mcp.sandbox.market import SimulatedMarket  # noqa: PLC0415 - only where there is no data

    market, rng = SimulatedMarket(seed), random.Random(seed)
    symbols = ("AAPL", "MSFT", "SPY", "IBM", "F")
    for number in range(days):
        opened = datetime(2026, 11, 16 + number, 14, 30, tzinfo=UTC)
        for at_s in sorted(rng.uniform(600, 22_800) for _ in range(per_day)):
            symbol, now = rng.choice(symbols), opened + timedelta(seconds=at_s)
            truth = market.price(symbol, now)
            yesterday = market.snapshot(symbol, opened - timedelta(hours=3)).price

            def seen(delay_s: float, symbol: str = symbol, now: datetime = now) -> float:
                return market.price(symbol, now - timedelta(seconds=delay_s))

            said = {name: _fault(*claim(seen, yesterday, rng), rng) for name, claim in _VENDORS.items()}
            yield Query(str(date(2026, 11, 16 + number)), at_s, symbol, truth, at_s + 900.0, said)


_Seen = Callable[[float], float]
_Claim = tuple[float, float | None]


def _dated(low: float, high: float) -> Callable[[_Seen, float, random.Random], _Claim]:
    def claim(seen: _Seen, _: float, rng: random.Random) -> _Claim:
        delay = rng.uniform(low, high)
        return seen(delay), delay

    return claim


def _undated(low: float, high: float) -> Callable[[_Seen, float, random.Random], _Claim]:
    return lambda seen, _, rng: (seen(rng.uniform(low, high)), None)


def _lying(seen: _Seen, _: float, rng: random.Random) -> _Claim:
    return seen(rng.uniform(600, 1500)), rng.uniform(0, 2)


_VENDORS: Final[Mapping[str, Callable[[_Seen, float, random.Random], _Claim]]] = {
    "rt_sip": _dated(0.1, 1.5),
    "rt_a": _dated(0.5, 3),
    "rt_b": _dated(1, 8),
    "venue_only": _dated(2, 60),
    "cache60": _undated(5, 65),
    "minute_bar": _dated(5, 65),
    "delay15": _dated(900, 905),
    "delay15_b": _dated(900, 960),
    "delay15_nots": _undated(900, 960),
    "prevclose": lambda _seen, yesterday, _rng: (yesterday, 86_400.0),
    "flaky": _dated(1, 30),
    "liar": _lying,
}


def _fault(price: float, age_s: float | None, rng: random.Random) -> _Claim:
    """One answer in a hundred is wrong: a unit, a slip of the decimal point, a bad tick."""
    if rng.random() < 0.01:
        price *= rng.choice((100.0, 0.01, 10.0, 1 + rng.choice((-1, 1)) * rng.uniform(0.02, 0.1)))
    return round(price, 4), age_s


def tolerance(price: float) -> float:
    """How far a price may lie from the truth and be right: one cent or five basis points."""
    return max(0.01, 5e-4 * price) + 1e-9


def is_right(price: float, query: Query) -> bool:
    """Whether a price is right for a query."""
    return abs(price - query.truth) <= tolerance(query.truth)


def is_gross(price: float, query: Query) -> bool:
    """Whether a price is off by more than one per cent."""
    return abs(math.log(price / query.truth)) > math.log(1.01)
