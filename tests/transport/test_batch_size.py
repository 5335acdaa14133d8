"""How many symbols a batch call carries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mdagent_mcp.domain.vendor import Quota, QuoteQuery, Request, Vendor
from transport.invented_vendor import INVENTED, Bench, prices


def batching(*, charged_by_symbol: bool) -> Vendor:
    """A vendor with batches of up to ten symbols, which cost one call or as many as there are symbols."""
    assert INVENTED.quotes is not None
    build = INVENTED.quotes.build

    def charged(query: QuoteQuery) -> tuple[Request, ...]:
        return tuple(replace(request, cost=len(query.instruments)) for request in build(query))

    quotes = replace(INVENTED.quotes, max_batch=10, build=charged if charged_by_symbol else build)
    return replace(INVENTED, quotes=quotes, token=None)


@pytest.mark.parametrize(
    ("charged_by_symbol", "limits", "sizes"),
    [
        (False, (3,), [5]),
        (True, (5,), [5]),
        (True, (100, 4), [4]),
        (True, (), [5]),
    ],
)
async def test_a_batch_costs_no_more_than_the_smallest_quota(
    charged_by_symbol: bool, limits: tuple[int, ...], sizes: list[int]
) -> None:
    """A larger one could never be sent; what is beyond the quota is not asked. A call charged as one is not cut."""
    known = {f"S{n}": float(n) for n in range(1, 6)}
    quotas = tuple(Quota(limit, 60.0 * (n + 1), f"window {n}") for n, limit in enumerate(limits))
    bench = Bench(prices(**known), quotas=quotas, vendor=batching(charged_by_symbol=charged_by_symbol))
    await bench.ask(*known)
    assert [len(request.url.params["symbols"].split(",")) for request in bench.web.requests] == sizes
