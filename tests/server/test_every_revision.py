"""Everything that is listed is also called, by the official client, at every revision of the protocol it speaks."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import PromptReference, ResourceTemplateReference
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, KNOWN_PROTOCOL_VERSIONS

from mdagent_mcp.server.arguments import TOOL_ARGUMENTS
from server.http.running import running

PROGRAM = Path(__file__).with_name("stdio_server.py")
CALLS: dict[str, dict[str, Any]] = {
    "get_quote": {"symbols": ["AAPL", "MSFT"]},
    "get_history": {"symbol": "AAPL", "period": "1mo"},
    "source_status": {},
    "explain_quality": {"symbol": "AAPL"},
}
TEMPLATES = {
    "mdagent://history/{evidence_id}": "mdagent://history/h-1",
    "mdagent://memory/symbol/{symbol}": "mdagent://memory/symbol/AAPL",
}


async def walk(client: Client, revision: str) -> None:
    """List everything and use each entry of every list."""
    assert client.protocol_version == revision
    tools = [tool.name for tool in (await client.list_tools()).tools]
    assert tools == list(TOOL_ARGUMENTS) == list(CALLS)
    for tool in tools:
        result = await client.call_tool(tool, CALLS[tool])
        assert not result.is_error, tool
        assert result.structured_content, tool
    prompts = (await client.list_prompts()).prompts
    assert len(prompts) == 5
    for prompt in prompts:
        names = [argument.name for argument in prompt.arguments or ()]
        found = await client.get_prompt(prompt.name, dict.fromkeys(names, "AAPL"))
        assert found.messages, prompt.name
        for name in names:
            completed = await client.complete(PromptReference(name=prompt.name), {"name": name, "value": "AAP"})
            assert completed.completion.values == (["AAPX", "AAPL"] if name in {"symbol", "symbols"} else [])
    for resource in (await client.list_resources()).resources:
        assert (await client.read_resource(str(resource.uri))).contents, resource.uri
    templates = [template.uri_template for template in (await client.list_resource_templates()).resource_templates]
    assert set(templates) == set(TEMPLATES)
    for template in templates:
        assert (await client.read_resource(TEMPLATES[template])).contents, template
        reference = ResourceTemplateReference(uri=template)
        assert (await client.complete(reference, {"name": "symbol", "value": "zvz"})).completion.values == ["ZVZZT"]


def mode_of(revision: str, patch: pytest.MonkeyPatch) -> Any:
    """The client's mode that speaks a revision; of the older ones it offers only the newest by itself."""
    if revision not in HANDSHAKE_PROTOCOL_VERSIONS:
        return revision
    patch.setattr("mcp.client.session.LATEST_HANDSHAKE_VERSION", revision)
    return "legacy"


async def test_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """One server for all of them, as they come."""
    async with running(requests_per_s=0) as server:
        for revision in KNOWN_PROTOCOL_VERSIONS:
            async with Client(server.mcp, mode=mode_of(revision, monkeypatch)) as client:
                await walk(client, revision)


async def test_over_stdio(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process each, since the first request decides what one speaks; they start together."""
    async with AsyncExitStack() as stack:
        parameters = StdioServerParameters(command=sys.executable, args=[str(PROGRAM)])
        pipes = [await stack.enter_async_context(stdio_client(parameters)) for _ in KNOWN_PROTOCOL_VERSIONS]
        for revision, streams in zip(KNOWN_PROTOCOL_VERSIONS, pipes, strict=True):

            @asynccontextmanager
            async def opened(streams: Any = streams) -> AsyncIterator[Any]:
                yield streams

            async with Client(opened(), mode=mode_of(revision, monkeypatch)) as client:
                await walk(client, revision)
