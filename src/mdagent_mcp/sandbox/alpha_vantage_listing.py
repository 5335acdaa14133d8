"""Alpha Vantage's spelling of symbols, and the names it shows."""

from __future__ import annotations

from typing import Final

from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.sandbox.universe import Security, find_security
from mdagent_mcp.sandbox.wire import canonical

_LONDON: Final = ".LON"
_SHARES: Final = (AssetClass.US_EQUITY, AssetClass.FOREIGN_EQUITY)
_NAMES: Final = {
    "USD": "United States Dollar",
    "EUR": "Euro",
    "GBP": "British Pound Sterling",
    "BTC": "Bitcoin",
    "ETH": "Ethereum",
}


def own_symbol(security: Security) -> str:
    """Its symbol at Alpha Vantage."""
    if security.instrument.asset_class is AssetClass.FOREIGN_EQUITY:
        return f"{security.instrument.root}{_LONDON}"
    return security.symbol


def read_symbol(text: str) -> str | None:
    """The canonical symbol of a listing, `BRK.B`, `BRK-B` or `VOD.LON`; None for what it does not carry."""
    upper = text.strip().upper()
    foreign = upper.endswith(_LONDON)
    symbol = canonical(f"{upper.removesuffix(_LONDON)}.L" if foreign else upper)
    security = None if symbol is None else find_security(symbol)
    if security is None or security.instrument.asset_class not in _SHARES:
        return None
    is_foreign = security.instrument.asset_class is AssetClass.FOREIGN_EQUITY
    return symbol if is_foreign == foreign else None


def read_pair(base: str, quoted: str) -> str | None:
    """The canonical symbol of a pair given by its two currencies; None when there is no such pair."""
    symbol = canonical(f"{base.strip()}/{quoted.strip()}") if base.strip() and quoted.strip() else None
    security = None if symbol is None else find_security(symbol)
    return symbol if security is not None and security.kind in ("CRYPTOCURRENCY", "CURRENCY") else None


def name_of(code: str) -> str:
    """A currency or coin in words."""
    return _NAMES.get(code, code)
