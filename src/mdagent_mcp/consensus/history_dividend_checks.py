"""Checks on dividends and on the correction of prices for them.

Where a series carries adjusted closes its review (`history_adjustment`) has weighed every dividend, and each check
tells the faults of its own rule. Without them only the size of a dividend can be looked at, and as prices corrected
for splits alone do not depend on it, that costs them nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, time
from typing import Final

from mdagent_mcp.consensus.history_adjustment import COLUMN
from mdagent_mcp.consensus.history_checks import Observed, Subject, failed, not_run, passed
from mdagent_mcp.consensus.history_dividends import DATE, GAINS, GAP, LARGE, PHANTOM, SIZE
from mdagent_mcp.consensus.history_series import pays_dividend
from mdagent_mcp.domain.prices import Adjustment

_HARMLESS: Final = 100.0
"""The cap of a fault that the served prices do not depend on."""
_MANY: Final = 0.05
"""Share of impossible adjusted closes from which a series is no series."""


def check_adjusted_close(subject: Subject) -> Observed:
    """Values that no adjusted close can have."""
    review = subject.review
    if review is None:
        return not_run(COLUMN, "no adjusted closes beside the prices")
    faults = [f for f in review.faults if f.rule == COLUMN]
    if not faults:
        return passed(COLUMN, f"{len(subject.series.bars)} adjusted closes are possible")
    bad = sum(1 for price in subject.series.compared if price is None)
    cap = 45.0 if bad > _MANY * len(subject.series.bars) else 62.0
    return failed(COLUMN, cap, faults[0].detail, [(subject.series.keys[f.index], f.detail) for f in faults])


def check_dividend_size(subject: Subject) -> Observed:
    """A dividend in the wrong unit."""
    if subject.review is not None:
        return _reviewed(subject, SIZE, 62.0)
    series = subject.series
    inside = [d for d in series.history.dividends if series.keys and series.keys[0].date() < d.day]
    if not inside:
        return not_run(SIZE, "no dividend in the range")
    # Prices adjusted for dividends lie below what the dividend was paid on.
    most = 2.0 * LARGE if series.basis is Adjustment.ALL else LARGE
    rows = []
    for dividend in inside:
        ex_day = bisect_left(series.keys, datetime.combine(dividend.day, time(0), UTC))
        price = series.closes[ex_day - 1]
        # A special dividend that size exists; then the price falls by it.
        paid = ex_day < len(series.keys) and pays_dividend(series, ex_day)
        if not abs(dividend.amount) <= most * price and not paid:
            key = series.keys[min(ex_day, len(series.keys) - 1)]
            rows.append((key, f"dividend {dividend.amount:g} is {dividend.amount / price:.0%} of {price:g}"))
    if not rows:
        return passed(SIZE, f"{len(inside)} dividends are below {most:.0%} of the price")
    return failed(SIZE, 62.0 if series.basis is Adjustment.ALL else _HARMLESS, rows[0][1], rows)


def check_dividend_phantom(subject: Subject) -> Observed:
    """A dividend that was never paid."""
    return _reviewed(subject, PHANTOM, 62.0)


def check_dividend_date(subject: Subject) -> Observed:
    """A dividend on a wrong day."""
    return _reviewed(subject, DATE, 62.0)


def check_capital_gains(subject: Subject) -> Observed:
    """Capital gains counted beside dividends that hold them."""
    if subject.review is not None and not subject.series.history.capital_gains:
        return not_run(GAINS, "no capital gains are listed")
    return _reviewed(subject, GAINS, 62.0)


def check_adjustment_gap(subject: Subject) -> Observed:
    """Whether the adjusted prices step against the unadjusted ones by the listed dividends and by nothing else."""
    return _reviewed(subject, GAP, 64.0)


def _reviewed(subject: Subject, rule: str, cap: float) -> Observed:
    review = subject.review
    if review is None:
        return not_run(rule, "no adjusted closes beside the prices")
    rows = [(subject.series.keys[f.index], f.detail) for f in review.faults if f.rule == rule]
    if rows:
        return failed(rule, cap, rows[0][1], rows)
    if not review.checked:
        return not_run(rule, "no dividend in the range")
    return passed(rule, f"{review.checked} dividends were weighed")
