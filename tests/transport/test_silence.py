"""Silence of a source as its pipeline notices it, on a hand-turned clock."""

from __future__ import annotations

import anyio
import httpx
import pytest

from mdagent_mcp.domain.failures import Answered, Outcome
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.pipeline import Call
from mdagent_mcp.transport.silence import SilenceDetection
from transport.invented_vendor import NOON, Bench, never, prices


async def _turn(bench: Bench, seconds: float, *, asking_until_s: float | None = None) -> None:
    """Ask about one symbol and turn the clock; who asks leaves then, or when told."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.ask, "AAPL")
        await bench.clock.advance(seconds if asking_until_s is None else asking_until_s)
        tasks.cancel_scope.cancel()
    await bench.clock.advance(0.0 if asking_until_s is None else seconds - asking_until_s)


async def test_a_source_is_silent_from_its_first_overdue_call_until_it_answers() -> None:
    """In flight or given up at the time limit, for however long nobody asks; then it answers, and is not."""
    bench, silent = Bench(never), list[bool]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.ask, "AAPL")
        for seconds in (0.49, 0.02, 4.0):
            await bench.clock.advance(seconds)
            silent.append(bench.source.is_silent)
    await bench.clock.advance(600.0)
    silent.append(bench.source.is_silent)
    bench.web.handler = prices(AAPL=189.5)
    await bench.ask("AAPL")
    assert [*silent, bench.source.is_silent] == [False, True, True, True, False]


async def test_a_call_is_overdue_when_it_takes_far_longer_than_its_kind_usually_does() -> None:
    """Fifteen calls took a second: a source that is merely slow is not silent before one and a half."""
    bench = Bench(prices(AAPL=189.5))

    async def slow(request: httpx.Request) -> httpx.Response:
        await bench.clock.sleep(1.0)
        answer = prices(AAPL=189.5)(request)
        assert isinstance(answer, httpx.Response)
        return answer

    bench.web.handler = slow
    for _ in range(20):
        await _turn(bench, 1.1)
    bench.web.handler = never
    silent = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.ask, "AAPL")
        for seconds in (1.4, 0.2):
            await bench.clock.advance(seconds)
            silent.append(bench.source.is_silent)
        tasks.cancel_scope.cancel()
    assert silent == [False, True]


async def test_who_leaves_early_does_not_make_a_source_silent() -> None:
    """His call was cut short before it was overdue; one that was overdue when he left counts."""
    bench, silent = Bench(never), []
    for left_after_s in (0.3, 0.6):
        await _turn(bench, 5.0, asking_until_s=left_after_s)
        silent.append(bench.source.is_silent)
    assert silent == [False, True]


@pytest.mark.parametrize(
    "refusal",
    [httpx.Response(503), httpx.Response(401), httpx.Response(200, content=b"<html>")],
    ids=["server error", "refused", "unreadable"],
)
async def test_a_refusal_is_an_answer(refusal: httpx.Response) -> None:
    """Whoever says no is not silent."""
    bench = Bench(never)
    await _turn(bench, 5.0)
    silent = [bench.source.is_silent]
    bench.web.handler = lambda _request: refusal
    await _turn(bench, 5.0)
    assert [*silent, bench.source.is_silent] == [True, False]


@pytest.mark.parametrize(("endpoint", "silent"), [(Endpoint.HISTORY, False), (Endpoint.QUOTES, True)])
async def test_a_history_that_takes_long_says_nothing_about_prices(endpoint: Endpoint, silent: bool) -> None:
    """A batch of quotes does."""
    clock = ManualClock(NOON)
    detection = SilenceDetection(clock, lambda _endpoint: None)

    async def proceed() -> Outcome[str]:
        await clock.sleep(2.0)
        return Answered("at last")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(detection.run, Call(endpoint, ("AAPL",), 60.0), proceed)
        await clock.advance(1.0)
        assert detection.is_silent is silent
        await clock.advance(1.5)
    assert not detection.is_silent
