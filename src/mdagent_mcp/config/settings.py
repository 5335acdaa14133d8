"""Every setting, its unit, its default and what is refused. Loading and overlaying stand in `loading`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from socket import inet_aton
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from mdagent_mcp.config.http_settings import HttpSettings
from mdagent_mcp.config.taking_effect import AT_START
from mdagent_mcp.consensus.context import GradingThresholds
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.vendor import Storing, Vendor
from mdagent_mcp.vendors.registry import VENDORS

_VENDORS: Final[Mapping[str, Vendor]] = {vendor.id: vendor for vendor in VENDORS}
SOURCE_IDS: Final = tuple(_VENDORS)


def _http_url(text: str) -> str:
    split = urlsplit(text)
    if split.scheme not in {"http", "https"} or not split.hostname:
        raise ValueError("should be an http:// or https:// URL with a host")
    if split.username or split.password or split.query or split.fragment:
        raise ValueError("should be a bare base URL, without user, query or fragment; keys belong into api_key")
    if _is_link_local(split.hostname):
        raise ValueError("is a link-local address, where clouds keep their machines' credentials; no vendor is there")
    return text.rstrip("/")


def _is_link_local(host: str) -> bool:
    """Whether a host is written as a link-local address, in any of the ways that a resolver takes for one."""
    if host.rstrip(".").lower() in {"metadata.google.internal", "metadata"}:
        return True
    found = _address(host)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found is not None and (mapped or found).is_link_local


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(inet_aton(host))
    except (OSError, ValueError):
        return None


BaseUrl = Annotated[str, AfterValidator(_http_url)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class QuotaSettings(_Section):
    """At most `limit` calls in any `window_s` seconds."""

    limit: int = Field(ge=1, description="calls per window")
    window_s: float = Field(gt=0, description="seconds")


class SourceSettings(_Section):
    """One source."""

    enabled: bool = Field(default=True, description="whether it is ever asked")
    api_key: SecretStr | None = Field(default=None, description="the vendor's key")
    base_url: BaseUrl | None = Field(default=None, description="replaces the vendor's own hosts")
    base_urls: tuple[BaseUrl, ...] = Field((), description="several of them, tried in order when one cannot be reached")
    timeout_s: float | None = Field(default=None, gt=0, le=60, description="time limit of one call, seconds")
    plan: str = Field("free", description="the vendor's name of the key's plan; fills quotas, delay and cost")
    entitlement: str | None = Field(
        default=None, description="delayed or realtime, where the exchanges cleared the key for it beside its plan"
    )
    quotas: tuple[QuotaSettings, ...] | None = Field(default=None, description="replaces the plan's quotas")
    cost_per_call: float | None = Field(
        default=None, ge=0, description="replaces the plan's cost; 0 is free, 1 a scarce call"
    )
    upstream_group: str | None = Field(default=None, min_length=1, max_length=40, description="whose data it passes on")
    concurrency: int | None = Field(
        default=None, ge=1, le=64, description="calls at once at most; fewer while it was seen to become slow"
    )
    store_history: bool | None = Field(
        default=None,
        description="keep its past prices on disk; not set: where its terms are known to allow that; "
        "refused where they forbid it",
    )

    @property
    def urls(self) -> tuple[str, ...]:
        """The configured base URLs, `base_url` first."""
        return (*((self.base_url,) if self.base_url else ()), *self.base_urls)


class CacheSettings(_Section):
    """How long answers are served again."""

    open_market_s: float = Field(2.0, ge=0, le=3600, description="age a quote may have while its market trades")
    closed_market_s: float = Field(60.0, ge=0, le=86_400, description="age a quote may have while its market is closed")
    history_s: float = Field(
        60.0, ge=0, le=86_400, description="age a history may have, and the end of a series that may still change"
    )
    entries: int = Field(5_000, ge=1, le=1_000_000, description="instruments kept")
    history_completed_days: float = Field(
        30.0, ge=0, le=3650, description="age bars of completed sessions may have, days; 0 fetches every series whole"
    )
    history_bars: int = Field(200_000, ge=1, le=50_000_000, description="bars of past prices kept in memory")
    history_store: bool | None = Field(
        default=None,
        description="keep past prices on disk, of the sources whose store_history allows it; "
        "not set: yes, but not simulated ones",
    )
    history_store_mb: float = Field(256.0, gt=0, le=65_536, description="size of past prices on disk, MB")
    history_store_days: float = Field(90.0, gt=0, le=3650, description="age at which they leave the disk, days")


class MemorySettings(_Section):
    """What is remembered."""

    enabled: bool = Field(
        default=True, description="keep evidence and outcomes on disk; without it only until the process ends"
    )
    quotes_kept: int = Field(20_000, ge=100, description="evidence records of quotes")
    histories_kept: int = Field(500, ge=10, description="evidence records of histories")
    days_kept: float = Field(30.0, gt=0, description="age at which evidence is forgotten, days")


def _shared_url(secret: SecretStr) -> SecretStr:
    """An address that the Redis client reads, refused where that client is not installed.

    Raises:
        ValueError: saying what is wrong, without the address, which may carry a password.
    """
    split = urlsplit(secret.get_secret_value())
    if split.scheme not in {"redis", "rediss", "unix"} or not (split.hostname or split.path):
        raise ValueError("should be redis://host:6379/0, rediss://… for TLS, or unix:///path of a socket")
    if find_spec("redis") is None:
        raise ValueError("needs the Redis client: pip install 'mdagent-mcp[redis]'")
    return secret


def _memory_url(secret: SecretStr) -> SecretStr:
    """An address that the PostgreSQL driver reads, refused where that driver is not installed.

    Raises:
        ValueError: saying what is wrong, without the address, which may carry a password.
    """
    try:
        split = urlsplit(secret.get_secret_value())
        named = split.hostname is not None or "host=" in split.query
        usable = split.scheme in {"postgresql", "postgres"} and named and (split.port is None or split.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("should be postgresql://user:password@host:5432/database")
    if find_spec("asyncpg") is None:
        raise ValueError("needs the PostgreSQL driver: pip install 'mdagent-mcp[postgres]'")
    return secret


class SharedSettings(_Section):
    """What several machines share."""

    url: Annotated[SecretStr, AfterValidator(_shared_url)] | None = Field(
        default=None,
        description="of a Redis or Valkey server through which replicas share budgets, cache and openings",
    )
    timeout_s: float = Field(
        0.05, gt=0, le=2, description="limit of a cache command on it, seconds; then a replica goes on alone"
    )
    memory_url: Annotated[SecretStr, AfterValidator(_memory_url)] | None = Field(
        default=None, description="of a PostgreSQL database that keeps the memory of all replicas"
    )


class MetricsSettings(_Section):
    """Where Prometheus metrics go beside `/metrics` of the HTTP server; for a server on stdio, which has no port."""

    file: Path | None = Field(
        default=None, description="written whole again and again, for the textfile collector of node_exporter"
    )
    push_url: BaseUrl | None = Field(default=None, description="of a Pushgateway")
    interval_s: float = Field(15.0, ge=1, le=3600, description="time between two of them, seconds")

    @property
    def is_exported(self) -> bool:
        """Whether anything is written or pushed."""
        return self.file is not None or self.push_url is not None


def _collector_url(url: str) -> str:
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        raise ValueError("needs OpenTelemetry's SDK: pip install 'mdagent-mcp[otel]'")
    return url


class TracingSettings(_Section):
    """Where OpenTelemetry traces go."""

    otlp_url: Annotated[BaseUrl, AfterValidator(_collector_url)] | None = Field(
        default=None,
        description="base URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318",
        json_schema_extra=AT_START,
    )


class AlertSettings(_Section):
    """What people are told without asking, and where."""

    channels: tuple[SecretStr, ...] = Field(
        (), description="addresses as Apprise writes them, such as slack://…, mailto://…, json://host/path"
    )
    watch: tuple[str, ...] = Field((), description="symbols of which an unusual move is told")
    interval_s: float = Field(30.0, ge=1, le=3600, description="time between two looks, seconds")
    remind_after_s: float = Field(21_600.0, ge=60, description="an alert that lasts is told again after this, seconds")
    quiet_hours: str | None = Field(
        default=None,
        pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$",
        description="such as 22:00-07:00: only what is critical is told then",
    )
    timezone: str = Field("UTC", description="IANA time zone of the quiet hours")
    quota_share: float = Field(0.9, gt=0, le=1, description="of a quota of an hour or longer that may be spent untold")
    source_down_s: float = Field(300.0, ge=0, description="how long a source may be down untold, seconds")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("should be an IANA time zone, such as Europe/London")
        return name

    @field_validator("watch")
    @classmethod
    def _canonical(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(parse_symbol(symbol).symbol for symbol in symbols)


class EngineSettings(_Section):
    """How long and how widely sources are asked."""

    deadline_s: float = Field(10.0, gt=0, le=300, description="time budget of a tool call, seconds")
    source_timeout_s: float = Field(4.0, gt=0, le=60, description="time limit of one call to a source, seconds")
    patience_s: float = Field(
        0.45, gt=0, description="after this a usable answer is given although sources are still silent"
    )
    hedge_after_s: float = Field(0.8, gt=0, description="after this without enough answers the next sources are asked")
    first_wave: int = Field(3, ge=1, le=9, description="sources asked at once per symbol to begin with")
    hedging: bool = Field(
        default=True,
        description="whether others are asked early, in at most one question of ten, when sources are slow",
    )
    questions_at_once: int = Field(
        256, ge=1, le=100_000, description="questions that are worked on at once; what is beyond is refused at once"
    )
    gather_s: float = Field(
        0.004,
        ge=0,
        le=0.1,
        description="how long a quote request waits for others of the same source, to ask them in one call, where"
        " others are there already; a lonely one never waits; 0 for never, seconds",
    )


class GradingSettings(_Section):
    """Where the rubric draws its lines; the rubric itself leaves open real time, stale, and what a failed check is."""

    real_time_s: float = Field(2.0, gt=0, description="greatest delay of an A, seconds")
    low_delay_s: float = Field(5.0, gt=0, description="greatest delay of a B, seconds")
    acceptable_delay_s: float = Field(30.0, gt=0, description="greatest delay of a C, seconds")
    stale_s: float = Field(1200.0, gt=0, description="greatest delay of a D; beyond it a price is stale, seconds")
    vote_age_s: float = Field(60.0, gt=0, description="greatest age of a price that has a say about now, seconds")
    corroboration_age_s: float = Field(30.0, gt=0, description="greatest age of a second opinion, seconds")
    explained_lag_s: float = Field(30.0, gt=0, description="an outlier so much older is explained by it, seconds")
    future_tolerance_s: float = Field(5.0, gt=0, description="how far a time stamp may lie in our future, seconds")
    close_slack_s: float = Field(5.0, gt=0, description="a price so shortly before the bell is the close, seconds")
    settle_s: float = Field(1200.0, gt=0, description="time after the close until it is final, seconds")
    opening_s: float = Field(60.0, gt=0, description="time after the open until prices are settled, seconds")
    known_observations: int = Field(100, ge=1, description="answers after which memory vouches for a single source")
    unit_closeness: float = Field(0.12, gt=0, lt=1, description="distance to a power of ten that is a unit, share")
    large_move: float = Field(0.20, gt=0, lt=1, description="move that one source alone cannot prove, share")
    previous_close_gap: float = Field(0.03, gt=0, lt=1, description="gap that names another instrument, share")
    same_price: float = Field(10e-4, gt=0, lt=1, description="difference beyond which prices confirm nothing, share")
    conflicting_price: float = Field(25e-4, gt=0, lt=1, description="difference beyond which they conflict, share")
    outside_book: float = Field(0.01, gt=0, lt=1, description="distance outside bid and ask that fails, share")
    outside_range: float = Field(0.002, gt=0, lt=1, description="distance outside the day's range that fails, share")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        self.thresholds()
        return self

    def thresholds(self) -> GradingThresholds:
        """The same for the judgement.

        Raises:
            ValueError: when the lines contradict each other.
        """
        return GradingThresholds(**self.model_dump())


class Settings(_Section):
    """All settings."""

    sources: Mapping[str, SourceSettings] = Field(default_factory=dict, description="by source id")
    engine: EngineSettings = Field(default_factory=EngineSettings)
    cache: CacheSettings = Field(default_factory=CacheSettings)
    memory: MemorySettings = Field(default_factory=MemorySettings)
    shared: SharedSettings = Field(default_factory=SharedSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    tracing: TracingSettings = Field(default_factory=TracingSettings)
    grading: GradingSettings = Field(default_factory=GradingSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    data_dir: Path | None = Field(
        None, description="where memory.sqlite3 lies; None for the platform's user data directory"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="of the log on stderr")

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known_plans(self) -> Self:
        for source, settings in self.sources.items():
            vendor = _VENDORS.get(source)
            if vendor is not None and settings.plan != "free" and settings.plan not in vendor.plans:
                names = ", ".join(dict.fromkeys(("free", *vendor.plans)))
                raise ValueError(
                    f"sources.{source}.plan: '{settings.plan[:40]}' is not a plan of {source}; use one of: {names}"
                )
            _check_entitlement(source, settings.entitlement)
            if vendor is not None and vendor.storing is Storing.FORBIDDEN and settings.store_history:
                raise ValueError(f"sources.{source}.store_history: the terms of {source} forbid storing; leave it out")
        return self

    def source(self, source: str) -> SourceSettings:
        """The settings of a source, defaults where nothing is set."""
        return self.sources.get(source) or SourceSettings()


def _check_entitlement(source: str, entitlement: str | None) -> None:
    """Refuse an entitlement that a source does not sell.

    Raises:
        ValueError: naming those it sells, or the sources that sell any.
    """
    vendor = _VENDORS.get(source)
    if vendor is None or entitlement is None or entitlement in vendor.entitlements:
        return
    asked = f"sources.{source}.entitlement: '{entitlement[:40]}'"
    if vendor.entitlements:
        raise ValueError(f"{asked} is not sold by {source}; use one of: {', '.join(vendor.entitlements)}")
    sellers = ", ".join(v.id for v in VENDORS if v.entitlements)
    raise ValueError(
        f"{asked} means nothing here: {source} sells none beside its plans; leave it out (only: {sellers})"
    )
