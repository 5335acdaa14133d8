"""Resources: the sources' state, the rubric, and the full series behind an answer.

The rule of this module: a resource repeats what a tool or the rubric says; it never asks a vendor.
"""

from __future__ import annotations

import json
from typing import Final

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from mdagent_mcp.domain.answers import HistoryAnswer
from mdagent_mcp.domain.instruments import echo
from mdagent_mcp.domain.quality import GRADE_FLOORS, Dimension, Grade
from mdagent_mcp.server.lazy_service import LazyService, ServiceUnavailableError
from mdagent_mcp.server.text import bars_csv
from mdagent_mcp.server.views import bar_row, status_json

_MEANINGS: Final = {
    Grade.A: "premium: real-time and confirmed by an independent source",
    Grade.B: "high: less than 5 s behind, and checked",
    Grade.C: "acceptable: less than 30 s behind, basic checks passed; give its age",
    Grade.D: "low: more than 30 s behind, or a check failed; give it only with that defect",
    Grade.F: "unreliable: stale, wrong or badly incomplete; do not state it as fact",
}
_DIMENSIONS: Final = {
    Dimension.TIMELINESS: "how far the price lags behind the market, by the vendor's own time stamp; while a market "
    "is closed its last official close is timely",
    Dimension.CORROBORATION: "how many independent upstreams agree within the tolerance",
    Dimension.VALIDITY: "hard and soft checks on the values themselves",
    Dimension.PLAUSIBILITY: "whether the value fits the previous close and the symbol's learned behaviour",
    Dimension.COMPLETENESS: "which of the fields, or of the expected bars, are there",
    Dimension.CONSISTENCY: "whether the sources speak of the same session, basis and unit",
}


def rubric_text() -> str:
    """The grades and what they are made of, as Markdown."""
    bounds = dict(zip((g for _, g in GRADE_FLOORS), (100.0, *(floor for floor, _ in GRADE_FLOORS)), strict=False))
    grades = [
        f"- **{grade}** ({floor:g} to {'' if grade is Grade.A else 'below '}{bounds[grade]:g}): {_MEANINGS[grade]}"
        for floor, grade in GRADE_FLOORS
    ]
    dimensions = [f"- **{dimension}**: {text}" for dimension, text in _DIMENSIONS.items()]
    return "\n".join(
        [
            "# Grades",
            "",
            *grades,
            "",
            "The weakest dimension decides the letter; strong ones never make up for it.",
            "A check that could not run counts as not run, never as passed.",
            "",
            "# Dimensions",
            "",
            *dimensions,
            "",
        ]
    )


def add_resources(server: MCPServer[LazyService], service: LazyService) -> None:
    """Register every resource."""

    @server.resource("mdagent://rubric", title="Grading rubric", mime_type="text/markdown")
    async def rubric() -> str:
        """What the grades A to F mean and how they are made."""
        return rubric_text()

    @server.resource("mdagent://sources", title="Data sources", mime_type="application/json")
    async def sources() -> str:
        """What every data source is doing now, as source_status tells it."""
        try:
            engine = await service.get()
        except ServiceUnavailableError as error:
            raise ResourceError(str(error)) from error
        return json.dumps(status_json(*await engine.source_status()), separators=(",", ":"))

    @server.resource("mdagent://history/{evidence_id}", title="Full price series", mime_type="text/csv")
    async def history(evidence_id: str) -> str:
        """Every bar behind an answer of get_history, oldest first."""
        try:
            engine = await service.get()
        except ServiceUnavailableError as error:
            raise ResourceError(str(error)) from error
        answer = await engine.explain_evidence(evidence_id)
        if not isinstance(answer, HistoryAnswer):
            raise ResourceNotFoundError(
                f"No series is kept under '{echo(evidence_id)}'; use the evidence_id of an answer of get_history."
            )
        return bars_csv(bar_row(bar, answer.interval) for bar in answer.bars)
