"""Canonical symbols: one spelling per instrument inside the package, whatever the asker or a vendor writes.

`AAPL  BRK.B  ^GSPC  BTC-USD  EURUSD  VOD.L`. A canonical symbol says what the instrument is (`asset_class`) and which
calendar rules its trading hours; vendors translate it to their own spelling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

SYMBOL_LIMIT: Final = 24
"""Characters a symbol may have before it is refused unread."""
ECHO_LIMIT: Final = 40
"""Characters of the asker's input that an error may repeat."""


class AssetClass(StrEnum):
    """What kind of instrument a symbol names."""

    US_EQUITY = "us_equity"
    """Shares and funds listed in the United States, ETFs included."""
    FOREIGN_EQUITY = "foreign_equity"
    INDEX = "index"
    CRYPTO = "crypto"
    FOREX = "forex"


@dataclass(frozen=True, slots=True)
class Listing:
    """An exchange as a symbol suffix names it.

    Attributes:
        calendar: the name of its calendar (ISO 10383 market code).
        currency: the major unit its prices are given in after conversion.
    """

    calendar: str
    currency: str


SUFFIXES: Final[Mapping[str, Listing]] = MappingProxyType(
    {
        "L": Listing("XLON", "GBP"),
        "IL": Listing("XLON", "USD"),
        "PA": Listing("XPAR", "EUR"),
        "AS": Listing("XAMS", "EUR"),
        "BR": Listing("XBRU", "EUR"),
        "DE": Listing("XETR", "EUR"),
        "F": Listing("XFRA", "EUR"),
        "MI": Listing("XMIL", "EUR"),
        "MC": Listing("XMAD", "EUR"),
        "LS": Listing("XLIS", "EUR"),
        "VI": Listing("XWBO", "EUR"),
        "IR": Listing("XDUB", "EUR"),
        "ST": Listing("XSTO", "SEK"),
        "OL": Listing("XOSL", "NOK"),
        "CO": Listing("XCSE", "DKK"),
        "HE": Listing("XHEL", "EUR"),
        "SW": Listing("XSWX", "CHF"),
        "WA": Listing("XWAR", "PLN"),
        "TO": Listing("XTSE", "CAD"),
        "V": Listing("XTSX", "CAD"),
        "AX": Listing("XASX", "AUD"),
        "NZ": Listing("XNZE", "NZD"),
        "T": Listing("XTKS", "JPY"),
        "HK": Listing("XHKG", "HKD"),
        "KS": Listing("XKRX", "KRW"),
        "KQ": Listing("XKRX", "KRW"),
        "TW": Listing("XTAI", "TWD"),
        "SI": Listing("XSES", "SGD"),
        "SS": Listing("XSHG", "CNY"),
        "SZ": Listing("XSHG", "CNY"),
        "BO": Listing("XBOM", "INR"),
        "NS": Listing("XBOM", "INR"),
        "SA": Listing("BVMF", "BRL"),
        "MX": Listing("XMEX", "MXN"),
        "JO": Listing("XJSE", "ZAR"),
        "TA": Listing("XTAE", "ILS"),
    }
)
"""Exchange suffixes (the spelling Yahoo made common) and what they stand for."""

FIAT: Final = frozenset(
    "USD EUR GBP JPY CHF AUD CAD NZD SEK NOK DKK PLN CZK HUF RON TRY ZAR MXN BRL CNY CNH HKD SGD KRW INR IDR THB "
    "MYR PHP TWD ILS AED SAR CLP COP PEN ARS RUB".split()
)
"""ISO 4217 codes that a currency pair may be made of."""

_COINS: Final = frozenset("BTC ETH SOL XRP ADA DOGE LTC BNB DOT AVAX LINK BCH".split())
"""Coins whose pair is understood without a hyphen, as several vendors spell it: BTCUSD."""

_CRYPTO_QUOTES: Final = FIAT | {"USDT", "USDC", "BTC", "ETH"}

_INDEX: Final = re.compile(r"\^[A-Z0-9][A-Z0-9.\-]{0,11}")
_EQUITY: Final = re.compile(r"(?P<root>[A-Z0-9]{1,8})(?:[.\-/](?P<suffix>[A-Z]{1,3}))?")
_NORDIC: Final = re.compile(r"(?P<root>[A-Z0-9]{1,8}-[A-Z])\.(?P<suffix>[A-Z]{1,2})")
_PAIR: Final = re.compile(r"(?P<first>[A-Z0-9]{2,10})[-/](?P<second>[A-Z]{3,4})")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument under its canonical symbol.

    Attributes:
        symbol: the canonical spelling.
        asset_class: what it is.
        calendar: the name of the calendar that rules its sessions (`XNYS`, `XLON`, …, `24/7`, `24/5`).
        currency: the currency its price is expected in (major unit); None where the symbol does not tell.
        root: the symbol without class or exchange (`BRK`, `VOD`), the base of a pair (`BTC`, `EUR`).
        suffix: share class (`B`), exchange suffix (`L`) or quote currency (`USD`); empty when there is none.
    """

    symbol: str
    asset_class: AssetClass
    calendar: str
    currency: str | None
    root: str
    suffix: str = ""

    @property
    def is_us_listed(self) -> bool:
        """Whether it trades on a United States exchange."""
        return self.asset_class is AssetClass.US_EQUITY


class InvalidSymbolError(ValueError):
    """The text is no symbol in any spelling we know; the message says what would be one."""


def echo(text: str) -> str:
    """The asker's own text, safe and short enough to repeat in an error."""
    cleaned = "".join(c if c.isprintable() else "�" for c in text[:ECHO_LIMIT])
    return f"{cleaned}…" if len(text) > ECHO_LIMIT else cleaned


def parse_symbol(text: str) -> Instrument:
    """Read a symbol in any common spelling.

    Accepts lower case, `BRK-B`/`BRK/B` for a share class, `EUR/USD` and `EURUSD=X` for a currency pair,
    `BTC/USD` and `BTC-USD` for crypto, `^GSPC` for an index and Yahoo's exchange suffixes.

    Raises:
        InvalidSymbolError: with what is wrong and an example of what is right.
    """
    stripped = text.strip().upper()
    if not stripped:
        raise InvalidSymbolError("is empty; give a symbol such as AAPL, BRK.B, VOD.L, ^GSPC, BTC-USD or EURUSD")
    if len(stripped) > SYMBOL_LIMIT:
        raise InvalidSymbolError(
            f"'{echo(text)}' is longer than {SYMBOL_LIMIT} characters; give one symbol such as AAPL per entry"
        )
    instrument = _index(stripped) or _pair(stripped) or _listed(stripped)
    # Some letters of other alphabets turn into Latin ones in upper case; they are no symbol.
    if instrument is None or not text.isascii():
        raise InvalidSymbolError(
            f"'{echo(text)}' is not a symbol; write it like AAPL, BRK.B, VOD.L, ^GSPC, BTC-USD or EURUSD"
        )
    return instrument


def _index(text: str) -> Instrument | None:
    if not _INDEX.fullmatch(text):
        return None
    return Instrument(text, AssetClass.INDEX, _INDEX_CALENDARS.get(text, "XNYS"), None, text[1:])


_INDEX_CALENDARS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "^FTSE": "XLON",
        "^GDAXI": "XETR",
        "^FCHI": "XPAR",
        "^N225": "XTKS",
        "^HSI": "XHKG",
        "^AXJO": "XASX",
        "^GSPTSE": "XTSE",
        "^STOXX50E": "XETR",
        "^BSESN": "XBOM",
        "^BVSP": "BVMF",
    }
)


def _pair(text: str) -> Instrument | None:
    bare = text.removesuffix("=X")
    if len(bare) == 6 and bare[:3] in FIAT and bare[3:] in FIAT:
        return _forex(bare[:3], bare[3:])
    if bare[:-3] in _COINS and bare[-3:] in FIAT:
        return _crypto(bare[:-3], bare[-3:])
    match = _PAIR.fullmatch(text)
    if match is None:
        return None
    first, second = match["first"], match["second"]
    if first in FIAT and second in FIAT:
        return _forex(first, second)
    return _crypto(first, second) if second in _CRYPTO_QUOTES else None


def _crypto(base: str, quote: str) -> Instrument:
    return Instrument(f"{base}-{quote}", AssetClass.CRYPTO, "24/7", quote, base, quote)


def _forex(base: str, quote: str) -> Instrument | None:
    if base == quote:
        return None
    return Instrument(base + quote, AssetClass.FOREX, "24/5", quote, base, quote)


def _listed(text: str) -> Instrument | None:
    nordic = _NORDIC.fullmatch(text)
    match = nordic or _EQUITY.fullmatch(text)
    if match is None:
        return None
    root, suffix = match["root"], match["suffix"] or ""
    listing = SUFFIXES.get(suffix)
    if listing is not None and (nordic or "." in text):
        return Instrument(
            f"{root}.{suffix}", AssetClass.FOREIGN_EQUITY, listing.calendar, listing.currency, root, suffix
        )
    # BAC-PA (a preferred share at one vendor) must not become BAC.PA, which is Paris.
    if nordic or listing is not None or not root[0].isalpha() or len(root) > 6:
        return None
    canonical = f"{root}.{suffix}" if suffix else root
    return Instrument(canonical, AssetClass.US_EQUITY, "XNYS", "USD", root, suffix)
