"""The list of vendors. Adding one is a file of its own and a line here."""

from __future__ import annotations

from typing import Final

from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.vendors.cboe import CBOE
from mdagent_mcp.vendors.finnhub import FINNHUB
from mdagent_mcp.vendors.nasdaq import NASDAQ
from mdagent_mcp.vendors.yahoo import YAHOO

VENDORS: Final[tuple[Vendor, ...]] = (YAHOO, NASDAQ, CBOE, FINNHUB)
"""Every vendor, in the order surfaces list them."""
