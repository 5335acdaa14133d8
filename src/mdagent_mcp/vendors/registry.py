"""The list of vendors. Adding one is a file of its own and a line here."""

from __future__ import annotations

from typing import Final

from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from mdagent_mcp.vendors.cboe import CBOE
from mdagent_mcp.vendors.finnhub import FINNHUB
from mdagent_mcp.vendors.iex_cloud import IEX_CLOUD
from mdagent_mcp.vendors.nasdaq import NASDAQ
from mdagent_mcp.vendors.polygon import POLYGON
from mdagent_mcp.vendors.tiingo import TIINGO
from mdagent_mcp.vendors.twelve_data import TWELVE_DATA
from mdagent_mcp.vendors.yahoo import YAHOO

VENDORS: Final[tuple[Vendor, ...]] = (
    YAHOO,
    NASDAQ,
    CBOE,
    ALPHA_VANTAGE,
    POLYGON,
    TWELVE_DATA,
    FINNHUB,
    IEX_CLOUD,
    TIINGO,
)
"""Every vendor, in the order surfaces list them."""
