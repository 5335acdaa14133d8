"""Made-up exchanges of the calls that are never sent, in the vendors' shapes with values of our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mdagent_mcp.domain.prices import Adjustment, Bar, Interval, Quote, Session
from vendors.vendor_exchanges import at

LISTING: Final = "the reply names no currency; it is that of the listing"
UNTIMED: Final = "the reply gives no time; the session is the one at receipt"
RECEIVED: Final = at("2026-08-20T15:26:30")
"""A Thursday, within regular trading in New York."""


@dataclass(frozen=True)
class Bars:
    """What a series says: its name, its kind, its bars and its notes."""

    symbol: str
    interval: Interval
    adjustment: Adjustment
    bars: tuple[Bar, ...]
    notes: tuple[str, ...] = ()
    currency: str | None = "USD"


@dataclass(frozen=True)
class ReadOnly:
    """An exchange with what it says."""

    vendor: str
    url: str
    body: str
    says: tuple[Quote, ...] | Bars


def quote(
    source: str,
    symbol: str,
    price: float,
    notes: tuple[str, ...] = (),
    session: Session = Session.REGULAR,
    **told: object,
) -> Quote:
    """A quote in dollars, received when all of them are."""
    fields = {"currency": "USD"} | told
    return Quote(
        symbol=symbol,
        source=source,
        price=price,
        session=session,
        received_at=RECEIVED,
        notes=notes,
        **fields,  # type: ignore[arg-type]
    )
