"""The knowledge graph: typed nodes and edges, finite attributes, two forms for others to read."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from typing import Any

import networkx as nx
import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.memory.graph import build_graph, to_graphml, to_json_data
from mdagent_mcp.memory.knowledge import Snapshot, Totals
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, judged, quote_answer


@pytest.fixture
async def snapshot() -> Snapshot:
    """Two sources, two symbols, one of them never answered with a good grade."""
    async with open_memory(None, ManualClock(NOON)) as memory:
        memory.keep(quote_answer())
        memory.listen(fetched("alpha", None, "AAPL", latency_s=0.25))
        memory.listen(fetched("alpha", None, "AAPL", endpoint=Endpoint.HISTORY))
        memory.listen(fetched("beta", FailureKind.TIMEOUT, "BTC-USD"))
        memory.listen(judged("beta", agreed=False, fault="unit"))
        return await memory.snapshot()


async def test_nodes_and_edges_have_their_kinds(snapshot: Snapshot) -> None:
    """Every relation that was learned, once."""
    graph = build_graph(snapshot)
    assert {node: attributes["kind"] for node, attributes in graph.nodes(data=True)} == {
        "source:alpha": "source",
        "source:beta": "source",
        "group:tape": "group",
        "symbol:AAPL": "symbol",
        "symbol:BTC-USD": "symbol",
        "asset:us_equity": "asset",
        "asset:crypto": "asset",
        "fault:timeout": "fault",
        "fault:unit": "fault",
    }
    assert sorted(graph.edges(keys=True)) == [
        ("source:alpha", "asset:us_equity", "SERVES:history"),
        ("source:alpha", "asset:us_equity", "SERVES:quote"),
        ("source:alpha", "group:tape", "IN:us_equity"),
        ("source:alpha", "symbol:AAPL", "SERVES:history"),
        ("source:alpha", "symbol:AAPL", "SERVES:quote"),
        ("source:beta", "asset:crypto", "SERVES:quote"),
        ("source:beta", "asset:us_equity", "SERVES:quote"),
        ("source:beta", "fault:timeout", "SHOWS"),
        ("source:beta", "fault:unit", "SHOWS"),
        ("source:beta", "symbol:AAPL", "SERVES:quote"),
        ("source:beta", "symbol:BTC-USD", "SERVES:quote"),
        ("symbol:AAPL", "asset:us_equity", "ON"),
        ("symbol:BTC-USD", "asset:crypto", "ON"),
    ]


async def test_attributes_are_what_was_learned(snapshot: Snapshot) -> None:
    """Numbers of the source on its node, of the symbol on its own; absent is missing and not null."""
    graph = build_graph(snapshot)
    alpha, apple = graph.nodes["source:alpha"], graph.nodes["symbol:AAPL"]
    assert alpha["observations"] == 2
    assert alpha["latency_p50_s"] == pytest.approx(0.2, rel=0.02)
    assert alpha["last_success_at"] == "2026-11-23T17:00:00+00:00"
    assert "last_error" not in alpha
    assert (apple["price"], apple["previous_close"], apple["days"]) == (101.25, 100.0, 1)
    assert graph.nodes["symbol:BTC-USD"] == {"kind": "symbol"}
    assert graph.edges["source:beta", "fault:unit", "SHOWS"]["n"] == 1


async def test_every_attribute_is_typed_and_finite(snapshot: Snapshot) -> None:
    """Text, number or truth; nothing a reader would stumble over."""
    for name, value in _attributes(build_graph(snapshot)):
        assert type(value) in {str, int, float, bool}, name
        assert not isinstance(value, float) or math.isfinite(value), name


async def test_the_json_form_is_json(snapshot: Snapshot) -> None:
    """Plain data with nodes and edges that name each other."""
    data = json.loads(json.dumps(to_json_data(build_graph(snapshot)), allow_nan=False))
    assert data["totals"] == {"sessions": 1, "symbols": 1, "observations": 3}
    assert {edge["from"] for edge in data["edges"]} | {edge["to"] for edge in data["edges"]} == {
        node["id"] for node in data["nodes"]
    }
    assert {edge["kind"] for edge in data["edges"]} == {"SERVES", "IN", "SHOWS", "ON"}


async def test_the_graphml_form_reads_back_as_the_same_graph(snapshot: Snapshot) -> None:
    """With types and all."""
    graph = build_graph(snapshot)
    again: Any = nx.read_graphml(io.BytesIO(to_graphml(graph).encode()), force_multigraph=True)
    assert list(again.nodes(data=True)) == list(graph.nodes(data=True))
    assert sorted(again.edges(keys=True)) == sorted(graph.edges(keys=True))


def test_nothing_learned_is_an_empty_graph() -> None:
    """A first look at a new installation."""
    empty = build_graph(Snapshot({}, {}, {}, {}, Totals(1, 0, 0)))
    assert to_json_data(empty) == {
        "totals": {"sessions": 1, "symbols": 0, "observations": 0},
        "nodes": [],
        "edges": [],
    }
    assert "graphml" in to_graphml(empty)


def _attributes(graph: Any) -> Iterator[tuple[str, object]]:
    for node, attributes in graph.nodes(data=True):
        yield from ((f"{node}.{name}", value) for name, value in attributes.items())
    for start, end, attributes in graph.edges(data=True):
        yield from ((f"{start}-{end}.{name}", value) for name, value in attributes.items())
