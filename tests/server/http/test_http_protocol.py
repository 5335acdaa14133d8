"""A real server on loopback: every feature over HTTP, notices, cancellation, and an end that loses no call."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent

from mdagent_mcp.domain.status import SourceState
from server.fake_market_data import OVERALL, STATUS, FakeMarketData
from server.http.running import HEADERS, Running, body_of, initialize, message, running, until
from server.test_tools_answers import AAPL_JSON, Era, both_eras


@both_eras
@pytest.mark.parametrize("settings", [{}, {"stateless": True}, {"json_response": True}], ids=["", "stateless", "json"])
async def test_every_mode_serves_both_eras(era: Era, settings: dict[str, Any]) -> None:
    """With the same answer."""
    async with running(**settings) as server, Client(server.mcp, mode=era) as client:
        assert len((await client.list_tools()).tools) == 4
        result = await client.call_tool("get_quote", {"symbols": "AAPL"})
        assert result.structured_content is not None
        assert result.structured_content["quotes"] == [AAPL_JSON]
        assert client.server_capabilities.resources is not None
        assert client.server_capabilities.resources.subscribe is not (era == "legacy" and "stateless" in settings)


@both_eras
async def test_progress_travels_with_its_total(era: Era) -> None:
    """A batch counts its symbols."""
    seen: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with running() as server, Client(server.mcp, mode=era) as client:
        await client.call_tool("get_quote", {"symbols": ["AAPL", "MSFT"]}, progress_callback=note)
    assert seen == [(1, 2, "AAPL"), (2, 2, "MSFT")]


@both_eras
async def test_a_client_that_gives_up_frees_the_work(era: Era) -> None:
    """By a notice in the older era, by closing the stream in the newer one."""
    fake = FakeMarketData(hold=True)
    async with running(fake) as server, Client(server.mcp, mode=era) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "get_quote", {"symbols": "AAPL"})
            await fake.held.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await fake.cancelled.wait()


class Changing(FakeMarketData):
    """An engine whose one source changes its state on request."""

    state = SourceState.LIVE

    async def source_status(self, source: str | None = None) -> Any:
        """The one source."""
        return (replace(STATUS, state=self.state, reason=f"asked {len(self.asked)} times"),), OVERALL


async def turn(server: Running, fake: Changing, state: SourceState) -> None:
    """Let the watch see the present state, change it, and let it see that."""
    await server.clock.advance(2)
    fake.state = state
    await server.clock.advance(2)


async def test_a_listening_client_hears_when_a_source_changes_its_state() -> None:
    """Once per change, and only of what it asked for."""
    fake = Changing()
    async with (
        running(fake) as server,
        Client(server.mcp) as client,
        client.listen(resource_subscriptions=["mdagent://sources"]) as heard,
    ):
        await turn(server, fake, SourceState.LIVE)
        await turn(server, fake, SourceState.OPEN)
        await server.parts.notices.publish("mdagent://rubric")
        await server.parts.notices.publish("mdagent://sources")
        events = [await anext(aiter(heard)), await anext(aiter(heard))]
    assert [getattr(event, "uri", None) for event in events] == ["mdagent://sources"] * 2


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_a_subscribed_client_before_2026_hears_it_too(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the stream of its session, until it unsubscribes."""
    monkeypatch.setattr("mcp.client.session.LATEST_HANDSHAKE_VERSION", version)
    fake = Changing()
    heard: list[str] = []

    async def note(message: Any) -> None:
        if getattr(message, "method", "") == "notifications/resources/updated":
            heard.append(str(message.params.uri))

    async with running(fake) as server, Client(server.mcp, mode="legacy", message_handler=note) as client:
        assert client.protocol_version == version
        await client.subscribe_resource("mdagent://sources")
        await turn(server, fake, SourceState.OPEN)
        await until(lambda: bool(heard))
        await client.unsubscribe_resource("mdagent://sources")
        assert not server.parts.notices.are_wanted
        await server.parts.notices.publish("mdagent://sources")
        await client.list_tools()
    assert heard == ["mdagent://sources"]


@dataclass
class Standing:
    """What clients have under way when the signal comes: a call, the stream of a session, and a listening stream."""

    server: Running
    web: httpx.AsyncClient
    session: dict[str, str]
    results: list[CallToolResult] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    async def call(self) -> None:
        """A call of the older era, answered in a stream."""
        async with Client(self.server.mcp, mode="legacy") as client:
            await client.list_tools()
            found = await client.call_tool("get_quote", {"symbols": "AAPL"})
            assert isinstance(found, CallToolResult)
            self.results.append(found)

    async def stream(self) -> None:
        """The stream of a session, which has no end of its own."""
        async with self.web.stream("GET", self.server.mcp, headers=self.session) as stream:
            async for _ in stream.aiter_bytes():
                pass
            self.ends.append("stream")

    async def listen(self) -> None:
        """A stream of the newer era."""
        async with (
            Client(self.server.mcp) as client,
            client.listen(resource_subscriptions=["mdagent://sources"]) as sub,
        ):
            async for _ in sub:
                pass
            self.ends.append("listening")

    async def post(self, number: int) -> httpx.Response:
        """One more request of the session."""
        return await self.web.post(self.server.mcp, content=message("tools/list", id=number), headers=self.session)


async def session_of(server: Running, web: httpx.AsyncClient) -> dict[str, str]:
    """The headers of a session that is ready."""
    opened = await web.post(server.mcp, content=initialize())
    found = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    await web.post(server.mcp, content=b'{"jsonrpc":"2.0","method":"notifications/initialized"}', headers=found)
    return found


async def test_a_signal_lets_calls_end_refuses_new_ones_and_closes_streams_in_good_order() -> None:
    """/readyz says no first; the call under way is answered, and nothing is cut."""
    fake = FakeMarketData(hold=True)
    async with running(fake, drain_notice_s=0.3) as server, httpx.AsyncClient(headers=HEADERS) as web:
        clients = Standing(server, web, await session_of(server, web))
        async with anyio.create_task_group() as tasks:
            for work in (clients.call, clients.stream, clients.listen):
                tasks.start_soon(work)
            await fake.held.wait()
            await until(lambda: server.parts.notices.are_wanted)
            signal.raise_signal(signal.SIGTERM)
            await until(lambda: server.traffic.draining)
            ready, alive = await web.get(f"{server.url}/readyz"), await web.get(f"{server.url}/healthz")
            still = await clients.post(7)
            await until(lambda: server.traffic.refusing)
            late = await clients.post(8)
            await until(lambda: len(clients.ends) == 2)
            assert not clients.results
            fake.release()
            await server.ended.wait()
    assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
    assert (alive.status_code, still.status_code) == (200, 200)
    assert len(body_of(still)["result"]["tools"]) == 4
    assert (late.status_code, late.headers["retry-after"]) == (503, "1")
    assert sorted(clients.ends) == ["listening", "stream"]
    (block,) = clients.results[0].content
    assert isinstance(block, TextContent)
    assert block.text.startswith("AAPL 189.84 USD")
    assert (server.drained, fake.asked[-1]) == ([True], "closed")


async def test_a_call_that_does_not_end_is_cut_short_when_its_time_is_up() -> None:
    """Its client is told, and the engine is closed all the same."""
    fake = FakeMarketData(hold=True)
    replies: list[tuple[int, str]] = []
    async with running(fake, drain_s=0.1) as server, httpx.AsyncClient(headers=HEADERS) as web:

        async def call() -> None:
            reply = await web.post(
                server.mcp,
                content=message("tools/call", name="get_quote", arguments={"symbols": "AAPL"}, **MODERN_META),
                headers={**MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "get_quote"},
            )
            replies.append((reply.status_code, reply.json()["error"]["message"]))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await fake.held.wait()
            signal.raise_signal(signal.SIGTERM)
            await server.ended.wait()
    assert replies == [(503, "The server is shutting down.")]
    assert server.drained == [False]
    assert fake.cancelled.is_set()
    assert fake.asked[-1] == "closed"


MODERN = {"MCP-Protocol-Version": "2026-07-28"}
MODERN_META: dict[str, Any] = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}


async def test_no_address_of_a_resource_leads_to_a_file() -> None:
    """However it is written; what was asked for comes back cut short, or not at all."""
    paths = ("../../../../etc/passwd", "..%2F..%2Fetc%2Fpasswd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "h-1\x00")
    uris = [
        *(f"mdagent://history/{path}" for path in paths),
        *("file:///etc/passwd", "mdagent://sources/../rubric", "mdagent://" + "a" * 5_000),
    ]
    async with running() as server, httpx.AsyncClient(headers=HEADERS) as web:
        for uri in uris:
            reply = await web.post(
                server.mcp,
                content=message("resources/read", uri=uri, **MODERN_META),
                headers={**MODERN, "Mcp-Method": "resources/read", "Mcp-Name": uri.replace("\x00", "")},
            )
            told = body_of(reply)
            assert "error" in told, uri
            assert "root:" not in reply.text
            assert len(reply.text) < 1_000
