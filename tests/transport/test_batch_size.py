"""How many symbols a batch call carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio
import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.vendor import Quota, QuoteQuery, Request, Vendor
from transport.invented_vendor import INVENTED, Bench, BrokenBatches, prices, quote


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


TWELVE = {f"S{n}": float(n) for n in range(1, 13)}


async def rested_batches() -> Bench:
    """A source whose batches failed until their circuit opened; its single quotes are well."""
    bench = Bench(BrokenBatches(prices(**TWELVE)), vendor=batching(charged_by_symbol=False))

    async def break_batches() -> None:
        for _ in range(12):
            await bench.ask("S1", "S2", "S3")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(break_batches)
        await bench.clock.advance(3.0)
    bench.web.requests.clear()
    return bench


async def ask_as_last_resort(bench: Bench, symbols: Mapping[str, float]) -> Mapping[str, Outcome[tuple[Quote, ...]]]:
    """What a source says that is the last one left."""
    asked = await bench.source.quotes(tuple(map(parse_symbol, symbols)), 10.0, last_resort=True)
    return asked.answer


async def test_more_symbols_than_single_calls_are_worth_are_refused_while_batches_are_rested() -> None:
    """Nothing is sent, so that somebody else is asked; up to ten are asked one by one."""
    bench = await rested_batches()
    refused = await bench.ask(*TWELVE)
    assert {told.kind for told in refused.values() if isinstance(told, Failure)} == {FailureKind.CIRCUIT_OPEN}
    assert (len(refused), bench.web.requests) == (12, [])
    ten = dict(list(TWELVE.items())[:10])
    assert await bench.ask(*ten) == {s: Answered((quote(s, price),)) for s, price in ten.items()}


async def test_as_a_last_resort_ten_symbols_are_asked_one_by_one_and_the_rest_in_a_batch() -> None:
    """Nobody else is left: whoever single calls reach is answered, and the batch is tried again for the others."""
    bench = await rested_batches()
    bench.web.handler = prices(**TWELVE)
    answers = await ask_as_last_resort(bench, TWELVE)
    assert answers == {s: Answered((quote(s, price),)) for s, price in TWELVE.items()}
    assert sorted(r.url.path for r in bench.web.requests) == sorted([*(f"/stock/S{n}" for n in range(1, 11)), "/batch"])


async def test_a_last_resort_whose_batches_are_still_broken_answers_what_single_calls_reach() -> None:
    """And names the failure of the others."""
    bench = await rested_batches()
    heard: list[Mapping[str, Outcome[tuple[Quote, ...]]]] = []

    async def ask() -> None:
        heard.append(await ask_as_last_resort(bench, TWELVE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await bench.clock.advance(3.0)
    answered = {s: Answered((quote(s, price),)) for s, price in list(TWELVE.items())[:10]}
    failed = {s: told.kind for s, told in heard[0].items() if isinstance(told, Failure)}
    assert {s: told for s, told in heard[0].items() if isinstance(told, Answered)} == answered
    assert failed == {"S11": FailureKind.CIRCUIT_OPEN, "S12": FailureKind.CIRCUIT_OPEN}
