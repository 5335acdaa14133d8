"""`quote`, `history`, `sources`, `explain`: the answers of the four MCP tools for a person.

The rule of this module: the same questions, the same answers, the same JSON as the tools; only the drawing is its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import anyio
from rich.console import Console

from mdagent_mcp.cli.opening import Opening, opening_of
from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.cli.render import Shown, render_failures, render_quotes, render_sources, terminal
from mdagent_mcp.cli.render_explanation import render_explanation
from mdagent_mcp.cli.render_history import render_history
from mdagent_mcp.cli.startup import begin_logging, load_settings
from mdagent_mcp.config.settings import SOURCE_IDS
from mdagent_mcp.domain.answers import HistoryAnswer, QuoteAnswer, SymbolFailure
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.service import MarketData
from mdagent_mcp.server.arguments import (
    ExplainRequest,
    explain_request,
    history_request,
    quote_request,
    status_source,
)
from mdagent_mcp.server.views import (
    explanation_json,
    failure_json,
    history_failure_json,
    history_json,
    quotes_json,
    status_json,
)

_T = TypeVar("_T")


def quote(arguments: argparse.Namespace) -> int:
    """Print current prices."""
    request = quote_request(_given(arguments, "min_grade", "sources", "detail") | _quote_words(arguments), SOURCE_IDS)
    answer = _ask(_open(arguments), lambda service: service.quotes(request.question))
    complete = replace(answer, failures=(*answer.failures, *request.refused))
    _show(arguments, quotes_json(complete, request.detail), render_quotes)
    return ExitCode.OK if complete.quotes else ExitCode.NO_ANSWER


def history(arguments: argparse.Namespace) -> int:
    """Print past prices."""
    words = ("symbol", "interval", "period", "start", "end", "adjustment", "max_bars", "min_grade", "sources", "detail")
    given = _given(arguments, *words) | {"extended_hours": arguments.extended_hours}
    opening = _open(arguments)
    request = history_request(given, SOURCE_IDS, opening.clock.now())
    answer = _ask(opening, lambda service: service.history(request.question))
    if isinstance(answer, SymbolFailure):
        _show(arguments, history_failure_json(answer), render_failures)
        return ExitCode.NO_ANSWER
    _show(arguments, history_json(answer, request.max_bars, request.detail), render_history)
    return ExitCode.OK


def sources(arguments: argparse.Namespace) -> int:
    """Print what the sources are doing."""
    source = status_source(_given(arguments, "source"), SOURCE_IDS)
    statuses, overall = _ask(_open(arguments), lambda service: service.source_status(source))
    _show(arguments, status_json(statuses, overall), render_sources)
    return ExitCode.OK


def explain(arguments: argparse.Namespace) -> int:
    """Print why an earlier answer has its grade."""
    request = explain_request(_given(arguments, "symbol", "evidence_id", "kind"))
    answer = _ask(_open(arguments), lambda service: _kept(service, request))
    if answer is None:
        failure = _nothing_kept(request)
        shown = {"headline": failure.message, "failures": [failure_json(failure)]}
        _show(arguments, shown, render_failures)
        return ExitCode.NO_ANSWER
    _show(arguments, explanation_json(answer), render_explanation)
    return ExitCode.OK


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in names}


def _quote_words(arguments: argparse.Namespace) -> dict[str, Any]:
    # `quote AAPL,MSFT` and `quote AAPL MSFT` are the same question.
    return {"symbols": ",".join(arguments.symbols), "max_age_s": arguments.max_age}


def _open(arguments: argparse.Namespace) -> Opening:
    settings = load_settings(arguments).settings
    begin_logging(settings)
    return opening_of(arguments, settings)


def _ask(opening: Opening, ask: Callable[[MarketData], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        async with opening.open() as service:
            return await ask(service)

    try:
        return anyio.run(run)
    except OSError as error:
        raise CommandError(f"cannot begin: {error}", ExitCode.NO_ANSWER) from error


async def _kept(service: MarketData, request: ExplainRequest) -> QuoteAnswer | HistoryAnswer | None:
    if request.evidence_id is not None:
        return await service.explain_evidence(request.evidence_id)
    if request.instrument is not None:
        return await service.explain_symbol(request.instrument, request.kind)
    return None


def _nothing_kept(request: ExplainRequest) -> SymbolFailure:
    if request.instrument is None:
        symbol, what = "", f"evidence id {request.evidence_id}"
    else:
        symbol = request.instrument.symbol
        what = f"a {request.kind} of {symbol}"
    hint = f"Run `mdagent-mcp {request.kind} {symbol or 'SYMBOL'}` first, then explain it."
    return SymbolFailure(symbol, FailureKind.NO_DATA, f"No answer is kept for {what}.", hint, {})


def _show(arguments: argparse.Namespace, shown: Shown, render: Callable[[Console, Shown], None]) -> None:
    if arguments.json:
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return
    render(terminal(), shown)
