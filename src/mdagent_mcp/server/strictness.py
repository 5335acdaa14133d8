"""Middleware around the SDK: names that do not exist are refused before it, crashes are told in full after it.

The rule of this module: what the asker wrote is repeated up to 40 characters and no further, and the nearest thing
that does exist is named (the SDK would repeat a name of any length); every failed call keeps its tool's output
schema and forbids estimating (the SDK would say only that it failed).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp_types import INVALID_PARAMS

from mdagent_mcp.domain.answers import SymbolFailure
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import echo
from mdagent_mcp.server.argument_values import nearest
from mdagent_mcp.server.views import NO_ESTIMATE

_URI_LIMIT: Final = 200
"""Characters a resource address may have."""
_FIRST_STATELESS: Final = "2026-07-28"
"""The protocol revision from which every result says what it is."""


class NameGuard:
    """Middleware that refuses unknown tools, unknown or unfilled prompts and overlong addresses.

    Args:
        tools: names of all tools.
        prompts: names of all prompts, each with the arguments it cannot do without.
    """

    def __init__(self, tools: Collection[str], prompts: Mapping[str, Collection[str]]) -> None:
        self._tools = tools
        self._prompts = prompts

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Pass a request on, or refuse it: a tool by a result that the model can read.

        Raises:
            MCPError: invalid parameters, for a prompt or a resource.
        """
        params = ctx.params or {}
        name, uri = params.get("name"), params.get("uri")
        if ctx.method == "tools/call" and isinstance(name, str) and name not in self._tools:
            return _error_result(_unknown("tool", name, self._tools), ctx.protocol_version)
        if ctx.method == "prompts/get" and isinstance(name, str):
            self._refuse_prompt(name, params.get("arguments") or {})
        if ctx.method == "resources/read" and isinstance(uri, str) and len(uri) > _URI_LIMIT:
            raise MCPError(code=INVALID_PARAMS, message=f"uri: '{echo(uri)}' is longer than {_URI_LIMIT} characters")
        return await call_next(ctx)

    def _refuse_prompt(self, name: str, arguments: Collection[str]) -> None:
        if name not in self._prompts:
            raise MCPError(code=INVALID_PARAMS, message=_unknown("prompt", name, self._prompts))
        missing = [argument for argument in self._prompts[name] if argument not in arguments]
        if missing:
            raise MCPError(code=INVALID_PARAMS, message=f"{name}: these arguments are required: {', '.join(missing)}")


def tell_crashes(contents: Mapping[str, Callable[[SymbolFailure], dict[str, Any]]]) -> ServerMiddleware[Any]:
    """Middleware that completes the SDK's answer to an unexpected exception, which bears no structured content.

    Args:
        contents: by tool, the structured content that tells a failure.
    """

    async def complete(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        if ctx.method != "tools/call" or not isinstance(result, dict):
            return result
        name = str((ctx.params or {}).get("name"))
        if not result.get("isError") or "structuredContent" in result or name not in contents:
            return result
        shown = contents[name](_CRASH)
        text = f"{name} failed. {_CRASH.message} {_CRASH.hint}"
        return result | {"content": [{"type": "text", "text": text}], "structuredContent": shown}

    return complete


_CRASH: Final = SymbolFailure(
    "",
    FailureKind.SOURCE_ERROR,
    f"This is an error inside the server, not in the request. {NO_ESTIMATE}",
    "Try once more; if it stays, the server's log (stderr) has the details.",
    {},
)


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    return f"There is no {what} '{echo(name)}'; {nearest(name, known)}known: {', '.join(known)}"


def _error_result(text: str, protocol_version: str) -> dict[str, Any]:
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    return result | {"resultType": "complete"} if protocol_version >= _FIRST_STATELESS else result
