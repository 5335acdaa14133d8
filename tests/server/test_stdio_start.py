"""The server as a program on stdio: the handshake comes first, and stdout carries the protocol alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

PROGRAM = Path(__file__).with_name("stdio_server.py")


def send(pipe: IO[str], **message: Any) -> None:
    """Write one JSON-RPC message."""
    pipe.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    pipe.flush()


def test_initialize_is_answered_before_anything_heavy_is_imported_and_calls_work() -> None:
    """Written against the raw wire, so that every line on stdout is seen."""
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        [sys.executable, str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
        send(process.stdin, id=1, method="initialize", params=client)
        hello = json.loads(process.stdout.readline())
        send(process.stdin, method="notifications/initialized")
        call = {"name": "get_quote", "arguments": {"symbols": "AAPL"}}
        send(process.stdin, id=2, method="tools/call", params=call)
        answer = json.loads(process.stdout.readline())
        process.stdin.close()
        rest, log = process.stdout.read(), process.stderr.read()
        code = process.wait(timeout=20)
    assert hello["id"] == 1
    assert hello["result"]["serverInfo"]["name"] == "mdagent-mcp"
    assert answer["result"]["structuredContent"]["quotes"][0]["price"] == 189.84
    assert (rest, code) == ("", 0)
    assert "loaded before opening: []" in log
    assert "must not reach the protocol" in log


def test_building_the_server_imports_nothing_heavy() -> None:
    """Neither the tools nor their arguments, views and texts need a numeric library or a vendor's transport."""
    program = (
        "import sys; from mdagent_mcp.server.server import build_server; from mdagent_mcp.domain.clock import *; "
        "build_server(lambda: None, SystemClock(), '0'); "
        "print([m for m in ('numpy', 'scipy', 'networkx', 'aiohttp', 'httpx', 'aiosqlite') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_reading_arguments_and_showing_answers_needs_neither_the_sdk_nor_pydantic() -> None:
    """The command line uses both, and starts without them."""
    program = (
        "import sys; import mdagent_mcp.server.arguments, mdagent_mcp.server.views, mdagent_mcp.server.text; "
        "print([m for m in ('mcp', 'pydantic', 'starlette') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
