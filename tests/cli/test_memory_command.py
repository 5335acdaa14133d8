"""`memory stats|export|import|reset` on a file of its own and on one that a server works with."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import networkx as nx
import pytest

from mdagent_mcp.cli import main
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.memory.store import Memory, open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, quote_answer
from memory.test_findings_kept import london_faults
from memory.test_session_figures import ask, graded

pytestmark = pytest.mark.usefixtures("empty_home")
DATA = Path("data") / "mdagent-mcp"


def learn(path: Path, teach: Callable[[Memory], None]) -> None:
    """Let a memory at `path` learn something."""

    async def run() -> None:
        async with open_memory(path, ManualClock(NOON)) as memory:
            teach(memory)

    asyncio.run(run())


def everything(memory: Memory) -> None:
    """A recurring fault, a copy, a session."""
    london_faults(memory, 0, 20)
    memory.keep(quote_answer())
    memory.listen(fetched("alpha", latency_s=0.2))
    ask(memory, Grade.A, 4)


@pytest.fixture
def path() -> Path:
    """A memory that learned something, where the command looks for it."""
    found = DATA / "memory.sqlite3"
    learn(found, everything)
    return found


def test_stats_tell_a_person_what_is_known(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sources, what recurs with the answers that show it, who copies whom, how good the sessions were."""
    assert main(["memory", "stats"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "1 sessions, 2 symbols, 5 observations, 41 kept answers." in out
    assert "alpha shows unit on XLON: " in out
    assert "(evidence l-17, l-18, l-19)" in out
    assert "alpha and alpha_copy share" in out
    assert "2026-11-23 17:00 4 100.0 % 0 0 1" in out


def test_stats_as_json_are_the_same_facts(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a program."""
    assert main(["memory", "stats", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (Path(shown["file"]).name, shown["exists"]) == ("memory.sqlite3", True)
    assert shown["totals"] == {"sessions": 1, "symbols": 2, "observations": 5}
    assert shown["rows"]["evidence"] == 41
    assert [source["source"] for source in shown["sources"]] == ["alpha"]
    assert {(p["source"], p["fault"]) for p in shown["patterns"]} == {("alpha", "unit"), ("alpha_copy", "unit")}
    assert [pair["sources"] for pair in shown["copies"]] == [["alpha", "alpha_copy"]]
    assert shown["sessions"][0]["early"]["requests"] == 4


def test_where_nothing_was_remembered_nothing_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    """Looking leaves no file behind."""
    assert main(["memory", "stats"]) == 0
    assert "Nothing is remembered yet" in capsys.readouterr().out
    assert main(["memory", "export"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["memory", "reset", "--yes"]) == 0
    assert not DATA.exists()


def test_out_and_in_and_out_is_the_same_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Byte for byte, to the terminal or to a file, into another data directory."""
    assert main(["memory", "export", "--out", "first.jsonl"]) == 0
    assert main(["memory", "import", "first.jsonl", "--data-dir", "other"]) == 0
    assert main(["memory", "export", "--out", "second.jsonl", "--data-dir", "other"]) == 0
    assert "rows imported" in capsys.readouterr().err
    first = Path("first.jsonl").read_bytes()
    assert first == Path("second.jsonl").read_bytes()
    assert main(["memory", "export"]) == 0
    assert capsys.readouterr().out.encode() == first + b"\n"


def test_a_file_for_an_agent_leaves_the_less_used_symbols_out(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is known of whole sources stays."""
    assert main(["memory", "export", "--symbols", "1"]) == 0
    names = {json.loads(line).get("name", "") for line in capsys.readouterr().out.splitlines()}
    assert {name for name in names if "symbol:" in name} >= {
        "symbol:AAPL",
        "edge:source:alpha|SERVES:quote|symbol:AAPL",
    }
    assert not [name for name in names if "VOD.L" in name]
    assert "pattern:alpha|unit|venue:XLON" in names
    assert main(["memory", "export", "--format", "graphml", "--symbols", "0"]) == 0
    graph = nx.read_graphml(io.BytesIO(capsys.readouterr().out.encode()), force_multigraph=True)
    assert "source:alpha" in graph.nodes
    assert not [node for node in graph.nodes if node.startswith("symbol:")]
    assert main(["memory", "export", "--symbols", "-1"]) == 2


def test_the_graph_goes_to_other_programs_as_graphml(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As networkx reads it."""
    assert main(["memory", "export", "--format", "graphml"]) == 0
    graph = nx.read_graphml(io.BytesIO(capsys.readouterr().out.encode()), force_multigraph=True)
    assert "pattern:alpha|unit|venue:XLON" in graph.nodes


def test_a_running_server_and_the_command_share_the_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The server goes on learning after an import and after a reset, into what is there then."""

    async def serve() -> None:
        async with open_memory(path, ManualClock(NOON)) as memory:
            memory.listen(fetched("alpha"))
            await memory.flush()
            assert await asyncio.to_thread(main, ["memory", "export", "--out", "first.jsonl"]) == 0
            assert await asyncio.to_thread(main, ["memory", "reset", "--yes"]) == 0
            memory.listen(fetched("beta"))
            memory.listen(graded(Grade.A))
            await memory.flush()
            assert memory.state == "ok"

    asyncio.run(serve())
    assert "goes on with what it holds in RAM" in capsys.readouterr().err
    assert main(["memory", "stats", "--json"]) == 0
    assert [source["source"] for source in json.loads(capsys.readouterr().out)["sources"]] == ["beta"]
    assert main(["memory", "import", "first.jsonl", "--yes"]) == 0
    assert main(["memory", "stats", "--json"]) == 0
    assert [s["source"] for s in json.loads(capsys.readouterr().out)["sources"]][-1:] == ["alpha"]


@pytest.mark.parametrize("words", [["import", "first.jsonl"], ["reset"]])
def test_nothing_is_overwritten_or_forgotten_without_being_asked(
    path: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program has to say --yes, a person has to type it."""
    main(["memory", "export", "--out", "first.jsonl"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # no terminal: nobody can be asked
    assert main(["memory", *words]) == 1
    assert "Say --yes." in capsys.readouterr().err
    for typed, code in (("\n", 1), ("n\n", 1), ("y\n", 0)):
        terminal = io.StringIO(typed)
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", terminal)
        assert main(["memory", *words]) == code


def test_a_bad_file_changes_nothing_and_the_line_is_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage: exit code 2."""
    main(["memory", "export", "--out", "first.jsonl"])
    lines = Path("first.jsonl").read_text(encoding="utf-8").split("\n")
    Path("bad.jsonl").write_text("\n".join([*lines[:7], '{"type":"entity"', *lines[8:]]), encoding="utf-8")
    Path("binary.jsonl").write_bytes(b"\xff\xfe\x00")
    before = path.read_bytes()
    capsys.readouterr()
    for name, told in (
        ("bad.jsonl", "bad.jsonl, line 8: not JSON"),
        ("binary.jsonl", "binary.jsonl is no UTF-8 text"),
        ("missing.jsonl", "missing.jsonl cannot be read"),
    ):
        assert main(["memory", "import", name, "--yes"]) == 2
        assert told in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_used_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """A database of something newer is left alone."""
    DATA.mkdir(parents=True)
    with closing(sqlite3.connect(DATA / "memory.sqlite3")) as connection:
        connection.execute("CREATE TABLE migration (name TEXT PRIMARY KEY, applied_at REAL)")
        connection.execute("INSERT INTO migration VALUES ('999_future', 1.0)")
        connection.commit()
    for words in (["stats"], ["export"], ["reset", "--yes"]):
        assert main(["memory", *words]) == 1
        assert "written by a newer version" in capsys.readouterr().err
