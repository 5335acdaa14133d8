"""Every setting of a real HTTP server edited while clients call it without a pause; no call may be lost.

    python benchmarks/settings_under_load.py [--clients 2] [--rounds 1]

`mdagent-mcp serve --http --sandbox --config FILE` runs as a process of its own. Each client asks over loopback, always
with its next call as soon as it has its answer: quotes of several symbols, a history, the state of the sources. The
file is written once for every setting (`settings_edits`), which changes this setting and takes the last change back.
That a file is in force is seen by a mark in it which `source_status` shows; what cannot be taken over while the server
runs must be told in `overall.settings`. Every call must end with an answer about every symbol; where the edit itself
takes a source away, the others answer. At the end the file is edited once more while the server is told to stop and
calls are under way: each must end with its answer, and the server with exit code 0.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from mdagent_mcp.cli.simulation import is_replaced
from settings_edits import TOKEN, Edit, base_values, edits, text_of
from soak_server import Serving, serving

CALLS: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("get_quote", {"symbols": ["AAPL", "MSFT", "NVDA", "SPY"]}),
    ("get_history", {"symbol": "MSFT", "period": "1mo"}),
    ("get_quote", {"symbols": ["TSLA", "JPM"], "max_age_s": 0}),
    ("source_status", {}),
)
IN_FORCE_S: Final = 30.0
"""Within which an edit must be in force, on a machine with other work."""
LATE_S: Final = 2.5
"""What each vendor takes for the calls during which the server is stopped."""
ARRIVED_S: Final = 1.0
"""Within which those have reached their vendors."""
MARKED: Final = "iex_cloud"


@dataclass
class Seen:
    """What was seen.

    Attributes:
        calls: that ended, by tool.
        lost: calls without an answer, and symbols without one.
        wrong: edits that were not in force, or not told as they should be.
        told: what was told of settings that are not taken over while the server runs.
        took_s: from the writing of a file until it was seen to be in force.
        began: calls that were begun.
    """

    calls: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    began: int = 0


def write(file: Path, values: Mapping[str, Any], mark: str) -> None:
    """Write the settings in place, as an editor does."""
    file.write_text(text_of(values, mark), encoding="utf-8")


@asynccontextmanager
async def client_of(server: Serving) -> AsyncIterator[Client]:
    """A client with a token and a connection of its own."""
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {TOKEN}"}) as web,
        Client(streamable_http_client(server.url, http_client=web)) as client,
    ):
        yield client


async def ask(client: Client, tool: str, arguments: Mapping[str, Any], seen: Seen, during: str) -> Mapping[str, Any]:
    """One call, counted; what was lost is noted with the edit in whose time it ended."""
    seen.began += 1
    try:
        result = await client.call_tool(tool, dict(arguments))
    except (MCPError, httpx.HTTPError) as error:
        seen.lost.append(f"{during}: {tool}: {type(error).__name__}: {error}")
        return {}
    found: Mapping[str, Any] = result.structured_content or {}
    seen.calls[tool] += 1
    if result.is_error or not found:
        seen.lost.append(f"{during}: {tool}: {str(result.content)[:300]}")
    seen.lost += [f"{during}: {tool}: {failure}" for failure in found.get("failures", ())]
    return found


class Load:
    """Clients that call for as long as edits are made.

    Args:
        server: the one.
        seen: notes.
    """

    def __init__(self, server: Serving, seen: Seen) -> None:
        self._server = server
        self._seen = seen
        self.during = "before the first edit"
        self.is_over = False
        self.rounds: Counter[int] = Counter()

    async def call(self, number: int) -> None:
        """One client: every kind of call in turn, without a pause."""
        async with client_of(self._server) as client:
            while not self.is_over:
                for tool, arguments in CALLS:
                    await ask(client, tool, arguments, self._seen, self.during)
                self.rounds[number] += 1

    async def edit(self, watcher: Client, file: Path, edit: Edit, mark: str) -> None:
        """Write a file, see it in force, and let every client call in its time."""
        self.during = edit.name
        began = time.perf_counter()
        write(file, edit.values, mark)
        told = await self._in_force(watcher, mark)
        self._seen.took_s.append(time.perf_counter() - began)
        if told != expected(edit):
            self._seen.wrong.append(f"{edit.name}: '{told}' is told, not '{expected(edit)}'")
        if told not in {"ok", None}:
            self._seen.told.append(edit.name)
        before = self.rounds.copy()
        while any(self.rounds[number] == before[number] for number in before):  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.01)

    async def _in_force(self, watcher: Client, mark: str) -> str | None:
        """What is told of the settings once the marked ones are in force; None when they are not in time."""
        with anyio.move_on_after(IN_FORCE_S):
            while True:
                status = await ask(watcher, "source_status", {"source": MARKED}, self._seen, self.during)
                if status and status["sources"][0]["upstream_group"] == mark:
                    return str(status["overall"]["settings"])
                await anyio.sleep(0.02)
        return None


def expected(edit: Edit) -> str:
    """What `source_status` should tell."""
    if edit.is_read_at_start:
        return f"read at the next start: {edit.name}"
    return f"not used with --sandbox: {edit.name}" if is_replaced(edit.name) else "ok"


async def edit_all(server: Serving, home: Path, clients: int, rounds: int) -> Seen:
    """Every setting, while clients call; at the end an edit while the server drains."""
    seen = Seen()
    load = Load(server, seen)
    file = home / "mdagent.toml"
    async with client_of(server) as watcher:
        await ask(watcher, "source_status", {}, seen, load.during)  # answered once engine and sandbox are open
        async with anyio.create_task_group() as calling:
            for number in range(clients):
                load.rounds[number] = 0
                calling.start_soon(load.call, number)
            for turn in range(rounds):
                for number, edit in enumerate(edits(home)):
                    await load.edit(watcher, file, edit, f"edit {turn} {number}")
            load.is_over = True
    await edit_while_draining(server, file, home, clients, seen)
    return seen


async def edit_while_draining(server: Serving, file: Path, home: Path, clients: int, seen: Seen) -> None:
    """Calls that take their time, an edit, and the signal to stop: each call must be answered all the same."""
    sandbox = server.sandbox_url()

    async def last_call() -> None:
        async with client_of(server) as client:
            await client.list_tools()  # or the client asks for the schemas after the answer, which is a new request
            await ask(client, "get_quote", {"symbols": ["KO", "PEP"], "max_age_s": 0}, seen, "the drain")

    async with httpx.AsyncClient() as http, anyio.create_task_group() as calls:
        (await http.put(f"{sandbox}/sandbox/faults", json=[f"all=delay:{LATE_S}"])).raise_for_status()
        began = seen.began
        for _ in range(clients):
            calls.start_soon(last_call)
        while seen.began < began + clients:  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.01)
        await anyio.sleep(ARRIVED_S)
        write(file, {**base_values(home), "engine.deadline_s": 9}, "drain")
        server.process.send_signal(signal.SIGTERM)
    if (code := server.process.wait(20)) != 0:
        seen.wrong.append(f"the drain: exit code {code}")


def report(seen: Seen, elapsed_s: float) -> list[str]:
    """What was seen, in lines."""
    took = sorted(seen.took_s)
    kept = ", ".join(dict.fromkeys(seen.told))
    return [
        f"{seen.began} calls in {elapsed_s:.0f} s ({dict(seen.calls)}), {len(took)} edits and one during the drain",
        f"lost: {len(seen.lost)}",
        f"in force after {statistics.median(took):.2f} s (median), {took[-1]:.2f} s (longest)",
        f"told as not taken over while the server runs: {kept}",
        *(f"LOST {text}" for text in seen.lost[:20]),
        *(f"WRONG {text}" for text in seen.wrong[:20]),
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Run it; 1 when a call was lost or a setting silently not taken over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="times that every setting is edited")
    arguments = parser.parse_args(words)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        file = home / "mdagent.toml"
        write(file, base_values(home), "begin")
        with serving(home, file) as server:
            seen = anyio.run(edit_all, server, home, arguments.clients, arguments.rounds)
        logged = (home / "server.log").read_text(encoding="utf-8")
    if "Traceback" in logged:
        seen.wrong.append(f"the server's log: {logged[logged.find('Traceback') :][:2000]}")
    print("\n".join(report(seen, time.perf_counter() - began)))
    return 1 if seen.lost or seen.wrong or seen.calls.total() != seen.began else 0


if __name__ == "__main__":
    raise SystemExit(main())
