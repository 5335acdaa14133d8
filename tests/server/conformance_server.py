"""The real server's HTTP wiring over the fake engine, with what the conformance suite asks for by name, as a program.

Names, texts and shapes are those that the suite's scenarios demand in their own descriptions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

from mdagent_mcp.config.http_settings import HttpSettings
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.server.http.application import http_application
from mdagent_mcp.server.http.serving import listening_socket, serve_http, url_of
from mdagent_mcp.server.http.traffic import Traffic
from mdagent_mcp.server.server import build_parts
from mdagent_mcp.server.strictness import NameGuard
from mdagent_mcp.testing import ManualClock
from server.fake_market_data import NOW, FakeMarketData

STEPS = (0, 50, 100)


def add_tools(server: MCPServer[Any]) -> None:
    """What the scenarios call."""

    @server.tool()
    async def test_simple_text() -> str:
        """A text."""
        return "This is a simple text response for testing."

    @server.tool()
    async def test_tool_with_progress(ctx: Context[Any, Any]) -> str:
        """Three reports on the way."""
        for done in STEPS:
            await ctx.report_progress(done, STEPS[-1], f"Completed step {done} of {STEPS[-1]}")
            await anyio.sleep(0.05)
        return "done"

    @server.tool()
    async def test_error_handling() -> str:
        """Fails."""
        raise ValueError("This tool intentionally returns an error for testing")


def add_resources(server: MCPServer[Any]) -> None:
    """What they read and subscribe to."""

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """The first bytes of a picture."""
        return b"\x89PNG\r\n\x1a\n"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def templated(id: str) -> str:  # noqa: A002 - named by the scenario
        """An address with a part that varies."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """Something to subscribe to."""
        return "Watched resource content"


def add_prompts(server: MCPServer[Any]) -> None:
    """What they ask to be filled in."""

    @server.prompt()
    def test_simple_prompt() -> str:
        """A prompt without arguments."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A prompt with two."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


async def main() -> None:
    """Serve on a free port until killed."""
    http = HttpSettings.model_validate({"port": 0, "requests_per_s": 0})
    parts = build_parts(FakeMarketData().opener(), ManualClock(NOW), "0.0.1", eager=True)
    for add in (add_tools, add_resources, add_prompts):
        add(parts.server)
    # Names that do not exist are refused by a table made before the fixtures were there.
    middleware = parts.server.middleware
    middleware[:] = [each for each in middleware if not isinstance(each, NameGuard)]
    traffic, clock = Traffic(), SystemClock()
    app = http_application(parts.server, parts.service, http, traffic=traffic, clock=clock)
    with listening_socket(http.host, http.port) as listening:
        print(f"mdagent-mcp: serving MCP at {url_of(listening)}/mcp", file=sys.stderr, flush=True)  # noqa: T201
        await serve_http(app, http, listening, traffic=traffic, clock=clock, end_streams=parts.notices.end_streams)


if __name__ == "__main__":
    anyio.run(main)
