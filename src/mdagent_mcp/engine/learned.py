"""What memory holds as JSON-able data of bounded size, for an agent or a person to look at.

The rule of this module: it reads; what does not fit is left out and counted, never cut in the middle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from anyio import to_thread

from mdagent_mcp.memory.attributes import time_text
from mdagent_mcp.memory.finding_rows import Curve
from mdagent_mcp.memory.graph import build_graph, to_json_data
from mdagent_mcp.memory.knowledge import Snapshot
from mdagent_mcp.memory.session_figures import EARLY, EARLY_REQUESTS, SessionFigures, figures_json
from mdagent_mcp.memory.store import Memory

GRAPH_BYTES: Final = 65_536
"""Of the graph as compact JSON; a reader that is a language model pays for each."""
SYMBOLS_SHOWN: Final = (20, 10, 5, 2, 1, 0)
"""How many instruments are tried, until the graph fits."""
SESSIONS_SHOWN: Final = 50
_DIGITS: Final = 6
_OF_SYMBOLS: Final = frozenset({"BIAS_ON", "BEHAVES"})
"""Edges that make one instrument large, told only of a single one."""
_LOSS: Final = (
    "loss per request: what the answers were worth less than an immediate A (A 1, B 0.85, C 0.7, D 0.4, F or none 0; "
    "0.3 a second of waiting); it includes what no choice of sources could have given"
)


async def graph_view(memory: Memory, most_bytes: int = GRAPH_BYTES) -> dict[str, Any]:
    """Sources with what is known of them as a whole, and the instruments learned about most, as far as they fit."""
    view: dict[str, Any] = {}
    for symbols in SYMBOLS_SHOWN:
        snapshot = await memory.snapshot(symbols)
        view = await to_thread.run_sync(_graph_data, snapshot)
        if len(json.dumps(view, separators=(",", ":"))) <= most_bytes:
            break
    return view


async def symbol_view(memory: Memory, symbol: str) -> dict[str, Any] | None:
    """Everything about one instrument; None when nothing is known of it."""
    snapshot = await memory.symbol_snapshot(symbol)
    known = (snapshot.cells, snapshot.symbols, snapshot.statistics, snapshot.findings)
    if not any(known):
        return None
    return {"symbol": symbol} | await to_thread.run_sync(_data, snapshot)


async def learning_view(memory: Memory) -> dict[str, Any]:
    """The figures of the latest sessions, this one at the end."""
    return learning_data(await memory.curve(SESSIONS_SHOWN))


def learning_data(curve: Curve) -> dict[str, Any]:
    """A curve as JSON-able data: of every session all of it, and its first requests."""
    sessions = [
        {
            "started_at": time_text(started_at),
            "seen_at": time_text(seen_at),
            **figures_json(sum(parts.values(), SessionFigures())),
            "early": figures_json(parts.get(EARLY, SessionFigures())),
        }
        for started_at, seen_at, parts in curve
    ]
    return {"early_requests": EARLY_REQUESTS, "loss": _LOSS, "sessions": sessions}


def _graph_data(snapshot: Snapshot) -> dict[str, Any]:
    data = _data(snapshot)
    kept = [edge for edge in data["edges"] if not _is_detail(edge)]
    hidden = len(data["edges"]) - len(kept)
    named = {end for edge in kept for end in (edge["from"], edge["to"])}
    nodes = [n for n in data["nodes"] if n["id"] in named or n["kind"] in {"source", "symbol"}]
    left_out = {
        "symbols": snapshot.left_out,
        "edges_of_shown_symbols": hidden,
        "read": "mdagent://memory/symbol/{symbol} for one of them whole; `mdagent-mcp memory export` for everything",
    }
    return {"totals": data["totals"], "left_out": left_out, "nodes": nodes, "edges": kept}


def _is_detail(edge: Mapping[str, Any]) -> bool:
    return edge["kind"] in _OF_SYMBOLS and not str(edge.get("scope", "")).startswith("asset:")


def _data(snapshot: Snapshot) -> dict[str, Any]:
    data = to_json_data(build_graph(snapshot))
    return {name: _short(part) if isinstance(part, list) else part for name, part in data.items()}


def _short(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Numbers with as many digits as mean something."""
    return [
        {name: float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value for name, value in entry.items()}
        for entry in entries
    ]
