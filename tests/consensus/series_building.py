"""Made-up series for tests of the history judgement: an ordinary stock of New York, and ways to spoil it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from mdagent_mcp.consensus.history import HistoryContext, HistoryJudgement, judge_history
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.quality import Finding, Verdict
from mdagent_mcp.domain.questions import HistoryQuestion

FIRST, LAST = date(2025, 1, 2), date(2025, 12, 31)
NOW = datetime(2026, 1, 2, 2, 0, tzinfo=UTC)
"""Two days after the last session of 2025, before the first one of 2026 opens."""


def midnight(day: date) -> datetime:
    """The start of a daily bar."""
    return datetime.combine(day, time(0), UTC)


def trading_days(first: date = FIRST, last: date = LAST, calendar: str = "XNYS") -> list[date]:
    """The trading dates of a range."""
    return [s.day for s in calendar_named(calendar).sessions_between(first, last)]


def walk(starts: Sequence[datetime], *, seed: int = 7, step: float = 0.012, price: float = 120.0) -> list[Bar]:
    """An ordinary random walk, in cents, with ranges and volumes that vary within usual bounds."""
    chance = random.Random(seed)
    bars = []
    for start in starts:
        opened = price * math.exp(chance.uniform(-step, step) / 3)
        price = opened * math.exp(chance.uniform(-step, step))
        high = max(opened, price) * (1 + chance.uniform(0.001, step / 2))
        low = min(opened, price) * (1 - chance.uniform(0.001, step / 2))
        volume = float(chance.randrange(900_000, 1_400_000))
        bars.append(Bar(start, round(opened, 2), round(high, 2), round(low, 2), round(price, 2), volume))
    return bars


def daily(**options: float) -> list[Bar]:
    """A year of daily bars."""
    return walk([midnight(d) for d in trading_days()], **options)  # type: ignore[arg-type]


def question(
    interval: Interval = Interval.DAY_1,
    first: date = FIRST,
    last: date = LAST,
    *,
    symbol: str = "ACME",
    adjustment: Adjustment = Adjustment.SPLITS,
    extended_hours: bool = False,
) -> HistoryQuestion:
    """What is asked."""
    return HistoryQuestion(parse_symbol(symbol), interval, first, last, adjustment, extended_hours)


def series(bars: Sequence[Bar], source: str = "alpha", **changes: object) -> History:
    """One source's word."""
    stated = History(
        symbol="ACME",
        source=source,
        interval=Interval.DAY_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=NOW,
        bars=tuple(bars),
        currency="USD",
    )
    return replace(stated, **changes)  # type: ignore[arg-type]


def context(now: datetime = NOW, **groups: str) -> HistoryContext:
    """The context of judging; sources not named are their own groups."""
    return HistoryContext(now=now, groups=groups)


def judge(
    *stated: History,
    asked: HistoryQuestion | None = None,
    within: HistoryContext | None = None,
    failures: Mapping[str, str] | None = None,
) -> HistoryJudgement:
    """The judgement about series of which at least one is usable."""
    judgement = judge_history(asked or question(), stated, failures or {}, within or context())
    assert judgement is not None
    return judgement


def finding(judgement: HistoryJudgement, rule: str) -> Finding:
    """What one check found."""
    (found,) = [f for f in judgement.assessment.findings if f.rule == rule]
    return found


def failed_rules(judgement: HistoryJudgement) -> set[str]:
    """The rules that failed and cost something."""
    return {
        f.rule
        for f in judgement.assessment.findings
        if f.verdict is Verdict.FAILED and f.cap is not None and f.cap < 100
    }


def changed(bars: Sequence[Bar], index: int, **prices: float | None) -> list[Bar]:
    """The bars with some prices of one of them replaced."""
    result = list(bars)
    result[index] = replace(result[index], **prices)  # type: ignore[arg-type]
    return result


def scaled(bars: Sequence[Bar], places: Sequence[int] | range, factor: float, *, volume: float = 1.0) -> list[Bar]:
    """The bars with all prices of some of them multiplied."""
    chosen = set(places)
    return [_times(b, factor, volume) if n in chosen else b for n, b in enumerate(bars)]


def noisy(bars: Sequence[Bar], *, seed: int = 3, basis_points: float = 3.0) -> list[Bar]:
    """What another vendor with its own data would state: the same prices but for some basis points, other volumes."""
    chance = random.Random(seed)
    result = []
    for bar in bars:
        factor = 1 + chance.uniform(-basis_points, basis_points) / 1e4
        result.append(_times(bar, factor, 0.9))
    return result


def minutes(day: date, keep: Callable[[int], bool] = lambda _: True, *, length: int = 1) -> list[Bar]:
    """The short bars of one regular New York session, those kept."""
    session = calendar_named("XNYS").session_on(day)
    assert session is not None
    count = int((session.close - session.open) / timedelta(minutes=length))
    starts = [session.open + timedelta(minutes=length * n) for n in range(count)]
    return [b for n, b in enumerate(walk(starts, step=0.0006)) if keep(n)]


def _times(bar: Bar, factor: float, volume: float) -> Bar:
    return Bar(
        bar.start,
        bar.open * factor,
        bar.high * factor,
        bar.low * factor,
        bar.close * factor,
        None if bar.volume is None else bar.volume * volume,
    )
