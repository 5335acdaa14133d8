"""One seed of a chaos run: episodes of trouble, rounds of calls, checks after each, and a census of what is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final

import anyio

from chaos_calls import draw_call
from chaos_checks import Findings, Judge
from chaos_clock import EventClock, RealWork
from chaos_network import Network
from chaos_plan import ROOMY, Episode, episode
from chaos_valkey import budgets_on_valkey
from chaos_world import START, ChaosWorld, Outside, chaos_world, forget_market, settings_of
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.vendors.registry import VENDORS

PAUSE_S: Final = (0.5, 6.0)
LULL_CHANCE: Final = 0.004
LULL_S: Final = (600.0, 7200.0)
"""Now and then nobody asks for a while, so that runs pass through every session of the market."""
RESTART_EVERY: Final = 1500
"""Calls after which the server is closed and opened again on the same data directory."""
WARM_UP_SHARE: Final = 0.5
CHARGED_BY_SYMBOL: Final = frozenset({"twelve_data"})
"""Vendors that count symbols and not calls; there the sandbox's own count is the judge."""
SHORTEST_WINDOW_S: Final = 5.0
"""In shorter ones the way to the vendor alone may push more calls together than were sent."""
MOST_GROWTH: Final = 0.25
"""Of what is allocated, from the middle to the end of a life, in which tables kept by symbol and source still fill."""


@dataclass(frozen=True)
class Plan:
    """What one seed does.

    Attributes:
        seed: of everything.
        calls: tool calls.
        tight: whether keys have the smallest plans.
        liars: sources that lie at once; None for none, one or two.
        jumps: whether the server's clock is set wrong.
        valkey: whether budgets are kept on a Valkey server, which is killed now and then.
        episodes: these in turn, instead of drawn ones.
    """

    seed: int
    calls: int
    tight: bool = False
    liars: int | None = None
    jumps: bool = True
    valkey: bool = False
    episodes: tuple[Episode, ...] = ()


@dataclass
class Outcome:
    """What one seed came to.

    Attributes:
        plan: the seed's.
        findings: what was checked.
        sent: requests by vendor.
        hit: network faults that befell a request.
        disk_refused: writes that the disk refused.
        kills: times that the Valkey server was killed.
        took_s: real seconds.
        grown: share by which allocated blocks grew.
    """

    plan: Plan
    findings: Findings = field(default_factory=Findings)
    sent: Counter[str] = field(default_factory=Counter)
    hit: Counter[str] = field(default_factory=Counter)
    disk_refused: int = 0
    kills: int = 0
    took_s: float = 0.0
    grown: float = 0.0


@dataclass(frozen=True)
class Census:
    """What a process holds: open files and sockets, and threads."""

    files: int
    threads: int

    @classmethod
    def now(cls) -> Census:
        """Count."""
        gc.collect()
        return cls(len(list(Path("/proc/self/fd").iterdir())), threading.active_count())


class LoggedErrors(logging.Handler):
    """Every error that the server or a library logs: what was isolated is a defect all the same."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(logging.ERROR)
        self._findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        reason = record.exc_info[1] if record.exc_info else ""
        self._findings.violated("no exception", f"logged: {record.getMessage()} ({type(reason).__name__}: {reason})")


@contextmanager
def errors_noted(findings: Findings) -> Iterator[None]:
    """Note every error that is logged during the body."""
    handler, root = LoggedErrors(findings), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def run_plan(plan: Plan) -> Outcome:
    """Run one seed in an event loop of its own."""
    outcome, started = Outcome(plan), time.perf_counter()
    before = Census.now()
    with tempfile.TemporaryDirectory() as directory, errors_noted(outcome.findings):
        anyio.run(_live, plan, outcome, Path(directory))
    after = Census.now()
    if after.files > before.files or after.threads > before.threads:
        outcome.findings.violated("leak", f"{before} before, {after} after")
    outcome.took_s = time.perf_counter() - started
    return outcome


async def _live(plan: Plan, outcome: Outcome, directory: Path) -> None:
    """Several lives of a server on one data directory."""
    real, left, life = RealWork(), plan.calls, 0
    outside, rng = Outside.of(plan.seed, EventClock(START, real)), random.Random(f"plan {plan.seed}")
    with ExitStack() as stack:
        stack.enter_context(outside.disk.installed())
        stack.enter_context(real.installed())
        if plan.valkey:
            outside.valkey = stack.enter_context(budgets_on_valkey(outside.clock, real))
        settings = settings_of(tight=plan.tight, shared_url=outside.valkey.url if outside.valkey else None)
        while left > 0:
            # What a server and Valkey lose at the same time nobody can remember.
            calls = left if plan.valkey else min(left, RESTART_EVERY)
            async with chaos_world(plan.seed * 1000 + life, settings, outside, directory) as world:
                await _play(world, plan, outcome, rng, calls)
            _look_for_leaks(outside.network, outcome)
            left, life = left - calls, life + 1
        _take_stock(outside, settings, outcome)


def _take_stock(outside: Outside, settings: Settings, outcome: Outcome) -> None:
    """What network, disk and vendors counted."""
    network = outside.network
    outcome.sent, outcome.hit, outcome.disk_refused = network.sent, network.hit, outside.disk.refused
    outcome.kills = outside.valkey.kills if outside.valkey else 0
    for name, at in network.refused:
        outcome.findings.violated("quota", f"{name} refused a call for its number at {at:.1f} s")
    for vendor in VENDORS:
        plan = vendor.plans.get(settings.source(vendor.id).plan)
        for quota in () if plan is None or vendor.id in CHARGED_BY_SYMBOL else plan.quotas:
            for at in (
                () if quota.window_s < SHORTEST_WINDOW_S else overruns(network.arrivals.get(vendor.id, ()), quota)
            ):
                words = f"{vendor.id}: more than a window of {quota.window_s:g} s allows, at {at:.1f} s"
                outcome.findings.violated("quota", words)


def overruns(arrivals: Sequence[float], quota: Quota) -> list[float]:
    """When a window of a quota held more than its limit, sliding, as exactly as the vendor could count."""
    return [at for first, at in zip(arrivals, arrivals[quota.limit :], strict=False) if at - first < quota.window_s]


async def _play(world: ChaosWorld, plan: Plan, outcome: Outcome, rng: random.Random, calls: int) -> None:
    judge = Judge(world, outcome.findings, ROOMY if not plan.tight else frozenset())
    evidence: deque[str] = deque(maxlen=500)
    made, until, blocks, episodes = 0, 0.0, 0, _episodes(plan, rng)
    while made < calls:
        if world.clock.monotonic() >= until:
            drawn = next(episodes)
            until = world.clock.monotonic() + drawn.lasts_s
            world.begin(drawn)
        batch = [draw_call(rng, evidence) for _ in range(min(rng.choice((1, 1, 1, 1, 2, 4, 8)), calls - made))]
        await world.run(*batch)
        for asked in batch:
            judge.look(asked)
            evidence.extend(quote["evidence_id"] for quote in asked.content.get("quotes", ()))
        made += len(batch)
        if not blocks and made >= WARM_UP_SHARE * calls:
            blocks = _blocks()
        await world.clock.advance(rng.uniform(*(LULL_S if rng.random() < LULL_CHANCE else PAUSE_S)))
    grown = _blocks() / blocks - 1.0
    outcome.grown = max(outcome.grown, grown)
    if calls >= RESTART_EVERY and grown > MOST_GROWTH:
        outcome.findings.violated("memory", f"allocated blocks grew by {grown:.1%} in half a life")
    world.begin(Episode(0.0))


def _episodes(plan: Plan, rng: random.Random) -> Iterator[Episode]:
    if plan.episodes:
        yield from cycle(plan.episodes)
    while True:
        yield episode(rng, liars=plan.liars, jumps=plan.jumps)


def _blocks() -> int:
    """Allocated blocks without what the simulated market keeps in its memory tables, which is none of the server's."""
    forget_market()
    gc.collect()
    return sys.getallocatedblocks()


def _look_for_leaks(network: Network, outcome: Outcome) -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]
    if tasks:
        outcome.findings.violated("leak", f"{len(tasks)} tasks: {tasks[0].get_name()} {tasks[0].get_coro()}")
    if network.open_streams:
        outcome.findings.violated("leak", f"{network.open_streams} bodies were not closed")
