"""Memory as its users see it: told at once, known at once, still known after a restart."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mdagent_mcp.domain.events import Graded
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.memory.archive import ArchiveLimits
from mdagent_mcp.memory.backlog import BacklogLimits
from mdagent_mcp.memory.store import MemoryOptions, open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, history_answer, judged, quote_answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store of a test lies; its directory does not exist yet."""
    return tmp_path / "data" / "memory.sqlite3"


@pytest.fixture
def clock() -> ManualClock:
    """Noon in New York on a trading day."""
    return ManualClock(NOON)


async def test_an_answer_is_found_at_once_and_after_it_was_written(path: Path, clock: ManualClock) -> None:
    """While it waits and once it is on disk, by id and as the latest of its symbol, equal to the original."""
    quote, series = quote_answer(), history_answer()
    async with open_memory(path, clock) as memory:
        memory.keep(quote)
        memory.keep(series)
        for _ in ("waiting", "written"):
            assert await memory.evidence("q-1") == quote
            assert await memory.evidence("h-1") == series
            assert await memory.latest("AAPL", "quote") == quote
            assert await memory.latest("AAPL", "history") == series
            await memory.flush()
        assert await memory.evidence("q-2") is None
        assert await memory.latest("MSFT", "quote") is None


async def test_a_restart_keeps_evidence_and_what_was_learned(path: Path, clock: ManualClock) -> None:
    """Everything but the text of the last error, which may come from outside, is the same in the next session."""
    quote, series = quote_answer(), history_answer()
    async with open_memory(path, clock) as memory:
        memory.keep(quote)
        memory.keep(series)
        for _ in range(20):
            memory.listen(fetched("alpha"))
        memory.listen(fetched("alpha", FailureKind.TIMEOUT, detail="no reply in 4 s"))
        before = memory.source_knowledge("alpha")
        symbol = memory.symbol_knowledge("AAPL")
        assert before is not None
        assert before.last_error == "timeout: no reply in 4 s"
        assert memory.totals() == (1, 1, 21)
    async with open_memory(path, clock) as memory:
        after = memory.source_knowledge("alpha")
        assert after is not None
        assert after.last_error == "timeout"
        assert after.reliability == before.reliability
        assert (after.latency_p50_ms, after.observations, after.last_success_at) == (
            before.latency_p50_ms,
            21,
            NOON,
        )
        await memory.recall(["AAPL"])
        assert memory.symbol_knowledge("AAPL") == symbol
        assert await memory.evidence("q-1") == quote
        assert await memory.latest("AAPL", "history") == series
        assert memory.totals() == (2, 1, 21)
        assert memory.state == "ok"


async def test_nothing_is_written_before_the_interval_and_everything_after_it(path: Path, clock: ManualClock) -> None:
    """An answer is not delayed by the disk; a second later it is there."""
    async with open_memory(path, clock, MemoryOptions(flush_s=1.0)) as memory:
        memory.keep(quote_answer())
        await clock.advance(0.9)
        assert _count(path, "evidence") == 0
        await clock.advance(0.2)
        await _until(lambda: _count(path, "evidence") == 1, clock)


async def test_many_entries_are_written_without_waiting(path: Path, clock: ManualClock) -> None:
    """Two hundred entries do not wait for the interval: no time passes at all here."""
    async with open_memory(path, clock, MemoryOptions(flush_s=3600.0, flush_entries=200)) as memory:
        for n in range(200):
            memory.keep(quote_answer(f"q-{n}"))
        await _until(lambda: _count(path, "evidence") == 200, clock)


async def test_knowledge_is_the_same_waiting_and_written(path: Path, clock: ManualClock) -> None:
    """Writing changes nothing about what is known, and nothing counts twice."""
    async with open_memory(path, clock) as memory:
        for _ in range(3):
            for _ in range(5):
                memory.listen(fetched("alpha", None, "AAPL", "MSFT"))
            memory.listen(fetched("alpha", FailureKind.NETWORK))
            memory.listen(judged("alpha", agreed=False, fault="unit"))
            memory.keep(quote_answer())
            before = (memory.source_knowledge("alpha"), memory.symbol_knowledge("AAPL"), memory.totals())
            await memory.flush()
            after = (memory.source_knowledge("alpha"), memory.symbol_knowledge("AAPL"), memory.totals())
            assert after == before
        assert memory.totals().observations == 33


async def test_an_unknown_source_or_symbol_is_none(clock: ManualClock) -> None:
    """Nothing known is not the same as known to be bad."""
    async with open_memory(None, clock) as memory:
        assert memory.source_knowledge("alpha") is None
        assert memory.symbol_knowledge("AAPL") is None
        assert memory.totals() == (1, 0, 0)
        assert memory.state == "ok"


async def test_a_symbol_is_learned_from_good_fresh_answers_alone(clock: ManualClock) -> None:
    """A price graded D and one from the cache do not widen the range; the official close is the previous one's."""
    async with open_memory(None, clock) as memory:
        memory.keep(quote_answer("q-1", price=100.0, previous_close=98.0))
        memory.keep(quote_answer("q-2", price=900.0, grade=Grade.D))
        memory.keep(quote_answer("q-3", price=1.0, cached=True))
        memory.keep(quote_answer("q-4", price=104.0, at=NOON + timedelta(hours=6), session=Session.CLOSED))
        known = memory.symbol_knowledge("AAPL")
        assert known is not None
        assert (known.price, known.high, known.previous_close, known.observations) == (104.0, 104.0, 104.0, 2)
        assert known.low == pytest.approx(100.0, abs=0.02)


async def test_sessions_and_their_answers_are_counted(path: Path, clock: ManualClock) -> None:
    """Each session has its row with what it answered, from the cache and not at all."""
    for _ in range(3):
        async with open_memory(path, clock) as memory:
            for grade, cached in ((Grade.A, False), (Grade.B, True), (None, False)):
                memory.listen(Graded("AAPL", Endpoint.QUOTE, NOON, grade, cached, 0.1))
            await clock.advance(60.0)
    rows = _rows(path, "SELECT id, answers, cached, unanswered FROM session ORDER BY id")
    assert rows == [(1, 2, 1, 1), (2, 2, 1, 1), (3, 2, 1, 1)]


async def test_an_idle_session_counts_too(path: Path, clock: ManualClock) -> None:
    """A server that was started and stopped has been a session."""
    for expected in (1, 2):
        async with open_memory(path, clock) as memory:
            assert memory.totals().sessions == expected


async def test_faults_are_counted_by_source_and_kind(path: Path, clock: ManualClock) -> None:
    """Failures by their code, contradictions by the fault the consensus named."""
    async with open_memory(path, clock) as memory:
        memory.listen(fetched("alpha", FailureKind.TIMEOUT))
        memory.listen(fetched("alpha", FailureKind.THROTTLED))
        await memory.flush()
        memory.listen(fetched("alpha", FailureKind.TIMEOUT))
        memory.listen(judged("beta", agreed=False, fault="unit"))
        snapshot = await memory.snapshot()
    assert {key: seen.n for key, seen in snapshot.faults.items()} == {
        ("alpha", "timeout"): 2,
        ("alpha", "throttled"): 1,
        ("beta", "unit"): 1,
    }


async def test_evidence_is_bounded_by_number_and_age(path: Path, clock: ManualClock) -> None:
    """Of each kind the newest are kept, and nothing older than the age."""
    options = MemoryOptions(archive=ArchiveLimits(quotes=3, histories=2, age_s=100.0))
    async with open_memory(path, clock, options) as memory:
        for n in range(5):
            memory.keep(quote_answer(f"q-{n}"))
            memory.keep(history_answer(f"h-{n}"))
        await memory.flush()
        kept = [row[0] for row in _rows(path, "SELECT id FROM evidence ORDER BY id")]
        assert kept == ["h-3", "h-4", "q-2", "q-3", "q-4"]
        await clock.advance(101.0)
        memory.keep(quote_answer("q-9", at=NOON + timedelta(seconds=101)))
        await memory.flush()
        assert _rows(path, "SELECT id FROM evidence") == [("q-9",)]
        assert await memory.evidence("q-4") is None


async def test_the_first_answer_under_an_id_stays(path: Path, clock: ManualClock) -> None:
    """Evidence that was given out does not change afterwards, waiting or written."""
    async with open_memory(path, clock) as memory:
        for price in (100.0, 101.0):
            memory.keep(quote_answer(price=price))
        assert await memory.evidence("q-1") == quote_answer(price=100.0)
        await memory.flush()
        memory.keep(quote_answer(price=102.0))
        await memory.flush()
        assert await memory.evidence("q-1") == quote_answer(price=100.0)


async def test_knowledge_is_bounded_in_ram_and_on_disk(path: Path, clock: ManualClock) -> None:
    """Of instruments and of their cells those touched last are kept; what is known of the source stays."""
    options = MemoryOptions(symbols=3, parts=2, recalled=3)
    for session in range(2):
        async with open_memory(path, clock, options) as memory:
            for n in range(5):
                await clock.advance(1.0)
                memory.keep(quote_answer(f"q-{session}-{n}", f"S{chr(65 + n)}", at=clock.now()))
                memory.listen(fetched("alpha", None, f"S{chr(65 + n)}", at=clock.now()))
            await memory.flush()
            assert (memory.totals().symbols, memory.symbol_knowledge("SA")) == (3, None)
    async with open_memory(path, clock, options) as memory:
        snapshot = await memory.snapshot()
    assert list(snapshot.symbols) == ["SC", "SD", "SE"]
    assert sorted(key.scope for key in snapshot.cells) == ["", "asset:us_equity", "symbol:SD", "symbol:SE"]
    assert _rows(path, "SELECT symbol FROM symbol ORDER BY symbol") == [("SC",), ("SD",), ("SE",)]


async def test_the_latest_answer_is_the_one_judged_last(path: Path, clock: ManualClock) -> None:
    """Not the one that was kept last, and not another symbol's."""
    early, late = quote_answer("q-early"), quote_answer("q-late", at=NOON + timedelta(seconds=5))
    async with open_memory(path, clock) as memory:
        memory.keep(late)
        memory.keep(early)
        memory.keep(quote_answer("q-other", "MSFT", at=NOON + timedelta(seconds=9)))
        assert await memory.latest("AAPL", "quote") == late
        await memory.flush()
        assert await memory.latest("AAPL", "quote") == late


async def test_too_much_at_once_drops_the_oldest_and_says_so(clock: ManualClock) -> None:
    """A full backlog loses what was touched longest ago, counts it and tells of it."""
    options = MemoryOptions(backlog=BacklogLimits(outcomes=4, quotes=2, histories=1))
    async with open_memory(None, clock, options) as memory:
        for n in range(3):
            memory.keep(quote_answer(f"q-{n}", f"S{n}"))
        assert await memory.evidence("q-0") is None
        assert await memory.evidence("q-2") is not None
        assert memory.dropped == 1
        memory.listen(fetched("alpha", None, "AAPL", "MSFT", "IBM", "F"))
        assert memory.dropped == 3
        assert memory.state == "3 entries were lost"


async def test_the_file_holds_no_text_of_errors(path: Path, clock: ManualClock) -> None:
    """What a vendor wrote beside a failure stays in RAM, should a key ever have slipped into it."""
    async with open_memory(path, clock) as memory:
        memory.listen(fetched("alpha", FailureKind.UNAUTHORIZED, detail="key sk-12345 is wrong"))
        await memory.flush()
    assert all(b"sk-12345" not in file.read_bytes() for file in path.parent.iterdir())


async def test_directory_and_file_are_their_owners_alone(path: Path, clock: ManualClock) -> None:
    """What somebody asks about is nobody else's business on the machine; nothing but the file stays behind."""
    async with open_memory(path, clock) as memory:
        memory.keep(quote_answer())
    assert _modes(path.parent) == {"data": "0o700", "memory.sqlite3": "0o600"}


def test_nothing_heavy_is_loaded_to_open_it() -> None:
    """Opening must be fast: neither networkx nor numpy, scipy or pydantic is imported for it."""
    script = (
        "import sys, mdagent_mcp.memory.store, mdagent_mcp.memory.graph; "
        "sys.exit(len({'networkx', 'numpy', 'scipy', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


async def test_leaving_with_an_error_still_writes(path: Path, clock: ManualClock) -> None:
    """The body's exception comes out as it is, and what was kept is there next time."""

    async def fail() -> None:
        async with open_memory(path, clock) as memory:
            memory.keep(quote_answer())
            raise LookupError("the body's own")

    with pytest.raises(LookupError, match="the body's own"):
        await fail()
    async with open_memory(path, clock) as memory:
        assert await memory.evidence("q-1") == quote_answer()


async def _until(condition: Callable[[], bool], clock: ManualClock) -> None:
    """Let the loop and the database's thread work until it is so; no time of the clock passes."""
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        await clock.settle()


def _modes(directory: Path) -> dict[str, str]:
    return {file.name: oct(file.stat().st_mode & 0o777) for file in (directory, *directory.iterdir())}


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def _count(path: Path, table: str) -> object:
    return _rows(path, f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - the tests' own names
