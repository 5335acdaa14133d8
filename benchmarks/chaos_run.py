"""One seed of a chaos run: episodes of trouble, rounds of calls, checks after each, and a census of what is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio

from chaos_calls import draw_call
from chaos_checks import Findings, Judge
from chaos_clock import EventClock, RealWork
from chaos_network import Network
from chaos_plan import ROOMY, Episode, episode
from chaos_world import START, ChaosWorld, Outside, chaos_world, settings_of
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
MOST_GROWTH: Final = 0.15
"""Of what is allocated, from the middle to the end of a life; caches are full long before."""


@dataclass(frozen=True)
class Plan:
    """What one seed does.

    Attributes:
        seed: of everything.
        calls: tool calls.
        tight: whether keys have the smallest plans.
        liars: sources that lie at once; None for none, one or two.
        jumps: whether the server's clock is set wrong.
    """

    seed: int
    calls: int
    tight: bool = False
    liars: int | None = None
    jumps: bool = True


@dataclass
class Outcome:
    """What one seed came to.

    Attributes:
        plan: the seed's.
        findings: what was checked.
        sent: requests by vendor.
        hit: network faults that befell a request.
        disk_refused: writes that the disk refused.
        took_s: real seconds.
        grown: share by which allocated blocks grew.
    """

    plan: Plan
    findings: Findings = field(default_factory=Findings)
    sent: Counter[str] = field(default_factory=Counter)
    hit: Counter[str] = field(default_factory=Counter)
    disk_refused: int = 0
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
        return cls(len(os.listdir("/proc/self/fd")), threading.active_count())


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
def _errors_noted(findings: Findings) -> Iterator[None]:
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
    with tempfile.TemporaryDirectory() as directory, _errors_noted(outcome.findings):
        anyio.run(_live, plan, outcome, Path(directory))
    after = Census.now()
    if after.files > before.files or after.threads > before.threads:
        outcome.findings.violated("leak", f"{before} before, {after} after")
    outcome.took_s = time.perf_counter() - started
    return outcome


async def _live(plan: Plan, outcome: Outcome, directory: Path) -> None:
    """Several lives of a server on one data directory."""
    real, left, life = RealWork(), plan.calls, 0
    outside, settings = Outside.of(plan.seed, EventClock(START, real)), settings_of(tight=plan.tight)
    rng = random.Random(f"plan {plan.seed}")
    with outside.disk.installed(), real.installed():
        while left > 0:
            calls = min(left, RESTART_EVERY)
            async with chaos_world(plan.seed * 1000 + life, settings, outside, directory) as world:
                await _play(world, plan, outcome, rng, calls)
            _look_for_leaks(outside.network, outcome)
            left, life = left - calls, life + 1
    _take_stock(outside, settings, outcome)


def _take_stock(outside: Outside, settings: Settings, outcome: Outcome) -> None:
    """What network, disk and vendors counted."""
    network = outside.network
    outcome.sent, outcome.hit, outcome.disk_refused = network.sent, network.hit, outside.disk.refused
    for vendor, at in network.refused:
        outcome.findings.violated("quota", f"{vendor} refused a call for its number at {at:.1f} s")
    for vendor in VENDORS:
        plan = vendor.plans.get(settings.source(vendor.id).plan)
        for quota in () if plan is None or vendor.id in CHARGED_BY_SYMBOL else plan.quotas:
            most = most_in_window(network.arrivals.get(vendor.id, ()), quota)
            if quota.window_s >= SHORTEST_WINDOW_S and most > quota.limit:
                outcome.findings.violated("quota", f"{vendor.id}: {most} calls in a window of {quota.window_s:g} s")


def most_in_window(arrivals: Sequence[float], quota: Quota) -> int:
    """The most calls that any window of a quota ever held, sliding, as exactly as the vendor could count."""
    most = first = 0
    for last, at in enumerate(arrivals):
        while arrivals[first] <= at - quota.window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


async def _play(world: ChaosWorld, plan: Plan, outcome: Outcome, rng: random.Random, calls: int) -> None:
    judge = Judge(world, outcome.findings, ROOMY if not plan.tight else frozenset())
    evidence: deque[str] = deque(maxlen=500)
    made, until, blocks = 0, 0.0, 0
    while made < calls:
        if world.clock.monotonic() >= until:
            drawn = episode(rng, liars=plan.liars, jumps=plan.jumps)
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
    outcome.grown = max(outcome.grown, _blocks() / blocks - 1.0)
    if calls >= RESTART_EVERY and outcome.grown > MOST_GROWTH:
        outcome.findings.violated("memory", f"allocated blocks grew by {outcome.grown:.1%} in half a life")
    world.begin(Episode(0.0))


def _blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def _look_for_leaks(network: Network, outcome: Outcome) -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]
    if tasks:
        outcome.findings.violated("leak", f"{len(tasks)} tasks: {tasks[0].get_name()} {tasks[0].get_coro()}")
    if network.open_streams:
        outcome.findings.violated("leak", f"{network.open_streams} bodies were not closed")
