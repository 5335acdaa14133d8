"""The part of the graph that findings make: biases, copies, recurring faults, behaviour by time of day.

The rule of this module: as in `graph`, which calls it: pure, typed by `kind`, finite numbers, texts and booleans only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mdagent_mcp.memory.attributes import present, time_text
from mdagent_mcp.memory.dependence import Dependence, Pair
from mdagent_mcp.memory.deviations import Deviation, DeviationKey
from mdagent_mcp.memory.findings import Findings, SymbolFault, SymbolFaultKey
from mdagent_mcp.memory.patterns import Pattern, find_patterns
from mdagent_mcp.memory.symbol_statistics import SymbolStatistics

if TYPE_CHECKING:
    import networkx as nx

    Graph = nx.MultiDiGraph[str]


def add_findings(graph: Graph, findings: Findings) -> None:
    """Add what was found; nodes of symbols have to be there already."""
    for key, deviation in sorted(findings.deviations.items()):
        _add_bias(graph, key, deviation)
    for pair, dependence in sorted(findings.dependences.items()):
        _add_dependence(graph, pair, dependence)
    for pattern in find_patterns(findings.tallies).all:
        _add_pattern(graph, pattern)
    for fault_key, seen in sorted(findings.symbol_faults.items()):
        _add_symbol_fault(graph, fault_key, seen)


def add_behaviour(graph: Graph, statistics: Mapping[str, SymbolStatistics]) -> None:
    """Add how instruments behave: BEHAVES to each half hour of the exchange's day, and figures of the whole day."""
    for symbol, known in sorted(statistics.items()):
        node = f"symbol:{symbol}"
        graph.add_node(node, kind="symbol", **present(tick=known.tick))
        for half_hour in sorted({*known.volatility, *known.spread}):
            name = bucket_name(half_hour)
            volatility, spread = known.volatility.get(half_hour), known.spread.get(half_hour)
            graph.add_node(name, kind="bucket")
            graph.add_edge(
                node,
                name,
                key="BEHAVES",
                kind="BEHAVES",
                **present(
                    volatility_per_sqrt_s=None if volatility is None else volatility.deviation,
                    spread=None if spread is None else spread.mean,
                    samples=max(m.samples for m in (volatility, spread) if m is not None),
                ),
            )


def gap_attributes(known: SymbolStatistics | None, source: str) -> dict[str, str | int | float | bool]:
    """How old a source's last trade in an instrument usually is; from the stamps of what it said when it was asked."""
    if known is None:
        return {}
    return present(trade_gap_p50_s=known.gap_s(source, 0.5), trade_gap_p95_s=known.gap_q95_s(source))


def bucket_name(half_hour: int) -> str:
    """A half hour of the exchange's day as `bucket:0930`."""
    return f"bucket:{half_hour // 2:02d}{half_hour % 2 * 30:02d}"


def _add_bias(graph: Graph, key: DeviationKey, deviation: Deviation) -> None:
    source, target = f"source:{key.source}", f"field:{key.field}"
    graph.add_node(source, kind="source")
    graph.add_node(target, kind="field")
    graph.add_edge(
        source,
        target,
        key=f"BIAS_ON:{key.scope}",
        kind="BIAS_ON",
        scope=key.scope,
        **present(
            bias=deviation.bias,
            deviation=deviation.deviation,
            ratio=deviation.ratio,
            samples=deviation.samples,
            updated_at=time_text(deviation.updated_at),
        ),
    )


def _add_dependence(graph: Graph, pair: Pair, dependence: Dependence) -> None:
    """COPIES runs from the one that follows to the one that leads; with no lag, from the second to the first."""
    follower, leader = follower_first(pair, dependence)
    for source in pair:
        graph.add_node(f"source:{source}", kind="source")
    graph.add_edge(
        f"source:{follower}",
        f"source:{leader}",
        key="COPIES",
        kind="COPIES",
        proven=dependence.is_proven,
        **present(
            share=dependence.share,
            lower_bound=dependence.lower_bound,
            shared=dependence.shared,
            apart=dependence.apart,
            lag_s=abs(dependence.lag_s),
            updated_at=time_text(dependence.updated_at),
        ),
    )


def follower_first(pair: Pair, dependence: Dependence) -> tuple[str, str]:
    """Who follows and who leads."""
    return (pair.first, pair.second) if dependence.lag_s < 0 else (pair.second, pair.first)


def _add_pattern(graph: Graph, pattern: Pattern) -> None:
    node = pattern_name(pattern)
    graph.add_node(
        node,
        kind="pattern",
        told=pattern.told,
        rate=pattern.rate,
        lower_bound=pattern.lower_bound,
        usual=pattern.usual,
        count=pattern.count,
        evidence=" ".join(pattern.evidence),
        **present(last_at=time_text(pattern.last_at)),
    )
    context, fault = pattern.context, f"fault:{pattern.fault}"
    graph.add_node(context, kind=context.partition(":")[0])
    graph.add_node(fault, kind="fault")
    graph.add_node(f"source:{pattern.source}", kind="source")
    graph.add_edge(f"source:{pattern.source}", node, key="PRONE_TO", kind="PRONE_TO")
    graph.add_edge(node, fault, key="OF", kind="OF")
    graph.add_edge(node, context, key="WITHIN", kind="WITHIN")


def pattern_name(pattern: Pattern) -> str:
    """The node of a pattern."""
    return f"pattern:{pattern.source}|{pattern.fault}|{pattern.context}"


def _add_symbol_fault(graph: Graph, key: SymbolFaultKey, seen: SymbolFault) -> None:
    symbol, fault = f"symbol:{key.symbol}", f"fault:{key.fault}"
    graph.add_node(symbol, kind="symbol")
    graph.add_node(fault, kind="fault")
    graph.add_edge(
        symbol,
        fault,
        key=f"HAD:{key.source}",
        kind="HAD",
        source=key.source,
        n=seen.n,
        evidence_id=seen.evidence_id,
        **present(last_at=time_text(seen.last_at)),
    )
