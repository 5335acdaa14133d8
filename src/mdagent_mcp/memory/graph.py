"""What was learned as a graph, for looking at and for other programs: a view, never the store itself.

The rule of this module: pure. Nodes and edges are typed by a `kind` and carry only finite numbers, texts and booleans.
networkx is loaded when the first graph is built.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mdagent_mcp.memory.attributes import Attribute, present, time_text
from mdagent_mcp.memory.graph_findings import add_behaviour, add_findings, gap_attributes
from mdagent_mcp.memory.knowledge import Snapshot
from mdagent_mcp.memory.learning import QUOTE, Cell, CellKey, asset_class, reliability
from mdagent_mcp.memory.patterns import venue_of
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics
from mdagent_mcp.memory.symbols import SymbolKnowledge
from mdagent_mcp.resilience.clock_offset import offset_s
from mdagent_mcp.resilience.latency import quantile

if TYPE_CHECKING:
    import networkx as nx

    Graph = nx.MultiDiGraph[str]


def build_graph(snapshot: Snapshot) -> Graph:
    """A typed view of everything learned.

    Nodes (`source:yahoo`): source, group, symbol, asset, venue, fault, field, bucket, pattern. Edges: SERVES from a
    source to an asset class or a symbol (one per endpoint), IN from a source to its upstream group (one per asset
    class), BIAS_ON from a source to a field (one per asset class and symbol), COPIES from a source to one whose errors
    it shares, SHOWS from a source to a fault, PRONE_TO from a source to a pattern (which is OF a fault and WITHIN a
    circumstance), ON from a symbol to its asset class and venue, BEHAVES from a symbol to a half hour, HAD from a
    symbol to a fault (one per source).
    """
    import networkx as nx  # noqa: PLC0415 - see `build_graph`

    graph: Graph = nx.MultiDiGraph(
        sessions=snapshot.totals.sessions,
        symbols=snapshot.totals.symbols,
        observations=snapshot.totals.observations,
    )
    for symbol, known in sorted(snapshot.symbols.items()):
        _add_symbol(graph, symbol, _described(known))
    for key, cell in sorted(snapshot.cells.items()):
        _add_cell(graph, key, cell, snapshot.statistics)
    for (source, asset), membership in sorted(snapshot.memberships.items()):
        group = f"group:{membership.upstream_group}"
        graph.add_node(group, kind="group")
        seen_at = time_text(membership.seen_at)
        graph.add_edge(_source(graph, source), group, key=f"IN:{asset}", kind="IN", asset=asset, seen_at=seen_at)
    for (source, fault), seen in sorted(snapshot.faults.items()):
        graph.add_node(f"fault:{fault}", kind="fault")
        last_at = time_text(seen.last_at)
        graph.add_edge(_source(graph, source), f"fault:{fault}", key="SHOWS", kind="SHOWS", n=seen.n, last_at=last_at)
    for source, clock in sorted(snapshot.clocks.items()):
        graph.nodes[_source(graph, source)].update(present(clock_offset_s=offset_s(clock), stamps=clock.samples))
    add_behaviour(graph, snapshot.statistics)
    add_findings(graph, snapshot.findings)
    return graph


def to_json_data(graph: Graph) -> dict[str, Any]:
    """The graph as JSON-able data: `{"totals", "nodes": [{"id", "kind", …}], "edges": [{"from", "kind", "to", …}]}`."""
    return {
        "totals": dict(graph.graph),
        "nodes": [{"id": node, **attributes} for node, attributes in graph.nodes(data=True)],
        "edges": [
            {"from": start, "kind": attributes["kind"], "to": end, **attributes}
            for start, end, attributes in graph.edges(data=True)
        ],
    }


def to_graphml(graph: Graph) -> str:
    """The graph as GraphML, which Gephi, yEd and networkx read."""
    import networkx as nx  # noqa: PLC0415 - see `build_graph`

    text = io.BytesIO()
    nx.write_graphml_xml(graph, text)
    return text.getvalue().decode("utf-8")


def _add_cell(graph: Graph, key: CellKey, cell: Cell, statistics: Mapping[str, SymbolStatistics]) -> None:
    source = _source(graph, key.source)
    learned = _learned(cell)
    if not key.scope:
        graph.nodes[source].update(learned)
        return
    kind, _, name = key.scope.partition(":")
    if kind == "symbol" and key.scope not in graph:
        _add_symbol(graph, name, {})
    elif kind == "asset":
        graph.add_node(key.scope, kind="asset")
    if kind == "symbol" and key.endpoint == QUOTE:
        learned |= gap_attributes(statistics.get(name), key.source)
    edge = f"SERVES:{key.endpoint}"
    graph.add_edge(source, key.scope, key=edge, kind="SERVES", endpoint=key.endpoint, **learned)


def _add_symbol(graph: Graph, symbol: str, attributes: Mapping[str, Attribute]) -> None:
    asset = f"asset:{asset_class(symbol)}"
    graph.add_node(asset, kind="asset")
    graph.add_node(f"symbol:{symbol}", kind="symbol", **attributes)
    graph.add_edge(f"symbol:{symbol}", asset, key="ON", kind="ON")
    venue = venue_of(symbol)
    if venue:
        graph.add_node(f"venue:{venue}", kind="venue")
        graph.add_edge(f"symbol:{symbol}", f"venue:{venue}", key="ON", kind="ON")


def _source(graph: Graph, source: str) -> str:
    node = f"source:{source}"
    graph.add_node(node, kind="source")
    return node


def _learned(cell: Cell) -> dict[str, Attribute]:
    known = reliability(cell)
    return present(
        reliability=known.estimate,
        reliability_lower_bound=known.lower_bound,
        evidence=known.observations,
        observations=cell.outcomes,
        latency_p50_s=quantile(cell.latency, 0.50),
        latency_p95_s=quantile(cell.latency, 0.95),
        last_success_at=time_text(cell.last_success_at),
        last_error_at=time_text(cell.last_error_at),
        last_error=cell.last_error or None,
    )


def _described(known: SymbolKnowledge) -> dict[str, Attribute]:
    return present(
        price=known.price,
        price_at=time_text(known.price_at),
        low=known.low,
        high=known.high,
        currency=known.currency,
        previous_close=known.previous_close,
        observations=known.observations,
        days=known.days,
    )
