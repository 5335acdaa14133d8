"""The writing task: it tries again by itself, and a flush that is cut short loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mdagent_mcp.memory.archive import ArchiveLimits
from mdagent_mcp.memory.backlog import AnswerCount, Backlog, BacklogLimits, Membership
from mdagent_mcp.memory.learning import Cell, CellKey
from mdagent_mcp.memory.store import MemoryOptions, open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, history_answer, quote_answer, run


async def _until(condition: Callable[[], bool], clock: ManualClock) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        await clock.settle()


async def test_a_refused_write_is_tried_again_by_itself(tmp_path: Path) -> None:
    """The disk is full at first; five seconds later there is room and everything is written."""
    clock = ManualClock(NOON)
    async with open_memory(tmp_path / "memory.sqlite3", clock) as memory:
        await run(memory, "PRAGMA max_page_count=1")
        memory.keep(history_answer(bars=4000))
        await clock.advance(1.0)
        await _until(lambda: memory.state.startswith("not saving"), clock)
        await run(memory, "PRAGMA max_page_count=1000000")
        await clock.advance(5.0)
        await clock.advance(1.0)
        await _until(lambda: memory.state == "ok", clock)


@pytest.mark.parametrize("rounds", range(1, 40, 3))
async def test_a_cancelled_flush_loses_nothing(tmp_path: Path, rounds: int) -> None:
    """Cut short anywhere, what was on its way is back in the backlog and written by the next one, counted once."""
    path, clock = tmp_path / "memory.sqlite3", ManualClock(NOON)
    async with open_memory(path, clock) as memory:
        memory.keep(quote_answer())
        memory.listen(fetched("alpha"))
        async with anyio.create_task_group() as group:
            group.start_soon(memory.flush)
            for _ in range(rounds):
                await checkpoint()
            if not memory._writer.backlog.answers and memory._writer.under_way.answers:
                group.cancel_scope.cancel()
        assert await memory.evidence("q-1") == quote_answer()
        assert memory.totals().observations == 1
    async with open_memory(path, clock) as memory:
        assert await memory.evidence("q-1") == quote_answer()
        assert memory.totals() == (2, 1, 1)


def test_a_backlog_gives_and_takes_back() -> None:
    """Drained it is empty; restored it holds both, the earlier part discounted as if nothing had happened."""
    backlog, plain = Backlog(BacklogLimits()), Backlog(BacklogLimits())
    for part in (backlog, plain):
        part.add_cell(CellKey("alpha"), Cell(1.0, right=1.0, outcomes=1))
        part.add_fault("alpha", "timeout", 1.0)
        part.add_membership("alpha", "us_equity", Membership("tape", 1.0))
        part.add_answer(quote_answer())
        part.add_count(AnswerCount(answers=1))
    taken = backlog.drain()
    assert (backlog.cells, backlog.faults, backlog.answers, backlog.added) == ({}, {}, (), 0)
    for part in (backlog, plain):
        part.add_cell(CellKey("alpha"), Cell(2.0, wrong=1.0, outcomes=1))
        part.add_fault("alpha", "timeout", 2.0)
        part.add_answer(history_answer())
        part.add_count(AnswerCount(unanswered=1))
    backlog.restore(taken)
    assert (backlog.cells, backlog.faults, backlog.memberships, backlog.answers, backlog.count) == (
        plain.cells,
        plain.faults,
        plain.memberships,
        plain.answers,
        plain.count,
    )


def test_what_was_touched_last_is_dropped_last() -> None:
    """A source that is heard of all the time keeps its place among many symbols."""
    backlog = Backlog(BacklogLimits(outcomes=3))
    for n in range(10):
        backlog.add_cell(CellKey("alpha"), Cell(float(n), right=1.0, outcomes=1))
        backlog.add_cell(CellKey("alpha", "quote", f"symbol:S{n}"), Cell(float(n), right=1.0, outcomes=1))
    assert list(backlog.cells) == [
        CellKey("alpha", "quote", "symbol:S8"),
        CellKey("alpha"),
        CellKey("alpha", "quote", "symbol:S9"),
    ]
    assert (backlog.cells[CellKey("alpha")].outcomes, backlog.dropped) == (10, 8)


def test_nonsense_options_are_refused() -> None:
    """Room for nothing and intervals of zero are mistakes."""
    with pytest.raises(ValueError, match="backlog"):
        BacklogLimits(quotes=0)
    with pytest.raises(ValueError, match="kept"):
        ArchiveLimits(age_s=0.0)
    with pytest.raises(ValueError, match="intervals"):
        MemoryOptions(flush_s=0.0)
