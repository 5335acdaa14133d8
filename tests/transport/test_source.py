"""Behaviour of a source's pipeline on a hand-turned clock."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import httpx
import pytest

from mdagent_mcp.domain.events import Fetched
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint, Quota
from transport.invented_vendor import AAPL, NOON, SECRET, Bench, never, prices, quote


async def test_an_answer_is_read_told_and_carries_no_key_in_its_url() -> None:
    """The key stands in the header the vendor declares; the event says what was asked and how it went."""
    bench = Bench(prices(AAPL=189.5))
    assert await bench.ask("AAPL") == {"AAPL": Answered((quote("AAPL", 189.5),))}
    (request,) = bench.web.requests
    assert str(request.url) == "http://one.invalid/stock/AAPL?fields=all"
    assert (request.headers["X-Key"], request.headers["User-Agent"]) == (f"Bearer {SECRET}", "test")
    assert bench.events == [Fetched("invented", Endpoint.QUOTE, ("AAPL",), NOON, 0.0, None)]


async def test_an_unknown_symbol_is_looked_for_in_the_other_form_and_the_form_is_remembered() -> None:
    """A fund is no stock: the second form finds it, and is the first one sent the next time."""

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b'{"SPY": 600.0}' if request.url.path == "/fund/SPY" else b"{}")

    bench = Bench(handler)
    assert await bench.ask("SPY") == {"SPY": Answered((quote("SPY", 600.0),))}
    await bench.ask("SPY")
    assert [r.url.path for r in bench.web.requests] == ["/stock/SPY", "/fund/SPY", "/fund/SPY"]


async def test_a_symbol_that_no_form_knows_is_unknown() -> None:
    """Every form was tried, none knew it."""
    bench = Bench(prices())
    assert await bench.ask("ZZZZ") == {"ZZZZ": Failure("invented", FailureKind.UNKNOWN_SYMBOL, "not listed")}
    assert len(bench.web.requests) == 2


async def test_a_source_that_hangs_is_a_timeout_after_its_limit_and_not_before() -> None:
    """Four seconds by default; the call is cancelled and told as a timeout."""
    bench = Bench(never)
    async with anyio.create_task_group() as tasks:
        results: list[object] = []

        async def ask() -> None:
            results.append(await bench.ask("AAPL"))

        tasks.start_soon(ask)
        await bench.clock.advance(3.9)
        assert results == []
        await bench.clock.advance(0.2)
    assert results == [{"AAPL": Failure("invented", FailureKind.TIMEOUT, "no answer within 4.0 s")}]
    (event,) = bench.events
    assert isinstance(event, Fetched)
    assert (event.kind, event.latency_s) == (FailureKind.TIMEOUT, 4.0)


async def test_no_call_outlasts_the_question() -> None:
    """With one second left the call has one second."""
    bench = Bench(never)
    async with anyio.create_task_group() as tasks:
        results: list[object] = []

        async def ask() -> None:
            results.append(await bench.ask("AAPL", budget_s=1.0))

        tasks.start_soon(ask)
        await bench.clock.advance(1.1)
    assert results == [{"AAPL": Failure("invented", FailureKind.TIMEOUT, "no answer within 1.0 s")}]


async def test_a_vendor_that_asks_for_rest_gets_it() -> None:
    """After a refusal nobody calls until the time is over; the state says so."""
    replies = iter([b"slow down, please", b'{"AAPL": 1.5}'])
    bench = Bench(lambda _: httpx.Response(200, content=next(replies)))
    first = (await bench.ask("AAPL"))["AAPL"]
    assert first == Failure("invented", FailureKind.THROTTLED, 'HTTP 200, it says "slow down, please"', 30.0)
    assert bench.source.state() is SourceState.THROTTLED
    second = (await bench.ask("AAPL"))["AAPL"]
    assert second == Failure("invented", FailureKind.THROTTLED, "resting because the vendor asked for it", 30.0)
    assert len(bench.web.requests) == 1
    await bench.clock.advance(30.0)
    assert bench.source.state() is SourceState.LIVE
    assert (await bench.ask("AAPL"))["AAPL"] == Answered((quote("AAPL", 1.5),))


async def test_a_retry_after_header_is_heeded() -> None:
    """The vendor's own number counts, not our guess."""
    bench = Bench(lambda _: httpx.Response(429, headers={"Retry-After": "7"}))
    failure = (await bench.ask("AAPL"))["AAPL"]
    assert failure == Failure("invented", FailureKind.THROTTLED, "HTTP 429 with an empty body", 7.0)


async def test_our_own_limit_refuses_at_once_when_the_wait_would_be_long() -> None:
    """The third call in a minute is not sent and says when it could be."""
    bench = Bench(prices(AAPL=1.0), quotas=(Quota(2, 60.0, "minute"),))
    await bench.ask("AAPL")
    await bench.ask("AAPL")
    detail = "our own limit of 2 calls per minute is reached"
    # A minute, and half a second for calls that reach the vendor closer together than they were sent.
    assert (await bench.ask("AAPL"))["AAPL"] == Failure("invented", FailureKind.THROTTLED, detail, 60.5)
    assert len(bench.web.requests) == 2


async def test_a_short_wait_for_the_limiter_is_waited_out() -> None:
    """Half a second is cheaper than another source."""
    bench = Bench(prices(AAPL=1.0), quotas=(Quota(1, 0.5, "half second"),))
    await bench.ask("AAPL")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.ask, "AAPL")
        await bench.clock.advance(0.4)
        assert len(bench.web.requests) == 1
        await bench.clock.advance(0.2)
    assert len(bench.web.requests) == 2


def failing_first(failures: int) -> Iterator[httpx.Response]:
    """So many 503s, then prices."""
    for _ in range(failures):
        yield httpx.Response(503, content=b"busy")
    while True:
        yield httpx.Response(200, content=b'{"AAPL": 2.0}')


async def test_a_server_error_is_tried_once_more() -> None:
    """One 503 heals, two do not."""
    once, twice = failing_first(1), failing_first(2)
    for replies, healed in ((once, True), (twice, False)):
        bench = Bench(lambda _, replies=replies: next(replies))  # type: ignore[misc]
        async with anyio.create_task_group() as tasks:
            results: list[object] = []

            async def ask(bench: Bench = bench, results: list[object] = results) -> None:
                results.append((await bench.ask("AAPL"))["AAPL"])

            tasks.start_soon(ask)
            await bench.clock.advance(2.0)
        expected = (
            Answered((quote("AAPL", 2.0),))
            if healed
            else Failure("invented", FailureKind.SOURCE_ERROR, 'HTTP 503, it says "busy"')
        )
        assert results == [expected]
        assert len(bench.web.requests) == 2


async def test_a_source_that_keeps_failing_is_rested_and_tried_again_later() -> None:
    """Its circuit opens, calls are refused without being sent; after the break probes in the background close it."""

    def unreachable(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    bench = Bench(unreachable)
    async with anyio.create_task_group() as tasks:

        async def ask_often() -> None:
            for _ in range(12):
                await bench.ask("AAPL")

        tasks.start_soon(ask_often)
        await bench.clock.advance(3.0)
    assert bench.source.state() is SourceState.OPEN
    sent = len(bench.web.requests)
    refused = (await bench.ask("AAPL"))["AAPL"]
    assert isinstance(refused, Failure)
    assert refused.kind is FailureKind.CIRCUIT_OPEN
    assert len(bench.web.requests) == sent
    assert bench.source.wants_probe() is False
    await bench.clock.advance(10.0)
    assert (bench.source.state(), bench.source.wants_probe()) == (SourceState.OPEN, True)
    still = (await bench.ask("AAPL"))["AAPL"]
    assert isinstance(still, Failure)
    assert (still.kind, len(bench.web.requests)) == (FailureKind.CIRCUIT_OPEN, sent)
    bench.web.handler = prices(AAPL=3.0)
    await bench.source.probe()
    assert bench.source.state() is SourceState.OPEN
    await bench.source.probe()
    assert (bench.source.state(), bench.source.wants_probe()) == (SourceState.LIVE, False)
    assert (await bench.ask("AAPL"))["AAPL"] == Answered((quote("AAPL", 3.0),))
    assert len(bench.web.requests) == sent + 3


async def test_as_a_last_resort_a_rested_source_is_asked_once_a_second() -> None:
    """Nobody else is left: the break is cut short, for one call at a time."""

    def unreachable(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    bench = Bench(unreachable)
    async with anyio.create_task_group() as tasks:

        async def ask_often() -> None:
            for _ in range(12):
                await bench.ask("AAPL")

        tasks.start_soon(ask_often)
        await bench.clock.advance(3.0)
    sent = len(bench.web.requests)
    bench.web.handler = prices(AAPL=3.0)
    asked = await bench.source.quotes((AAPL,), 10.0, last_resort=True)
    assert asked.answer == {"AAPL": Answered((quote("AAPL", 3.0),))}
    assert len(bench.web.requests) == sent + 1


async def test_unknown_symbols_and_throttling_never_open_a_circuit() -> None:
    """They say nothing about the source's health."""
    bench = Bench(prices())
    for _ in range(40):
        await bench.ask("ZZZZ")
    assert bench.source.state() is SourceState.LIVE


async def test_a_host_that_cannot_be_reached_gives_way_to_the_next_and_stays_so() -> None:
    """The second host answers; the next call goes there at once."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "one.invalid":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, content=b'{"AAPL": 4.0}')

    bench = Bench(handler)
    await bench.ask("AAPL")
    await bench.ask("AAPL")
    assert bench.web.paths == ["one.invalid/stock/AAPL", "two.invalid/stock/AAPL", "two.invalid/stock/AAPL"]


async def test_a_redirect_is_followed_only_among_the_vendors_own_hosts() -> None:
    """The key would go along with it."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "one.invalid":
            return httpx.Response(307, headers={"location": "http://two.invalid/moved"})
        return httpx.Response(200, content=b'{"AAPL": 5.0}')

    bench = Bench(handler)
    assert (await bench.ask("AAPL"))["AAPL"] == Answered((quote("AAPL", 5.0),))
    bench.web.handler = lambda _: httpx.Response(302, headers={"location": "http://evil.invalid/"})
    bench.web.requests.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.ask, "AAPL")
        await bench.clock.advance(2.0)
    assert {r.url.host for r in bench.web.requests} == {"one.invalid"}


async def test_an_echoed_key_does_not_leave_the_transport() -> None:
    """Some vendors repeat the key in their errors."""
    bench = Bench(lambda _: httpx.Response(401, content=f"bad key {SECRET.upper()}".encode()))
    failure = (await bench.ask("AAPL"))["AAPL"]
    assert failure == Failure("invented", FailureKind.UNAUTHORIZED, 'HTTP 401, it says "bad key [key removed]"')
    assert SECRET.upper() not in repr(bench.events)


async def test_cancelling_the_asker_cancels_the_call_and_counts_against_nobody() -> None:
    """The event says cancelled."""
    bench = Bench(never)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.ask, "AAPL")
        await bench.clock.settle()
        tasks.cancel_scope.cancel()
    (event,) = bench.events
    assert isinstance(event, Fetched)
    assert event.kind is FailureKind.CANCELLED
    assert bench.source.state() is SourceState.LIVE


def token_web(*tokens: bytes, accepted: str) -> tuple[list[str], object]:
    """A handler that hands out tokens in turn and accepts one of them."""
    given = iter(tokens)
    log: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        log.append(request.url.path)
        if request.url.path == "/cookie":
            return httpx.Response(404, headers={"set-cookie": "A3=cookie; Path=/"})
        if request.url.path == "/token":
            return httpx.Response(200, content=next(given))
        if request.url.params.get("crumb") != accepted or "A3=cookie" not in request.headers.get("cookie", ""):
            return httpx.Response(401, content=b"Invalid Crumb")
        return httpx.Response(200, content=b'{"AAPL": 1.0, "MSFT": 2.0, "IBM": 3.0}')

    return log, handler


async def test_a_batch_call_gets_its_token_and_cookie_first_and_shares_them() -> None:
    """Two batches of at most two symbols, one token."""
    log, handler = token_web(b"abc", accepted="abc")
    bench = Bench(handler)  # type: ignore[arg-type]
    answers = await bench.ask("AAPL", "MSFT", "IBM")
    assert {s: a.value[0].price for s, a in answers.items() if isinstance(a, Answered)} == {
        "AAPL": 1,
        "MSFT": 2,
        "IBM": 3,
    }
    assert sorted(log) == ["/batch", "/batch", "/cookie", "/token"]


async def test_a_refused_token_is_fetched_again_once() -> None:
    """A crumb that has gone stale heals by itself."""
    log, handler = token_web(b"stale", b"fresh", accepted="fresh")
    bench = Bench(handler)  # type: ignore[arg-type]
    answers = await bench.ask("AAPL", "MSFT", "IBM", budget_s=20)
    assert all(isinstance(a, Answered) for a in answers.values())
    assert log.count("/token") == 2


async def test_a_token_that_is_no_token_is_never_kept() -> None:
    """An error text in its place is refused, and asked for again the next time."""
    _, handler = token_web(b"Too Many Requests", b"good", accepted="good")
    bench = Bench(handler, quotas=())  # type: ignore[arg-type]
    first = await bench.ask("AAPL", "MSFT", "IBM")
    assert any(isinstance(a, Failure) and a.kind is FailureKind.UNAUTHORIZED for a in first.values())
    second = await bench.ask("AAPL", "MSFT", "IBM")
    assert all(isinstance(a, Answered) for a in second.values())


@pytest.mark.parametrize("size", [17])
async def test_a_reply_without_end_is_cut_off(size: int) -> None:
    """Sixteen megabytes are enough for anybody."""
    bench = Bench(lambda _: httpx.Response(200, content=b"x" * (size * 1024 * 1024)))
    failure = (await bench.ask("AAPL"))["AAPL"]
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.MALFORMED_REPLY


async def test_the_time_limit_follows_how_long_an_endpoint_takes() -> None:
    """One that always answers within 0.3 s is given up after four times that, and never sooner than after a second."""
    bench = Bench(prices(AAPL=1.0))

    async def slowly(_request: httpx.Request) -> httpx.Response:
        await bench.clock.sleep(0.3)
        return httpx.Response(200, content=b'{"AAPL": 1.0}')

    bench.web.handler = slowly
    for _ in range(21):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.ask, "AAPL")
            await bench.clock.advance(0.4)
    bench.web.handler = never
    results: list[object] = []
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            results.append(await bench.ask("AAPL"))

        tasks.start_soon(ask)
        await bench.clock.advance(1.15)
        assert results == []
        await bench.clock.advance(0.1)
    assert results == [{"AAPL": Failure("invented", FailureKind.TIMEOUT, "no answer within 1.2 s")}]
    event = bench.events[-1]
    assert isinstance(event, Fetched)
    assert event.kind is FailureKind.TIMEOUT
