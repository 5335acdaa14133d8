"""How Nasdaq's website shows things: its envelope, its symbols, its numbers as text, its trade times as words.

The rule of this module: a price or a trade time that cannot be read is an error; a figure beside the price that cannot
be read is left out with a note, so that a cosmetic change of the website does not cost the price.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.failures import FailureKind, SourceError, clean_text, vendor_words
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.reading import Json, display_number, malformed

NEW_YORK: Final = ZoneInfo("America/New_York")
"""The zone of every time shown."""
DATE_ONLY_S: Final = 86400.0
"""Resolution of a time of which only the date is shown."""
INDICES: Final[Mapping[str, str]] = MappingProxyType({"^IXIC": "COMP", "^NDX": "NDX"})
"""The indices known to be carried, by canonical symbol."""
_SYMBOL_NOT_KNOWN: Final = 1001
_MONTHS: Final = {name: n for n, name in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), start=1)}
_DATE: Final = re.compile(r"\b([A-Z]{3})[A-Z]*\.? (\d{1,2}), (\d{4})\b", re.ASCII)
_TIME: Final = re.compile(r"\b(\d{1,2}):(\d{2})(?::(\d{2}))? ?([AP])M\b ?([A-Z]*)", re.ASCII)
_BLANK: Final = frozenset({"", "N/A", "--"})


@dataclass(frozen=True, slots=True)
class Stamp:
    """A trade time as the website words it.

    Attributes:
        day: the date in New York.
        instant: UTC; None when only a date is given.
        resolution_s: 60, or 1 where seconds are shown; a day for a date.
        is_close: the words say that it is the close.
    """

    day: date
    instant: datetime | None
    resolution_s: float
    is_close: bool


@dataclass(frozen=True, slots=True)
class Spelling:
    """How the website names an instrument.

    Attributes:
        symbol: its symbol, a share class behind a slash.
        asset_classes: those it may be filed under, likeliest first; a symbol under the wrong one is unknown.
    """

    symbol: str
    asset_classes: tuple[str, ...]

    @property
    def in_path(self) -> str:
        """As it stands in a URL path: the slash of a share class is spelt `%sl%`, whose signs are encoded."""
        return self.symbol.replace("/", "%25sl%25")

    def names(self, text: str) -> bool:
        """Whether `text` is this symbol, however the share class is set off."""
        return _plain(text) == _plain(self.symbol)


def spelling_of(instrument: Instrument) -> Spelling | None:
    """How the website names `instrument`; None when it does not carry it."""
    if instrument.asset_class is AssetClass.US_EQUITY:
        symbol = f"{instrument.root}/{instrument.suffix}" if instrument.suffix else instrument.root
        return Spelling(symbol, ("stocks", "etf"))
    if instrument.asset_class is AssetClass.INDEX and instrument.symbol in INDICES:
        return Spelling(INDICES[instrument.symbol], ("index",))
    if instrument.asset_class is AssetClass.CRYPTO and instrument.suffix == "USD":
        return Spelling(instrument.root, ("crypto",))
    return None


def _plain(symbol: str) -> str:
    return symbol.upper().replace("%SL%", ".").translate(str.maketrans("/-^", "..."))


def envelope_data(body: bytes) -> Json | None:
    """The payload inside the envelope; None when there is none.

    Raises:
        SourceError: UNKNOWN_SYMBOL, BAD_REQUEST or SOURCE_ERROR when the envelope says so: HTTP is always 200.
    """
    root = Json.parse(body)
    status = root.get("status")
    code = status.get("rCode").number()
    if code == 200:
        return root.find("data")
    numbers, reasons = _reasons(status)
    detail = f"rCode {code:g}, {vendor_words(reasons)}"
    if code != 400:
        raise SourceError(FailureKind.SOURCE_ERROR, detail)
    # The same code answers an unknown symbol and a known one under the wrong asset class.
    unknown = not numbers or _SYMBOL_NOT_KNOWN in numbers
    raise SourceError(FailureKind.UNKNOWN_SYMBOL if unknown else FailureKind.BAD_REQUEST, detail)


def _reasons(status: Json) -> tuple[list[float], str]:
    found = status.find("bCodeMessage")
    rows = () if found is None else tuple(found.items())
    numbers = [row.get("code").number() for row in rows]
    return numbers, " ".join(row.optional_text("errorMessage") or "" for row in rows)


def require_symbol(data: Json, instrument: Instrument) -> None:
    """Refuse a payload that names another instrument; one that names none is taken for the one asked.

    Raises:
        SourceError: MALFORMED_REPLY.
    """
    named, spelling = data.optional_text("symbol"), spelling_of(instrument)
    if named is not None and not (spelling or Spelling(instrument.symbol, ())).names(named):
        raise malformed(f"answered for another symbol: {clean_text(named or '', 40)!r} instead of {instrument.symbol}")


def read_stamp(text: str, path: str) -> Stamp | None:
    """Read wordings such as `Oct 7, 2026 12:52 PM ET`, `CLOSED AT 4:00 PM ET ON Nov 18, 2019` or `Jul 24, 2026`.

    Returns:
        None when the text is blank.

    Raises:
        SourceError: MALFORMED_REPLY when there is no date in it, or a time of another zone.
    """
    words = " ".join(text.upper().split())
    if words in _BLANK:
        return None
    dated, timed = _DATE.search(words), _TIME.search(words)
    if dated is None or dated[1] not in _MONTHS or not 1990 <= int(dated[3]) <= 2100:
        raise malformed(f"{path} holds no date: {text!r}")
    try:
        day = date(int(dated[3]), _MONTHS[dated[1]], int(dated[2]))
        if timed is None:
            return Stamp(day, None, DATE_ONLY_S, words.startswith("CLOSED"))
        if timed[5] not in {"ET", "EST", "EDT"} or not 1 <= int(timed[1]) <= 12:
            raise malformed(f"{path} holds no New York time: {text!r}")
        hour = int(timed[1]) % 12 + (12 if timed[4] == "P" else 0)
        local = datetime(day.year, day.month, day.day, hour, int(timed[2]), int(timed[3] or 0), tzinfo=NEW_YORK)
    except ValueError as error:
        raise malformed(f"{path} is no date or time: {text!r}") from error
    return Stamp(day, local.astimezone(UTC), 60.0 if timed[3] is None else 1.0, words.startswith("CLOSED"))


def member(parent: Json | None, *keys: str) -> Json | None:
    """What lies under `keys`, one inside the other; None where anything on the way is missing or null."""
    for key in keys:
        parent = None if parent is None else parent.find(key)
    return parent


def shown(parent: Json | None, *keys: str) -> float | None:
    """A number under `keys`, shown as text or given as a number; None for `N/A` and the like."""
    found = member(parent, *keys)
    if found is None:
        return None
    return display_number(found.text(), found.path) if isinstance(found.value, str) else found.number()


def aside(notes: list[str], parent: Json | None, *keys: str) -> float | None:
    """A figure beside the price: it must not cost the price when the website changes how it is shown."""
    try:
        value = shown(parent, *keys)
    except SourceError as error:
        notes.append(f"left out: {error.detail}")
        return None
    return value if value is not None and value >= 0 else None


def stamp_of(block: Json) -> Stamp | None:
    """The trade time of a price block or row; None when none is shown."""
    found = block.find("lastTradeTimestamp")
    return None if found is None else read_stamp(found.text(), found.path)


def price_of(block: Json | None) -> tuple[float, str | None] | None:
    """The last sale and its currency (a dollar sign is all there is); None when none is shown."""
    found = member(block, "lastSalePrice")
    if found is None:
        return None
    text = found.text()
    price = display_number(text, found.path)
    if price is None:
        return None
    if price <= 0:
        raise malformed(f"{found.path} is not positive: {text!r}")
    return price, "USD" if "$" in text else None
