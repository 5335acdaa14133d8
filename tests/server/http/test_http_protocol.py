"""A real server on loopback: every feature over HTTP, notices, cancellation, and an end that loses no call."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent

from mdagent_mcp.domain.status import SourceState
from server.fake_market_data import OVERALL, STATUS, FakeMarketData
from server.http.running import HEADERS, Running, body_of, initialize, message, running
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

    async def note(done: float, total: float | None, text: str | None) -> None:
        seen.append((done, total, text))

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
    async with running(fake) as server, Client(server.mcp) as client:
        async with client.listen(resource_subscriptions=["mdagent://sources"]) as heard:
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

    async def note(event: Any) -> None:
        if getattr(event, "method", "") == "notifications/resources/updated":
            heard.append(str(event.params.uri))

    async with running(fake) as server, Client(server.mcp, mode="legacy", message_handler=note) as client:
        assert client.protocol_version == version
        await client.subscribe_resource("mdagent://sources")
        await turn(server, fake, SourceState.OPEN)
        await until(lambda: bool(heard))
        await client.unsubscribe_resource("mdagent://sources")
        assert not server.parts.notices.are_wanted
        await turn(server, fake, SourceState.LIVE)
        await anyio.sleep(0.1)
    assert heard == ["mdagent://sources"]


async def until(condition: Any) -> None:
    """Wait until something is so."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.01)


async def test_a_signal_lets_calls_end_refuses_new_ones_and_closes_streams_in_good_order() -> None:
    """/readyz says no first; the call under way is answered, and nothing is cut."""
    fake = FakeMarketData(hold=True)
    results: list[CallToolResult] = []
    ends: list[str] = []
    async with running(fake, drain_notice_s=0.3) as server, httpx.AsyncClient(headers=HEADERS) as web:
        opened = await web.post(server.mcp, content=initialize())
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
        await web.post(server.mcp, content=b'{"jsonrpc":"2.0","method":"notifications/initialized"}', headers=session)

        async def call() -> None:
            async with Client(server.mcp, mode="legacy") as client:
                await client.list_tools()
                found = await client.call_tool("get_quote", {"symbols": "AAPL"})
                assert isinstance(found, CallToolResult)
                results.append(found)

        async def standing() -> None:
            async with web.stream("GET", server.mcp, headers=session) as stream:
                async for _ in stream.aiter_bytes():
                    pass
                ends.append("stream")

        async def listen() -> None:
            async with Client(server.mcp) as client, client.listen(resource_subscriptions=["mdagent://sources"]) as sub:
                async for _ in sub:
                    pass
                ends.append("listening")

        async with anyio.create_task_group() as tasks:
            for work in (call, standing, listen):
                tasks.start_soon(work)
            await fake.held.wait()
            await until(lambda: server.parts.notices.are_wanted)
            signal.raise_signal(signal.SIGTERM)
            await until(lambda: server.traffic.draining)
            ready = await web.get(f"{server.url}/readyz")
            alive = await web.get(f"{server.url}/healthz")
            still = await web.post(server.mcp, content=message("tools/list", id=7), headers=session)
            await until(lambda: server.traffic.refusing)
            late = await web.post(server.mcp, content=message("tools/list", id=8), headers=session)
            await until(lambda: len(ends) == 2)
            assert not results
            fake.release()
            await server.ended.wait()
    assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
    assert (alive.status_code, still.status_code) == (200, 200)
    assert len(body_of(still)["result"]["tools"]) == 4
    assert (late.status_code, late.headers["retry-after"]) == (503, "1")
    assert sorted(ends) == ["listening", "stream"]
    assert isinstance(results[0].content[0], TextContent)
    assert results[0].content[0].text.startswith("AAPL 189.84 USD")
    assert server.drained == [True]
    assert fake.asked[-1] == "closed"


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
MODERN_META = {
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
