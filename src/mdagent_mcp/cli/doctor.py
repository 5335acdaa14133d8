"""`doctor`: what keeps this installation from giving its best answers, and what to do about each finding.

The rule of this module: every finding says what was looked at and what to do; a source is asked once, for one share,
unless `--offline` says otherwise. The sources are asked side by side, and what hangs is given up on.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryFile
from typing import Final

import anyio
from rich.text import Text

from mdagent_mcp import __version__
from mdagent_mcp.app import DATABASE, asked_vendor, vendor_client
from mdagent_mcp.cli.opening import Opening, opening_of
from mdagent_mcp.cli.outcome import ExitCode
from mdagent_mcp.cli.render import table, terminal
from mdagent_mcp.cli.startup import begin_logging, data_directory, load_settings
from mdagent_mcp.config.loading import Loaded
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.failures import FailureKind, SourceError, clean_text
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.monitoring.channels import Message, channels_of, deliver_all
from mdagent_mcp.resilience.machine_clock import dated
from mdagent_mcp.transport.browser import INSTALL, is_installed
from mdagent_mcp.transport.recording import Asking, quote_asking, record
from mdagent_mcp.vendors.recorded import read_recorded
from mdagent_mcp.vendors.registry import VENDORS

ASKED_FOR: Final = "AAPL"
LEAST_FREE_BYTES: Final = 100 * 1024 * 1024
CLOCK_TOLERANCE: Final = timedelta(seconds=2)
"""An HTTP date is told to the second; a clock that is off by more than this costs grades."""
TEST_MESSAGE: Final = Message("mdagent-mcp: test", "This is a test; alerts will arrive here.")


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


_STYLES: Final = {Level.OK: "green", Level.NOTE: "", Level.WARNING: "yellow", Level.ERROR: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing.

    Attributes:
        check: what was looked at.
        level: how much it matters.
        found: what is so.
        advice: what to do; empty when nothing.
        offset_s: how far the asked server's clock is ahead of ours, where it told the time.
    """

    check: str
    level: Level
    found: str
    advice: str = ""
    offset_s: float | None = None


def doctor(arguments: argparse.Namespace) -> int:
    """Look at everything and print what was found; exit 1 when something is broken."""
    loaded = load_settings(arguments)
    begin_logging(loaded.settings)
    opening = opening_of(arguments, loaded.settings)
    findings = anyio.run(_examine, opening, loaded, arguments.offline, arguments.alerts)
    if arguments.json:
        sys.stdout.write(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2) + "\n")
    else:
        _print(findings)
    return ExitCode.NO_ANSWER if any(f.level is Level.ERROR for f in findings) else ExitCode.OK


async def _examine(opening: Opening, loaded: Loaded, offline: bool, alerts: bool) -> list[Finding]:  # noqa: FBT001 - anyio.run passes no keywords
    settings = loaded.settings
    findings = [_program(), _settings(loaded), await _data_directory(opening, settings), *_extras(settings)]
    if opening.simulated:
        findings += await _simulated_sources(opening, offline=offline)
    else:
        findings += await _sources(opening, settings, offline=offline)
    if alerts:
        findings += await _channels(opening, settings)
    return findings


def _program() -> Finding:
    return Finding("program", Level.OK, f"mdagent-mcp {__version__}, Python {platform.python_version()}")


def _settings(loaded: Loaded) -> Finding:
    found = f"{loaded.file or 'no settings file'}: {len(loaded.origins)} settings that are not defaults"
    return Finding("settings", Level.OK, found)


async def _data_directory(opening: Opening, settings: Settings) -> Finding:
    """Whether memory can be kept, by opening it."""
    folder = data_directory(settings)
    if not settings.memory.enabled:
        return Finding("memory", Level.NOTE, "not kept on disk", "set memory.enabled = true to keep it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        found = f"{folder} cannot be written: {error.strerror}"
        return Finding("memory", Level.ERROR, found, "choose another with --data-dir or data_dir")
    async with open_memory(folder / DATABASE, opening.clock) as memory:
        state, totals = memory.state, memory.totals()
    if state != "ok":
        return Finding("memory", Level.WARNING, state, "look at the file; `mdagent-mcp memory reset` begins anew")
    if free < LEAST_FREE_BYTES:
        found = f"{folder}: only {free // 1_000_000} MB are free"
        return Finding("memory", Level.WARNING, found, "make room, or choose another folder with --data-dir")
    found = f"{folder / DATABASE}: {totals.symbols} symbols, {totals.observations} outcomes"
    return Finding("memory", Level.OK, found)


def _extras(settings: Settings) -> Iterator[Finding]:
    """What is not installed and would help."""
    if settings.source("yahoo").enabled and not is_installed():
        found = "Yahoo is asked as a program, which it turns away from many server addresses"
        yield Finding("extra yahoo", Level.NOTE, found, INSTALL)
    wanted = (
        ("apprise", "alerts", bool(settings.alerts.channels), "alerts.channels are set"),
        ("redis", "redis", settings.shared.url is not None, "shared.url is set"),
    )
    for module, extra, needed, why in wanted:
        if needed and find_spec(module) is None:
            found = f"{why}, but the library is missing"
            yield Finding(f"extra {extra}", Level.ERROR, found, f"pip install 'mdagent-mcp[{extra}]'")


async def _simulated_sources(opening: Opening, *, offline: bool) -> list[Finding]:
    from mdagent_mcp.cli.simulation import simulated_settings  # noqa: PLC0415 - for simulated prices only
    from mdagent_mcp.sandbox.server import running_sandbox  # noqa: PLC0415 - for simulated prices only

    async with running_sandbox(opening.clock) as sandbox:
        return await _sources(opening, simulated_settings(opening.settings, sandbox), offline=offline)


async def _sources(opening: Opening, settings: Settings, *, offline: bool) -> list[Finding]:
    found: dict[str, Finding] = {}

    async def look(vendor: Vendor) -> None:
        found[vendor.id] = _unusable(vendor, settings) or (
            Finding(f"source {vendor.id}", Level.NOTE, "configured; not asked (--offline)")
            if offline
            else await _ask(opening, vendor, settings)
        )

    async with anyio.create_task_group() as asking:
        for vendor in VENDORS:
            asking.start_soon(look, vendor)
    ordered = [found[vendor.id] for vendor in VENDORS]
    return [*ordered, *_clock(ordered), *_corroboration(ordered, offline=offline)]


def _unusable(vendor: Vendor, settings: Settings) -> Finding | None:
    """Why a source is not asked; None when it can be."""
    chosen, check = settings.source(vendor.id), f"source {vendor.id}"
    if not chosen.enabled:
        return Finding(check, Level.NOTE, "disabled in the settings")
    if vendor.retirement is not None and not vendor.standing(chosen.urls):
        return Finding(check, Level.NOTE, f"retired: {vendor.retirement.told}")
    if vendor.key is not None and chosen.api_key is None:
        place = f"; free at {vendor.key.signup_url}" if vendor.key.signup_url else ""
        return Finding(check, Level.NOTE, "no key", f"set {vendor.key.environment[0]}{place}")
    return None


async def _ask(opening: Opening, vendor: Vendor, settings: Settings) -> Finding:
    """What one live call comes to."""
    check, instrument = f"source {vendor.id}", parse_symbol(ASKED_FOR)
    under_plan = asked_vendor(vendor, settings.source(vendor.id))
    asking = quote_asking(under_plan, instrument, opening.clock)
    if not isinstance(asking, Asking):
        return Finding(check, Level.NOTE, f"not asked: {asking}")
    client = vendor_client(under_plan, settings, opening.clock)
    started = opening.clock.monotonic()
    limit = settings.source(vendor.id).timeout_s or vendor.timeout_s
    try:
        with opening.clock.limit(limit):
            exchange = await record(client, asking)
    except TimeoutError:
        return Finding(check, Level.ERROR, f"no answer within {limit:g} s", _advice(FailureKind.TIMEOUT, vendor))
    except SourceError as error:
        return Finding(check, Level.ERROR, f"{error.kind}: {error.detail}", _advice(error.kind, vendor))
    finally:
        await client.aclose()
    took = f"{(opening.clock.monotonic() - started) * 1000:.0f} ms"
    reading = read_recorded(
        under_plan,
        exchange.url,
        exchange.body,
        status=exchange.status,
        received_at=exchange.received_at,
        instrument=instrument,
    )
    if reading.failure is not None:
        failure = reading.failure
        text = clean_text(f"HTTP {exchange.status} in {took}: {failure.kind}: {failure.detail}", 160)
        return Finding(check, _severity(failure.kind), text, _advice(failure.kind, vendor))
    date = dated(exchange.headers, opening.clock.uptime())
    # A date is cut to the second: on average half a second has gone since.
    offset = None if date is None else round(date.epoch_s + 0.5 - exchange.received_at.timestamp(), 1)
    return Finding(check, Level.OK, f"answers in {took}", offset_s=offset)


def _severity(kind: FailureKind) -> Level:
    passing = {FailureKind.THROTTLED, FailureKind.QUOTA_EXHAUSTED, FailureKind.NO_DATA}
    return Level.WARNING if kind in passing else Level.ERROR


def _advice(kind: FailureKind, vendor: Vendor) -> str:
    """What to do about a failure."""
    key = "" if vendor.key is None else vendor.key.environment[0]
    place = "" if vendor.key is None or not vendor.key.signup_url else f" ({vendor.key.signup_url})"
    told = {
        FailureKind.UNAUTHORIZED: f"the key in {key or 'the settings'} is not accepted: check it{place}",
        FailureKind.NOT_ENTITLED: f"the plan does not include this; set sources.{vendor.id}.plan to the key's plan",
        FailureKind.THROTTLED: f"it asks for less; ask again later{_as_browser(vendor)}",
        FailureKind.QUOTA_EXHAUSTED: "the quota is spent until it is reset; a paid plan has a larger one",
        FailureKind.NETWORK: "it cannot be reached: look at the network, a proxy or a firewall",
        FailureKind.TIMEOUT: "it cannot be reached in time: look at the network, or raise its timeout_s",
        FailureKind.MALFORMED_REPLY: f"report it with the output of `mdagent-mcp record {vendor.id} {ASKED_FOR}`",
    }
    return told.get(kind, f"see what it sends with `mdagent-mcp record {vendor.id} {ASKED_FOR}`")


def _as_browser(vendor: Vendor) -> str:
    return f"; {INSTALL} helps against refusals" if vendor.impersonates_browser and not is_installed() else ""


def _clock(sources: list[Finding]) -> Iterator[Finding]:
    """Whether this machine's clock is right, by the clocks of those that answered."""
    offsets = [finding.offset_s for finding in sources if finding.offset_s is not None]
    if not offsets:
        return
    off = median(offsets)
    told = f"{abs(off):.1f} s {'behind' if off > 0 else 'ahead of'} the median of {len(offsets)} servers"
    if abs(off) > CLOCK_TOLERANCE.total_seconds():
        yield Finding("clock", Level.WARNING, told, "set it by NTP: delays are judged by it", off)
    else:
        yield Finding("clock", Level.OK, told, offset_s=off)


def _corroboration(sources: list[Finding], *, offline: bool) -> Iterator[Finding]:
    """Whether answers can be confirmed at all."""
    answering = [finding.check.removeprefix("source ") for finding in sources if finding.level is Level.OK]
    if offline or len(answering) > 1:
        return
    if not answering:
        yield Finding("corroboration", Level.ERROR, "no source answers", "see what to do about each above")
        return
    advice = "add a free key, such as FINNHUB_API_KEY: a price that nobody confirms is a C at best"
    yield Finding("corroboration", Level.WARNING, f"only {answering[0]} answers", advice)


async def _channels(opening: Opening, settings: Settings) -> list[Finding]:
    """What became of a test message to every alert channel."""
    channels = channels_of(settings.alerts.channels)
    if not channels:
        return [Finding("alerts", Level.WARNING, "no channel is set", 'set alerts.channels = ["slack://…"]')]
    for channel in channels:
        channel.add(TEST_MESSAGE)
    await deliver_all(channels, opening.clock)
    return [
        Finding(channel.name, Level.ERROR, channel.trouble, "check its address in alerts.channels")
        if channel.trouble
        else Finding(channel.name, Level.OK, "a test message was accepted")
        for channel in channels
    ]


def _print(findings: list[Finding]) -> None:
    console = terminal()
    drawn = table("Check", "", "Found", "What to do")
    for finding in findings:
        drawn.add_row(
            finding.check, Text(finding.level.value, style=_STYLES[finding.level]), finding.found, finding.advice
        )
    console.print(drawn)
