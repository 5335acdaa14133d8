"""The grammar of the command line.

The rule of this module: it only reads words. Symbols, dates, sources and ranges are checked where the MCP tools check
theirs, so that both surfaces refuse the same things in the same words.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from mdagent_mcp import __version__

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_SERVE: Final = "serve"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, with every global option set and `command` naming the command.

    Raises:
        SystemExit: with 2 for wrong usage, with 0 after `--help` or `--version`.
    """
    parser = _build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        # A second reading gives a bare `mdagent-mcp` the options of `serve` with their defaults.
        arguments = parser.parse_args([_SERVE], namespace=argparse.Namespace(**_given(arguments)))
    return arguments


def _given(arguments: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(arguments).items() if name != "command"}


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mdagent-mcp",
        description="Market data for LLM agents: several vendors asked, reconciled and graded A-F. "
        "Without a command it serves MCP on stdio.",
        epilog="New here? Run `mdagent-mcp demo`: no key, no network, a few seconds.",
        parents=[_global_options()],
        allow_abbrev=False,
    )
    parser.set_defaults(config=None, env=None, data_dir=None, sandbox=False, log_level=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_serving(commands)
    _add_answers(commands)
    _add_tools(commands)
    return parser


def _global_options() -> argparse.ArgumentParser:
    # SUPPRESS: an option that is absent behind the command must not undo the one before it.
    options = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    group = options.add_argument_group("global options (before or after the command)")
    group.add_argument("--config", metavar="FILE", help="settings file (default: first mdagent.toml found)")
    group.add_argument("--env", metavar="NAME", help="overlay [environments.NAME] of the settings file")
    group.add_argument("--data-dir", metavar="DIR", help="where the memory is kept")
    group.add_argument("--sandbox", action="store_true", help="let the embedded simulated market answer every source")
    group.add_argument("--log-level", type=str.lower, choices=LOG_LEVELS, help="of the log on stderr")
    group.add_argument("--version", action="version", version=f"mdagent-mcp {__version__}")
    return options


class _Commands:
    """Adds commands that all take the global options."""

    def __init__(self, commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        self._commands = commands

    def add(self, name: str, summary: str) -> argparse.ArgumentParser:
        return self._commands.add_parser(
            name, help=summary, description=summary, parents=[_global_options()], allow_abbrev=False
        )


def _add_serving(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = _Commands(commands).add
    serve = add(_SERVE, "Serve MCP on stdio (what hosts such as Claude Desktop start), or over HTTP")
    serve.add_argument("--http", action="store_true", help="streamable HTTP at /mcp instead of stdio")
    serve.add_argument("--host", help="with --http: address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="with --http: 0 takes a free one (default: 8000)")
    serve.add_argument("--clock-offset-s", type=float, default=0.0, metavar="N", help=argparse.SUPPRESS)
    token = add("token", "Make a bearer token for serve --http, and the line of the settings that accepts it")
    token.add_argument("name", nargs="?", default="default", metavar="NAME", help="whose it is (default: default)")
    add("demo", "Show everything in a few seconds: no key, no network, simulated prices")
    sandbox = add("sandbox", "Run the simulated vendors alone: every vendor's HTTP API on one loopback port")
    sandbox.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    sandbox.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)")
    sandbox.add_argument("--seed", type=int, help="which simulated market; equal seeds give equal prices")
    sandbox.add_argument("--live-clock", action="store_true", help="the present, even while the market is closed")
    sandbox.add_argument(
        "--fault", action="append", default=[], metavar="TEXT", help="a vendor's misbehaviour, such as yahoo=throttle"
    )


def _add_answers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = _Commands(commands).add
    quote = add("quote", "Current prices with their grades")
    quote.add_argument("symbols", nargs="+", metavar="SYMBOL", help="AAPL, BRK.B, VOD.L, ^GSPC, BTC-USD, EURUSD")
    quote.add_argument("--max-age", type=float, metavar="SECONDS", help="how old a cached answer may be; 0 asks anew")
    _add_asking(quote)
    history = add("history", "Past prices, checked bar by bar")
    history.add_argument("symbol", metavar="SYMBOL")
    history.add_argument("--interval", help="1m 5m 15m 30m 1h 1d 1wk 1mo (default: 1d)")
    history.add_argument("--period", help="1d 5d 1mo 3mo 6mo 1y 2y 5y 10y ytd max")
    history.add_argument("--start", metavar="DATE", help="first trading date, such as 2026-01-31")
    history.add_argument("--end", metavar="DATE", help="last trading date, included")
    history.add_argument("--adjustment", help="splits (default), all (dividends too) or none")
    history.add_argument("--extended-hours", action="store_true", help="pre- and post-market bars too")
    history.add_argument("--max-bars", type=int, metavar="N", help="newest bars shown (default: 250)")
    _add_asking(history)
    sources = add("sources", "What the data vendors are doing")
    sources.add_argument("source", nargs="?", metavar="SOURCE", help="only this one")
    sources.add_argument("--json", action="store_true", help=_JSON)
    explain = add("explain", "Why an earlier answer has its grade")
    explain.add_argument("symbol", nargs="?", metavar="SYMBOL", help="its latest answer")
    explain.add_argument("--evidence-id", metavar="ID", help="of any earlier answer")
    explain.add_argument("--kind", help="with SYMBOL: quote (default) or history")
    explain.add_argument("--json", action="store_true", help=_JSON)


_JSON: Final = "print the tool's structured content"


def _add_asking(command: argparse.ArgumentParser) -> None:
    command.add_argument("--min-grade", metavar="A-D", help="keep asking more sources until this grade is reached")
    command.add_argument("--sources", metavar="IDS", help="ask only these, such as yahoo,nasdaq")
    command.add_argument("--detail", help="full shows every source's own word too (default: brief)")
    command.add_argument("--json", action="store_true", help=_JSON)


def _add_tools(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = _Commands(commands).add
    config = add("config", "Check, show or describe the settings")
    actions = config.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    act = _Commands(actions).add
    act("check", "Validate the settings and say which sources they make usable")
    act("show", "Print every setting in effect with where it came from; secrets masked").add_argument(
        "--json", action="store_true", help="print as JSON"
    )
    act("schema", "Print the JSON Schema of the settings file, for editors that complete and check TOML")
    doctor = add("doctor", "Look at keys, sources, clock, data directory and extras, and say what to do")
    doctor.add_argument("--offline", action="store_true", help="ask no source; otherwise each is asked once")
    doctor.add_argument("--alerts", action="store_true", help="send a test message to every alert channel")
    doctor.add_argument("--json", action="store_true", help="print as JSON")
    _add_memory(add("memory", "What was learned about sources and symbols: look at it, take it along, forget it"))
    parse = add("parse", "What our parser reads from one recorded HTTP exchange, offline, as JSON")
    parse.add_argument("source", metavar="SOURCE", help="whose exchange it is, such as yahoo")
    parse.add_argument("--url", required=True, help="as it was requested")
    parse.add_argument("--status", type=int, default=200, metavar="N", help="HTTP status (default: %(default)s)")
    parse.add_argument("--received-at", metavar="TIME", help="when, such as 2026-01-31T15:04:05Z (default: now)")
    parse.add_argument("--symbol", help="what it was about, where the URL does not say")
    parse.add_argument("--body", required=True, metavar="FILE", help="the reply's body; - for stdin")
    record = add("record", "Fetch once, live, and write the exchange with the key removed, for a bug report")
    record.add_argument("source", metavar="SOURCE", help="whom to ask, such as yahoo")
    record.add_argument("symbol", metavar="SYMBOL")
    record.add_argument("--history", action="store_true", help="a month of daily bars instead of the current price")
    record.add_argument("--out", default=".", metavar="DIR", help="where the two files are written (default: here)")


def _add_memory(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    act = _Commands(actions).add
    stats = act("stats", "How much is known, of which sources, what recurs, and how good the sessions were")
    stats.add_argument("--json", action="store_true", help="print as JSON")
    export = act("export", "Print the knowledge graph, for another program or another machine")
    export.add_argument(
        "--format",
        choices=("jsonl", "graphml"),
        default="jsonl",
        help="jsonl: as the reference memory server of MCP keeps it, and as `import` reads it; graphml: for Gephi, yEd "
        "or networkx (default: %(default)s)",
    )
    export.add_argument(
        "--symbols",
        type=int,
        metavar="N",
        help="only the N symbols learned about most, for an agent that reads the whole file at once (default: all; an "
        "import of such a file forgets the others)",
    )
    export.add_argument("--out", metavar="FILE", help="write there instead of printing")
    read = act("import", "Replace what was learned by an exported JSONL file; kept answers and sessions stay")
    read.add_argument("file", metavar="FILE", help="as `export` wrote it; - for stdin")
    read.add_argument("--yes", action="store_true", help="do not ask")
    act("reset", "Forget everything: what was learned, the sessions, every kept answer").add_argument(
        "--yes", action="store_true", help="do not ask"
    )
