"""Write `deploy/grafana/dashboard.json`, a dashboard over the metrics. A test compares the file with this list.

python tools/generate_dashboard.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboard.json"
_WIDTH: Final = 24
_HEIGHT: Final = 8


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: over it.
        queries: legend -> PromQL.
        unit: of Grafana, such as `s`, `percentunit`, `short`.
        width: columns of 24.
        kind: of Grafana.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    width: int = 12
    kind: str = "timeseries"


PANELS: Final = (
    Panel(
        "Answered, last hour",
        {
            "answered": '1 - (sum(rate(mdagent_answers_total{grade="none"}[1h])) or vector(0))'
            " / sum(rate(mdagent_answers_total[1h]))"
        },
        "percentunit",
        6,
        "stat",
    ),
    Panel(
        "Graded A or B, last hour",
        {
            "A or B": 'sum(rate(mdagent_answers_total{grade=~"A|B"}[1h]))'
            ' / sum(rate(mdagent_answers_total{grade!="none"}[1h]))'
        },
        "percentunit",
        6,
        "stat",
    ),
    Panel(
        "From the cache, last hour",
        {
            "cached": '(sum(rate(mdagent_answers_total{cached="true"}[1h])) or vector(0))'
            " / sum(rate(mdagent_answers_total[1h]))"
        },
        "percentunit",
        6,
        "stat",
    ),
    Panel(
        "Sources that can be asked",
        {"sources": 'sum(mdagent_source_state{state=~"live|degraded"})'},
        "short",
        6,
        "stat",
    ),
    Panel("Answers by grade", {"{{grade}}": "sum by (grade) (rate(mdagent_answers_total[5m]))"}, "ops"),
    Panel(
        "Time to answer",
        {
            "p50 cached={{cached}}": "histogram_quantile(0.5, sum by (le, cached)"
            " (rate(mdagent_answer_duration_seconds_bucket[5m])))",
            "p99 cached={{cached}}": "histogram_quantile(0.99, sum by (le, cached)"
            " (rate(mdagent_answer_duration_seconds_bucket[5m])))",
        },
        "s",
    ),
    Panel(
        "Calls to vendors by outcome",
        {"{{source}} {{outcome}}": "sum by (source, outcome) (rate(mdagent_source_requests_total[5m]))"},
        "reqps",
    ),
    Panel(
        "Vendors' latency, p95",
        {
            "{{source}}": "histogram_quantile(0.95, sum by (le, source)"
            " (rate(mdagent_source_request_duration_seconds_bucket[5m])))"
        },
        "s",
    ),
    Panel(
        "Quota spent",
        {"{{source}} {{window}}": "max by (source, window) (mdagent_source_quota_used / mdagent_source_quota_limit)"},
        "percentunit",
    ),
    Panel(
        "State of the sources",
        {"{{source}} {{state}}": "max by (source, state) (mdagent_source_state) == 1"},
        "short",
    ),
    Panel(
        "Circuits that are not closed",
        {"{{source}} {{level}}": "sum by (source, level) (mdagent_source_circuits_not_closed)"},
    ),
    Panel(
        "Contradicted by the consensus",
        {
            "{{source}}": 'sum by (source) (rate(mdagent_source_verdicts_total{verdict="contradicted"}[15m]))'
            ' / sum by (source) (rate(mdagent_source_verdicts_total{verdict=~"agreed|contradicted"}[15m]))'
        },
        "percentunit",
    ),
    Panel("Learned reliability", {"{{source}}": "max by (source) (mdagent_source_reliability_ratio)"}, "percentunit"),
    Panel("Routing weight", {"{{source}}": "max by (source) (mdagent_source_routing_weight_ratio)"}, "percentunit"),
    Panel("Hedges", {"{{outcome}}": "sum by (outcome) (rate(mdagent_hedges_total[5m]))"}, "ops"),
    Panel(
        "Event loop lag, p99",
        {"lag": "histogram_quantile(0.99, sum by (le) (rate(mdagent_event_loop_lag_seconds_bucket[5m])))"},
        "s",
    ),
    Panel("Resident memory", {"{{instance}}": 'process_resident_memory_bytes{job="mdagent_mcp"}'}, "bytes"),
    Panel("Outcomes learned from", {"outcomes": "sum(mdagent_memory_observations)"}),
)


def dashboard() -> dict[str, Any]:
    """As Grafana imports it; the data source is chosen at import."""
    panels = []
    x = y = 0
    for number, panel in enumerate(PANELS, start=1):
        if x + panel.width > _WIDTH:
            x, y = 0, y + _HEIGHT
        panels.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": _HEIGHT}))
        x += panel.width
    return {
        "title": "mdagent-mcp",
        "uid": "mdagent-mcp",
        "tags": ["mdagent-mcp"],
        "schemaVersion": 39,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def text() -> str:
    """As it stands in the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "gridPos": place,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": source, "expr": query, "legendFormat": legend}
            for i, (legend, query) in enumerate(panel.queries.items())
        ],
    }


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text(), encoding="utf-8")
    print(f"{TARGET.name}: {len(PANELS)} panels")
