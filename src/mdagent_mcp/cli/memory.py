"""`memory stats|export|import|reset`: what was learned, for a person and for other programs.

The rule of this module: it works on the same file as a server that may be running, through the same transactions. A
server goes on with what it holds in RAM until it is started again, and it is said when that matters.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio

from mdagent_mcp.app import DATABASE, memory_place
from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.cli.render import terminal
from mdagent_mcp.cli.render_memory import render_memory
from mdagent_mcp.cli.startup import data_directory, load_settings
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.engine.learned import learning_data
from mdagent_mcp.memory.connection import Connection, StoreError
from mdagent_mcp.memory.database import Database, FileDatabase, RamDatabase, reason
from mdagent_mcp.memory.finding_rows import read_curve
from mdagent_mcp.memory.graph import build_graph, to_graphml
from mdagent_mcp.memory.interchange import BadLineError, Contents, from_lines, to_lines
from mdagent_mcp.memory.knowledge import Totals
from mdagent_mcp.memory.overview import overview
from mdagent_mcp.memory.rows import count_sessions, read_cells, read_symbols
from mdagent_mcp.memory.snapshots import read_snapshot
from mdagent_mcp.memory.transfer import (
    UnusableContentsError,
    count_rows,
    forget_everything,
    read_contents,
    replace_contents,
)

_T = TypeVar("_T")

RUNNING_SERVER: Final = "A server that is running goes on with what it holds in RAM until it is started again."
_SESSIONS_SHOWN: Final = 10
_EVERYTHING: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Place:
    """Where memory is kept.

    Attributes:
        name: for people.
        exists: whether something was kept there.
        database: opens it, and makes it where it does not exist.
    """

    name: str
    exists: bool
    database: Database


def memory(arguments: argparse.Namespace) -> int:
    """Run the action that was asked for."""
    action: Callable[[argparse.Namespace, _Place], int] = _ACTIONS[arguments.action]
    return action(arguments, _place(arguments))


def _stats(arguments: argparse.Namespace, place: _Place) -> int:
    found = _with_store(place, _overview, must_exist=False)
    shown = {"file": place.name, "exists": place.exists, **found}
    if arguments.json:
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    else:
        render_memory(terminal(), shown)
    return ExitCode.OK


def _export(arguments: argparse.Namespace, place: _Place) -> int:
    if arguments.symbols is not None and arguments.symbols < 0:
        raise CommandError("--symbols must not be negative")
    if arguments.format == "graphml":
        text = _with_store(place, lambda store: _graphml(store, arguments.symbols), must_exist=False)
    else:
        contents = _with_store(place, lambda store: read_contents(store, arguments.symbols), must_exist=False)
        text = "\n".join(to_lines(contents))
    if arguments.out is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        sys.stdout.write(text + "\n" if text else "")
        return ExitCode.OK
    try:
        # No line end at the end and "\n" everywhere: byte for byte what the reference memory server writes.
        Path(arguments.out).expanduser().write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise CommandError(f"--out: {arguments.out} cannot be written ({error.strerror})") from error
    sys.stderr.write(f"mdagent-mcp: written to {arguments.out}\n")
    return ExitCode.OK


def _import(arguments: argparse.Namespace, place: _Place) -> int:
    contents = _read_file(arguments.file)
    before = _with_store(place, count_rows, must_exist=False)
    learned = sum(before.values()) - sum(before[name] for name in ("session", "session_figures", "evidence"))
    if learned and not arguments.yes and not _agrees(f"Replace what was learned ({learned} rows) by {arguments.file}?"):
        raise CommandError("nothing was changed", ExitCode.NO_ANSWER)
    try:
        _with_store(place, lambda connection: replace_contents(connection, contents))
    except UnusableContentsError as error:
        raise CommandError(f"{arguments.file}: {error}; nothing was changed") from error
    rows = sum(map(len, contents.rows.values()))
    notes = len(contents.entities) + len(contents.relations)
    others = f" and {notes} notes of others" if notes else ""
    sys.stderr.write(f"mdagent-mcp: {rows} rows{others} imported. {RUNNING_SERVER}\n")
    return ExitCode.OK


def _reset(arguments: argparse.Namespace, place: _Place) -> int:
    if not place.exists:
        sys.stderr.write(f"mdagent-mcp: there is no memory at {place.name}\n")
        return ExitCode.OK
    if not arguments.yes and not _agrees(f"Forget everything in {place.name}: what was learned and every kept answer?"):
        raise CommandError("nothing was changed", ExitCode.NO_ANSWER)
    _with_store(place, forget_everything)
    sys.stderr.write(f"mdagent-mcp: everything is forgotten. {RUNNING_SERVER}\n")
    return ExitCode.OK


_ACTIONS: Final[dict[str, Callable[[argparse.Namespace, _Place], int]]] = {
    "stats": _stats,
    "export": _export,
    "import": _import,
    "reset": _reset,
}


def _place(arguments: argparse.Namespace) -> _Place:
    settings = load_settings(arguments).settings
    path, clock = data_directory(settings) / DATABASE, SystemClock()
    if arguments.sandbox:
        from mdagent_mcp.cli.simulation import simulated_data_directory  # noqa: PLC0415 - for simulated prices only

        path = simulated_data_directory(data_directory(settings)) / DATABASE
        return _Place(str(path), path.exists(), FileDatabase(path, clock))
    place = memory_place(settings, path, clock)
    if place is None or isinstance(place, Path):
        return _Place(str(path), path.exists(), FileDatabase(path, clock))
    return _Place("the shared memory (shared.memory_url)", exists=True, database=place)


def _with_store(place: _Place, work: Callable[[Connection], Awaitable[_T]], *, must_exist: bool = True) -> _T:
    """Do something with the store; where there is none and none is needed, with an empty one in RAM."""
    database = place.database if must_exist or place.exists else RamDatabase(SystemClock())

    async def run() -> _T:
        async with _opened(database) as connection:
            return await work(connection)

    try:
        return anyio.run(run)
    except (StoreError, OSError) as error:
        raise CommandError(f"{place.name} cannot be used ({reason(error)})", ExitCode.NO_ANSWER) from error


@asynccontextmanager
async def _opened(database: Database) -> AsyncIterator[Connection]:
    opened = await database.open()
    try:
        if opened.note:
            sys.stderr.write(f"mdagent-mcp: {opened.note}\n")
        yield opened.connection
    finally:
        await opened.close()


async def _overview(connection: Connection) -> dict[str, Any]:
    snapshot = await read_snapshot(connection, await _totals(connection))
    curve = learning_data(await read_curve(connection, _SESSIONS_SHOWN))
    return overview(snapshot, await count_rows(connection)) | {"sessions": curve["sessions"]}


async def _graphml(connection: Connection, symbols: int | None) -> str:
    return to_graphml(build_graph(await read_snapshot(connection, await _totals(connection), symbols)))


async def _totals(connection: Connection) -> Totals:
    whole = await read_cells(connection, whole_sources_only=True)
    symbols = len(await read_symbols(connection, _EVERYTHING))
    return Totals(await count_sessions(connection), symbols, sum(cell.outcomes for cell in whole.values()))


def _read_file(name: str) -> Contents:
    try:
        if name == "-":
            return from_lines(sys.stdin)
        with Path(name).expanduser().open(encoding="utf-8", newline="\n") as lines:
            return from_lines(lines)
    except OSError as error:
        raise CommandError(f"{name} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{name} is no UTF-8 text; nothing was changed") from error
    except BadLineError as error:
        raise CommandError(f"{name}, {error}; nothing was changed") from error


def _agrees(question: str) -> bool:
    """Ask the person; whoever cannot be asked does not agree."""
    if not sys.stdin.isatty():
        sys.stderr.write(f"mdagent-mcp: {question} Say --yes.\n")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
