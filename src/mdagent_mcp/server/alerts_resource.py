"""`mdagent://alerts`: what should not be so now, and what was until lately; subscribers hear when that changes."""

from __future__ import annotations

import json
from typing import Any, Final

from mcp.server import MCPServer

from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.monitoring.alerting import Alert
from mdagent_mcp.server.lazy_service import LazyService
from mdagent_mcp.server.notices import ResourceNotices
from mdagent_mcp.server.views import instant

ALERTS_URI: Final = "mdagent://alerts"


def add_alerts(server: MCPServer[LazyService], alerts: Alerts, notices: ResourceNotices) -> None:
    """Register the resource and have its subscribers told of changes."""

    @server.resource(ALERTS_URI, title="Alerts", mime_type="application/json")
    async def shown() -> str:
        """Sources down, quotas nearly spent, grades falling, sources disagreeing, memory trouble; and what is over."""
        return json.dumps(alerts_json(alerts), separators=(",", ":"))

    async def publish() -> None:
        await notices.publish(ALERTS_URI)

    alerts.on_change(publish)


def alerts_json(alerts: Alerts) -> dict[str, Any]:
    """As of the last look, latest beginning last; `resolved` with the latest end first."""
    state = alerts.state
    return {
        "firing": [_alert(alert) for alert in state.firing],
        "resolved": [_alert(alert) | {"resolved_at": instant(alert.resolved_at)} for alert in state.resolved],
    }


def _alert(alert: Alert) -> dict[str, Any]:
    condition = alert.condition
    return {
        "rule": condition.key.rule,
        "subject": condition.key.subject or None,
        "severity": condition.severity.value,
        "text": condition.text,
        "since": instant(alert.since),
    }
