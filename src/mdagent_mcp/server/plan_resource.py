"""The resource `mdagent://plans`: the last choices of sources with what each was made from, for debugging."""

from __future__ import annotations

import json
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError

from mdagent_mcp.domain.plans import AskingPlan
from mdagent_mcp.server.lazy_service import LazyService, ServiceUnavailableError
from mdagent_mcp.server.views import instant, rounded, weight_parts_json


def add_plan_resource(server: MCPServer[LazyService], service: LazyService) -> None:
    """Register it."""

    @server.resource("mdagent://plans", title="Last routing plans", mime_type="application/json")
    async def plans() -> str:
        """Which sources were asked for the last questions, which were not, and why; the latest first."""
        try:
            engine = await service.get()
        except ServiceUnavailableError as error:
            raise ResourceError(str(error)) from error
        return json.dumps({"plans": [plan_json(plan) for plan in engine.plans()]}, separators=(",", ":"))


def plan_json(plan: AskingPlan) -> dict[str, Any]:
    """One choice, in plain values."""
    return {
        "at": instant(plan.at),
        "symbol": plan.symbol,
        "endpoint": plan.endpoint.value,
        "wanted": None if plan.wanted is None else plan.wanted.value,
        "live": plan.live,
        "needs": {"voices": plan.voices, "fresh": plan.needs_fresh, "complete": plan.needs_complete},
        "asked": list(plan.asked),
        "spares": list(plan.spares),
        "reserved": list(plan.reserved),
        "chance": rounded(plan.chance, 4),
        "expected_cost": rounded(plan.expected_cost, 4),
        "candidates": [weight_parts_json(parts) for parts in plan.candidates],
    }
