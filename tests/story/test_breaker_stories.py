"""Breakers on every level, from the sandbox's fault to the closed circuit, as `source_status` shows them."""

from __future__ import annotations

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.status import SourceState, SourceStatus
from reliability_world import SIX, SixSources, six_sources

WATCHED = ("finnhub", "nasdaq", "cboe")


def calls_to(world: SixSources, vendor: str) -> int:
    """Requests the sandbox has had for a vendor."""
    return sum(world.desk.calls_by_vendor()[vendor].values())


async def until_open(world: SixSources, cell: str, *symbols: str) -> SourceStatus:
    """Ask every few seconds until finnhub's circuit of that name is open."""
    for n in range(60):
        await world.ask(symbols[n % len(symbols)])
        status = await world.status("finnhub")
        if status.circuit.get(cell) == "open":
            return status
        await world.clock.advance(2.5)
    raise AssertionError(f"{cell} stayed closed: {status.circuit}")


async def until_retry(world: SixSources, status: SourceStatus) -> None:
    """Turn the clock to just after the next retry that a status promises."""
    assert status.next_retry_at is not None
    await world.clock.advance((status.next_retry_at - world.clock.now()).total_seconds() + 0.01)


SYMBOLS = tuple(f"SIM{n:03}" for n in range(12))


@pytest.mark.parametrize(
    ("fault", "because"),
    [
        ("finnhub=server_error", "source_error: HTTP 503"),
        ("finnhub=hang", "timeout: no answer within 4.0 s"),
        ("finnhub=malformed", "malformed_reply: "),
    ],
)
async def test_an_endpoint_that_fails_is_rested_probed_in_the_background_and_trusted_again(
    fault: str, because: str
) -> None:
    """Open with the reason and the retry time; tried by one call at a time that nobody waits for; closed after two."""
    async with six_sources(sources=WATCHED) as world:
        world.set_faults(fault)
        opened = await until_open(world, "quote", *SYMBOLS)
        assert opened.state is SourceState.DEGRADED
        assert opened.circuit == {"source": "closed", "quote": "open"}
        assert opened.reason.startswith(f"quote failed repeatedly ({because}")
        assert "is rested for" in opened.reason

        resting = calls_to(world, "finnhub")
        answer = await world.ask("AAPL")
        assert answer.quotes[0].explanation.failures["finnhub"].startswith("circuit_open")
        assert calls_to(world, "finnhub") == resting

        await until_retry(world, opened)
        answer = await world.ask("MSFT")
        await world.clock.advance(5.0)
        assert "finnhub" not in {voice.source for voice in answer.quotes[0].explanation.voices}
        assert calls_to(world, "finnhub") == resting + 1
        relapsed = await world.status("finnhub")
        assert relapsed.circuit["quote"] == "open"
        assert relapsed.next_retry_at is not None
        assert relapsed.next_retry_at > world.clock.now()

        world.set_faults()
        await until_retry(world, relapsed)
        await world.ask("AMZN")
        tried = await world.status("finnhub")
        assert tried.circuit["quote"] == "half_open"
        assert tried.reason.endswith("and is being tried again")
        await world.clock.advance(3.0)
        assert calls_to(world, "finnhub") == resting + 2
        await world.ask("GOOG")
        await world.clock.advance(3.0)
        closed = await world.status("finnhub")
    assert (closed.state, closed.circuit) == (SourceState.LIVE, {"source": "closed", "quote": "closed"})
    assert (closed.next_retry_at, closed.reason) == (None, "answers, or was not asked yet")


async def test_a_source_out_of_reach_is_rested_as_a_whole_and_comes_back() -> None:
    """Its own circuit opens, with the reason; after two probes it serves again."""
    async with six_sources(sources=WATCHED) as world:
        world.network.unreachable = {"finnhub"}
        opened = await until_open(world, "source", *SYMBOLS)
        assert opened.state is SourceState.OPEN
        assert opened.reason.startswith("the source failed repeatedly (network: ")
        assert 0.0 <= (world.clock.now() - opened.since).total_seconds() < 1.0
        await until_retry(world, opened)
        world.network.unreachable = set()
        answer = await world.ask("AAPL")
        assert answer.quotes[0].explanation.failures["finnhub"].startswith("circuit_open")
        await world.clock.advance(1.0)
        await world.ask("MSFT")
        await world.clock.advance(1.0)
        answer = await world.ask("AMZN")
        closed = await world.status("finnhub")
    assert "finnhub" in {voice.source for voice in answer.quotes[0].explanation.voices}
    assert (closed.state, closed.circuit["source"]) == (SourceState.LIVE, "closed")


@pytest.mark.parametrize(
    ("fault", "because"),
    [
        ("finnhub=unit:100,symbols=SIM777", "its prices were found wrong"),
        ("finnhub=malformed,symbols=SIM777", "malformed"),
    ],
)
async def test_one_instrument_in_trouble_is_rested_alone(fault: str, because: str) -> None:
    """A price in another unit, or none that can be read, again and again: the others are still served."""
    async with six_sources(sources=WATCHED, is_slow=False) as world:
        world.set_faults(fault)
        opened = await until_open(world, "quote:SIM777", "SIM777", "AAPL", "SIM777", "MSFT")
        assert opened.circuit == {"source": "closed", "quote": "closed", "quote:SIM777": "open"}
        assert opened.state is SourceState.LIVE
        assert opened.reason.startswith(f"quote of SIM777 failed repeatedly ({because}")
        others = await world.ask("AMZN")
        assert "finnhub" in {voice.source for voice in others.quotes[0].explanation.voices}
        await world.clock.advance(2.5)
        before = calls_to(world, "finnhub")
        assert (await world.ask("SIM777")).quotes[0].explanation.failures["finnhub"].startswith("circuit_open")
        assert calls_to(world, "finnhub") == before
        world.set_faults()
        for _ in range(3):
            await until_retry(world, opened)
            await world.ask("SIM777")
            await world.clock.advance(2.5)
            opened = await world.status("finnhub")
            if "quote:SIM777" not in opened.circuit:
                break
        answer = await world.ask("SIM777")
    assert opened.circuit == {"source": "closed", "quote": "closed"}
    assert "finnhub" in {voice.source for voice in answer.quotes[0].explanation.voices}


async def test_with_every_source_out_of_order_one_is_still_asked_and_the_first_well_one_answers() -> None:
    """Nobody has to wait for the breaks to end: a question asks them one after the other until one answers."""
    async with six_sources(is_slow=False) as world:
        world.set_faults("all=server_error")
        for n in range(20):
            await world.ask(f"SIM{n % 12:03}")
            await world.clock.advance(2.5)
        for source in SIX:
            status = await world.status(source)
            assert "open" in status.circuit.values(), source
        before = world.network.calls
        refused = await world.ask("AAPL")
        assert refused.failures[0].kind in {FailureKind.SOURCE_ERROR, FailureKind.CIRCUIT_OPEN}
        assert 1 <= world.network.calls - before <= len(SIX)
        world.set_faults()
        await world.clock.advance(1.1)
        answer = await world.ask("MSFT")
    assert len(answer.quotes) == 1


async def test_an_outage_of_our_own_network_blames_nobody() -> None:
    """All are out of reach; the moment the network is back all of them serve."""
    async with six_sources(is_slow=False) as world:
        world.network.unreachable = set(SIX)
        for n in range(20):
            answer = await world.ask(f"SIM{n % 12:03}")
            assert answer.failures[0].kind is FailureKind.NETWORK
            await world.clock.advance(2.5)
        told = {source: await world.status(source) for source in SIX}
        world.network.unreachable = set()
        answer = await world.ask("AAPL")
    assert {source: status.state for source, status in told.items()} == dict.fromkeys(SIX, SourceState.LIVE)
    # The first call that fails cannot know yet that no other one comes through.
    learned = [status.reliability for status in told.values() if status.reliability is not None]
    assert sum(reliability.observations for reliability in learned) <= 1
    assert answer.failures == ()
