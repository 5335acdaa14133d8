"""How Alpha Vantage words its replies: numbered labels, numbers as text, notices with status 200, its own symbols.

The rule of this module: a label's number and a key's decoration may change, its words may not; a text that is no number
is refused and never taken for zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.failures import FailureKind, SourceError, clean_text, vendor_words
from mdagent_mcp.domain.instruments import FIAT, AssetClass, Instrument
from mdagent_mcp.domain.reading import Json, malformed

SOURCE: Final = "alpha_vantage"
"""The source id."""
EXCHANGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "L": "LON",
        "TO": "TRT",
        "V": "TRV",
        "PA": "PAR",
        "BO": "BSE",
        "DE": "DEX",
        "SZ": "SHZ",
        "SS": "SHH",
    }
)
"""Exchange suffixes: ours to theirs; other exchanges are not carried."""
LONDON: Final = "L"
"""Our suffix of the exchange whose unit of quotation differs from listing to listing."""
LISTING_NOTE: Final = "the reply names no currency; it is that of the listing"
_OURS: Final[Mapping[str, str]] = MappingProxyType({theirs: ours for ours, theirs in EXCHANGES.items()})
_PAIRS: Final = frozenset({AssetClass.CRYPTO, AssetClass.FOREX})
_ABSENT: Final = frozenset({"", "-", "--", "None"})
_NOTICES: Final = ("Information", "Note", "Error Message")
# Crypto rows before 2024 gave every price twice: `1a. open (EUR)` in the market's currency, `1b. open (USD)` beside it.
_LABEL: Final = re.compile(r"\d{1,2}a?\. (?P<words>.+?)(?: \([A-Z]{3,5}\))?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DATE: Final = re.compile(r"(?:19|20)\d\d-\d\d-\d\d", re.ASCII)
_WALL_TIME: Final = re.compile(r"(?:19|20)\d\d-\d\d-\d\d \d\d:\d\d(?::\d\d)?", re.ASCII)

Labelled = Mapping[str, Json]
"""The members of a reply's object by the words of their labels, in lower case."""


def is_pair(instrument: Instrument) -> bool:
    """Whether it is asked as two currencies."""
    return instrument.asset_class in _PAIRS


def not_carried(instrument: Instrument) -> str | None:
    """Why an instrument is not carried; None when it is."""
    if instrument.asset_class is AssetClass.INDEX:
        return f"Alpha Vantage carries no index levels, so not {instrument.symbol}"
    if instrument.asset_class is AssetClass.FOREIGN_EQUITY and instrument.suffix not in EXCHANGES:
        return f"Alpha Vantage does not carry the exchange of {instrument.symbol}"
    if instrument.asset_class is AssetClass.CRYPTO and instrument.suffix not in FIAT:
        return f"Alpha Vantage prices crypto in national currencies, not {instrument.symbol}"
    return None


def spelt(instrument: Instrument) -> str:
    """Their symbol of a share or fund."""
    if instrument.asset_class is AssetClass.FOREIGN_EQUITY:
        return f"{instrument.root}.{EXCHANGES.get(instrument.suffix, instrument.suffix)}"
    return instrument.symbol


def canonical(symbol: str) -> str:
    """Our symbol for theirs."""
    root, dot, suffix = symbol.strip().upper().rpartition(".")
    return f"{root}.{_OURS.get(suffix, suffix)}" if dot else suffix


def quoted_in(instrument: Instrument) -> tuple[str | None, str]:
    """The currency of a listing's price, and what is to be said about it: replies name none.

    London's shares are quoted in pence, its funds in pence, pounds or dollars: no unit can be told.
    """
    if instrument.suffix == LONDON and instrument.asset_class is AssetClass.FOREIGN_EQUITY:
        return None, "the reply names no currency; London listings are quoted in pence, pounds or dollars"
    return instrument.currency, LISTING_NOTE


def parse_body(body: bytes) -> Json:
    """The reply as JSON, unless it is a notice that the error table does not know.

    Raises:
        SourceError: NOT_ENTITLED, SOURCE_ERROR, NO_DATA for an empty object, MALFORMED_REPLY.
    """
    root = Json.parse(body)
    for name in _NOTICES:
        notice = root.find(name)
        if notice is not None:
            text = notice.text()
            paid = "premium" in text.lower()
            raise SourceError(FailureKind.NOT_ENTITLED if paid else FailureKind.SOURCE_ERROR, vendor_words(text))
    if root.value == {}:
        raise SourceError(FailureKind.NO_DATA, "the reply is an empty object")
    return root


def labelled(block: Json) -> dict[str, Json]:
    """The members of an object by the words of their labels: `05. price` is `price`."""
    words: dict[str, Json] = {}
    for key, value in block.members():
        match = _LABEL.fullmatch(key)
        if match is not None:
            words.setdefault(match["words"].lower(), value)
    return words


def wanted(block: Labelled, name: str, path: str) -> Json:
    """A member that must be there."""
    found = block.get(name)
    if found is None or found.value is None:
        raise malformed(f"{path} has no {name}")
    return found


def number_of(cell: Json) -> float:
    """A number, written as text or not."""
    if not isinstance(cell.value, str):
        return cell.number()
    if not _NUMBER.fullmatch(cell.value.strip()):
        raise malformed(f"{cell.path} should be a number, is {clean_text(cell.value, 40)!r}")
    value = float(cell.value)
    if not math.isfinite(value):
        raise malformed(f"{cell.path} is too large")
    return value


def aside(block: Labelled, name: str, notes: list[str]) -> float | None:
    """A figure beside the price, which must not cost the price when it cannot be read."""
    cell = block.get(name)
    if cell is None or cell.value is None or (isinstance(cell.value, str) and cell.value.strip() in _ABSENT):
        return None
    try:
        value = number_of(cell)
    except SourceError as error:
        notes.append(f"left out: {error.detail}")
        return None
    return value if value >= 0 else None


def date_of(text: str, path: str) -> date:
    """A trading date."""
    return _moment(text, _DATE, path).date()


def wall_time_of(text: str, path: str) -> datetime:
    """A date and time without zone."""
    return _moment(text, _WALL_TIME, path)


def _moment(text: str, form: re.Pattern[str], path: str) -> datetime:
    try:
        if form.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError as error:
        raise malformed(f"{path} is no date: {text!r}") from error
    raise malformed(f"{path} is not written as a date: {clean_text(text, 40)!r}")


def require_named(instrument: Instrument, block: Labelled, names: tuple[str, ...]) -> None:
    """Refuse a block that names another instrument; one that names none is taken for the one asked.

    Args:
        instrument: the one asked.
        block: where its names stand.
        names: the label of its symbol, or those of its two currencies.

    Raises:
        SourceError: MALFORMED_REPLY.
    """
    expected = (spelt(instrument),) if len(names) == 1 else (instrument.root, instrument.suffix)
    for name, ours in zip(names, expected, strict=True):
        cell = block.get(name)
        if cell is None or cell.value is None:
            continue
        theirs = cell.text(40)
        if theirs.upper().replace("-", ".") != ours.replace("-", "."):
            raise malformed(f"answered for another symbol: {theirs!r} instead of {ours}")
