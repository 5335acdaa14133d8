"""How Polygon (Massive since 2025) says things: tickers, times in two units, statuses, and errors beside HTTP's own.

The rule of this module: a ticker is case-sensitive and says by its prefix what it names; a time is told by its
magnitude, because trades of shares are stamped in nanoseconds and bars, currencies and crypto in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.failures import Failure, FailureKind, SourceError, clean_text, vendor_words
from mdagent_mcp.domain.instruments import FIAT, AssetClass, Instrument, InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.reading import Json, instant_of, malformed
from mdagent_mcp.domain.vendor import ErrorRule, RecordedUrl

SOURCE: Final = "polygon"
PAIRS: Final = frozenset({AssetClass.FOREX, AssetClass.CRYPTO})
"""Instruments that are a price of one thing in another: without listing, splits or dividends."""
DELAY_S: Final = 900.0
"""What `DELAYED` means: a quarter of an hour."""
DELAYED_NOTE: Final = "the reply is marked as delayed"
CURRENCY_NOTE: Final = "the reply names no currency; it is that of the listing"

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0
_NANOSECONDS: Final = 10**16
_MILLISECONDS: Final = 10**11
_LARGEST: Final = 10**19
_GOOD: Final = frozenset({"OK", "DELAYED", "success"})
_KINDS: Final[Mapping[str, FailureKind]] = MappingProxyType(
    {
        "NOT_FOUND": FailureKind.UNKNOWN_SYMBOL,
        "NotFound": FailureKind.UNKNOWN_SYMBOL,
        "NOT_ENTITLED": FailureKind.NOT_ENTITLED,
        "NOT_AUTHORIZED": FailureKind.NOT_ENTITLED,
    }
)
_INDICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "^GSPC": "SPX",
        "^SPX": "SPX",
        "^DJI": "DJI",
        "^IXIC": "COMP",
        "^NDX": "NDX",
        "^RUT": "RUT",
        "^RUA": "RUA",
        "^VIX": "VIX",
        "^VIX3M": "VIX3M",
        "^OEX": "OEX",
        "^XEO": "XEO",
        "^MID": "MID",
        "^SOX": "SOX",
    }
)
_INDEX_SYMBOLS: Final[Mapping[str, str]] = MappingProxyType(
    {theirs: ours for ours, theirs in reversed(tuple(_INDICES.items()))}
)
_PREFERRED: Final = re.compile(r"P[A-Z]")
_LISTED: Final = re.compile(r"(?P<root>[A-Z]+)(?:\.(?P<suffix>[A-Z]{1,3})|(?P<preferred>p[A-Z]?))?")

ERRORS: Final[tuple[ErrorRule, ...]] = (
    ErrorRule(FailureKind.THROTTLED, status=429, retry_after_s=_MINUTE_S),
    ErrorRule(FailureKind.UNAUTHORIZED, status=401),
    # These two speak of a day and of a range, not of the endpoint: the wait keeps the endpoint in use.
    ErrorRule(FailureKind.NOT_ENTITLED, status=403, contains=b"before end of day", retry_after_s=_HOUR_S),
    ErrorRule(FailureKind.NOT_ENTITLED, status=403, contains=b"data timeframe", retry_after_s=_DAY_S),
    ErrorRule(FailureKind.UNAUTHORIZED, status=403, contains=b"unknown api key"),
    ErrorRule(FailureKind.UNAUTHORIZED, status=403, contains=b"api key was not provided"),
    ErrorRule(FailureKind.NO_DATA, status=404, contains=b"data not found"),
    ErrorRule(FailureKind.SOURCE_ERROR, status=404, contains=b"page not found"),
)
"""Every row names its status: a reply about the whole market is megabytes and is not to be searched for words."""


def ticker_of(instrument: Instrument) -> str | None:
    """How Polygon names an instrument; None when it does not carry it."""
    if instrument.asset_class is AssetClass.CRYPTO:
        return f"X:{instrument.root}{instrument.suffix}" if instrument.suffix in FIAT else None
    if instrument.asset_class is AssetClass.FOREX:
        return f"C:{instrument.root}{instrument.suffix}"
    if instrument.asset_class is AssetClass.INDEX:
        name = _INDICES.get(instrument.symbol)
        return None if name is None else f"I:{name}"
    if not instrument.is_us_listed:
        return None
    if _PREFERRED.fullmatch(instrument.suffix):
        return f"{instrument.root}p{instrument.suffix[1]}"
    return instrument.symbol


def instrument_of(ticker: str) -> Instrument | None:
    """The instrument that a ticker names; None for options, and for what has no canonical symbol."""
    prefix, colon, name = ticker.rpartition(":")
    if not colon:
        found = _parsed(_listed_symbol(ticker))
        return found if found is not None and found.is_us_listed else None
    symbols = {"X": f"{name[:-3]}-{name[-3:]}", "C": name, "I": _INDEX_SYMBOLS.get(name, f"^{name}")}
    classes = {"X": AssetClass.CRYPTO, "C": AssetClass.FOREX, "I": AssetClass.INDEX}
    found = _parsed(symbols.get(prefix, "")) if name.isupper() else None
    return found if found is not None and found.asset_class is classes[prefix] else None


def _listed_symbol(ticker: str) -> str:
    match = _LISTED.fullmatch(ticker)
    if match is None:
        return ""
    suffix = match["suffix"] or (match["preferred"] or "").upper()
    return f"{match['root']}-{suffix}" if suffix else match["root"]


def _parsed(symbol: str) -> Instrument | None:
    try:
        return parse_symbol(symbol)
    except InvalidSymbolError:
        return None


def recorded_ticker(ticker: str, recorded: RecordedUrl) -> Instrument | None:
    """The instrument that a recorded URL names, else the one a person names, else None: what the reply names."""
    return instrument_of(ticker) or recorded.instrument


def open_reply(body: bytes) -> tuple[Json, float]:
    """The body as JSON, when it is no error, and the delay in seconds that it declares.

    Raises:
        SourceError: by the reply's own status; MALFORMED_REPLY.
    """
    root = Json.parse(body)
    told = root.find("status")
    status = "OK" if told is None else told.text(40)
    if status in _GOOD:
        return root, DELAY_S if status == "DELAYED" else 0.0
    detail = f"{clean_text(status, 40)!r}, {vendor_words(_words(root))}"
    raise SourceError(_KINDS.get(status, FailureKind.SOURCE_ERROR), detail)


def item_failure(item: Json) -> Failure | None:
    """What an item of a list says when it is an error object; None when it is none."""
    error = item.find("error")
    if error is None:
        return None
    kind = _KINDS.get(error.text(40), FailureKind.SOURCE_ERROR)
    return Failure(SOURCE, kind, f"{error.text(40)!r}, {vendor_words(_words(item))}")


def _words(holder: Json) -> str:
    for name in ("message", "error"):
        found = holder.value.get(name)
        if isinstance(found, str) and found:
            return clean_text(found, 200)
    return "no reason given"


def rows_of(root: Json) -> list[Json]:
    """The elements of `results`; empty where they are missing, null or an empty list.

    Raises:
        SourceError: SOURCE_ERROR where the reply counts results that it does not send, which heals by itself.
    """
    results = root.find("results")
    rows = [] if results is None else list(results.items())
    if not rows and (root.optional_number("resultsCount") or 0.0) > 0:
        raise SourceError(FailureKind.SOURCE_ERROR, "the reply counts results and sends none")
    return rows


def moment(holder: Json, name: str) -> datetime | None:
    """A time in nanoseconds or milliseconds, told apart by its magnitude; None when missing, null or 0.

    Raises:
        SourceError: MALFORMED_REPLY when it can be neither.
    """
    cell = holder.find(name)
    if cell is None or cell.number() == 0:
        return None
    if not _MILLISECONDS <= cell.number() < _LARGEST:
        raise malformed(f"{cell.path} is no time in milliseconds or nanoseconds")
    value = int(cell.value)
    per_second = 10**9 if value >= _NANOSECONDS else 1000
    seconds, rest = divmod(value, per_second)
    return instant_of(float(seconds), cell.path) + timedelta(microseconds=rest * 1_000_000 // per_second)


def utc_midnight(day: datetime) -> datetime:
    """00:00 UTC of the date that `day` shows in its own zone: how bars of days are stamped here."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def named(cell: Json, instrument: Instrument) -> None:
    """Refuse a ticker that is not the instrument's; pairs may be written with a hyphen or a slash.

    Raises:
        SourceError: MALFORMED_REPLY.
    """
    ticker, ours = cell.text(40), ticker_of(instrument)
    plain = (ours or "").rpartition(":")[2]
    pair = instrument.asset_class in PAIRS and ticker.replace("-", "").replace("/", "") == plain
    # Before the prefixes came, indices were named without one.
    if ours is None or (ticker not in {ours, plain} and not pair):
        raise malformed(f"{cell.path} is {ticker!r}, not {instrument.symbol}")
