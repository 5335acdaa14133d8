"""Several symbols in one call to Nasdaq."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mdagent_mcp.domain.failures import Failure, FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Request
from mdagent_mcp.vendors.nasdaq import NASDAQ
from mdagent_mcp.vendors.recorded import read_recorded
from vendors.vendor_exchanges import at, failure_of, fixture, quotes_of, reply

RECEIVED = "2026-08-20T15:26:30"


def ask(*symbols: str) -> QuoteQuery:
    """A batch of symbols."""
    return QuoteQuery(tuple(map(parse_symbol, symbols)), at(RECEIVED))


def read(content: Any, *symbols: str) -> QuoteReading:
    """What a reply to the batch says."""
    assert NASDAQ.quotes is not None
    return NASDAQ.quotes.parse(ask(*symbols), reply(content, RECEIVED))


def test_every_symbol_is_asked_under_each_class_it_may_have() -> None:
    """A share may be a fund; a share class is written with a dot; an index and a coin have one class."""
    assert NASDAQ.quotes is not None
    assert NASDAQ.quotes.max_batch == 25
    assert NASDAQ.quotes.build(ask("ACME", "BRK.B", "^IXIC", "BTC-USD")) == (
        Request(
            "/api/quote/watchlist",
            (
                ("symbol", "acme|stocks"),
                ("symbol", "acme|etf"),
                ("symbol", "brk.b|stocks"),
                ("symbol", "brk.b|etf"),
                ("symbol", "comp|index"),
                ("symbol", "btc|crypto"),
            ),
        ),
    )


def test_rows_are_matched_by_symbol_and_the_priced_one_counts() -> None:
    """The row of the wrong asset class shows no price; a later row does not replace the first that has one."""
    (quote,) = quotes_of(read(fixture("nasdaq", "watchlist.json"), "ACME"), "ACME")
    assert quote == Quote(
        symbol="ACME",
        source="nasdaq",
        price=1048.75,
        session=Session.REGULAR,
        received_at=at(RECEIVED),
        event_time=at("2026-08-20T15:26:00"),
        event_time_resolution_s=60.0,
        currency="USD",
        previous_close=1060.5,
        volume=845120.0,
    )


def test_a_pre_market_row_has_no_day_around_it() -> None:
    """Neither volume nor previous close of a print before the open can be placed."""
    (quote,) = quotes_of(read(fixture("nasdaq", "watchlist.json"), "BOLT.B"), "BOLT.B")
    assert (quote.symbol, quote.session, quote.price) == ("BOLT.B", Session.PRE, 20.1)
    assert (quote.volume, quote.previous_close) == (None, None)


def test_the_second_time_column_stands_in_for_the_first() -> None:
    """Midnight there is a bare date."""
    (quote,) = quotes_of(read(fixture("nasdaq", "watchlist.json"), "^IXIC"), "^IXIC")
    assert (quote.session, quote.event_time, quote.event_time_resolution_s) == (
        Session.CLOSED,
        at("2026-08-19T20:00:00"),
        86400.0,
    )
    assert (quote.price, quote.previous_close, quote.currency) == (22100.5, 22000.0, None)


@pytest.mark.parametrize(
    ("symbol", "failure"),
    [
        ("QUIET", Failure("nasdaq", FailureKind.NO_DATA, "the row shows no price")),
        (
            "BROKEN",
            Failure(
                "nasdaq",
                FailureKind.MALFORMED_REPLY,
                "reply.data[5].lastSalePrice should show a number, shows 'about ten'",
            ),
        ),
        ("NOSUCH", Failure("nasdaq", FailureKind.UNKNOWN_SYMBOL, "not among the rows of the reply")),
    ],
)
def test_one_bad_symbol_never_fails_the_others(symbol: str, failure: Failure) -> None:
    """Each has its own reason."""
    reading = read(fixture("nasdaq", "watchlist.json"), symbol, "ACME")
    assert failure_of(reading, symbol) == failure
    assert quotes_of(reading, "ACME")[0].price == 1048.75


def test_rows_that_were_not_asked_are_passed_over() -> None:
    """Nobody is told a price of another symbol than the one asked."""
    assert set(read(fixture("nasdaq", "watchlist.json"), "ACME")) == {"ACME"}


def test_a_recorded_list_is_about_every_symbol_of_its_url() -> None:
    """The parameter is repeated; a symbol asked under two classes is one."""
    listed = "symbol=acme%7Cstocks&symbol=acme%7Cetf&symbol=bolt.b%7Cstocks&symbol=nosuch%7Cetf"
    url = f"https://x.example/api/quote/watchlist?{listed}"
    body = json.dumps(fixture("nasdaq", "watchlist.json")).encode()
    reading = read_recorded(NASDAQ, url, body, status=200, received_at=at("2026-08-20T15:26:30"))
    assert [quote.symbol for quote in reading.quotes] == ["ACME", "BOLT.B"]
    assert reading.failures is not None
    assert {symbol: failure.kind for symbol, failure in reading.failures.items()} == {
        "NOSUCH": FailureKind.UNKNOWN_SYMBOL
    }


def test_a_refused_list_does_not_make_every_symbol_unknown() -> None:
    """One symbol that does not exist must not condemn the others."""
    with pytest.raises(SourceError) as several:
        read(fixture("nasdaq", "unknown_symbol.json"), "ACME", "NOSUCH")
    with pytest.raises(SourceError) as one:
        read(fixture("nasdaq", "unknown_symbol.json"), "NOSUCH")
    assert (several.value.kind, one.value.kind) == (FailureKind.NO_DATA, FailureKind.UNKNOWN_SYMBOL)


def test_an_empty_list_knows_none_of_the_symbols() -> None:
    """No data at all and no rows mean the same."""
    nothing: tuple[list[Any] | None, ...] = (None, [])
    for data in nothing:
        reading = read({"data": data, "status": {"rCode": 200}}, "ACME")
        assert failure_of(reading, "ACME").kind is FailureKind.UNKNOWN_SYMBOL


def test_rows_under_names_that_are_no_symbols_are_passed_over() -> None:
    """They are nobody's."""
    rows = [{"symbol": "?!", "lastSalePrice": "$1.00"}, {"symbol": "ACME", "lastSalePrice": "N/A"}]
    assert set(read({"data": rows, "status": {"rCode": 200}}, "ACME")) == {"ACME"}


def test_a_time_that_cannot_be_read_fails_its_row() -> None:
    """The second time column is held to the same as the first."""
    row = {"symbol": "ACME", "lastSalePrice": "$1.00", "lastTradeTimestampDateTime": "noon"}
    failure = failure_of(read({"data": [row], "status": {"rCode": 200}}, "ACME"), "ACME")
    assert failure == Failure(
        "nasdaq", FailureKind.MALFORMED_REPLY, "reply.data[0].lastTradeTimestampDateTime is no date and time"
    )
