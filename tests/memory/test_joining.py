"""Joining what several processes learned: the same sums in SQL and in Python, however they were cut into batches."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.memory.database import RamDatabase
from mdagent_mcp.memory.learning import HALF_LIFE_S, Cell, CellKey, combine
from mdagent_mcp.memory.rows import join_cells, read_cells
from mdagent_mcp.resilience.latency import recorded
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON

instants = st.floats(0.0, 3 * HALF_LIFE_S) | st.sampled_from([0.0, 1.0, HALF_LIFE_S])
counts = st.integers(0, 300)
seen = st.none() | instants
cells = st.builds(
    lambda at, right, wrong, success, error: Cell(
        at,
        float(right),
        float(wrong),
        right + wrong,
        last_success_at=success,
        last_error_at=error,
        last_error="" if error is None else f"timeout {error}",
    ),
    *(instants, counts, counts, seen, seen),
)


def _sums(cell: Cell) -> object:
    sums = (cell.updated_at, cell.right, cell.wrong, cell.outcomes, cell.contradicted)
    return pytest.approx(sums, rel=1e-9, abs=1e-9)


@given(cells, cells, cells)
def test_how_outcomes_are_cut_into_batches_makes_no_difference(first: Cell, second: Cell, third: Cell) -> None:
    """Joining is associative, also where a batch waited until after a later one was written."""
    together, apart = combine(first, combine(second, third)), combine(combine(first, second), third)
    sums = (together.updated_at, together.right, together.wrong, together.outcomes, together.contradicted)
    assert sums == _sums(apart)


@given(cells, instants)
def test_a_batch_that_waited_counts_what_its_age_leaves_of_it(cell: Cell, waited: float) -> None:
    """Joined to knowledge that is later, it is discounted for the time between."""
    later = Cell(cell.updated_at + waited)
    assert combine(later, cell).right == pytest.approx(cell.right * 2.0 ** (-waited / HALF_LIFE_S))


async def test_sql_joins_as_python_does() -> None:
    """Three batches about three hundred things of each kind, in any order of their instants."""
    rng = random.Random(11)
    opened = await RamDatabase(ManualClock(NOON)).open()
    expected: dict[CellKey, Cell] = {}
    for _ in range(3):
        batch = {CellKey("alpha", "quote", f"symbol:S{n}"): _random_cell(rng) for n in range(300)}
        batch |= {CellKey("alpha", "quote", f"asset:{n}"): _random_cell(rng, latency=True) for n in range(20)}
        async with opened.connection.transaction():
            await join_cells(opened.connection, batch)
        for key, cell in batch.items():
            expected[key] = combine(expected[key], cell) if key in expected else cell
    found = await read_cells(opened.connection)
    await opened.close()
    assert found.keys() == expected.keys()
    for key, cell in found.items():
        wanted = expected[key]
        assert (cell.updated_at, cell.right, cell.wrong, cell.outcomes, cell.contradicted) == _sums(wanted)
        assert (cell.last_success_at, cell.last_error_at, cell.last_error) == (
            wanted.last_success_at,
            wanted.last_error_at,
            wanted.last_error,
        )


async def test_what_is_taken_back_goes_to_nothing_and_no_further() -> None:
    """A contradiction of what was never counted leaves zero, first or later."""
    opened = await RamDatabase(ManualClock(NOON)).open()
    key = CellKey("alpha", "quote", "symbol:S")
    for batch in (Cell(1.0, right=-1.0, wrong=1.0), Cell(1.0, right=0.5, outcomes=1), Cell(1.0, right=-2.0, wrong=1.0)):
        async with opened.connection.transaction():
            await join_cells(opened.connection, {key: batch})
    ((_, cell),) = (await read_cells(opened.connection)).items()
    await opened.close()
    assert cell.right == 0.0
    assert cell.wrong == pytest.approx(2.0, abs=0.01)


def _random_cell(rng: random.Random, *, latency: bool = False) -> Cell:
    at = rng.random() * 2 * HALF_LIFE_S
    cell = Cell(at, rng.random() * 9, rng.random() * 3, rng.randrange(12), contradicted=rng.random())
    if latency:
        cell = replace(cell, latency=recorded([rng.random()]))
    if rng.random() < 0.5:
        cell = replace(cell, last_success_at=at)
    return replace(cell, last_error_at=at, last_error=f"kind{rng.randrange(9)}") if rng.random() < 0.5 else cell
