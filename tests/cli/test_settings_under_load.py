"""Every setting of a running server edited, one after the other, while calls go on."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import anyio
import pytest
from anyio import lowlevel
from mcp import Client
from mcp.types import CallToolResult
from pydantic import SecretStr

import settings_edits
from cli.running_options import options_of
from mdagent_mcp import app
from mdagent_mcp.cli import reloading
from mdagent_mcp.cli.opening import opening_of
from mdagent_mcp.cli.parser import parse_arguments
from mdagent_mcp.cli.reloading import ReloadingMarketData
from mdagent_mcp.cli.serving_http import http_server
from mdagent_mcp.cli.simulation import is_replaced, simulated_settings
from mdagent_mcp.cli.startup import load_settings, read_settings
from mdagent_mcp.cli.watching import Watching
from mdagent_mcp.config.loading import Loaded, load
from mdagent_mcp.config.schema import settings_schema
from mdagent_mcp.config.settings import SourceSettings
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.vendor import Quota, Reply, Request
from mdagent_mcp.engine.service import Engine
from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.monitoring.alerting import QuietHours
from mdagent_mcp.monitoring.exporting import MetricsExport
from mdagent_mcp.monitoring.metrics import Metrics
from mdagent_mcp.sandbox.server import running_sandbox
from mdagent_mcp.server.http.gate import Gate
from mdagent_mcp.server.http.traffic import Traffic
from mdagent_mcp.transport.source import Source
from mdagent_mcp.vendors.registry import VENDORS
from settings_edits import EDITS, SOURCE_EDITS, Edit, base_values, edits, text_of

SYMBOLS: Final = ("AAPL", "MSFT", "NVDA")
CALLS_AN_EDIT: Final = 4
QUICK: Final = ["nasdaq", "cboe"]
"""Sources that the sandbox simulates at little expense; all are asked while one of them is edited."""


@dataclass
class Server:
    """A server over the sandbox in this process, with what it is made of.

    Attributes:
        file: its settings.
        client: of the real protocol.
        service: follows the settings.
        gate: in front of it.
        alerts: of it.
        engines: opened, the latest last.
        exports: begun, the latest last.
        options: what it worked with after the last edit.
        symbols: asked about by turns.
        calls: answered.
        lost: what was not answered, with the settings then.
        told: of the settings, by the last `source_status`.
    """

    file: Path
    client: Client
    service: ReloadingMarketData
    gate: Gate
    alerts: Alerts
    engines: list[Engine]
    exports: list[MetricsExport]
    options: Mapping[str, list[Any]] = field(default_factory=dict)
    symbols: Iterator[str] = field(default_factory=lambda: cycle(SYMBOLS))
    calls: int = 0
    lost: list[str] = field(default_factory=list)
    told: str = ""

    def source(self, name: str) -> Source:
        """A source of the latest engine."""
        found: Source = vars(self.engines[-1])["_parts"].sources[name]
        return found

    async def edit(self, values: Mapping[str, Any], mark: str, *, everybody: bool = False) -> str:
        """Write the settings and have them read while a call is under way, and begin others of each kind at once.

        Args:
            values: of the settings, by dotted name.
            mark: tells these settings apart from others.
            everybody: whether all sources are asked.

        Returns:
            What is told of the settings afterwards.
        """
        quote: dict[str, Any] = {} if everybody else {"sources": QUICK}
        async with anyio.create_task_group() as calls:
            calls.start_soon(self._call, "get_quote", {**quote, "symbols": [next(self.symbols)], "max_age_s": 0})
            await lowlevel.checkpoint()
            self.file.write_text(text_of(values, mark), encoding="utf-8")
            if not await self.service.reload():
                self.lost.append(f"{mark}: the edit was refused")
            symbol = next(self.symbols)
            calls.start_soon(self._call, "get_quote", {**quote, "symbols": [symbol]})
            calls.start_soon(self._call, "get_history", {"symbol": symbol, "period": "5d", "sources": QUICK[:1]})
            calls.start_soon(self._call, "source_status", {"source": "yahoo"})
        self.options = options_of((self.gate, self.alerts, self.engines[-1], self.exports[-1:]))
        return self.told

    async def _call(self, tool: str, arguments: dict[str, Any]) -> None:
        result = await self.client.call_tool(tool, arguments)
        found = result.structured_content or {}
        self.calls += 1
        if result.is_error or found.get("failures"):
            self.lost.append(f"{self.file.read_text(encoding='utf-8')}: {result.content}")
        if tool == "source_status":
            self.told = str(found["overall"]["settings"])


@asynccontextmanager
async def serving(home: Path, monkeypatch: pytest.MonkeyPatch, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    """As `serve --http --sandbox` puts it together, but for the socket and the watch over the file."""
    file = home / "mdagent.toml"
    file.write_text(text_of({**base_values(home), "http.host": host}, "begin"), encoding="utf-8")
    arguments = parse_arguments(["--sandbox", "--config", str(file), "serve", "--http"])
    loaded = load_settings(arguments)
    opening = opening_of(arguments, loaded.settings)
    watching = Watching(loaded, partial(read_settings, arguments), Alerts(opening.clock), Metrics("test"))
    made = _note_what_is_made(monkeypatch)
    gate, parts = http_server(replace(opening, watching=watching), Traffic(), SystemClock())
    async with Client(parts.server, raise_exceptions=True) as client:
        await client.call_tool("source_status", {})
        (service,) = made["ReloadingMarketData"]
        yield Server(file, client, service, gate, watching.alerts, made["Engine"], made["MetricsExport"])


def _note_what_is_made(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, list[Any]]:
    """What is made of some classes from now on; files are not watched."""
    made: dict[str, list[Any]] = {}

    def note(module: object, name: str) -> None:
        kind, kept = getattr(module, name), made.setdefault(name, [])

        def make(*args: Any, **kwargs: Any) -> Any:
            kept.append(kind(*args, **kwargs))
            return kept[-1]

        monkeypatch.setattr(module, name, make)

    note(reloading, "ReloadingMarketData")
    note(app, "Engine")
    note(app, "MetricsExport")
    monkeypatch.setattr(reloading, "file_changes", _no_changes)
    return made


async def _no_changes(loaded: Loaded) -> AsyncGenerator[object]:
    await anyio.sleep_forever()
    yield loaded


KEYS: Final = {"polygon": "starter-sandbox-key", "alpha_vantage": "premium75-sandbox-key"}
Probe = Callable[[Server], bool]


def works_with(where: str, value: object) -> Probe:
    """Whether an object of the running server has this in this attribute."""
    return lambda server: value in server.options.get(where, [])


def source_with(source: str, attribute: str, value: object) -> Probe:
    """Whether a source of the running server has this option."""
    return lambda server: bool(getattr(server.source(source).options, attribute) == value)


def is_gone(where: str) -> Probe:
    """Whether no object of the running server has this attribute."""
    return lambda server: where not in server.options


def is_not_stored(source: str) -> Probe:
    """Whether past prices of a source are kept off the disk."""
    return lambda server: all(source not in origins for origins in server.options["HistoryFile._origins"])


PLACES: Final[Mapping[str, tuple[str, object]]] = {
    "engine.source_timeout_s": ("TimeLimiting.seconds", 1.25),
    "engine.questions_at_once": ("SheddingOptions.most", 77),
    "engine.gather_s": ("SourceOptions.gather_s", 0.0),
    "cache.history_completed_days": ("FreshnessOptions.completed_s", 0.0),
    "cache.history_bars": ("HistoryCache._capacity", 1_003),
    "cache.history_store_mb": ("FileLimits.most_bytes", 3_500_000),
    "cache.history_store_days": ("FileLimits.oldest_s", 3.5 * 86_400),
    "memory.quotes_kept": ("ArchiveLimits.quotes", 777),
    "memory.histories_kept": ("ArchiveLimits.histories", 77),
    "memory.days_kept": ("ArchiveLimits.age_s", 3.5 * 86_400),
    "shared.url": ("SharedServer._url", EDITS["shared.url"]),
    "shared.timeout_s": ("SharedServer._timeout_s", 0.035),
    "metrics.push_url": ("MetricsExport.push_url", EDITS["metrics.push_url"]),
    "metrics.interval_s": ("MetricsExport.interval_s", 7.5),
    "alerts.watch": ("RuleLimits.watch", frozenset({"AAPL"})),
    "alerts.interval_s": ("Alerts._interval_s", 7.5),
    "alerts.remind_after_s": ("AlertPolicy.remind_after", timedelta(seconds=777)),
    "alerts.quiet_hours": ("AlertPolicy.quiet", QuietHours(time(21), time(6, 30), ZoneInfo("UTC"))),
    "alerts.timezone": ("QuietHours.zone", ZoneInfo("Asia/Tokyo")),
    "alerts.quota_share": ("RuleLimits.quota_share", 0.77),
    "alerts.source_down_s": ("RuleLimits.source_down", timedelta(seconds=77)),
    "http.requests_per_s": ("BucketOptions.rate", 90_000),
    "http.burst": ("BucketOptions.burst", 90_001),
    "http.max_body_bytes": ("RequestLimits.body_bytes", 2_000_000),
    "http.max_json_depth": ("RequestLimits.json_depth", 33),
}
"""Where a setting of a section is used, and as what; those of a section that are used as they are stand in `ALIKE`."""
ALIKE: Final = {"engine": "CollectionOptions", "cache": "FreshnessOptions", "grading": "GradingThresholds"}
OTHERWISE: Final[Mapping[str, Probe]] = {
    "cache.history_store": is_gone("HistoryFile._limits"),
    "memory.enabled": lambda server: "RamDatabase._clock" in server.options,
    "metrics.file": lambda server: server.exports[-1].file == server.file.parent / "metrics" / "other.prom",
    "alerts.channels": lambda server: (
        [c.address.get_secret_value() for c in server.alerts.channels] == EDITS["alerts.channels"]
    ),
    "http.tokens": lambda server: any("bob" in hashes for hashes in server.options["TokenBook._hashes"]),
    "http.allowed_hosts": lambda server: any(
        rules.admit_host("data.example.org") for rules in server.options["Admission.rules"]
    ),
    "http.allowed_origins": lambda server: any(
        rules.admit_origin("https://app.example.org") for rules in server.options["Admission.rules"]
    ),
    "data_dir": lambda server: (
        server.options["FileDatabase._path"] == [server.file.parent / "other-data" / "sandbox" / "memory.sqlite3"]
    ),
    "log_level": lambda _: logging.getLogger("mdagent_mcp").level == logging.ERROR,
}
OF_SOURCES: Final[Mapping[str, Mapping[str, Probe]]] = {
    "plan": {
        "twelve_data": source_with("twelve_data", "cost_per_call", 0.003),
        "polygon": source_with("polygon", "declared_delay_s", 900.0),
    },
    "entitlement": {"alpha_vantage": source_with("alpha_vantage", "declared_delay_s", 0.0)},
    "quotas": {
        "yahoo": source_with("yahoo", "quotas", (Quota(1, 3600.0, "3600 s"),)),
        "finnhub": source_with("finnhub", "quotas", (Quota(7, 60.0, "60 s"),)),
    },
    "store_history": {name: is_not_stored(name) for name in SOURCE_EDITS["store_history"]},
}


def probe_of(edit: Edit) -> Probe:
    """How to see that an edit is in force; a `KeyError` for a setting of which nobody knows."""
    section, _, name = edit.name.rpartition(".")
    if section.startswith("sources."):
        source = section.removeprefix("sources.")
        by_source = OF_SOURCES.get(name)
        return source_with(source, name, edit.value) if by_source is None else by_source[source]
    if edit.name in OTHERWISE:
        return OTHERWISE[edit.name]
    where, value = PLACES.get(edit.name) or (f"{ALIKE[section]}.{name}", edit.value)
    return works_with(where, value)


def told_of(edit: Edit) -> str:
    """What `source_status` should say of the settings while an edit is in the file."""
    if edit.is_read_at_start:
        return f"read at the next start: {edit.name}"
    return f"not used with --sandbox: {edit.name}" if is_replaced(edit.name) else "ok"


async def test_edits_of_every_setting_under_load_lose_no_call_and_are_in_force_or_told(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One setting after the other; every symbol is answered all the while."""
    chosen = edits(empty_home)
    live = [edit for edit in chosen if told_of(edit) == "ok"]
    wrong: list[str] = []

    async with serving(empty_home, monkeypatch) as server:
        await server.edit(base_values(empty_home), "begin")
        wrong += [f"{edit.name} is in force before it is edited" for edit in live if probe_of(edit)(server)]
        for number, edit in enumerate(chosen):
            told = await server.edit(edit.values, f"edit {number}", everybody=edit.name.startswith("sources."))
            if told != told_of(edit):
                wrong.append(f"{edit.name}: '{told}' is told")
            if server.source("iex_cloud").options.upstream_group != f"edit {number}":
                wrong.append(f"{edit.name}: other settings are in force")
            if told_of(edit) == "ok" and not probe_of(edit)(server):
                wrong.append(f"{edit.name} is not in force")
        await server.edit(base_values(empty_home), "end")
        wrong += [f"{edit.name} is still in force" for edit in live if probe_of(edit)(server)]
    assert wrong == []
    assert server.lost == []
    assert server.calls == CALLS_AN_EDIT * (len(chosen) + 2)


def test_every_kind_of_setting_of_a_source_is_edited_for_two_sources_at_least() -> None:
    """But for what only one of them sells."""
    assert set(SOURCE_EDITS) == set(SourceSettings.model_fields)
    assert {kind for kind, by_source in SOURCE_EDITS.items() if len(by_source) < 2} == {"entitlement"}
    assert sum(bool(vendor.entitlements) for vendor in VENDORS) == 1


def test_a_setting_of_which_no_other_value_is_known_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody adds one that is not edited under load; likewise one that is gone."""
    monkeypatch.setattr(settings_edits, "EDITS", {n: v for n, v in EDITS.items() if n != "engine.hedging"} | {"a.b": 1})
    with pytest.raises(LookupError, match=r"\['a\.b', 'engine\.hedging'\]"):
        edits(tmp_path)


def test_what_is_read_at_the_start_is_said_by_the_schema(tmp_path: Path) -> None:
    """Editors show it, and the page on HTTP names those settings."""
    told = settings_schema()["$defs"]["HttpSettings"]["properties"]
    marked = [edit.name for edit in edits(tmp_path) if edit.is_read_at_start]
    assert marked == ["tracing.otlp_url", *(f"http.{name}" for name, said in told.items() if "x-takes-effect" in said)]
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
    (followed,) = re.findall(r"While the server runs, it follows (.*?);", page, re.DOTALL)
    assert re.findall(r"`([a-z_]+)`", followed) == [n for n, said in told.items() if "x-takes-effect" not in said]


async def test_a_source_that_is_disabled_while_it_is_asked_answers_that_call(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next call says that it is disabled."""
    question = {"symbols": ["AAPL"], "sources": ["nasdaq"]}
    results: list[CallToolResult] = []
    async with serving(empty_home, monkeypatch) as server, anyio.create_task_group() as calls:

        async def ask() -> None:
            results.append(await server.client.call_tool("get_quote", question))

        client = server.source("nasdaq").client
        send, asked, may_answer = client.send, anyio.Event(), anyio.Event()

        async def held(request: Request) -> Reply:
            asked.set()
            await may_answer.wait()
            return await send(request)

        monkeypatch.setattr(client, "send", held)
        calls.start_soon(ask)
        await asked.wait()
        server.file.write_text(text_of(base_values(empty_home) | {"sources.nasdaq.enabled": False}, "disabled"))
        assert await server.service.reload()
        await ask()
        may_answer.set()
    refused, answered = (result.structured_content or {} for result in results)
    assert answered["quotes"][0]["sources_used"] == ["nasdaq"]
    assert [failure["sources"] for failure in refused["failures"]] == [{"nasdaq": "unsupported"}]
    assert "nasdaq: unsupported (the source is disabled)" in refused["failures"][0]["message"]


async def test_a_file_that_would_open_the_server_to_everybody_is_refused_as_a_whole(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a broken one is: what it says of anything else is not in force either, and why is told."""
    async with serving(empty_home, monkeypatch, host="10.0.0.5") as server:
        values = {**base_values(empty_home), "http.host": "10.0.0.5"}
        server.file.write_text(text_of({**values, "http.tokens": {}, "engine.deadline_s": 5}, "open"))
        assert not await server.service.reload()
        told = (await server.service.source_status())[1].settings_state
        assert told.startswith("http.host 10.0.0.5 can be reached")
        assert [len(server.engines), server.source("iex_cloud").options.upstream_group] == [1, "begin"]
        await server.edit({**values, "engine.deadline_s": 5}, "safe")
        assert (server.told, server.options["CollectionOptions.deadline_s"]) == ("ok", [5.0])


async def test_a_simulated_source_is_asked_as_its_settings_say_with_a_key_of_their_plan() -> None:
    """Nothing of the real one is left: no key and no address; a retired one stays retired."""
    environ = {
        "MDAGENT_SOURCES__POLYGON": '{"plan": "starter", "api_key": "real", "timeout_s": 3}',
        "MDAGENT_SOURCES__ALPHA_VANTAGE": '{"plan": "premium_75", "base_urls": ["http://10.0.0.5"]}',
        "MDAGENT_SOURCES__YAHOO": '{"enabled": false, "store_history": false}',
        "MDAGENT_SOURCES__IEX_CLOUD": '{"base_url": "http://10.0.0.5", "api_key": "real"}',
        "MDAGENT_CACHE__HISTORY_STORE": "true",
    }
    async with running_sandbox(SystemClock()) as sandbox:
        settings = simulated_settings(load(environ).settings, sandbox)
    asked = {name: (settings.source(name).urls, settings.source(name).api_key) for name in settings.sources}
    assert asked == {
        vendor.id: ((), None)
        if vendor.id == "iex_cloud"
        else (
            (f"{sandbox.base_url}/{vendor.id}",),
            None if vendor.key is None else SecretStr(KEYS.get(vendor.id, "sandbox-key")),
        )
        for vendor in VENDORS
    }
    assert (settings.source("polygon").timeout_s, settings.source("polygon").plan) == (3.0, "starter")
    assert [settings.source(name).enabled for name in ("yahoo", "nasdaq")] == [False, True]
    assert [settings.source(name).store_history for name in ("yahoo", "nasdaq")] == [False, True]
