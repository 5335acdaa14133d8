"""How Twelve Data says things: symbols, listings, numbers as text, and errors that may come with HTTP 200.

The rule of this module: an answer is only read when it names the instrument that was asked and the listing that was
meant; a ticker alone may belong to another share on another exchange.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.failures import FailureKind, SourceError, vendor_words
from mdagent_mcp.domain.instruments import SUFFIXES, AssetClass, Instrument
from mdagent_mcp.domain.prices import MINOR_UNITS, major_unit, unit_note
from mdagent_mcp.domain.reading import Json, instant_of, malformed, price_time
from mdagent_mcp.domain.refusals import STATUS_KINDS
from mdagent_mcp.domain.vendor import ErrorRule, Reply

SOURCE: Final = "twelve_data"
PAIRS: Final = frozenset({AssetClass.FOREX, AssetClass.CRYPTO})
"""Instruments that are a price of one thing in another: without listing, splits or dividends."""

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86400.0
_DATE_LENGTH: Final = 10
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2099
_NUMBER: Final = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
HUNDREDTHS: Final = frozenset(currency for currency, _ in MINOR_UNITS.values())
"""Currencies in whose hundredths shares may be quoted."""
_OWN_CODES: Final[Mapping[str, str]] = MappingProxyType({"NS": "XNSE", "SZ": "XSHE", "KQ": "XKOS", "T": "XJPX"})
"""Exchanges whose code is not that of their calendar."""

MARKETS: Final[Mapping[str, str]] = MappingProxyType(
    {suffix: _OWN_CODES.get(suffix, listing.calendar) for suffix, listing in SUFFIXES.items()}
)
"""Market identifier codes by exchange suffix."""

ERRORS: Final[tuple[ErrorRule, ...]] = (
    # The day ends at 00:00 UTC, which the declaration says; the wait is for who reads the reply alone.
    ErrorRule(FailureKind.QUOTA_EXHAUSTED, status=429, contains=b"for the day", retry_after_s=_HOUR_S),
    ErrorRule(FailureKind.THROTTLED, status=429, retry_after_s=_MINUTE_S),
    # These speak of one symbol or option, not of the endpoint: the wait keeps the endpoint in use for others.
    ErrorRule(FailureKind.NOT_ENTITLED, status=403, contains=b"symbol is available", retry_after_s=_DAY_S),
    ErrorRule(FailureKind.NOT_ENTITLED, status=404, contains=b"symbol is available", retry_after_s=_DAY_S),
    ErrorRule(FailureKind.NOT_ENTITLED, status=403, contains=b"prepost", retry_after_s=_DAY_S),
    ErrorRule(FailureKind.NOT_ENTITLED, status=404, contains=b"available starting with"),
    ErrorRule(FailureKind.NOT_ENTITLED, status=404, contains=b"available exclusively with"),
    ErrorRule(FailureKind.SOURCE_ERROR, status=404, contains=b"404 page not found"),
    ErrorRule(FailureKind.NO_DATA, status=400, contains=b"no data is available"),
    ErrorRule(FailureKind.NO_DATA, status=404, contains=b"no data is available"),
    ErrorRule(FailureKind.UNKNOWN_SYMBOL, status=400, contains=b"not found"),
    ErrorRule(FailureKind.UNKNOWN_SYMBOL, status=400, contains=b"**symbol**"),
)
"""The meaning of a code, whether it comes as HTTP status or in the body of a reply with status 200.

Every row names its code: a batch is a reply with status 200 in which some items are errors.
"""


def spelling_of(instrument: Instrument) -> str | None:
    """How Twelve Data names an instrument; None when it does not carry it."""
    if instrument.asset_class in PAIRS:
        return f"{instrument.root}/{instrument.suffix}"
    if instrument.asset_class is AssetClass.US_EQUITY:
        return instrument.symbol
    # How it sets off a share class abroad is not known; another guess could be another share.
    abroad = instrument.asset_class is AssetClass.FOREIGN_EQUITY and "-" not in instrument.root
    return instrument.root if abroad and instrument.suffix in MARKETS else None


def open_reply(body: bytes) -> Json:
    """The body as JSON, when it is no error.

    Raises:
        SourceError: what the envelope says; SOURCE_ERROR for the content network's own text; MALFORMED_REPLY.
    """
    if body.lstrip()[:11].lower() == b"error code:":
        raise SourceError(FailureKind.SOURCE_ERROR, vendor_words(body[:200].decode("utf-8", "replace")))
    root = Json.parse(body)
    refuse_envelope(root)
    return root


def refuse_envelope(item: Json) -> None:
    """Raise what an error object means; return when `item` is none.

    Raises:
        SourceError: by the error table, or else by what its code means as an HTTP status; MALFORMED_REPLY when
            `item` is no object.
    """
    code, message, status = item.find("code"), item.find("message"), item.find("status")
    if not (status is not None and status.value == "error") and (code is None or message is None):
        return
    number = int(code.number()) if code is not None else 500
    text = "" if message is None else message.text()
    said = Reply(number, {}, text.encode(), datetime.fromtimestamp(0, UTC))
    for rule in ERRORS:
        if rule.matches(said):
            raise SourceError(rule.kind, f"{number}, {vendor_words(text)}", rule.retry_after_s)
    raise SourceError(STATUS_KINDS.get(number, FailureKind.SOURCE_ERROR), f"{number}, {vendor_words(text)}")


def amount(holder: Json, key: str) -> float | None:
    """A number that is written as text; None when it is missing, null or empty.

    Raises:
        SourceError: MALFORMED_REPLY when it is no finite decimal number.
    """
    found = holder.find(key)
    if found is None or found.value == "":
        return None
    if not isinstance(found.value, str):
        return found.number()
    if not _NUMBER.fullmatch(found.value):
        raise malformed(f"{found.path} is no number: {found.text(40)!r}")
    value = float(found.value)
    if not math.isfinite(value):
        raise malformed(f"{found.path} is too large")
    return value


def instant(holder: Json, key: str) -> datetime | None:
    """Epoch seconds as an instant; None when missing, null or 0."""
    epoch_s = amount(holder, key)
    path = f"{holder.path}.{key}"
    return price_time(instant_of(epoch_s, path), path) if epoch_s else None


def local_time(cell: Json) -> tuple[datetime, bool]:
    """A date, or a date and time, without zone, and whether it is only a date.

    Raises:
        SourceError: MALFORMED_REPLY when it is none, or none that can be a market time.
    """
    text = cell.text(40)
    is_date = len(text) == _DATE_LENGTH
    try:
        told = datetime.strptime(text, "%Y-%m-%d" if is_date else "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - zone follows
    except ValueError as error:
        raise malformed(f"{cell.path} is no date and time") from error
    if not _FIRST_YEAR <= told.year <= _LAST_YEAR:
        raise malformed(f"{cell.path} is no market time: {text}")
    return told, is_date


@dataclass(frozen=True, slots=True)
class Unit:
    """What prices are in.

    Attributes:
        currency: ISO 4217 code of the major unit; None when it is not told.
        divisor: turns a price as quoted into the major unit.
        notes: what was converted.
    """

    currency: str | None
    divisor: float = 1.0
    notes: tuple[str, ...] = ()

    def of(self, price: float | None) -> float | None:
        """A price in the major unit; None where there is none or where it is 0, which is written for none."""
        return price / self.divisor if price is not None and price > 0 else None


def read_listing(told: Json, instrument: Instrument) -> Unit:
    """Check that a quote, or the `meta` of a series, is about `instrument`, and say what its prices are in.

    Raises:
        SourceError: MALFORMED_REPLY when it names another symbol, exchange or currency, or when a price might be in
            hundredths and the currency is not told.
    """
    name, spelling = told.get("symbol").text(40), spelling_of(instrument)
    if spelling is None or _plain(name) != _plain(spelling):
        raise malformed(f"answered for {name!r}, not {instrument.symbol}")
    if instrument.asset_class in PAIRS:
        return Unit(instrument.currency)
    label = told.optional_text("currency") or ""
    currency, divisor = major_unit(label)
    if label and not _CURRENCY.fullmatch(currency):
        raise malformed(f"{told.path}.currency is no currency code: {label!r}")
    _require_market(told, instrument, currency)
    if not label:
        return Unit(None)
    return Unit(currency, divisor, unit_note(label, divisor))


def _require_market(told: Json, instrument: Instrument, currency: str) -> None:
    market = (told.optional_text("mic_code") or "").upper()
    if instrument.is_us_listed:
        elsewhere = market in MARKETS.values() or currency not in {"", instrument.currency}
    elif market:
        elsewhere = market != MARKETS[instrument.suffix]
    else:
        elsewhere = currency not in {"", instrument.currency}
    if elsewhere:
        raise malformed(
            f"answered for another listing of {instrument.root}: {market or 'exchange not told'} {currency}"
        )
    if not currency and not instrument.is_us_listed and instrument.currency in HUNDREDTHS:
        raise malformed(f"no currency is told: the price may be in {instrument.currency} or in hundredths of it")


def _plain(name: str) -> str:
    return name.upper().replace("-", ".").replace("/", ".")
