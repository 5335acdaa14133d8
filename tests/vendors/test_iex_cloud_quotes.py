"""What quotes in IEX Cloud's format say, and how they are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from mdagent_mcp.domain.failures import Failure, FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, RecordedUrl, Request
from mdagent_mcp.vendors.iex_cloud import IEX_CLOUD
from vendors.vendor_exchanges import at, failure_of, fixture, quotes_of, read_quotes, reply

LISTING = "the reply names no currency; it is that of the listing"
NOW = at("2026-08-20T15:26:24")


def asked(*symbols: str) -> QuoteQuery:
    """A query about symbols."""
    return QuoteQuery(tuple(map(parse_symbol, symbols)), NOW)


def only(received_at: str = "2026-08-20T15:26:24", **changes: Any) -> Quote:
    """The single quote of the fixture with other values."""
    (quote,) = read_quotes(IEX_CLOUD, "ACME", fixture("iex_cloud", "quote.json") | changes, received_at)
    return quote


def read_batch(body: Any, *symbols: str) -> QuoteReading:
    """What a batch says."""
    assert IEX_CLOUD.quotes is not None
    received = reply(body, "2026-08-20T15:26:24")
    refuse_errors(IEX_CLOUD, received)
    return IEX_CLOUD.quotes.parse(asked(*symbols), received)


def milliseconds(text: str) -> int:
    """An instant as the vendor writes it."""
    return int(at(text).timestamp() * 1000)


def test_a_real_time_price_is_one_venues() -> None:
    """It is timed to the millisecond; the venue's own empty book is no book."""
    assert only() == Quote(
        symbol="ACME",
        source="iex_cloud",
        price=1048.75,
        session=Session.REGULAR,
        received_at=NOW,
        event_time=at("2026-08-20T15:26:23.250"),
        currency="USD",
        open=1058.0,
        high=1061.25,
        low=1044.0,
        previous_close=1060.5,
        volume=31220.0,
        venue_only=True,
    )


def test_a_delayed_price_is_the_whole_markets() -> None:
    """Fifteen minutes late."""
    quote = only(latestSource="15 minute delayed price")
    assert (quote.declared_delay_s, quote.venue_only, quote.session) == (900.0, False, Session.REGULAR)


@pytest.mark.parametrize("source", ["IEX real time price", "15 minute delayed price", "Something new", None])
@pytest.mark.parametrize(
    ("moment", "session"),
    [("12:00", Session.PRE), ("13:30", Session.REGULAR), ("20:00", Session.POST), ("23:30", Session.POST)],
)
def test_the_calendar_decides_the_session_of_a_trade(source: str | None, moment: str, session: Session) -> None:
    """Only a close is a close."""
    assert only(latestSource=source, latestUpdate=milliseconds(f"2026-08-20T{moment}")).session is session


def test_a_price_of_extended_hours_has_no_day_that_is_told() -> None:
    """Before the open none at all; after the close the previous close is that of the same day."""
    early = only(latestUpdate=milliseconds("2026-08-20T12:00"))
    assert (early.open, early.high, early.previous_close, early.volume) == (None, None, None, None)
    late = only(latestUpdate=milliseconds("2026-08-20T21:00"))
    assert (late.open, late.high, late.previous_close, late.volume) == (1058.0, 1061.25, None, 31220.0)


def test_the_official_close_and_a_later_print_are_two_quotes() -> None:
    """The last generation of the API sends an array; a print that is not IEX's own is late."""
    body = fixture("iex_cloud", "quote_array.json")
    close, late = read_quotes(IEX_CLOUD, "ACME", body, "2026-08-20T22:00:00")
    assert close == Quote(
        symbol="ACME",
        source="iex_cloud",
        price=1050.5,
        session=Session.CLOSED,
        received_at=at("2026-08-20T22:00:00"),
        event_time=at("2026-08-20T20:00:00.400"),
        currency="USD",
        high=1061.25,
        low=1044.0,
        previous_close=1060.5,
        volume=845120.0,
    )
    assert late == Quote(
        symbol="ACME",
        source="iex_cloud",
        price=1051.25,
        session=Session.POST,
        received_at=at("2026-08-20T22:00:00"),
        event_time=at("2026-08-20T21:06:40"),
        currency="USD",
        declared_delay_s=900.0,
    )
    body[0]["iexLastUpdated"] = body[0]["extendedPriceTime"]
    own = read_quotes(IEX_CLOUD, "ACME", body, "2026-08-20T22:00:00")[1]
    assert (own.declared_delay_s, own.venue_only) == (0.0, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"extendedPrice": 0},
        {"extendedPriceTime": None},
        {"extendedPriceTime": milliseconds("2026-08-20T12:00")},
        {"extendedPriceTime": milliseconds("2026-08-22T12:00")},
    ],
)
def test_an_extended_price_must_be_later_and_of_extended_hours(changes: dict[str, Any]) -> None:
    """One from before the open is history by the close."""
    row = fixture("iex_cloud", "quote_array.json")[0] | changes
    assert len(read_quotes(IEX_CLOUD, "ACME", [row], "2026-08-20T22:00:00")) == 1


@pytest.mark.parametrize("midnight", ["2026-08-19T00:00", "2026-08-19T04:00"])
def test_midnight_is_a_date_and_no_instant(midnight: str) -> None:
    """The price is that date's close."""
    quote = only(latestSource="Close", latestUpdate=milliseconds(midnight))
    assert (quote.session, quote.event_time, quote.event_time_resolution_s) == (
        Session.CLOSED,
        at("2026-08-19T20:00"),
        86_400.0,
    )
    assert quote.notes == ("the time is the date 2026-08-19 and no instant",)
    weekend = only(latestSource="Close", latestUpdate=milliseconds("2026-08-22T00:00"))
    assert (weekend.event_time, weekend.session) == (None, Session.CLOSED)


def test_the_close_of_an_earlier_day_has_no_day_around_it() -> None:
    """The figures beside it are of another session."""
    quote = only(latestSource="Previous close", latestUpdate=milliseconds("2026-08-19T20:00:00"))
    assert (quote.session, quote.event_time) == (Session.CLOSED, at("2026-08-19T20:00"))
    assert (quote.open, quote.high, quote.low, quote.previous_close, quote.volume) == (None,) * 5


@pytest.mark.parametrize(
    ("source", "session", "note"),
    [
        ("Close", Session.CLOSED, "the source gives no time"),
        (None, Session.REGULAR, "the source gives no time; the session is the one at receipt"),
    ],
)
def test_a_price_without_a_time_is_undated(source: str | None, session: Session, note: str) -> None:
    """Zero is none."""
    quote = only(latestSource=source, latestUpdate=0, currency="")
    assert (quote.event_time, quote.session, quote.notes) == (None, session, (LISTING, note))


def test_nulls_and_zeros_are_absent_figures() -> None:
    """As the vendor sends them for listings it has no agreement about."""
    quote = only(open=None, high=0, low=None, previousClose=0, latestVolume=None)
    assert (quote.open, quote.high, quote.low, quote.previous_close, quote.volume) == (None,) * 5


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"Unknown symbol", 404, FailureKind.UNKNOWN_SYMBOL),
        (b"404 page not found", 404, FailureKind.SOURCE_ERROR),
        (b"The API key provided is not valid.", 403, FailureKind.UNAUTHORIZED),
        (b"Forbidden", 403, FailureKind.NOT_ENTITLED),
        (b"", 401, FailureKind.UNAUTHORIZED),
        (b"", 402, FailureKind.QUOTA_EXHAUSTED),
        (b"", 429, FailureKind.THROTTLED),
        (b"You have supplied invalid values for this request", 400, FailureKind.BAD_REQUEST),
        ({"error": "not allowed"}, 200, FailureKind.SOURCE_ERROR),
        ([{"error": "not allowed"}], 200, FailureKind.SOURCE_ERROR),
        ([], 200, FailureKind.NO_DATA),
        ([None], 200, FailureKind.NO_DATA),
        ({"symbol": "ACME", "latestPrice": None}, 200, FailureKind.NO_DATA),
        ({"symbol": "ACME", "latestPrice": 0}, 200, FailureKind.NO_DATA),
        ({"symbol": "BOLT", "latestPrice": 1.5}, 200, FailureKind.MALFORMED_REPLY),
        ({"latestPrice": 1.5}, 200, FailureKind.MALFORMED_REPLY),
        ({"symbol": "ACME", "latestPrice": "1.5"}, 200, FailureKind.MALFORMED_REPLY),
        ({"symbol": "ACME", "latestPrice": 1.5, "latestUpdate": 1e17}, 200, FailureKind.MALFORMED_REPLY),
        (b"1.5e", 200, FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_reply_without_a_price_is_a_failure_with_its_reason(body: Any, status: int, kind: FailureKind) -> None:
    """A page that a gateway does not have is no unknown symbol."""
    with pytest.raises(SourceError) as raised:
        read_quotes(IEX_CLOUD, "ACME", body, "2026-08-20T15:26:24", status)
    assert raised.value.kind is kind


def test_every_symbol_of_a_batch_has_its_quote_or_its_reason() -> None:
    """What is missing is unknown, and what was not asked is passed over; a list that names none is about all."""
    body = fixture("iex_cloud", "batch.json")
    assert set(read_batch(body, "ACME")) == {"ACME"}
    assert set(read_batch(body)) >= {"ACME", "BOLT.B"}
    reading = read_batch(body, "ACME", "BOLT.B", "NIL", "GONE")
    assert failure_of(reading, "GONE") == Failure("iex_cloud", FailureKind.UNKNOWN_SYMBOL, "not in the reply")
    assert failure_of(reading, "NIL").kind is FailureKind.NO_DATA
    (acme,), (bolt,) = quotes_of(reading, "ACME"), quotes_of(reading, "BOLT.B")
    assert (acme.price, acme.declared_delay_s, acme.event_time) == (1048.75, 900.0, at("2026-08-20T15:10"))
    assert (bolt.price, bolt.event_time, bolt.high) == (77.5, at("2026-08-19T20:00"), None)


def test_a_quote_under_another_symbols_name_is_no_answer() -> None:
    """An array is a batch too, and an error in a batch is the batch's."""
    body = fixture("iex_cloud", "batch.json")
    body["ACME"]["quote"]["symbol"] = "BOLT"
    assert failure_of(read_batch(body, "ACME"), "ACME").kind is FailureKind.MALFORMED_REPLY
    listed = read_batch([fixture("iex_cloud", "quote.json")], "ACME", "GONE")
    assert quotes_of(listed, "ACME")[0].price == 1048.75
    assert failure_of(listed, "GONE").kind is FailureKind.UNKNOWN_SYMBOL
    with pytest.raises(SourceError) as raised:
        read_batch({"error": "not allowed"}, "ACME")
    assert raised.value.kind is FailureKind.SOURCE_ERROR


def test_quotes_are_asked_by_path_and_batches_by_list() -> None:
    """A batch costs a message for each symbol."""
    assert IEX_CLOUD.quotes is not None
    assert IEX_CLOUD.quote.build(asked("BRK.B")) == (Request("/stable/stock/BRK.B/quote"),)
    parameters = (("symbols", "ACME,BOLT.B"), ("types", "quote"))
    batch = (Request("/stable/stock/market/batch", parameters, cost=2),)
    assert IEX_CLOUD.quotes.build(asked("ACME", "BOLT.B")) == batch
    assert IEX_CLOUD.quotes.max_batch == 100
    assert IEX_CLOUD.quote.refuses(asked("ACME", "VOD.L")) == "IEX Cloud quotes US listings, not VOD.L"
    assert IEX_CLOUD.quote.refuses(asked("ACME")) is None


def url(path: str, **query: str) -> RecordedUrl:
    """A recorded URL about which a person names ACME."""
    return RecordedUrl(path, query, parse_symbol("ACME"), NOW)


def test_recorded_urls_of_every_generation_are_understood() -> None:
    """What is no list of symbols names none, and is read without."""
    assert IEX_CLOUD.quotes is not None
    for path in ("/stable/stock/bolt/quote", "/1.0/stock/BOLT/quote", "/v1/data/core/quote/bolt"):
        assert IEX_CLOUD.quote.recognise(url(path)) == asked("BOLT")
        assert IEX_CLOUD.quote.recognise(url(path + "/x")) is None
    assert IEX_CLOUD.quote.recognise(url("/v1/data/core/quote/acme,bolt")) is None
    assert IEX_CLOUD.quotes.recognise(url("/v1/data/CORE/QUOTE/acme,bolt")) == asked("ACME", "BOLT")
    batch = "/stable/stock/market/batch"
    assert IEX_CLOUD.quotes.recognise(url(batch, symbols="acme,bolt", types="chart,quote")) == asked("ACME", "BOLT")
    assert IEX_CLOUD.quotes.recognise(url(batch, symbols="...")) == asked()
    assert IEX_CLOUD.quotes.recognise(url(batch)) == asked("ACME")
    assert IEX_CLOUD.quotes.recognise(url(batch, symbols="acme", types="chart")) is None
    assert IEX_CLOUD.quotes.recognise(url("/v1/crypto/BTCUSDT/quote")) is None
