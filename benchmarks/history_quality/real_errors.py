"""Part (b): real errors of a real vendor, each with its repaired twin, judged as a single source's series.

Files are pairs `SYMBOL-INTERVAL-KIND.csv.gz` and `…-fixed.csv.gz`, and controls `…-no-bad-….csv.gz`. Half of them,
those at odd places in the alphabetical order of their symbols, were looked at while the rules were written; the others
were judged afterwards.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mdagent_mcp.consensus.history import HistoryContext, HistoryJudgement, judge_history
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split
from mdagent_mcp.domain.quality import Verdict
from mdagent_mcp.domain.questions import HistoryQuestion

FOLDER: Final = Path(__file__).resolve().parents[2] / ".." / "shared" / "market_data" / "yahoo_errors"
INTERVALS: Final = {"1d": Interval.DAY_1, "1h": Interval.HOUR_1, "15m": Interval.MIN_15}
DIVIDEND_RULES: Final = frozenset(
    {"adjusted_close", "dividend_size", "dividend_phantom", "dividend_date", "adjustment_gap"}
)
KINDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "bad-div": DIVIDEND_RULES,
        "missing-div-adjust": DIVIDEND_RULES,
        "cg-double-count": frozenset({"capital_gains"}),
        "bad-stock-split": frozenset({"split_error"}),
        "100x-error": frozenset({"unit_error"}),
        "bad-unit": frozenset({"unit_error"}),
    }
)
"""By the ending of a file's name, the rules that name its kind of error."""
ERROR_RULES: Final = frozenset().union(*KINDS.values())
WITHIN: Final = 0.005
"""Relative distance from the labelled value up to which a cell counts as right."""
Cells = dict[tuple[datetime, str], float]


@dataclass(frozen=True)
class Labelled:
    """A broken file and its repaired twin."""

    name: str
    kind: str
    tuning: bool


@dataclass(frozen=True)
class FileResult:
    """What became of one pair.

    Attributes:
        labelled: the pair.
        failed: rules that failed on the broken file, repaired ones included.
        twin_failed: those on the repaired twin.
        wrong: cells that differ from the label.
        repaired: those of them that are right after the repair.
        damaged: cells that were right and are wrong after it.
        grades: of the broken file and of the twin.
    """

    labelled: Labelled
    failed: frozenset[str]
    twin_failed: frozenset[str]
    wrong: int
    repaired: int
    damaged: int
    grades: tuple[str, str]

    @property
    def flagged(self) -> bool:
        """Whether the right kind of error is named."""
        return bool(self.failed & KINDS[self.labelled.kind])

    @property
    def false_alarm(self) -> frozenset[str]:
        """Rules of the file's own kind that fail on the twin, from which that error was removed."""
        return self.twin_failed & KINDS[self.labelled.kind]


def pairs(folder: Path = FOLDER) -> list[Labelled]:
    """Every pair, by symbol."""
    found = []
    for path in sorted(folder.glob("*-fixed.csv.gz")):
        name = path.name.removesuffix("-fixed.csv.gz")
        kind = next((k for k in KINDS if name.endswith(k)), None)
        if kind is not None and (folder / f"{name}.csv.gz").exists():
            found.append((name, kind))
    return [Labelled(name, kind, n % 2 == 0) for n, (name, kind) in enumerate(sorted(found))]


def controls(folder: Path = FOLDER) -> list[tuple[str, bool]]:
    """Files without the error they were suspected of, and whether they were looked at while tuning."""
    names = sorted(p.name.removesuffix(".csv.gz") for p in folder.glob("*-no-bad-*.csv.gz"))
    return [(name, n % 2 == 0) for n, name in enumerate(names)]


def load(name: str, folder: Path = FOLDER) -> History:
    """Read a file as the series that the vendor states, its adjusted closes beside the prices."""
    parts = name.split("-")
    place = next(n for n, part in enumerate(parts) if part in INTERVALS)
    instrument, interval = parse_symbol(".".join(parts[:place])), INTERVALS[parts[place]]
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8") as lines:
        rows = [(datetime.fromisoformat(r.get("Date") or r["Datetime"]), r) for r in csv.DictReader(lines)]
    rows.sort(key=lambda dated: dated[0])
    bars, nulls = [], []
    for stated, row in rows:
        start = stated.astimezone(UTC) if interval.is_intraday else datetime.combine(stated.date(), time(0), UTC)
        if not row["Close"]:
            nulls.append(start)
            continue
        opened, high, low, close = (float(row[field]) for field in ("Open", "High", "Low", "Close"))
        adjusted = float(row["Adj Close"]) if row["Adj Close"] else None
        bars.append(Bar(start, opened, high, low, close, float(row["Volume"] or 0), adjusted))

    def events(column: str) -> Iterator[tuple[datetime, float]]:
        return ((stated, float(row[column])) for stated, row in rows if float(row.get(column) or 0))

    return History(
        symbol=instrument.symbol,
        source="vendor",
        interval=interval,
        adjustment=Adjustment.SPLITS,
        timezone="UTC",
        received_at=bars[-1].start + timedelta(days=1, hours=12),
        bars=tuple(bars),
        currency=instrument.currency,
        null_rows=tuple(nulls),
        extended_hours=interval.is_intraday,
        dividends=tuple(Dividend(at.date(), amount) for at, amount in events("Dividends")),
        splits=tuple(Split(at.date(), ratio) for at, ratio in events("Stock Splits")),
        capital_gains=tuple(Dividend(at.date(), amount) for at, amount in events("Capital Gains")),
    )


def judge(history: History, adjustment: Adjustment = Adjustment.ALL) -> HistoryJudgement:
    """Judge it alone.

    Raises:
        ValueError: when there is no usable bar in it.
    """
    instrument = parse_symbol(history.symbol)
    first, last = history.bars[0].day, history.bars[-1].day
    asked = HistoryQuestion(instrument, history.interval, first, last, adjustment, history.extended_hours)
    judged = judge_history(asked, [history], {}, HistoryContext(now=history.received_at))
    if judged is None:
        raise ValueError(f"{history.symbol} has no usable bar")
    return judged


def failed_rules(judged: HistoryJudgement) -> frozenset[str]:
    """The rules that failed and cost something, repaired ones included."""
    found = judged.assessment.findings
    return frozenset(f.rule for f in found if f.verdict is Verdict.FAILED and f.cap is not None and f.cap < 100)


def check_pair(labelled: Labelled, folder: Path = FOLDER) -> FileResult:
    """Judge a broken file and its twin and compare cell by cell."""
    broken, twin = load(labelled.name, folder), load(f"{labelled.name}-fixed", folder)
    judged, twin_judged = judge(broken), judge(twin)
    before, after, label = cells_of(broken), cells_of(judged.series.history, judged.series.bars), cells_of(twin)
    wrong = {cell for cell in before.keys() | label.keys() if not _same(before.get(cell, 0.0), label.get(cell, 0.0))}
    right = {cell for cell in before.keys() | label.keys() if _same(after.get(cell, 0.0), label.get(cell, 0.0))}
    return FileResult(
        labelled,
        failed_rules(judged),
        failed_rules(twin_judged),
        len(wrong),
        len(wrong & right),
        len((label.keys() | before.keys()) - wrong - right),
        (judged.assessment.grade.value, twin_judged.assessment.grade.value),
    )


def cells_of(history: History, bars: tuple[Bar, ...] | None = None) -> Cells:
    """Every number of a series by its bar and its field; a dividend that is not listed is 0."""
    cells: Cells = {}
    for bar in history.bars if bars is None else bars:
        values = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.adjusted_close)
        names = ("open", "high", "low", "close", "volume", "adjusted_close")
        cells |= {(bar.start, name): v for name, v in zip(names, values, strict=True) if v is not None}
    for dividend in history.dividends:
        cells[datetime.combine(dividend.day, time(0), UTC), "dividend"] = dividend.amount
    return cells


def _same(value: float, label: float) -> bool:
    return math.isfinite(value) and abs(value - label) <= WITHIN * abs(label)
