"""How many symbols a batch call carries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mdagent_mcp.domain.vendor import Quota
from transport.invented_vendor import INVENTED, Bench, prices


@pytest.mark.parametrize(
    ("charged_by_symbol", "limit", "sizes"),
    [(False, 3, [5]), (True, 3, [3, 2]), (True, 100, [5])],
)
async def test_a_batch_charged_by_symbol_is_no_larger_than_its_quota_pays_for(
    charged_by_symbol: bool, limit: int, sizes: list[int]
) -> None:
    """A larger one could never be sent; where the call is charged as one, the quota is no bound."""
    assert INVENTED.quotes is not None
    quotes = replace(INVENTED.quotes, max_batch=10, charged_by_symbol=charged_by_symbol)
    vendor = replace(INVENTED, quotes=quotes, token=None)
    known = {f"S{n}": float(n) for n in range(1, 6)}
    bench = Bench(prices(**known), quotas=(Quota(limit, 60.0, "minute"),), vendor=vendor)
    await bench.ask(*known)
    assert [len(request.url.params["symbols"].split(",")) for request in bench.web.requests] == sizes
