"""The composition root: builds everything from the settings and yields the engine; everything ends with it."""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import time, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import anyio
import anyio.to_thread

from mdagent_mcp import __version__
from mdagent_mcp.cache.history_file import FileLimits
from mdagent_mcp.config.settings import AlertSettings, QuotaSettings, Settings, SourceSettings
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.events import Event, Judged
from mdagent_mcp.domain.vendor import Plan, Quota, Storing, Vendor
from mdagent_mcp.engine.caching import Caching, CachingOptions
from mdagent_mcp.engine.collection import CollectionOptions
from mdagent_mcp.engine.parts import EngineParts, FreshnessOptions
from mdagent_mcp.engine.service import Engine, Reporting
from mdagent_mcp.engine.status import source_status
from mdagent_mcp.memory.archive import ArchiveLimits
from mdagent_mcp.memory.database import Database
from mdagent_mcp.memory.postgres import PostgresDatabase
from mdagent_mcp.memory.store import MemoryOptions, open_memory
from mdagent_mcp.monitoring.alert_rules import RuleLimits
from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.monitoring.alerting import AlertPolicy, QuietHours
from mdagent_mcp.monitoring.bus import EventBus
from mdagent_mcp.monitoring.channels import channels_of
from mdagent_mcp.monitoring.counters import AnswerCounters
from mdagent_mcp.monitoring.exporting import MetricsExport, export_metrics, watch_event_loop
from mdagent_mcp.monitoring.metrics import Metrics
from mdagent_mcp.monitoring.tracing import VendorSpans
from mdagent_mcp.resilience.load_shedding import SheddingOptions
from mdagent_mcp.transport.budget_file import FileStore
from mdagent_mcp.transport.budget_server import ServerStore
from mdagent_mcp.transport.budgets import BudgetStore, PrivateStore
from mdagent_mcp.transport.gathering import Spawn
from mdagent_mcp.transport.http import OpenTransport, VendorClient, host_sets, preload
from mdagent_mcp.transport.peers import Peers
from mdagent_mcp.transport.server_dates import ServerDates
from mdagent_mcp.transport.source import Source, SourceOptions
from mdagent_mcp.vendors.registry import VENDORS

APPLICATION: Final = "mdagent-mcp"
DATABASE: Final = "memory.sqlite3"
HISTORY_DATABASE: Final = "history.sqlite3"


def default_data_directory() -> Path:
    """Where the platform keeps a user's data."""
    from platformdirs import user_data_path  # noqa: PLC0415 - only when nothing else is said

    return user_data_path(APPLICATION, appauthor=False)


@asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    clock: Clock,
    data_dir: Path | None,
    open_transport: OpenTransport | None = None,
    rng: random.Random | None = None,
    metrics: Metrics | None = None,
    alerts: Alerts | None = None,
) -> AsyncIterator[Engine]:
    """The engine, ready to be asked, and taken down on leaving.

    Args:
        settings: validated.
        clock: time.
        data_dir: where memory is kept; None keeps it in RAM only.
        open_transport: the vendors' web; None for the real one.
        rng: chance; None for one seeded by the operating system.
        metrics: where to count; None for nowhere, unless the settings have metrics written or pushed.
        alerts: the watch over the engine, which is told what the settings say of it; None for none.
    """
    chance = rng or random.Random(os.urandom(16))  # noqa: S311 - jitter and ids, nothing secret
    bus = EventBus()
    async with AsyncExitStack() as stack:
        dates = ServerDates(clock)
        clients = {
            vendor.id: replace(vendor_client(vendor, settings, clock, open_transport), dates=dates)
            for vendor in VENDORS
        }
        if open_transport is None:
            await _preload(clients)
        path = data_dir / DATABASE if data_dir is not None and settings.memory.enabled else None
        memory = await stack.enter_async_context(
            open_memory(memory_place(settings, path, clock), clock, _memory_options(settings))
        )
        counters = AnswerCounters()
        bus.listen(memory.listen)
        bus.listen(counters)
        watchers = _Watchers(settings, metrics, alerts)
        watchers.listen(bus)
        budgets = _budgets(settings, path, stack)
        peers = Peers()
        sources: dict[str, Source] = {}
        for vendor in VENDORS:
            chosen = settings.source(vendor.id)
            sources[vendor.id] = Source(
                asked_vendor(vendor, chosen),
                _source_options(vendor, chosen, settings),
                clients[vendor.id],
                clock=clock,
                emit=bus.emit,
                rng=chance,
                budgets=budgets,
                peers=peers,
            )
            await sources[vendor.id].refresh_budget()
            stack.push_async_callback(sources[vendor.id].aclose)
        bus.listen(lambda event: _tell_wrong_price(sources, event))
        caching = await _open_caching(settings, path, sources, clock, stack)
        # Entered last, so that background work has ended before what it uses is closed.
        background = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(background.cancel_scope.cancel)
        _begin_background(sources, caching, background.start_soon)
        parts = EngineParts(
            sources=sources,
            clock=clock,
            memory=memory,
            emit=bus.emit,
            spawn=background.start_soon,
            rng=chance,
            collection=_collection_options(settings),
            freshness=_freshness_options(settings),
            thresholds=settings.grading.thresholds(),
            shedding=SheddingOptions(settings.engine.questions_at_once),
            clock_error_s=dates.clock_error_s,
            histories=caching.histories,
            corrected=caching.corrected,
            quote_sharing=caching.quote_sharing(background.start_soon),
            history_flight=caching.history_flight(background.start_soon),
        )
        reporting = Reporting(lambda name, routed: source_status(sources[name], routed, memory, clock), counters)
        engine = Engine(parts, reporting)
        watchers.begin(engine, clock, background.start_soon)
        yield engine


def _begin_background(sources: Mapping[str, Source], caching: Caching, spawn: Spawn) -> None:
    """Begin to write behind and to exchange signals; questions of about the same time share calls from now on."""
    caching.start(spawn)
    for source in sources.values():
        source.gather_with(spawn)


async def _preload(clients: Mapping[str, VendorClient]) -> None:
    """Import by a thread what the real web needs."""
    imitating = any(client.imitates_browser for client in clients.values())
    await anyio.to_thread.run_sync(partial(preload, imitating=imitating))


class _Watchers:
    """Who watches over the engine: metrics, traces, alerts, each where it is wanted."""

    def __init__(self, settings: Settings, metrics: Metrics | None, alerts: Alerts | None) -> None:
        self._settings = settings
        self._metrics = metrics or (Metrics(__version__) if settings.metrics.is_exported else None)
        self._alerts = alerts

    def listen(self, bus: EventBus) -> None:
        """Have each hear what happens."""
        if self._metrics is not None:
            bus.listen(self._metrics)
        if self._settings.tracing.otlp_url is not None:
            bus.listen(VendorSpans())
        if self._alerts is not None:
            bus.listen(self._alerts)

    def begin(self, engine: Engine, clock: Clock, spawn: Spawn) -> None:
        """Begin what each does by itself, in the background."""
        if self._metrics is not None:
            spawn(watch_event_loop, self._metrics, clock)
        if self._metrics is not None and self._settings.metrics.is_exported:
            spawn(export_metrics, self._metrics, engine.source_status, clock, _metrics_export(self._settings))
        if self._alerts is not None:
            # Not before the engine stands: settings that it cannot be built of change nothing.
            _configure(self._alerts, self._settings)
            spawn(self._alerts.watch, engine.source_status)


def _tell_wrong_price(sources: Mapping[str, Source], event: Event) -> None:
    """A price that the consensus found wrong is a failure of its source as well."""
    if isinstance(event, Judged) and event.agreed is False and event.source in sources:
        sources[event.source].breaker.contradicted(event.endpoint, event.symbol)


def memory_place(settings: Settings, path: Path | None, clock: Clock) -> Path | Database | None:
    """Where memory is kept: on a server, in a file, or in RAM alone."""
    if path is None or settings.shared.memory_url is None:
        return path
    return PostgresDatabase(settings.shared.memory_url.get_secret_value(), clock)


def _budgets(settings: Settings, path: Path | None, stack: AsyncExitStack) -> BudgetStore:
    """Where it is kept what keys have spent: on a server, in a file that all processes share, or in this one alone."""
    if settings.shared.url is not None:
        server = ServerStore(settings.shared.url.get_secret_value())
        stack.push_async_callback(server.aclose)
        return server
    if path is None:
        return PrivateStore()
    store = FileStore(path)
    stack.callback(store.close)
    return store


def vendor_client(vendor: Vendor, settings: Settings, clock: Clock, web: OpenTransport | None = None) -> VendorClient:
    """The client of one vendor, as the settings have it; nothing is opened yet.

    Args:
        vendor: whose.
        settings: validated.
        clock: time.
        web: makes the transport; None for the real one.
    """
    chosen = settings.source(vendor.id)
    key = chosen.api_key.get_secret_value() if chosen.api_key is not None else None
    return VendorClient(vendor, host_sets(vendor, chosen.urls), key, clock, web, regional=len(chosen.urls) > 1)


def asked_vendor(vendor: Vendor, chosen: SourceSettings) -> Vendor:
    """The vendor with the calls that the key's plan and entitlement need."""
    entitlement = vendor.entitlements.get(chosen.entitlement or "")
    under_plan = vendor.offering(_plan(vendor.plans, chosen.plan).offers)
    return under_plan if entitlement is None else under_plan.offering(entitlement.offers)


def _source_options(vendor: Vendor, chosen: SourceSettings, settings: Settings) -> SourceOptions:
    plan = _plan(vendor.plans, chosen.plan)
    entitlement = vendor.entitlements.get(chosen.entitlement or "")
    return SourceOptions(
        enabled=chosen.enabled,
        timeout_s=chosen.timeout_s or min(vendor.timeout_s, settings.engine.source_timeout_s),
        quotas=plan.quotas if chosen.quotas is None else tuple(map(_quota, chosen.quotas)),
        declared_delay_s=(entitlement or plan).declared_delay_s,
        cost_per_call=plan.cost_per_call if chosen.cost_per_call is None else chosen.cost_per_call,
        excluded=plan.excluded,
        upstream_group=chosen.upstream_group,
        concurrency=chosen.concurrency,
        gather_s=settings.engine.gather_s,
    )


def _plan(plans: Mapping[str, Plan], name: str) -> Plan:
    """The plan of that name; `free` is every vendor's first one."""
    return plans.get(name) or next(iter(plans.values()))


def _quota(chosen: QuotaSettings) -> Quota:
    return Quota(chosen.limit, chosen.window_s, f"{chosen.window_s:g} s")


def _collection_options(settings: Settings) -> CollectionOptions:
    engine = settings.engine
    return CollectionOptions(
        engine.deadline_s, engine.patience_s, engine.hedge_after_s, engine.first_wave, engine.hedging
    )


def _freshness_options(settings: Settings) -> FreshnessOptions:
    cache = settings.cache
    return FreshnessOptions(
        cache.open_market_s,
        cache.closed_market_s,
        cache.history_s,
        cache.entries,
        cache.history_completed_days * 86_400.0,
    )


async def _open_caching(
    settings: Settings, memory: Path | None, sources: Mapping[str, Source], clock: Clock, stack: AsyncExitStack
) -> Caching:
    """The cache of past prices with its stores, closed with the rest; the server's client is imported by a thread."""
    if settings.shared.url is not None:
        await anyio.to_thread.run_sync(partial(importlib.import_module, "redis.asyncio"))
    caching = Caching(_caching_options(settings, memory), sources, clock)
    stack.push_async_callback(caching.aclose)
    return caching


def _caching_options(settings: Settings, memory: Path | None) -> CachingOptions:
    """Where past prices are kept and what is shared; on disk only beside a memory that is kept there as well."""
    cache, shared = settings.cache, settings.shared
    kept = memory is not None and cache.history_store is not False
    return CachingOptions(
        bars=cache.history_bars,
        file=memory.with_name(HISTORY_DATABASE) if memory is not None and kept else None,
        file_limits=FileLimits(int(cache.history_store_mb * 1e6), cache.history_store_days * 86_400.0),
        stored=frozenset(vendor.id for vendor in VENDORS if _may_store(vendor, settings.source(vendor.id))),
        origins={vendor.id: _origin(settings.source(vendor.id)) for vendor in VENDORS},
        url=None if shared.url is None else shared.url.get_secret_value(),
        timeout_s=shared.timeout_s,
        follow_s=settings.engine.deadline_s / 4,
        series_s=cache.history_s,
    )


def _may_store(vendor: Vendor, chosen: SourceSettings) -> bool:
    """Whether past prices of a source may be kept on disk."""
    if vendor.storing is Storing.FORBIDDEN:
        return False
    return vendor.storing is Storing.ALLOWED if chosen.store_history is None else chosen.store_history


def _origin(chosen: SourceSettings) -> str:
    """What the replies of a source depend on: two replicas share what is known only where this is the same."""
    parts = (chosen.enabled, chosen.api_key is not None, chosen.plan, chosen.entitlement, *chosen.urls)
    return " ".join(map(str, parts))


def _configure(alerts: Alerts, settings: Settings) -> None:
    """Have the watch do what the settings say."""
    chosen = settings.alerts
    limits = RuleLimits(frozenset(chosen.watch), chosen.quota_share, timedelta(seconds=chosen.source_down_s))
    policy = AlertPolicy(remind_after=timedelta(seconds=chosen.remind_after_s), quiet=_quiet_hours(chosen))
    alerts.configure(policy, limits, channels_of(chosen.channels), chosen.interval_s)


def _quiet_hours(chosen: AlertSettings) -> QuietHours | None:
    if chosen.quiet_hours is None:
        return None
    begin, _, end = chosen.quiet_hours.partition("-")
    return QuietHours(time.fromisoformat(begin), time.fromisoformat(end), ZoneInfo(chosen.timezone))


def _metrics_export(settings: Settings) -> MetricsExport:
    metrics = settings.metrics
    return MetricsExport(metrics.file, metrics.push_url, metrics.interval_s)


def _memory_options(settings: Settings) -> MemoryOptions:
    memory = settings.memory
    return MemoryOptions(archive=ArchiveLimits(memory.quotes_kept, memory.histories_kept, memory.days_kept * 86_400.0))
