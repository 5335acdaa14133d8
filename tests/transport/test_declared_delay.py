"""A plan's delay is told with every price that does not tell its own age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.vendor import QuoteQuery, Reply
from transport.invented_vendor import INVENTED, NOON, Bench, prices, quote

STAMPED = replace(quote("AAPL", 1.0), event_time=NOON - timedelta(seconds=2))


def parsed(*quotes: Quote) -> Bench:
    """A source on a plan that is 15 minutes late, whose replies are read as these quotes."""

    def parse(_query: QuoteQuery, _reply: Reply) -> Mapping[str, Outcome[tuple[Quote, ...]]]:
        return {"AAPL": Answered(quotes)}

    vendor = replace(INVENTED, quotes=None, quote=replace(INVENTED.quote, parse=parse))
    return Bench(prices(AAPL=1.0), vendor=vendor, declared_delay_s=900.0)


@pytest.mark.parametrize(("own", "told"), [(0.0, 900.0), (60.0, 900.0), (86_400.0, 86_400.0)])
async def test_an_undated_price_is_at_least_as_late_as_the_plan(own: float, told: float) -> None:
    """Where the reply says that it is later still, that holds."""
    undated = replace(quote("AAPL", 1.0), declared_delay_s=own)
    bench = parsed(undated, STAMPED)
    assert await bench.ask("AAPL") == {"AAPL": Answered((replace(undated, declared_delay_s=told), STAMPED))}


async def test_a_failure_stays_one() -> None:
    """There is nothing to be late."""
    bench = Bench(prices(), declared_delay_s=900.0)
    assert await bench.ask("ZZZZ") == {"ZZZZ": Failure("invented", FailureKind.UNKNOWN_SYMBOL, "not listed")}
