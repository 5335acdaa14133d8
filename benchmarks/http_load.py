"""How the HTTP server bears many clients, against the SDK's bare server under the same load in the same run.

    python benchmarks/http_load.py [--clients 500] [--seconds 60] [--era modern|legacy] [--rounds 3]

Three servers, each in a process of its own, take turns: the real one (`serve --http` with a token and rate limits, a
quote that is in its cache), the SDK's bare one with a tool that returns a fixed answer of the same size, run as the SDK
runs it, and the same bare one under the HTTP stack that ours uses (uvicorn with httptools, no access log). First one
client asks, then all of them at once, each over a connection (and in the older era a session) of its own, always with
its next call as soon as it has its answer. The promise: no error, and a p99 within 2 times that of the bare server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from mdagent_mcp.server.http.tokens import new_token, token_hash

BARE_SERVER: Final = """
import json, sys
from pathlib import Path
import uvicorn
from mcp.server import MCPServer
from pydantic import BaseModel

FIXED = json.loads(Path(sys.argv[1]).read_text())
port, tuned = int(sys.argv[2]), sys.argv[3] == "tuned"
server = MCPServer("bare", version="1", log_level="WARNING")

class Answer(BaseModel):
    quotes: list[dict]
    failures: list[dict]
    usage: dict

@server.tool()
async def get_quote(symbols: list[str], max_age_s: float = 0) -> Answer:
    "A fixed answer."
    return Answer.model_validate(FIXED)

if tuned:
    app = server.streamable_http_app()
    uvicorn.run(app, port=port, http="httptools", loop="asyncio", ws="none", access_log=False, log_config=None)
else:
    server.run("streamable-http", port=port)
"""
ARGUMENTS: Final = {"symbols": ["AAPL"], "max_age_s": 3600}
MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
FILES: Final = 8_192


@dataclass
class Load:
    """What came back.

    Attributes:
        seconds: that each call took.
        errors: answers that were none.
        elapsed: how long it went on.
        cpu_s: processor time of the server meanwhile, which a busy machine does not lengthen as it does the wait.
    """

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    elapsed: float = 0.0
    cpu_s: float = 0.0

    def add(self, part: Load) -> None:
        """Another round of the same."""
        self.seconds += part.seconds
        self.errors += part.errors
        self.elapsed += part.elapsed
        self.cpu_s += part.cpu_s

    def quantile(self, share: float) -> float:
        """In milliseconds."""
        ordered = sorted(self.seconds)
        return 1e3 * ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True)
class Server:
    """A server under load.

    Attributes:
        name: for people.
        port: on loopback.
        pid: of its process.
        token: bearer token, empty for none.
    """

    name: str
    port: int
    pid: int
    token: str = ""

    @property
    def cpu_s(self) -> float:
        """Processor time so far, where the system tells it as Linux does."""
        stat = Path(f"/proc/{self.pid}/stat")
        if not stat.exists():
            return 0.0
        user, system = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def request(self, message: dict[str, Any], *headers: str) -> bytes:
        """A whole HTTP request."""
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        lines = [
            "POST /mcp HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Accept: application/json, text/event-stream",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *([f"Authorization: Bearer {self.token}"] if self.token else []),
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One client's connection, kept alive."""

    def __init__(self, server: Server, era: str) -> None:
        self._server = server
        self._era = era
        self._call = b""

    async def open(self) -> None:
        """Connect, and in the older era open a session."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        params: dict[str, Any] = {"name": "get_quote", "arguments": ARGUMENTS}
        call = {"id": 2, "method": "tools/call", "params": params}
        if self._era == "modern":
            capabilities = "io.modelcontextprotocol/clientCapabilities"
            params["_meta"] = {"io.modelcontextprotocol/protocolVersion": MODERN, capabilities: {}}
            headers = [f"MCP-Protocol-Version: {MODERN}", "Mcp-Method: tools/call", "Mcp-Name: get_quote"]
        else:
            client = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "load", "version": "1"}}
            head, _ = await self.exchange(self._server.request({"id": 1, "method": "initialize", "params": client}))
            session = next(line for line in head.decode().split("\r\n") if line.lower().startswith("mcp-session-id"))
            headers = [session, f"MCP-Protocol-Version: {LEGACY}"]
            await self.exchange(self._server.request({"method": "notifications/initialized"}, *headers))
        self._call = self._server.request(call, *headers)

    async def call(self) -> str:
        """One call; empty when it was answered, else what came instead."""
        head, body = await self.exchange(self._call)
        fine = head.startswith(b"HTTP/1.1 200") and b'"structuredContent":{' in body and b'"isError":true' not in body
        return "" if fine else (head[:40] + body[:200]).decode(errors="replace")

    async def exchange(self, request: bytes) -> tuple[bytes, bytes]:
        """One request and its whole reply: head and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            return head, await self._chunks()
        length = lowered.partition(b"content-length:")[2].partition(b"\r\n")[0]
        return head, await self._reader.readexactly(int(length or 0))

    async def _chunks(self) -> bytes:
        found = b""
        while size := int(await self._reader.readline(), 16):
            found += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return found

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def load(server: Server, era: str, clients: int, seconds: float) -> Load:
    """So many clients for so long; connecting does not count."""
    found = Load()
    connections = [Connection(server, era) for _ in range(clients)]
    for at in range(0, clients, 50):
        await asyncio.gather(*(connection.open() for connection in connections[at : at + 50]))
    started, spent = time.perf_counter(), server.cpu_s
    end = started + seconds

    async def ask(connection: Connection) -> None:
        while (asked := time.perf_counter()) < end:
            try:
                error = await connection.call()
            except (OSError, asyncio.IncompleteReadError) as failure:
                found.errors.append(repr(failure))
                return
            found.seconds.append(time.perf_counter() - asked)
            if error:
                found.errors.append(error)

    await asyncio.gather(*map(ask, connections))
    found.elapsed = time.perf_counter() - started
    found.cpu_s = server.cpu_s - spent
    for connection in connections:
        connection.close()
    return found


@contextlib.contextmanager
def process(command: Sequence[str], environment: dict[str, str]) -> Iterator[int]:
    """A server's process; yields its id."""
    with subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as running:
        try:
            yield running.pid
        finally:
            running.terminate()


def free_port() -> int:
    """One that is free now."""
    import socket  # noqa: PLC0415 - only here

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_answering(url: str) -> None:
    """Wait until a server answers as it should."""
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=5).status_code in {200, 405, 406, 400}:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{url} does not answer")


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    """All three, ready."""
    token, ports = new_token(), [free_port() for _ in range(3)]
    environment = {
        "MDAGENT_HTTP__TOKENS__LOAD": token_hash(token),
        "MDAGENT_HTTP__REQUESTS_PER_S": "1000000",
        "MDAGENT_HTTP__BURST": "1000000",
    }
    ours = ["-m", "mdagent_mcp", "serve", "--http", "--sandbox", "--port", str(ports[0]), "--data-dir", str(folder)]
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(process(ours, environment))
        until_answering(f"http://127.0.0.1:{ports[0]}/readyz")
        found = [Server("mdagent-mcp, cached get_quote", ports[0], pid, token)]
        (folder / "fixed.json").write_text(json.dumps(asyncio.run(answer_of(found[0]))), encoding="utf-8")
        (folder / "bare.py").write_text(BARE_SERVER, encoding="utf-8")
        names = {"plain": "bare server, as the SDK runs it", "tuned": "bare server, our stack"}
        for port, (kind, name) in zip(ports[1:], names.items(), strict=True):
            words = [str(folder / "bare.py"), str(folder / "fixed.json"), str(port), kind]
            found.append(Server(name, port, stack.enter_context(process(words, {}))))
            until_answering(f"http://127.0.0.1:{port}/mcp")
        yield found


async def answer_of(server: Server) -> dict[str, Any]:
    """What it answers, which it keeps in its cache from then on."""
    connection = Connection(server, "modern")
    await connection.open()
    _, body = await connection.exchange(connection._call)  # noqa: SLF001 - its own program
    connection.close()
    return dict(json.loads(body)["result"]["structuredContent"])


def measure(era: str, clients: int, seconds: float, rounds: int) -> int:
    """Measure and print; the number of errors."""
    errors = 0
    with tempfile.TemporaryDirectory() as name, servers(Path(name)) as found:
        for count in (1, clients):
            total = {server.name: Load() for server in found}
            for _ in range(rounds):  # in turn, so that the machine's other work hits all alike
                for server in found:
                    span = (seconds if count > 1 else min(seconds, 6)) / rounds
                    total[server.name].add(asyncio.run(load(server, era, count, span)))
            ours = total[found[0].name]
            print(f"{count} clients, {era} era, {ours.elapsed:.0f} s each")
            for server_name, one in total.items():
                print_row(server_name, one, ours)
            errors += len(ours.errors)
    return errors


def print_row(name: str, one: Load, ours: Load) -> None:
    """One server, and ours over it."""
    cpu_us, our_cpu_us = (1e6 * load.cpu_s / len(load.seconds) for load in (one, ours))
    ratios = (
        f"p50 {ours.quantile(0.5) / one.quantile(0.5):.2f}, p99 {ours.quantile(0.99) / one.quantile(0.99):.2f}, "
        f"CPU {our_cpu_us / cpu_us if cpu_us else 0:.2f}"
    )
    print(
        f"  {name:32} {len(one.seconds) / one.elapsed:6.0f}/s  p50 {one.quantile(0.5):8.2f}  "
        f"p99 {one.quantile(0.99):8.2f} ms  CPU {cpu_us:5.0f} us  errors {len(one.errors)}  ours/this: {ratios}"
    )
    if one.errors:
        print(f"    first: {one.errors[0]}")


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0, help="of full load on each server, over all rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--era", choices=("modern", "legacy"), default="modern")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return 1 if measure(options.era, options.clients, options.seconds, options.rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
