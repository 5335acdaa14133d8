"""The resources about what was learned, as a client reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp import MCPError
from mcp.types import TextResourceContents

from server.fake_market_data import FakeMarketData
from server.test_tools_answers import Era, both_eras, client_of


async def read(era: Era, uri: str) -> Any:
    """The JSON behind an address."""
    async with client_of(FakeMarketData(), era) as client:
        (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    return json.loads(content.text)


@both_eras
async def test_what_was_learned_is_read_as_json(era: Era) -> None:
    """The graph, one instrument in any spelling, the curve."""
    assert (await read(era, "mdagent://memory/graph"))["nodes"] == [{"id": "source:finnhub", "kind": "source"}]
    assert (await read(era, "mdagent://memory/symbol/aapl"))["symbol"] == "AAPL"
    assert (await read(era, "mdagent://learning"))["sessions"] == [{"requests": 3}]


@both_eras
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mdagent://memory/symbol/MSFT", "Nothing was learned about MSFT yet; get_quote it first."),
        ("mdagent://memory/symbol/A!B", "'A!B' is no symbol."),
    ],
)
async def test_what_is_not_known_is_told(era: Era, uri: str, message: str) -> None:
    """With what to do about it."""
    async with client_of(FakeMarketData(), era) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
    assert caught.value.error.message == message
