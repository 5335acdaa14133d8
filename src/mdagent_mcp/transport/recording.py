"""One live exchange with a vendor as a record: the request that the engine would send, the reply without the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Answered, Outcome, SourceError
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import HistoryQuery, Offer, QuoteQuery, Reply, Vendor
from mdagent_mcp.transport.http import VendorClient
from mdagent_mcp.transport.outcomes import is_unknown

HISTORY_DAYS: Final = 30
"""The days of bars that are asked for: enough to see a series, small enough for a report."""
_BASES: Final = (Adjustment.SPLITS, Adjustment.NONE, Adjustment.ALL)
_TELLING: Final = frozenset(
    (
        "age cache-control content-type date etag last-modified retry-after "
        "x-request-id api-credits-used api-credits-left"
    ).split()
)
_TELLING_PREFIXES: Final = ("x-ratelimit-",)
"""Headers that say something of the reply; cookies and what the network in between adds stay out."""


@dataclass(frozen=True, slots=True)
class RecordedExchange:
    """An exchange.

    Attributes:
        url: as it was sent, without the key.
        status: HTTP status.
        headers: those that say something of the reply, names in lower case.
        received_at: when the last byte had arrived, UTC.
        body: decompressed, without the key.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    received_at: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of a vendor.

    Attributes:
        offer: the kind of call.
        query: what it is about.
        symbol: canonical.
    """

    offer: Offer[Any, Any]
    query: Any
    symbol: str


def quote_asking(vendor: Vendor, instrument: Instrument, clock: Clock) -> Asking | str:
    """What to ask for a current price; the reason where the vendor has none."""
    query = QuoteQuery((instrument,), clock.now())
    return vendor.quote.refuses(query) or Asking(vendor.quote, query, instrument.symbol)


def history_asking(vendor: Vendor, instrument: Instrument, clock: Clock) -> Asking | str:
    """What to ask for the daily bars of the last days on the first basis served; the reason where there are none."""
    if vendor.history is None:
        return f"{vendor.title} offers no history"
    now, refusals = clock.now(), []
    for basis in _BASES:
        first = now.date() - timedelta(days=HISTORY_DAYS)
        query = HistoryQuery(instrument, Interval.DAY_1, first, now.date(), basis, extended_hours=False, now=now)
        refusal = vendor.history.refuses(query)
        if refusal is None:
            return Asking(vendor.history, query, instrument.symbol)
        refusals.append(refusal)
    return refusals[0]


async def record(client: VendorClient, asking: Asking) -> RecordedExchange:
    """Send what the engine would send first, and the other forms of it while the vendor does not know the symbol.

    Raises:
        SourceError: when nothing came back.
    """
    for request in asking.offer.build(asking.query):
        reply = await client.send(request)
        exchange = RecordedExchange(
            client.url_of(request), reply.status, _telling(reply.headers), reply.received_at, reply.body
        )
        if not is_unknown(_read(client.vendor, asking, reply), asking.symbol):
            break
    return exchange


def _read(vendor: Vendor, asking: Asking, reply: Reply) -> Outcome[Any]:
    try:
        refuse_errors(vendor, reply)
        return Answered(asking.offer.parse(asking.query, reply))
    except SourceError as error:
        return error.as_failure(vendor.id)


def _telling(headers: Mapping[str, str]) -> dict[str, str]:
    return {n: v for n, v in sorted(headers.items()) if n in _TELLING or n.startswith(_TELLING_PREFIXES)}
