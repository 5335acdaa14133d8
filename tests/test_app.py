"""Behaviour of the composition root."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from mdagent_mcp import app as app_module
from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import load
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import InvalidArgumentError, QuoteQuestion
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import quote_answer
from story.simulated_world import Unreachable, turning

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)


async def test_settings_reach_the_sources() -> None:
    """A disabled source, one without a key, a plan and quotas of one's own."""
    environ = {
        "MDAGENT_SOURCES__YAHOO__ENABLED": "false",
        "MDAGENT_SOURCES__NASDAQ__QUOTAS": '[{"limit": 7, "window_s": 60}]',
        "MDAGENT_SOURCES__NASDAQ__COST_PER_CALL": "0.5",
        "MDAGENT_SOURCES__NASDAQ__UPSTREAM_GROUP": "mine",
    }
    async with open_app(load(environ).settings, clock=ManualClock(NOON), data_dir=None) as app:
        statuses = {s.source: s for s in (await app.source_status())[0]}
    assert {name: statuses[name].state for name in ("yahoo", "nasdaq", "cboe", "finnhub")} == {
        "yahoo": SourceState.DISABLED,
        "nasdaq": SourceState.LIVE,
        "cboe": SourceState.LIVE,
        "finnhub": SourceState.NO_KEY,
    }
    nasdaq = statuses["nasdaq"]
    assert [(b.limit, b.window, b.used) for b in nasdaq.budget] == [(7, "60 s", 0)]
    assert (nasdaq.cost_per_call, nasdaq.upstream_group) == (0.5, "mine")
    assert "FINNHUB_API_KEY" in statuses["finnhub"].reason
    shares = {name: s.weight for name, s in statuses.items()}
    assert (shares["yahoo"], shares["finnhub"]) == (0.0, 0.0)
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.001)


async def test_an_unknown_source_is_refused_by_name() -> None:
    """With the names there are."""
    async with open_app(load({}).settings, clock=ManualClock(NOON), data_dir=None) as app:
        with pytest.raises(InvalidArgumentError, match="source: must be one of yahoo, nasdaq"):
            await app.source_status("bloomberg")


async def test_a_shared_memory_that_is_away_is_told_in_the_status_and_is_no_error(tmp_path: Path) -> None:
    """The server is named without its password; without a data directory nothing is shared."""
    url = "postgresql://someone:S3cret@127.0.0.1:9/memory"
    settings = load({"MDAGENT_SHARED__MEMORY_URL": url}).settings
    states = []
    for folder in (tmp_path, None):
        async with open_app(settings, clock=ManualClock(NOON), data_dir=folder) as app:
            states.append((await app.source_status())[1].memory_state)
    assert states == [
        "kept in RAM until it can be saved: the shared memory at 127.0.0.1:9 cannot be used (ConnectionRefusedError)",
        "ok",
    ]


async def test_a_question_begins_with_what_is_stored_about_its_instruments(tmp_path: Path) -> None:
    """The store holds something about two of them from an earlier session; one is asked about."""
    clock = ManualClock(NOON)
    async with open_memory(tmp_path / "memory.sqlite3", clock) as memory:
        for symbol in ("AAPL", "MSFT"):
            memory.keep(quote_answer(f"q-{symbol}", symbol, at=NOON))
    async with open_app(
        load({}).settings, clock=clock, data_dir=tmp_path, open_transport=lambda _: Unreachable()
    ) as app:
        known = app._parts.memory.symbol_knowledge
        with anyio.move_on_after(0.5):
            await app.quotes(QuoteQuestion((parse_symbol("AAPL"),)))
        assert (known("AAPL") is None, known("MSFT") is None) == (False, True)


async def test_memory_lies_in_the_data_directory_and_holds_no_key(tmp_path: Path) -> None:
    """One database; the key is nowhere in it."""
    key = "k3y-that-must-not-leak"
    settings = load({"FINNHUB_API_KEY": key}).settings
    clock = ManualClock(NOON)
    async with open_app(settings, clock=clock, data_dir=tmp_path, open_transport=lambda _: Unreachable()) as app:
        answer = await turning(clock, lambda: app.quotes(QuoteQuestion((parse_symbol("AAPL"),))))
    assert [f.symbol for f in answer.failures] == ["AAPL"]
    assert {path.name for path in tmp_path.iterdir()} == {"memory.sqlite3"}
    assert key.encode() not in (tmp_path / "memory.sqlite3").read_bytes()


async def test_settings_that_no_engine_can_be_built_of_leave_the_alerts_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The watch over a running server is told the settings of the engines that stand."""

    async def failing(*_: object) -> None:
        raise OSError("no room")

    clock = ManualClock(NOON)
    alerts = Alerts(clock)
    first, second = (load({"MDAGENT_ALERTS__CHANNELS": f'["json://127.0.0.1:9/{n}"]'}).settings for n in (1, 2))
    async with open_app(first, clock=clock, data_dir=None, alerts=alerts):
        monkeypatch.setattr(app_module, "_open_caching", failing)
        with pytest.raises(OSError, match="no room"):
            async with open_app(second, clock=clock, data_dir=None, alerts=alerts):
                pass
        assert [channel.address.get_secret_value() for channel in alerts.channels] == ["json://127.0.0.1:9/1"]
