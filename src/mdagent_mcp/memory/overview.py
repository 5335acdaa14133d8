"""What was learned in a page: totals, the sources, what recurs, who copies whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mdagent_mcp.memory.attributes import time_text
from mdagent_mcp.memory.deviations import Deviation, DeviationKey
from mdagent_mcp.memory.knowledge import Snapshot, source_knowledge
from mdagent_mcp.memory.learning import CellKey
from mdagent_mcp.memory.patterns import find_patterns

BIASES_SHOWN: Final = 12
_FEWEST: Final = 30


def overview(snapshot: Snapshot, counts: Mapping[str, int]) -> dict[str, Any]:
    """As JSON-able data.

    Args:
        snapshot: everything learned.
        counts: rows by table.
    """
    return {
        "totals": snapshot.totals._asdict(),
        "rows": dict(counts),
        "sources": [_source(key, snapshot) for key in sorted(snapshot.cells) if key == CellKey(key.source)],
        "patterns": [
            {
                "source": p.source,
                "fault": p.fault,
                "context": p.context,
                "rate": round(p.rate, 4),
                "lower_bound": round(p.lower_bound, 4),
                "usual": round(p.usual, 4),
                "count": p.count,
                "last_at": time_text(p.last_at),
                "evidence": list(p.evidence),
                "told": p.told,
            }
            for p in find_patterns(snapshot.findings.tallies).all
        ],
        "copies": [
            {"sources": list(pair), "share": round(d.share, 4), "lower_bound": round(d.lower_bound, 4)}
            for pair, d in sorted(snapshot.findings.dependences.items())
            if d.is_proven
        ],
        "biases": _biases(snapshot),
    }


def _source(key: CellKey, snapshot: Snapshot) -> dict[str, Any]:
    known = source_knowledge(key.source, snapshot.cells[key])
    faults = {fault: seen.n for (source, fault), seen in sorted(snapshot.faults.items()) if source == key.source}
    return {
        "source": key.source,
        "right": round(known.reliability.estimate, 4),
        "lower_bound": round(known.reliability.lower_bound, 4),
        "observations": known.observations,
        "latency_ms": {"p50": known.latency_p50_ms, "p95": known.latency_p95_ms},
        "faults": faults,
    }


def _biases(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The largest, in their own scatter, of those that are known well."""
    found = [
        (key, deviation)
        for key, deviation in snapshot.findings.deviations.items()
        if deviation.samples >= _FEWEST and key.scope.startswith("asset:")
    ]

    def size(entry: tuple[DeviationKey, Deviation]) -> float:
        return abs(entry[1].bias) / max(entry[1].deviation, 1e-9)

    return [
        {
            **key._asdict(),
            "bias_bp": round(deviation.bias * 1e4, 3),
            "deviation_bp": round(deviation.deviation * 1e4, 3),
            "ratio": round(deviation.ratio, 6),
            "samples": deviation.samples,
        }
        for key, deviation in sorted(found, key=size, reverse=True)[:BIASES_SHOWN]
    ]
