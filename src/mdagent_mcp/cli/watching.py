"""What watches over a server that runs: its settings, its alerts, its metrics.

The rule of this module: it is made before anything heavy is loaded, and holds for every engine that the server opens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from mdagent_mcp.config.loading import Loaded
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.monitoring.alerting import AlertKey, Condition, Severity
from mdagent_mcp.monitoring.metrics import Metrics

REJECTION_TOLD_FOR: Final = timedelta(days=1)
_REJECTED: Final = AlertKey("settings_rejected", "")
_LOG: Final = "mdagent_mcp"


@dataclass(frozen=True, slots=True)
class Watching:
    """Over one server.

    Attributes:
        loaded: the settings to begin with.
        load: reads them anew; raises `ConfigurationError`.
        alerts: of the server.
        metrics: where to count; None for nowhere.
        followers: told the settings that took effect, beside the engine.
    """

    loaded: Loaded
    load: Callable[[], Loaded]
    alerts: Alerts
    metrics: Metrics | None = None
    followers: list[Callable[[Settings], None]] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """To begin with."""
        return self.loaded.settings

    def applied(self, settings: Settings, trouble: str) -> None:
        """Told the settings that took effect, or why new ones did not."""
        logging.getLogger(_LOG).setLevel(settings.log_level.upper())
        if trouble:
            text = f"New settings are not in effect: {trouble}"
            condition = Condition(_REJECTED, Severity.WARNING, text, timedelta(0))
            self.alerts.report(condition, REJECTION_TOLD_FOR)
        else:
            self.alerts.withdraw(_REJECTED)
            for follow in self.followers:
                follow(settings)
