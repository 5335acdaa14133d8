"""Conservative repair of a served series: a value is replaced only where the evidence leaves no choice.

Three kinds of evidence count. The series itself: a price that is an exact power of ten away from bars on both sides
and fits its own bar once scaled, a stretch on the basis of a listed split, an adjusted close that does not follow
from its own dividends. Other sources: a price that a check of the series found impossible and an independent source of
the same basis states plausibly, or one that two independent groups contradict with one voice.
Missing bars are listed, never filled in, and nothing is interpolated. Every change is in the answer with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mdagent_mcp.consensus.history_adjustment import AdjustmentReview
from mdagent_mcp.consensus.history_blocks import Block, find_blocks
from mdagent_mcp.consensus.history_checks import Subject
from mdagent_mcp.consensus.history_comparison import HistoryThresholds, differing_bars
from mdagent_mcp.consensus.history_dividends import DATE, LARGE
from mdagent_mcp.consensus.history_levels import Cell
from mdagent_mcp.consensus.history_plausibility import confirms_cell, confirms_return, find_wicks
from mdagent_mcp.consensus.history_series import PRICE_FIELDS, Series, prices_of, usable_adjustment
from mdagent_mcp.domain.answers import Repair
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend

REPAIRED_CAP: Final = 85.0
"""The most a dimension is worth in which something was repaired."""
UNPROVEN_CAP: Final = 45.0
"""Plausibility of a series made consistent without proof of which side was right: all of it may be in a wrong unit."""
_NEAR: Final = 0.3
"""How far a scaled price may lie from the bars around it, relative."""
_MOST: Final = 0.05
"""Share of the bars whose single prices may be repaired; with more wrong a series is refused rather than rebuilt."""
_SAME_FACTOR: Final = 5e-4
"""Adjusted closes are corrected where the factor changes by more than this: less is the vendor's own rounding."""
_FIELDS: Final = ("prices", *PRICE_FIELDS, "volume", "adjusted_close", "dividend")


@dataclass(frozen=True, slots=True)
class Mended:
    """What a repair made of a series.

    Attributes:
        series: corrected where listed.
        repairs: every correction, oldest first, those of consecutive bars told once.
        caps: by rule the most its dimension is worth after the repair.
        stated: the series before any repair.
    """

    series: Series
    repairs: tuple[Repair, ...] = ()
    caps: Mapping[str, float] = field(default_factory=dict)
    stated: Series | None = None


def repair_series(subject: Subject, limits: HistoryThresholds) -> Mended:
    """The series with what could be repaired, and what was changed.

    Stretches on another level come first, then single prices (of at most 5 % of the bars, one at least), then the
    correction for dividends, which rests on the prices.
    """
    series, blocks = _without_blocks(subject)
    series, cells = _without_cells(replace(subject, series=series), limits)
    series, adjusted = _readjusted(replace(subject, series=series))
    repairs = [*_block_repairs(subject.series, blocks), *cells, *adjusted]
    caps = {r.rule: REPAIRED_CAP for r in repairs}
    caps |= {b.rule: UNPROVEN_CAP for b in blocks if not b.proven}
    ordered = sorted(repairs, key=lambda r: (r.time, _FIELDS.index(r.field)))
    return Mended(series, tuple(ordered), MappingProxyType(caps), subject.series)


def _without_blocks(subject: Subject) -> tuple[Series, tuple[Block, ...]]:
    """The series with every stretch on its right level that no other source shows as it is."""
    series = subject.series
    edge = [(b, b.first or b.last) for b in find_blocks(series, subject.levels)]
    blocks = tuple(b for b, n in edge if n < len(series.bars) and not confirms_return(subject, n))
    if not blocks:
        return series, ()
    bars, history = list(series.bars), series.history
    for block in blocks:
        bars[block.first : block.last] = [_scaled_bar(bar, block) for bar in bars[block.first : block.last]]
        paid = tuple(_scaled_dividend(series, d, block) for d in history.dividends)
        history = replace(history, dividends=paid)
    return replace(series, bars=tuple(bars), history=history), blocks


def _scaled_dividend(series: Series, dividend: Dividend, block: Block) -> Dividend:
    """A dividend paid within a stretch that fits its prices is in their unit, and goes with them."""
    first, last = (series.keys[n].date() for n in (block.first, block.last - 1))
    if not first < dividend.day <= last:
        return dividend
    n = next(n for n in range(block.first, block.last) if series.keys[n].date() >= dividend.day)
    fits = dividend.amount < LARGE * series.closes[n - 1]
    return Dividend(dividend.day, _exact(dividend.amount * block.prices)) if fits else dividend


def _scaled_bar(bar: Bar, block: Block) -> Bar:
    opened, high, low, close = (_exact(price * block.prices) for price in prices_of(bar).values())
    adjusted = None if bar.adjusted_close is None else bar.adjusted_close * block.prices
    volume = bar.volume if bar.volume is None or block.volumes == 1.0 else _exact(bar.volume * block.volumes)
    return Bar(bar.start, opened, high, low, close, volume, adjusted)


def _block_repairs(series: Series, blocks: Iterable[Block]) -> list[Repair]:
    repairs = []
    for block in blocks:
        bar, places = series.bars[block.first], range(block.first, block.last)
        why = block.why if block.proven else f"{block.why}; the newest bars are taken as the measure"
        told = [("prices", bar.close, bar.close * block.prices)]
        if bar.volume is not None and block.volumes != 1.0:
            told.append(("volume", bar.volume, bar.volume * block.volumes))
        repairs += [
            _spread(Repair(block.rule, series.keys[block.first], name, before, _exact(after), why), series, places)
            for name, before, after in told
        ]
    return repairs


def _spread(repair: Repair, series: Series, places: range) -> Repair:
    """A repair of the first bar as the one of all of them."""
    return replace(repair, until=series.keys[places[-1]], bars=len(places)) if len(places) > 1 else repair


def _without_cells(subject: Subject, limits: HistoryThresholds) -> tuple[Series, list[Repair]]:
    """The series with single prices corrected, unless too many would be."""
    series = subject.series
    repairs = [*_unit_repairs(subject), *_wick_repairs(subject, limits)]
    done = {(r.time, r.field) for r in repairs}
    repairs += [r for r in _majority_repairs(subject, limits) if (r.time, r.field) not in done]
    changed = {r.time for r in repairs}
    if not repairs or len(changed) > max(1.0, _MOST * len(series.bars)):
        return series, []
    bars = list(series.bars)
    for repair in repairs:
        n = series.index[repair.time]
        bars[n] = _with_price(bars[n], repair.field, repair.after)
    return replace(series, bars=tuple(bars)), repairs


def _readjusted(subject: Subject) -> tuple[Series, list[Repair]]:
    """The series with its correction for dividends computed anew where a fault of it is decided."""
    series, review = subject.series, subject.review
    if review is None or not any(f.decided for f in review.faults):
        return series, []
    repairs = [
        Repair(f.rule, series.keys[f.index], "dividend", f.before, f.after, f.detail)
        for f in review.faults
        if f.decided and f.before is not None and f.after is not None and (f.before != f.after or f.rule == DATE)
    ]
    repairs += _column_repairs(series, review)
    bars = tuple(_with_factor(bar, factor) for bar, factor in zip(series.bars, review.factors, strict=True))
    return replace(series, bars=bars, history=replace(series.history, dividends=review.dividends)), repairs


def _with_factor(bar: Bar, factor: float) -> Bar:
    """The bar with its adjusted close computed, unless the source's own says the same."""
    computed = bar.close * factor
    if usable_adjustment(bar) and abs(computed / (bar.adjusted_close or 1.0) - 1.0) <= _SAME_FACTOR:
        return bar
    return replace(bar, adjusted_close=computed)


def _column_repairs(series: Series, review: AdjustmentReview) -> list[Repair]:
    """One repair for every stretch of adjusted closes that changes by one factor."""
    repairs: list[Repair] = []
    begin, ratio = 0, 1.0
    ratios = [
        bar.close * factor / (bar.adjusted_close or 1.0) if usable_adjustment(bar) else None
        for bar, factor in zip(series.bars, review.factors, strict=True)
    ]
    for n, each in enumerate([*ratios, 1.0]):
        now = -1.0 if each is None else each
        if abs(now / ratio - 1.0) <= _SAME_FACTOR:
            continue
        if abs(ratio - 1.0) > _SAME_FACTOR and n > begin:
            repairs.append(_column_repair(series, review, range(begin, n)))
        begin, ratio = n, now or 1e-300
    return repairs


def _column_repair(series: Series, review: AdjustmentReview, places: range) -> Repair:
    bar = series.bars[places[0]]
    after = [f for f in review.faults if f.decided and f.index >= places[0]] or [f for f in review.faults if f.decided]
    why = f"computed from the dividends: {after[0].detail}"
    before = bar.adjusted_close if bar.adjusted_close is not None and math.isfinite(bar.adjusted_close) else None
    computed = bar.close * review.factors[places[0]]
    repair = Repair(after[0].rule, series.keys[places[0]], "adjusted_close", before, computed, why)
    return _spread(repair, series, places)


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
        scaled = _without_echo(series.bars[index], scaled, {cell.name for cell in found})
        if _fits(series, index, scaled, set(by_bar)):
            repairs += [_unit_repair(series, cell, prices_of(scaled)[cell.name]) for cell in found]
    return repairs


def _without_echo(stated: Bar, scaled: Bar, wrong: set[str]) -> Bar:
    """A high or low that is nothing but the wrong open or close says nothing: the right ones bound it."""
    echoes = {getattr(stated, name) for name in wrong & {"open", "close"}}
    if "low" in wrong and stated.low in echoes:
        scaled = _with_price(scaled, "low", min(scaled.open, scaled.close))
    if "high" in wrong and stated.high in echoes:
        scaled = _with_price(scaled, "high", max(scaled.open, scaled.close))
    return scaled


def _unit_repair(series: Series, cell: Cell, after: float) -> Repair:
    before = prices_of(series.bars[cell.index])[cell.name]
    factor = f"{10**cell.exponent} times" if cell.exponent > 0 else f"1/{10**-cell.exponent} of"
    fits = "scaled it fits its bar" if after == _scaled(before, cell.exponent) else "it is that of the wrong print"
    why = f"{factor} the bars on both sides ({cell.level:g}); {fits}"
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
    for n in differing_bars(series, references[0], limits):
        key, bar = series.keys[n], series.bars[n]
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
    return _exact(price / 10.0**exponent)


def _exact(value: float) -> float:
    # Scaling leaves noise in the last digits of a double that no vendor ever stated.
    return float(f"{value:.10g}")


def _keeps_price_rule(bar: Bar) -> bool:
    return bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high


def _with_price(bar: Bar, name: str, price: float) -> Bar:
    adjusted = bar.adjusted_close
    if name == "close" and adjusted is not None:
        adjusted *= price / bar.close  # a vendor computes it from the very close that was wrong
    prices = prices_of(bar) | {name: price}
    return Bar(bar.start, prices["open"], prices["high"], prices["low"], prices["close"], bar.volume, adjusted)
