"""Metrics out of a server that nobody can scrape, and the watch over its event loop.

The rule of this module: what cannot be written or pushed is logged once and tried again; no answer waits for it.
"""

from __future__ import annotations

import logging
import os
import platform
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from anyio import CancelScope, to_thread

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.status import Overall, SourceStatus
from mdagent_mcp.monitoring.metrics import Metrics

AskStatus = Callable[[], Awaitable[tuple[Sequence[SourceStatus], Overall]]]
JOB: Final = "mdagent_mcp"
"""Under which a Pushgateway keeps what is pushed."""
PUSH_TIMEOUT_S: Final = 5.0
LAG_EVERY_S: Final = 0.5
_PUSHING: Final[Counter[str]] = Counter()
"""Exports of this process to each gateway. They push under one name, so only the last one that ends takes it off:
when the settings change, the next one begins before the one in its place ends."""
_log: Final = logging.getLogger("mdagent_mcp")


@dataclass(frozen=True, slots=True)
class MetricsExport:
    """Where metrics go.

    Attributes:
        file: for the textfile collector of node_exporter; None for nowhere.
        push_url: of a Pushgateway; None for nowhere.
        interval_s: time between two exports, seconds.
    """

    file: Path | None
    push_url: str | None
    interval_s: float


async def watch_event_loop(metrics: Metrics, clock: Clock) -> None:
    """Measure for ever how late the event loop wakes a sleeper."""
    while True:
        due = clock.monotonic() + LAG_EVERY_S
        await clock.sleep(LAG_EVERY_S)
        metrics.lagged(max(0.0, clock.monotonic() - due))


async def export_metrics(metrics: Metrics, ask_status: AskStatus, clock: Clock, export: MetricsExport) -> None:
    """Write and push for ever.

    Args:
        metrics: what is exported.
        ask_status: the sources' present state.
        clock: time.
        export: where to.
    """
    told = ""
    _PUSHING[export.push_url or ""] += 1
    try:
        while True:
            metrics.show(*await ask_status())
            trouble = await to_thread.run_sync(partial(_export, metrics, export), abandon_on_cancel=True)
            if trouble and trouble != told:
                _log.warning("metrics are not exported: %s", trouble)
            told = trouble
            await clock.sleep(export.interval_s)
    finally:
        _PUSHING[export.push_url or ""] -= 1
        if export.push_url is not None and not _PUSHING[export.push_url]:
            with CancelScope(shield=True):
                await to_thread.run_sync(partial(_withdraw, export.push_url))


def _export(metrics: Metrics, export: MetricsExport) -> str:
    """Write and push once; what went wrong, empty when nothing did."""
    from prometheus_client import push_to_gateway, write_to_textfile  # noqa: PLC0415 - only where it is configured

    troubles = []
    try:
        if export.file is not None:
            export.file.parent.mkdir(parents=True, exist_ok=True)
            write_to_textfile(str(export.file), metrics.registry)
    except OSError as error:
        troubles.append(f"{export.file}: {error.strerror or error}")
    try:
        if export.push_url is not None:
            push_to_gateway(export.push_url, JOB, metrics.registry, _instance(), timeout=PUSH_TIMEOUT_S)
    except OSError as error:
        troubles.append(f"{export.push_url}: {error}")
    return clean_text("; ".join(troubles), 300)


def _withdraw(push_url: str) -> None:
    """Take the figures of a server that ends off the gateway, which would show them for ever."""
    from prometheus_client import delete_from_gateway  # noqa: PLC0415 - only where it is configured

    try:
        delete_from_gateway(push_url, JOB, _instance(), timeout=PUSH_TIMEOUT_S)
    except OSError as error:
        _log.warning("metrics stay at %s: %s", push_url, clean_text(str(error), 200))


def _instance() -> dict[str, str]:
    """Tells the servers of one machine apart: a desktop application starts several."""
    return {"instance": f"{platform.node()}:{os.getpid()}"}
