"""What the engine says about its sources and itself, for `source_status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from urllib.parse import urlsplit


class SourceState(StrEnum):
    """What a source is doing."""

    LIVE = "live"
    DEGRADED = "degraded"
    OPEN = "open"
    """Its circuit is open: it is being rested."""
    THROTTLED = "throttled"
    EXHAUSTED = "exhausted"
    NO_KEY = "no_key"
    DISABLED = "disabled"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Retirement:
    """A service that exists no more.

    Attributes:
        since: its last day.
        reason: what happened.
        successors: source ids that take its place.
        hosts: domains that went with it; whoever still has one of their addresses in the settings has no server.
    """

    since: date
    reason: str
    successors: tuple[str, ...]
    hosts: tuple[str, ...] = ()

    def took(self, url: str) -> bool:
        """Whether an address is on a host that went with the service."""
        try:
            host = (urlsplit(url).hostname or "").rstrip(".")
        except ValueError:
            return False
        return any(host == gone or host.endswith(f".{gone}") for gone in self.hosts)

    @property
    def told(self) -> str:
        """What happened and what takes its place, for whoever asks for it by name."""
        return f"{self.reason}; instead: {', '.join(self.successors)}"


@dataclass(frozen=True, slots=True)
class BudgetView:
    """How much of a quota is spent.

    Attributes:
        window: its name, such as `minute`.
        limit: calls per window.
        used: calls in the window now.
        resets_at: when a call becomes free again; None when none is used.
    """

    window: str
    limit: int
    used: int
    resets_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often a source was right.

    Attributes:
        estimate: 0 to 1.
        lower_bound: 10 % quantile of the estimate's posterior.
        observations: effective number of outcomes behind it.
    """

    estimate: float
    lower_bound: float
    observations: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightParts:
    """What routing expects of one source, the parts its weight is made from.

    Attributes:
        source: source id.
        upstream_group: whose data it passes on.
        chance_right: chance that it answers and is not contradicted, learned where enough was seen.
        current: chance that its price is fresh enough to have a say about a market that trades.
        fresh: chance that it is as fresh as the wanted grade needs.
        complete: chance that it states all that a complete answer has.
        latency_s: how long its calls usually take.
        cost_per_call: as configured; 0 is free, 1 a scarce call.
        scarcity: shadow price of its quotas, as a multiple of the cost; 0 while they are spent no faster than evenly.
        price: what a call costs now, both together.
        wait_s: how long its limiter would make us wait.
        load: calls it was sent in about the last minute.
        utility: what asking it is worth, in units of trust.
    """

    source: str
    upstream_group: str
    chance_right: float
    current: float
    fresh: float
    complete: float
    latency_s: float
    cost_per_call: float
    scarcity: float
    price: float
    wait_s: float
    load: float
    utility: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """One source as `source_status` tells it.

    Attributes follow the public contract, and
        weight_parts: what the weight comes from; None for a source that cannot be asked.
    """

    source: str
    title: str
    state: SourceState
    since: datetime
    reason: str
    upstream_group: str
    capabilities: tuple[str, ...]
    circuit: Mapping[str, str]
    weight: float
    cost_per_call: float
    budget: tuple[BudgetView, ...] = ()
    next_retry_at: datetime | None = None
    reliability: Reliability | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    clock_offset_s: float | None = None
    last_success_at: datetime | None = None
    last_error: str | None = None
    successors: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()
    weight_parts: WeightParts | None = None


@dataclass(frozen=True, slots=True)
class Overall:
    """The engine as a whole.

    Attributes:
        availability_24h: share of asked symbols that got a usable answer; None before the first.
        cache_hit_rate: share of asked symbols answered from the cache; None before the first.
        sessions: sessions the memory has seen, this one included.
        symbols: symbols it knows.
        observations: outcomes it has learned from.
        memory_state: `ok`, or what is wrong with the store.
        settings_state: `ok`, or why the settings file as it stands is not in effect.
        cache_state: `ok`, or what is wrong with the disk or the server behind the cache.
    """

    availability_24h: float | None
    cache_hit_rate: float | None
    sessions: int
    symbols: int
    observations: int
    memory_state: str = "ok"
    settings_state: str = "ok"
    cache_state: str = "ok"
