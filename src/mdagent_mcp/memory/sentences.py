"""Rows of knowledge as places in a graph and as sentences, for the memory of an agent to read.

The rule of this module: pure, one function per table; a row in gives the node or edge that it describes, and what an
agent should know of it in English. The sentences say nothing that the row does not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from mdagent_mcp.memory.attributes import time_text
from mdagent_mcp.memory.dependence import Dependence, Pair
from mdagent_mcp.memory.deviations import LARGEST_ERROR
from mdagent_mcp.memory.graph_findings import follower_first
from mdagent_mcp.memory.learning import Cell, reliability
from mdagent_mcp.memory.patterns import context_text
from mdagent_mcp.memory.tables import Row
from mdagent_mcp.resilience.clock_offset import ClockOffset, offset_s
from mdagent_mcp.resilience.latency import from_json, quantile


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row belongs in the graph.

    Attributes:
        start: the node, or the node that the edge leaves.
        relation: of the edge; empty for a node.
        end: the node that the edge enters; empty for a node.
    """

    start: str
    relation: str = ""
    end: str = ""

    @property
    def name(self) -> str:
        """The entity that carries the row: the node itself, or one that stands for the edge."""
        return f"edge:{self.start}|{self.relation}|{self.end}" if self.relation else self.start

    @property
    def kind(self) -> str:
        """The type of that entity."""
        return "edge" if self.relation else kind_of(self.start)


def kind_of(node: str) -> str:
    """The type of a node, which its name begins with."""
    return node.partition(":")[0]


def place_of(table: str, row: Row) -> Place:
    """Where a row belongs."""
    return _PLACES[table](row)


def sentences_of(table: str, row: Row) -> tuple[str, ...]:
    """What an agent should know of a row; empty where the edge says it all."""
    return _SENTENCES[table](row) if table in _SENTENCES else ()


def _cell_place(row: Row) -> Place:
    source = f"source:{row['source']}"
    if not row["scope"] and not row["endpoint"]:
        return Place(source)
    return Place(source, f"SERVES:{row['endpoint']}", str(row["scope"]) or "everything")


def _dependence_place(row: Row) -> Place:
    pair, dependence = _dependence(row)
    follower, leader = follower_first(pair, dependence)
    relation = "COPIES" if dependence.is_proven else "COMPARED_WITH"
    return Place(f"source:{follower}", relation, f"source:{leader}")


def _tally_place(row: Row) -> Place:
    source, context = f"source:{row['source']}", str(row["context"])
    return Place(source, "HEARD", context) if context else Place(source)


_PLACES: Final[Mapping[str, Callable[[Row], Place]]] = MappingProxyType(
    {
        "cell": _cell_place,
        "fault": lambda row: Place(f"source:{row['source']}", "SHOWS", f"fault:{row['fault']}"),
        "symbol": lambda row: Place(f"symbol:{row['symbol']}"),
        "membership": lambda row: Place(
            f"source:{row['source']}", f"IN:{row['asset_class']}", f"group:{row['upstream_group']}"
        ),
        "symbol_statistics": lambda row: Place(f"symbol:{row['symbol']}"),
        "track_record": lambda row: Place(f"source:{row['source']}", "VERIFIED_ON", f"field:{row['field']}"),
        "confidence": lambda row: Place(f"calibration:{row['bin']}"),
        "interval_miss": lambda row: Place(f"interval:{row['confirming']}"),
        "clock_offset": lambda row: Place(f"source:{row['source']}"),
        "deviation": lambda row: Place(f"source:{row['source']}", f"BIAS_ON:{row['scope']}", f"field:{row['field']}"),
        "dependence": _dependence_place,
        "fault_tally": _tally_place,
        "symbol_fault": lambda row: Place(f"symbol:{row['symbol']}", f"HAD:{row['source']}", f"fault:{row['fault']}"),
    }
)


def _cell_sentences(row: Row) -> tuple[str, ...]:
    try:
        latency = from_json(str(row["latency"]))
    except (ValueError, TypeError):
        latency = from_json("[]")
    known = reliability(Cell(_real(row, "updated_at"), _real(row, "right_count"), _real(row, "wrong_count")))
    what = f" for {row['endpoint']} of {row['scope']}" if row["scope"] else ""
    told = [
        (
            f"{row['source']} was right {known.estimate:.1%} of the time{what}, at least {known.lower_bound:.1%} "
            f"({row['outcomes']} outcomes)."
        )
    ]
    p50, p95 = quantile(latency, 0.5), quantile(latency, 0.95)
    if p50 is not None and p95 is not None:
        told.append(f"Half of its answers came within {p50 * 1000:.0f} ms, 95 % within {p95 * 1000:.0f} ms.")
    if row["last_error"]:
        told.append(f"Last failure: {row['last_error']} at {_when(row, 'last_error_at')}.")
    return tuple(told)


def _symbol_sentences(row: Row) -> tuple[str, ...]:
    currency = f" {row['currency']}" if row["currency"] else ""
    told = [
        (
            f"Last learned price {row['price']:g}{currency} at {_when(row, 'price_at')}; "
            f"recent range {row['low']:g} to {row['high']:g}."
        ),
        f"Seen {row['observations']} times on {row['days']} days.",
    ]
    if row["previous_close"] is not None:
        told.append(f"Official close {row['previous_close']:g}{currency}, as of {_when(row, 'previous_close_at')}.")
    return tuple(told)


def _statistics_sentences(row: Row) -> tuple[str, ...]:
    try:
        body = json.loads(str(row["body"]))
        hours = sorted(int(hour) for hour in body["volatility"])
    except (ValueError, TypeError, KeyError):
        return ()
    return (f"Its volatility is known for {len(hours)} half hours of the day.",) if hours else ()


def _deviation_sentences(row: Row) -> tuple[str, ...]:
    bias, spread = _real(row, "bias"), _real(row, "spread")
    if row["field"] == "volume":
        ratio = math.exp(min(max(bias, -LARGEST_ERROR), LARGEST_ERROR))
        return (f"{row['source']} counts {ratio:.3g} times the volume of the others ({row['samples']} comparisons).",)
    return (
        (
            f"{row['source']} states {row['field']} {bias * 1e4:+.2f} bp from the others, "
            f"give or take {spread * 1e4:.2f} bp ({row['samples']} comparisons)."
        ),
    )


def _dependence_sentences(row: Row) -> tuple[str, ...]:
    pair, known = _dependence(row)
    proof = "proven: they count as one voice" if known.is_proven else "not proven"
    return (
        (
            f"{pair.first} and {pair.second} share {known.share:.0%} of their errors "
            f"(at least {known.lower_bound:.0%}); dependence {proof}."
        ),
    )


def _tally_sentences(row: Row) -> tuple[str, ...]:
    where = f" {context_text(str(row['context']))}" if row["context"] else ""
    return (f"{row['source']} was heard {_real(row, 'trials'):.1f} times{where} (older ones count less).",)


_SENTENCES: Final[Mapping[str, Callable[[Row], tuple[str, ...]]]] = MappingProxyType(
    {
        "cell": _cell_sentences,
        "fault": lambda row: (f"Seen {row['n']} times, last at {_when(row, 'last_at')}.",),
        "symbol": _symbol_sentences,
        "symbol_statistics": _statistics_sentences,
        "membership": lambda row: (f"Last seen at {_when(row, 'seen_at')}.",),
        "track_record": lambda row: (
            (
                f"An authority confirmed {_real(row, 'hits'):.1f} of {_real(row, 'trials'):.1f} statements of "
                f"{row['field']}."
            ),
        ),
        "confidence": lambda row: (
            f"Of {_real(row, 'trials'):.1f} answers believed this much {_real(row, 'hits'):.1f} turned out right.",
        ),
        "interval_miss": lambda row: (
            f"How far the truth lay from prices that {row['confirming']} groups confirmed, in widths of the interval.",
        ),
        "clock_offset": lambda row: (f"Its clock is {_clock(row):+.1f} s ahead of ours ({row['samples']} stamps).",),
        "deviation": _deviation_sentences,
        "dependence": _dependence_sentences,
        "fault_tally": _tally_sentences,
        "symbol_fault": lambda row: (
            (
                f"{row['source']} showed {row['fault']} {row['n']} times, last at {_when(row, 'last_at')} "
                f"(evidence {row['evidence_id']})."
            ),
        ),
    }
)


def _clock(row: Row) -> float:
    return offset_s(ClockOffset(_real(row, "least_s"), int(_real(row, "samples")), _real(row, "seen_at")))


def _dependence(row: Row) -> tuple[Pair, Dependence]:
    figures = [max(0.0, _real(row, name)) for name in ("shared", "apart")]
    pair = Pair(str(row["first_source"]), str(row["second_source"]))
    return pair, Dependence(figures[0], figures[1], _real(row, "lag_s"), _real(row, "updated_at"))


def _real(row: Row, name: str) -> float:
    value: Any = row[name]
    return float(value)


def _when(row: Row, name: str) -> str:
    value: Any = row[name]
    return time_text(value) or "an unknown time"
