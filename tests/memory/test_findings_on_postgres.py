"""Findings, export and import on a real PostgreSQL server: the same statements, the same results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from mdagent_mcp.cli import main
from mdagent_mcp.memory.finding_rows import prune_findings
from mdagent_mcp.memory.interchange import from_lines, to_lines
from mdagent_mcp.memory.postgres import PostgresDatabase
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.memory.transfer import count_rows, forget_everything, read_contents, replace_contents
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON
from memory.postgres_server import PostgresServer, running
from memory.test_findings_kept import assert_known, london_faults
from memory.test_interchange import learn, store_of

NUMBERS = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One server for all tests here."""
    with running() as started_server:
        yield started_server


async def test_two_machines_find_together_what_a_file_finds_alone(server: PostgresServer) -> None:
    """Patterns, copies, and the figures of both sessions."""
    url, clock = server.new_database(f"findings{next(NUMBERS)}"), ManualClock(NOON)
    async with (
        open_memory(PostgresDatabase(url, clock), clock) as first,
        open_memory(PostgresDatabase(url, clock), clock) as second,
    ):
        london_faults(first, 0, 10)
        await first.flush()
        london_faults(second, 10, 10)
        await second.flush()
        assert_known(second)
        snapshot = await second.snapshot(1)
        assert (len(snapshot.symbols), snapshot.left_out) == (1, 1)
        assert (await second.symbol_snapshot("VOD.L")).findings.symbol_faults
        await prune_findings(store_of(second), 1)
    async with open_memory(PostgresDatabase(url, clock), clock) as again:
        assert_known(again)


async def test_a_file_and_a_server_export_the_same_bytes(server: PostgresServer) -> None:
    """Out of SQLite, into PostgreSQL, out of it: nothing is lost on the way, and all of it can be forgotten."""
    url, clock = server.new_database(f"findings{next(NUMBERS)}"), ManualClock(NOON)
    async with open_memory(None, clock) as memory:
        learn(memory)
        await memory.flush()
        lines = list(to_lines(await read_contents(store_of(memory))))
    async with open_memory(PostgresDatabase(url, clock), clock) as memory:
        learn(memory)
        await memory.flush()
        store = store_of(memory)
        assert len(await memory.curve(5)) == 0  # nothing was asked, only told
        await replace_contents(store, from_lines(lines))
        assert list(to_lines(await read_contents(store))) == lines
        await forget_everything(store)
        assert set((await count_rows(store)).values()) == {0}


def test_the_commands_work_on_the_shared_memory(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where one is set; its address, which holds a password, is not shown."""
    url = server.new_database(f"findings{next(NUMBERS)}")
    monkeypatch.setenv("MDAGENT_SHARED__MEMORY_URL", url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDAGENT_DATA_DIR", str(tmp_path))
    row = '{"fault":{"source":"a","fault":"unit","n":1,"last_at":1.0}}'
    entity = {"type": "entity", "name": "x", "entityType": "y", "observations": [f"mdagent.v1 {row}"]}
    Path("in.jsonl").write_text(json.dumps(entity), encoding="utf-8")
    assert main(["memory", "import", "in.jsonl"]) == 0
    assert main(["memory", "stats", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rows"]["fault"] == 1
    assert url not in captured.out + captured.err
    assert main(["memory", "reset", "--yes"]) == 0
    assert not (tmp_path / "memory.sqlite3").exists()
