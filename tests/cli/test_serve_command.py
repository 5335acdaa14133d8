"""`serve` as a host starts it: a child process, real stdio, the official client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from mcp import Client, StdioServerParameters

_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
_INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
_QUOTE = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "get_quote", "arguments": {"symbols": ["AAPL"]}},
}


def _words(home: Path, *options: str) -> list[str]:
    return ["-m", "mdagent_mcp", "serve", "--sandbox", "--data-dir", str(home / "data"), *options]


@pytest.fixture
def server(empty_home: Path) -> Iterator[subprocess.Popen[str]]:
    """A serving child process with its pipes."""
    words = [sys.executable, *_words(empty_home, "--log-level", "debug")]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=dict(os.environ)) as process:
        yield process
        process.kill()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _send(process: subprocess.Popen[str], *messages: object) -> None:
    pipe = _pipe(process.stdin)
    pipe.write("".join(json.dumps(message) + "\n" for message in messages))
    pipe.flush()


def _receive(process: subprocess.Popen[str]) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(_pipe(process.stdout).readline())
    return message


async def test_a_client_calls_all_four_tools_over_stdio(empty_home: Path) -> None:
    """From the handshake to the explanation."""
    parameters = StdioServerParameters(
        command=sys.executable, args=_words(empty_home), env={"HOME": str(empty_home)}, cwd=empty_home
    )
    async with Client(parameters, read_timeout_seconds=30) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert tools == ["get_quote", "get_history", "source_status", "explain_quality"]
        quoted = await client.call_tool("get_quote", {"symbols": ["AAPL", "ZZZZ"]})
        assert quoted.structured_content is not None
        (quote,) = quoted.structured_content["quotes"]
        assert (quote["symbol"], quote["session"], quote["currency"]) == ("AAPL", "regular", "USD")
        assert quote["summary"].startswith("SIMULATED market, not a real price:")
        history = await client.call_tool("get_history", {"symbol": "MSFT", "period": "1mo"})
        assert history.structured_content is not None
        assert len(history.structured_content["bars"]) >= 18
        status = await client.call_tool("source_status", {})
        assert status.structured_content is not None
        states = {source["source"]: source["state"] for source in status.structured_content["sources"]}
        assert {states[source] for source in ("yahoo", "nasdaq", "cboe", "finnhub")} == {"live"}
        assert states["iex_cloud"] == "retired"
        explained = await client.call_tool("explain_quality", {"evidence_id": quote["evidence_id"]})
        assert explained.structured_content is not None
        assert explained.structured_content["grade"] == quote["grade"]


def test_nothing_but_protocol_reaches_stdout(server: subprocess.Popen[str]) -> None:
    """Also with the log at its most talkative; closing stdin ends the server with 0."""
    _send(server, _INITIALIZE)
    assert _receive(server)["result"]["serverInfo"]["name"] == "mdagent-mcp"
    _send(server, _INITIALIZED, _QUOTE)
    assert _receive(server)["id"] == 2
    _pipe(server.stdin).close()
    rest, log = _pipe(server.stdout).read(), _pipe(server.stderr).read()
    assert (server.wait(timeout=20), rest) == (0, "")
    assert log.startswith("mdagent-mcp: --sandbox: all prices are SIMULATED\n")
    assert "sandbox-key" not in log


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_as_a_closed_stdin_does(
    number: signal.Signals, server: subprocess.Popen[str], empty_home: Path
) -> None:
    """What memory has not written yet is written, and nobody has to press Enter."""
    _send(server, _INITIALIZE)
    _receive(server)
    _send(server, _INITIALIZED, _QUOTE)
    evidence_id = _receive(server)["result"]["structuredContent"]["quotes"][0]["evidence_id"]
    server.send_signal(number)
    assert server.wait(timeout=20) == 128 + number
    words = ["explain", "--evidence-id", evidence_id, "--json", "--sandbox", "--data-dir", str(empty_home / "data")]
    ended = subprocess.run(
        [sys.executable, "-m", "mdagent_mcp", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["evidence_id"] == evidence_id


def test_settings_that_cannot_be_used_end_the_start_before_anything_is_served(empty_home: Path) -> None:
    """A host shows stderr; it would otherwise wait for an answer."""
    words = [sys.executable, *_words(empty_home)]
    environment = {**os.environ, "MDAGENT_ENGINE__DEADLINE_S": "soon"}
    ended = subprocess.run(
        words, input=json.dumps(_INITIALIZE), capture_output=True, text=True, env=environment, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("mdagent-mcp: environment MDAGENT_ENGINE__DEADLINE_S: engine.deadline_s: ")


def test_serving_begins_without_anything_heavy() -> None:
    """The engine, the HTTP clients, the numerical libraries and the terminal's come after the first answer."""
    code = "import sys, mdagent_mcp.cli.serving; print(*sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.split())
    heavy = {"rich", "httpx", "aiohttp", "numpy", "scipy", "networkx", "aiosqlite", "tenacity", "mdagent_mcp.app"}
    assert loaded & heavy == set()
    assert "mdagent_mcp.server.server" in loaded
