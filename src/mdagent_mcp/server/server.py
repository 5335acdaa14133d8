"""The MCP server: tools, resources and prompts over one engine that opens in the background.

The rule of this module: the handshake is answered before anything heavy is imported or opened. Opening begins when
the client has been answered for the first time, or at the latest when an answer is needed.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from mcp.server import MCPServer
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.service import MarketData
from mdagent_mcp.server.lazy_service import LazyService
from mdagent_mcp.server.prompts import packaged_prompts, registered
from mdagent_mcp.server.resources import add_resources
from mdagent_mcp.server.strictness import NameGuard, tell_crashes
from mdagent_mcp.server.tools import FAILURE_CONTENTS, Tools

INSTRUCTIONS: Final = """\
Market data with a quality grade. Give the grade's meaning with the number: A, B: state it; C: with its age; D: with \
its defect; F: do not state it as fact, say what failed. Prices carry currency, UTC time and session; `closed` is the \
last official close. On a failure follow its hint; never estimate a price or reuse an older one. explain_quality says \
why a grade is not better; source_status says which vendors are down, throttled or without a key."""
"""What every agent is told once."""

_UNCHANGING: Final = CacheHint(ttl_ms=3_600_000, scope="public")
_BEFORE_ANSWER: Final = frozenset({"initialize", "server/discover", "ping"})
"""Requests after which a client has not been told enough to ask for data."""


def build_server(
    open_service: Callable[[], AbstractAsyncContextManager[MarketData]], clock: Clock, version: str
) -> MCPServer[LazyService]:
    """The server, ready to be run on any transport.

    Args:
        open_service: makes the context that holds the engine open; called once, in the background.
        clock: the engine's clock.
        version: told to clients.
    """
    service = LazyService(open_service, clock)
    tools = Tools(service, clock).registered()
    prompts = packaged_prompts()
    server: MCPServer[LazyService] = MCPServer(
        "mdagent-mcp",
        title="Market data with a quality grade",
        instructions=INSTRUCTIONS,
        version=version,
        tools=tools,
        lifespan=lambda _: _living(service),
        log_level="WARNING",
        cache_hints={"tools/list": _UNCHANGING, "prompts/list": _UNCHANGING},
        middleware=[
            _opening(service),
            NameGuard(tuple(tool.name for tool in tools), {prompt.name: prompt.required for prompt in prompts}),
            tell_crashes(FAILURE_CONTENTS),
        ],
    )
    for prompt in prompts:
        server.add_prompt(registered(prompt))
    add_resources(server, service)
    return server


@asynccontextmanager
async def _living(service: LazyService) -> AsyncIterator[LazyService]:
    """The life of the server.

    What anything printed is flushed while standard output is still diverted: at exit it would reach the protocol.
    """
    try:
        async with service.running():
            yield service
    finally:
        sys.stdout.flush()


def _opening(service: LazyService) -> ServerMiddleware[Any]:
    """Middleware that has the engine opened once the client has its first answer."""

    async def begin_after(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        if ctx.method not in _BEFORE_ANSWER:
            service.begin()
        return result

    return begin_after
