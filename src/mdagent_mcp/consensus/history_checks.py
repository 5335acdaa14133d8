"""Checks on a single series: what a check is, the list of all rules, and those that look at single rows.

A check is a function from a `Subject` to an `Observed`: one finding for the grade and an issue for every bar
concerned. Checks never change anything. `RULES` lists every rule of a history judgement.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import cached_property
from statistics import median
from types import MappingProxyType
from typing import Final

from mdagent_mcp.consensus.history_adjustment import AdjustmentReview, review_adjustment
from mdagent_mcp.consensus.history_levels import Levels, find_levels
from mdagent_mcp.consensus.history_series import Series
from mdagent_mcp.consensus.rules import Rule
from mdagent_mcp.domain.answers import SeriesIssue
from mdagent_mcp.domain.calendar import MarketState, calendar_named
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval
from mdagent_mcp.domain.quality import Dimension, Finding, Severity, Verdict

ISSUES_PER_RULE: Final = 5
"""Bars that an answer lists for one rule, the newest; the finding has their number. An agent reads the first few."""


_TRADING: Final = frozenset({MarketState.OPEN, MarketState.UNKNOWN})
_VALIDITY, _PLAUSIBILITY = Dimension.VALIDITY, Dimension.PLAUSIBILITY

RULES: Final = (
    Rule("order", _VALIDITY, "Rows come oldest first."),
    Rule("duplicates", _VALIDITY, "One row per period."),
    Rule("null_prices", _VALIDITY, "Every row of a completed session has four positive prices."),
    Rule("bad_volume", _VALIDITY, "A volume is a finite count, zero or more."),
    Rule("off_session", _VALIDITY, "No row on a weekend or holiday, outside trading hours or in the future."),
    Rule("ohlc_rule", _VALIDITY, "Low <= open, close <= high within the larger of half a tick and 2 bp."),
    Rule(
        "repeated_close", _VALIDITY, "No close outside of its own range that is the newest price or that of other bars."
    ),
    Rule("zero_volume", _VALIDITY, "A bar whose price moved has volume."),
    Rule(
        "volume_basis", _VALIDITY, "Volumes are on the basis of the prices: they do not step where a split is listed."
    ),
    Rule("forward_fill", _VALIDITY, "No three bars in a row with equal prices and volume above zero."),
    Rule("unit_error", _PLAUSIBILITY, "No price is 10, 100 or 1000 times its neighbours, or the inverse."),
    Rule("split_error", _PLAUSIBILITY, "No sustained step in the ratio of a split without its event applied."),
    Rule("wick", _PLAUSIBILITY, "No high or low far outside the usual range that no other source shows."),
    Rule("price_jump", _PLAUSIBILITY, "A move beyond 8 deviations is confirmed by another independent source."),
    Rule(
        "adjusted_close", _PLAUSIBILITY, "Every close corrected for dividends is positive, finite and near the close."
    ),
    Rule(
        "dividend_size", _PLAUSIBILITY, "No dividend in the wrong unit: its size fits the price, its fall, the others."
    ),
    Rule("dividend_phantom", _PLAUSIBILITY, "No dividend listed twice, and none that the price never fell by."),
    Rule("dividend_date", _PLAUSIBILITY, "A dividend and its adjustment lie on the day on which the price fell by it."),
    Rule("capital_gains", _PLAUSIBILITY, "A fund's capital gains are not counted beside dividends that hold them."),
    Rule("adjustment_gap", _PLAUSIBILITY, "Prices adjusted for dividends step by the dividend, and only then."),
    Rule("machine_clock", Dimension.TIMELINESS, "This machine's clock agrees with the dates of the vendors' replies."),
    Rule("partial_bar", Dimension.TIMELINESS, "A bar of a period still running is marked as partial."),
    Rule(
        "frozen_bar",
        Dimension.TIMELINESS,
        "The last completed day is no bar that was kept as it stood before the close.",
    ),
    Rule("missing_at_end", Dimension.TIMELINESS, "The last completed session is there."),
    Rule("coverage", Dimension.COMPLETENESS, "Every bar the calendar expects is there."),
    Rule("late_start", Dimension.COMPLETENESS, "The series begins where it was asked to, or where all sources do."),
    Rule("basis", Dimension.CONSISTENCY, "Prices are on the asked adjustment basis."),
    Rule("currency", Dimension.CONSISTENCY, "Prices are in the currency the instrument is quoted in."),
    Rule("cross_source", Dimension.CORROBORATION, "An independent source of the same basis shows the same prices."),
)
"""Every check of a history, in the order of reporting."""

RULES_BY_ID: Final[Mapping[str, Rule]] = MappingProxyType({rule.id: rule for rule in RULES})


@dataclass(frozen=True)
class Subject:
    """What a check looks at.

    Attributes:
        series: the series examined.
        instrument: what it is about.
        interval: length of its bars.
        off_calendar: its bars that the calendar knows no session for; None when the calendar cannot tell.
        expected: whether the calendar demands a bar of a period.
        references: series of other upstream groups, which may confirm what looks wrong.
    """

    series: Series
    instrument: Instrument
    interval: Interval
    off_calendar: tuple[datetime, ...] | None
    expected: frozenset[datetime]
    references: tuple[Series, ...] = ()

    @cached_property
    def levels(self) -> Levels:
        """The steps of the series and its cells of a wrong unit."""
        return find_levels(self.series)

    @cached_property
    def review(self) -> AdjustmentReview | None:
        """What became of its dividends and their adjustment; None when it carries no adjusted closes to check."""
        if not self.series.to_adjust or not self.series.bars:
            return None
        zone = calendar_named(self.instrument.calendar).zone if self.interval.is_intraday else None
        single_days = self.interval.is_intraday or self.interval is Interval.DAY_1
        return review_adjustment(self.series, zone, weigh=single_days)


@dataclass(frozen=True, slots=True)
class Observed:
    """The result of one check on one series.

    Attributes:
        finding: for the grade.
        issues: the bars concerned.
        keys: their periods, all of them; a comparison leaves them out when they explain a difference.
    """

    finding: Finding
    issues: tuple[SeriesIssue, ...] = ()
    keys: frozenset[datetime] = frozenset()


def severity_of(cap: float) -> Severity:
    """How bad a failure is that allows at most this score."""
    for floor, severity in ((80.0, Severity.INFO), (70.0, Severity.MINOR), (60.0, Severity.MAJOR)):
        if cap >= floor:
            return severity
    return Severity.FATAL


def passed(rule: str, detail: str) -> Observed:
    """The check found nothing."""
    return Observed(Finding(rule, RULES_BY_ID[rule].dimension, Verdict.PASSED, detail))


def not_run(rule: str, why: str) -> Observed:
    """The check lacked what it needs."""
    return Observed(Finding(rule, RULES_BY_ID[rule].dimension, Verdict.NOT_RUN, why))


def failed(
    rule: str,
    cap: float,
    detail: str,
    rows: Sequence[tuple[datetime, str]] = (),
    also: Iterable[datetime] = (),
) -> Observed:
    """The check failed, with the rows concerned; without any the issue is the whole series'.

    Args:
        rule: the check.
        cap: the most its dimension is worth.
        detail: what was found.
        rows: the bars to tell of.
        also: further bars that are wrong for the same reason.
    """
    severity = severity_of(cap)
    finding = Finding(rule, RULES_BY_ID[rule].dimension, Verdict.FAILED, detail, severity, cap)
    issues = tuple(SeriesIssue(rule, severity.value, time, text) for time, text in sorted(rows)[-ISSUES_PER_RULE:])
    if not rows:
        issues = (SeriesIssue(rule, severity.value, None, detail),)
    return Observed(finding, issues, frozenset(time for time, _ in rows) | frozenset(also))


def check_order(subject: Subject) -> Observed:
    """Rows that came before an earlier one; they are served in order."""
    rows = subject.series.disordered
    if not rows:
        return passed("order", "rows are oldest first")
    return failed("order", 66.0, f"{len(rows)} rows out of order", [(t, "came after a later row") for t in rows])


def check_duplicates(subject: Subject) -> Observed:
    """Rows dropped for another one of the same period."""
    rows = subject.series.duplicates
    if not rows:
        return passed("duplicates", "one row per period")
    detail = f"{len(rows)} rows repeat a period"
    return failed("duplicates", 66.0, detail, [(t, "another row of the same period is served") for t in rows])


def check_null_prices(subject: Subject) -> Observed:
    """Rows without usable prices. For short bars an empty row says that nothing was traded, and is no defect."""
    rows = list(subject.series.unusable)
    if not subject.interval.is_intraday:
        served = set(subject.series.keys)
        empty = [t for t in subject.series.history.null_rows if t in subject.expected and t not in served]
        rows += [(t, "the source sent a row without prices") for t in empty]
    if not rows:
        return passed("null_prices", "every row has positive prices")
    return failed("null_prices", 65.0, f"{len(rows)} rows without usable prices were left out", rows)


def check_bad_volume(subject: Subject) -> Observed:
    """Volumes that are no count; the bar is served without volume."""
    rows = subject.series.bad_volumes
    if not rows:
        return passed("bad_volume", "every volume is a count")
    return failed("bad_volume", 66.0, f"{len(rows)} volumes are no count", [(t, "volume left out") for t in rows])


def check_off_session(subject: Subject) -> Observed:
    """Rows that the calendar knows no session for, and rows from the future."""
    received = subject.series.history.received_at
    future = [(k, "lies in the future") for k in subject.series.keys if k > received]
    if subject.off_calendar is None and not future:
        return not_run("off_session", "no calendar for this market")
    later = {time for time, _ in future}
    rows = future + [(k, "no trading session") for k in subject.off_calendar or () if k not in later]
    if not rows:
        return passed("off_session", "every row lies in a session")
    return failed("off_session", 66.0, f"{len(rows)} rows outside of any session", rows)


def check_ohlc_rule(subject: Subject) -> Observed:
    """Open or close outside of low and high: by how much, and how often, decides."""
    rows, largest = [], 0.0
    opened, top, bottom, last = subject.series.columns
    outside = (opened > top) | (last > top) | (opened < bottom) | (last < bottom)
    for n in outside.nonzero()[0].tolist():
        bar = subject.series.bars[n]
        high, low = max(bar.open, bar.close), min(bar.open, bar.close)
        excess = max(bar.low - low, high - bar.high)
        if excess > max(tick_of(subject.instrument, bar.close) / 2.0, 2e-4 * bar.close) * (1.0 + 1e-9):
            largest = max(largest, excess / bar.close)
            rows.append((bar.start, f"open {bar.open:g}, high {bar.high:g}, low {bar.low:g}, close {bar.close:g}"))
    if not rows:
        return passed("ohlc_rule", "open and close lie between low and high")
    share = len(rows) / len(subject.series.bars)
    cap = 60.0 if share > 0.1 and len(rows) > 1 else 75.0 if largest < 0.01 else 64.0
    bars = "1 bar has" if len(rows) == 1 else f"{len(rows)} bars have"
    return failed("ohlc_rule", cap, f"{bars} an open or close outside of low to high by up to {largest:.2%}", rows)


def check_repeated_close(subject: Subject) -> Observed:
    """Closes that their own bar rules out and that others share: today's price written into the past."""
    series = subject.series
    if len(series.bars) < 3:
        return not_run("repeated_close", f"{len(series.bars)} bars are too few")
    opened, high, low, close = series.columns
    # Thin markets repeat the last trade as open and close of bars whose high and low are quotes around it.
    foreign = ((close < 0.8 * low) | (close > 1.25 * high)) & (opened >= low) & (opened <= high)
    outside = [series.bars[n] for n in foreign[:-1].nonzero()[0].tolist()]
    counts = Counter(b.close for b in outside)
    last = series.closes[-1]
    rows = [
        (b.start, f"close {b.close:g} outside of {b.low:g} to {b.high:g}, as in {counts[b.close]} bars")
        for b in outside
        if counts[b.close] >= 3 or b.close == last
    ]
    if not rows:
        return passed("repeated_close", "no close is another bar's")
    cap = 62.0 if len(rows) < 0.05 * len(series.bars) else 45.0
    return failed("repeated_close", cap, f"{len(rows)} closes repeat a price that their bar rules out", rows)


def check_zero_volume(subject: Subject) -> Observed:
    """Bars that moved without volume. Short bars often have none with some vendors: there, a tenth is tolerated."""
    series = subject.series
    if subject.instrument.asset_class in {AssetClass.FOREX, AssetClass.INDEX} or series.median_volume is None:
        return not_run("zero_volume", "no volume to look at")
    bars = series.bars[: series.finished]
    hours = calendar_named(subject.instrument.calendar) if series.history.extended_hours else None
    rows = [
        (b.start, f"volume 0 though it ranged from {b.low:g} to {b.high:g}")
        for b in bars
        # Before the opening and after the close some vendors have prices and no volumes.
        if b.volume == 0 and b.high > b.low and (hours is None or hours.state_at(b.start) in _TRADING)
    ]
    if not rows or (subject.interval.is_intraday and len(rows) <= 0.1 * len(bars)):
        return passed("zero_volume", f"{len(rows)} of {len(bars)} bars moved without volume")
    return failed("zero_volume", 75.0, f"{len(rows)} bars moved without volume", rows)


def check_forward_fill(subject: Subject) -> Observed:
    """Three or more bars in a row with equal prices though volume is claimed: copies of the first."""
    series = subject.series
    if series.median_volume is None:
        return not_run("forward_fill", "no volume to look at")
    rows: list[tuple[datetime, str]] = []
    run: list[int] = []
    equal = (series.columns[:, 1:] == series.columns[:, :-1]).all(axis=0)
    places = [n + 1 for n in equal.nonzero()[0].tolist() if n + 1 < series.finished]
    copies = [n for n in places if _is_copy(series.bars[n - 1], series.bars[n], subject)]
    for n in [*copies, -1]:
        if run and n != run[-1] + 1:
            # Two copies and their original make three.
            rows += [
                (series.bars[m].start, "equals the bar before it though volume is claimed") for m in run if run[1:]
            ]
            run = []
        run.append(n)
    if not rows:
        return passed("forward_fill", "no run of three equal bars with volume")
    return failed("forward_fill", 66.0, f"{len(rows)} bars repeat the bar before them", rows)


def check_volume_basis(subject: Subject) -> Observed:
    """Volumes that step by a listed split although the prices, being adjusted for it, do not.

    Looked at from threefold splits on: volumes of twenty days vary by less than that.
    """
    series = subject.series
    splits = [s for s in series.history.splits if 0 < s.ratio < math.inf and abs(math.log(s.ratio)) > math.log(2.9)]
    if not splits or series.median_volume is None or series.basis is Adjustment.NONE:
        return not_run(
            "volume_basis", "no split of three or more to look at" if not splits else "no volume on this basis"
        )
    rows = []
    for split in splits:
        begin = bisect_left(series.keys, datetime.combine(split.day, time(0), UTC))
        before, after = (
            [b.volume for b in bars if b.volume]
            for bars in (series.bars[max(0, begin - 20) : begin], series.bars[begin : begin + 20])
        )
        if min(len(before), len(after)) < 10 or abs(series.returns[begin]) > 0.5 * abs(math.log(split.ratio)):
            continue
        step = math.log(median(after) / median(before))
        if abs(step - math.log(split.ratio)) < 0.4 * abs(math.log(split.ratio)):
            text = f"volumes are {math.exp(step):.3g} times those before, as by the split of {split.ratio:g}"
            rows.append((series.keys[begin], text))
    if not rows:
        return passed("volume_basis", f"volumes do not step with {len(splits)} listed splits")
    return failed("volume_basis", 75.0, rows[0][1], rows)


def tick_of(instrument: Instrument, price: float) -> float:
    """The usual smallest price step where the exchange's own is not known."""
    if instrument.asset_class is AssetClass.FOREX:
        return 0.001 if price > 20.0 else 0.00001
    if instrument.asset_class is AssetClass.CRYPTO:
        return 1e-8
    return 0.01 if price >= 1.0 else 0.0001


def _is_copy(before: Bar, bar: Bar, subject: Subject) -> bool:
    """Equal prices although traded. Short bars, and bars of a tick or two, are equal by chance: volume decides then."""
    if (bar.close, bar.open, bar.high, bar.low) != (before.close, before.open, before.high, before.low):
        return False
    if bar.volume is None or bar.volume <= 0 or (subject.interval.is_intraday and bar.high == bar.low):
        return False
    by_chance = subject.interval.is_intraday or bar.high - bar.low <= 2.1 * tick_of(subject.instrument, bar.close)
    return not by_chance or bar.volume == before.volume
