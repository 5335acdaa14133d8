"""Behaviour of reading one recorded exchange, whatever the vendor."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mdagent_mcp.domain.failures import Answered, FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.vendor import Endpoint, Offer, QuoteQuery, QuoteReading, RecordedUrl, Reply
from mdagent_mcp.vendors.recorded import read_recorded
from mdagent_mcp.vendors.registry import VENDORS

AT = datetime(2026, 11, 24, 17, tzinfo=UTC)
BY_ID = {vendor.id: vendor for vendor in VENDORS}


@pytest.mark.parametrize("source", BY_ID)
def test_a_page_that_no_connector_asks_is_unsupported(source: str) -> None:
    """It is said so rather than misread."""
    reading = read_recorded(BY_ID[source], "https://x.example/no/such/page", b"{}", status=200, received_at=AT)
    assert reading.failure is not None
    assert (reading.failure.source, reading.failure.kind) == (source, FailureKind.UNSUPPORTED)


def test_a_symbol_that_is_none_by_our_spelling_still_has_the_vendors_word_read() -> None:
    """A recorded question may have been about anything."""
    body = b'{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}'
    url = "https://x.example/api/v1/quote?symbol=NOSUCHTHINGATALL&token=x"
    reading = read_recorded(BY_ID["finnhub"], url, body, status=200, received_at=AT)
    assert reading.failure is not None
    assert reading.failure.kind is FailureKind.UNKNOWN_SYMBOL


def test_the_first_value_of_a_repeated_parameter_counts() -> None:
    """As the vendors read it."""
    body = b'{"c":10.5,"d":0.5,"dp":5,"h":11,"l":10,"o":10,"pc":10,"t":1795540000}'
    url = "https://x.example/api/v1/quote?symbol=AAPL&symbol=MSFT"
    (quote,) = read_recorded(BY_ID["finnhub"], url, body, status=200, received_at=AT).quotes
    assert (quote.symbol, quote.price) == ("AAPL", 10.5)


@pytest.mark.parametrize("source", BY_ID)
def test_an_outage_is_told_whatever_the_page(source: str) -> None:
    """The error table stands before the reading of the endpoint."""
    vendor = BY_ID[source]
    reading = read_recorded(vendor, "https://x.example/other", b"oops", status=500, received_at=AT)
    assert reading.failure is not None
    assert reading.failure.kind is FailureKind.SOURCE_ERROR


def _read_plain(query: QuoteQuery, reply: Reply) -> QuoteReading:
    quote = Quote(
        symbol="AAPL", source="finnhub", price=float(reply.body), session=Session.REGULAR, received_at=query.now
    )
    return {"AAPL": Answered((quote,))}


def _recognise_plain(recorded: RecordedUrl) -> QuoteQuery | None:
    return QuoteQuery((parse_symbol("AAPL"),), recorded.received_at) if recorded.path == "/plain" else None


def test_a_call_that_is_never_sent_is_read_when_the_vendor_knows_how_to() -> None:
    """It is no offer: nothing plans it, and the error table still stands before it."""
    plain = Offer(Endpoint.QUOTE, lambda _: None, lambda _: (), _read_plain, _recognise_plain)
    vendor = replace(BY_ID["finnhub"], readable=(plain,))
    (quote,) = read_recorded(vendor, "https://x.example/plain", b"10.5", status=200, received_at=AT).quotes
    assert (quote.symbol, quote.price) == ("AAPL", 10.5)
    refused = read_recorded(vendor, "https://x.example/plain", b"10.5", status=401, received_at=AT).failure
    assert refused is not None
    assert refused.kind is FailureKind.UNAUTHORIZED
    assert plain not in vendor.offers
