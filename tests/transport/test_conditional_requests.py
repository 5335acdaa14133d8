"""Replies with a validator are asked for again with its condition, over the real transport to a counting server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind
from mdagent_mcp.domain.vendor import Reply, Request
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.validation import LARGEST_BYTES, ValidatorCache
from transport.invented_vendor import INVENTED, NOON, SECRET, Bench, quote
from transport.loopback_server import Asked, answering, reply

FILE = Request("/file")


def versioned(bodies: dict[str, bytes], **headers: str) -> Callable[[Asked], bytes]:
    """A server that keeps to its word: the file's tag is its content."""

    def answer(asked: Asked) -> bytes:
        body = bodies[asked.target]
        tag = f'"{body.decode()}"'
        if asked.headers.get("if-none-match") == tag:
            return reply("304 Not Modified", ETag=tag)
        return reply("200 OK", body, ETag=tag, **headers)

    return answer


def client_for(url: str, clock: ManualClock, key: str | None = SECRET) -> VendorClient:
    """The real client of a vendor at this address."""
    vendor = replace(INVENTED, hosts={"api": url})
    return VendorClient(vendor, host_sets(vendor), key, clock)


async def test_an_unchanged_file_is_sent_once_and_dated_anew() -> None:
    """The second reply is the first one's body, received now; after a change the new body is sent."""
    bodies, clock = {"/file": b"one"}, ManualClock(NOON)
    async with answering(versioned(bodies)) as server:
        client = client_for(server.url, clock)
        first = await client.send(FILE)
        await clock.advance(7)
        second = await client.send(FILE)
        bodies["/file"] = b"two"
        third = await client.send(FILE)
        await client.aclose()
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, '"one"', '"one"']
    assert [(r.status, r.body) for r in (first, second, third)] == [(200, b"one"), (200, b"one"), (200, b"two")]
    assert (first.received_at, second.received_at) == (NOON, NOON + timedelta(seconds=7))
    assert second.headers["etag"] == '"one"'


async def test_a_file_with_only_a_date_is_asked_for_by_its_date() -> None:
    """`Last-Modified` comes back as `If-Modified-Since`, to the letter."""
    date = "Fri, 27 Nov 2026 10:00:00 GMT"
    async with answering(lambda _: reply("200 OK", b"x", Last_Modified=date)) as server:
        client = client_for(server.url, ManualClock(NOON))
        await client.send(FILE)
        await client.send(FILE)
        await client.aclose()
    assert [asked.headers.get("if-modified-since") for asked in server.asked] == [None, date]


async def test_nothing_is_shared_between_addresses_queries_and_keys() -> None:
    """A tag is sent only for the very request it came with, under the very key."""
    async with answering(lambda _: reply("200 OK", b"x", ETag='"same"')) as server:
        client = client_for(server.url, ManualClock(NOON))
        for request in (FILE, Request("/other"), Request("/file", (("a", "1"),)), Request("/file", (), (("B", "2"),))):
            await client.send(request)
        client.key = "an0ther-key"
        await client.send(FILE)
        await client.aclose()
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None] * 5


async def test_what_may_not_be_stored_and_what_has_no_tag_is_not_kept() -> None:
    """Nor is an error, whatever it carries."""
    replies = {
        "/secret": reply("200 OK", b"x", ETag='"1"', Cache_Control="private, no-store"),
        "/plain": reply("200 OK", b"x"),
        "/gone": reply("404 Not Found", b"x", ETag='"1"'),
    }
    async with answering(lambda asked: replies[asked.target]) as server:
        client = client_for(server.url, ManualClock(NOON))
        for path in (*replies, *replies):
            await client.send(Request(path))
        await client.aclose()
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None] * 6


async def test_a_reply_that_could_not_be_used_is_asked_for_whole_again() -> None:
    """A file that was broken when it was read would else stay broken for as long as its tag."""
    conditions: list[str | None] = []
    bodies = iter([b"not json", b'{"AAPL": 2.0}'])
    body = b""

    def answer(asked: Asked) -> bytes:
        nonlocal body
        conditions.append(asked.headers.get("if-none-match"))
        if conditions[-1] == '"tag"':
            return reply("304 Not Modified")
        body = next(bodies)
        return reply("200 OK", body, ETag='"tag"')

    async with answering(answer) as server:
        bench = Bench(lambda _: None)  # type: ignore[arg-type,return-value]
        bench.source.client = client_for(server.url, bench.clock)
        broken = (await bench.ask("AAPL"))["AAPL"]
        assert isinstance(broken, Failure)
        assert broken.kind is FailureKind.MALFORMED_REPLY
        for _ in range(2):
            assert (await bench.ask("AAPL"))["AAPL"] == Answered((quote("AAPL", 2.0),))
        await bench.source.aclose()
    assert conditions == [None, None, '"tag"']


async def test_a_server_that_says_unchanged_without_having_been_asked_is_in_error() -> None:
    """There is no body to serve."""
    bench = Bench(lambda _: None)  # type: ignore[arg-type,return-value]
    async with answering(lambda _: reply("304 Not Modified")) as server:
        bench.source.client = client_for(server.url, bench.clock)
        got = await bench.source.client.send(FILE)
        await bench.source.aclose()
    assert (got.status, got.body) == (304, b"")


def kept(cache: ValidatorCache, name: str, size: int) -> None:
    """Let the cache keep a body of this size."""
    body = Reply(200, {"etag": f'"{name}"'}, b"x" * size, datetime(2026, 11, 24, tzinfo=UTC))
    assert cache.settle(("http://h", Request(f"/{name}"), None), None, body) is body


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 130)), max_size=40))
def test_what_is_kept_stays_within_its_bounds(steps: list[tuple[str, int]]) -> None:
    """In entries and bytes, and the sum is right."""
    cache = ValidatorCache(entries=4, capacity=200)
    for name, size in steps:
        kept(cache, name, size)
        found = [cache.find(("http://h", Request(f"/{n}"), None)) for n in "abcdefgh"]
        sizes = [len(f.reply.body) for f in found if f is not None]
        assert (len(sizes), sum(sizes)) == (len(cache), cache.held_bytes)
        assert len(cache) <= 4
        assert cache.held_bytes <= 200
        if size <= 200:
            assert cache.find(("http://h", Request(f"/{name}"), None)) is not None


def test_a_very_large_body_pushes_out_nothing() -> None:
    """It is not kept at all."""
    cache = ValidatorCache()
    kept(cache, "small", 10)
    kept(cache, "large", LARGEST_BYTES + 1)
    assert (len(cache), cache.held_bytes) == (1, 10)


def test_what_was_used_last_is_dropped_last() -> None:
    """A reply that was confirmed counts as used."""
    cache = ValidatorCache(entries=2)
    for name in ("a", "b"):
        kept(cache, name, 1)
    address = ("http://h", Request("/a"), None)
    found = cache.find(address)
    cache.settle(address, found, Reply(304, {}, b"", datetime(2026, 11, 24, tzinfo=UTC)))
    kept(cache, "c", 1)
    assert [cache.find(("http://h", Request(f"/{n}"), None)) is not None for n in "abc"] == [True, False, True]
