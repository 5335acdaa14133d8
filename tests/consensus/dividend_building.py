"""Made-up series with dividends for tests: an ordinary stock whose price falls by each, and its adjusted closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from consensus.series_building import daily, judge, question, scaled, series
from mdagent_mcp.consensus.history import HistoryJudgement
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend

EX_DAYS: Final = (40, 103, 166, 229)
"""Where the bars without each dividend begin."""
SHARE: Final = 0.02
"""Of the price, each dividend."""


def paying(share: float = SHARE, ex_days: Sequence[int] = EX_DAYS) -> tuple[list[Bar], tuple[Dividend, ...]]:
    """A year in which the price falls by each dividend, with adjusted closes that know them."""
    bars = daily()
    dividends = []
    for n in ex_days:
        bars = scaled(bars, range(n, len(bars)), 1.0 - share)
        dividends.append(Dividend(bars[n].day, bars[n - 1].close * share))
    return adjusted(bars, dict(zip(ex_days, (d.amount for d in dividends), strict=True))), tuple(dividends)


def adjusted(bars: Sequence[Bar], amounts: Mapping[int, float]) -> list[Bar]:
    """The bars with the adjusted closes of a vendor that knows these dividends, each by its first bar without it."""
    factor, result = 1.0, []
    for n in range(len(bars) - 1, -1, -1):
        result.append(replace(bars[n], adjusted_close=bars[n].close * factor))
        if n in amounts:
            factor *= 1.0 - amounts[n] / bars[n - 1].close
    return result[::-1]


def judge_adjusted(bars: Sequence[Bar], dividends: Sequence[Dividend], **changes: object) -> HistoryJudgement:
    """The judgement about one vendor's series, asked for prices adjusted for dividends."""
    stated = replace(series(bars, dividends=tuple(dividends)), **changes)  # type: ignore[arg-type]
    return judge(stated, asked=question(adjustment=Adjustment.ALL))


def changed_dividend(dividends: Sequence[Dividend], place: int, factor: float) -> tuple[Dividend, ...]:
    """The dividends with one of them multiplied."""
    return tuple(replace(d, amount=d.amount * factor) if n == place else d for n, d in enumerate(dividends))
