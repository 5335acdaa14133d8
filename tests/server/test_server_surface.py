"""What the server says about itself, progress, cancellation, resources and prompts, in both eras of the protocol."""

from __future__ import annotations

import json
import re
from typing import Any

import anyio
import pytest
from mcp import MCPError
from mcp_types import TextContent, TextResourceContents

from mdagent_mcp.server.arguments import TOOL_ARGUMENTS
from server.fake_market_data import FakeMarketData
from server.test_tools_answers import AAPL_JSON, HISTORY_JSON, ZZZZ_JSON, Era, both_eras, client_of
from server.test_tools_status_and_explanation import EXPLANATION_JSON, FINNHUB_JSON

SIZE_LIMIT = 10_000


async def listed(era: Era) -> dict[str, Any]:
    """The answer to `tools/list` as it goes over the wire."""
    async with client_of(FakeMarketData(), era) as client:
        result = await client.list_tools()
    found: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


@both_eras
async def test_the_tool_list_stays_small_even_when_written_with_blanks(era: Era) -> None:
    """Every agent pays for it in every conversation."""
    found = await listed(era)
    assert len(json.dumps(found)) < SIZE_LIMIT
    assert len(json.dumps(found, separators=(",", ":"))) < 9_500


@both_eras
async def test_the_tool_list_needs_no_resolving_of_references(era: Era) -> None:
    """Some hosts cannot follow `$ref`, and some refuse `$schema`."""
    text = json.dumps(await listed(era))
    assert "$" not in text


@both_eras
async def test_every_tool_is_titled_annotated_described_and_strict(era: Era) -> None:
    """In listing order, with the arguments that the reading of arguments knows."""
    tools = (await listed(era))["tools"]
    assert {t["name"]: tuple(t["inputSchema"]["properties"]) for t in tools} == TOOL_ARGUMENTS
    assert [t["name"] for t in tools] == ["get_quote", "get_history", "source_status", "explain_quality"]
    for tool in tools:
        assert tool["title"]
        assert len(tool["description"]) > 80
        assert tool["annotations"] == {
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": True,
            "openWorldHint": True,
        }
        assert tool["inputSchema"]["additionalProperties"] is False
        assert all(schema["description"] for schema in tool["inputSchema"]["properties"].values())
        assert tool["outputSchema"]["type"] == "object"


@both_eras
async def test_output_schemas_promise_the_fields_that_answers_have(era: Era) -> None:
    """Down to the entries of lists, in the order in which they are shown."""
    schemas = {tool["name"]: tool["outputSchema"]["properties"] for tool in (await listed(era))["tools"]}
    quote = schemas["get_quote"]["quotes"]["items"]
    failure = schemas["get_quote"]["failures"]["items"]
    source = schemas["source_status"]["sources"]["items"]
    assert list(quote["properties"]) == [*AAPL_JSON, "observations"]
    assert quote["required"] == ["symbol", "price", "grade", "summary"]
    assert quote["properties"]["price"]["type"] == "number"
    assert quote["properties"]["bid"]["type"] == ["number", "null"]
    assert quote["properties"]["grade"]["enum"] == ["A", "B", "C", "D", "F"]
    assert list(failure["properties"]) == list(ZZZZ_JSON)
    assert list(source["properties"]) == list(FINNHUB_JSON)
    assert list(schemas["get_history"]) == [
        *(k for k in HISTORY_JSON if k != "usage"),
        "observations",
        "unrepaired",
        "failures",
        "usage",
    ]
    assert list(schemas["explain_quality"]) == [*EXPLANATION_JSON, "failures"]


@both_eras
async def test_the_server_tells_its_version_and_how_to_treat_grades(era: Era) -> None:
    """Instructions reach the agent once, before any call."""
    async with client_of(FakeMarketData(), era) as client:
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("mdagent-mcp", "0.0.1")
        assert client.instructions is not None
        assert "F: do not state it as fact" in client.instructions
        assert "never estimate" in client.instructions


@both_eras
async def test_progress_of_a_batch_reaches_the_client(era: Era) -> None:
    """One report per symbol, in order."""
    seen: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with client_of(FakeMarketData(), era) as client:
        await client.call_tool("get_quote", {"symbols": "AAPL,MSFT"}, progress_callback=note)
    assert seen == [(1, 2, "AAPL"), (2, 2, "MSFT")]


@both_eras
async def test_progress_never_goes_back_or_stands_still(era: Era) -> None:
    """The protocol demands that it increases; an engine that repeats itself is heard once."""
    seen: list[tuple[float, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, message))

    async with client_of(FakeMarketData(), era) as client:
        await client.call_tool("get_history", {"symbol": "AAPL"}, progress_callback=note)
    assert seen == [(1, "asked"), (2, "checked")]


@both_eras
async def test_cancelling_a_call_reaches_the_engine(era: Era) -> None:
    """So that no vendor is asked for an answer that nobody waits for; the server answers the next call."""
    fake = FakeMarketData(hold=True)
    async with client_of(fake, era) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "get_quote", {"symbols": "AAPL"})
            with anyio.fail_after(10):
                await fake.held.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(10):
            await fake.cancelled.wait()
        fake.hold = False
        assert not (await client.call_tool("get_quote", {"symbols": "AAPL"})).is_error


async def read(era: Era, uri: str) -> TextResourceContents:
    """The one text behind an address."""
    async with client_of(FakeMarketData(), era) as client:
        (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content


@both_eras
async def test_a_whole_series_is_read_as_csv(era: Era) -> None:
    """Also the bars that a tool's answer left out."""
    content = await read(era, "mdagent://history/h-1")
    assert content.mime_type == "text/csv"
    assert content.text == (
        "time,open,high,low,close,volume\n"
        "2026-11-16,100.0,102.0,99.5,101.0,1000\n"
        "2026-11-17,101.0,103.0,100.5,102.0,1010\n"
        "2026-11-18,102.0,104.0,101.5,103.0,1020\n"
        "2026-11-19,103.0,105.0,102.5,104.0,1030\n"
        "2026-11-20,104.0,106.0,103.5,105.0,1040\n"
    )


@both_eras
async def test_the_sources_are_read_as_json(era: Era) -> None:
    """The same as source_status says."""
    content = await read(era, "mdagent://sources")
    assert content.mime_type == "application/json"
    assert json.loads(content.text)["sources"] == [FINNHUB_JSON]


@both_eras
async def test_the_rubric_states_every_grade_with_its_bounds(era: Era) -> None:
    """From the one table that grading uses."""
    content = await read(era, "mdagent://rubric")
    assert content.mime_type == "text/markdown"
    assert re.findall(r"\*\*([A-F])\*\* \(([^)]*)\)", content.text) == [
        ("A", "90 to 100"),
        ("B", "80 to below 90"),
        ("C", "70 to below 80"),
        ("D", "60 to below 70"),
        ("F", "0 to below 60"),
    ]


@both_eras
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mdagent://history/q-1", "No series is kept under 'q-1'; use the evidence_id of an answer of get_history."),
        ("mdagent://" + "a" * 10_000, f"uri: 'mdagent://{'a' * 30}…' is longer than 200 characters"),
        ("mdagent://nothing", "Unknown resource: mdagent://nothing"),
    ],
)
async def test_a_resource_that_is_not_there_is_refused(era: Era, uri: str, message: str) -> None:
    """A quote's evidence is no series either."""
    async with client_of(FakeMarketData(), era) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
    assert caught.value.error.message == message


@both_eras
async def test_resources_and_prompts_are_listed(era: Era) -> None:
    """Each with what a person needs to choose it."""
    async with client_of(FakeMarketData(), era) as client:
        resources = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        prompts = (await client.list_prompts()).prompts
    assert [r.uri for r in resources] == [
        "mdagent://rubric",
        "mdagent://sources",
        "mdagent://memory/graph",
        "mdagent://learning",
        "mdagent://plans",
    ]
    assert [t.uri_template for t in templates] == [
        "mdagent://history/{evidence_id}",
        "mdagent://memory/symbol/{symbol}",
    ]
    assert {p.name: [a.name for a in p.arguments or ()] for p in prompts} == {
        "compare-sources": ["symbol"],
        "investigate-bad-data": ["symbol", "observation"],
        "market-brief": ["symbols"],
        "portfolio-check": ["holdings", "currency"],
        "verify-number": ["symbol", "claim"],
    }
    assert all(r.title and r.description for r in resources)
    assert all(t.title and t.description for t in templates)
    assert all(p.title and p.description for p in prompts)


@both_eras
async def test_a_prompt_takes_over_its_arguments(era: Era) -> None:
    """As one message of the user."""
    async with client_of(FakeMarketData(), era) as client:
        found = await client.get_prompt("verify-number", {"symbol": "AAPL", "claim": "190 dollars"})
    (message,) = found.messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    assert message.content.text.startswith("Somebody states about AAPL: 190 dollars\n")


@both_eras
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("market-breif", {}, "There is no prompt 'market-breif'; did you mean 'market-brief'? known: "),
        ("verify-number", {"symbol": "AAPL"}, "verify-number: these arguments are required: claim"),
    ],
)
async def test_a_prompt_that_cannot_be_filled_is_refused(
    era: Era, name: str, arguments: dict[str, str], message: str
) -> None:
    """Naming what is there or what is missing."""
    async with client_of(FakeMarketData(), era) as client:
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)
    assert caught.value.error.message.startswith(message)
