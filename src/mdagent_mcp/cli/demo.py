"""`demo`: the newcomer's first minute, without key and network.

A simulated market behind the vendors' wire formats, a real server as a child process, a real MCP client. Two vendors
misbehave: one refuses to answer, one is wrong by a factor; the demo ends well only if the answered prices are the
simulated market's own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from mdagent_mcp.cli.demo_report import Compared, Report
from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.cli.render import Shown, terminal
from mdagent_mcp.cli.simulation import SANDBOX_KEY
from mdagent_mcp.domain.clock import Clock, SystemClock
from mdagent_mcp.sandbox.clock import market_hours_clock
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.sandbox.server import Sandbox, running_sandbox
from mdagent_mcp.vendors.registry import VENDORS

SOURCES: Final = ("yahoo", "nasdaq", "cboe", "finnhub")
"""Those that play a part; the others have no key here and say so."""
FAILING: Final = "cboe"
WRONG: Final = "yahoo"
SYMBOL: Final = "AAPL"
"""The symbol about which the wrong source is wrong."""
OTHER_SYMBOL: Final = "MSFT"
UNKNOWN_SYMBOL: Final = "ZZZZ"
FAULTS: Final = (f"{FAILING}=throttle:60", f"{WRONG}=unit:100,symbols={SYMBOL}")
TOOLS: Final = ("get_quote", "get_history", "source_status", "explain_quality")
TOLERANCE_BP: Final = 25.0
"""How far an answered price may be from the true one of its own time."""
LIMIT_S: Final = 55.0
_CALL_LIMIT_S: Final = 20.0
_LOG_TAIL: Final = 1_000


class DemoFailedError(Exception):
    """A step did not go as it must; the message says which."""


def demo(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - every command is handed its arguments
    """Show the whole of it; exit 1 when a step fails or a price is wrong."""
    problem = anyio.run(_show)
    if problem is not None:
        raise CommandError(f"the demo failed: {problem}", ExitCode.NO_ANSWER)
    return ExitCode.OK


async def _show() -> str | None:
    """Run the demo; returns what went wrong."""
    machine = SystemClock()
    clock = market_hours_clock(machine)
    report = Report(terminal())
    report.begin((f"{FAILING} refuses every call (HTTP 429);", f"{WRONG} gives {SYMBOL} 100 times too high."))
    with tempfile.TemporaryDirectory(prefix="mdagent-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with running_sandbox(clock, faults=FAULTS) as sandbox:
            parameters = _server(folder, sandbox, clock.now() - machine.now())
            problem = await _converse(parameters, folder / "server.log", Walk(report, clock, sandbox.market))
    return problem


async def _converse(parameters: StdioServerParameters, log: Path, walk: Walk) -> str | None:
    problem: str | None = None
    with log.open("w", encoding="utf-8") as errors:
        try:
            with walk.clock.limit(LIMIT_S):
                async with Client(
                    stdio_client(parameters, errlog=errors), read_timeout_seconds=_CALL_LIMIT_S
                ) as client:
                    # An exception that leaves a client is wrapped in groups, so it is caught while inside.
                    try:
                        await walk.all_steps(client)
                    except (DemoFailedError, MCPError) as error:
                        problem = str(error)
        except TimeoutError:
            problem = f"it took longer than {LIMIT_S:g} s"
        except (MCPError, OSError) as error:
            problem = f"the server did not start: {error}"
    return None if problem is None else f"{problem}{_tail(log)}"


def _tail(log: Path) -> str:
    said = log.read_text(encoding="utf-8", errors="replace").strip()[-_LOG_TAIL:]
    return f"\nthe server's log ends with:\n{said}" if said else ""


def _server(folder: Path, sandbox: Sandbox, offset: timedelta) -> StdioServerParameters:
    """A real server whose sources are the sandbox and whose clock is the sandbox's."""
    settings = folder / "mdagent.toml"
    settings.write_text(_settings_text(sandbox), encoding="utf-8")
    words = ["--config", str(settings), "--data-dir", str(folder / "data")]
    shift = ["--clock-offset-s", f"{offset.total_seconds():.6f}"]
    # Of the environment a client passes on only what is harmless; a source tree that is not installed needs its path.
    path = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return StdioServerParameters(
        command=sys.executable, args=["-m", "mdagent_mcp", *words, "serve", *shift], env=path, cwd=folder
    )


def _settings_text(sandbox: Sandbox) -> str:
    lines = []
    for vendor in (vendor for vendor in VENDORS if vendor.id in SOURCES):
        lines += [f"[sources.{vendor.id}]", f"base_url = {json.dumps(sandbox.url_for(vendor.id))}"]
        if vendor.key is not None:
            lines.append(f"api_key = {json.dumps(SANDBOX_KEY)}")
    return "\n".join([*lines, ""])


class Walk:
    """The steps of the demo over one connection.

    Args:
        report: prints them.
        clock: the simulated market's time.
        market: knows the truth.
    """

    def __init__(self, report: Report, clock: Clock, market: SimulatedMarket) -> None:
        self._report = report
        self.clock = clock
        self._market = market

    async def all_steps(self, client: Client) -> None:
        """Connect, ask all four tools, check the answers.

        Raises:
            DemoFailedError: naming the step that did not go as it must.
            MCPError: when the server refuses a request.
        """
        started = self.clock.monotonic()
        await self._connect(client)
        evidence_id = await self._quotes(client)
        await self._history(client)
        await self._sources(client)
        await self._explanation(client, evidence_id)
        self._report.end(
            f"{FAILING} did not answer",
            f"{WRONG} was 100 times too high for {SYMBOL} and was caught",
            self.clock.monotonic() - started,
        )

    async def _connect(self, client: Client) -> None:
        self._report.step("connect and list the tools")
        names = tuple(tool.name for tool in (await client.list_tools()).tools)
        self._report.connected(_name_of(client), client.protocol_version, names)
        _require(names == TOOLS, f"the server offers {', '.join(names)} instead of {', '.join(TOOLS)}")

    async def _quotes(self, client: Client) -> str:
        symbols = [SYMBOL, OTHER_SYMBOL, UNKNOWN_SYMBOL]
        self._report.step(
            f"get_quote {', '.join(symbols)}",
            f"{UNKNOWN_SYMBOL} does not exist; nobody can be sure of that while {FAILING} is silent.",
        )
        shown = await _call(client, "get_quote", {"symbols": symbols, "min_grade": "A", "detail": "full"})
        compared = [self._compare(quote) for quote in shown["quotes"]]
        self._report.quotes(compared, shown)
        answered = {row.quote["symbol"]: row.quote for row in compared}
        _require(set(answered) == {SYMBOL, OTHER_SYMBOL}, f"answered were {', '.join(answered) or 'none'}")
        for row in compared:
            _require(
                row.difference_bp <= TOLERANCE_BP,
                f"{row.quote['symbol']} was answered as {row.quote['price']}, the truth is {row.truth}",
            )
        failed = [failure["symbol"] for failure in shown["failures"]]
        _require(failed == [UNKNOWN_SYMBOL], f"without an answer were {', '.join(failed) or 'none'}")
        _require(WRONG in answered[SYMBOL]["sources_rejected"], f"{WRONG} was not rejected for {SYMBOL}")
        evidence_id: str = answered[SYMBOL]["evidence_id"]
        return evidence_id

    async def _history(self, client: Client) -> None:
        self._report.step(f"get_history {OTHER_SYMBOL}, three months of daily bars")
        shown = await _call(client, "get_history", {"symbol": OTHER_SYMBOL, "period": "3mo"})
        self._report.history(shown)
        _require(len(shown["bars"]) > 50, f"only {len(shown['bars'])} bars came")
        difference = self._difference_bp(shown)
        self._report.closes(difference)
        _require(difference <= TOLERANCE_BP, f"a close of {OTHER_SYMBOL} is {difference:.1f} bp off the true one")

    async def _sources(self, client: Client) -> None:
        self._report.step("source_status", f"{FAILING} is left alone for the time it asked for.")
        shown = await _call(client, "source_status", {})
        self._report.sources(shown)
        states = {source["source"]: source["state"] for source in shown["sources"]}
        _require(states.get(FAILING) == "throttled", f"{FAILING} is told to be {states.get(FAILING)}")

    async def _explanation(self, client: Client, evidence_id: str) -> None:
        self._report.step(f"explain_quality of the {SYMBOL} answer", f"How {WRONG} was found out.")
        shown = await _call(client, "explain_quality", {"evidence_id": evidence_id})
        self._report.explanation(shown)
        _require(any(WRONG in sentence for sentence in shown["dissent"]), f"{WRONG} is not among the dissent")

    def _compare(self, quote: Shown) -> Compared:
        time = quote["price_time"]
        at = self.clock.now() if time is None else datetime.fromisoformat(time)
        truth = self._market.price(quote["symbol"], at)
        return Compared(quote, truth, _distance_bp(quote["price"], truth))

    def _difference_bp(self, shown: Shown) -> float:
        """The largest distance of a finished bar's close from the true one, in basis points."""
        bars: Sequence[Sequence[Any]] = shown["bars"][:-1] if shown["partial_last_bar"] else shown["bars"]
        first, last = (date.fromisoformat(bars[index][0]) for index in (0, -1))
        truth = {b.day.isoformat(): b.close for b in self._market.daily_bars(OTHER_SYMBOL, first, last)}
        invented = [bar[0] for bar in bars if bar[0] not in truth]
        _require(not invented, f"bars of days without trading came: {', '.join(invented)}")
        return max(_distance_bp(close, truth[day]) for day, _, _, _, close, _ in bars)


async def _call(client: Client, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    result = await client.call_tool(tool, dict(arguments))
    if result.is_error or result.structured_content is None:
        said = " ".join(block.text for block in result.content if block.type == "text")
        raise DemoFailedError(f"{tool} answered: {said}")
    content: dict[str, Any] = result.structured_content
    return content


def _distance_bp(price: float, truth: float) -> float:
    return abs(price - truth) / truth * 10_000.0


def _name_of(client: Client) -> str:
    server = client.server_info
    return "the server" if server is None else f"{server.name} {server.version}"


def _require(condition: bool, otherwise: str) -> None:  # noqa: FBT001 - a check reads best this way
    if not condition:
        raise DemoFailedError(otherwise)
