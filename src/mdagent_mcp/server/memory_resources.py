"""Resources about what was learned: the graph, one instrument, the learning curve.

The rule of this module: as in `resources`; a resource never asks a vendor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from mdagent_mcp.domain.instruments import InvalidSymbolError, echo, parse_symbol
from mdagent_mcp.domain.service import MarketData
from mdagent_mcp.server.lazy_service import LazyService, ServiceUnavailableError

_JSON = "application/json"


def add_memory_resources(server: MCPServer[LazyService], service: LazyService) -> None:
    """Register every resource about memory."""

    @server.resource("mdagent://memory/graph", title="Learned knowledge graph", mime_type=_JSON)
    async def graph() -> str:
        """What was learned about sources and the most used symbols: reliability, biases, recurring faults, copies."""
        return _text(await (await _opened(service)).memory_graph())

    @server.resource("mdagent://memory/symbol/{symbol}", title="Learned about one symbol", mime_type=_JSON)
    async def symbol(symbol: str) -> str:
        """How each source serves one symbol, how it behaves by time of day, and which faults it had."""
        try:
            instrument = parse_symbol(symbol)
        except InvalidSymbolError as error:
            raise ResourceNotFoundError(f"'{echo(symbol)}' is no symbol.") from error
        found = await (await _opened(service)).memory_of_symbol(instrument)
        if found is None:
            raise ResourceNotFoundError(f"Nothing was learned about {instrument.symbol} yet; get_quote it first.")
        return _text(found)

    @server.resource("mdagent://learning", title="Learning curve", mime_type=_JSON)
    async def learning() -> str:
        """How good the answers of each session were, and how good the first of them."""
        return _text(await (await _opened(service)).learning())


async def _opened(service: LazyService) -> MarketData:
    try:
        return await service.get()
    except ServiceUnavailableError as error:
        raise ResourceError(str(error)) from error


def _text(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)
