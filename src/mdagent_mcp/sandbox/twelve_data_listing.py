"""How Twelve Data names and classifies what it lists, and how it writes numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.sandbox.universe import Security, find_security
from mdagent_mcp.sandbox.wire import canonical
from mdagent_mcp.sandbox.yahoo_listing import float32

AUTOMATIC: Final = -1
"""As many decimals as the price has."""
COIN_EXCHANGE: Final = "Coinbase Pro"

_DECIMALS: Final = 5
_LONDON: Final = "LSE"
_CURRENCIES: Final = {"USD": "US Dollar", "EUR": "Euro", "GBP": "British Pound", "BTC": "Bitcoin", "ETH": "Ethereum"}
_TYPES: Final = {"EQUITY": "Common Stock", "ETF": "ETF", "CURRENCY": "Physical Currency"}


@dataclass(frozen=True, slots=True)
class Market:
    """An exchange as Twelve Data shows it."""

    name: str
    mic_code: str
    country: str = "United States"
    timezone: str = "America/New_York"


MARKETS: Final = {
    "NMS": Market("NASDAQ", "XNGS"),
    "NGM": Market("NASDAQ", "XNMS"),
    "NCM": Market("NASDAQ", "XNCM"),
    "NYQ": Market("NYSE", "XNYS"),
    "PCX": Market("NYSE", "ARCX"),
    _LONDON: Market("LSE", "XLON", "United Kingdom", "Europe/London"),
}
"""Exchanges by the code of the simulated market."""


def is_pair(security: Security) -> bool:
    """Whether it is a price of one currency or coin in another."""
    return security.instrument.asset_class in (AssetClass.FOREX, AssetClass.CRYPTO)


def own_symbol(security: Security) -> str | None:
    """Its symbol at Twelve Data; None for indices, which it does not carry."""
    instrument = security.instrument
    if is_pair(security):
        return f"{instrument.root}/{instrument.suffix}"
    if instrument.asset_class is AssetClass.FOREIGN_EQUITY:
        return instrument.root
    return None if instrument.asset_class is AssetClass.INDEX else security.symbol


def read_symbol(text: str, venue: str = "") -> str | None:
    """The canonical symbol of `AAPL`, `AAPL:NASDAQ`, `EUR/USD` or `VOD` at the venue `LSE` or `XLON`."""
    name, _, own_venue = text.strip().upper().partition(":")
    venue = own_venue or venue.strip().upper()
    london = MARKETS[_LONDON]
    symbol = canonical(f"{name}.L" if venue in (london.name, london.mic_code) else name)
    security = None if symbol is None else find_security(symbol)
    if security is None or own_symbol(security) != name:
        return None
    if is_pair(security):
        return symbol
    market = MARKETS[security.exchange]
    if venue:
        return symbol if venue in (market.name, market.mic_code) else None
    return symbol if market is not london else None


def names_of(security: Security) -> tuple[str, str]:
    """The two sides of a pair in words."""
    instrument = security.instrument
    return _CURRENCIES[instrument.root], _CURRENCIES[instrument.suffix]


def type_of(security: Security) -> str:
    """Its kind in words."""
    return _TYPES.get(security.kind, "Digital Currency")


def price_text(security: Security, price: float, decimals: int) -> str:
    """A price as text; those of shares come out of a 32-bit store, as recorded ones do."""
    stored = price if is_pair(security) or security.exchange == _LONDON else float32(price)
    if decimals != AUTOMATIC:
        return f"{stored:.{decimals}f}"
    text = f"{stored:.{_DECIMALS}f}"
    return text.rstrip("0").rstrip(".") if is_pair(security) else text
