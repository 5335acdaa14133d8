"""Another valid value for every setting, and settings files made of them.

The rule of this module: names come from the settings themselves. A setting without another value here is an error, so
that a new one is edited under load at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mdagent_mcp.config.display import effective_settings
from mdagent_mcp.config.loading import load
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.config.taking_effect import is_read_at_start
from mdagent_mcp.server.http.tokens import token_hash
from mdagent_mcp.vendors.registry import VENDORS

CLOSED: Final = "127.0.0.1:9"
"""Nothing listens there."""
AMPLE: Final = ({"limit": 1_000_000, "window_s": 1.0},)
TOKEN: Final = "mdagent_the-token-of-the-client"  # noqa: S105 - invented, of a server on loopback
MARK: Final = "sources.iex_cloud.upstream_group"
"""Of a source that is never asked, and shown by `source_status`: it tells which file is in effect."""

SOURCE_EDITS: Final[Mapping[str, Mapping[str, Any]]] = {
    "enabled": {"yahoo": False, "finnhub": False},
    "api_key": {"finnhub": "another-key", "tiingo": "another-key"},
    "base_url": {"yahoo": f"http://{CLOSED}/yahoo", "cboe": f"http://{CLOSED}/cboe"},
    "base_urls": {"yahoo": [f"http://{CLOSED}/a"], "nasdaq": [f"http://{CLOSED}/a", f"http://{CLOSED}/b"]},
    "timeout_s": {"yahoo": 3.25, "finnhub": 2.75},
    "plan": {"twelve_data": "grow", "polygon": "starter"},
    "entitlement": {"alpha_vantage": "realtime"},
    "quotas": {"yahoo": [{"limit": 1, "window_s": 3600}], "finnhub": [{"limit": 7, "window_s": 60}]},
    "cost_per_call": {"yahoo": 0.4375, "finnhub": 0},
    "upstream_group": {"yahoo": "another feed", "cboe": "a third feed"},
    "concurrency": {"yahoo": 1, "nasdaq": 3},
    "store_history": {"yahoo": False, "nasdaq": False},
}
"""By kind and source; a kind that only one source has stands with that one."""

EDITS: Final[Mapping[str, Any]] = {
    "engine.deadline_s": 7.5,
    "engine.source_timeout_s": 1.25,
    "engine.patience_s": 0.35,
    "engine.hedge_after_s": 0.65,
    "engine.first_wave": 2,
    "engine.hedging": False,
    "engine.questions_at_once": 77,
    "engine.gather_s": 0.0,
    "cache.open_market_s": 0,
    "cache.closed_market_s": 12.5,
    "cache.history_s": 0,
    "cache.entries": 17,
    "cache.history_completed_days": 0,
    "cache.history_bars": 1_003,
    "cache.history_store": False,
    "cache.history_store_mb": 3.5,
    "cache.history_store_days": 3.5,
    "memory.enabled": False,
    "memory.quotes_kept": 777,
    "memory.histories_kept": 77,
    "memory.days_kept": 3.5,
    "shared.url": f"redis://{CLOSED}/0",
    "shared.timeout_s": 0.035,
    "shared.memory_url": f"postgresql://someone@{CLOSED}/memory",
    "metrics.file": "metrics/other.prom",
    "metrics.push_url": f"http://{CLOSED}",
    "metrics.interval_s": 7.5,
    "alerts.channels": [f"json://{CLOSED}/alerts"],
    "alerts.watch": ["AAPL"],
    "alerts.interval_s": 7.5,
    "alerts.remind_after_s": 777,
    "alerts.quiet_hours": "21:00-06:30",
    "alerts.timezone": "Asia/Tokyo",
    "alerts.quota_share": 0.77,
    "alerts.source_down_s": 77,
    "tracing.otlp_url": f"http://{CLOSED}",
    "grading.real_time_s": 1.5,
    "grading.low_delay_s": 6.5,
    "grading.acceptable_delay_s": 33,
    "grading.stale_s": 1300,
    "grading.vote_age_s": 77,
    "grading.corroboration_age_s": 25,
    "grading.explained_lag_s": 35,
    "grading.future_tolerance_s": 6,
    "grading.close_slack_s": 6,
    "grading.settle_s": 1300,
    "grading.opening_s": 77,
    "grading.known_observations": 77,
    "grading.unit_closeness": 0.125,
    "grading.large_move": 0.25,
    "grading.previous_close_gap": 0.035,
    "grading.same_price": 0.0011,
    "grading.conflicting_price": 0.0026,
    "grading.outside_book": 0.011,
    "grading.outside_range": 0.0021,
    "http.host": "127.0.0.2",
    "http.port": 8001,
    "http.tokens": {"alice": token_hash(TOKEN), "bob": token_hash("mdagent_another")},
    "http.allowed_hosts": ["127.0.0.1", "data.example.org"],
    "http.allowed_origins": ["https://app.example.org"],
    "http.trusted_proxies": ["10.0.0.0/24"],
    "http.stateless": True,
    "http.json_response": True,
    "http.requests_per_s": 90_000,
    "http.burst": 90_001,
    "http.max_body_bytes": 2_000_000,
    "http.max_json_depth": 33,
    "http.max_header_bytes": 17_000,
    "http.receive_s": 14,
    "http.keep_alive_s": 74,
    "http.max_connections": 1_999,
    "http.max_sessions": 9_999,
    "http.session_idle_s": 1_700,
    "http.drain_notice_s": 1,
    "http.drain_s": 14,
    "data_dir": "other-data",
    "log_level": "error",
}
"""By dotted name, but for those of sources."""

TOGETHER: Final[Mapping[str, Mapping[str, Any]]] = {
    "shared.timeout_s": {"shared.url": f"redis://{CLOSED}/0"},
    "sources.alpha_vantage.entitlement": {"sources.alpha_vantage.plan": "premium_75"},
}
"""What has to be set for another setting to mean anything."""
PATHS: Final = frozenset({"data_dir", "metrics.file"})


@dataclass(frozen=True)
class Edit:
    """One setting changed.

    Attributes:
        name: dotted.
        value: as TOML has it.
        is_read_at_start: whether it takes effect at the next start only.
        values: the whole file, flat.
    """

    name: str
    value: Any
    is_read_at_start: bool
    values: Mapping[str, Any] = field(repr=False)


def base_values(home: Path) -> dict[str, Any]:
    """The settings between which edits are made: no quota stands in the way of many calls, and all is switched on."""
    ample = {f"sources.{vendor.id}.quotas": AMPLE for vendor in VENDORS if vendor.key is None}
    return {
        **ample,
        "data_dir": str(home / "data"),
        "cache.history_store": True,
        "metrics.file": str(home / "metrics" / "mdagent.prom"),
        "alerts.quiet_hours": "22:00-07:00",
        "http.port": 0,
        "http.tokens": {"alice": token_hash(TOKEN)},
        "http.requests_per_s": 100_000,
        "http.burst": 100_000,
    }


def edits(home: Path) -> tuple[Edit, ...]:
    """One of every setting in the order of `config show`; of a source's settings one for each that the table names.

    Args:
        home: where the files lie that settings name.

    Raises:
        LookupError: for a setting of which no other value is known, and for a value of none.
    """
    values = {**EDITS, **{f"sources.{s}.{k}": v for k, by in SOURCE_EDITS.items() for s, v in by.items()}}
    names = [setting.name for setting in effective_settings(load({}))]
    kinds = {name if not name.startswith("sources.") else f"sources.*.{name.rpartition('.')[2]}" for name in names}
    known = {*EDITS, *(f"sources.*.{kind}" for kind in SOURCE_EDITS)}
    if kinds != known or not set(values) <= set(names):
        raise LookupError(f"settings and their other values differ: {sorted(kinds ^ known)}")
    base, at_start = base_values(home), _read_at_start()
    return tuple(
        Edit(name, value, name in at_start, {**base, **TOGETHER.get(name, {}), name: value})
        for name in names
        if name in values
        for value in (str(home / values[name]) if name in PATHS else values[name],)
    )


def text_of(values: Mapping[str, Any], mark: str) -> str:
    """A settings file.

    Args:
        values: by dotted name.
        mark: shown by `source_status` once the file is in effect.
    """
    return "".join(f"{name} = {_toml(value)}\n" for name, value in {**values, MARK: mark}.items())


def _read_at_start() -> frozenset[str]:
    return frozenset(_marked())


def _marked() -> Iterator[str]:
    for section, info in Settings.model_fields.items():
        fields = getattr(info.annotation, "model_fields", {})
        yield from (f"{section}.{name}" for name, inner in fields.items() if is_read_at_start(inner))


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{json.dumps(name)} = {_toml(inner)}' for name, inner in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
