"""Where a redirect may lead, and that the key goes along only there and is named nowhere."""

from __future__ import annotations

import logging
from dataclasses import replace

import httpx
import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.vendor import Key, Request
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import VendorClient, host_sets
from transport.invented_vendor import INVENTED, NOON, SECRET, Web

QUERY_KEYED = replace(INVENTED, hosts={"api": "https://one.invalid"}, key=Key(("INVENTED_KEY",), "query", "apikey"))


def client_of(web: Web) -> VendorClient:
    """The client of a vendor that wants its key in the URL."""
    return VendorClient(QUERY_KEYED, host_sets(QUERY_KEYED), SECRET, ManualClock(NOON), lambda _: web)


def leading_to(target: str) -> Web:
    """A web that redirects `/a` and answers everything else."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/a":
            return httpx.Response(307, headers={"location": target})
        return httpx.Response(200, content=b"there")

    return Web(answer)


@pytest.mark.parametrize("target", ["/b?x=1", "https://one.invalid/b?x=1", f"/b?x=1&apikey={SECRET}"])
async def test_the_key_goes_along_on_the_vendors_own_host_once(target: str) -> None:
    """Also where the redirect repeats it."""
    web = leading_to(target)
    assert (await client_of(web).send(Request("/a", (("x", "1"),)))).body == b"there"
    assert [str(r.url) for r in web.requests] == [
        f"https://one.invalid/{path}?x=1&apikey={SECRET}" for path in ("a", "b")
    ]


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("https://evil.invalid/b", FailureKind.SOURCE_ERROR),
        ("http://one.invalid/b", FailureKind.SOURCE_ERROR),
        ("//evil.invalid/b", FailureKind.SOURCE_ERROR),
        ("https://one.invalid@evil.invalid/b", FailureKind.SOURCE_ERROR),
        ("file:///etc/passwd", FailureKind.SOURCE_ERROR),
        ("http://[nonsense", FailureKind.SOURCE_ERROR),
        ("https://one.invalid:port/b", FailureKind.NETWORK),
        (f"http://[{SECRET}", FailureKind.MALFORMED_REPLY),
    ],
)
async def test_a_redirect_abroad_out_of_tls_or_to_nonsense_is_not_followed(target: str, kind: FailureKind) -> None:
    """The key would be told to others; what is no URL is a failure like any other."""
    web = leading_to(target)
    with pytest.raises(SourceError) as caught:
        await client_of(web).send(Request("/a"))
    assert (caught.value.kind, len(web.requests)) == (kind, 1)


async def test_redirects_in_a_circle_end() -> None:
    """After three."""
    web = leading_to("/a")
    with pytest.raises(SourceError) as caught:
        await client_of(web).send(Request("/a"))
    assert (caught.value.kind, len(web.requests)) == (FailureKind.SOURCE_ERROR, 3)


async def test_the_log_of_the_http_client_names_urls_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    """It sees requests before the key is placed."""
    caplog.set_level(logging.DEBUG)
    await client_of(leading_to("/b")).send(Request("/a"))
    assert "https://one.invalid/a" in caplog.text
    assert SECRET not in caplog.text
