"""Real errors of a real vendor, with their repaired counterparts, where the shared evidence lies beside the project.

Nothing of the files is in this repository; the numbers asserted are how many of them the checks flag.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from consensus.series_building import failed_rules
from mdagent_mcp.consensus.history import HistoryContext, HistoryJudgement, judge_history
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split
from mdagent_mcp.domain.quality import Severity, Verdict
from mdagent_mcp.domain.questions import HistoryQuestion

FOLDER = Path(__file__).resolve().parents[2] / ".." / "shared" / "market_data" / "yahoo_errors"
LEVEL_RULES = {"unit_error", "split_error"}
INTERVALS = {"1d": Interval.DAY_1, "1h": Interval.HOUR_1, "15m": Interval.MIN_15}

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the labelled real errors are not at {FOLDER}: real vendor errors stay UNTESTED here"
)


@dataclass(frozen=True)
class Recorded:
    """One file as the vendor's series before and after the adjustment for dividends."""

    name: str
    plain: History
    adjusted: History


def load(name: str) -> Recorded:
    """Read a file."""
    parts = name.split("-")
    place = next(n for n, part in enumerate(parts) if part in INTERVALS)
    instrument, interval = parse_symbol(".".join(parts[:place])), INTERVALS[parts[place]]
    with gzip.open(FOLDER / f"{name}.csv.gz", "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    plain, adjusted, nulls, dividends, splits = [], [], [], [], []
    for row in rows:
        stated = datetime.fromisoformat(row.get("Date") or row["Datetime"])
        start = stated.astimezone(UTC) if interval.is_intraday else datetime.combine(stated.date(), time(0), UTC)
        dividends += [Dividend(stated.date(), float(row["Dividends"]))] if float(row["Dividends"] or 0) else []
        splits += [Split(stated.date(), float(row["Stock Splits"]))] if float(row["Stock Splits"] or 0) else []
        if not row["Close"]:
            nulls.append(start)
            continue
        o, h, low, c = (float(row[field]) for field in ("Open", "High", "Low", "Close"))
        factor = float(row["Adj Close"]) / c
        volume = float(row["Volume"] or 0)
        plain.append(Bar(start, o, h, low, c, volume))
        adjusted.append(Bar(start, o * factor, h * factor, low * factor, c * factor, volume))
    stated_history = History(
        symbol=instrument.symbol,
        source="vendor",
        interval=interval,
        adjustment=Adjustment.SPLITS,
        timezone="UTC",
        received_at=max(b.start for b in plain) + timedelta(days=1, hours=12),
        bars=tuple(sorted(plain, key=lambda b: b.start)),
        currency=instrument.currency,
        null_rows=tuple(nulls),
        extended_hours=interval.is_intraday,
        dividends=tuple(dividends),
        splits=tuple(splits),
    )
    ordered = tuple(sorted(adjusted, key=lambda b: b.start))
    return Recorded(name, stated_history, _with(stated_history, ordered))


def judge(recorded: Recorded, adjustment: Adjustment) -> HistoryJudgement:
    """Judge it alone, as a single source."""
    plain = recorded.plain
    instrument = parse_symbol(plain.symbol)
    asked = HistoryQuestion(
        instrument, plain.interval, plain.bars[0].day, plain.bars[-1].day, adjustment, plain.interval.is_intraday
    )
    stated = [plain] if adjustment is Adjustment.SPLITS else [plain, recorded.adjusted]
    judged = judge_history(asked, stated, {}, HistoryContext(now=plain.received_at))
    assert judged is not None
    return judged


def names(ending: str) -> list[str]:
    """The files of one kind, without their extension."""
    found = sorted(p.name.removesuffix(".csv.gz") for p in FOLDER.glob(f"*{ending}.csv.gz"))
    assert found, f"no file ends in {ending}"
    return found


def broken_levels() -> Iterator[str]:
    """Files with wrong units or splits."""
    for ending in ("100x-error", "bad-unit", "bad-stock-split"):
        yield from names(ending)


def test_every_broken_unit_and_split_is_flagged() -> None:
    """All six: two of units, four of splits."""
    flagged = {
        n: failed_rules(judge(load(n), Adjustment.SPLITS)) & {"unit_error", "split_error"} for n in broken_levels()
    }
    assert len(flagged) == 6
    assert [n for n, rules in flagged.items() if not rules] == []


def test_the_repaired_units_and_the_applied_splits_pass_where_nothing_else_is_wrong() -> None:
    """Four of the six repaired files; the other two hold moves to a multiple that one source cannot prove."""
    passing = [
        n for n in broken_levels() if not failed_rules(judge(load(f"{n}-fixed"), Adjustment.SPLITS)) & LEVEL_RULES
    ]
    assert len(passing) >= 4


def test_most_wrong_dividends_are_flagged() -> None:
    """Ten of twelve by the adjustment, the size of the dividend, or the adjusted series being refused."""
    files = names("bad-div") + names("cg-double-count")
    flagged = []
    for name in files:
        judged = judge(load(name), Adjustment.ALL)
        refused = judged.series.basis is Adjustment.SPLITS
        if refused or failed_rules(judged) & {"adjustment_gap", "dividend_size"}:
            flagged.append(name)
    assert len(files) == 12
    assert len(flagged) >= 10


def test_the_control_files_raise_nothing_fatal() -> None:
    """Series without the error they were suspected of; a bad print before the opening is a failed check, no more."""
    fatal = {
        n: [f.rule for f in judge(load(n), a).assessment.findings if _fatal(f.severity, f.verdict)]
        for n in names("no-bad-divs")
        for a in (Adjustment.SPLITS, Adjustment.ALL)
    }
    assert fatal == {n: [] for n in names("no-bad-divs")}


def test_files_cover_finished_sessions() -> None:
    """The builders' receive time lies after the last session of every file."""
    for name in names("-fixed"):
        recorded = load(name)
        assert recorded.plain.bars[-1].day < recorded.plain.received_at.date() <= date(2027, 1, 1)
        assert all(math.isfinite(b.close) for b in recorded.plain.bars)


def _fatal(severity: Severity, verdict: Verdict) -> bool:
    return severity is Severity.FATAL and verdict is Verdict.FAILED


def _with(history: History, bars: tuple[Bar, ...]) -> History:
    return History(
        symbol=history.symbol,
        source=history.source,
        interval=history.interval,
        adjustment=Adjustment.ALL,
        timezone=history.timezone,
        received_at=history.received_at,
        bars=bars,
        currency=history.currency,
        null_rows=history.null_rows,
        extended_hours=history.extended_hours,
        dividends=history.dividends,
        splits=history.splits,
    )
