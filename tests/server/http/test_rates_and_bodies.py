"""How often a client may call, and how much one call may bring."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.resilience.token_bucket import BucketOptions
from mdagent_mcp.server.http.bodies import (
    ClientGoneError,
    declared_too_large,
    nesting,
    read_body,
    refusal_of_message,
    too_large,
)
from mdagent_mcp.server.http.rates import ClientRates, client_of
from mdagent_mcp.testing import ManualClock
from server.fake_market_data import NOW


async def test_a_client_may_burst_and_then_call_at_its_rate_whatever_others_do() -> None:
    """The wait that is told is the wait that helps."""
    clock = ManualClock(NOW)
    rates = ClientRates(BucketOptions(2.0, 3.0), clock)
    assert [rates.draw("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert rates.draw("b") == 0.0
    await clock.advance(0.5)
    assert [rates.draw("a"), rates.draw("a")] == [0.0, 0.5]


def test_no_limit_is_no_limit() -> None:
    """As the settings say with a rate of 0."""
    rates = ClientRates(None, ManualClock(NOW))
    assert {rates.draw("a") for _ in range(1_000)} == {0.0}


def test_the_memory_of_clients_is_bounded() -> None:
    """The one seen longest ago begins anew."""
    rates = ClientRates(BucketOptions(1.0, 1.0), ManualClock(NOW), kept=2)
    assert [rates.draw(client) for client in ("a", "b", "a", "b", "c", "b", "a")] == [0, 0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_a_subscriber_with_many_ipv6_addresses_is_one_client(address: str, client: str) -> None:
    """Or every request could come from another one."""
    assert client_of(address) == client


class Sent:
    """A `receive` over written messages."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)

    async def __call__(self) -> dict[str, Any]:
        """The next."""
        return self.messages.pop(0)


def parts(*bodies: bytes) -> Sequence[dict[str, Any]]:
    """A body in parts."""
    return [{"type": "http.request", "body": b, "more_body": n + 1 < len(bodies)} for n, b in enumerate(bodies)]


async def test_a_body_is_read_whole_up_to_the_limit() -> None:
    """In one part or many; what is somewhat larger is read to its end, so that the client sees why it is refused."""
    assert await read_body(Sent(*parts(b"abcd")), 4) == b"abcd"
    assert await read_body(Sent(*parts(b"ab", b"", b"cd")), 4) == b"abcd"
    assert await read_body(Sent(*parts(b"abcde")), 4) == too_large(4)
    larger, endless = Sent(*parts(b"abc", b"de", b"f")), Sent(*parts(b"abc", b"d" * 14, b"never read"))
    assert await read_body(larger, 4) == await read_body(endless, 4) == too_large(4)
    assert (len(larger.messages), len(endless.messages)) == (0, 1)
    assert too_large(4).status == 413


async def test_a_client_that_leaves_midway_is_not_answered() -> None:
    """There is nobody to answer."""
    with pytest.raises(ClientGoneError):
        await read_body(Sent(parts(b"ab", b"cd")[0], {"type": "http.disconnect"}), 4)


@pytest.mark.parametrize(
    ("length", "too_much"),
    [("40", False), ("41", True), ("9" * 5_000, True), (None, False), ("-1", False), ("x", False), ("1e9", False)],
)
def test_an_absurd_length_is_refused_before_a_byte_is_read(length: str | None, *, too_much: bool) -> None:
    """What is no number is left to the parser of HTTP."""
    assert declared_too_large(length, 10) is too_much


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        (b'{"a":[1,{"b":2}]}', 3),
        (b'{"a":"[[[[{{{{"}', 1),
        (b'{"a":"\\"[[[["}', 1),
        (b'{"a\\\\":[[1]]}', 3),
        (b"[]", 1),
        (b"1", 0),
    ],
)
def test_nesting_is_counted_outside_strings(body: bytes, depth: int) -> None:
    """A bracket in a text opens nothing."""
    assert nesting(body, 0) == depth or depth > 0 == nesting(body, 10)
    assert max(n for n in range(10) if n == 0 or nesting(body, n - 1) > n - 1) == depth


@given(
    st.recursive(
        st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=30,
    )
)
def test_the_depth_found_is_the_depth_there_is(value: Any) -> None:
    """For any JSON, whatever its texts hold."""

    def depth(part: Any) -> int:
        if not isinstance(part, dict | list):
            return 0
        return 1 + max(map(depth, part.values() if isinstance(part, dict) else part), default=0)

    body = json.dumps(value).encode()
    deepest = depth(value)
    assert nesting(body, deepest) <= deepest
    assert deepest == 0 or nesting(body, deepest - 1) > deepest - 1


def test_a_megabyte_of_brackets_is_refused_at_once() -> None:
    """It never reaches a parser, and costs no more than its length."""
    started = time.perf_counter()
    refusal = refusal_of_message(b'{"a":' + b"[" * 1_000_000, 32)
    assert refusal is not None
    assert (refusal.status, refusal.message) == (400, "The JSON is nested deeper than 32 levels.")
    assert time.perf_counter() - started < 2.0


def test_a_megabyte_of_quotes_and_backslashes_takes_no_time_to_speak_of() -> None:
    """The pattern for strings never goes back."""
    started = time.perf_counter()
    for body in (b'"' * 1_000_001, b'"' + b"\\" * 1_000_001, b'"a\\"' * 250_000):
        nesting(body + b"{[" * 50, 1)
    assert time.perf_counter() - started < 5.0


def test_a_batch_is_refused() -> None:
    """The SDK serves none; a hundred calls in one request would also pass the limit of rates as one."""
    refusal = refusal_of_message(b' \n[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 32)
    assert refusal is not None
    assert (refusal.status, refusal.message) == (400, "One message per request; batches are not served.")
    assert refusal_of_message(b'{"jsonrpc":"2.0"}', 32) is None
