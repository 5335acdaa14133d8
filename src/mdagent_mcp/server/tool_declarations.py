"""What the four tools say about themselves: names, descriptions, argument schemas, annotations.

The rule of this module: every word is paid for by every agent in every conversation; the sum of `tools/list` stays
below 10,000 bytes. The schemas tell; what is wrong is refused by `arguments`, which words it better than a schema can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from mcp_types import ToolAnnotations
from pydantic import BaseModel

from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.server.arguments import DEFAULT_BARS, MAX_BARS, MAX_SYMBOLS
from mdagent_mcp.server.output_models import ExplanationOutput, HistoryOutput, QuotesOutput, StatusOutput
from mdagent_mcp.server.periods import PERIODS

Schema = Mapping[str, Any]

READ_ONLY: Final = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
"""True of all four tools."""


@dataclass(frozen=True, slots=True)
class ToolDeclaration:
    """A tool as clients see it.

    Attributes:
        name: as it is called.
        title: for people.
        description: for the model.
        properties: its arguments' schemas by name.
        required: the arguments that must be there.
        output: what it returns.
    """

    name: str
    title: str
    description: str
    properties: Mapping[str, Schema]
    required: tuple[str, ...]
    output: type[BaseModel]

    @property
    def input_schema(self) -> dict[str, Any]:
        """The JSON schema of all arguments."""
        schema: dict[str, Any] = {"type": "object", "properties": dict(self.properties)}
        if self.required:
            schema["required"] = list(self.required)
        return {**schema, "additionalProperties": False}


def _texts(description: str, **more: Any) -> Schema:
    return {"type": "array", "items": {"type": "string"}, **more, "description": description}


def _choice(description: str, *words: str, default: str | None = None) -> Schema:
    schema: dict[str, Any] = {"type": "string", "enum": list(words)}
    if default is not None:
        schema["default"] = default
    return {**schema, "description": description}


_SYMBOL: Final[Schema] = {"type": "string", "description": "As in get_quote"}

GET_QUOTE: Final = ToolDeclaration(
    "get_quote",
    "Get current prices",
    "Current prices, reconciled from several vendors and graded A-F. A: real-time, cross-checked; B: < 5 s old, "
    "checked; C: < 30 s, give the age; D: give the defect; F: do not state the number as fact. Says per symbol what "
    "failed and why: do not estimate then, nor reuse an older number.",
    MappingProxyType(
        {
            "symbols": {
                "anyOf": [
                    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_SYMBOLS},
                    {"type": "string"},
                ],
                "description": "AAPL, BRK.B, VOD.L (exchange suffix), ^GSPC (index), BTC-USD, EURUSD; "
                "list or comma-separated",
            },
            "min_grade": _choice("Ask more sources, cheapest first, until reached", *"ABCD"),
            "max_age_s": {"type": "number", "minimum": 0, "description": "Oldest cached answer to take, seconds"},
            "sources": _texts("Ask only these; ids: source_status"),
            "detail": _choice("full: every source's observation too", "brief", "full", default="brief"),
        }
    ),
    ("symbols",),
    QuotesOutput,
)

GET_HISTORY: Final = ToolDeclaration(
    "get_history",
    "Get price history",
    "Past bars of one symbol, checked for gaps, splits and bad ticks, repaired where the evidence is clear, graded A-F "
    "as in get_quote. Give period, or start and end.",
    MappingProxyType(
        {
            "symbol": _SYMBOL,
            "interval": _choice("Bar length", *Interval, default=Interval.DAY_1),
            "period": _choice("1d and 5d count trading sessions", *PERIODS),
            "start": {"type": "string", "format": "date", "description": "First trading date, exchange's zone"},
            "end": {"type": "string", "format": "date", "description": "Last one, included; default today"},
            "adjustment": _choice("all: splits and dividends", *Adjustment, default=Adjustment.SPLITS),
            "extended_hours": {"type": "boolean", "default": False, "description": "Pre- and post-market bars too"},
            "max_bars": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_BARS,
                "default": DEFAULT_BARS,
                "description": "Newest bars shown; the rest is at resource_uri",
            },
            "min_grade": _choice("As in get_quote", *"ABCD"),
            "sources": _texts("As in get_quote"),
            "detail": _choice("full: all shown bars in the text too", "brief", "full", default="brief"),
        }
    ),
    ("symbol",),
    HistoryOutput,
)

SOURCE_STATUS: Final = ToolDeclaration(
    "source_status",
    "Get source status",
    "Health of the data vendors: circuit breakers, quotas, learned reliability, latency, routing weight. Call it when "
    "answers fail or grades are low.",
    MappingProxyType({"source": {"type": "string", "description": "One source's id; default all"}}),
    (),
    StatusOutput,
)

EXPLAIN_QUALITY: Final = ToolDeclaration(
    "explain_quality",
    "Explain a grade",
    "Why an earlier answer has its grade: what limits it, what would raise it, each source's evidence, dissent, checks "
    "passed, failed and not run, and which uses it supports. Asks no vendor.",
    MappingProxyType(
        {
            "symbol": {"type": "string", "description": "Its latest answer; or give evidence_id"},
            "evidence_id": {"type": "string", "description": "Of any earlier answer"},
            "kind": _choice("With symbol", "quote", "history", default="quote"),
        }
    ),
    (),
    ExplanationOutput,
)

DECLARATIONS: Final = (GET_QUOTE, GET_HISTORY, SOURCE_STATUS, EXPLAIN_QUALITY)
"""All tools in listing order."""
