"""Lessons of the teacher: learned at once, kept across restarts, joined with another process's."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mdagent_mcp.domain.events import Compared, Stamped, Verified
from mdagent_mcp.memory.lessons import Lessons, combine_lessons, learn
from mdagent_mcp.memory.store import Memory, open_memory
from mdagent_mcp.resilience.calibration import calibrated
from mdagent_mcp.resilience.clock_offset import USUAL_S, offset_s
from mdagent_mcp.resilience.latency import quantile
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON


def compared(source: str = "alpha", error: float = 0.0) -> Compared:
    """A claim against an authority's word."""
    return Compared(source, "AAPL", "price", NOON, error, 5e-4, 50e-4, 1e-8, 1.0)


def teach(memory: Memory, times: int) -> None:
    """Alpha is right, beta a hundredfold off, nine of ten answers right, alpha's clock two seconds ahead."""
    for number in range(times):
        memory.listen(compared())
        memory.listen(compared("beta", 4.6))
        memory.listen(Verified("AAPL", NOON, 0.97, number % 10 != 0, 2, 1.5))
        memory.listen(Stamped("alpha", NOON + timedelta(seconds=number), USUAL_S - 2.0))


async def test_lessons_are_known_at_once_and_after_a_restart(tmp_path: Path) -> None:
    """The same before and after."""
    path, clock = tmp_path / "memory.db", ManualClock(NOON)
    async with open_memory(path, clock) as memory:
        teach(memory, 40)
        before = memory.lessons()
    async with open_memory(path, clock) as memory:
        after = memory.lessons()
    for lessons in (before, after):
        assert lessons.records["alpha", "price"].hits == pytest.approx(40, rel=0.02)
        assert lessons.records["beta", "price"].faults == pytest.approx(40, rel=0.02)
        assert calibrated(lessons.confidence, 0.97) == pytest.approx(0.9, abs=0.02)
        assert quantile(lessons.misses[2], 0.5) == pytest.approx(1.5, rel=0.02)
        assert offset_s(lessons.clocks["alpha"]) == pytest.approx(2.0, abs=0.1)


async def test_two_processes_lessons_add_up(tmp_path: Path) -> None:
    """Nobody overwrites what the other learned."""
    path, clock = tmp_path / "memory.db", ManualClock(NOON)
    async with open_memory(path, clock) as one, open_memory(path, clock) as other:
        teach(one, 10)
        teach(other, 10)
        await one.flush()
        await other.flush()
    async with open_memory(path, clock) as memory:
        assert memory.lessons().records["alpha", "price"].trials == pytest.approx(20, rel=0.02)
        assert sum(memory.lessons().confidence.trials) == pytest.approx(20)


def test_nothing_adds_nothing() -> None:
    """The empty lessons are neutral."""
    lessons = learn(compared(), Lessons())
    assert combine_lessons(Lessons(), lessons) == lessons
