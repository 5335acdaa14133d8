"""Part (c): how long judging takes, as a multiple of a floor that depends on the machine alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from history_quality.faults import Stated, evening_after, witness
from history_quality.worlds import Truth
from mdagent_mcp.consensus.history import HistoryContext, judge_history
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval
from mdagent_mcp.domain.questions import HistoryQuestion

BARS = 5000
ROUNDS = 15


@dataclass(frozen=True)
class Timing:
    """The best of some rounds, in milliseconds of processor time.

    Attributes:
        what: was measured.
        milliseconds: it took.
        floor: milliseconds to touch every price of the same series once.
    """

    what: str
    milliseconds: float
    floor: float


def measure_times() -> list[Timing]:
    """One source, three sources, and one with dividends and adjusted closes."""
    truth = long_truth()
    chance = random.Random(3)
    alone = [Stated(truth.bars)]
    three = [*alone, witness(truth, chance), witness(truth, chance)]
    paid = [Stated(truth.bars, truth.dividends)]
    return [
        _timed("one source", alone, Adjustment.SPLITS),
        _timed("three sources compared", three, Adjustment.SPLITS),
        _timed("one source with 80 dividends, adjusted for them", paid, Adjustment.ALL),
    ]


def long_truth() -> Truth:
    """A random walk of 5,000 sessions with a dividend each quarter."""
    chance = random.Random(11)
    days = [s.day for s in calendar_named("XNYS").sessions_between(date(2004, 1, 2), date(2025, 12, 31))][-BARS:]
    price, bars = 60.0, []
    dividends = []
    for n, day in enumerate(days):
        if n % 62 == 40:
            dividends.append(Dividend(day, round(price * 0.006, 4)))
            price -= dividends[-1].amount
        opened = price * (1.0 + chance.gauss(0.0, 0.004))
        price = opened * (1.0 + chance.gauss(0.0003, 0.009))
        high = max(opened, price) * (1.0 + abs(chance.gauss(0.0, 0.003)))
        low = min(opened, price) * (1.0 - abs(chance.gauss(0.0, 0.003)))
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        bars.append(Bar(start, opened, high, low, price, float(chance.randrange(900_000, 1_500_000))))
    return Truth("walk", tuple(_adjusted(bars, dividends)), tuple(dividends))


def _adjusted(bars: list[Bar], dividends: list[Dividend]) -> list[Bar]:
    amounts = {d.day: d.amount for d in dividends}
    factor, result = 1.0, []
    for n in range(len(bars) - 1, -1, -1):
        bar = bars[n]
        result.append(Bar(bar.start, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.close * factor))
        if bar.day in amounts:
            factor *= 1.0 - amounts[bar.day] / bars[n - 1].close
    return result[::-1]


def _timed(what: str, stated: list[Stated], adjustment: Adjustment) -> Timing:
    bars = stated[0].bars
    now = evening_after(bars[-1].day)
    instrument = parse_symbol("ACME")
    asked = HistoryQuestion(instrument, Interval.DAY_1, bars[0].day, bars[-1].day, adjustment, extended_hours=False)
    histories = [
        History(
            symbol="ACME",
            source=f"source{n}",
            interval=Interval.DAY_1,
            adjustment=Adjustment.SPLITS,
            timezone="America/New_York",
            received_at=now,
            bars=each.bars,
            currency="USD",
            dividends=each.dividends,
        )
        for n, each in enumerate(stated)
    ]
    took = _best(lambda: judge_history(asked, histories, {}, HistoryContext(now=now)))
    floor = _best(lambda: sum(b.open + b.high + b.low + b.close for each in stated for b in each.bars))
    return Timing(what, took, floor)


def _best(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times) * 1e3
