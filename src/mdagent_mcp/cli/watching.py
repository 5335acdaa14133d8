"""What watches over a server that runs: its settings, its alerts, its metrics.

The rule of this module: it is made before anything heavy is loaded, and holds for every engine that the server opens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from mdagent_mcp.config.changes import changed, in_force
from mdagent_mcp.config.loading import Loaded
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.monitoring.alerting import AlertKey, Condition, Severity
from mdagent_mcp.monitoring.metrics import Metrics

REJECTION_TOLD_FOR: Final = timedelta(days=1)
NAMES_TOLD: Final = 8
"""Settings that are not in effect of which the names are told."""
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
        over_http: whether `[http]` means anything to this server.
    """

    loaded: Loaded
    load: Callable[[], Loaded]
    alerts: Alerts
    metrics: Metrics | None = None
    followers: list[Callable[[Settings], None]] = field(default_factory=list)
    over_http: bool = False

    @property
    def settings(self) -> Settings:
        """To begin with."""
        return self.loaded.settings

    def not_taken_over(self, wanted: Settings, is_replaced: Callable[[str], bool]) -> str:
        """What was changed since the server began and is not in effect; empty when everything is.

        Args:
            wanted: the settings as they stand.
            is_replaced: whether a simulated market stands in for a setting.
        """
        waiting = set(changed(in_force(self.settings, wanted), wanted))
        reasons: dict[str, list[str]] = {}
        for name in changed(self.settings, wanted):
            if name.startswith("http.") and not self.over_http:
                reasons.setdefault("used by serve --http alone", []).append(name)
            elif name in waiting:
                reasons.setdefault("read at the next start", []).append(name)
            elif is_replaced(name):
                reasons.setdefault("not used with --sandbox", []).append(name)
        return "; ".join(f"{reason}: {_listed(names)}" for reason, names in reasons.items())

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


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMES_TOLD
    return ", ".join([*names[:NAMES_TOLD], *([f"and {more} more"] if more > 0 else [])])
