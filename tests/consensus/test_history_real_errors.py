"""Real errors of a real vendor, with their repaired counterparts, where the shared evidence lies beside the project.

Nothing of the files is in this repository; the numbers asserted are how many of them the checks flag and repair.
`benchmarks/history.py` reports them file by file.
"""

from __future__ import annotations

import math
from datetime import date
from functools import cache

import pytest

from history_quality.real_errors import (
    ERROR_RULES,
    FOLDER,
    FileResult,
    check_pair,
    controls,
    failed_rules,
    judge,
    load,
    pairs,
)
from mdagent_mcp.domain.prices import Adjustment

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the labelled real errors are not at {FOLDER}: real vendor errors stay UNTESTED here"
)


@cache
def results() -> tuple[FileResult, ...]:
    """Every pair, judged once."""
    return tuple(check_pair(pair) for pair in pairs())


def test_nine_of_ten_broken_files_are_flagged_with_their_kind_of_error() -> None:
    """Units, splits, dividends, capital gains, each under its own rules."""
    missed = [r.labelled.name for r in results() if not r.flagged]
    assert len(results()) >= 18
    assert len(missed) <= 0.1 * len(results()), missed


def test_four_of_five_wrong_cells_are_repaired_to_their_label_in_total_and_in_most_files() -> None:
    """Within half a percent of the labelled value."""
    wrong, repaired = (sum(getattr(r, name) for r in results()) for name in ("wrong", "repaired"))
    assert repaired >= 0.8 * wrong
    short = [r.labelled.name for r in results() if r.repaired < 0.8 * r.wrong]
    assert len(short) <= 0.1 * len(results()), short


def test_at_most_one_repaired_twin_still_raises_its_own_alarm() -> None:
    """The twin has the error removed that the file is about."""
    assert sum(bool(r.false_alarm) for r in results()) <= 1


def test_no_control_raises_an_alarm_and_nothing_in_it_is_changed() -> None:
    """Series that were suspected of an error and have none, on both bases."""
    judged = {
        (name, adjustment): judge(load(name), adjustment)
        for name, _ in controls()
        for adjustment in (Adjustment.SPLITS, Adjustment.ALL)
    }
    assert len(judged) >= 8
    assert {key: failed_rules(each) & ERROR_RULES for key, each in judged.items()} == dict.fromkeys(judged, frozenset())
    assert [key for key, each in judged.items() if each.repairs] == []


def test_files_cover_finished_sessions() -> None:
    """The reader's receive time lies after the last session of every file."""
    for pair in pairs():
        history = load(f"{pair.name}-fixed")
        assert history.bars[-1].day < history.received_at.date() <= date(2027, 1, 1)
        assert all(math.isfinite(b.close) for b in history.bars)
