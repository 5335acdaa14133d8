"""What is read when memory is opened does not grow with what is remembered about instruments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from mdagent_mcp.memory.connection import Row
from mdagent_mcp.memory.learning import Cell, CellKey
from mdagent_mcp.memory.sqlite_connection import SqliteConnection
from mdagent_mcp.memory.store import MemoryOptions, open_memory
from mdagent_mcp.memory.stored import HELD_FOR_S, MOST_ADDED, Parts, Stored
from mdagent_mcp.memory.writer import Written
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, judged, quote_answer


async def _remembering(path: Path, symbols: int) -> Path:
    """A store with something about so many instruments from three sources."""
    async with open_memory(path, ManualClock(NOON), MemoryOptions(flush_entries=10**9)) as memory:
        names = [f"S{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(symbols)]
        for name in names:
            memory.keep(quote_answer(f"q-{name}", name))
        for source in ("alpha", "beta", "gamma"):
            memory.listen(fetched(source, None, *names))
    return path


def _rows_about(symbol: str) -> list[str]:
    """What begins the rows about one of them: facts, behaviour, and how three sources did with it."""
    return [symbol, symbol, "alpha", "beta", "gamma"]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Every row that is read from now on."""
    rows: list[Row] = []
    plain = SqliteConnection.execute_fetchall

    async def counted(self: SqliteConnection, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        found = await plain(self, statement, values)
        rows.extend(found)
        return found

    monkeypatch.setattr(SqliteConnection, "execute_fetchall", counted)
    return rows


async def test_as_many_rows_are_read_at_the_start_for_few_instruments_as_for_many(
    tmp_path: Path, read: list[Row]
) -> None:
    """What is about whole sources, how much there is of the rest, and a hundred names."""
    numbers = []
    for symbols in (100, 200):
        path = await _remembering(tmp_path / f"{symbols}.sqlite3", symbols)
        read.clear()
        async with open_memory(path, ManualClock(NOON)) as memory:
            numbers.append(len(read))
            assert memory.totals()[:2] == (2, symbols)
    assert numbers[0] == numbers[1] < 200


async def test_an_instrument_is_read_once_when_it_is_asked_about(tmp_path: Path, read: list[Row]) -> None:
    """Not again while it is held in RAM, nor when nothing is stored about it; again after it had to make room."""
    path = await _remembering(tmp_path / "memory.sqlite3", 30)
    async with open_memory(path, ManualClock(NOON), MemoryOptions(recalled=2)) as memory:
        assert memory.symbol_knowledge("SAB") is None
        read.clear()
        for _ in range(2):
            await memory.recall(["SAB", "NONE"])
            assert [row[0] for row in read] == _rows_about("SAB")
        known = memory.symbol_knowledge("SAB")
        assert known is not None
        assert known.observations == 1
        assert memory.symbol_knowledge("NONE") is None
        await memory.recall(["SAC"])
        await memory.recall(["SAB"])
        assert [row[0] for row in read] == [*_rows_about("SAB"), *_rows_about("SAC"), *_rows_about("SAB")]


async def test_what_is_learned_before_it_was_read_is_joined_to_what_is_stored(tmp_path: Path) -> None:
    """An answer that came before the store was asked counts once, on top of the earlier ones."""
    path = await _remembering(tmp_path / "memory.sqlite3", 3)
    async with open_memory(path, ManualClock(NOON)) as memory:
        memory.keep(quote_answer("q-2", "SAA", price=105.0))
        await memory.recall(["SAA"])
        for _ in range(2):
            known = memory.symbol_knowledge("SAA")
            assert known is not None
            assert (known.observations, known.low, known.high) == (2, 101.25, 105.0)
            assert memory.totals().symbols == 3
            await memory.flush()


async def test_how_sources_did_with_an_instrument_is_known_from_when_it_is_asked_about(tmp_path: Path) -> None:
    """What is learned since is added to it, whether it is written already or not."""
    path, key = await _remembering(tmp_path / "memory.sqlite3", 3), CellKey("alpha", "quote", "symbol:SAA")
    async with open_memory(path, ManualClock(NOON)) as memory:
        assert _counts(memory.cell(key)) is None
        await memory.recall(["SAA"])
        assert _counts(memory.cell(key)) == (1, 1.0)
        memory.listen(fetched("alpha", None, "SAA"))
        waiting = _counts(memory.cell(key))
        await memory.flush()
        assert _counts(memory.cell(key)) == waiting == (2, 2.0)
        memory.listen(judged("alpha", agreed=False, symbol="SAA"))
        await memory.flush()
        assert _counts(memory.cell(key)) == (2, 1.0)
    async with open_memory(path, ManualClock(NOON)) as memory:
        await memory.recall(["SAA"])
        assert _counts(memory.cell(key)) == (2, 1.0)


def test_what_was_read_while_a_batch_was_on_its_way_is_read_again() -> None:
    """Nobody knows whether the read includes it: added on top it might count twice, left out not at all."""
    key, cell = CellKey("alpha", "quote", "symbol:SAA"), Cell(1.0, right=1.0, outcomes=1)
    found = Parts({key: cell}, batches=0, at=5.0)
    under_way, overtaken, quiet = Stored(10), Stored(10), Stored(10)
    under_way.recalled_parts(["SAA"], found, [key])
    overtaken.take_over(Written({}, {}, {key: cell}))
    overtaken.recalled_parts(["SAA"], found, [])
    quiet.recalled_parts(["SAA"], found, [CellKey("alpha", "quote", "symbol:SAB")])
    assert [stored.parts for stored in (under_way, overtaken, quiet)] == [{}, {}, {"SAA": {key: cell}}]
    assert [stored.is_held("SAA", 5.0) for stored in (under_way, overtaken, quiet)] == [False, False, True]


def test_what_a_large_batch_is_about_is_read_again_instead_of_being_added_up_before_the_next_answer() -> None:
    """A small one is added."""
    keys = [CellKey("alpha", "quote", f"symbol:S{n}") for n in range(MOST_ADDED + 1)]
    cell, stored = Cell(1.0, right=1.0, outcomes=1), Stored(10_000)
    stored.recalled_parts([f"S{n}" for n in range(MOST_ADDED + 1)], Parts({}, batches=0, at=5.0), [])
    stored.take_over(Written({}, {}, {keys[0]: cell}))
    assert stored.cells_with(keys[0]) == {keys[0]: cell}
    stored.take_over(Written({}, {}, dict.fromkeys(keys, cell)))
    assert (stored.parts, stored.read_at) == ({}, {})


async def test_what_another_process_learned_about_an_instrument_is_heard_of_within_minutes(tmp_path: Path) -> None:
    """Two servers on one file, of which one held the instrument all the time."""
    clock, key = ManualClock(NOON), CellKey("alpha", "quote", "symbol:SAA")
    path = await _remembering(tmp_path / "memory.sqlite3", 3)
    async with open_memory(path, clock) as first, open_memory(path, clock) as second:
        await first.recall(["SAA"])
        for _ in range(4):
            second.listen(fetched("alpha", None, "SAA"))
        await second.flush()
        await first.recall(["SAA"])
        assert _counts(first.cell(key)) == (1, 1.0)
        await clock.advance(HELD_FOR_S)
        await first.recall(["SAA"])
        assert _counts(first.cell(key)) == (5, 4.99)


async def test_questions_that_begin_together_are_read_together_and_go_on_together(
    tmp_path: Path, read: list[Row]
) -> None:
    """One read of all their names, after which each goes on in the same round of the event loop."""
    path = await _remembering(tmp_path / "memory.sqlite3", 30)
    async with open_memory(path, ManualClock(NOON)) as memory:
        read.clear()
        rounds, ended = _Rounds(), list[int]()

        async def ask(*symbols: str) -> None:
            await memory.recall(symbols)
            ended.append(rounds.count)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rounds.run, tasks.cancel_scope, lambda: len(ended) == 3)
            for symbols in (("SAB", "SAC"), ("SAC",), ("SAD", "SAB")):
                tasks.start_soon(ask, *symbols)
        assert sorted(row[0] for row in read) == sorted([*_rows_about("SAB"), *_rows_about("SAC"), *_rows_about("SAD")])
        assert len(set(ended)) == 1


async def test_who_gives_up_takes_nothing_from_those_who_are_read_along(tmp_path: Path) -> None:
    """The first to ask began the read."""
    path = await _remembering(tmp_path / "memory.sqlite3", 3)
    async with open_memory(path, ManualClock(NOON)) as memory:
        first = asyncio.ensure_future(memory.recall(["SAA"]))
        second = asyncio.ensure_future(memory.recall(["SAB"]))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()
        assert memory.symbol_knowledge("SAA") is not None
        assert memory.symbol_knowledge("SAB") is not None


async def test_a_store_in_ram_is_read_only_about_what_had_to_make_room(read: list[Row]) -> None:
    """It begins empty and nobody else writes it, so what it holds is at hand until something was dropped."""
    async with open_memory(None, ManualClock(NOON), MemoryOptions(recalled=2)) as memory:
        read.clear()
        for name in ("SAA", "SAB"):
            await memory.recall([name])
            memory.keep(quote_answer(f"q-{name}", name))
        await memory.flush()
        read.clear()
        await memory.recall(["SAC"])
        assert read == []
        memory.keep(quote_answer("q-SAC", "SAC"))
        memory.listen(fetched("alpha", None, "SAC"))
        await memory.flush()
        assert _counts(memory.cell(CellKey("alpha", "quote", "symbol:SAC"))) == (1, 1.0)
        assert memory.symbol_knowledge("SAA") is None
        read.clear()
        await memory.recall(["SAA"])
        assert [row[0] for row in read] == ["SAA", "SAA"]
        known = memory.symbol_knowledge("SAA")
        assert known is not None
        assert known.observations == 1


def _counts(cell: Cell | None) -> tuple[int, float] | None:
    """All outcomes, and the right ones but for what fades with every outcome."""
    return None if cell is None else (cell.outcomes, round(cell.right, 2))


class _Rounds:
    """Counts rounds of the event loop."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self, scope: anyio.CancelScope, done: Callable[[], bool]) -> None:
        while not done():
            self.count += 1
            await asyncio.sleep(0)
        scope.cancel()
