"""What the tools promise to return: the published output schemas and the check that each answer keeps them.

The rule of this module: descriptions are read by agents and cost their context, so they say only what a name does
not: units, time zones, meanings. The schemas come out flat, without `$ref`, because some hosts cannot follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, WithJsonSchema

GradeLetter = Literal["A", "B", "C", "D", "F"]
Number = FiniteFloat | None
Text = str | None
_OBJECT: Final = WithJsonSchema({"type": "object"})
Loose = Annotated[dict[str, Any], _OBJECT]
"""An object whose keys are data, or whose inside is not promised."""
Rows = Annotated[list[dict[str, Any]], WithJsonSchema({"type": "array"})]
"""Objects whose inside the schema leaves unsaid, to stay short."""
Words = Annotated[list[str], WithJsonSchema({"type": "array", "items": {"type": "string"}})]
BarRow = tuple[str, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, Number]


def _promising(*names: str) -> ConfigDict:
    """Nothing undeclared is returned; of the required fields the schema names only these, to stay short."""
    return ConfigDict(extra="forbid", json_schema_extra={"required": list(names)})


class _Output(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FailureOutput(_Output):
    """Why one symbol has no answer."""

    model_config = _promising("symbol", "code", "message", "hint")

    symbol: str
    code: str
    message: str
    hint: str
    sources: Loose = Field(description="source -> code")
    retry_after_s: FiniteFloat | None = None


Failures = Annotated[list[FailureOutput], WithJsonSchema({"type": "array"})]
"""As in get_quote, where the schema spells them out."""


class UsageOutput(_Output):
    """What an answer cost."""

    vendor_calls: int
    cache_hits: int
    elapsed_ms: FiniteFloat


class QuoteOutput(_Output):
    """One symbol's consensus."""

    model_config = _promising("symbol", "price", "grade", "summary")

    symbol: str
    price: FiniteFloat = Field(description="one source's own value, in currency")
    currency: Text
    price_low: FiniteFloat = Field(description="interval the consensus is sure of")
    price_high: FiniteFloat
    change: Number
    change_percent: Number
    open: Number
    high: Number
    low: Number
    previous_close: Number
    volume: Number
    bid: Number
    ask: Number
    session: Literal["pre", "regular", "post", "closed"] = Field(description="closed: last official close")
    price_time: Text = Field(description="when it was true, UTC")
    delay_s: Number
    grade: GradeLetter
    score: FiniteFloat
    summary: str
    sources_used: Words
    sources_rejected: Words
    cached: bool
    evidence_id: str
    observations: Rows = Field(default=[], description="detail=full")


class QuotesOutput(_Output):
    """The structured content of get_quote."""

    quotes: list[QuoteOutput]
    failures: list[FailureOutput]
    usage: Annotated[UsageOutput, _OBJECT] = Field(description="vendor_calls, cache_hits, elapsed_ms")


class CoverageOutput(_Output):
    """How complete a series is."""

    expected: int | None
    present: int
    missing: Words


class SummaryStatsOutput(_Output):
    """A series in six figures."""

    first: Number
    last: Number
    change_percent: Number
    high: Number
    low: Number
    average_volume: Number


class HistoryOutput(_Output):
    """The structured content of get_history; a failure has only the required fields and `failures`."""

    symbol: str
    interval: str = ""
    currency: Text = ""
    timezone: str = ""
    adjustment: str = ""
    columns: Words
    bars: Annotated[list[BarRow], WithJsonSchema({"type": "array", "items": {"type": "array"}})] = Field(
        description="oldest first; time: the bar's start, UTC, a date from 1d up"
    )
    coverage: Annotated[CoverageOutput | None, _OBJECT] = Field(None, description="expected, present, missing")
    summary_stats: Annotated[SummaryStatsOutput | None, _OBJECT] = Field(
        None, description="whole series: first, last (closes), change_percent, high, low, average_volume"
    )
    issues: Rows = []
    repairs: Rows = []
    partial_last_bar: bool = False
    truncated: bool = Field(default=False, description="older bars: resource_uri")
    resource_uri: str = Field("", description="whole series, CSV")
    grade: GradeLetter | None = None
    score: Number = None
    summary: str
    sources_used: Words = []
    sources_rejected: Words = []
    evidence_id: str = ""
    observations: Rows = []
    unrepaired: Annotated[list[BarRow], WithJsonSchema({"type": "array"})] = Field(
        [], description="full: the repaired bars as stated"
    )
    failures: Failures = []
    usage: Annotated[UsageOutput | None, _OBJECT] = None


class SourceOutput(_Output):
    """What one source is doing."""

    model_config = _promising("source", "state")

    source: str
    title: str
    state: str
    since: str
    reason: str
    next_retry_at: Text
    capabilities: Words
    circuit: Loose = Field(description="level -> state")
    reliability: Loose | None = Field(description="learned: estimate, lower_bound, observations")
    latency_ms: Loose
    clock_offset_s: Number
    budget: Rows = Field(description="window, limit, used, resets_at")
    cost_per_call: FiniteFloat
    weight: FiniteFloat = Field(description="request share")
    weight_parts: Loose
    upstream_group: str = Field(description="one group is one voice")
    last_success_at: Text
    last_error: Text
    successors: Words
    learned: Words


class StatusOutput(_Output):
    """The structured content of source_status."""

    sources: list[SourceOutput]
    overall: Loose | None = Field(None, description="availability_24h, cache_hit_rate, memory, settings")
    failures: Failures = []


class LimitOutput(_Output):
    """The dimension that decides a grade."""

    dimension: str
    score: FiniteFloat
    because: str
    raises_to: str


class ChecksOutput(_Output):
    """What became of every check."""

    passed: Rows
    failed: Rows
    not_run: Rows


class ExplanationOutput(_Output):
    """The structured content of explain_quality; a failure has only the headline and `failures`."""

    symbol: str = ""
    evidence_id: str = ""
    grade: GradeLetter | None = None
    score: Number = None
    headline: str
    limited_by: Annotated[LimitOutput | None, _OBJECT] = Field(None, description="dimension, score, because, raises_to")
    dimensions: Loose | None = Field(None, description="dimension -> 0 to 100")
    evidence: Rows = Field(default=[], description="every source that answered")
    dissent: Words = []
    unanswered: Loose | None = Field(None, description="source -> why it did not answer")
    checks: Annotated[ChecksOutput | None, _OBJECT] = Field(None, description="passed, failed, not_run")
    learned: Loose | None = None
    use: Loose | None = Field(None, description="display, analysis, order_decision")
    market: Loose | None = None
    failures: Failures = []


def published_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema without `$ref`, titles and docstrings; what may be null has a list of two types."""
    raw = model.model_json_schema()
    definitions = raw.get("$defs", {})
    return {key: value for key, value in _flat(raw, definitions).items() if key != "description"}


_DROPPED: Final = frozenset({"$defs", "$ref", "anyOf", "title", "default", "additionalProperties"})


def _flat(node: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """One schema with what it refers to put in its place."""
    if "$ref" in node:
        node = _without_description(definitions[node["$ref"].rpartition("/")[2]]) | node
    if "anyOf" in node:
        node = _nullable(node, definitions) | node
    flat = {key: value for key, value in node.items() if key not in _DROPPED and value != []}
    if "properties" in flat:
        flat["properties"] = {name: _flat(schema, definitions) for name, schema in flat["properties"].items()}
    if "items" in flat:
        flat["items"] = _flat(flat["items"], definitions)
    return flat


def _nullable(node: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """`anyOf` of one type and null: null is said only of fields that are always there; others are left out."""
    (inner,) = (_flat(option, definitions) for option in node["anyOf"] if option != {"type": "null"})
    inner = _without_description(inner)
    left_out = "default" in node and node["default"] is None
    return inner if left_out else inner | {"type": [inner["type"], "null"]}


def _without_description(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "description"}
