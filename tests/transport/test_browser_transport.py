"""The transport that speaks like a browser, against a server of our own: the extra must be installed for most of it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import httpx
import pytest

from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Request
from mdagent_mcp.engine.status import _reason
from mdagent_mcp.transport import browser
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.source import Source, SourceOptions
from mdagent_mcp.vendors.yahoo import YAHOO
from transport.invented_vendor import INVENTED, SECRET, Web
from transport.loopback_server import Answer, Loopback, answering, reply

LIMIT = 100_000

needs_the_extra = pytest.mark.skipif(not browser.is_installed(), reason="the extra `yahoo` is NOT INSTALLED: untested")


@asynccontextmanager
async def client_of(answer: Answer, key: str | None = None) -> AsyncIterator[tuple[VendorClient, Loopback]]:
    """A client over the browser's transport, and the server it speaks to."""
    async with answering(answer) as server:
        vendor = replace(INVENTED, hosts={"api": server.url})
        client = VendorClient(
            vendor, host_sets(vendor), key, SystemClock(), lambda _: browser.browser_transport(4, LIMIT)
        )
        try:
            yield client, server
        finally:
            await client.aclose()


async def refusal(client: VendorClient, path: str = "/") -> SourceError:
    """What sending fails with."""
    with pytest.raises(SourceError) as caught:
        await client.send(Request(path))
    return caught.value


@needs_the_extra
async def test_it_introduces_itself_as_chrome_and_carries_our_own_headers() -> None:
    """Its headers come in Chrome's spelling; query, key and condition are ours; names of the reply are lower case."""
    async with client_of(lambda _: reply("200 OK", b"fine", X_Odd_NAME="v"), key=SECRET) as (client, server):
        got = await client.send(Request("/a", (("s", "^A,B"),), (("If-None-Match", '"1"'),)))
    (asked,) = server.asked
    assert (got.status, got.body, got.headers["x-odd-name"]) == (200, b"fine", "v")
    assert asked.target == "/a?s=%5EA%2CB"
    assert asked.headers["sec-ch-ua"].count("Chrom") >= 1
    assert (asked.headers["if-none-match"], asked.headers["x-key"]) == ('"1"', f"Bearer {SECRET}")
    assert "python" not in asked.text.lower()


@needs_the_extra
async def test_a_cookie_is_sent_back_to_where_it_came_from() -> None:
    """The client above keeps them, as it does over the other transport."""
    async with client_of(lambda _: reply("200 OK", Set_Cookie="A3=c00kie; Path=/")) as (client, server):
        await client.send(Request("/cookie"))
        await client.send(Request("/batch"))
    assert [asked.headers.get("cookie") for asked in server.asked] == [None, "A3=c00kie"]


@needs_the_extra
async def test_no_proxy_of_the_environment_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """They name a port where nobody listens."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with client_of(lambda _: reply("200 OK", b"direct")) as (client, _):
        assert (await client.send(Request("/"))).body == b"direct"


@needs_the_extra
@pytest.mark.parametrize("beginning", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nbeginning..."])
async def test_a_call_that_is_cut_short_ends_at_once_and_closes_its_connection(beginning: bytes | None) -> None:
    """Before the reply begins and in the middle of it; the client is as good as new."""
    async with client_of(lambda asked: beginning if asked.target == "/slow" else reply("200 OK")) as (client, server):
        clock = SystemClock()
        started = clock.monotonic()
        with pytest.raises(TimeoutError), clock.limit(0.1):
            await client.send(Request("/slow"))
        with clock.limit(2):
            await server.asked[0].left.wait()
        assert clock.monotonic() - started < 1.5
        assert (await client.send(Request("/"))).status == 200


@needs_the_extra
async def test_cancelling_the_asker_cancels_the_call() -> None:
    """A task group that ends does not wait for the vendor."""
    async with client_of(lambda _: None) as (client, server):
        with SystemClock().limit(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.send, Request("/hang"))
                await server.arrived.wait()
                tasks.cancel_scope.cancel()
            await server.asked[0].left.wait()


@needs_the_extra
@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut", b"\r\n\r\n", b"HTTP/1.1\r\n\r\n"]
)
async def test_a_broken_connection_is_a_network_failure(sent: bytes) -> None:
    """Whatever curl calls it, and without its words, which name addresses."""
    async with client_of(lambda _: sent) as (client, _):
        error = await refusal(client)
    assert error.kind is FailureKind.NETWORK
    assert "127.0.0.1" not in str(error)
    assert (error.__cause__, error.__context__) == (None, None)


@needs_the_extra
async def test_a_host_where_nobody_listens_is_a_network_failure() -> None:
    """The server is gone."""
    async with client_of(lambda _: None) as (client, server):
        dead = replace(INVENTED, hosts={"api": "http://127.0.0.1:9"})
        client.hosts = host_sets(dead)
        assert (await refusal(client)).kind is FailureKind.NETWORK
        assert server.asked == []


@needs_the_extra
@pytest.mark.parametrize("told", ["200 OK\r\nContent-Length: 5000000", "200 OK"])
async def test_a_reply_without_end_is_cut_off(told: str) -> None:
    """Whether it tells its length or not."""
    body = b"x" * 5_000_000
    async with client_of(lambda _: f"HTTP/1.1 {told}\r\n\r\n".encode() + body) as (client, _):
        error = await refusal(client)
    assert (error.kind, error.detail) == (FailureKind.MALFORMED_REPLY, f"the reply is larger than {LIMIT} bytes")


def yahoo_client() -> VendorClient:
    """Yahoo's client as the application makes it."""
    return VendorClient(YAHOO, host_sets(YAHOO), None, SystemClock())


async def test_yahoo_is_asked_with_a_browsers_headers_where_the_extra_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ours would give the imitation away."""
    web = Web(lambda _: httpx.Response(200))
    monkeypatch.setattr(browser, "is_installed", lambda: True)
    monkeypatch.setattr(browser, "browser_transport", lambda *_: web)
    client = yahoo_client()
    await client.send(Request("/v8/finance/chart/AAPL"))
    assert client.imitates_browser
    (asked,) = web.requests
    assert str(asked.url) == "https://query1.finance.yahoo.com/v8/finance/chart/AAPL"
    assert [name for name, value in YAHOO.headers if asked.headers.get(name) == value] == []


async def test_without_the_extra_yahoo_is_asked_as_everybody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a name that it does not refuse at once."""
    web = Web(lambda _: httpx.Response(200))
    monkeypatch.setattr(browser, "is_installed", lambda: False)
    monkeypatch.setattr("mdagent_mcp.transport.http._aiohttp_transport", lambda: web)
    client = yahoo_client()
    await client.send(Request("/v8/finance/chart/AAPL"))
    assert not client.imitates_browser
    assert web.requests[0].headers["User-Agent"].startswith("Mozilla/5.0 (compatible; mdagent-mcp")


def test_only_yahoo_is_spoken_to_as_a_browser_and_only_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured host without TLS has no wall of that kind."""
    monkeypatch.setattr(browser, "is_installed", lambda: True)
    plain = VendorClient(YAHOO, host_sets(YAHOO, ("http://127.0.0.1:1/yahoo",)), None, SystemClock())
    other = VendorClient(INVENTED, host_sets(INVENTED), None, SystemClock())
    assert [client.imitates_browser for client in (yahoo_client(), plain, other)] == [True, False, False]


@pytest.mark.parametrize(("installed", "helps"), [(True, False), (False, True)])
def test_a_throttled_yahoo_says_what_helps(installed: bool, helps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is installed already."""
    monkeypatch.setattr(browser, "is_installed", lambda: installed)
    client = yahoo_client()
    source = Source(YAHOO, SourceOptions(), client, clock=client.clock, emit=lambda _: None, rng=random.Random(1))
    assert ("pip install 'mdagent-mcp[yahoo]'" in _reason(source, SourceState.THROTTLED)) is helps
