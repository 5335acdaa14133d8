"""Whatever is wrong with the file, memory opens, works and says what is wrong."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.memory.backlog import BacklogLimits
from mdagent_mcp.memory.store import Memory, MemoryOptions, open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, history_answer, quote_answer, run


@pytest.fixture
def clock() -> ManualClock:
    """A known instant, so that file names are known."""
    return ManualClock(NOON)


async def _works(memory: Memory) -> None:
    memory.keep(quote_answer())
    memory.listen(fetched("alpha"))
    await memory.flush()
    assert await memory.evidence("q-1") == quote_answer()
    assert memory.source_knowledge("alpha") is not None


@pytest.mark.parametrize("content", [b"not a database at all" * 500, b"SQLite format 3\x00" + b"\xff" * 8000])
async def test_a_damaged_file_is_put_aside(tmp_path: Path, clock: ManualClock, content: bytes) -> None:
    """It is kept under another name, a new one is begun, and the state tells of both."""
    path = tmp_path / "memory.sqlite3"
    path.write_bytes(content)
    async with open_memory(path, clock) as memory:
        assert memory.state == (
            "started afresh: memory.sqlite3 was damaged and is kept as memory.sqlite3.broken-20261123T170000"
        )
        await _works(memory)
    assert (tmp_path / "memory.sqlite3.broken-20261123T170000").read_bytes() == content
    async with open_memory(path, clock) as memory:
        assert memory.state == "ok"
        assert await memory.evidence("q-1") == quote_answer()


async def test_damage_in_the_middle_is_noticed(tmp_path: Path, clock: ManualClock) -> None:
    """A store with pages overwritten is put aside at the next start, twice in one second under two names."""
    path = tmp_path / "memory.sqlite3"
    for _ in range(2):
        async with open_memory(path, clock) as memory:
            memory.keep(history_answer(bars=4000))
            await _works(memory)
        content = bytearray(path.read_bytes())
        content[4096 : len(content) // 2] = b"\x5a" * (len(content) // 2 - 4096)
        path.write_bytes(content)
    async with open_memory(path, clock) as memory:
        assert memory.state.endswith("memory.sqlite3.broken-20261123T170000-2")
        await _works(memory)


async def test_damage_where_opening_does_not_look_is_noticed(tmp_path: Path, clock: ManualClock) -> None:
    """A single page of a table that is read much later is enough."""
    path = tmp_path / "memory.sqlite3"
    async with open_memory(path, clock) as memory:
        memory.listen(fetched("alpha", FailureKind.TIMEOUT))
    connection = sqlite3.connect(path)
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'fault'").fetchall()
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\x5a" * 4096
    path.write_bytes(content)
    async with open_memory(path, clock) as memory:
        assert memory.state.startswith("started afresh: memory.sqlite3 was damaged")


async def test_a_directory_in_place_of_the_file_leaves_memory_in_ram(tmp_path: Path, clock: ManualClock) -> None:
    """It opens, works until the end and says why nothing will stay."""
    path = tmp_path / "memory.sqlite3"
    path.mkdir()
    async with open_memory(path, clock) as memory:
        assert memory.state == (
            "kept in RAM until it can be saved: memory.sqlite3 cannot be used (unable to open database file)"
        )
        await _works(memory)


async def test_a_file_in_place_of_the_directory_leaves_memory_in_ram(tmp_path: Path, clock: ManualClock) -> None:
    """The same where the directory cannot be made."""
    (tmp_path / "data").write_text("a file")
    async with open_memory(tmp_path / "data" / "memory.sqlite3", clock) as memory:
        assert memory.state == "kept in RAM until it can be saved: memory.sqlite3 cannot be used (Not a directory)"
        await _works(memory)
    assert (tmp_path / "data").read_text() == "a file"


async def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    """Nothing in it is changed; memory works in RAM and says so."""
    path = tmp_path / "memory.sqlite3"
    async with open_memory(path, clock):
        pass
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO migration VALUES ('999_later', 0)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    async with open_memory(path, clock) as memory:
        assert memory.state == (
            "kept in RAM until it can be saved: memory.sqlite3 cannot be used "
            "(written by a newer version (its schema has 999_later))"
        )
        await _works(memory)
    assert path.read_bytes() == before


async def test_a_full_disk_delays_writing_and_loses_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """What cannot be written waits in RAM, is still found, and is written when there is room again."""
    path = tmp_path / "memory.sqlite3"
    async with open_memory(path, clock) as memory:
        await _limit_pages(memory, 1)
        memory.keep(history_answer(bars=4000))
        memory.listen(fetched("alpha"))
        for _ in range(2):
            await memory.flush()
            assert memory.state == "not saving at the moment: database or disk is full"
        known = memory.source_knowledge("alpha")
        assert known is not None
        assert known.observations == 1
        assert await memory.latest("AAPL", "history") == history_answer(bars=4000)
        await _limit_pages(memory, 1_000_000)
        await memory.flush()
        assert memory.state == "ok"
        assert memory.source_knowledge("alpha") == known
    async with open_memory(path, clock) as memory:
        assert await memory.evidence("h-1") == history_answer(bars=4000)
        assert memory.totals() == (2, 0, 1)


async def test_what_waits_for_a_full_disk_is_bounded(tmp_path: Path, clock: ManualClock) -> None:
    """The oldest answers are given up and counted; RAM does not grow with the outage."""
    options = MemoryOptions(backlog=BacklogLimits(outcomes=10, quotes=3, histories=1))
    async with open_memory(tmp_path / "memory.sqlite3", clock, options) as memory:
        await _limit_pages(memory, 1)
        memory.keep(history_answer(bars=4000))
        for n in range(5):
            memory.keep(quote_answer(f"q-{n}"))
            await memory.flush()
        assert memory.state == "not saving at the moment: database or disk is full; 2 entries were lost"
        assert await memory.evidence("q-1") is None
        assert await memory.evidence("q-2") == quote_answer("q-2")


async def test_a_lock_held_by_another_program_is_waited_out_in_ram(tmp_path: Path, clock: ManualClock) -> None:
    """Somebody's open transaction delays writing; afterwards everything is there, once."""
    path = tmp_path / "memory.sqlite3"
    async with open_memory(path, clock) as memory:
        await run(memory, "PRAGMA busy_timeout=10")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        memory.listen(fetched("alpha"))
        await memory.flush()
        assert memory.state == "not saving at the moment: database is locked"
        other.execute("ROLLBACK")
        other.close()
        await memory.flush()
        assert memory.state == "ok"
    async with open_memory(path, clock) as memory:
        assert memory.totals() == (2, 0, 1)


async def test_unreadable_evidence_is_none(tmp_path: Path, clock: ManualClock) -> None:
    """Bytes of another version do not break an explanation; there just is none."""
    path = tmp_path / "memory.sqlite3"
    async with open_memory(path, clock) as memory:
        memory.keep(quote_answer())
    connection = sqlite3.connect(path)
    connection.execute("UPDATE evidence SET body = x'00'")
    connection.commit()
    connection.close()
    async with open_memory(path, clock) as memory:
        assert await memory.evidence("q-1") is None


async def test_a_closed_memory_answers_none(clock: ManualClock) -> None:
    """A straggler that asks after the end gets nothing, and no error."""
    async with open_memory(None, clock) as memory:
        pass
    memory.listen(fetched("alpha"))
    memory.keep(quote_answer("q-late"))
    assert await memory.evidence("q-1") is None


async def _limit_pages(memory: Memory, pages: int) -> None:
    """SQLite's own way to make a disk full."""
    await run(memory, f"PRAGMA max_page_count={pages}")
