"""Completion of arguments, and notices that do not wait for a client that does not read."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, cast

import anyio
import pytest
from mcp.server.connection import Connection

from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.server.completion import PROPOSALS, WELL_KNOWN, completion_of
from mdagent_mcp.server.lazy_service import LazyService, ServiceState
from mdagent_mcp.server.notices import SUBSCRIPTIONS_PER_SESSION, ResourceNotices
from mdagent_mcp.server.source_watch import states_of
from mdagent_mcp.testing import ManualClock
from server.fake_market_data import NOW, STATUS, FakeMarketData


class Many(FakeMarketData):
    """Remembers more symbols than an answer may propose."""

    def known_symbols(self) -> tuple[str, ...]:
        """As many as there are three-figure numbers."""
        return tuple(f"SIM{number}" for number in range(100, 1_000))


def test_the_well_known_symbols_are_symbols_in_their_canonical_spelling() -> None:
    """Each once."""
    assert [parse_symbol(symbol).symbol for symbol in WELL_KNOWN] == list(dict.fromkeys(WELL_KNOWN))


@pytest.mark.parametrize(
    ("name", "typed", "values"),
    [
        ("symbol", "aap", ["AAPX", "AAPL"]),
        ("symbol", "ms", ["MSFT"]),
        ("symbol", "^g", ["^GSPC", "^GDAXI"]),
        ("symbol", "no such", []),
        ("symbols", "AAPL, ms", ["AAPL, MSFT"]),
        ("symbols", "msft,ms", []),
        ("symbols", "zv", ["ZVZZT"]),
        ("source", "y", ["yahoo"]),
        ("source", "", ["yahoo", "nasdaq", "cboe", "finnhub"]),
        ("sources", "yahoo,", ["yahoo, nasdaq", "yahoo, cboe", "yahoo, finnhub"]),
        ("period", "1", ["1d", "1mo", "1y", "10y"]),
        ("interval", "1m", ["1m", "1mo"]),
        ("min_grade", "b", ["B"]),
    ],
)
async def test_what_was_typed_is_completed_from_memory_first(name: str, typed: str, values: list[str]) -> None:
    """Whatever its case; a list is completed at its end, without what it holds already."""
    async with LazyService(FakeMarketData().opener(), ManualClock(NOW)).running() as service:
        await service.get()
        found = completion_of(name, typed, service)
        assert found is not None
        assert (found.values, found.total, found.has_more) == (values, len(values), False)
        assert completion_of("claim", typed, service) is None


async def test_a_completion_never_waits_for_the_engine() -> None:
    """Before it is open the well-known symbols have to do, and sources are not known."""
    fake = FakeMarketData()
    async with LazyService(fake.opener(), ManualClock(NOW)).running() as service:
        symbols, sources = completion_of("symbol", "AAP", service), completion_of("source", "", service)
        assert service.state is ServiceState.WAITING
    assert (symbols and symbols.values, sources and sources.values) == (["AAPL"], [])
    assert fake.asked == []


async def test_an_answer_holds_a_hundred_proposals_and_says_how_many_there_are() -> None:
    """The protocol allows no more."""
    async with LazyService(Many().opener(), ManualClock(NOW)).running() as service:
        await service.get()
        found = completion_of("symbol", "sim", service)
    assert found is not None
    assert (len(found.values), found.total, found.has_more) == (PROPOSALS, 900, True)


async def test_the_state_of_the_engine_is_told() -> None:
    """What /readyz and /healthz stand on."""

    class Failing(FakeMarketData):
        def opener(self) -> Any:
            raise_ = RuntimeError("no engine today")

            def open_service() -> Any:
                raise raise_

            return open_service

    async with LazyService(Failing().opener(), ManualClock(NOW)).running() as service:
        states = [service.state]
        service.begin()
        states.append(service.state)
        await anyio.wait_all_tasks_blocked()
        states.append(service.state)
        assert service.opened is None
    assert states == [ServiceState.WAITING, ServiceState.OPENING, ServiceState.FAILED]


def test_only_a_change_of_state_is_a_change() -> None:
    """Budgets, latencies and seconds until a retry change with every call."""
    same = replace(STATUS, reason="other words", weight=0.9, budget=(), latency_p50_ms=1.0)
    opened = replace(STATUS, state=SourceState.OPEN)
    circuit = replace(STATUS, circuit={"source": "half_open"})
    assert states_of([STATUS]) == states_of([same])
    assert states_of([STATUS]) != states_of([opened])
    assert states_of([STATUS]) != states_of([circuit])


class FakeConnection:
    """A client's connection that hears at once, or never."""

    def __init__(self, *, stuck: bool) -> None:
        self.exit_stack = AsyncExitStack()
        self.stuck = stuck
        self.heard: list[str] = []

    async def send_resource_updated(self, uri: str) -> None:
        """Deliver a notice."""
        if self.stuck:
            await anyio.sleep_forever()
        self.heard.append(uri)


async def test_a_client_that_does_not_read_loses_its_subscription_and_holds_up_nobody() -> None:
    """The others hear at once."""
    clock = ManualClock(NOW)
    notices = ResourceNotices(clock)
    stuck, well = FakeConnection(stuck=True), FakeConnection(stuck=False)
    for connection in (stuck, well):
        notices._add(cast("Connection", connection), "mdagent://sources")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notices.publish, "mdagent://sources")
        await clock.settle()
        assert well.heard == ["mdagent://sources"]
        await clock.advance(5)
    stuck.stuck = False
    await notices.publish("mdagent://sources")
    await notices.publish("mdagent://rubric")
    assert (stuck.heard, well.heard) == ([], ["mdagent://sources"] * 2)


async def test_subscriptions_end_with_their_client_and_are_bounded() -> None:
    """Whoever has gone is not told anything."""
    notices = ResourceNotices(ManualClock(NOW))
    connection = FakeConnection(stuck=False)
    for number in range(SUBSCRIPTIONS_PER_SESSION):
        notices._add(cast("Connection", connection), f"mdagent://history/h-{number}")
    with pytest.raises(Exception, match="At most 100 resources can be subscribed to"):
        notices._add(cast("Connection", connection), "mdagent://sources")
    assert notices.are_wanted
    await connection.exit_stack.aclose()
    assert not notices.are_wanted
