"""The four tools: read the arguments, ask the engine, show the answer in both channels.

The rule of this module: no judgement and no recovery. A refused argument, an unanswered symbol and an engine that did
not start are results the model can read (`isError`); anything unexpected is left to the SDK, which logs it and keeps
its text from the model. Cancellation passes through untouched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, TextContent

from mdagent_mcp.domain.answers import QuotesAnswer, SymbolFailure, Usage
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import echo
from mdagent_mcp.domain.questions import InvalidArgumentError
from mdagent_mcp.domain.service import Progress
from mdagent_mcp.server.argument_values import Arguments
from mdagent_mcp.server.arguments import (
    ExplainRequest,
    explain_request,
    history_request,
    quote_request,
    status_source,
)
from mdagent_mcp.server.lazy_service import LazyService, ServiceUnavailableError
from mdagent_mcp.server.output_models import published_schema
from mdagent_mcp.server.text import explanation_text, failure_text, history_text, quotes_text, status_text
from mdagent_mcp.server.tool_declarations import (
    EXPLAIN_QUALITY,
    GET_HISTORY,
    GET_QUOTE,
    READ_ONLY,
    SOURCE_STATUS,
    ToolDeclaration,
)
from mdagent_mcp.server.views import (
    explanation_json,
    failure_json,
    history_failure_json,
    history_json,
    quotes_json,
    status_json,
)

ToolContext = Context[LazyService]
Call = Callable[[Arguments, ToolContext], Awaitable[CallToolResult]]


class RawArguments(FuncMetadata):
    """Hands a tool its arguments as they came, so that `arguments` is the one place that refuses them."""

    def validate_arguments(self, arguments_to_validate: dict[str, Any]) -> dict[str, Any]:
        """The arguments under one name, unread."""
        return {"arguments": arguments_to_validate}


class Tools:
    """The tools over one engine.

    Args:
        service: the engine, perhaps not open yet.
        clock: what `today` means in a question.
    """

    def __init__(self, service: LazyService, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    def registered(self) -> list[Tool]:
        """The tools as the SDK wants them, in listing order."""
        return [
            _tool(GET_QUOTE, self.get_quote),
            _tool(GET_HISTORY, self.get_history),
            _tool(SOURCE_STATUS, self.source_status),
            _tool(EXPLAIN_QUALITY, self.explain_quality),
        ]

    async def get_quote(self, arguments: Arguments, ctx: ToolContext) -> CallToolResult:
        """Current prices of one or more symbols."""
        service = await self._service.get()
        request = quote_request(arguments, service.source_ids)
        answer = await service.quotes(request.question, progress_to(ctx))
        complete = replace(answer, failures=(*answer.failures, *request.refused))
        shown = quotes_json(complete, request.detail)
        return _result(quotes_text(shown), shown, is_error=not complete.quotes)

    async def get_history(self, arguments: Arguments, ctx: ToolContext) -> CallToolResult:
        """Bars of one symbol."""
        service = await self._service.get()
        request = history_request(arguments, service.source_ids, self._clock.now())
        answer = await service.history(request.question, progress_to(ctx))
        if isinstance(answer, SymbolFailure):
            return _result(failure_text(failure_json(answer)), history_failure_json(answer), is_error=True)
        shown = history_json(answer, request.max_bars, request.detail)
        return _result(history_text(shown, request.detail), shown)

    async def source_status(self, arguments: Arguments, ctx: ToolContext) -> CallToolResult:  # noqa: ARG002
        """What the sources are doing."""
        service = await self._service.get()
        shown = status_json(*await service.source_status(status_source(arguments, service.source_ids)))
        return _result(status_text(shown), shown)

    async def explain_quality(self, arguments: Arguments, ctx: ToolContext) -> CallToolResult:  # noqa: ARG002
        """Why an earlier answer has its grade."""
        request = explain_request(arguments)
        service = await self._service.get()
        if request.evidence_id is not None:
            answer = await service.explain_evidence(request.evidence_id)
        elif request.instrument is not None:
            answer = await service.explain_symbol(request.instrument, request.kind)
        if answer is None:
            failure = _nothing_kept(request)
            return _result(failure_text(failure_json(failure)), _explanation_failure(failure), is_error=True)
        shown = explanation_json(answer)
        return _result(explanation_text(shown), shown)


def progress_to(ctx: ToolContext) -> Progress:
    """Progress reports to the client of a request, which must never go back; nothing without a token."""
    furthest = -1

    async def report(done: int, total: int, message: str) -> None:
        nonlocal furthest
        if done > furthest:
            furthest = done
            await ctx.report_progress(done, total, message)

    return report


def _tool(declaration: ToolDeclaration, call: Call) -> Tool:
    content_of = FAILURE_CONTENTS[declaration.name]

    async def run(arguments: Arguments, ctx: ToolContext) -> CallToolResult:
        try:
            return await call(arguments, ctx)
        except InvalidArgumentError as error:
            text = f"{declaration.name} was not run. {error}. Correct the argument and call again."
            refusal = SymbolFailure("", FailureKind.BAD_REQUEST, str(error), "Correct the named argument.", {})
            return _result(text, content_of(refusal), is_error=True)
        except ServiceUnavailableError as error:
            outage = SymbolFailure("", FailureKind.SOURCE_ERROR, str(error), "Ask again later.", {})
            return _result(failure_text(failure_json(outage)), content_of(outage), is_error=True)

    return Tool(
        fn=run,
        name=declaration.name,
        title=declaration.title,
        description=declaration.description,
        parameters=declaration.input_schema,
        fn_metadata=RawArguments(
            arg_model=ArgModelBase,
            output_schema=published_schema(declaration.output),
            output_model=declaration.output,
        ),
        is_async=True,
        context_kwarg="ctx",
        annotations=READ_ONLY,
    )


def _result(text: str, shown: Mapping[str, Any], *, is_error: bool = False) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=dict(shown), is_error=is_error
    )


def _quotes_failure(failure: SymbolFailure) -> dict[str, Any]:
    return quotes_json(QuotesAnswer((), (failure,), Usage(0, 0, 0.0)))


def _status_failure(failure: SymbolFailure) -> dict[str, Any]:
    return {"sources": [], "failures": [failure_json(failure)]}


def _explanation_failure(failure: SymbolFailure) -> dict[str, Any]:
    return {"headline": failure.message, "failures": [failure_json(failure)]}


FAILURE_CONTENTS: Final[Mapping[str, Callable[[SymbolFailure], dict[str, Any]]]] = MappingProxyType(
    {
        GET_QUOTE.name: _quotes_failure,
        GET_HISTORY.name: history_failure_json,
        SOURCE_STATUS.name: _status_failure,
        EXPLAIN_QUALITY.name: _explanation_failure,
    }
)
"""By tool, the structured content that tells a failure and keeps the output schema."""


def _nothing_kept(request: ExplainRequest) -> SymbolFailure:
    if request.instrument is None:
        what, symbol = f"evidence id '{echo(request.evidence_id or '')}'", ""
    else:
        what, symbol = f"a {request.kind} of {request.instrument.symbol}", request.instrument.symbol
    tool = "get_history" if request.kind == "history" else "get_quote"
    return SymbolFailure(
        symbol, FailureKind.NO_DATA, f"No answer is kept for {what}.", f"Call {tool} first, then explain it.", {}
    )
