"""The real HTTP client against connections that break, over real sockets: everything ends, and nothing is left open."""

from __future__ import annotations

import random
from collections import Counter
from itertools import cycle

import anyio
import pytest

from chaos_checks import Findings
from chaos_proxy import BREAKS, breaking_proxy
from chaos_run import Census, errors_noted
from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import load
from mdagent_mcp.domain.answers import QuotesAnswer
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.sandbox.clock import ShiftedClock
from mdagent_mcp.sandbox.server import running_sandbox
from story.simulated_world import REGULAR

DEADLINE_S = 1.5
SOURCES = ("yahoo", "nasdaq", "cboe", "finnhub", "tiingo")


def _settings(url: str, **more: str) -> dict[str, str]:
    environ = {
        "MDAGENT_ENGINE__DEADLINE_S": str(DEADLINE_S),
        "MDAGENT_ENGINE__SOURCE_TIMEOUT_S": "0.4",
        "MDAGENT_CACHE__OPEN_MARKET_S": "0",
        "MDAGENT_SOURCES__FINNHUB__API_KEY": "premium-key",
        "MDAGENT_SOURCES__TIINGO__API_KEY": "power-key",
        "MDAGENT_SOURCES__ALPHA_VANTAGE__ENABLED": "false",
    }
    for source in SOURCES:
        environ[f"MDAGENT_SOURCES__{source.upper()}__BASE_URL"] = f"{url}/{source}"
        environ[f"MDAGENT_SOURCES__{source.upper()}__QUOTAS"] = "[]"
    return environ | more


async def _ask_all(environ: dict[str, str], questions: int, seed: int) -> list[QuotesAnswer]:
    clock = ShiftedClock(SystemClock(), REGULAR)
    answers: list[QuotesAnswer] = []
    async with open_app(load(environ).settings, clock=clock, data_dir=None, rng=random.Random(seed)) as engine:

        async def ask(symbol: str) -> None:
            answers.append(await engine.quotes(QuoteQuestion((parse_symbol(symbol),))))

        for at in range(0, questions, 8):
            async with anyio.create_task_group() as tasks:
                for number in range(at, min(at + 8, questions)):
                    tasks.start_soon(ask, f"SIM{number:03}")
    return answers


def test_connections_that_break_in_every_way_leave_nothing_open_and_nobody_waiting() -> None:
    """Resets, cut and overlong bodies, drips, silence, no HTTP at all: each seen by the real client."""
    findings, shown = Findings(), Counter[str]()
    breaks = cycle(kind for broken in BREAKS for kind in (broken, "whole"))
    answers: list[QuotesAnswer] = []

    async def run() -> None:
        async with running_sandbox(ShiftedClock(SystemClock(), REGULAR)) as sandbox:
            async with breaking_proxy(sandbox.base_url, lambda: next(breaks)) as proxy:
                answers.extend(await _ask_all(_settings(proxy.url), 32, seed=1))
            shown.update(proxy.broken)

    before = Census.now()
    with errors_noted(findings):
        anyio.run(run)
    assert findings.violations == {}
    assert Census.now() == before
    assert set(shown) == set(BREAKS)
    assert len(answers) == 32
    # Half a second beyond the deadline for a busy machine.
    assert max(answer.usage.elapsed_ms for answer in answers) < 1000 * (DEADLINE_S + 0.25 + 0.5)
    assert sum(len(answer.quotes) for answer in answers) > 16


@pytest.mark.parametrize("url", ["http://nowhere.invalid", "https://127.0.0.1:1", "http://127.0.0.1:1"])
def test_names_that_do_not_resolve_and_ports_that_refuse_are_told_as_the_network_and_leave_nothing_open(
    url: str,
) -> None:
    """Never as a symbol that does not exist."""
    answers: list[QuotesAnswer] = []

    async def run() -> None:
        answers.extend(await _ask_all(_settings(url), 2, seed=1))

    before = Census.now()
    anyio.run(run)
    assert Census.now() == before
    assert [failure.kind for answer in answers for failure in answer.failures] == [FailureKind.NETWORK] * 2
