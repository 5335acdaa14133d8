"""Completion: what could stand in an argument of a prompt or in a resource's address, from what has been typed.

The rule of this module: it only proposes, and never waits: symbols come from memory when that is open, and from a
short list of the best known ones; nothing asks a vendor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mcp.server import MCPServer
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.server.lazy_service import LazyService
from mdagent_mcp.server.periods import PERIODS

PROPOSALS: Final = 100
"""Values an answer may hold at most (a limit of the protocol)."""
_TYPED_LIMIT: Final = 500
"""Characters of what was typed that are looked at."""

WELL_KNOWN: Final = (
    *("AAPL", "AMZN", "BRK.B", "GOOGL", "JPM", "META", "MSFT", "NVDA", "TSLA", "V", "XOM", "SPY", "QQQ"),
    *("AZN.L", "HSBA.L", "SHEL.L", "VOD.L", "ASML.AS", "MC.PA", "SAP.DE", "SIE.DE", "NESN.SW", "7203.T", "0700.HK"),
    *("^GSPC", "^DJI", "^IXIC", "^VIX", "^FTSE", "^GDAXI", "^FCHI", "^STOXX50E", "^N225", "^HSI"),
    *("BTC-USD", "ETH-USD", "SOL-USD", "EURUSD", "GBPUSD", "USDJPY", "USDCHF"),
)
"""Proposed before memory knows anything, one of each way to write a symbol among them."""

_CHOICES: Final[Mapping[str, Sequence[str]]] = {
    "interval": tuple(Interval),
    "period": PERIODS,
    "adjustment": tuple(Adjustment),
    "min_grade": ("A", "B", "C", "D"),
}
"""Arguments that take one of a few words."""


def add_completion(server: MCPServer[LazyService], service: LazyService) -> None:
    """Answer requests for completion."""

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # the SDK left it untyped
    async def complete(
        ref: PromptReference | ResourceTemplateReference,  # noqa: ARG001 - a name means the same everywhere
        argument: CompletionArgument,
        context: CompletionContext | None,  # noqa: ARG001 - no argument depends on another
    ) -> Completion | None:
        return completion_of(argument.name, argument.value[:_TYPED_LIMIT], service)


def completion_of(name: str, typed: str, service: LazyService) -> Completion | None:
    """Proposals for an argument by its name; None when nothing can be said about it."""
    if name == "symbol":
        return _proposals(starting_with(typed.strip(), _symbols(service)))
    if name == "symbols":
        return _proposals(_listed(typed, _symbols(service)))
    if name in {"source", "sources"}:
        sources = service.opened.source_ids if service.opened is not None else ()
        return _proposals(starting_with(typed.strip(), sources) if name == "source" else _listed(typed, sources))
    return _proposals(starting_with(typed.strip(), _CHOICES[name])) if name in _CHOICES else None


def starting_with(typed: str, known: Iterable[str]) -> list[str]:
    """Those that begin with what was typed, whatever its case, in their order and each once."""
    return [word for word in dict.fromkeys(known) if word.lower().startswith(typed.lower())]


def _listed(typed: str, known: Iterable[str]) -> list[str]:
    """Lists separated by commas whose last entry is completed, leaving out what is in the list already."""
    head, comma, last = typed.rpartition(",")
    before = {entry.strip().upper() for entry in head.split(",")}
    lead = f"{head.rstrip()}{comma} " if comma else ""
    return [lead + word for word in starting_with(last.strip(), known) if word.upper() not in before]


def _symbols(service: LazyService) -> tuple[str, ...]:
    remembered = service.opened.known_symbols() if service.opened is not None else ()
    return (*remembered, *WELL_KNOWN)


def _proposals(values: list[str]) -> Completion:
    shown: Any = values[:PROPOSALS]
    return Completion(values=shown, total=len(values), has_more=len(values) > PROPOSALS)
