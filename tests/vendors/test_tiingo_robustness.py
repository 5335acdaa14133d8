"""Whatever bytes arrive, the parsers of Tiingo and of IEX Cloud raise nothing but `SourceError`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import SourceError
from mdagent_mcp.domain.prices import Adjustment
from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.vendors.iex_cloud import IEX_CLOUD
from mdagent_mcp.vendors.tiingo import TIINGO
from vendors.test_keyless_robustness import SCRAPS, SETTINGS, check, places, queries, with_scrap
from vendors.vendor_exchanges import FIXTURES, reply

VENDORS: dict[str, Vendor] = {vendor.id: vendor for vendor in (TIINGO, IEX_CLOUD)}
MUTABLE = sorted(str(path.relative_to(FIXTURES)) for name in VENDORS for path in (FIXTURES / name).glob("*.json"))
SYMBOLS = ("ACME", "BOLT.B", "BTC-USD", "^GSPC")
MEMBERS = "detail error data range ticker symbol quote priceData date minute latestPrice tngoLast splitFactor".split()


def check_every_basis(vendor: Vendor, body: bytes, symbol: str) -> None:
    """Read a body with every parser and on every basis."""
    check(vendor, body, symbol)
    for offer, query in queries(vendor, symbol):
        for adjustment in (Adjustment.NONE, Adjustment.ALL) if offer is vendor.history else ():
            try:
                assert offer.parse(replace(query, adjustment=adjustment), reply(body, "2026-08-20T15:26:30")).bars
            except SourceError:
                continue


@pytest.mark.parametrize("vendor", VENDORS)
@SETTINGS
@given(
    body=st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(b"date,".__add__)),
    symbol=st.sampled_from(SYMBOLS),
)
def test_arbitrary_bytes_are_refused_and_nothing_else(vendor: str, body: bytes, symbol: str) -> None:
    """No parser crashes on what is no reply at all, nor on a table of nonsense."""
    check_every_basis(VENDORS[vendor], body, symbol)


@pytest.mark.parametrize("vendor", VENDORS)
@SETTINGS
@given(
    value=st.recursive(
        SCRAPS,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(MEMBERS), inner)),
    ),
    symbol=st.sampled_from(SYMBOLS),
)
def test_arbitrary_json_is_refused_and_nothing_else(vendor: str, value: Any, symbol: str) -> None:
    """Nor on JSON of another shape."""
    check_every_basis(VENDORS[vendor], json.dumps(value).encode(), symbol)


@pytest.mark.parametrize("name", MUTABLE)
@SETTINGS
@given(data=st.data())
def test_a_spoilt_reply_is_read_or_refused_and_nothing_else(name: str, data: st.DataObject) -> None:
    """One to three values of a good reply are replaced; what is still answered is finite and positive."""
    value = json.loads((FIXTURES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        with_scrap(value, data.draw(st.sampled_from(sorted(places(value), key=str))), data.draw(SCRAPS))
    symbol = "BTC-USD" if name.endswith("crypto.json") else "ACME"
    check_every_basis(VENDORS[name.split("/", 1)[0]], json.dumps(value).encode(), symbol)
