"""Exchanges to read and to spoil: the shared recordings, and our own fixtures under the URLs our requests have.

What is here is found from the declarations themselves, so a new vendor is covered when it is registered and has
fixtures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery, Offer, QuoteQuery, Vendor
from mdagent_mcp.vendors.recorded import read_recorded
from mdagent_mcp.vendors.registry import VENDORS
from vendors.read_only_exchanges import RECEIVED
from vendors.read_only_prices import PRICES
from vendors.read_only_series import SERIES
from vendors.vendor_exchanges import FIXTURES, RECORDINGS, at

BY_ID: Final[Mapping[str, Vendor]] = {vendor.id: vendor for vendor in VENDORS}
FOLDERS: Final[Mapping[str, str]] = {"twelvedata": "twelve_data", "iex_successors": "tiingo"}
"""Folders of recordings that are not called like their vendor."""
UNDATED: Final = datetime(2026, 11, 20, 15, tzinfo=UTC)
_NAMED_BY_HAND: Final = parse_symbol("AAPL")
_SYMBOLS: Final = ("ACME", "BOLT", "BRK.B", "ACME.L", "VOD.L", "^VIX", "^TNX", "^IXIC", "BTC-USD", "EURUSD")


@dataclass(frozen=True)
class Exchange:
    """One exchange with a vendor.

    Attributes:
        name: folder and file, with the call where a fixture is read as several.
        vendor: whose.
        url: as sent, or without a host as we would send it.
        status: HTTP status.
        body: of the reply.
        received_at: when.
        instrument: what it is about, for a URL that does not say.
    """

    name: str
    vendor: Vendor
    url: str
    status: int
    body: bytes
    received_at: datetime
    instrument: Instrument | None


def recorded_at(entry: Mapping[str, Any]) -> datetime:
    """When a recording was made, as well as its index tells."""
    headers = {name.lower(): value for name, value in (entry.get("headers") or {}).items()}
    for text in (headers.get("date"), entry.get("recorded")):
        for read in (parsedate_to_datetime, datetime.fromisoformat):
            try:
                told = read(str(text))
            except ValueError:
                continue
            return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    return UNDATED


@cache
def recordings(vendor_id: str) -> tuple[Exchange, ...]:
    """Every recording of a vendor; none when they are not beside the project."""
    found = []
    for index in sorted(RECORDINGS.glob("*/index.json")):
        if FOLDERS.get(index.parent.name, index.parent.name) != vendor_id:
            continue
        for entry in json.loads(index.read_bytes()):
            status = entry.get("status")
            found.append(
                Exchange(
                    f"{index.parent.name}/{entry['file']}",
                    BY_ID[vendor_id],
                    entry.get("url") or "",
                    status if isinstance(status, int) else 200,
                    (index.parent / entry["file"]).read_bytes(),
                    recorded_at(entry),
                    None if _names_symbols(entry.get("url") or "") else _NAMED_BY_HAND,
                )
            )
    return tuple(found)


def _names_symbols(url: str) -> bool:
    return "symbol" in url or "ticker" in url


@cache
def fixtures(vendor_id: str) -> tuple[Exchange, ...]:
    """Our own fixtures, each under every call and symbol that reads it to a price, and the calls that are only read."""
    vendor = BY_ID[vendor_id]
    asked = (e for path in sorted((FIXTURES / vendor_id).glob("*")) for e in _as_asked(vendor, path))
    read_only = (
        Exchange(f"read only/{vendor_id} {e.url}", vendor, e.url, 200, e.body.encode(), RECEIVED, None)
        for e in (*PRICES, *SERIES)
        if e.vendor == vendor_id
    )
    return (*asked, *read_only)


def _as_asked(vendor: Vendor, path: Path) -> Iterator[Exchange]:
    body, received_at = path.read_bytes(), at("2026-11-20T15:00:00")
    for offer, query in _questions(vendor, received_at):
        if offer.refuses(query) is not None:
            continue
        request = offer.build(query)[0]
        url = f"{request.path}?{urlencode(request.query)}"
        reading = read_recorded(vendor, url, body, status=200, received_at=received_at)
        if reading.quotes or reading.history is not None:
            name = f"fixtures/{vendor.id}/{path.name} as {url}"
            yield Exchange(name, vendor, url, 200, body, received_at, None)


def _questions(vendor: Vendor, now: datetime) -> Iterator[tuple[Offer[Any, Any], Any]]:
    for offer, symbol in product(vendor.offers, _SYMBOLS):
        instrument = parse_symbol(symbol)
        if offer.endpoint is not Endpoint.HISTORY:
            yield offer, QuoteQuery((instrument,), now)
            continue
        for interval, adjustment in product(Interval, (Adjustment.SPLITS, Adjustment.NONE)):
            first = now.date() if interval.is_intraday else date(2020, 1, 1)
            yield offer, HistoryQuery(instrument, interval, first, now.date(), adjustment, False, now)  # noqa: FBT003 - the flag's name is the field's
