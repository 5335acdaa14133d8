"""The sandbox as a server: loopback only, marked as simulated, quick to leave, and open at any hour on request."""

from __future__ import annotations

import asyncio
import logging
import socket
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from mdagent_mcp.domain.calendar import MarketState, calendar_named
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.sandbox.app import build_app, is_loopback
from mdagent_mcp.sandbox.clock import HeldClock, ShiftedClock, market_hours_clock
from mdagent_mcp.sandbox.faults import VENDORS, InvalidFaultError
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.sandbox.server import _listen, running_sandbox
from mdagent_mcp.testing import ManualClock
from sandbox.loopback import AGENT, OPEN, SEED, sandbox_at

NOTICE = "mdagent-mcp sandbox, prices are not real"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "example.test", "", "::"])
async def test_only_loopback_hosts_are_served(host: str) -> None:
    """Any other address is refused before a socket is opened."""
    with pytest.raises(ValueError, match="is not a loopback address"):
        async with running_sandbox(SystemClock(), host=host):
            pass


def test_loopback_is_recognised_by_address() -> None:
    """The whole 127 block, ::1 and the name localhost."""
    assert [is_loopback(h) for h in ("localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]", "10.0.0.1", "host")] == [
        True,
        True,
        True,
        True,
        True,
        False,
        False,
    ]


async def test_every_reply_says_that_prices_are_simulated_and_shows_the_sandbox_clock() -> None:
    """Good replies, refusals and unknown paths carry the header and the market's date."""
    async with sandbox_at(OPEN, "cboe=throttle") as loopback:
        paths = ("/sandbox", "/nothing", "/cboe/api/global/delayed_quotes/quotes/AAPL.json", "/yahoo/")
        replies = [await loopback.get(path) for path in paths]
    assert {reply.headers["x-simulated-market"] for reply in replies} == {NOTICE}
    assert {reply.headers["date"] for reply in replies} == {"Tue, 24 Nov 2026 15:04:11 GMT"}


async def test_the_front_page_warns_loudly() -> None:
    """It says that all prices are simulated, with seed, instant and vendors."""
    async with sandbox_at(OPEN, "yahoo=hang") as loopback:
        page = await loopback.json("/sandbox")
    assert page["warning"].startswith("ALL PRICES ARE SIMULATED")
    assert (page["seed"], page["now"], page["faults"]) == (SEED, OPEN.isoformat(), ["yahoo=hang"])
    assert list(page["vendors"]) == list(VENDORS)


async def test_calls_are_counted_by_vendor_and_path() -> None:
    """Refused calls count too; the server's own pages do not."""
    async with sandbox_at(OPEN, "finnhub=throttle") as loopback:
        for path in ("/finnhub/api/v1/quote?symbol=AAPL&token=k", "/nasdaq/api/quote/AAPL/info?assetclass=stocks"):
            await loopback.get(path)
            await loopback.get(path.replace("AAPL", "MSFT"))
        counted = await loopback.json("/sandbox/calls")
        assert dict(loopback.sandbox.calls) == {**dict.fromkeys(VENDORS, 0), "nasdaq": 2, "finnhub": 2}
        assert loopback.sandbox.calls_by_path == counted
    asked = {"nasdaq": {"/api/quote/{symbol}/info": 2}, "finnhub": {"/api/v1/quote": 2}}
    assert counted == {vendor: asked.get(vendor, {}) for vendor in VENDORS}


async def test_leaving_does_not_wait_for_a_hanging_call() -> None:
    """A call that hangs is answered with an error when the server goes down, well within its limit."""
    client = httpx.AsyncClient(timeout=10)
    async with client:
        async with asyncio.timeout(5):
            async with running_sandbox(HeldClock(SystemClock(), OPEN), faults=["finnhub=hang"]) as sandbox:
                url = f"{sandbox.url_for('finnhub')}/api/v1/quote?symbol=AAPL&token=k"
                hanging = asyncio.create_task(client.get(url))
                while sandbox.calls["finnhub"] == 0:
                    await client.get(f"{sandbox.base_url}/sandbox")
            reply = await hanging
    assert reply.status_code == 503


def test_replies_are_not_held_back_by_the_socket() -> None:
    """Small packets leave at once only on sockets that name TCP; otherwise each reply takes 40 ms."""
    with _listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


async def test_an_error_of_the_body_arrives_as_it_is() -> None:
    """No exception group, and the port is free again."""
    with pytest.raises(LookupError, match="mine"):
        async with running_sandbox(SystemClock()) as sandbox:
            raise LookupError("mine")
    port = int(sandbox.base_url.rsplit(":", 1)[1])
    async with running_sandbox(SystemClock(), port=port) as again:
        assert again.base_url == sandbox.base_url


async def test_serving_prints_and_logs_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither stdout nor stderr nor the log, which stdout of an MCP server could not bear."""
    caplog.set_level(logging.INFO, logger="uvicorn")
    async with sandbox_at(OPEN) as loopback:
        await loopback.get("/sandbox")
    assert capfd.readouterr() == ("", "")
    assert [record.name for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_a_wrong_fault_is_refused_before_serving() -> None:
    """And a wrong set_faults changes nothing."""
    with pytest.raises(InvalidFaultError):
        async with running_sandbox(SystemClock(), faults=["yahoo=nonsense"]):
            pass
    async with sandbox_at(OPEN, "yahoo=hang") as loopback:
        with pytest.raises(InvalidFaultError):
            loopback.sandbox.set_faults("yahoo=nonsense")
        assert loopback.sandbox.faults.texts == ("yahoo=hang",)
        with pytest.raises(ValueError, match="no vendor 'stooq' in the sandbox"):
            loopback.sandbox.url_for("stooq")


async def test_the_application_can_be_called_in_process() -> None:
    """Without a port, under a hand-turned clock; a delay waits on that clock."""
    clock = ManualClock(OPEN)
    transport = httpx.ASGITransport(build_app(SimulatedMarket(SEED), clock, ["finnhub=delay:30"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=AGENT) as client:
        quote = asyncio.create_task(client.get("/finnhub/api/v1/quote?symbol=AAPL&token=k"))
        await clock.advance(29)
        assert not quote.done()
        await clock.advance(2)
        reply = await quote
    assert reply.json()["t"] == int((OPEN + timedelta(seconds=29)).timestamp())


@pytest.mark.parametrize(
    ("real", "shown"),
    [
        (datetime(2026, 11, 24, 15, 4, tzinfo=UTC), datetime(2026, 11, 24, 15, 4, tzinfo=UTC)),
        (datetime(2026, 11, 24, 3, 0, tzinfo=UTC), datetime(2026, 11, 23, 17, 45, 15, tzinfo=UTC)),
        (datetime(2026, 11, 22, 16, 0, tzinfo=UTC), datetime(2026, 11, 20, 16, 0, 15, tzinfo=UTC)),
        (datetime(2026, 11, 28, 17, 50, tzinfo=UTC), datetime(2026, 11, 27, 16, 15, 15, tzinfo=UTC)),
    ],
)
async def test_the_market_is_open_at_any_hour_on_request(real: datetime, shown: datetime) -> None:
    """Open: the real time. Night and weekend: the latest session, at the same time of day or in its middle."""
    turned = ManualClock(real)
    clock = market_hours_clock(turned)
    assert clock.now() == shown
    assert calendar_named("XNYS").state_at(clock.now()) is MarketState.OPEN
    await turned.advance(90)
    assert clock.now() == shown + timedelta(seconds=90)


async def test_shifted_clocks_wait_as_the_real_one_does() -> None:
    """Sleeping, limits and the monotonic scale are the real clock's; a held clock tells one instant."""
    turned = ManualClock(OPEN)
    shifted, held = ShiftedClock(turned, OPEN - timedelta(days=3)), HeldClock(turned, OPEN)
    sleeping = asyncio.create_task(shifted.sleep(5))
    await turned.advance(6)
    assert sleeping.done()
    assert (held.now(), held.monotonic(), shifted.now()) == (OPEN, 6, OPEN - timedelta(days=3) + timedelta(seconds=6))
    with pytest.raises(TimeoutError), shifted.limit(0):
        await asyncio.sleep(0)


@pytest.mark.parametrize("market_clock", [ShiftedClock, HeldClock])
def test_a_start_without_zone_is_refused(market_clock: type[ShiftedClock]) -> None:
    """A naive instant is ambiguous."""
    with pytest.raises(ValueError, match="start must be an aware datetime in UTC"):
        market_clock(SystemClock(), datetime(2026, 11, 24))  # noqa: DTZ001 - the point of the test
