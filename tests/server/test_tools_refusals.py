"""Calls that are refused, and calls that go wrong, through a real client in both eras of the protocol."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from mcp_types import CallToolResult, TextContent

from server.fake_market_data import QUOTE, FakeMarketData
from server.test_tools_answers import Era, both_eras, call, client_of

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("get_quote", {}, "symbols: is required"),
    ("get_quote", {"symbols": ""}, "symbols: is empty"),
    ("get_quote", {"symbols": "A" * 10_000}, f"symbols: '{'A' * 40}…' is longer than 24 characters"),
    ("get_quote", {"symbols": ["\x00\x1b[31m"]}, "symbols: '��[31m' is not a symbol"),
    ("get_quote", {"symbols": "../../etc/passwd"}, "symbols: '../../etc/passwd' is not a symbol"),
    ("get_quote", {"symbols": 12345}, "symbols: should be a list of texts, is a number"),
    ("get_quote", {"symbols": [f"A{n}" for n in range(101)]}, "symbols: 101 different ones are too many"),
    ("get_quote", {"symbols": "AAPL", "fields": ["price"]}, "fields: there is no such argument; known: symbols,"),
    ("get_quote", {"symbol": "AAPL"}, "symbol: there is no such argument; did you mean 'symbols'?"),
    ("get_quote", {"symbols": "AAPL", "sources": ["nasdq"]}, "sources: 'nasdq' is not a source; did you mean 'nasdaq'"),
    ("get_history", {"symbol": "AAPL", "start": "2026-05-02", "end": "2026-05-01"}, "end: 2026-05-01 is before start"),
    ("get_history", {"symbol": "AAPL", "start": "2027-01-01"}, "start: 2027-01-01 is in the future"),
    ("get_history", {"symbol": "AAPL", "max_bars": "many"}, "max_bars: should be a number, is text"),
    ("get_history", {"symbol": "https://example.com/"}, "symbol: 'https://example.com/' is not a symbol"),
    ("source_status", {"source": "yahoo2"}, "source: 'yahoo2' is not a source; did you mean 'yahoo'?"),
    ("explain_quality", {}, "symbol: is required unless evidence_id is given"),
    ("explain_quality", {"evidence_id": "' OR 1=1 --"}, "evidence_id: '' OR 1=1 --' is not an evidence id"),
]


@both_eras
@pytest.mark.parametrize(("tool", "arguments", "problem"), WRONG)
async def test_a_wrong_call_is_refused_in_one_line_and_reaches_nobody(
    era: Era, tool: str, arguments: dict[str, Any], problem: str
) -> None:
    """The line names argument and remedy; the structured content says the same and keeps the output schema."""
    fake = FakeMarketData()
    is_error, text, shown = await call(fake, tool, arguments, era)
    assert is_error
    assert text.startswith(f"{tool} was not run. {problem}")
    assert text.endswith(". Correct the argument and call again.")
    assert text.isprintable()
    assert len(text) < 400
    (failure,) = shown["failures"]
    assert failure == {
        "symbol": "",
        "code": "bad_request",
        "message": failure["message"],
        "hint": "Correct the named argument.",
        "sources": {},
    }
    assert failure["message"] in text
    assert fake.questions == []


@both_eras
async def test_refusals_are_as_exact_as_the_output_schemas_demand(era: Era) -> None:
    """An error result is not checked by the client, so its shape is checked here against the published schema."""
    async with client_of(FakeMarketData(), era) as client:
        for tool in (await client.list_tools()).tools:
            result = await client.call_tool(tool.name, {"nonsense": 1})
            assert tool.output_schema is not None
            jsonschema.validate(result.structured_content, tool.output_schema)
            assert result.structured_content is not None


@both_eras
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("get_qoute", "'get_qoute'; did you mean 'get_quote'? known"),
        ("x" * 10_000, f"'{'x' * 40}…'; known"),
    ],
)
async def test_an_unknown_tool_is_refused_with_the_nearest_name(era: Era, name: str, shown: str) -> None:
    """As a result that the model can read, not as a protocol error that it never sees."""
    async with client_of(FakeMarketData(), era) as client:
        result = await client.call_tool(name, {})
    assert isinstance(result, CallToolResult)
    assert result.is_error
    assert result.content == [
        TextContent(
            type="text",
            text=f"There is no tool {shown}: get_quote, get_history, source_status, explain_quality",
        )
    ]


NO_ESTIMATE = "Do not estimate this price or reuse an older one."


@both_eras
@pytest.mark.parametrize(
    ("fault", "logged"),
    [
        (FakeMarketData(crash=RuntimeError("secret-key-123")), "secret-key-123"),
        (FakeMarketData(quote_answer=replace(QUOTE, price=math.nan)), "should be a finite number"),
        (FakeMarketData(quote_answer=replace(QUOTE, bid=math.inf)), "should be a finite number"),
    ],
)
async def test_a_crash_is_logged_and_told_without_its_text(
    era: Era, fault: FakeMarketData, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its text could hold anything, and a price that is no number is a crash; the result keeps the output schema."""
    with caplog.at_level(logging.ERROR):
        is_error, text, shown = await call(fault, "get_quote", {"symbols": "AAPL"}, era)
    message = f"This is an error inside the server, not in the request. {NO_ESTIMATE}"
    hint = "Try once more; if it stays, the server's log (stderr) has the details."
    failure = {"symbol": "", "code": "source_error", "message": message, "hint": hint, "sources": {}}
    assert is_error
    assert text == f"get_quote failed. {message} {hint}"
    assert shown == {
        "quotes": [],
        "failures": [failure],
        "usage": {"vendor_calls": 0, "cache_hits": 0, "elapsed_ms": 0},
    }
    assert logged in caplog.text


@both_eras
async def test_the_server_lives_on_after_a_crash(era: Era) -> None:
    """The next call is answered."""
    fake = FakeMarketData(crash=RuntimeError("once"))
    async with client_of(fake, era) as client:
        assert (await client.call_tool("get_history", {"symbol": "AAPL"})).is_error
        fake.crash = None
        assert not (await client.call_tool("get_history", {"symbol": "AAPL"})).is_error
