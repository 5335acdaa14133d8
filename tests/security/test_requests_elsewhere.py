"""Neither settings nor a vendor's reply nor an agent's argument makes us fetch from, or read, somewhere else."""

from __future__ import annotations

import json
import random
from pathlib import Path

import httpx
import pytest
from mcp import Client, MCPError

from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import ConfigurationError, load
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.server.server import build_server
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.vendors.registry import VENDORS
from server.fake_market_data import NOW, FakeMarketData
from server.test_tools_answers import Era, both_eras
from story.simulated_world import REGULAR, turning
from transport.invented_vendor import Web

ELSEWHERE = (
    "http://169.254.169.254/latest",
    "http://[fe80::1%25eth0]/",
    "http://0xA9FEA9FE/",
    "http://2852039166/",
    "http://169.254.43518/",
    "http://metadata.google.internal/",
    "http://[::ffff:169.254.169.254]/",
)


@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("name", ["MDAGENT_SOURCES__YAHOO__BASE_URL", "MDAGENT_METRICS__PUSH_URL"])
def test_an_address_where_clouds_keep_credentials_is_no_base_url(name: str, url: str) -> None:
    """However it is spelled."""
    with pytest.raises(ConfigurationError, match="link-local"):
        load({name: url})


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://user:pass@127.0.0.1/", "http://127.0.0.1/?q=1", "x"]
)
def test_what_is_no_plain_web_address_is_no_base_url(url: str) -> None:
    """No other scheme, no user, no query."""
    with pytest.raises(ConfigurationError, match=r"sources\.yahoo\.base_url"):
        load({"MDAGENT_SOURCES__YAHOO__BASE_URL": url})


@pytest.mark.parametrize(
    "symbol", ["../../etc/passwd", "AAPL/../x", "AAPL?x=1", "AAPL#", "a@b.c", "http://x", "%2e%2e", "\\x"]
)
async def test_a_symbol_never_becomes_part_of_an_address(symbol: str) -> None:
    """It is refused before anybody is asked."""
    fake = FakeMarketData()
    async with Client(build_server(fake.opener(), ManualClock(NOW), "0.0.1")) as client:
        result = await client.call_tool("get_quote", {"symbols": [symbol]})
    assert result.is_error
    assert set(fake.asked) <= {"opened", "closed"}


async def test_every_request_goes_to_the_host_that_is_configured() -> None:
    """Replies full of addresses elsewhere, in every place where one could be followed."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        links = dict.fromkeys(("next_url", "next", "url", "location", "href"), "http://elsewhere.example/steal")
        return httpx.Response(
            200,
            json=links | {"status": "OK", "results": []},
            headers={"Link": '<http://elsewhere.example>; rel="next"'},
        )

    environ = {
        f"MDAGENT_SOURCES__{vendor.id.upper()}__{name}": value
        for vendor in VENDORS
        for name, value in (("BASE_URL", "http://127.0.0.1:9/v"), ("API_KEY", "any"))
        if name == "BASE_URL" or vendor.key is not None
    }
    clock = ManualClock(REGULAR)
    async with open_app(
        load(environ).settings, clock=clock, data_dir=None, open_transport=lambda _: Web(answer), rng=random.Random(1)
    ) as engine:
        for vendor in VENDORS:
            question = QuoteQuestion((parse_symbol("AAPL"),), sources=(vendor.id,))
            await turning(clock, lambda question=question: engine.quotes(question))  # type: ignore[misc] # bound now
    assert set(asked) == {"127.0.0.1"}
    assert len(asked) >= len(VENDORS)


@both_eras
@pytest.mark.parametrize(
    "uri",
    [
        "mdagent://history/../../../../etc/passwd",
        "mdagent://history/..%2F..%2Fetc%2Fpasswd",
        "mdagent://history/%2e%2e/%2e%2e/etc/passwd",
        "mdagent://history//etc/passwd",
        "mdagent://history/q-1%00.csv",
        "file:///etc/passwd",
    ],
)
async def test_no_address_of_a_resource_reaches_a_file(era: Era, uri: str, tmp_path: Path) -> None:
    """There is no such resource, and the answer holds nothing but that."""
    async with Client(build_server(FakeMarketData().opener(), ManualClock(NOW), "0.0.1"), mode=era) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)
    assert "root:" not in json.dumps(str(refused.value))
