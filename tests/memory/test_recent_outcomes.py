"""Behaviour of what routing goes by: recent outcomes, forgotten fast, kept across restarts."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from functools import reduce
from pathlib import Path

import aiosqlite
import pytest

from mdagent_mcp.domain.events import Judged
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.memory.learning import (
    Cell,
    CellKey,
    as_of,
    combine,
    doubted,
    learn_fetched,
    learn_judged,
)
from mdagent_mcp.memory.migrations import MIGRATIONS, migrate
from mdagent_mcp.memory.rows import read_cells
from mdagent_mcp.memory.sqlite_connection import SqliteConnection
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.resilience.latency import recorded, share_within
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched

SHARES = CellKey("alpha", "quote", "asset:us_equity")
SAYS = Judged("alpha", "AAPL", Endpoint.QUOTE, NOON, agreed=True, delay_s=0.5, complete=True)


def shares_after(*kinds: FailureKind | None) -> Cell:
    """The cell of US shares after these calls."""
    return reduce(combine, [dict(learn_fetched(fetched("alpha", kind)))[SHARES] for kind in kinds])


def test_a_source_that_changes_is_noticed_within_twenty_outcomes() -> None:
    """Half of what is believed then is new; the reliability that is displayed hardly moves."""
    cell = shares_after(*[None] * 200, *[FailureKind.TIMEOUT] * 20)
    now = as_of(cell, cell.updated_at)
    assert now.recent_right / (now.recent_right + now.recent_wrong) == pytest.approx(0.5, abs=0.02)
    assert cell.right / (cell.right + cell.wrong) > 0.88


def test_recent_outcomes_fade_by_the_clock_and_not_by_a_restart() -> None:
    """Half of all that routing goes by in fourteen days; what is told of reliability fades where it is joined."""
    cell = combine(shares_after(*[None] * 10), dict(learn_judged(SAYS))[SHARES])
    later = as_of(cell, cell.updated_at + 14 * 86_400)
    assert as_of(cell, cell.updated_at) == cell
    assert later == replace(
        cell,
        recent_right=cell.recent_right / 2,
        recent_full=0.5,
        delay=later.delay,
        recent_s=cell.recent_s / 2,
        recent_calls=cell.recent_calls / 2,
    )
    assert later.delay.total == pytest.approx(0.5)


def test_nothing_that_is_known_is_lost_where_a_cell_is_made_anew() -> None:
    """Neither at the instant of its newest outcome nor where all of it is believed, whatever fields there are."""
    quick = recorded([0.1, 0.2])
    cell = Cell(
        NOON.timestamp(), 5.0, 2.0, 9, quick, 1.0, 2.0, "timeout: late", 4.0, 1.5, quick, 3.0, 0.5, 2.5, 7.0, 1.0
    )
    empty = Cell(0.0)
    assert all(getattr(cell, each.name) != getattr(empty, each.name) for each in fields(Cell))
    assert as_of(cell, cell.updated_at) == cell
    assert doubted(cell, cell, 1.0) == cell


def test_a_judgement_teaches_how_late_a_price_was_and_whether_all_was_stated() -> None:
    """Of the source and its asset class; of the symbol only what was stated."""
    learned = dict(learn_judged(SAYS))
    assert share_within(learned[SHARES].delay, 2.0) == 1.0
    assert (learned[SHARES].recent_full, learned[SHARES].recent_bare) == (1.0, 0.0)
    assert learned[CellKey("alpha", "quote", "symbol:AAPL")].delay.total == 0
    assert list(learn_judged(replace(SAYS, delay_s=None, complete=None))) == []


def test_what_is_not_believed_any_more_does_not_count_but_what_came_since_does() -> None:
    """Ten right outcomes that are disbelieved, then five wrong ones."""
    earlier = shares_after(*[None] * 10)
    cell = combine(earlier, shares_after(*[FailureKind.TIMEOUT] * 5))
    assert doubted(cell, earlier, 1.0) == cell
    left = doubted(cell, earlier, 0.0)
    assert (left.recent_right, left.right, left.recent_calls, left.recent_s) == pytest.approx((0.0, 0.0, 0.0, 0.0))
    assert left.recent_wrong == cell.recent_wrong
    half = doubted(cell, earlier, 0.5)
    assert half.recent_right == pytest.approx(cell.recent_right / 2)


async def test_all_of_it_is_there_after_a_restart(tmp_path: Path) -> None:
    """As it was when it was written."""
    clock = ManualClock(NOON)
    async with open_memory(tmp_path / "m.sqlite3", clock) as memory:
        memory.listen(fetched("alpha", None, latency_s=0.25))
        memory.listen(SAYS)
        memory.listen(fetched("alpha", FailureKind.TIMEOUT))
        before = memory.cell(SHARES)
    async with open_memory(tmp_path / "m.sqlite3", ManualClock(NOON + timedelta(days=1))) as memory:
        after = memory.cell(SHARES)
    assert before is not None
    assert after is not None
    assert after == replace(before, last_error="timeout", delay=after.delay, latency=after.latency)
    assert after.delay.total == pytest.approx(before.delay.total, abs=1e-3)


async def test_a_store_from_before_starts_with_what_it_knows(tmp_path: Path) -> None:
    """Its slow sums, worth as much as thirty recent outcomes at most."""
    before = tuple(m for m in MIGRATIONS if m.name < "009")
    async with aiosqlite.connect(tmp_path / "m.sqlite3", isolation_level=None) as opened:
        connection = SqliteConnection(opened)
        await migrate(connection, 1.0, before)
        columns = "source, endpoint, scope, updated_at, right_count, wrong_count, outcomes, latency, last_error"
        for scope, right, wrong in (("", 270.0, 30.0), ("asset:us_equity", 6.0, 2.0)):
            await opened.execute(
                f"INSERT INTO cell ({columns}) VALUES ('alpha', '', '{scope}', 5.0, {right}, {wrong}, 300, '[]', '')"  # noqa: S608 - own values
            )
        await migrate(connection, 2.0)
        cells = await read_cells(connection)
    recent = {key.scope: (cell.recent_right, cell.recent_wrong) for key, cell in cells.items()}
    assert recent == {"": (27.0, 3.0), "asset:us_equity": (6.0, 2.0)}
