"""What a kill, a power cut, damage and a sick disk leave behind: a sound store with all but the last moments."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from mdagent_mcp.memory import copies, database
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, history_answer, quote_answer, run
from memory_processes import killed, started
from memory_worker import EVENTS_PER_ROUND, totals_at


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store of a test lies."""
    return tmp_path / "memory.sqlite3"


@pytest.fixture
def clock() -> ManualClock:
    """A known day."""
    return ManualClock(NOON)


async def test_processes_killed_while_writing_leave_a_sound_store(path: Path) -> None:
    """Twice five at once, each killed at a random moment: what each reported is there, and one batch more at most."""
    rng, reported = random.Random(20261123), Counter[str]()
    for round_number in range(2):
        workers = [started(str(path), f"k{round_number}-{n}", rng.getrandbits(30)) for n in range(5)]
        for worker in workers:
            reported += killed(worker, rng.random() * 0.2)
        assert _is_sound(path)
        found = Counter(await totals_at(str(path)))
        assert reported - found == Counter()
        # One batch of each may have been committed and not been reported any more; an event counts thrice at most.
        assert (found - reported).total() <= 3 * EVENTS_PER_ROUND * 5 * (round_number + 1)
    assert not list(path.parent.glob("*.broken-*"))


async def test_a_power_cut_at_any_moment_costs_the_last_batches_alone(
    path: Path, clock: ManualClock, tmp_path: Path
) -> None:
    """The log cut off at 200 random lengths: it opens as it is, with a beginning of what was written, in order."""
    cut, rng = tmp_path / "cut" / "memory.sqlite3", random.Random(4)
    async with open_memory(path, clock) as memory:
        for n in range(40):
            memory.keep(quote_answer(f"q-{n}"))
            memory.listen(fetched("alpha"))
            await memory.flush()
        log = Path(f"{path}-wal").read_bytes()
        found = set()
        for _ in range(200):
            shutil.rmtree(cut.parent, ignore_errors=True)
            cut.parent.mkdir()
            shutil.copyfile(path, cut)
            Path(f"{cut}-wal").write_bytes(log[: rng.randrange(len(log) + 1)])
            found.add(_beginning_of(cut))
    assert found >= {40} or max(found) >= 38
    assert len(found) > 30


def _beginning_of(path: Path) -> int:
    """How many of the batches are there; each wrote one answer and one outcome."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'evidence'").fetchall():
            return 0
        kept = [name for (name,) in connection.execute("SELECT id FROM evidence ORDER BY seq")]
        ((outcomes,),) = connection.execute("SELECT coalesce(sum(outcomes), 0) FROM cell WHERE scope = ''").fetchall()
    finally:
        connection.close()
    assert kept == [f"q-{n}" for n in range(len(kept))]
    assert outcomes == len(kept)
    return len(kept)


async def test_a_cut_log_is_no_trouble_for_memory(path: Path, clock: ManualClock, tmp_path: Path) -> None:
    """It starts, says that all is well, and goes on from there."""
    cut = tmp_path / "cut" / "memory.sqlite3"
    cut.parent.mkdir()
    async with open_memory(path, clock) as memory:
        for n in range(10):
            memory.keep(quote_answer(f"q-{n}"))
            await memory.flush()
        shutil.copyfile(path, cut)
        log = Path(f"{path}-wal").read_bytes()
    Path(f"{cut}-wal").write_bytes(log[: len(log) * 2 // 3 + 100])
    async with open_memory(cut, clock) as memory:
        assert memory.state == "ok"
        assert await memory.evidence("q-3") == quote_answer("q-3")
        memory.keep(quote_answer("q-new"))
        await memory.flush()
        assert memory.state == "ok"


async def test_a_copy_is_made_every_day_and_two_are_kept(path: Path, clock: ManualClock) -> None:
    """Each whole, by itself, readable by its owner alone."""
    async with open_memory(path, clock) as memory:
        memory.keep(quote_answer())
        await memory.flush()
        for _ in range(4):
            await clock.advance(86_400.0)
            await memory._writer.check()
    kept = copies.copies(path)
    assert len(kept) == 2
    assert len({oct(copy.stat().st_mode & 0o777) for copy in kept} | {"0o600"}) == 1
    connection = sqlite3.connect(kept[0])
    assert connection.execute("SELECT id FROM evidence").fetchall() == [("q-1",)]
    connection.close()
    assert not list(path.parent.glob("*unfinished*"))


async def test_damage_is_repaired_by_the_last_sound_copy(path: Path, clock: ManualClock) -> None:
    """The latest copy is damaged as well, so the one before it is taken; the status tells its day."""
    async with open_memory(path, clock) as memory:
        memory.keep(quote_answer())
        memory.listen(fetched("alpha"))
        await memory.flush()
        await memory._writer.check()
    copies.copies(path)[0].with_name("memory.sqlite3.copy-20261124").write_bytes(b"no database" * 1000)
    path.write_bytes(b"broken" * 1000)
    async with open_memory(path, clock) as memory:
        assert memory.state == (
            "recovered from the copy of 2026-11-23: memory.sqlite3 was damaged "
            "and is kept as memory.sqlite3.broken-20261123T170000"
        )
        assert await memory.evidence("q-1") == quote_answer()
        assert memory.totals() == (2, 1, 1)
        memory.keep(quote_answer("q-2"))
    assert Path(f"{path}.broken-20261123T170000").read_bytes() == b"broken" * 1000
    async with open_memory(path, clock) as memory:
        assert memory.state == "ok"
        assert await memory.evidence("q-2") == quote_answer("q-2")


async def test_a_large_store_is_checked_in_the_background(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens without a look at every page; when damage is found then, the copy takes its place and work goes on."""
    async with open_memory(path, clock) as memory:
        memory.keep(history_answer("h-0", bars=4000))
        await memory.flush()
        await memory._writer.check()
    _damage(path, "fault")
    monkeypatch.setattr(database, "CHECKED_AT_ONCE_BYTES", 0)
    async with open_memory(path, clock) as memory:
        assert memory.state == "ok"
        memory.listen(fetched("alpha"))
        await memory._writer.check()
        assert memory.state.startswith("recovered from the copy of 2026-11-23: memory.sqlite3 was damaged")
        assert await memory.evidence("h-0") == history_answer("h-0", bars=4000)
        assert memory.totals().observations == 1
    async with open_memory(path, clock) as memory:
        assert memory.totals() == (3, 0, 1)


async def test_a_disk_that_is_read_only_for_a_while_heals_by_itself(path: Path, clock: ManualClock) -> None:
    """What is known stays known, what is learned waits; the next attempt is made on a new connection."""
    async with open_memory(path, clock) as memory:
        memory.listen(fetched("alpha"))
        await memory.flush()
        await run(memory, "PRAGMA query_only=1")
        memory.listen(fetched("alpha"))
        await memory.flush()
        assert memory.state == "not saving at the moment: attempt to write a readonly database"
        assert memory.totals().observations == 2
        await memory.flush()
        assert memory.state == "ok"
    async with open_memory(path, clock) as memory:
        assert memory.totals() == (2, 0, 2)


async def test_a_disk_that_comes_late_is_joined(path: Path, clock: ManualClock) -> None:
    """Nothing can be made there at the start; later the directory of an earlier session is there again."""
    aside = path.parent / "aside"
    place = path.parent / "data"
    async with open_memory(place / path.name, clock) as memory:
        memory.listen(fetched("alpha"))
        memory.keep(quote_answer())
    place.rename(aside)
    place.write_text("no directory")
    async with open_memory(place / path.name, clock) as memory:
        assert memory.state == "kept in RAM until it can be saved: memory.sqlite3 cannot be used (Not a directory)"
        memory.listen(fetched("alpha"))
        memory.keep(quote_answer("q-2"))
        assert memory.totals().observations == 1
        place.unlink()
        aside.rename(place)
        await memory.flush()
        assert memory.state == "ok"
        assert memory.totals() == (2, 1, 2)
        assert await memory.evidence("q-1") == quote_answer()
        assert await memory.evidence("q-2") == quote_answer("q-2")


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be taken away there")
async def test_a_file_that_was_taken_away_is_made_again(path: Path, clock: ManualClock) -> None:
    """Somebody deleted it, or put another one in its place: that is said at once, and the next batch goes there."""
    async with open_memory(path, clock) as memory:
        memory.listen(fetched("alpha"))
        await memory.flush()
        path.rename(path.with_name("elsewhere"))
        assert memory.state == "not saving at the moment: the store has gone"
        memory.listen(fetched("alpha"))
        await memory.flush()
        assert memory.state == "ok"
    assert await totals_at(str(path)) == {"outcomes alpha": 1, "symbol outcomes": 1}


def _is_sound(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def _damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    connection = sqlite3.connect(path)
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchall()
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\x5a" * 4096
    path.write_bytes(content)
