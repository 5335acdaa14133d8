"""The points of the learning curve: sums per session, the first requests apart, kept across restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdagent_mcp.domain.events import Graded
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.learned import learning_view
from mdagent_mcp.memory.session_figures import (
    EARLY,
    EARLY_REQUESTS,
    LATER,
    MOST_LOSS,
    SessionFigures,
    figures_json,
    figures_of,
)
from mdagent_mcp.memory.store import Memory, open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched


def graded(grade: Grade | None, *, elapsed_s: float = 0.0, cached: bool = False) -> Graded:
    """An answer, or none."""
    return Graded("AAPL", Endpoint.QUOTE, NOON, grade, cached, elapsed_s)


@pytest.mark.parametrize(
    ("event", "figures"),
    [
        (graded(Grade.A), SessionFigures(requests=1, a=1)),
        (graded(Grade.A, cached=True), SessionFigures(requests=1, a=1, cached=1)),
        (graded(Grade.B), SessionFigures(requests=1, b=1, loss=1 - 0.85)),
        (graded(Grade.D, elapsed_s=2.0), SessionFigures(requests=1, d=1, loss=0.6 + 0.6, elapsed_s=2.0)),
        (graded(Grade.F, elapsed_s=60.0), SessionFigures(requests=1, f=1, loss=MOST_LOSS, elapsed_s=60.0)),
        (graded(None), SessionFigures(requests=1, unanswered=1, loss=1.0)),
        (fetched(), SessionFigures(calls=1)),
    ],
)
def test_what_an_event_adds(event: Graded, figures: SessionFigures) -> None:
    """Worth less than an immediate A is a loss."""
    found = figures_of(event)
    assert found.loss == pytest.approx(figures.loss)
    assert found == SessionFigures(
        **{n: getattr(figures, n) for n in figures.__slots__ if n != "loss"}, loss=found.loss
    )


def test_ratios_of_nothing_are_not_told() -> None:
    """Zero is a value, none is none."""
    assert figures_json(SessionFigures(calls=3))["calls_per_a_answer"] is None
    assert figures_json(SessionFigures(requests=4, a=2, calls=3, loss=1.0)) == {
        "requests": 4,
        "answers": {"A": 2, "B": 0, "C": 0, "D": 0, "F": 0, "none": 0},
        "cached": 0,
        "vendor_calls": 3,
        "loss_per_request": 0.25,
        "calls_per_a_answer": 1.5,
        "share_a": 0.5,
        "mean_wait_s": 0.0,
    }


def ask(memory: Memory, grade: Grade, times: int) -> None:
    """So many requests, each with a call."""
    for _ in range(times):
        memory.listen(fetched())
        memory.listen(graded(grade))


async def test_each_session_has_its_figures_and_its_early_ones(tmp_path: Path) -> None:
    """Across restarts, the latest at the end; a session that was asked nothing has none."""
    path, clock = tmp_path / "memory.sqlite3", ManualClock(NOON)
    async with open_memory(path, clock) as memory:
        ask(memory, Grade.B, EARLY_REQUESTS)
        await memory.flush()
        ask(memory, Grade.A, 10)
    async with open_memory(path, clock) as memory:
        memory.listen(fetched("alpha", FailureKind.TIMEOUT))
    async with open_memory(path, clock) as memory:
        ask(memory, Grade.A, 2)
        curve = await memory.curve(10)
        view = await learning_view(memory)
    assert [set(parts) for _, _, parts in curve] == [{EARLY, LATER}, {EARLY}]
    early = curve[0][2][EARLY]
    assert (early.requests, early.b, early.a, early.calls) == (EARLY_REQUESTS, EARLY_REQUESTS, 0, EARLY_REQUESTS)
    assert curve[0][2][LATER] == SessionFigures(requests=10, a=10, calls=10)
    first, last = view["sessions"]
    assert (first["requests"], first["early"]["requests"], first["early"]["loss_per_request"]) == (40, 30, 0.15)
    assert (last["requests"], last["loss_per_request"], last["calls_per_a_answer"]) == (2, 0.0, 1.0)
    assert first["started_at"] == NOON.isoformat()
