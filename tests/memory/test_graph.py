"""The knowledge graph: typed nodes and edges, finite attributes, two forms for others to read."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import networkx as nx
import pytest

from mdagent_mcp.domain.events import Compared, Stamped
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.memory.graph import build_graph, to_graphml, to_json_data
from mdagent_mcp.memory.knowledge import Snapshot, Totals
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, judged, quote_answer
from memory.test_findings_kept import london_faults
from memory.test_symbol_statistics import confirmed


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
        "venue:XNYS": "venue",
        "venue:24/7": "venue",
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
        ("symbol:AAPL", "venue:XNYS", "ON"),
        ("symbol:BTC-USD", "asset:crypto", "ON"),
        ("symbol:BTC-USD", "venue:24/7", "ON"),
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


@pytest.fixture
async def rich() -> Snapshot:
    """Everything that can be found out: a wrong unit in London, a copy, a bias, behaviour by time of day."""
    async with open_memory(None, ManualClock(NOON)) as memory:
        london_faults(memory, 0, 20)
        for n in range(40):
            memory.keep(confirmed(101.0 + n / 100, NOON + timedelta(seconds=10 * n)))
        memory.listen(Compared("alpha", "AAPL", "volume", NOON, math.log(0.5), 0.05, math.inf, 0.0025, None))
        for _ in range(25):
            memory.listen(Stamped("alpha", NOON, -1.2))
        return await memory.snapshot()


async def test_what_was_found_out_is_in_the_graph(rich: Snapshot) -> None:
    """Biases, copies, patterns with their evidence, faults of instruments, behaviour, gaps, clocks."""
    graph = build_graph(rich)
    assert graph.edges["source:alpha", "field:volume", "BIAS_ON:asset:us_equity"]["ratio"] == pytest.approx(0.5)
    assert graph.edges["source:alpha", "field:price", "BIAS_ON:symbol:AAPL"]["bias"] == pytest.approx(1e-3, rel=0.01)
    copies = graph.edges["source:alpha_copy", "source:alpha", "COPIES"]
    assert copies["proven"] is True
    assert copies["lower_bound"] > 0.5
    pattern = "pattern:alpha|unit|venue:XLON"
    assert graph.nodes[pattern]["count"] == 20
    assert graph.nodes[pattern]["evidence"] == "l-17 l-18 l-19"
    assert {(start, end) for start, end, kind in graph.edges(keys=True) if pattern in {start, end}} == {
        ("source:alpha", pattern),
        (pattern, "fault:unit"),
        (pattern, "venue:XLON"),
    }
    had = graph.edges["symbol:VOD.L", "fault:unit", "HAD:alpha"]
    assert (had["n"], had["evidence_id"], had["source"]) == (20, "l-19", "alpha")
    behaves = graph.edges["symbol:AAPL", "bucket:1200", "BEHAVES"]
    assert behaves["volatility_per_sqrt_s"] > 0
    assert graph.nodes["source:alpha"]["clock_offset_s"] == pytest.approx(1.5)
    assert {str(attributes["kind"]) for _, attributes in graph.nodes(data=True)} == {
        "source", "group", "symbol", "asset", "venue", "fault", "field", "bucket", "pattern",
    }  # fmt: skip


async def test_the_whole_graph_is_typed_finite_and_reads_back(rich: Snapshot) -> None:
    """In GraphML too."""
    graph = build_graph(rich)
    for name, value in _attributes(graph):
        assert type(value) in {str, int, float, bool}, name
        assert not isinstance(value, float) or math.isfinite(value), name
    again: Any = nx.read_graphml(io.BytesIO(to_graphml(graph).encode()), force_multigraph=True)
    assert sorted(again.nodes(data=True)) == sorted(graph.nodes(data=True))
    assert sorted(again.edges(keys=True)) == sorted(graph.edges(keys=True))


def _attributes(graph: Any) -> Iterator[tuple[str, object]]:
    for node, attributes in graph.nodes(data=True):
        yield from ((f"{node}.{name}", value) for name, value in attributes.items())
    for start, end, attributes in graph.edges(data=True):
        yield from ((f"{start}-{end}.{name}", value) for name, value in attributes.items())
