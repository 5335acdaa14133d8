"""What a listed dividend really was, weighed by how the price behaved on its day.

A vendor states a dividend twice: as an event, and as the step between its close and its close corrected for
dividends. Where the two differ, or where both are absurd, the hypotheses of the known faults are compared: each has a
prior (how often vendors make that mistake) and the likelihood of the move on the ex-date, which falls by the dividend
and otherwise is a day like the others around it (Student's t with 4 degrees of freedom, because returns have heavy
tails). Faults after the catalogue of yfinance's price repair: missing in the adjustment, a hundredfold or a hundredth,
listed twice, listed on another day, capital gains counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from statistics import median
from typing import Final

GAP, SIZE, PHANTOM, DATE, GAINS = (
    "adjustment_gap",
    "dividend_size",
    "dividend_phantom",
    "dividend_date",
    "capital_gains",
)
"""The rules that a fault of a dividend is told under."""

UNIT: Final = 100.0
"""Dividends come in the hundredth of the unit of the prices, or the other way round."""
_TWIN_DAYS: Final = 17
"""Two nearly equal dividends that close together are one listed twice, unless the instrument pays that often."""
_TWIN_LIKENESS: Final = 0.08
_AROUND: Final = 30
"""Bars on either side that tell how far a day usually moves."""
_LEAST_DEVIATION: Final = 0.004
_OFF: Final = 0.3
"""Share of a dividend by which the adjustment may differ from it: vendors divide by different closes."""
_LEAST_OFF: Final = 1e-3
_LARGEST_SHARE: Final = 0.8
"""Nothing pays out more than this share of its price."""
LARGE: Final = 0.25
"""From this share of the price on a dividend is more likely in the wrong unit than paid."""
_LIKE_SIZE: Final = 5.0
"""Dividends within this factor of each other are of one size."""
_USUAL_SHARE: Final = (5e-4, 0.05)
"""Part of the price that most dividends are: yearly yields of 0.2 to 5 %, paid monthly to yearly."""
_USUAL_MISTAKEN: Final = -12.0
"""Log prior of a usual dividend being in the wrong unit for one that is not."""
_ONE_MISTAKE: Final = -5.0
"""Log prior of a unit mixed up in a source's dividends; -2 where the exchange quotes in hundredths."""
_CLOSE_CALL: Final = 0.5
"""Lead in log likelihood below which a fault is told and not repaired."""
_MOVED_LEAST: Final = 3.0
"""Deviations that a dividend must be worth for its day to be looked for."""
_MOVED_LEAD: Final = 2.0
"""Log likelihood ratio from which a day shows a fall by a dividend rather than none."""
_MOVED_BARS: Final = 23
"""How many bars from its listed day a dividend is looked for."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The columns that dividends are judged by, oldest first.

    Attributes:
        days: trading date of every bar.
        opens: opening prices before any correction for dividends.
        lows: lowest prices, likewise.
        closes: closing prices, likewise.
        steps: the share that the vendor's adjustment takes off at each bar, 0 where it does nothing; None where its
            adjusted close cannot be used on this bar or the one before.
        noise: how exact these shares are.
        moves: size of the logarithmic move into every bar.
        hundredths: whether the exchange quotes in hundredths of its currency.
    """

    days: Sequence[date]
    opens: Sequence[float]
    lows: Sequence[float]
    closes: Sequence[float]
    steps: Sequence[float | None]
    noise: float
    moves: Sequence[float]
    hundredths: bool = False
    _known: dict[int, float] = field(default_factory=dict)

    def deviation(self, index: int) -> float:
        """A robust standard deviation of the daily move around a bar, the bar itself left out."""
        if index not in self._known:
            moves = [*self.moves[max(1, index - _AROUND) : index], *self.moves[index + 1 : index + 1 + _AROUND]]
            usual = max(1.4826 * median(moves), 0.8 * _trimmed_mean(moves)) if moves else 0.0
            self._known[index] = max(_LEAST_DEVIATION, usual)
        return self._known[index]

    def is_untraded(self, index: int) -> bool:
        """Whether a bar only repeats the close before it, as bars without a trade do."""
        return self.opens[index] == self.closes[index] == self.closes[index - 1]

    def support(self, index: int, share: float) -> float:
        """Log likelihood of the move into a bar if it fell by `share`: at the opening, the low or the close."""
        if not share < _LARGEST_SHARE:
            return -math.inf
        before = self.closes[index - 1]
        if share < LARGE and self.is_untraded(index):
            return 0.0  # the price could not fall
        fall = math.log1p(-share)
        off = min(abs(math.log(p / before) - fall) for p in (self.opens[index], self.lows[index], self.closes[index]))
        return -2.5 * math.log1p((off / self.deviation(index)) ** 2 / 4.0)


@dataclass(frozen=True, slots=True)
class Payment:
    """One dividend as listed.

    Attributes:
        index: the first bar without it; at least 1.
        day: its listed ex-date.
        amount: as listed, gains not included.
        gains: capital gains that the source lists beside it for the same day.
    """

    index: int
    day: date
    amount: float
    gains: float = 0.0

    @property
    def total(self) -> float:
        """What the vendor takes off."""
        return self.amount + self.gains


@dataclass(frozen=True, slots=True)
class Belief:
    """What a payment was, by the best hypothesis.

    Attributes:
        payment: as listed.
        amount: cash per share it really was; 0 for a phantom.
        index: the bar it really belongs to.
        rule: the fault; empty when there is none.
        why: the evidence in words.
        score: its log likelihood with the prior.
        decided: whether it leads clearly enough to correct anything.
    """

    payment: Payment
    amount: float
    index: int
    rule: str
    why: str
    score: float
    decided: bool = True


def weigh_payments(prices: Prices, payments: Sequence[Payment]) -> tuple[Belief, ...]:
    """The best explanation of every payment, those of the others considered."""
    double = _gains_counted_twice(prices, payments)
    told = [_hypotheses(prices, p, payments, double=double) for p in payments]
    first = [_best(prices, p, each, (), _Habit()) for p, each in zip(payments, told, strict=True)]
    habit = _habit(prices, payments, first)
    return tuple(
        _best(prices, p, each, [b for b in first if b.payment is not p], habit)
        for p, each in zip(payments, told, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Habit:
    """How much likelier a source's other dividends make a unit mixed up in those of their size.

    Attributes:
        large: log odds that a dividend is `UNIT` times too large.
        large_share: of the price, of the dividends that say so.
        small: log odds that it is as much too small.
        small_share: likewise.
    """

    large: float = 0.0
    large_share: float = 0.0
    small: float = 0.0
    small_share: float = 0.0

    def of(self, belief: Belief, share: float) -> float:
        """What it adds to a belief about a dividend listed as this share of the price."""
        if belief.rule != SIZE:
            return 0.0
        too_large = belief.amount < belief.payment.total
        odds, usual = (self.large, self.large_share) if too_large else (self.small, self.small_share)
        return odds if odds and usual / _LIKE_SIZE < share < usual * _LIKE_SIZE else 0.0


def _habit(prices: Prices, payments: Sequence[Payment], first: Sequence[Belief]) -> _Habit:
    """A unit is mixed up in most of a source's dividends of a size or in none: what they show together weighs for each.

    The mistake has the prior of one only, where half of them were found to have it already, or where the falls of all
    together speak for it.
    """
    found: list[float] = []
    for factor in (1.0 / UNIT, UNIT):
        leads = [(_lead(prices, p, factor), p.total / prices.closes[p.index - 1]) for p in payments]
        prior = _unit_prior(median(share for _, share in leads), factor) if leads else _ONE_MISTAKE
        # Only where prices are quoted in hundredths is the mistake a common one.
        total = sum(lead for lead, _ in leads) + max(prior, -2.0 if prices.hundredths and prior > -6.0 else prior)
        wrong = [b for b in first if b.rule == SIZE and b.decided and (b.amount < b.payment.total) == (factor < 1)]
        shares = [share for lead, share in leads if lead > 0.0]
        odds = 7.0 if len(payments) >= 3 and total > 1.0 else 3.5 if 2 * len(wrong) >= len(first) > 1 else 0.0
        found += [odds, median(shares)] if odds and shares else [0.0, 0.0]
    return _Habit(*found)


def _lead(prices: Prices, payment: Payment, factor: float) -> float:
    before = prices.closes[payment.index - 1]
    share = payment.total / before
    if not share * factor < _LARGEST_SHARE:
        return -5.0
    stated = prices.support(payment.index, share) if share < _LARGEST_SHARE else -5.0
    return max(-3.0, min(3.0, prices.support(payment.index, share * factor) - stated))


def agrees(step: float | None, share: float, noise: float) -> bool:
    """Whether the adjustment takes off what the dividend is worth."""
    return step is not None and abs(step - share) <= max(_OFF * share, _LEAST_OFF, 1.5 * noise)


def _hypotheses(prices: Prices, payment: Payment, payments: Sequence[Payment], *, double: bool) -> list[Belief]:
    """Everything the payment may have been, `score` holding the prior."""
    before = prices.closes[payment.index - 1]
    step, share = prices.steps[payment.index], payment.total / before
    shown = f"dividend {payment.total:g} is {share:.2%} of {before:g}"

    def belief(amount: float, rule: str, prior: float, why: str) -> Belief:
        return Belief(payment, amount, payment.index, rule, f"{shown}; {why}" if why else shown, prior)

    if double and payment.gains:
        return [belief(payment.amount, GAINS, 0.0, f"capital gains of {payment.gains:g} are in it and counted again")]
    twin = _is_weaker_twin(prices, payment, payments)
    phantom = belief(0.0, PHANTOM, -0.5 if twin else -7.0, "the price did not fall by it" + (_TWIN if twin else ""))
    sized = [
        belief(payment.total / UNIT, SIZE, _unit_prior(share, 1.0 / UNIT), "the price fell as by a hundredth of it"),
        belief(payment.total * UNIT, SIZE, _unit_prior(share, UNIT), "the price fell as by a hundred times it"),
    ]
    if step is None or agrees(step, share, prices.noise):
        stated = belief(payment.total, "", -3.0 if twin else 0.0, "")
        return [stated, phantom, *sized, *_moved(prices, payment, share, shown)]
    asked = f"the adjusted prices step by {step:.2%}"
    missing = belief(payment.total, GAP, -1.0, asked)
    phantom = replace(phantom, score=-0.5 if twin else -5.0)
    if abs(step) <= max(_LEAST_OFF, 1.5 * prices.noise):
        return [missing, phantom, *sized, *_moved(prices, payment, share, shown)]
    by_hundred = min(abs(math.log(step / share / f)) if step > 0 else 9.0 for f in (UNIT, 1.0 / UNIT)) < 0.2
    adjusted = belief(step * before, SIZE, -1.0 if by_hundred else -3.0, f"{asked}, and the price moved by that")
    return [replace(missing, score=-1.5), adjusted, phantom, *sized]


def _unit_prior(share: float, factor: float) -> float:
    """Log prior that a dividend of this share of the price is in the wrong unit and `factor` brings it right.

    What nobody pays is likely wrong; what everybody pays is not, least of all for something nobody pays.
    """
    if share >= LARGE and factor < 1.0:
        return -1.0
    usual, smallest = _USUAL_SHARE[0] <= share <= _USUAL_SHARE[1], _USUAL_SHARE[0]
    return _USUAL_MISTAKEN if usual and not smallest <= share * factor <= LARGE else _ONE_MISTAKE


_TWIN: Final = ", and nearly the same dividend is listed a few days apart"


def _moved(prices: Prices, payment: Payment, share: float, shown: str) -> list[Belief]:
    """The one day nearby on which the price fell by just that, where the fall stands out."""
    index = payment.index
    near = range(max(1, index - _MOVED_BARS), min(len(prices.closes), index + _MOVED_BARS + 1))
    if not _MOVED_LEAST * prices.deviation(index) < share < _LARGEST_SHARE or prices.is_untraded(index):
        return []
    leads = sorted(((prices.support(n, share) - prices.support(n, 0.0), n) for n in near if n != index), reverse=True)
    if not leads or leads[0][0] < _MOVED_LEAD or (len(leads) > 1 and leads[1][0] > leads[0][0] - 1.0):
        return []
    lead, found = leads[0]
    why = f"{shown}; the price fell by that on {prices.days[found]}"
    # Among so many days one may fall by it by chance.
    return [Belief(payment, payment.total, found, DATE, why, lead - 2.0 - math.log(len(near)))]


def _best(
    prices: Prices, payment: Payment, hypotheses: Sequence[Belief], others: Sequence[Belief], habit: _Habit
) -> Belief:
    usual = [b.amount / prices.closes[b.index - 1] for b in others if b.amount > 0 and b.decided and b.rule != SIZE]
    typical = median(usual) if len(usual) >= 3 and habit == _Habit() else None
    weighed = []
    for each in hypotheses:
        share = each.amount / prices.closes[each.index - 1]
        score = each.score + prices.support(payment.index, share if each.index == payment.index else 0.0)
        listed = payment.total / prices.closes[payment.index - 1]
        weighed.append(replace(each, score=score + _likeness(share, typical) + habit.of(each, listed)))
    best = max(weighed, key=lambda b: b.score)
    # Two hypotheses that come to the same amount on the same day do not compete.
    rivals = [b.score for b in weighed if b.index != best.index or abs(b.amount - best.amount) > 0.1 * best.amount]
    return replace(best, decided=best.score - max(rivals, default=-math.inf) >= _CLOSE_CALL)


def _likeness(share: float, typical: float | None) -> float:
    """How well a yield fits the others of the instrument: rarely more than some times larger or smaller."""
    if typical is None or share <= 0:
        return -1.0 if typical is not None else 0.0
    return -1.5 * math.log1p((math.log(share / typical) / 0.8) ** 2 / 2.0)


def _is_weaker_twin(prices: Prices, payment: Payment, payments: Sequence[Payment]) -> bool:
    """Whether it repeats another one a few days away that the price shows better; of equals the earlier."""
    twins = [p for p in payments if p is not payment and _alike(p, payment)]
    if len(twins) != 1 or _pays_often(payments):
        return False
    own, other = (
        prices.support(p.index, p.total / prices.closes[p.index - 1]) - prices.support(p.index, 0.0)
        for p in (payment, twins[0])
    )
    return own < other or (own == other and payment.day < twins[0].day)


def _alike(a: Payment, b: Payment) -> bool:
    near = abs((a.day - b.day).days) <= _TWIN_DAYS
    return near and abs(a.total - b.total) <= _TWIN_LIKENESS * max(a.total, b.total)


def _pays_often(payments: Sequence[Payment]) -> bool:
    days = sorted(p.day for p in payments)
    gaps = [(b - a).days for a, b in pairwise(days)]
    return len(gaps) >= 4 and median(gaps) <= 2 * _TWIN_DAYS


def _gains_counted_twice(prices: Prices, payments: Sequence[Payment]) -> bool:
    """Whether the price falls by the dividends alone though gains are listed beside them, in two thirds of the cases.

    Then the dividends hold the gains already.
    """
    both = [p for p in payments if p.gains > 0 and p.amount > 0]
    leads = []
    for payment in both:
        before = prices.closes[payment.index - 1]
        alone = prices.support(payment.index, payment.amount / before)
        leads.append(alone - prices.support(payment.index, payment.total / before))
    return bool(leads) and 3 * sum(1 for lead in leads if lead > 0) >= 2 * len(leads) and sum(leads) > 1.0


def _trimmed_mean(moves: Sequence[float]) -> float:
    kept = sorted(moves)[: max(1, len(moves) - len(moves) // 10)]
    return sum(kept) / len(kept)
