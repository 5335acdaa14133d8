"""What Tiingo's quotes say, and what Tiingo is asked for them."""

from __future__ import annotations

from typing import Any

import pytest

from mdagent_mcp.domain.failures import Failure, FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import Key, Plan, Quota, QuoteQuery, QuoteReading, RecordedUrl, Request
from mdagent_mcp.vendors.tiingo import TIINGO
from vendors.vendor_exchanges import at, failure_of, fixture, quotes_of, reply

LISTING = "the reply names no currency; it is that of the listing"
REFERENCE = "a reference price derived from IEX; book and volume of that venue alone are left out"
NOW = at("2026-08-20T15:26:24")


def asked(*symbols: str) -> QuoteQuery:
    """A query about symbols."""
    return QuoteQuery(tuple(map(parse_symbol, symbols)), NOW)


def read(body: Any, *symbols: str, received_at: str = "2026-08-20T15:26:24", status: int = 200) -> QuoteReading:
    """What a reply says about ACME, or about these symbols."""
    received = reply(body, received_at, status)
    refuse_errors(TIINGO, received)
    return TIINGO.quote.parse(asked(*(symbols or ("ACME",))), received)


def only(received_at: str = "2026-08-20T15:26:24", **changes: Any) -> Quote:
    """The quote of the fixture's first row with other values."""
    row = fixture("tiingo", "iex.json")[0] | changes
    (quote,) = quotes_of(read([row], received_at=received_at), "ACME")
    return quote


def test_a_price_is_one_venues_and_comes_without_its_book_and_volume() -> None:
    """The instant of the trade is told in nanoseconds and with an offset."""
    assert only() == Quote(
        symbol="ACME",
        source="tiingo",
        price=1048.75,
        session=Session.REGULAR,
        received_at=NOW,
        event_time=at("2026-08-20T15:26:21.004117"),
        currency="USD",
        open=1058.0,
        high=1061.25,
        low=1044.0,
        previous_close=1060.5,
        venue_only=True,
        notes=(LISTING, REFERENCE),
    )


def test_every_symbol_of_a_batch_has_its_own_row() -> None:
    """A class share is spelt with a hyphen there; a trade that is not told gives way to the time of the row."""
    reading = read(fixture("tiingo", "iex.json"), "ACME", "BOLT.B")
    (bolt,) = quotes_of(reading, "BOLT.B")
    assert (bolt.price, bolt.event_time, bolt.previous_close) == (77.5, at("2026-08-20T15:26:22"), 76.25)
    assert list(reading) == ["ACME", "BOLT.B"]


def test_the_last_trade_stands_in_for_a_missing_reference_price() -> None:
    """And the other way round."""
    assert only(tngoLast=None).price == 1048.7
    assert only(last=None).price == 1048.75


@pytest.mark.parametrize(
    ("moment", "session", "venue_only"),
    [
        ("2026-08-20T13:29:59Z", Session.PRE, True),
        ("2026-08-20T13:30:00Z", Session.REGULAR, True),
        ("2026-08-20T19:59:59.999999999+00:00", Session.REGULAR, True),
        ("2026-08-20T20:00:00+00:00", Session.CLOSED, False),
        ("2026-08-20T16:00:00-04:00", Session.CLOSED, False),
        ("2026-08-20T20:00:01Z", Session.POST, True),
        ("2026-11-27T18:00:00+00:00", Session.CLOSED, False),
        ("2026-08-22T15:00:00Z", Session.CLOSED, False),
    ],
)
def test_the_calendar_decides_the_session(moment: str, session: Session, *, venue_only: bool) -> None:
    """The official close is the whole market's and is stamped with the instant of the close."""
    quote = only(received_at="2026-11-30T12:00:00", lastSaleTimestamp=moment)
    assert (quote.session, quote.venue_only) == (session, venue_only)


def test_the_official_close_comes_with_the_volume_of_the_whole_market() -> None:
    """Within the session the volume is one venue's and is left out."""
    quote = only(lastSaleTimestamp="2026-08-20T20:00:00+00:00", volume=845120, received_at="2026-08-20T22:00:00")
    assert (quote.volume, quote.notes) == (845120.0, (LISTING,))
    assert only().volume is None


def test_a_price_before_the_open_has_no_day_around_it() -> None:
    """Which session the day's figures are of is not told."""
    quote = only(lastSaleTimestamp="2026-08-20T12:00:00Z")
    assert (quote.open, quote.high, quote.low, quote.previous_close) == (None, None, None, None)


def test_a_price_without_a_time_is_undated() -> None:
    """It is never taken for an official close."""
    quote = only(lastSaleTimestamp=None, timestamp=None)
    assert (quote.event_time, quote.session, quote.venue_only) == (None, Session.REGULAR, True)
    assert quote.notes[-1] == "the source gives no time; the session is the one at receipt"
    assert only(received_at="2026-08-22T15:00:00", lastSaleTimestamp=None, timestamp=None).venue_only


def test_a_symbol_without_a_row_is_unknown() -> None:
    """Also when there is no row at all."""
    absent = Failure("tiingo", FailureKind.UNKNOWN_SYMBOL, "not among the rows of the reply")
    assert read([]) == {"ACME": absent}
    row = fixture("tiingo", "iex.json")[0]
    assert failure_of(read([row], "ACME", "GONE"), "GONE") == absent


def test_a_reply_about_another_symbol_is_no_answer() -> None:
    """It tells nothing about the symbol that was asked, and not that it is unknown."""
    failure = failure_of(read(fixture("tiingo", "iex.json"), "GONE"), "GONE")
    assert failure == Failure("tiingo", FailureKind.MALFORMED_REPLY, "the reply names another symbol: 'ACME'")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"tngoLast": None, "last": None}, FailureKind.NO_DATA),
        ({"tngoLast": 0, "last": 0}, FailureKind.NO_DATA),
        ({"tngoLast": "1048.75"}, FailureKind.MALFORMED_REPLY),
        ({"lastSaleTimestamp": "2026-08-20T11:26:21"}, FailureKind.MALFORMED_REPLY),
        ({"lastSaleTimestamp": "2026-08-32T11:26:21Z"}, FailureKind.MALFORMED_REPLY),
        ({"lastSaleTimestamp": "9999-12-31T23:59:59-23:00"}, FailureKind.MALFORMED_REPLY),
        ({"lastSaleTimestamp": 1787239583}, FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_row_that_cannot_be_read_spoils_its_own_symbol_only(changes: dict[str, Any], kind: FailureKind) -> None:
    """The others are answered."""
    first, second = fixture("tiingo", "iex.json")
    reading = read([first | changes, second], "ACME", "BOLT.B")
    assert failure_of(reading, "ACME").kind is kind
    assert quotes_of(reading, "BOLT.B")[0].price == 77.5


@pytest.mark.parametrize(
    ("body", "status", "kind", "retry_after_s"),
    [
        ({"detail": "Invalid token."}, 403, FailureKind.UNAUTHORIZED, None),
        ({"detail": "Invalid token."}, 401, FailureKind.UNAUTHORIZED, None),
        ({"detail": "Please supply a token"}, 403, FailureKind.UNAUTHORIZED, None),
        ({"detail": "You do not have permission to access this."}, 403, FailureKind.NOT_ENTITLED, None),
        ({"detail": "Not found."}, 404, FailureKind.UNKNOWN_SYMBOL, None),
        ({"detail": "You have run over your daily request allocation."}, 429, FailureKind.QUOTA_EXHAUSTED, 3600.0),
        ({"detail": "You have run over your 500 symbol look up."}, 200, FailureKind.QUOTA_EXHAUSTED, 3600.0),
        (b"", 429, FailureKind.THROTTLED, 60.0),
        ({"detail": "Something."}, 200, FailureKind.SOURCE_ERROR, None),
        ({}, 200, FailureKind.MALFORMED_REPLY, None),
        ([{"tngoLast": 1.0}], 200, FailureKind.MALFORMED_REPLY, None),
        (b"<html>", 502, FailureKind.SOURCE_ERROR, None),
    ],
)
def test_a_refusal_has_its_public_code(body: Any, status: int, kind: FailureKind, retry_after_s: float | None) -> None:
    """A wrong key is no missing entitlement, and a spent quota no outage."""
    with pytest.raises(SourceError) as raised:
        read(body, status=status)
    assert (raised.value.kind, raised.value.retry_after_s) == (kind, retry_after_s)


def test_one_symbol_and_many_are_asked_at_the_same_place() -> None:
    """The key goes into a header, by the transport."""
    assert TIINGO.quotes is not None
    assert TIINGO.quote.build(asked("BRK.B")) == (Request("/iex/", (("tickers", "BRK-B"),)),)
    assert TIINGO.quotes.build(asked("ACME", "BOLT.B")) == (Request("/iex/", (("tickers", "ACME,BOLT-B"),)),)
    assert TIINGO.quotes.max_batch == 50
    key = Key(("TIINGO_API_KEY",), "header", "Authorization", prefix="Token ", signup_url="https://www.tiingo.com/")
    assert TIINGO.key == key


@pytest.mark.parametrize("symbol", ["^GSPC", "VOD.L", "EURUSD", "BTC-USD"])
def test_only_us_listings_are_quoted(symbol: str) -> None:
    """Everything else is refused without a call."""
    assert TIINGO.quote.refuses(asked("ACME", symbol)) == f"Tiingo quotes US listings, not {symbol}"
    assert TIINGO.quote.refuses(asked("ACME", "BRK.B")) is None


def test_a_recorded_url_names_its_tickers() -> None:
    """In the path or in the query; one is a quote, several are a batch."""
    assert TIINGO.quotes is not None
    both = RecordedUrl("/iex/", {"tickers": "acme,bolt-b"}, None, NOW)
    assert TIINGO.quote.recognise(both) is None
    assert TIINGO.quotes.recognise(both) == asked("ACME", "BOLT.B")
    assert TIINGO.quote.recognise(RecordedUrl("/iex", {"tickers": "BRK-B"}, None, NOW)) == asked("BRK.B")
    assert TIINGO.quote.recognise(RecordedUrl("/gateway/iex/acme", {}, None, NOW)) == asked("ACME")
    assert TIINGO.quote.recognise(RecordedUrl("/iex/", {}, parse_symbol("ACME"), NOW)) == asked("ACME")
    for path in ("/iex/acme/prices", "/tiingo/daily/acme"):
        assert TIINGO.quote.recognise(RecordedUrl(path, {}, None, NOW)) is None
        assert TIINGO.quotes.recognise(RecordedUrl(path, {}, None, NOW)) is None
    with pytest.raises(SourceError) as raised:
        TIINGO.quote.recognise(RecordedUrl("/iex/", {}, None, NOW))
    assert raised.value.kind is FailureKind.BAD_REQUEST


def test_the_free_plan_is_counted_by_the_hour_and_by_the_day() -> None:
    """Its shares are of the group of IEX, its crypto is its own."""
    quotas = (Quota(50, 3600.0, "hour"), Quota(1000, 86_400.0, "day"))
    assert TIINGO.default_plan == Plan(quotas=quotas, cost_per_call=0.5)
    assert list(TIINGO.plans) == ["starter", "power"]
    assert TIINGO.plans["power"].quotas == (Quota(10_000, 3600.0, "hour"), Quota(100_000, 86_400.0, "day"))
    assert (TIINGO.group_of(parse_symbol("AAPL")), TIINGO.group_of(parse_symbol("BTC-USD"))) == ("iex", "tiingo")
    assert (TIINGO.id, dict(TIINGO.hosts)) == ("tiingo", {"api": "https://api.tiingo.com"})
