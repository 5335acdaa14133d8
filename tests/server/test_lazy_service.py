"""Opening the engine behind the client's back."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from mcp import Client, MCPError

from mdagent_mcp.domain.service import MarketData
from mdagent_mcp.server.lazy_service import LazyService, ServiceUnavailableError
from mdagent_mcp.server.server import build_server
from mdagent_mcp.testing import ManualClock
from server.fake_market_data import NOW, FakeMarketData
from server.test_tools_answers import ERAS, Era, both_eras, client_of


async def test_a_client_that_only_connects_does_not_have_the_engine_opened() -> None:
    """The handshake is answered before anything heavy happens (the modern era has no word after it)."""
    fake = FakeMarketData()
    async with client_of(fake, "auto"):
        pass
    assert fake.asked == []


@both_eras
async def test_the_engine_is_opened_once_and_closed_when_the_server_ends(era: Era) -> None:
    """Listing the tools suffices to begin; ten calls at once share the one opening."""
    fake = FakeMarketData()
    async with client_of(fake, era) as client:
        await client.list_tools()
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(client.call_tool, "source_status", {})
        assert fake.asked == ["opened", *([("source_status", None)] * 10)]
    assert fake.asked[-1] == "closed"
    assert len(fake.asked) == 12


async def test_cancelling_the_call_that_began_the_opening_does_not_undo_it() -> None:
    """The opening belongs to the server, not to the asker."""
    fake, gate = FakeMarketData(), anyio.Event()

    @asynccontextmanager
    async def slowly() -> AsyncIterator[MarketData]:
        await gate.wait()
        async with fake.opener()() as service:
            yield service

    lazy = LazyService(slowly, ManualClock(NOW))
    async with lazy.running():
        async with anyio.create_task_group() as group:
            group.start_soon(lazy.get)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        gate.set()
        assert await lazy.get() is fake
    assert fake.asked == ["opened", "closed"]


async def test_an_engine_that_takes_too_long_is_told_as_still_starting() -> None:
    """The asker is not kept beyond the limit, and a later one is served."""
    fake, gate, clock = FakeMarketData(), anyio.Event(), ManualClock(NOW)
    told: list[str] = []

    @asynccontextmanager
    async def slowly() -> AsyncIterator[MarketData]:
        await gate.wait()
        yield fake

    lazy = LazyService(slowly, clock)

    async def ask() -> None:
        with pytest.raises(ServiceUnavailableError) as caught:
            await lazy.get()
        told.append(str(caught.value))

    async with lazy.running():
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await clock.advance(19.9)
            assert told == []
            await clock.advance(0.2)
        gate.set()
        assert await lazy.get() is fake
    assert told == ["The market data service is still starting; ask again shortly."]


@asynccontextmanager
async def broken() -> AsyncIterator[MarketData]:
    """An engine that cannot be opened."""
    yield unopenable()


def unopenable() -> MarketData:
    """Raise what a full disk raises."""
    raise OSError("disk secret-path full")


@pytest.mark.parametrize("era", ERAS)
async def test_an_engine_that_cannot_be_opened_is_told_and_the_server_lives(
    era: Era, caplog: pytest.LogCaptureFixture
) -> None:
    """In both channels and for resources too; the reason stands in the log alone."""
    server = build_server(broken, ManualClock(NOW), "0.0.1")
    message = (
        "The market data service could not be started; the server's log (stderr) says why, "
        "and `mdagent-mcp config check` checks the settings."
    )
    with caplog.at_level(logging.ERROR):
        async with Client(server, mode=era) as client:
            for _ in range(2):
                result = await client.call_tool("get_quote", {"symbols": "AAPL"})
                assert result.is_error
                assert result.structured_content is not None
                (failure,) = result.structured_content["failures"]
                assert failure["code"] == "source_error"
                assert failure["message"] == f"{message} Do not estimate this price or reuse an older one."
            with pytest.raises(MCPError, match="could not be started"):
                await client.read_resource("mdagent://sources")
    assert "secret-path" in caplog.text


async def test_an_engine_that_does_not_close_is_cancelled() -> None:
    """The server's end is never held up for longer than the limit."""
    clock, cut_short = ManualClock(NOW), anyio.Event()

    @asynccontextmanager
    async def clinging() -> AsyncIterator[MarketData]:
        yield FakeMarketData()
        try:
            await anyio.sleep_forever()
        finally:
            cut_short.set()

    lazy = LazyService(clinging, clock)

    async def live() -> None:
        async with lazy.running():
            await lazy.get()

    async with anyio.create_task_group() as group:
        group.start_soon(live)
        await clock.advance(4.9)
        assert not cut_short.is_set()
        await clock.advance(0.2)
    assert cut_short.is_set()
