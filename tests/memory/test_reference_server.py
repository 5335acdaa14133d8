"""Our export in the hands of the reference memory server of MCP, the real one from npm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from mdagent_mcp.memory.interchange import from_lines, to_lines
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.memory.transfer import read_contents
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON
from memory.test_interchange import learn, store_of

PACKAGE = "@modelcontextprotocol/server-memory@2026.8.31"
ASKED = "MDAGENT_TEST_NPM"


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """The reference server, installed in a directory of this test."""
    if not os.environ.get(ASKED):
        pytest.skip(f"installs {PACKAGE} from the npm registry, about ten seconds; set {ASKED}=1 to run it")
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip(f"{ASKED} is set, but there is no Node.js here: the reference server was NOT tried")
    command = [npm, "install", "--ignore-scripts", "--no-fund", "--no-audit", "--silent", PACKAGE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: the reference server was NOT tried ({done.stderr[-200:]})")
    return tmp_path / "node_modules" / "@modelcontextprotocol" / "server-memory" / "dist" / "index.js"


async def test_the_reference_server_reads_searches_and_writes_our_file(server: Path, tmp_path: Path) -> None:
    """It shows what we exported, an agent adds to it, and nothing of ours is lost when it comes back."""
    file = tmp_path / "graph.jsonl"
    async with open_memory(None, ManualClock(NOON)) as memory:
        learn(memory)
        await memory.flush()
        lines = list(to_lines(await read_contents(store_of(memory))))
    file.write_bytes("\n".join(lines).encode())
    parameters = StdioServerParameters(command="node", args=[str(server)], env={"MEMORY_FILE_PATH": str(file)})
    async with Client(stdio_client(parameters), mode="legacy") as client:
        graph = await _call(client, "read_graph", {})
        found = await _call(client, "search_nodes", {"query": "shows unit on XLON"})
        told = [{"entityName": "source:alpha", "contents": ["The user does not like it."]}]
        await _call(client, "add_observations", {"observations": told})
        people = [{"name": "Ana", "entityType": "person", "observations": ["asks every morning"]}]
        await _call(client, "create_entities", {"entities": people})
        await _call(
            client, "create_relations", {"relations": [{"from": "Ana", "to": "source:alpha", "relationType": "x"}]}
        )
    ours = [json.loads(line) for line in lines]
    assert len(graph["entities"]) == sum(line["type"] == "entity" for line in ours)
    assert len(graph["relations"]) == sum(line["type"] == "relation" for line in ours)
    assert "pattern:alpha|unit|venue:XLON" in {entity["name"] for entity in found["entities"]}
    back = from_lines(file.read_text(encoding="utf-8").split("\n"))
    assert back.rows == from_lines(lines).rows
    assert back.entities["source:alpha"].observations == ("The user does not like it.",)
    assert set(back.entities) == {"source:alpha", "Ana"}
    assert len(back.relations) == 1


async def _call(client: Client, tool: str, arguments: dict[str, Any]) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content
