"""Several processes on one file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.memory.store import Memory, open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, quote_answer
from memory_processes import did, started
from memory_worker import totals_at


async def test_two_memories_on_one_file_add_up(tmp_path: Path) -> None:
    """What both learned is in the store, neither overwrites the other, and each sees the sum after writing."""
    path, clock = tmp_path / "memory.sqlite3", ManualClock(NOON)
    async with open_memory(path, clock) as first, open_memory(path, clock) as second:
        for memory, answered, failed in ((first, 6, 2), (second, 3, 1), (first, 1, 0)):
            for _ in range(answered):
                memory.listen(fetched("alpha"))
            for _ in range(failed):
                memory.listen(fetched("alpha", FailureKind.TIMEOUT))
            memory.keep(quote_answer(f"q-{answered}", price=100.0 + answered))
            await memory.flush()
        assert first.source_knowledge("alpha") != second.source_knowledge("alpha")
        assert await second.evidence("q-6") == quote_answer("q-6", price=106.0)
    async with open_memory(path, clock) as memory:
        await memory.recall(["AAPL"])
        known, symbol = memory.source_knowledge("alpha"), memory.symbol_knowledge("AAPL")
        snapshot = await memory.snapshot()
        assert memory.totals() == (3, 1, 13)
    assert known is not None
    assert symbol is not None
    assert known.reliability.estimate == pytest.approx((10 + 1.8) / (13 + 2.0), abs=0.01)
    assert known.reliability.observations == pytest.approx(13.0, abs=0.2)
    assert (symbol.low, symbol.high, symbol.observations) == (101.0, 106.0, 3)
    assert snapshot.faults["alpha", "timeout"].n == 3


async def test_what_another_process_learned_is_known_after_writing(tmp_path: Path) -> None:
    """Joining its own outcomes to the store, a memory takes over what it finds there."""
    path, clock = tmp_path / "memory.sqlite3", ManualClock(NOON)
    async with open_memory(path, clock) as first, open_memory(path, clock) as second:
        for _ in range(9):
            second.listen(fetched("alpha"))
        await second.flush()
        first.listen(fetched("alpha"))
        assert _observations(first) == 1
        await first.flush()
        assert _observations(first) == 10


def _observations(memory: Memory) -> int:
    known = memory.source_knowledge("alpha")
    assert known is not None
    return known.observations


async def test_processes_on_one_file_add_up(tmp_path: Path) -> None:
    """Four of them make the store, migrate it and write at once; every count is the sum of what they did."""
    path = tmp_path / "data" / "memory.sqlite3"
    workers = [started(str(path), f"w{n}", n, rounds=15) for n in range(4)]
    done: Counter[str] = sum(map(did, workers), Counter())
    assert await totals_at(str(path)) == dict(done)
