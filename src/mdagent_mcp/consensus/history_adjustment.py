"""The correction for dividends: whether a source's adjusted closes follow from its closes and its dividends.

Between two closes the ratio of adjusted close to close may change by a dividend only. Whatever else it does (a step
without a dividend, a dividend without a step, a column that is negative or infinite) is a fault; where
`history_dividends` says what the dividend was, the column is computed anew from the closes: the factor before an
ex-date is the factor after it times one minus the dividend over the last close before.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, tzinfo
from itertools import pairwise
from typing import Final

from mdagent_mcp.consensus.history_dividends import (
    DATE,
    GAINS,
    GAP,
    Belief,
    Payment,
    Prices,
    agrees,
    weigh_payments,
)
from mdagent_mcp.consensus.history_series import Series, usable_adjustment
from mdagent_mcp.domain.prices import MINOR_UNITS, Dividend

COLUMN: Final = "adjusted_close"
"""The rule about values that no adjusted close can have."""
_STEP: Final = 3e-3
"""A change of the factor without a dividend below this is rounding."""
_UNDONE: Final = 0.02
"""Two unexplained steps that cancel out this well (relative to their size) bound a stretch with a wrong factor."""
_HUNDREDTHS: Final = frozenset(currency for currency, _ in MINOR_UNITS.values())
"""Currencies whose exchanges quote in hundredths, where dividends and prices are mixed up most."""
_SLIP: Final = 31
"""Days that an adjustment may lie beside the dividend it is meant for."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the dividends or their adjustment.

    Attributes:
        rule: under which it is told.
        index: the bar concerned: the ex-date, or the first bar of a stretch.
        detail: what was seen, with numbers.
        decided: whether the evidence says what is right.
        before: the dividend as listed; None when the fault is none of a dividend.
        after: what it really was.
    """

    rule: str
    index: int
    detail: str
    decided: bool
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class AdjustmentReview:
    """What became of a source's dividends and their adjustment.

    Attributes:
        faults: oldest first.
        dividends: with what could be corrected.
        factors: adjusted close over close of every bar, corrected; all positive and finite.
        checked: how many dividends lie in the range.
    """

    faults: tuple[Fault, ...]
    dividends: tuple[Dividend, ...]
    factors: tuple[float, ...]
    checked: int


def review_adjustment(series: Series, zone: tzinfo | None = None, *, weigh: bool = True) -> AdjustmentReview:
    """Weigh every dividend in the range of a series that carries adjusted closes.

    Args:
        series: with `adjusted_close` beside its prices.
        zone: of the exchange, for short bars: their trading date is the local one.
        weigh: whether bars are short enough to show a dividend; in weeks and months only the values are looked at.
    """
    days = [k.astimezone(zone).date() if zone is not None else k.date() for k in series.keys]
    steps = _steps(series)
    moves = [abs(r) for r in series.returns]
    prices = Prices(
        days,
        [b.open for b in series.bars],
        [b.low for b in series.bars],
        series.closes,
        steps,
        _noise(series),
        moves,
        hundredths=series.history.currency in _HUNDREDTHS,
    )
    payments = [_without_held_gains(prices, p) for p in _payments(series, days)] if weigh else []
    beliefs = weigh_payments(prices, payments)
    loose = _loose_steps(prices, {p.index for p in payments}) if weigh else []
    beliefs, loose = _shifted(prices, beliefs, loose)
    undone = _undone(steps, loose)
    faults = [
        *_column_faults(series),
        *(_belief_fault(b) for b in beliefs if b.rule),
        *_loose_faults(steps, loose, undone),
    ]
    mended = _mended_steps(prices, beliefs, undone)
    return AdjustmentReview(
        tuple(sorted(faults, key=lambda f: f.index)),
        _dividends(series, beliefs),
        tuple(_factors(series, mended)),
        len(payments),
    )


def _steps(series: Series) -> list[float | None]:
    """The share taken off at each bar; None where one of the two adjusted closes cannot be used."""
    factors = [b.adjusted_close / b.close if usable_adjustment(b) else None for b in series.bars]  # type: ignore[operator]
    steps: list[float | None] = [0.0]
    steps += [None if a is None or b is None else 1.0 - a / b for a, b in pairwise(factors)]
    return steps


def _noise(series: Series) -> float:
    """How exact a factor is where the vendor rounds its adjusted closes to a few decimals."""
    sample = [b.adjusted_close for b in series.bars[:50] if usable_adjustment(b) and b.adjusted_close is not None]
    decimals = max((len(f"{value:.6f}".rstrip("0").partition(".")[2]) for value in sample), default=6)
    return 0.0 if decimals >= 6 or not sample else 10.0**-decimals / min(sample)


def _payments(series: Series, days: Sequence[date]) -> list[Payment]:
    """The dividends inside the range by the bar they are paid on, gains of the same day with them."""
    found: dict[date, list[float]] = {}
    for place, listed in enumerate((series.history.dividends, series.history.capital_gains)):
        for paid in listed:
            if 0.0 < paid.amount < math.inf:
                found.setdefault(paid.day, [0.0, 0.0])[place] += paid.amount
    indexed = ((bisect_left(days, day), day, amounts) for day, amounts in sorted(found.items()))
    return [Payment(n, day, *amounts) for n, day, amounts in indexed if 0 < n < len(days)]


def _without_held_gains(prices: Prices, payment: Payment) -> Payment:
    """The payment without gains listed beside it where the adjustment knows the dividend alone: it holds them."""
    alone = agrees(prices.steps[payment.index], payment.amount / prices.closes[payment.index - 1], prices.noise)
    return replace(payment, gains=0.0) if payment.amount > 0 and alone else payment


def _loose_steps(prices: Prices, paid: set[int]) -> list[int]:
    """Bars where the factor changes without a dividend; a bar beside an ex-date may be meant for it."""
    limit = max(_STEP, 3.0 * prices.noise)
    return [n for n, step in enumerate(prices.steps) if step is not None and abs(step) > limit and n not in paid]


def _shifted(prices: Prices, beliefs: Sequence[Belief], loose: list[int]) -> tuple[tuple[Belief, ...], list[int]]:
    """Dividends whose adjustment lies on another day: on the next bar it is the same event, farther away a fault."""
    result, left = [], list(loose)
    for belief in beliefs:
        payment = belief.payment
        share = payment.total / prices.closes[payment.index - 1]
        match = [
            n
            for n in left
            if belief.rule in {GAP, DATE}
            and abs((prices.days[n] - payment.day).days) <= _SLIP
            and agrees(prices.steps[n], share, prices.noise)
        ]
        if len(match) != 1:
            result.append(belief)
            continue
        left.remove(match[0])
        if belief.rule == DATE:
            # The price fell where the adjustment lies: two witnesses for one day.
            result.append(replace(belief, decided=belief.decided or match[0] == belief.index))
        else:
            result.append(_on_either_day(prices, belief, match[0], share))
    return tuple(result), left


def _on_either_day(prices: Prices, belief: Belief, index: int, share: float) -> Belief:
    if abs(index - belief.index) <= 1:
        return replace(belief, index=index, rule="", decided=True)
    lead = sum(
        sign * (prices.support(n, share) - prices.support(n, 0.0)) for sign, n in ((1.0, index), (-1.0, belief.index))
    )
    why = f"a dividend of {belief.payment.total:g} is listed on {belief.payment.day}, adjusted on {prices.days[index]}"
    right = index if lead > 0 else belief.index
    return replace(belief, index=right, rule=DATE, why=why, decided=abs(lead) > 1.0)


def _undone(steps: Sequence[float | None], loose: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches that begin and end with unexplained steps that cancel out."""
    pairs = []
    place = 0
    while place + 1 < len(loose):
        a, b = loose[place], loose[place + 1]
        first, second = math.log1p(-(steps[a] or 0.0)), math.log1p(-(steps[b] or 0.0))
        if abs(first + second) <= _UNDONE * abs(first):
            pairs.append((a, b))
            place += 1
        place += 1
    return pairs


def _column_faults(series: Series) -> list[Fault]:
    bad = [n for n, bar in enumerate(series.bars) if not usable_adjustment(bar)]
    if not bad:
        return []
    shown = series.bars[bad[-1]].adjusted_close
    detail = f"{len(bad)} adjusted closes are missing or impossible, the last {'empty' if shown is None else shown}"
    return [Fault(COLUMN, bad[-1], detail, decided=True)]


def _belief_fault(belief: Belief) -> Fault:
    return Fault(belief.rule, belief.payment.index, belief.why, belief.decided, belief.payment.amount, belief.amount)


def _loose_faults(
    steps: Sequence[float | None], loose: Sequence[int], undone: Sequence[tuple[int, int]]
) -> Iterable[Fault]:
    bounds = {n for pair in undone for n in pair}
    for first, last in undone:
        yield Fault(
            GAP, first, f"{last - first} adjusted closes are off by {-(steps[first] or 0.0):+.2%}", decided=True
        )
    for n in loose:
        if n not in bounds:
            yield Fault(GAP, n, f"adjusted prices step by {steps[n] or 0.0:.2%} without a dividend", decided=False)


def _mended_steps(prices: Prices, beliefs: Sequence[Belief], undone: Sequence[tuple[int, int]]) -> list[float] | None:
    """The share to take off at every bar; None when the vendor's own are right everywhere."""
    corrected = [b for b in beliefs if b.rule and b.decided]
    if not corrected and not undone and None not in prices.steps:
        return None
    mended = [0.0 if step is None else step for step in prices.steps]
    for n in {n for pair in undone for n in pair}.union(*(_meant_for(prices, b) for b in corrected)):
        mended[n] = 0.0
    for belief in beliefs:
        if belief in corrected or prices.steps[belief.index] is None:
            mended[belief.index] = min(0.99, belief.amount / prices.closes[belief.index - 1])
    return mended


def _meant_for(prices: Prices, belief: Belief) -> set[int]:
    """The bars at which the vendor's adjustment takes off the dividend of a belief."""
    listed = belief.payment.index
    if belief.rule != DATE:
        return {listed}
    near = range(max(1, listed - _SLIP), min(len(prices.steps), listed + _SLIP + 1))
    share = belief.payment.total / prices.closes[listed - 1]
    return {listed} | {n for n in near if agrees(prices.steps[n], share, prices.noise)}


def _factors(series: Series, mended: list[float] | None) -> list[float]:
    """The factor of every bar, from the newest back."""
    last = series.bars[-1]
    factor = (last.adjusted_close or 1.0) / last.close if usable_adjustment(last) else 1.0
    if mended is None:
        return [(bar.adjusted_close or bar.close) / bar.close for bar in series.bars]
    factors = [factor]
    for step in mended[:0:-1]:
        factor *= 1.0 - step
        factors.append(factor)
    factors.reverse()
    return factors


def _dividends(series: Series, beliefs: Sequence[Belief]) -> tuple[Dividend, ...]:
    corrected = {b.payment.day: b for b in beliefs if b.rule not in {"", GAP, GAINS} and b.decided}
    kept = []
    for dividend in series.history.dividends:
        belief = corrected.get(dividend.day)
        if belief is None:
            kept.append(dividend)
            continue
        day = series.keys[belief.index].date() if belief.rule == DATE else dividend.day
        if belief.amount > 0:
            kept.append(Dividend(day, belief.amount))
    return tuple(kept)
