"""Conservative repair of a served series: a value is replaced only where the evidence leaves no choice.

Two kinds of evidence count. The series itself: a price that is an exact power of ten away from bars on both sides
and fits its own bar once scaled. Other sources: a price that a check of the series found impossible and an
independent source of the same basis states plausibly, or one that two independent groups contradict with one voice.
Missing bars are listed, never filled in, and nothing is interpolated. Every change is in the answer with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from mdagent_mcp.consensus.history_checks import Subject
from mdagent_mcp.consensus.history_comparison import HistoryThresholds
from mdagent_mcp.consensus.history_levels import Cell
from mdagent_mcp.consensus.history_plausibility import confirms_cell, find_wicks
from mdagent_mcp.consensus.history_series import PRICE_FIELDS, Series, prices_of
from mdagent_mcp.domain.answers import Repair
from mdagent_mcp.domain.prices import Adjustment, Bar

REPAIRED_CAP: Final = 85.0
"""The most a dimension is worth in which something was repaired."""
_NEAR: Final = 0.3
"""How far a scaled price may lie from the bars around it, relative."""
_MOST: Final = 0.05
"""Share of the bars that may be repaired; a series with more wrong is refused rather than rebuilt."""


def repair_series(subject: Subject, limits: HistoryThresholds) -> tuple[Series, tuple[Repair, ...]]:
    """The series with what could be repaired, and what was changed.

    Only bars that independent sources or the series itself decide are touched; with more than 5 % of the bars
    concerned (one at least is allowed) nothing is.
    """
    series = subject.series
    repairs = [*_unit_repairs(subject), *_wick_repairs(subject, limits)]
    done = {(r.time, r.field) for r in repairs}
    repairs += [r for r in _majority_repairs(subject, limits) if (r.time, r.field) not in done]
    changed = {r.time for r in repairs}
    if not repairs or len(changed) > max(1.0, _MOST * len(series.bars)):
        return series, ()
    ordered = tuple(sorted(repairs, key=lambda r: (r.time, PRICE_FIELDS.index(r.field))))
    bars = list(series.bars)
    for repair in ordered:
        n = series.index[repair.time]
        bars[n] = _with_price(bars[n], repair.field, repair.after)
    return replace(series, bars=tuple(bars)), ordered


def _unit_repairs(subject: Subject) -> list[Repair]:
    series, cells = subject.series, subject.levels.cells
    by_bar: dict[int, list[Cell]] = {}
    for cell in cells:
        if not confirms_cell(subject, cell.index, cell.name):
            by_bar.setdefault(cell.index, []).append(cell)
    repairs: list[Repair] = []
    for index, found in sorted(by_bar.items()):
        scaled = series.bars[index]
        for cell in found:
            scaled = _with_price(scaled, cell.name, _scaled(prices_of(scaled)[cell.name], cell.exponent))
        if _fits(series, index, scaled, set(by_bar)):
            repairs += [_unit_repair(series, cell, prices_of(scaled)[cell.name]) for cell in found]
    return repairs


def _unit_repair(series: Series, cell: Cell, after: float) -> Repair:
    before = prices_of(series.bars[cell.index])[cell.name]
    factor = f"{10**cell.exponent} times" if cell.exponent > 0 else f"1/{10**-cell.exponent} of"
    why = f"{factor} the bars on both sides ({cell.level:g}); scaled it fits its bar"
    return Repair("unit_error", series.keys[cell.index], cell.name, before, after, why)


def _fits(series: Series, index: int, scaled: Bar, wrong: set[int]) -> bool:
    """Whether the scaled bar keeps the price rule and lies near sound bars on both sides, which are near each other."""
    if not _keeps_price_rule(scaled):
        return False
    before = next((series.closes[n] for n in range(index - 1, -1, -1) if n not in wrong), None)
    after = next((series.closes[n] for n in range(index + 1, len(series.bars)) if n not in wrong), None)
    if before is None or after is None or abs(after / before - 1.0) > _NEAR:
        return False
    return all(abs(price / before - 1.0) <= _NEAR for price in prices_of(scaled).values())


def _wick_repairs(subject: Subject, limits: HistoryThresholds) -> list[Repair]:
    """A wick that nobody confirms, where an independent source shows the bar without it."""
    series = subject.series
    units = {(c.index, c.name) for c in subject.levels.cells}
    repairs = []
    for index, name, size in find_wicks(series):
        if (index, name) in units or confirms_cell(subject, index, name):
            continue
        bar, key = series.bars[index], series.keys[index]
        for other in _same_basis(subject):
            n = other.index.get(key)
            if n is None or not _encloses(other.bars[n], bar, name, limits):
                continue
            after = prices_of(other.bars[n])[name]
            why = f"{size:.1%} beyond open and close; {other.source} shows the same close and no such {name}"
            repairs.append(Repair("wick", key, name, prices_of(bar)[name], after, why))
            break
    return repairs


def _encloses(other: Bar, bar: Bar, name: str, limits: HistoryThresholds) -> bool:
    """Whether another source's bar agrees on the close and its high or low is one this bar could have."""
    if abs(other.close - bar.close) > limits.same * bar.close:
        return False
    if name == "high":
        return max(bar.open, bar.close) <= other.high < bar.high
    return bar.low < other.low <= min(bar.open, bar.close)


def _majority_repairs(subject: Subject, limits: HistoryThresholds) -> list[Repair]:
    """Prices that two independent groups state alike and otherwise than the series."""
    series = subject.series
    references = _one_per_group(_same_basis(subject))
    if len(references) < 2:
        return []
    repairs: list[Repair] = []
    for key, bar in zip(series.keys[: series.finished], series.bars, strict=False):
        first = references[0].index.get(key)
        if first is not None and _alike(bar, references[0].bars[first], limits):
            continue
        others = {r.source: r.bars[r.index[key]] for r in references if r.index.get(key, r.finished) < r.finished}
        if len(others) >= 2 and not any(_alike(bar, other, limits) for other in others.values()):
            repairs += _outvoted(key, bar, others, limits)
    return repairs


def _alike(bar: Bar, other: Bar, limits: HistoryThresholds) -> bool:
    return (
        abs(other.close - bar.close) <= limits.off * bar.close
        and abs(other.high - bar.high) <= limits.cell_off * bar.high
        and abs(other.low - bar.low) <= limits.cell_off * bar.low
        and abs(other.open - bar.open) <= limits.cell_off * bar.open
    )


def _outvoted(key: datetime, bar: Bar, others: Mapping[str, Bar], limits: HistoryThresholds) -> list[Repair]:
    """The bar's outvoted prices with those the others state; none when the mended bar would break the price rule."""
    own = prices_of(bar)
    stated = [prices_of(other) for other in others.values()]
    repairs = []
    mended = bar
    for name, price in own.items():
        said = [prices[name] for prices in stated]
        limit = limits.off if name == "close" else limits.cell_off
        if max(said) - min(said) <= limits.same * min(said) and all(abs(p - price) > limit * price for p in said):
            why = f"{' and '.join(others)} agree on {said[0]:g}"
            repairs.append(Repair("cross_source", key, name, price, said[0], why))
            mended = _with_price(mended, name, said[0])
    return repairs if _keeps_price_rule(mended) else []


def _same_basis(subject: Subject) -> tuple[Series, ...]:
    # A level is borrowed, so it must mean the same: same basis, same currency, never one adjusted for dividends.
    own = subject.series
    if own.basis is Adjustment.ALL:
        return ()
    return tuple(r for r in subject.references if r.basis is own.basis and r.history.currency == own.history.currency)


def _one_per_group(references: Iterable[Series]) -> Sequence[Series]:
    chosen: dict[str, Series] = {}
    for reference in references:
        chosen.setdefault(reference.group, reference)
    return tuple(chosen.values())


def _scaled(price: float, exponent: int) -> float:
    # Dividing by a power of ten leaves noise in the last digits of a double that no vendor ever stated.
    return float(f"{price / 10.0**exponent:.10g}")


def _keeps_price_rule(bar: Bar) -> bool:
    return bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high


def _with_price(bar: Bar, name: str, price: float) -> Bar:
    prices = prices_of(bar) | {name: price}
    return Bar(bar.start, prices["open"], prices["high"], prices["low"], prices["close"], bar.volume)
