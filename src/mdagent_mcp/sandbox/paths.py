"""How a price moves within one session: a path through known open, high, low and close.

The day's four prices are decided first (see `market`), so that ten years of daily bars cost no intraday work. The path
then goes from the open over both extremes to the close: a Brownian bridge between these points, with the usual
U-shape of volatility, reflected at the high and the low. Between two knots a print never leaves the range of its
neighbours, so the high so far is a running maximum over knots.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, log, sqrt
from typing import Final

from mdagent_mcp.sandbox.noise import Noise, normal_of, uniform_of

_VOLATILITY_SHAPE: Final = (1.9, 1.4, 1.1, 1.0, 0.9, 0.85, 0.8, 0.8, 0.8, 0.85, 0.85, 0.9, 1.0)
"""Half-hour standard deviations relative to the day's mean, typical of measured US shares."""
_VOLUME_SHAPE: Final = (0.13, 0.09, 0.08, 0.07, 0.07, 0.055, 0.045, 0.05, 0.046, 0.055, 0.05, 0.07, 0.18)
"""Shares of a day's volume by half-hour."""
_VOLUME_SO_FAR: Final = tuple(share / sum(_VOLUME_SHAPE) for share in accumulate(_VOLUME_SHAPE, initial=0.0))


@dataclass(frozen=True, slots=True)
class Frame:
    """The four prices of a session as traded, before any intraday detail.

    Attributes:
        open: first price.
        high: highest.
        low: lowest.
        close: official closing price.
    """

    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class Extremes:
    """High and low of a stretch of time."""

    high: float
    low: float


class Segment:
    """The prices of one unbroken stretch of trading.

    Args:
        knots: prices at equal distances from the first to the last instant.
        knot_s: seconds between two knots.
        print_s: seconds between two prints; divides `knot_s`, at most 64 prints between two knots.
        wiggle: standard deviation of a print around the line between its knots, in price units.
        noise: for the prints, with the name of this stretch.
    """

    def __init__(
        self, knots: Sequence[float], knot_s: int, print_s: int, *, wiggle: float, noise: tuple[Noise, str]
    ) -> None:
        self._knots = knots
        self._knot_s = knot_s
        self._print_s = print_s
        self._wiggle = wiggle
        self._noise, self._name = noise
        self._highs = tuple(accumulate(knots, max))
        self._lows = tuple(accumulate(knots, min))

    @property
    def length_s(self) -> int:
        """Seconds from the first to the last instant."""
        return (len(self._knots) - 1) * self._knot_s

    def print_time(self, offset_s: float) -> int:
        """Seconds from the start to the newest print at `offset_s`."""
        last = self.length_s - self._print_s
        return max(0, min(int(offset_s) // self._print_s * self._print_s, last))

    def price(self, offset_s: float) -> float:
        """The newest print at `offset_s` seconds, not rounded to the tick."""
        at = self.print_time(offset_s)
        return self._prints(at, at + 1)[0]

    def extremes_until(self, offset_s: float) -> Extremes:
        """High and low of all prints up to `offset_s`."""
        at = self.print_time(offset_s)
        index = at // self._knot_s
        recent = self._prints(index * self._knot_s, at + 1)
        return Extremes(max(self._highs[index], *recent), min(self._lows[index], *recent))

    def bar(self, start_s: int, length_s: int) -> Frame:
        """Open, high, low and close of the prints in `length_s` seconds from `start_s`, a multiple of the knots'."""
        end_s = max(start_s + 1, min(start_s + length_s, self.length_s))
        newest = (end_s - 1) // self._knot_s * self._knot_s
        passed = self._knots[start_s // self._knot_s : newest // self._knot_s + 1]
        recent = self._prints(newest, end_s)  # earlier prints lie within the range of the knots that were passed
        return Frame(passed[0], max(*passed, *recent), min(*passed, *recent), recent[-1])

    def _prints(self, start_s: int, end_s: int) -> list[float]:
        """All prints from `start_s` (the time of one) until before `end_s`."""
        prints: list[float] = []
        for index in range(start_s // self._knot_s, (end_s - 1) // self._knot_s + 1):
            begin = index * self._knot_s
            low = max(start_s - begin, 0)
            prints += self._between(index, range(low, min(end_s - begin, self._knot_s), self._print_s))
        return prints

    def _between(self, index: int, offsets: range) -> Iterator[float]:
        before, after = self._knots[index], self._knots[index + 1]
        low, high = min(before, after), max(before, after)
        octets = self._noise.octets(64, self._name, index)
        for rest in offsets:
            share = rest / self._knot_s
            wiggle = (octets[rest // self._print_s] / 127.5 - 1) * self._wiggle * sqrt(share * (1 - share))
            yield min(max(before + (after - before) * share + wiggle, low), high)


def day_frame(before: float, close: float, sd: float, *, gap: bool, drawn: bytes) -> Frame:
    """A session's four prices relative to the base level, not rounded.

    Args:
        before: logarithm of the close before.
        close: logarithm of this session's close.
        sd: standard deviation of the session's return.
        gap: whether the session opens away from the close before.
        drawn: sixteen random bytes of the day.
    """
    opened = before + (0.35 * (close - before) + 0.3 * sd * normal_of(drawn[:8]) if gap else 0.0)
    reach = (opened - close) ** 2
    # the exact law of a Brownian bridge's maximum, drawn once upwards and once downwards
    up = sqrt(reach - 2 * sd * sd * log(1 - 0.999 * uniform_of(drawn[8:12]))) / 2
    down = sqrt(reach - 2 * sd * sd * log(1 - 0.999 * uniform_of(drawn[12:]))) / 2
    middle = (opened + close) / 2
    return Frame(exp(opened), exp(middle + up), exp(middle - down), exp(close))


def session_knots(frame: Frame, count: int, sd: float, *, round_the_clock: bool, rng: random.Random) -> list[float]:
    """The prices at `count` + 1 knots from the open over high and low to the close.

    Args:
        frame: the session's four prices.
        count: number of intervals.
        sd: standard deviation of one interval's move, averaged over the day, in price units.
        round_the_clock: whether volatility is even over the day.
        rng: a generator of this day's own.
    """
    first = int(count * (0.05 + 0.9 * rng.random()))
    second = int(count * (0.05 + 0.9 * rng.random()))
    if abs(first - second) < count // 12:
        second = (first + count // 3) % (count - 2) + 1
    turns = [(first, frame.high), (second, frame.low)]
    turns.sort()
    shape = (1.0,) if round_the_clock else _VOLATILITY_SHAPE
    sds = [sd * shape[k * len(shape) // count] for k in range(count)]
    knots = [frame.open]
    begin = 0
    for end, target in (*turns, (count, frame.close)):
        knots += bridge(knots[-1], target, sds[begin:end], (frame.low, frame.high), rng)
        begin = end
    return knots


def bridge(
    start: float, end: float, sds: Sequence[float], bounds: tuple[float, float], rng: random.Random
) -> list[float]:
    """A Brownian bridge from `start` (left out) to `end`, reflected at the bounds."""
    walked = list(accumulate(rng.gauss(0.0, sd) for sd in sds))
    passed = list(accumulate(sd * sd for sd in sds))
    drift = (end - start - walked[-1]) / passed[-1]
    low, high = bounds
    path = []
    for step, variance in zip(walked, passed, strict=True):
        price = start + step + drift * variance
        if price > high:
            price = 2 * high - price
        elif price < low:
            price = 2 * low - price
        path.append(min(max(price, low), high))
    path[-1] = end
    return path


def volume_share(elapsed: float, *, round_the_clock: bool) -> float:
    """The share of a session's volume done after the fraction `elapsed` of its time."""
    if round_the_clock:
        return min(max(elapsed, 0.0), 1.0)
    position = min(max(elapsed, 0.0), 1.0) * len(_VOLUME_SHAPE)
    index = min(int(position), len(_VOLUME_SHAPE) - 1)
    before, after = _VOLUME_SO_FAR[index], _VOLUME_SO_FAR[index + 1]
    return before + (after - before) * (position - index)
