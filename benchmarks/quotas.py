"""A day of demand against every plan: what the vendor of the sandbox refuses, and how much of the quota is used.

    python benchmarks/quotas.py [--calls 2000] [--seed 1] [--plan tiingo:power]

Twenty-four hours for each plan, by a clock that moves only when somebody waits: the real source with its whole
pipeline against the sandbox, which counts by the vendor's own windows (minutes, hours and days of the clock, not ours)
and refuses what is beyond. Calls reach it up to half a second after they were sent, as unevenly as may be; where a
window of a second or so is the tightest of a plan, up to a fiftieth of it. Beside it everything that arrives is
counted in sliding windows, so that a vendor which counts like that is kept as well, also where the sandbox keeps no
quota because none is documented. Demand is there all day where the day's quota is small, and otherwise in several
spans of minutes or hours, spread over the day by the seed, in which as much is asked as can be. No call may be
refused; at least 95 % of what the quotas allow while demand is there must be used.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import anyio
import httpx

from mdagent_mcp.app import asked_vendor
from mdagent_mcp.config.settings import SourceSettings
from mdagent_mcp.domain.clock import Uptime
from mdagent_mcp.domain.events import Event, Fetched
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.vendor import Plan, Quota, Vendor
from mdagent_mcp.resilience.quota import margins_of
from mdagent_mcp.sandbox.app import Desk, app_of
from mdagent_mcp.sandbox.faults import FaultBoard, Faults
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.transport.budgets import ARRIVAL_MARGIN_S
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.source import Source, SourceOptions
from mdagent_mcp.vendors.registry import VENDORS

START: Final = datetime(2026, 11, 24, 9, 30, 20, tzinfo=UTC)
DAY_S: Final = 86_399.0
"""A second less than a day: a sliding window of a day opens once in it."""
WANTED_SHARE: Final = 0.95
FEWEST_SPANS: Final = 2
MOST_SPANS: Final = 24
WINDOWS_A_SPAN: Final = 2.75
"""Windows of the longest quota that a span of demand lasts at least: what a window keeps back must be seen."""
SYMBOLS: Final = tuple(parse_symbol(f"SIM{n:03}") for n in range(120))
KEYS: Final = {
    "twelve_data": {"basic": "basic-1", "grow": "grow-1", "pro": "pro-1", "ultra": "ultra-1"},
    "tiingo": {"starter": "free-1", "power": "power-1"},
    "finnhub": {"free": "free-1", "premium": "premium-1"},
    "polygon": {"basic": "basic-1", "starter": "starter-1", "developer": "developer-1", "advanced": "advanced-1"},
    "alpha_vantage": {"free": "free-1"} | {f"premium_{n}": f"premium{n}-1" for n in (75, 150, 300, 600, 1200)},
}
"""Keys by which the sandbox tells a plan."""


class JumpingClock:
    """Time for one task: whoever waits is at the end of the wait at once."""

    def __init__(self) -> None:
        self._elapsed = 0.0

    def now(self) -> datetime:
        """The instant."""
        return START + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._elapsed

    def uptime(self) -> Uptime:
        """The same, of a machine that was started a day before."""
        return Uptime(86_400.0 + self._elapsed, "benchmark")

    async def sleep(self, seconds: float) -> None:
        """Jump over the wait."""
        self.jump(seconds)

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed += max(0.0, seconds)

    def limit(self, seconds: float) -> AbstractContextManager[object]:
        """No body takes any time by this clock but for its own waits, which end before their limit."""
        del seconds
        return contextlib.nullcontext()


@dataclass
class VendorClock:
    """When calls arrive: as unevenly late as the seed says, in the order in which they were sent."""

    clock: JumpingClock
    rng: random.Random
    latest_s: float
    arrived: float = 0.0

    def arrive(self) -> float:
        """The next call arrives; seconds since the start."""
        self.arrived = max(self.arrived, self.clock.monotonic() + self.rng.uniform(0.0, self.latest_s))
        return self.arrived

    def now(self) -> datetime:
        """When the last call arrived."""
        return START + timedelta(seconds=self.arrived)

    def monotonic(self) -> float:
        """The same in seconds."""
        return self.arrived

    def uptime(self) -> Uptime:
        """The same, of a machine that was started a day before."""
        return Uptime(86_400.0 + self.arrived, "vendor")

    async def sleep(self, seconds: float) -> None:
        """Nobody waits at the vendor's."""
        del seconds

    def limit(self, seconds: float) -> AbstractContextManager[object]:
        """Nobody waits at the vendor's."""
        del seconds
        return contextlib.nullcontext()


@dataclass(frozen=True)
class Spending:
    """What one plan's day came to.

    Attributes:
        plan: vendor and plan.
        calls: requests sent.
        spent: calls or credits.
        usable: what the quotas allow while demand is there.
        refused: requests that the vendor refused for their number.
        over: quotas of which a sliding window held more than the limit.
    """

    plan: str
    calls: int
    spent: int
    usable: int
    refused: int
    over: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of what is usable, the share that was used."""
        return self.spent / self.usable

    @property
    def holds(self) -> bool:
        """Whether nothing was exceeded and nearly all was used."""
        return not self.refused and not self.over and self.share >= WANTED_SHARE


@dataclass
class Sandboxed:
    """One source against its vendor of the sandbox, and everything that arrived there.

    Attributes:
        source: the source.
        clock: its time.
        arrivals: when calls arrived, seconds since the start, and what they cost.
        refused: calls that were refused for their number.
    """

    source: Source
    clock: JumpingClock
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    refused: int = 0
    spent: int = 0

    def heard(self, event: Event) -> None:
        """Count what the vendor refused."""
        if isinstance(event, Fetched) and event.kind in {FailureKind.THROTTLED, FailureKind.QUOTA_EXHAUSTED}:
            self.refused += 1


class ArrivingTransport(httpx.AsyncBaseTransport):
    """Carries calls to the sandbox, late."""

    def __init__(self, inner: httpx.AsyncBaseTransport, vendor_clock: VendorClock) -> None:
        self._inner = inner
        self._clock = vendor_clock
        self.arrivals: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Let one call arrive."""
        self.arrivals.append(self._clock.arrive())
        return await self._inner.handle_async_request(request)


def metered_plans() -> Iterator[tuple[Vendor, str, Plan]]:
    """Every plan that has a quota."""
    for vendor in VENDORS:
        for name, plan in vendor.plans.items():
            if plan.quotas and vendor.hosts:
                yield vendor, name, plan


@asynccontextmanager
async def sandboxed(
    vendor: Vendor, name: str, plan: Plan, seed: int
) -> AsyncIterator[tuple[Sandboxed, ArrivingTransport]]:
    """The source of a plan against the sandbox."""
    clock = JumpingClock()
    latest_s = min(margins_of(plan.quotas, ARRIVAL_MARGIN_S).values())
    vendor_clock = VendorClock(clock, random.Random(f"{vendor.id} {name} {seed}"), latest_s)
    desk = Desk(SimulatedMarket(seed), vendor_clock, FaultBoard(Faults(), seed))
    transport = ArrivingTransport(httpx.ASGITransport(app_of(desk)), vendor_clock)
    asked = asked_vendor(vendor, SourceSettings(plan=name))
    key = KEYS.get(vendor.id, {}).get(name)
    client = VendorClient(asked, host_sets(asked, (f"http://127.0.0.1/{vendor.id}",)), key, clock, lambda _: transport)
    events: list[Event] = []
    options = SourceOptions(quotas=plan.quotas, excluded=plan.excluded)
    source = Source(asked, options, client, clock=clock, emit=events.append, rng=random.Random(seed))
    box = Sandboxed(source, clock)
    yield box, transport
    for event in events:
        box.heard(event)
    await source.aclose()


def demand_spans(plan: Plan, calls: int, rng: random.Random, day_s: float = DAY_S) -> list[tuple[float, float]]:
    """When as much is asked as can be: all day, or in spans that come to about so many calls."""
    rate = min(quota.limit / quota.window_s for quota in plan.quotas)
    if rate * day_s <= calls:
        return [(0.0, day_s)]
    longest = max(q.window_s for q in plan.quotas if q.window_s < day_s / 4)
    shortest = WINDOWS_A_SPAN * longest
    count = int(min(max(calls / (rate * shortest), FEWEST_SPANS), MOST_SPANS))
    length = max(shortest, calls / (rate * count))
    slot = day_s / count
    starts = [slot * n + rng.uniform(0.0, max(0.0, slot - length - longest)) for n in range(count)]
    return [(start, start + length) for start in starts]


def usable(plan: Plan, spans: Sequence[tuple[float, float]]) -> int:
    """What somebody gets who spends all that the quotas allow in the moment they allow it, while demand is there."""
    books = [Book(quota) for quota in plan.quotas]
    spent = 0
    for start, end in spans:
        at = start
        while at < end:
            room = min(book.room(at) for book in books)
            for book in books:
                book.spend(at, room)
            spent += room
            at = max(book.next_room(at) for book in books)
    return spent


@dataclass
class Book:
    """An exact account of one quota, made anew here so that the judge shares nothing with the judged."""

    quota: Quota
    spendings: deque[tuple[float, int]] = field(default_factory=deque)

    def room(self, at: float) -> int:
        """What may be spent at an instant."""
        while self.spendings and self._ends(self.spendings[0][0]) <= at:
            self.spendings.popleft()
        return self.quota.limit - sum(cost for _, cost in self.spendings)

    def spend(self, at: float, cost: int) -> None:
        """Write it down."""
        if cost:
            self.spendings.append((at, cost))

    def next_room(self, at: float) -> float:
        """The first instant, from the given one on, at which anything may be spent."""
        return at if self.room(at) else self._ends(self.spendings[0][0])

    def _ends(self, at: float) -> float:
        if self.quota.resets is None:
            return at + self.quota.window_s
        zone = ZoneInfo(self.quota.zone)
        local = (START + timedelta(seconds=at)).astimezone(zone) + timedelta(days=1)
        return (datetime(local.year, local.month, local.day, tzinfo=zone) - START).total_seconds()


async def ask(box: Sandboxed, symbols: int) -> float | None:
    """Ask for so many symbols; None when any was answered, else seconds until it makes sense again."""
    before = box.spent
    asked = await box.source.quotes(SYMBOLS[:symbols], 10.0)
    waits = [told.retry_after_s or 0.0 for told in asked.answer.values() if isinstance(told, Failure)]
    by_symbol = _charges_by_symbol(box.source)
    box.spent += (len(asked.answer) - len(waits)) if by_symbol else asked.calls
    return None if box.spent > before else max(min(waits, default=0.0), 0.001)


def _charges_by_symbol(source: Source) -> bool:
    """Whether a batch costs as much as its symbols."""
    return source.vendor.id == "twelve_data"


def sizes(source: Source) -> tuple[int, ...]:
    """How many symbols are asked for at once: where each costs a credit, as many as there are credits left."""
    return (120, 60, 30, 15, 7, 3, 1) if _charges_by_symbol(source) else (1,)


async def spend(box: Sandboxed, until: float) -> None:
    """Ask for as much as can be had until then."""
    while box.clock.monotonic() < until:
        wait: float | None = 0.0
        for size in sizes(box.source):
            wait = await ask(box, size)
            if wait is None:
                break
        if wait is not None:
            box.clock.jump(min(wait, until - box.clock.monotonic()))


async def day(vendor: Vendor, name: str, plan: Plan, *, calls: int, seed: int, day_s: float = DAY_S) -> Spending:
    """A day of one plan."""
    spans = demand_spans(plan, calls, random.Random(f"{vendor.id} {name} {seed}"), day_s)
    async with sandboxed(vendor, name, plan, seed) as (box, transport):
        for start, end in spans:
            box.clock.jump(start - box.clock.monotonic())
            await spend(box, end)
    one_each = [] if _charges_by_symbol(box.source) else [(at, 1) for at in transport.arrivals]
    over = tuple(q.name for q in plan.quotas if _worst(one_each, q) > q.limit)
    return Spending(f"{vendor.id} {name}", len(transport.arrivals), box.spent, usable(plan, spans), box.refused, over)


def _worst(arrivals: Sequence[tuple[float, int]], quota: Quota) -> int:
    """The most that one window ever held."""
    if quota.resets is not None:
        zone = ZoneInfo(quota.zone)
        days = Counter[object]()
        for at, cost in arrivals:
            days[(START + timedelta(seconds=at)).astimezone(zone).date()] += cost
        return max(days.values(), default=0)
    worst = inside = first = 0
    for at, cost in arrivals:
        inside += cost
        while arrivals[first][0] <= at - quota.window_s:
            inside -= arrivals[first][1]
            first += 1
        worst = max(worst, inside)
    return worst


async def main(calls: int, seed: int, only: str) -> bool:
    """Print a line for each plan; whether all hold."""
    good = True
    for vendor, name, plan in metered_plans():
        if only and only != f"{vendor.id}:{name}":
            continue
        started = time.perf_counter()
        spending = await day(vendor, name, plan, calls=calls, seed=seed)
        took = time.perf_counter() - started
        good = good and spending.holds
        print(
            f"{spending.plan:28} {spending.calls:7,} calls  {spending.spent:9,} of {spending.usable:9,} usable "
            f"({spending.share:6.1%})  refused {spending.refused}  over {', '.join(spending.over) or 'none'}"
            f"  {'holds' if spending.holds else 'MISSED'}  ({took:.0f} s)",
            flush=True,
        )
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000, help="about so many calls to each plan")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", default="", help="vendor:plan, only this one")
    arguments = parser.parse_args()
    raise SystemExit(0 if anyio.run(main, arguments.calls, arguments.seed, arguments.plan) else 1)
