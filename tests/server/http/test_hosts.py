"""Which Host and Origin headers are served, and where a server may listen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.server.http.hosts import (
    LOOPBACK_NAMES,
    UnsafeBindingError,
    authorities,
    caller_rules,
    is_loopback,
    refuse_unsafe,
)


@pytest.mark.parametrize(
    ("header", "admitted"),
    [
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("127.0.0.1:1", True),
        ("[::1]:8000", True),
        ("localhost.:8000", True),
        ("", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("localhost:8000.evil.example", False),
        ("localhost@evil.example", False),
        ("127.0.0.1.evil.example:8000", False),
        ("localhost:*", False),
        ("localhost:8000:9000", False),
        ("localhost, evil.example", False),
        ("127.0.0.2", False),
        ("2130706433", False),
    ],
)
def test_a_server_on_loopback_answers_to_the_names_of_this_machine_alone(header: str, *, admitted: bool) -> None:
    """A name is compared whole: what merely begins or ends like one is another host."""
    assert caller_rules("127.0.0.1", (), ()).admit_host(header) is admitted


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        ("http://localhost:3000", True),
        ("https://127.0.0.1", True),
        ("http://[::1]:6274", True),
        ("null", False),
        ("", False),
        ("http://evil.example", False),
        ("http://localhost.evil.example", False),
        ("file://localhost", False),
        ("http://localhost:3000/path", False),
    ],
)
def test_a_server_on_loopback_lets_pages_of_this_machine_call(origin: str, *, admitted: bool) -> None:
    """And no other; `null` is what sandboxed pages and files send."""
    assert caller_rules("localhost", (), ()).admit_origin(origin) is admitted


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        ("https://app.example.org", True),
        ("HTTPS://APP.example.org", True),
        ("https://app.example.org:8443", False),
        ("http://app.example.org", False),
        ("http://localhost", False),
        ("https://other.example.org:9000", True),
    ],
)
def test_origins_that_are_listed_replace_those_of_this_machine(origin: str, *, admitted: bool) -> None:
    """Scheme, host and port all count, as in a browser's same-origin rule."""
    rules = caller_rules("127.0.0.1", (), ("https://app.example.org", "https://other.example.org:9000"))
    assert rules.admit_origin(origin) is admitted


def test_hosts_that_are_listed_replace_those_of_the_address() -> None:
    """With a port only that port."""
    rules = caller_rules("0.0.0.0", ("data.example.org", "10.0.0.5:8000"), ())
    asked = ("data.example.org", "data.example.org:443", "10.0.0.5:8000", "10.0.0.5", "localhost", "0.0.0.0")
    assert [rules.admit_host(name) for name in asked] == [True, True, True, False, False, False]
    assert not rules.admit_origin("http://localhost")


def test_an_address_of_its_own_is_the_name_of_a_server_that_listens_on_it() -> None:
    """IPv6 in brackets, as it stands in a header."""
    assert caller_rules("10.0.0.5", (), ()).admit_host("10.0.0.5:8000")
    assert caller_rules("fd00::5", (), ()).admit_host("[fd00::5]:8000")


@given(st.text(max_size=30), st.sampled_from(LOOPBACK_NAMES), st.text(min_size=1, max_size=30))
def test_nothing_around_a_name_is_ever_admitted(before: str, name: str, after: str) -> None:
    """Unless it is a port."""
    rules = authorities(LOOPBACK_NAMES)
    admitted = rules.admit(f"{before}{name}{after}")
    assert (
        not admitted
        or (not before and after.lstrip(".:").isascii() and after.lstrip(".:").isdecimal())
        or (not before and after == ".")
    )


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("Localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_told_from_what_others_reach(host: str, *, expected: bool) -> None:
    """A name that merely resolves to loopback today does not count."""
    assert is_loopback(host) is expected
    assert not is_loopback("localhost.example.org")


def test_a_public_address_needs_a_token_and_an_unspecified_one_a_name() -> None:
    """The message says what to set."""
    refuse_unsafe("127.0.0.1", (), ())
    refuse_unsafe("10.0.0.5", ("alice",), ())
    refuse_unsafe("0.0.0.0", ("alice",), ("data.example.org",))
    with pytest.raises(UnsafeBindingError, match="no token is set: run `mdagent-mcp token NAME`"):
        refuse_unsafe("10.0.0.5", (), ("data.example.org",))
    with pytest.raises(UnsafeBindingError, match=r"list the names that clients use in http\.allowed_hosts"):
        refuse_unsafe("::", ("alice",), ())
