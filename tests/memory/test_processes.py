"""Several processes on one file, and processes that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.memory.store import Memory, MemoryOptions, open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, quote_answer

_TESTS = Path(__file__).resolve().parents[1]

_WORKER = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(_TESTS)!r})
from memory.memory_samples import NOON, fetched, quote_answer
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock

async def main():
    async with open_memory(Path(sys.argv[1]), ManualClock(NOON)) as memory:
        assert memory.state == "ok", memory.state
        rounds = int(sys.argv[3])
        n = 0
        while n != rounds:
            n += 1
            memory.keep(quote_answer(f"q-{{sys.argv[2]}}-{{n}}", f"S{{n % 7}}"))
            memory.listen(fetched("alpha"))
            await memory.flush()
            assert memory.state == "ok", memory.state
            print(n, flush=True)

asyncio.run(main())
"""


def _start(path: Path, name: str, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WORKER, str(path), name, str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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


def test_processes_that_start_at_once_share_a_new_file(tmp_path: Path) -> None:
    """Four processes make the store, migrate it and write to it together: nothing is lost or refused."""
    path = tmp_path / "data" / "memory.sqlite3"
    workers = [_start(path, str(n), 10) for n in range(4)]
    endings = [(worker.communicate(timeout=60)[1], worker.returncode) for worker in workers]
    assert endings == [("", 0)] * 4
    assert _totals(path) == (5, 7, 40)


def test_a_process_killed_while_writing_leaves_a_sound_store(tmp_path: Path) -> None:
    """SIGKILL in mid-write, three times: the store opens in its place with everything that was reported as written."""
    path = tmp_path / "memory.sqlite3"
    written = 0
    for round_number in range(3):
        worker = _start(path, str(round_number), -1)
        assert worker.stdout is not None
        for _ in range(25):
            line = worker.stdout.readline()
            assert line, worker.stderr.read() if worker.stderr else ""
        os.kill(worker.pid, signal.SIGKILL)
        rest = worker.communicate(timeout=60)[0].split()
        written += int(rest[-1]) if rest else int(line)
    sessions, symbols, observations = _totals(path)
    assert (sessions, symbols) == (4, 7)
    # One batch of each process may have been committed and not been reported any more.
    assert written <= observations <= written + 3
    assert [file.name for file in tmp_path.iterdir()] == ["memory.sqlite3"]


def _totals(path: Path) -> tuple[int, int, int]:
    import anyio  # noqa: PLC0415 - only these tests are not coroutines themselves

    async def read() -> tuple[int, int, int]:
        async with open_memory(path, ManualClock(NOON), MemoryOptions()) as memory:
            assert memory.state == "ok"
            return memory.totals()

    return anyio.run(read)
