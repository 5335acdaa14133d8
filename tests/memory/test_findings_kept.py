"""Findings in the store: known after a restart, joined across processes, bounded, not in the way of answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiosqlite
import pytest

from mdagent_mcp.domain.answers import VoiceVerdict
from mdagent_mcp.domain.events import Compared
from mdagent_mcp.memory.archive import ArchiveLimits
from mdagent_mcp.memory.backlog import Backlog, BacklogLimits
from mdagent_mcp.memory.dependence import Pair
from mdagent_mcp.memory.finding_rows import prune_findings, read_findings, read_symbol_findings
from mdagent_mcp.memory.findings import Findings, FindingsLearner, SymbolFault, SymbolFaultKey
from mdagent_mcp.memory.migrations import MIGRATIONS, migrate
from mdagent_mcp.memory.patterns import EVERYTHING, TallyKey
from mdagent_mcp.memory.sqlite_connection import SqliteConnection
from mdagent_mcp.memory.store import Memory, MemoryOptions, open_memory
from mdagent_mcp.memory.tables import SESSION_TABLES, TABLES, Column
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON
from memory.voice_samples import Said, answered

BOTH_OPEN = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
RIGHT = {"beta": Said(100.0, VoiceVerdict.SERVED), "gamma": Said(100.0), "delta": Said(100.0)}


def london_faults(memory: Memory, first: int, count: int) -> None:
    """Alpha and its copy are wrong by a unit in London and right in New York; an authority finds both equally wrong."""
    for n in range(first, first + count):
        at = BOTH_OPEN + timedelta(seconds=n)
        wrong = Said(10_000.0 + n, VoiceVerdict.OUTLIER, "unit: 100x the served price, pence or cents")
        memory.keep(answered({"alpha": wrong, "alpha_copy": wrong, **RIGHT}, "VOD.L", at=at, evidence_id=f"l-{n}"))
        for source in ("alpha", "alpha_copy"):
            error = 0.05 + n / 1000
            memory.listen(Compared(source, f"M{n}", "price", at, error, 5e-4, 50e-4, 1e-8, 1.0))
        fine = {"alpha": Said(100.1), "alpha_copy": Said(100.1), **RIGHT}
        memory.keep(answered(fine, "AAPL", at=at, evidence_id=f"n-{n}"))


def assert_known(memory: Memory) -> None:
    """The pattern, the copies, and a caution that holds in London alone."""
    book = memory.patterns()
    assert {(p.source, p.fault) for p in book.all} == {("alpha", "unit"), ("alpha_copy", "unit")}
    assert memory.copies() == (Pair("alpha", "alpha_copy"),)
    assert (book.caution("alpha", ["venue:XLON"]) or 0.0) > 0.6
    assert book.caution("alpha", ["asset:us_equity"]) is None
    assert book.caution("beta", ["venue:XLON"]) is None


async def test_what_was_found_is_known_at_once_after_a_restart(tmp_path: Path) -> None:
    """Before the fault bites again."""
    path, clock = tmp_path / "memory.sqlite3", ManualClock(BOTH_OPEN)
    async with open_memory(path, clock) as memory:
        assert memory.patterns().all == ()
        london_faults(memory, 0, 20)
        await memory.flush()
        assert_known(memory)
    async with open_memory(path, clock) as memory:
        assert_known(memory)
        snapshot = await memory.symbol_snapshot("VOD.L")
    assert snapshot.findings.symbol_faults[SymbolFaultKey("VOD.L", "alpha", "unit")] == SymbolFault(
        20, (BOTH_OPEN + timedelta(seconds=19)).timestamp(), "l-19"
    )


async def test_two_memories_on_one_file_find_together_what_neither_finds_alone(tmp_path: Path) -> None:
    """Six faults each, and the writing of one takes over what the other wrote."""
    path, clock = tmp_path / "memory.sqlite3", ManualClock(BOTH_OPEN)
    async with open_memory(path, clock) as first, open_memory(path, clock) as second:
        london_faults(first, 0, 6)
        await first.flush()
        assert first.copies() == ()
        london_faults(second, 6, 6)
        await second.flush()
        assert second.copies() == (Pair("alpha", "alpha_copy"),)
        tally = second._stored.loaded.findings.tallies[TallyKey("alpha", EVERYTHING)]
    assert tally.faults["unit"].n == 12
    assert tally.trials == pytest.approx(24.0, abs=0.5)


async def test_findings_that_could_not_be_written_are_not_lost(tmp_path: Path) -> None:
    """They wait like everything else, and join what came in since."""
    learner, backlog = FindingsLearner(), Backlog(BacklogLimits())
    for n in range(3):
        backlog.add_findings(
            learner.learn_answer(answered({"alpha": Said(100.1), **RIGHT}, at=NOON, evidence_id=f"{n}"))
        )
    taken = backlog.drain()
    assert not backlog.findings
    backlog.add_findings(learner.learn_answer(answered({"alpha": Said(100.1), **RIGHT}, at=NOON)))
    backlog.restore(taken)
    assert backlog.findings.tallies[TallyKey("alpha", EVERYTHING)].trials == pytest.approx(4.0, abs=0.02)
    assert (backlog.dropped, taken.dropped) == (0, 0)


def test_what_waits_is_bounded() -> None:
    """And what is dropped is counted."""
    backlog = Backlog(BacklogLimits(outcomes=50))
    learner = FindingsLearner()
    for n in range(100):
        backlog.add_findings(learner.learn_answer(answered({"alpha": Said(100.1), **RIGHT}, f"S{n}")))
    assert len(backlog.findings.deviations) <= 50
    assert backlog.dropped > 0


async def test_rows_about_single_instruments_are_bounded_and_whole_sources_stay(tmp_path: Path) -> None:
    """The latest stay."""
    path, clock = tmp_path / "memory.sqlite3", ManualClock(NOON)
    async with open_memory(path, clock) as memory:
        for n in range(30):
            said = {"alpha": Said(103.0, VoiceVerdict.OUTLIER, "digit: 1"), **RIGHT}
            memory.keep(answered(said, f"S{n:02d}", at=NOON + timedelta(seconds=n), evidence_id=f"q-{n}"))
    async with aiosqlite.connect(path) as connection:
        store = SqliteConnection(connection)
        await prune_findings(store, 10)
        kept = await read_symbol_findings(store, None)
        whole = await read_findings(store)
    assert [key.symbol for key in kept.symbol_faults] == [f"S{n}" for n in range(20, 30)]
    assert {key.scope for key in kept.deviations} <= {f"symbol:S{n}" for n in range(26, 30)}
    assert any(key.source == "alpha" for key in whole.deviations)
    assert TallyKey("alpha", EVERYTHING) in whole.tallies


async def test_a_tally_that_nobody_can_read_is_counted_anew(tmp_path: Path) -> None:
    """Written by hand, or by another version."""
    path, clock = tmp_path / "memory.sqlite3", ManualClock(BOTH_OPEN)
    async with open_memory(path, clock) as memory:
        london_faults(memory, 0, 12)
    async with aiosqlite.connect(path) as connection:
        await connection.execute("UPDATE fault_tally SET faults = 'nonsense'")
        await connection.commit()
    async with open_memory(path, clock) as memory:
        assert memory.state == "ok"
        assert memory.patterns().all == ()
        london_faults(memory, 12, 20)
        await memory.flush()
        assert_known(memory)


async def test_the_list_of_tables_is_the_schema() -> None:
    """A table or a column that is not in the list would be missing from every export."""
    async with aiosqlite.connect(":memory:", isolation_level=None) as connection:
        await migrate(SqliteConnection(connection), 1.0)
        for table in TABLES:
            rows = list(await connection.execute_fetchall(f"PRAGMA table_info({table.name})"))
            assert tuple(row[1] for row in rows) == tuple(table.columns), table.name
            keys = sorted((row for row in rows if row[5]), key=lambda row: row[5])
            assert tuple(row[1] for row in keys) == table.keys, table.name
            optional = {Column.OPTIONAL_TEXT, Column.OPTIONAL_REAL}
            assert [not row[3] for row in rows if not row[5]] == [
                column in optional for name, column in table.columns.items() if name not in table.keys
            ], table.name
        found = await connection.execute_fetchall("SELECT name FROM sqlite_master WHERE type = 'table'")
    others = {"evidence", "migration", "note", "sqlite_sequence", *SESSION_TABLES}
    assert {name for (name,) in found} == {table.name for table in TABLES} | others


async def test_an_upgrade_keeps_what_earlier_versions_learned(tmp_path: Path) -> None:
    """A store of before findings were learned opens, and begins with none."""
    path = tmp_path / "memory.sqlite3"
    earlier = tuple(m for m in MIGRATIONS if m.name < "005")
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        await migrate(SqliteConnection(connection), 1.0, earlier)
        await connection.execute("INSERT INTO fault VALUES ('alpha', 'unit', 3, 1.0)")
    options = MemoryOptions(archive=ArchiveLimits(quotes=10))
    async with open_memory(path, ManualClock(NOON), options) as memory:
        assert (memory.state, memory.patterns().all, memory.copies()) == ("ok", (), ())
        assert (await memory.snapshot()).faults["alpha", "unit"].n == 3


def test_empty_findings_are_nothing_to_write() -> None:
    """An event that teaches nothing must not wake the writer."""
    backlog = Backlog(BacklogLimits())
    backlog.add_findings(Findings())
    assert backlog.added == 0
