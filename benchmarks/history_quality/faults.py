"""The thirty kinds of histories: what each vendor states, and what an omniscient judge would grade it.

The label comes from the truth and from what was done to it, never from the rules that are measured: how many sessions
are missing, which cells are wrong and whether the payload itself holds the proof of what is right (then a repaired B),
whether an independent vendor tells the truth too. Letters follow the rubric for histories: completeness from 99.95 %
A, 97 % B, 93 % C, 85 % D; one missing session at the end C, up to five D; rows that cannot be D; a wrong basis,
unit or instrument that nothing proves F.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from history_quality.worlds import Truth
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, Split

LETTERS: Final = "ABCDF"
_COMPLETENESS: Final = ((0.995, "A"), (0.97, "B"), (0.93, "C"), (0.85, "D"), (0.0, "F"))


@dataclass(frozen=True)
class Stated:
    """What one vendor says.

    Attributes:
        bars: in the order of its reply.
        dividends: as it lists them.
        splits: as it lists them.
        null_rows: days it sends without prices.
    """

    bars: tuple[Bar, ...]
    dividends: tuple[Dividend, ...] = ()
    splits: tuple[Split, ...] = ()
    null_rows: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class Case:
    """One question with its answers and its label.

    Attributes:
        kind: of fault.
        stated: the vendors' words, the broken one first.
        adjustment: asked.
        label: the letter an omniscient judge gives.
        now: the instant of asking; None for the evening after the last session.
    """

    kind: str
    stated: tuple[Stated, ...]
    adjustment: Adjustment
    label: str
    now: datetime | None = None


Kind = Callable[[Truth, random.Random], Case]


def worst(*letters: str) -> str:
    """The weakest letter."""
    return max(letters, key=LETTERS.index)


def plain(truth: Truth, bars: Sequence[Bar] | None = None) -> Stated:
    """The truth, or other bars under its events."""
    return Stated(tuple(truth.bars if bars is None else bars), truth.dividends)


def witness(truth: Truth, chance: random.Random) -> Stated:
    """An independent vendor that tells the truth from another tape: closes within basis points, other volumes."""
    bars = []
    scope = chance.uniform(0.84, 0.98)
    for bar in truth.bars:
        close = bar.close * (1.0 + _noise(chance, 1.5))
        opened = bar.open * (1.0 + _noise(chance, 4.0))
        high, low = (p * (1.0 + _noise(chance, 2.0)) for p in (bar.high, bar.low))
        high, low = max(high, opened, close), min(low, opened, close)
        adjusted = None if bar.adjusted_close is None else bar.adjusted_close * close / bar.close
        bars.append(Bar(bar.start, opened, high, low, close, float(int((bar.volume or 0) * scope)), adjusted))
    return Stated(tuple(bars), truth.dividends)


def _noise(chance: random.Random, bp: float) -> float:
    return math.copysign(min(chance.expovariate(1.0 / bp), 12.0 * bp), chance.random() - 0.5) * 1e-4


def _case(kind: str, label: str, *stated: Stated, adjustment: Adjustment = Adjustment.SPLITS) -> Case:
    return Case(kind, stated, adjustment, label)


def _alone_or_not(kind: str, truth: Truth, chance: random.Random, broken: Stated, alone: str) -> Case:
    """Alone in two of three cases; else an independent vendor has it right and is served.

    The broken one confirms it where it tells the truth itself, which an A demands of 95 % of the bars.
    """
    if chance.random() < 2 / 3:
        return _case(kind, alone, broken)
    said = {b.start: b.close for b in broken.bars}
    right = sum(1 for b in truth.bars if abs(said.get(b.start, 0.0) / b.close - 1.0) < 0.02)
    return _case(kind, "A" if right >= 0.95 * len(truth.bars) else "B", broken, witness(truth, chance))


def _scaled(bar: Bar, prices: float, volume: float = 1.0) -> Bar:
    opened, high, low, close = (float(f"{p * prices:.8g}") for p in (bar.open, bar.high, bar.low, bar.close))
    adjusted = None if bar.adjusted_close is None else bar.adjusted_close * prices
    volumes = None if bar.volume is None else float(int(bar.volume * volume))
    return Bar(bar.start, opened, high, low, close, volumes, adjusted)


def clean_alone(truth: Truth, chance: random.Random) -> Case:  # noqa: ARG001 - all kinds take the same
    """One vendor that is right."""
    return _case("clean alone", "B", plain(truth))


def clean_confirmed(truth: Truth, chance: random.Random) -> Case:
    """Two independent vendors that are right."""
    return _case("clean confirmed", "A", plain(truth), witness(truth, chance))


def _missing(kind: str, share: float | None) -> Kind:
    def build(truth: Truth, chance: random.Random) -> Case:
        inside = range(1, len(truth.bars) - 1)
        lost = set(chance.sample(inside, 1 if share is None else round(share * len(truth.bars))))
        left = 1.0 - len(lost) / len(truth.bars)
        letter = next(each for floor, each in _COMPLETENESS if left >= floor)
        broken = plain(truth, [b for n, b in enumerate(truth.bars) if n not in lost])
        if chance.random() < 0.5:
            return _case(kind, worst("B", letter), broken)
        other = witness(truth, chance)
        same = replace(other, bars=tuple(b for n, b in enumerate(other.bars) if n not in lost))
        return _case(kind, letter, broken, same)

    return build


def hundredfold_cells(truth: Truth, chance: random.Random) -> Case:
    """One to six prices in the other unit, the bars around them sound: the series itself proves what they are."""
    bars = list(truth.bars)
    factor = chance.choice((100.0, 0.01))
    for n in chance.sample(range(5, len(bars) - 5, 6), chance.randrange(1, 7)):
        bars[n] = _other_unit(bars[n], factor, chance)
    return _alone_or_not("100x cells", truth, chance, plain(truth, bars), "B")


def _other_unit(bar: Bar, factor: float, chance: random.Random) -> Bar:
    """A whole bar, or a print that makes the close and the high or low in one."""
    if chance.random() < 0.6:
        return _scaled(bar, factor)
    wrong = bar.close * factor
    high, low = (wrong, bar.low) if factor > 1 else (bar.high, wrong)
    # The true extreme is lost with the wrong one unless it was the close or the open itself.
    true_extreme = max(bar.open, bar.close) if factor > 1 else min(bar.open, bar.close)
    if factor > 1 and bar.high > true_extreme * 1.005:
        return _scaled(bar, factor)
    if factor < 1 and bar.low < true_extreme * 0.995:
        return _scaled(bar, factor)
    adjusted = None if bar.adjusted_close is None else bar.adjusted_close * factor
    return Bar(bar.start, bar.open, high, low, wrong, bar.volume, adjusted)


def unit_block(truth: Truth, chance: random.Random) -> Case:
    """Weeks in the other unit and back: both sides prove it. A switch that is never undone leaves two halves."""
    factor = chance.choice((100.0, 0.01))
    if chance.random() < 0.5:
        begin = chance.randrange(30, 300)
        end, alone = begin + chance.randrange(8, 70), "B"
    else:
        begin, end, alone = (0, chance.randrange(100, 340), "F")
    bars = [_scaled(b, factor) if begin <= n < end else b for n, b in enumerate(truth.bars)]
    return _alone_or_not("unit block", truth, chance, plain(truth, bars), alone)


def split_missing(truth: Truth, chance: random.Random) -> Case:
    """Old prices on the old basis. A listed split proves it; unlisted, a few old bars are a D, more an F."""
    return _split("split missing", truth, chance, direction=1.0)


def split_twice(truth: Truth, chance: random.Random) -> Case:
    """Old prices divided twice."""
    return _split("split twice", truth, chance, direction=-1.0)


def _split(kind: str, truth: Truth, chance: random.Random, *, direction: float) -> Case:
    ratio = chance.choice((2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0))
    begin = chance.randrange(60, len(truth.bars) - 60)
    factor = ratio**direction
    volume = chance.choice((1.0, 1.0 / factor))
    bars = [_scaled(b, factor, volume) if n < begin else b for n, b in enumerate(truth.bars)]
    listed = chance.random() < 0.5
    broken = plain(truth, bars)
    if listed:
        broken = replace(broken, splits=(Split(truth.bars[begin].day, ratio),))
    return _alone_or_not(kind, truth, chance, broken, "B" if listed else "F")


def split_one_row(truth: Truth, chance: random.Random) -> Case:
    """A split applied to a single row: which factor it was the row alone does not prove."""
    bars = list(truth.bars)
    n = chance.randrange(20, len(bars) - 20)
    bars[n] = _scaled(bars[n], chance.choice((2.0, 3.0, 4.0, 5.0, 0.5, 1 / 3, 0.25, 0.2)))
    return _alone_or_not("split one row", truth, chance, plain(truth, bars), "D")


def adjustment_missing(truth: Truth, chance: random.Random) -> Case:
    """One dividend that the adjusted closes do not know: closes and dividends prove what they should be."""
    paid = chance.choice(truth.dividends)
    n = next(n for n, b in enumerate(truth.bars) if b.day == paid.day)
    share = paid.amount / truth.bars[n - 1].close
    bars = [
        replace(b, adjusted_close=(b.adjusted_close or b.close) / (1.0 - share)) if place < n else b
        for place, b in enumerate(truth.bars)
    ]
    return _case("adjustment missing", "B", plain(truth, bars), adjustment=Adjustment.ALL)


def dividend_hundredfold(truth: Truth, chance: random.Random) -> Case:
    """A dividend in the other unit, with or without the adjusted closes following it."""
    paid = chance.choice(truth.dividends)
    n = next(n for n, b in enumerate(truth.bars) if b.day == paid.day)
    before = truth.bars[n - 1].close
    wrong = Dividend(paid.day, paid.amount * 100.0)
    bars = truth.bars
    if wrong.amount < 0.95 * before and chance.random() < 0.5:
        ratio = (1.0 - wrong.amount / before) / (1.0 - paid.amount / before)
        bars = tuple(
            replace(b, adjusted_close=(b.adjusted_close or b.close) * ratio) if place < n else b
            for place, b in enumerate(truth.bars)
        )
    listed = tuple(wrong if d is paid else d for d in truth.dividends)
    return _case("dividend 100x", "B", Stated(bars, listed), adjustment=Adjustment.ALL)


def duplicate_row(truth: Truth, chance: random.Random) -> Case:
    """The last row twice with another volume, or one in the middle."""
    bars = list(truth.bars)
    n = chance.choice((len(bars) - 1, chance.randrange(10, len(bars) - 1)))
    bars.insert(n + 1, replace(bars[n], volume=float(int((bars[n].volume or 0) * 1.003) + 1)))
    return _alone_or_not("duplicate", truth, chance, plain(truth, bars), "D")


def disorder(truth: Truth, chance: random.Random) -> Case:
    """Two rows that changed places."""
    bars = list(truth.bars)
    n = chance.randrange(5, len(bars) - 8)
    m = n + chance.randrange(1, 6)
    bars[n], bars[m] = bars[m], bars[n]
    return _alone_or_not("disorder", truth, chance, plain(truth, bars), "D")


def stale_fill(truth: Truth, chance: random.Random) -> Case:
    """Three to nine bars that repeat the one before them, volumes included or invented."""
    bars = list(truth.bars)
    n = chance.randrange(20, len(bars) - 20)
    same = chance.random() < 0.5
    for m in range(n + 1, n + chance.randrange(3, 10)):
        bars[m] = replace(bars[n], start=bars[m].start, volume=bars[n].volume if same else bars[m].volume)
    return _alone_or_not("stale fill", truth, chance, plain(truth, bars), "D")


def partial_bar(truth: Truth, chance: random.Random) -> Case:
    """The running session's bar, not marked as such."""
    last = truth.bars[-1]
    session = calendar_named("XNYS").session_on(last.day)
    if session is None:
        raise ValueError(f"no session on {last.day}")
    done = chance.uniform(0.1, 0.9)
    close = last.open + (last.close - last.open) * done
    high, low = max(last.open, close), min(last.open, close)
    running = Bar(last.start, last.open, high, low, close, float(int((last.volume or 0) * done)), close)
    now = session.open + timedelta(hours=6) * done
    return Case("partial bar", (plain(truth, [*truth.bars[:-1], running]),), Adjustment.SPLITS, "C", now)


def low_tenth(truth: Truth, chance: random.Random) -> Case:
    """A low with its decimal point slipped by one digit: the bar and its neighbours prove what it was."""
    bars = list(truth.bars)
    n = chance.randrange(20, len(bars) - 20)
    bars[n] = replace(bars[n], low=bars[n].low / 10.0)
    return _alone_or_not("low / 10", truth, chance, plain(truth, bars), "B")


def high_spike(truth: Truth, chance: random.Random) -> Case:
    """A bad print in a high, by no factor that would tell the right one."""
    bars = list(truth.bars)
    n = chance.randrange(20, len(bars) - 20)
    bars[n] = replace(bars[n], high=bars[n].high * chance.uniform(1.3, 2.0))
    return _alone_or_not("high x 1.3-2", truth, chance, plain(truth, bars), "D")


def _missing_at_end(kind: str, count: int, letter: str) -> Kind:
    def build(truth: Truth, chance: random.Random) -> Case:
        broken = plain(truth, truth.bars[:-count])
        if chance.random() < 0.5:
            return _case(kind, worst(letter, "B"), broken)
        other = witness(truth, chance)
        return _case(kind, letter, broken, replace(other, bars=other.bars[:-count]))

    return build


def weekend_row(truth: Truth, chance: random.Random) -> Case:
    """A row dated on a Saturday."""
    bars = list(truth.bars)
    n = next(n for n in range(chance.randrange(20, len(bars) - 20), len(bars)) if bars[n].day.weekday() == 4)
    bars.insert(n + 1, replace(bars[n], start=bars[n].start + timedelta(days=1)))
    return _alone_or_not("weekend row", truth, chance, plain(truth, bars), "D")


def zero_volume(truth: Truth, chance: random.Random) -> Case:
    """A bar that moved though nobody traded."""
    bars = list(truth.bars)
    for n in chance.sample(range(5, len(bars) - 5), chance.randrange(1, 4)):
        bars[n] = replace(bars[n], volume=0.0)
    return _alone_or_not("zero volume", truth, chance, plain(truth, bars), "C")


def null_row(truth: Truth, chance: random.Random) -> Case:
    """A completed session sent without prices."""
    n = chance.randrange(5, len(truth.bars) - 1)
    broken = replace(plain(truth, [b for b in truth.bars if b is not truth.bars[n]]), null_rows=(truth.bars[n].start,))
    return _alone_or_not("null row", truth, chance, broken, "D")


def _with_majority(kind: str, truth: Truth, chance: random.Random, wrong: Sequence[Bar]) -> Case:
    """Against one voice nobody can tell who is right; against two the wrong one is outvoted."""
    broken = plain(truth, wrong)
    if chance.random() < 0.5:
        return _case(kind, "F", broken, witness(truth, chance))
    return _case(kind, "A", broken, witness(truth, chance), witness(truth, chance))


def wrong_instrument(truth: Truth, chance: random.Random) -> Case:
    """Another company's bars under this name."""
    return _with_majority("wrong instrument", truth, chance, _stranger(truth, chance))


def splice(truth: Truth, chance: random.Random) -> Case:
    """From a day on the bars of another company, at about the same price."""
    stranger = _stranger(truth, chance)
    n = chance.randrange(100, len(truth.bars) - 100)
    level = truth.bars[n].close / stranger[n].close
    joined = [*truth.bars[:n], *(_scaled(b, level) for b in stranger[n:])]
    return _with_majority("splice", truth, chance, joined)


def day_shift(truth: Truth, chance: random.Random) -> Case:
    """Every bar under the date of the session before it or after it."""
    starts = [b.start for b in truth.bars]
    bars = truth.bars
    if chance.random() < 0.5:
        shifted = [replace(b, start=s) for b, s in zip(bars[1:], starts, strict=False)] + [bars[-1]]
    else:
        shifted = [bars[0]] + [replace(b, start=s) for b, s in zip(bars, starts[1:], strict=False)]
    return _with_majority("one-day shift", truth, chance, shifted)


def crash(truth: Truth, chance: random.Random) -> Case:
    """A genuine fall by 15 to 60 % in a day, with a wide range and heavy volume: true, and alone not confirmed."""
    n = chance.randrange(60, len(truth.bars) - 60)
    size = chance.uniform(0.4, 0.85)
    bars = [_scaled(b, size) if place >= n else b for place, b in enumerate(truth.bars)]
    before = truth.bars[n - 1].close
    opened = before * (1.0 - (1.0 - size) * chance.uniform(0.2, 0.7))
    day = bars[n]
    high, low = max(opened, day.close) * 1.01, min(opened, day.close) * chance.uniform(0.94, 0.99)
    volume = (day.volume or 1e6) * chance.uniform(6.0, 14.0)
    bars[n] = Bar(day.start, opened, high, low, day.close, volume, day.adjusted_close)
    fallen = replace(truth, bars=tuple(bars))
    if chance.random() < 0.5:
        return _case("genuine crash", "C", plain(fallen))
    return _case("genuine crash", "A", plain(fallen), witness(fallen, chance))


def _stranger(truth: Truth, chance: random.Random) -> list[Bar]:
    """Another company: its own moves at another price, on the same days."""
    price, bars = truth.bars[0].close * chance.uniform(0.6, 1.6), []
    for bar in truth.bars:
        opened = price * math.exp(chance.gauss(0.0, 0.006))
        price = opened * math.exp(chance.gauss(0.0, 0.012))
        high = max(opened, price) * (1.0 + abs(chance.gauss(0.0, 0.004)))
        low = min(opened, price) * (1.0 - abs(chance.gauss(0.0, 0.004)))
        volume = float(int((bar.volume or 1e6) * chance.uniform(0.5, 1.5)))
        opened, high, low, close = (round(p, 4) for p in (opened, high, low, price))
        bars.append(Bar(bar.start, opened, high, low, close, volume, close))
    return bars


TUNED: Final[tuple[Kind, ...]] = (
    clean_alone,
    clean_confirmed,
    _missing("1 bar missing", None),
    _missing("2 % missing", 0.02),
    _missing("5 % missing", 0.05),
    _missing("10 % missing", 0.10),
    _missing("25 % missing", 0.25),
    hundredfold_cells,
    unit_block,
    split_missing,
    split_twice,
    split_one_row,
    adjustment_missing,
    dividend_hundredfold,
    duplicate_row,
    disorder,
    stale_fill,
    partial_bar,
    low_tenth,
    high_spike,
    _missing_at_end("last session missing", 1, "C"),
    _missing_at_end("last 4 sessions missing", 4, "D"),
    _missing_at_end("last 10 sessions missing", 10, "F"),
    weekend_row,
    zero_volume,
    null_row,
)
"""Kinds that rules and thresholds were looked at with."""

HELD_OUT_KINDS: Final[tuple[Kind, ...]] = (wrong_instrument, splice, day_shift, crash)
"""Kinds that they were not."""


def last_day(truth: Truth) -> date:
    """The last trading date of a truth."""
    return truth.bars[-1].day


def evening_after(day: date) -> datetime:
    """An instant after the session of a day is settled and before the next one opens."""
    return datetime.combine(day, time(0), UTC) + timedelta(days=1, hours=3)
