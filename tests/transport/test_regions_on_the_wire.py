"""Several base URLs of one source: the fastest is learned and used, a dead one is left, and found again later."""

from __future__ import annotations

from collections import Counter

import httpx

from mdagent_mcp.domain.vendor import Request
from mdagent_mcp.resilience.regions import MEASURED_EVERY_S
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import VendorClient, host_sets
from transport.invented_vendor import INVENTED, NOON, SECRET, Web

URLS = ("http://near.invalid", "http://far.invalid")


class Regions:
    """Two regions on a hand-turned clock, each answering after its own time."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON, settle_rounds=0)
        self.takes_s = {"near.invalid": 0.3, "far.invalid": 0.1}
        self.dead: set[str] = set()
        self.answered: Counter[str] = Counter()

        async def answer(request: httpx.Request) -> httpx.Response:
            host = request.url.host
            if host in self.dead:
                raise httpx.ConnectError("refused")
            await self.clock.advance(self.takes_s[host])
            self.answered[host] += 1
            return httpx.Response(200, content=b"{}")

        sets = host_sets(INVENTED, URLS)
        self.client = VendorClient(INVENTED, sets, SECRET, self.clock, lambda _: Web(answer), regional=True)

    async def send(self, times: int) -> Counter[str]:
        """So many calls; how many each region answered of them."""
        self.answered.clear()
        for _ in range(times):
            await self.client.send(Request("/price"))
        return Counter(self.answered)


async def test_the_faster_region_is_used_after_each_was_measured_once() -> None:
    """Whatever the settings list first."""
    regions = Regions()
    assert await regions.send(10) == {"near.invalid": 1, "far.invalid": 9}


async def test_a_region_that_dies_is_left_at_once_and_used_again_when_it_is_back() -> None:
    """The call that finds it dead is answered by the other."""
    regions = Regions()
    await regions.send(5)
    regions.dead.add("far.invalid")
    assert await regions.send(5) == {"near.invalid": 5}
    regions.dead.clear()
    await regions.clock.advance(60.0)
    assert (await regions.send(5))["far.invalid"] >= 4


async def test_a_region_that_became_faster_is_found_by_measuring_now_and_then() -> None:
    """One call in ten minutes is spent on the other."""
    regions = Regions()
    await regions.send(5)
    regions.takes_s["near.invalid"] = 0.01
    assert await regions.send(5) == {"far.invalid": 5}
    for _ in range(12):
        await regions.clock.advance(MEASURED_EVERY_S)
        await regions.send(2)
    assert (await regions.send(5))["near.invalid"] >= 4
