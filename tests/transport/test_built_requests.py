"""A vendor's requests are built by hand, because a client takes twice the time: they are its own to the letter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.vendor import Reply, Request
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import VendorClient, host_sets
from transport.invented_vendor import INVENTED, NOON

BASE = "https://api.invented.invalid/v1"
TEXTS = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=12)
CLIENT = httpx.AsyncClient(timeout=3.0, transport=httpx.MockTransport(lambda _: httpx.Response(200)))
NAMES = st.sampled_from(["User-Agent", "accept", "Accept-Encoding", "X-Own", "x-own", "Cookie", "If-None-Match"])


def vendor_client(transport: httpx.AsyncBaseTransport | None = None) -> VendorClient:
    """A client of an invented vendor."""
    opened = None if transport is None else (lambda _: transport)
    return VendorClient(INVENTED, host_sets(INVENTED), None, ManualClock(NOON), opened)


def told(request: httpx.Request) -> tuple[str, str, list[tuple[bytes, bytes]], Mapping[str, object]]:
    """All that a transport sees of a request without a body."""
    return request.method, str(request.url), request.headers.raw, request.extensions


@given(
    st.lists(st.tuples(TEXTS, TEXTS), max_size=4, unique_by=lambda pair: pair[0]),
    st.lists(st.dictionaries(NAMES, st.text("abc/*;=1", min_size=1, max_size=9), max_size=4), min_size=1, max_size=3),
    st.sampled_from(["/quote", "/chart/%5EGSPC", "/a b", "/é", "/with?own=1", "/with#part"]),
    st.booleans(),
)
def test_a_request_is_the_one_that_the_client_would_have_built(
    query: Sequence[tuple[str, str]], headers: Sequence[dict[str, str]], path: str, cookie: bool
) -> None:
    """Whatever is asked, whichever headers the last request had, with and without a cookie of the vendor's."""
    client, ours = CLIENT, vendor_client()
    client.cookies.clear()
    if cookie:
        client.cookies.set("session", "crumb", domain="api.invented.invalid")
    for each in headers:
        params = httpx.QueryParams(tuple(query)) or None
        theirs = client.build_request("GET", BASE + path, params=params, headers=each)
        assert told(ours._built(client, BASE + path, query, each)) == told(theirs)


async def test_a_cookie_that_a_vendor_sets_comes_back_with_the_next_request() -> None:
    """As the client does for its own requests."""
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"set-cookie": "session=crumb; Path=/"}, content=b"{}")

    client = vendor_client(httpx.MockTransport(answer))
    replies: list[Reply] = [await client.send(Request("/quote", (("s", "A B&C"),))) for _ in range(2)]
    await client.aclose()
    assert seen == [None, "session=crumb"]
    assert [(r.status, r.body) for r in replies] == [(200, b"{}")] * 2


@pytest.mark.parametrize("status", [200, 500])
async def test_a_reply_is_closed_once_it_is_read(status: int) -> None:
    """Its connection goes back to the pool."""
    closed: list[bool] = []

    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{}"

        async def aclose(self) -> None:
            closed.append(True)

    client = vendor_client(httpx.MockTransport(lambda _: httpx.Response(status, stream=Stream())))
    await client.send(Request("/quote"))
    await client.aclose()
    assert closed
