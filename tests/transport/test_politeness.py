"""Keyless sources are asked politely, and a question about 50 symbols is answered nevertheless."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import anyio
import httpx
import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.vendor import Quota, Vendor
from mdagent_mcp.sandbox.app import Desk, app_of
from mdagent_mcp.sandbox.faults import FaultBoard, Faults
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.source import Source, SourceOptions
from mdagent_mcp.vendors.cboe import CBOE
from mdagent_mcp.vendors.nasdaq import NASDAQ
from mdagent_mcp.vendors.yahoo import YAHOO
from transport.invented_vendor import INVENTED, NOON, Bench

FIFTY = tuple(parse_symbol(f"SIM{n:03}") for n in range(50))


def busiest(quotas: tuple[Quota, ...]) -> list[float]:
    """Requests a second that each quota allows in the long run."""
    return [quota.limit / quota.window_s for quota in quotas]


@pytest.mark.parametrize(("vendor", "requests"), [(YAHOO, 3), (NASDAQ, 2), (CBOE, 50)])
async def test_fifty_symbols_are_answered_at_once_within_the_default_quotas(vendor: Vendor, requests: int) -> None:
    """On a clock that nobody turns: no call waits for a limiter, none is refused; a batch where there is one."""
    clock = ManualClock(NOON)
    desk = Desk(market=SimulatedMarket(11), clock=clock, board=FaultBoard(Faults.parse(()), 11))
    web = httpx.ASGITransport(app_of(desk))
    hosts = host_sets(vendor, (f"http://127.0.0.1/{vendor.id}",))
    client = VendorClient(vendor, hosts, None, clock, lambda _: web)
    options = SourceOptions(quotas=vendor.default_plan.quotas)
    source = Source(vendor, options, client, clock=clock, emit=lambda _: None, rng=random.Random(1))
    answers = (await source.quotes(FIFTY, 10.0)).answer
    assert [i.symbol for i in FIFTY if not isinstance(answers[i.symbol], Answered)] == []
    assert sum(desk.calls.values()) == requests


def test_keyless_sources_are_asked_about_once_a_second_and_yahoo_less() -> None:
    """In the long run, by their slowest quota; only files on a content network may come in a large burst."""
    slowest = {v.id: min(busiest(v.default_plan.quotas)) for v in (YAHOO, NASDAQ, CBOE)}
    bursts = {v.id: min(q.limit for q in v.default_plan.quotas) for v in (YAHOO, NASDAQ, CBOE)}
    assert slowest == {"yahoo": 40 / 2400, "nasdaq": 1.0, "cboe": 1.0}
    assert bursts == {"yahoo": 5, "nasdaq": 5, "cboe": 120}
    assert {v.id: v.concurrency for v in (YAHOO, NASDAQ, CBOE)} == {"yahoo": 2, "nasdaq": 4, "cboe": 8}


class Crowd:
    """A web that holds every request until it is let go, and remembers how many were there at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.open = anyio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Hold one request."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.open.wait()
        self.inside -= 1
        symbol = request.url.path.rpartition("/")[2]
        return httpx.Response(200, content=json.dumps({symbol: 1.0}).encode())


SINGLE = replace(INVENTED, quotes=None, concurrency=3)


async def test_a_source_has_no_more_calls_at_once_than_its_vendor_declares() -> None:
    """Over all questions together; the others follow when one is done."""
    crowd = Crowd()
    bench = Bench(crowd, vendor=SINGLE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.ask, *(f"A{letter}" for letter in "ABCDEFGH"))
        tasks.start_soon(bench.ask, *(f"B{letter}" for letter in "ABCDEFGH"))
        await bench.clock.settle()
        assert (crowd.inside, crowd.most) == (3, 3)
        crowd.open.set()
    assert (len(bench.web.requests), crowd.most) == (16, 3)


async def test_a_call_for_which_no_time_is_left_is_not_sent_and_blames_nobody() -> None:
    """It waited for its turn until the question was over: the vendor hears nothing of it."""
    crowd = Crowd()
    bench = Bench(crowd, vendor=replace(SINGLE, concurrency=1))
    answers: dict[str, object] = {}

    async def ask() -> None:
        answers.update(await bench.ask("AAPL", "MSFT", budget_s=2.0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await bench.clock.advance(2.5)
    late = [a for a in answers.values() if isinstance(a, Failure) and a.detail == "no time was left to ask"]
    assert [failure.kind for failure in late] == [FailureKind.TIMEOUT]
    assert (len(bench.web.requests), len(bench.events)) == (1, 1)
