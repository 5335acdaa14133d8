"""The breakers of one source on all their levels: what opens which, what only degrades, and what is nobody's fault."""

from __future__ import annotations

import random

import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.breaking import SLOW_FOR_S, Breaking, Cell
from mdagent_mcp.transport.peers import Peers
from mdagent_mcp.transport.pipeline import Call, Priority
from transport.invented_vendor import NOON


class Caller:
    """A breaker whose calls end as a test says."""

    def __init__(self, clock: ManualClock | None = None, peers: Peers | None = None, source: str = "invented") -> None:
        self.clock = clock or ManualClock(NOON)
        self.breaking = Breaking(source, self.clock, random.Random(4), peers)
        self.source = source
        self.made = 0

    async def call(
        self,
        kind: FailureKind | None,
        symbol: str = "AAPL",
        endpoint: Endpoint = Endpoint.QUOTE,
        priority: Priority = Priority.QUOTE,
    ) -> Outcome[str]:
        async def proceed() -> Outcome[str]:
            self.made += 1
            return Answered("ok") if kind is None else Failure(self.source, kind, "scripted")

        call = Call(endpoint, (symbol,), self.clock.monotonic() + 10.0, priority=priority)
        return await self.breaking.run(call, proceed)


async def test_one_instrument_that_fails_is_rested_while_the_others_are_asked() -> None:
    """Its own circuit opens; the endpoint hears of it once a minute at full weight and stays closed."""
    caller = Caller()
    for second in range(12):
        await caller.call(FailureKind.MALFORMED_REPLY, "ODD")
        await caller.call(None, f"A{chr(65 + second)}")
        await caller.clock.advance(1.0)
    assert caller.breaking.circuits() == {"source": "closed", "quote": "closed", "quote:ODD": "open"}
    refused = await caller.call(None, "ODD")
    assert isinstance(refused, Failure)
    assert (refused.kind, refused.detail) == (
        FailureKind.CIRCUIT_OPEN,
        "its quote of ODD failed repeatedly and is being rested",
    )
    assert await caller.call(None, "AAPL") == Answered("ok")
    assert caller.breaking.state() is SourceState.LIVE
    (trouble,) = caller.breaking.troubles()
    assert (trouble.cell, trouble.because) == (Cell(Endpoint.QUOTE, "ODD"), "malformed_reply: scripted")
    assert trouble.retry_in_s == 0.0
    assert caller.breaking.to_probe() == (Cell(Endpoint.QUOTE, "ODD"),)


async def test_an_instrument_that_is_well_again_is_forgotten() -> None:
    """A breaker for an instrument exists only while it has something to tell."""
    caller = Caller()
    await caller.call(FailureKind.TIMEOUT, "ODD")
    for _ in range(20):
        await caller.call(None, "ODD")
        await caller.clock.advance(30.0)
    assert len(caller.breaking._breakers) == 2


async def test_many_instruments_that_fail_open_the_endpoint_and_leave_the_others() -> None:
    """Quotes fail for everybody, history answers: the source is degraded, not open."""
    caller = Caller()
    for n in range(20):
        await caller.call(FailureKind.SOURCE_ERROR, f"A{chr(65 + n)}")
        await caller.call(None, "AAPL", Endpoint.HISTORY)
        await caller.clock.advance(1.0)
    circuits = {name: state for name, state in caller.breaking.circuits().items() if ":" not in name}
    assert circuits == {"source": "closed", "quote": "open", "history": "closed"}
    assert caller.breaking.state() is SourceState.DEGRADED


async def test_a_price_that_the_consensus_finds_wrong_counts_as_a_failure() -> None:
    """Again and again for one instrument: it is not asked there any more; one slip changes nothing."""
    caller = Caller()
    caller.breaking.contradicted(Endpoint.QUOTE, "VOD.L")
    assert await caller.call(None, "VOD.L") == Answered("ok")
    for _ in range(8):
        await caller.call(None, "VOD.L")
        caller.breaking.contradicted(Endpoint.QUOTE, "VOD.L")
        await caller.clock.advance(5.0)
    assert caller.breaking.circuits() == {"source": "closed", "quote": "closed", "quote:VOD.L": "open"}
    assert caller.breaking.troubles()[0].because == "its prices were found wrong"


async def test_calls_that_become_slow_degrade_and_never_open() -> None:
    """Three times the usual time, again and again: degraded for a minute, and asked all the while."""
    caller = Caller()
    for _ in range(60):
        caller.breaking.took(0.1)
        await caller.clock.advance(1.0)
    assert caller.breaking.state() is SourceState.LIVE
    for _ in range(10):
        caller.breaking.took(1.5)
        await caller.clock.advance(1.0)
    assert caller.breaking.state() is SourceState.DEGRADED
    assert await caller.call(None) == Answered("ok")
    await caller.clock.advance(SLOW_FOR_S)
    assert caller.breaking.state() is SourceState.LIVE


async def test_without_a_network_no_source_is_blamed() -> None:
    """All of them are out of reach at once: that is this machine, and everybody is asked again at once."""
    clock, peers = ManualClock(NOON), Peers()
    callers = [Caller(clock, peers, name) for name in ("one", "two", "three")]
    for _ in range(20):
        for caller in callers:
            await caller.call(FailureKind.NETWORK)
        await clock.advance(1.0)
    assert [caller.breaking.state() for caller in callers] == [SourceState.LIVE] * 3
    assert [await caller.call(None) for caller in callers] == [Answered("ok")] * 3


async def test_one_source_out_of_reach_among_others_that_answer_is_rested() -> None:
    """The others prove that there is a network."""
    clock, peers = ManualClock(NOON), Peers()
    well, unwell = Caller(clock, peers, "well"), Caller(clock, peers, "unwell")
    for _ in range(20):
        await well.call(None)
        await unwell.call(FailureKind.NETWORK)
        await clock.advance(1.0)
    assert (well.breaking.state(), unwell.breaking.state()) == (SourceState.LIVE, SourceState.OPEN)


async def test_nobody_who_waits_is_a_probe() -> None:
    """After the break a background call goes out, alone; users are refused until two of them came back well."""
    caller = Caller()
    while caller.breaking.state() is not SourceState.OPEN:
        await caller.call(FailureKind.NETWORK)
        await caller.clock.advance(1.0)
    assert caller.breaking.to_probe() == ()
    await caller.clock.advance(30.0)
    assert caller.breaking.to_probe() == (Cell(),)
    made = caller.made
    assert isinstance(await caller.call(None), Failure)
    assert caller.made == made
    assert await caller.call(None, priority=Priority.BACKGROUND) == Answered("ok")
    assert isinstance(await caller.call(None), Failure)
    assert await caller.call(None, priority=Priority.BACKGROUND) == Answered("ok")
    assert await caller.call(None) == Answered("ok")


@pytest.mark.parametrize(("others", "may"), [((0.01, 0.02), False), ((0.3, 0.2), True), ((0.01,), True)])
def test_a_source_does_not_learn_to_be_bad_while_its_peers_are_well(others: tuple[float, ...], may: bool) -> None:
    """Failing far more often than two others is not usual; with fewer peers nobody can tell."""
    peers = Peers()
    for n, rate in enumerate(others):
        peers.usual_rate(f"peer{n}", rate)
    assert peers.may_call_usual("invented", 0.35) is may
    assert peers.may_call_usual("invented", 0.05) is True
