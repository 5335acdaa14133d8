"""One memory for several machines, on a real PostgreSQL server that is also taken away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.memory.connection import InDoubtError, StoreError
from mdagent_mcp.memory.postgres import PostgresConnection, PostgresDatabase
from mdagent_mcp.memory.store import Memory, MemoryOptions, open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, history_answer, judged, quote_answer
from memory.postgres_server import PostgresServer, running
from memory_processes import did, started
from memory_worker import totals_at

NUMBERS = count(1)
QUICK = MemoryOptions(flush_s=0.02, retry_s=0.05)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One server for all tests here."""
    with running() as started_server:
        yield started_server


@pytest.fixture
def url(server: PostgresServer) -> str:
    """An empty database."""
    return server.new_database(f"memory{next(NUMBERS)}")


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        await SystemClock().sleep(0.01)


async def test_what_one_machine_learned_another_knows(url: str) -> None:
    """Sources at the start, an instrument when it is asked about, evidence by its id: as in a file."""
    clock = ManualClock(NOON)
    async with open_memory(PostgresDatabase(url, clock), clock) as first:
        assert first.state == "ok"
        for _ in range(9):
            first.listen(fetched("alpha"))
        first.listen(judged("alpha", agreed=False, fault="unit"))
        first.keep(quote_answer())
        first.keep(history_answer())
        await first.recall(["AAPL"])
        await first.flush()
        known = (first.source_knowledge("alpha"), first.symbol_knowledge("AAPL"), first.lessons())
        async with open_memory(PostgresDatabase(url, clock), clock) as second:
            await second.recall(["AAPL", "MSFT"])
            assert (second.source_knowledge("alpha"), second.symbol_knowledge("AAPL"), second.lessons()) == known
            assert await second.evidence("q-1") == quote_answer()
            assert await second.latest("AAPL", "history") == history_answer()
            assert second.totals() == (2, 1, 9)
            snapshot = await second.snapshot()
    assert (await _file_snapshot(clock)) == (snapshot.cells, snapshot.faults, snapshot.symbols, snapshot.memberships)


async def _file_snapshot(clock: ManualClock) -> tuple[object, ...]:
    """What SQLite makes of the same."""
    async with open_memory(None, clock) as memory:
        for _ in range(9):
            memory.listen(fetched("alpha"))
        memory.listen(judged("alpha", agreed=False, fault="unit"))
        memory.keep(quote_answer())
        memory.keep(history_answer())
        snapshot = await memory.snapshot()
    return snapshot.cells, snapshot.faults, snapshot.symbols, snapshot.memberships


async def test_processes_on_one_server_add_up(url: str) -> None:
    """Four of them start on an empty database and write at once; every count is the sum of what they did."""
    workers = [started(url, f"w{n}", n, rounds=15) for n in range(4)]
    done: Counter[str] = sum(map(did, workers), Counter())
    assert await totals_at(url) == dict(done)


async def test_a_lost_server_is_waited_out_in_ram(server: PostgresServer, url: str) -> None:
    """It is said at once, what is learned meanwhile is known, and everything is there once when the server is back."""
    async with open_memory(PostgresDatabase(url, SystemClock()), SystemClock(), QUICK) as memory:
        memory.listen(fetched("alpha"))
        await memory.flush()
        server.stop()
        try:
            memory.listen(fetched("alpha"))
            memory.keep(quote_answer())
            await memory.flush()
            assert memory.state.startswith(("not saving at the moment: ", "kept in RAM until it can be saved: "))
            assert await memory.evidence("q-1") == quote_answer()
            assert await memory.evidence("q-2") is None
            await memory.recall(["MSFT"])
            assert _observations(memory) == 2
        finally:
            server.start()
        await _until(lambda: memory.state == "ok")
        assert _observations(memory) == 2
        assert await memory.evidence("q-1") == quote_answer()
    assert (await totals_at(url))["outcomes alpha"] == 2


async def test_a_server_that_is_away_at_the_start_is_joined_later(server: PostgresServer, url: str) -> None:
    """The start is not an error; what others learned is known once the server is there."""
    async with open_memory(PostgresDatabase(url, SystemClock()), SystemClock(), QUICK) as memory:
        for _ in range(3):
            memory.listen(fetched("alpha"))
    server.stop()
    try:
        async with open_memory(PostgresDatabase(url, SystemClock()), SystemClock(), QUICK) as memory:
            assert memory.state.startswith("kept in RAM until it can be saved: the shared memory on this machine")
            memory.listen(fetched("alpha"))
            assert _observations(memory) == 1
            server.start()
            await _until(lambda: memory.state == "ok")
            assert _observations(memory) == 4
    finally:
        server.start()


@pytest.mark.parametrize("took_effect", [True, False])
async def test_a_commit_in_doubt_counts_once(url: str, monkeypatch: pytest.MonkeyPatch, took_effect: bool) -> None:
    """Whether or not the server had carried it out when the connection was lost, the batch is there once."""
    clock = ManualClock(NOON)
    async with open_memory(PostgresDatabase(url, clock), clock) as memory:
        memory.listen(fetched("alpha"))
        await memory.flush()
        plain = PostgresConnection.execute

        async def lost(self: PostgresConnection, statement: str, values: object = ()) -> None:
            if statement == "COMMIT":
                monkeypatch.setattr(PostgresConnection, "execute", plain)
                if took_effect:
                    await self.raw.execute(statement)
                raise StoreError("lost")
            await self.raw.execute(statement) if not values else await plain(self, statement, values)  # type: ignore[arg-type]

        monkeypatch.setattr(PostgresConnection, "execute", lost)
        memory.listen(fetched("alpha"))
        await memory.flush()
        assert memory.state == "not saving at the moment: lost"
        memory.listen(fetched("alpha"))
        assert _observations(memory) == 3
        await memory.flush()
        await memory.flush()
        assert (memory.state, _observations(memory)) == ("ok", 3)
    assert (await totals_at(url))["outcomes alpha"] == 3


async def test_the_password_is_in_no_state(server: PostgresServer) -> None:
    """Whatever is wrong with the server, its address with the password is not shown."""
    for address in ("127.0.0.1:9", "nowhere.invalid:5432"):
        url = f"postgresql://someone:S3cret%2FWord@{address}/memory"
        settings = Settings.model_validate({"shared": {"memory_url": url}})
        async with open_memory(PostgresDatabase(url, ManualClock(NOON)), ManualClock(NOON)) as memory:
            assert memory.state.startswith(f"kept in RAM until it can be saved: the shared memory at {address} cannot")
            assert "S3cret" not in f"{memory.state}{settings!r}{settings.model_dump_json()}"


def _observations(memory: Memory) -> int:
    known = memory.source_knowledge("alpha")
    assert known is not None
    return known.observations


def test_errors_in_doubt_are_troubles() -> None:
    """Whoever waits for any trouble with the store hears of these as well."""
    assert issubclass(InDoubtError, StoreError)
