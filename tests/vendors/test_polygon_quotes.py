"""Polygon's snapshots: which price belongs to which session, in every shape and under every plan."""

from __future__ import annotations

from typing import Any

import pytest

from mdagent_mcp.domain.failures import Failure, FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading
from mdagent_mcp.vendors.polygon import POLYGON
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from vendors.vendor_exchanges import at, failure_of, fixture, quotes_of, read_quotes, reply

AT = "2026-08-20T15:27:10"
LISTING = "the reply names no currency; it is that of the listing"
TRADED = at("2026-08-20T15:27:08.123456")


def snapshot(**changes: Any) -> Any:
    """The v2 snapshot of ACME with blocks replaced; None leaves one out."""
    content = fixture("polygon", "snapshot.json")
    content["ticker"] = {k: v for k, v in (content["ticker"] | changes).items() if v is not None}
    return content


def stamp(text: str) -> int:
    """An instant in nanoseconds."""
    return int(at(text).timestamp()) * 10**9


def quotes(content: Any, received_at: str = AT, symbol: str = "ACME") -> tuple[Quote, ...]:
    """What a snapshot of one symbol says."""
    return read_quotes(POLYGON, symbol, content, received_at)


def told(*read: Quote) -> list[tuple[str, float, str]]:
    """Session, price and time of quotes."""
    return [(q.session.value, q.price, "" if q.event_time is None else f"{q.event_time:%m-%dT%H:%M:%S}") for q in read]


def several(content: Any, *symbols: str, received_at: str = AT) -> QuoteReading:
    """What a unified snapshot says about symbols."""
    assert POLYGON.quotes is not None
    received = reply(content, received_at)
    return POLYGON.quotes.parse(QuoteQuery(tuple(map(parse_symbol, symbols)), received.received_at), received)


def unified(symbol: str, received_at: str = AT, **changes: Any) -> tuple[Quote, ...]:
    """The quotes of one item of the unified snapshot, with members replaced; None leaves one out."""
    content = fixture("polygon", "unified.json")
    tickers = {"ACME": 0, "BOLT.B": 1, "BTC-USD": 2, "EURUSD": 3, "^GSPC": 4}
    item = {k: v for k, v in (content["results"][tickers[symbol]] | changes).items() if v is not None}
    return quotes_of(several({"status": "OK", "results": [item]}, symbol, received_at=received_at), symbol)


def test_a_snapshot_in_regular_hours_is_the_last_trade_with_the_days_figures() -> None:
    """`p` is the bid and `P` the ask of a quote, but the price of a trade; times are nanoseconds."""
    assert quotes(snapshot()) == (
        Quote(
            symbol="ACME",
            source="polygon",
            price=124.45,
            session=Session.REGULAR,
            received_at=at(AT),
            event_time=TRADED,
            currency="USD",
            bid=124.44,
            ask=124.47,
            open=123.4,
            high=125.02,
            low=122.88,
            previous_close=123.4,
            volume=10345678.0,
            notes=(LISTING,),
        ),
    )


def test_without_trades_the_price_is_that_of_the_last_minute() -> None:
    """A plan without trades has bars; the minute is stamped at its start, in milliseconds."""
    (quote,) = quotes(snapshot(lastTrade=None, lastQuote=None))
    assert told(quote) == [("regular", 124.43, "08-20T15:26:00")]
    assert (quote.event_time_resolution_s, quote.bid, quote.ask) == (60.0, None, None)


def test_zeros_are_absent() -> None:
    """A market that has no bid shows 0."""
    book = {"P": 0, "S": 0, "p": 0, "s": 0, "t": 0}
    empty = {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0}
    (quote,) = quotes(snapshot(lastQuote=book, day=empty))
    assert (quote.bid, quote.ask, quote.open, quote.high, quote.low, quote.volume) == (None,) * 6
    assert quote.previous_close is None
    with pytest.raises(SourceError) as raised:
        quotes(snapshot(lastTrade={"p": 0, "t": 0}, min=empty | {"t": 0}, day=empty, prevDay=empty))
    assert raised.value.kind is FailureKind.NO_DATA


def test_after_the_close_the_late_trade_and_the_official_close_are_two_quotes() -> None:
    """The day's last price is the official close, at the time of the close."""
    late = snapshot(lastTrade={"p": 124.9, "t": stamp("2026-08-20T21:30:00"), "s": 5})
    post, closed = quotes(late, "2026-08-20T21:30:05")
    assert told(post, closed) == [("post", 124.9, "08-20T21:30:00"), ("closed", 124.41, "08-20T20:00:00")]
    assert (post.bid, closed.bid, post.open, closed.open) == (124.44, None, 123.4, 123.4)
    assert (post.previous_close, closed.previous_close) == (123.4, 123.4)


def test_a_trade_reported_just_after_the_late_hours_belongs_to_them() -> None:
    """It is not a trade of the night."""
    content = snapshot(lastTrade={"p": 124.9, "t": stamp("2026-08-21T00:00:03")})
    assert [q.session for q in quotes(content, "2026-08-21T00:10:00")] == [Session.POST, Session.CLOSED]


def test_the_last_trade_of_a_session_gives_way_to_its_official_close() -> None:
    """They are of one session, and the close is what one quotes afterwards."""
    content = snapshot(updated=stamp("2026-08-20T20:00:01"))
    assert told(*quotes(content, "2026-08-20T20:05:00")) == [("closed", 124.41, "08-20T20:00:00")]


def test_a_delayed_feed_has_no_official_close_until_it_has_reached_it() -> None:
    """Five minutes after the close it is still at a quarter to."""
    content = snapshot(
        lastTrade={"p": 124.7, "t": stamp("2026-08-20T19:50:00")}, updated=stamp("2026-08-20T19:50:00")
    ) | {"status": "DELAYED"}
    (quote,) = quotes(content, "2026-08-20T20:05:00")
    assert told(quote) == [("regular", 124.7, "08-20T19:50:00")]
    assert (quote.declared_delay_s, quote.notes) == (900.0, (LISTING, "the reply is marked as delayed"))
    assert told(*quotes(content, "2026-08-20T20:40:00")) == [("closed", 124.41, "08-20T20:00:00")]


def test_before_the_open_the_previous_close_stands_beside_the_early_trade() -> None:
    """The day was cleared at 03:30 New York; what it holds is not of a session that is over."""
    empty = {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0}
    for day in (empty, {"o": 124.1, "h": 124.3, "l": 124.0, "c": 124.2, "v": 900}):
        early = snapshot(
            day=day,
            lastTrade={"p": 124.2, "t": stamp("2026-08-20T12:00:00")},
            updated=stamp("2026-08-20T12:00:00"),
        )
        pre, closed = quotes(early, "2026-08-20T12:00:04")
        assert told(pre, closed) == [("pre", 124.2, "08-20T12:00:00"), ("closed", 123.4, "08-19T20:00:00")]
        assert (pre.previous_close, pre.open, pre.high, pre.low, pre.volume) == (123.4, None, None, None, None)
        assert closed.event_time_resolution_s == 86400.0
        assert closed.notes == (LISTING, "the previous day's close; the reply does not date it")


def test_until_half_past_three_the_day_is_the_one_before() -> None:
    """At 02:00 New York nothing is cleared yet."""
    content = snapshot(lastTrade={"p": 124.9, "t": stamp("2026-08-20T23:59:00")}, updated=stamp("2026-08-20T23:59:00"))
    assert told(*quotes(content, "2026-08-21T06:00:00")) == [
        ("post", 124.9, "08-20T23:59:00"),
        ("closed", 124.41, "08-20T20:00:00"),
    ]


def test_after_clearing_a_late_trade_has_no_figures_of_its_day() -> None:
    """The previous close in the reply is by now the close of that very day."""
    empty = {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0}
    content = snapshot(
        day=empty, lastTrade={"p": 124.9, "t": stamp("2026-08-19T23:59:00")}, updated=stamp("2026-08-19T23:59:00")
    )
    post, closed = quotes(content, "2026-08-20T08:30:00")
    assert told(post, closed) == [("post", 124.9, "08-19T23:59:00"), ("closed", 123.4, "08-19T20:00:00")]
    assert (post.previous_close, post.open) == (None, None)


def test_a_cleared_day_after_the_open_is_no_reason_to_date_the_previous_close() -> None:
    """The vendor has shown a day of zeros at six in the evening: yesterday's close is not today's."""
    empty = {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0}
    content = snapshot(day=empty, lastTrade=None, min=None, updated=stamp("2026-08-20T21:00:00"))
    with pytest.raises(SourceError) as raised:
        quotes(content, "2026-08-20T22:00:00")
    assert raised.value.kind is FailureKind.NO_DATA


def test_a_previous_close_from_before_a_split_is_left_out() -> None:
    """Snapshots do not adjust it."""
    (quote,) = quotes(snapshot(prevDay={"c": 12.34}))
    assert quote.previous_close is None
    assert quote.notes == (LISTING, "left out: previous_close 12.34 is too far from the price")


def test_a_side_of_the_book_that_nobody_means_is_left_out() -> None:
    """Asks of a hundred times the price are placeholders."""
    (quote,) = quotes(snapshot(lastQuote={"p": 124.44, "P": 199999.0, "t": stamp(AT)}))
    assert (quote.bid, quote.ask) == (124.44, None)


def test_a_snapshot_of_another_symbol_is_refused() -> None:
    """The reply says whom it is about."""
    with pytest.raises(SourceError) as raised:
        quotes(snapshot(), symbol="BOLT.B")
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


def test_a_time_in_seconds_is_refused() -> None:
    """Milliseconds and nanoseconds are told apart by magnitude; seconds are neither."""
    with pytest.raises(SourceError) as raised:
        quotes(snapshot(lastTrade={"p": 124.45, "t": 1787239628}))
    assert raised.value.kind is FailureKind.MALFORMED_REPLY
    (quote,) = quotes(snapshot(lastTrade={"p": 124.45, "t": 1787239628123}))
    assert quote.event_time == at("2026-08-20T15:27:08.123")


def test_of_a_currency_only_the_quote_has_a_time() -> None:
    """`updated` lies hours ahead; the last price is one of the book's, or else the bid is the price."""
    content = fixture("polygon", "currency.json")
    (quote,) = quotes(content, symbol="EURUSD")
    assert told(quote) == [("regular", 1.1643, "08-20T15:27:07")]
    assert (quote.bid, quote.ask, quote.volume, quote.notes) == (1.1642, 1.1643, None, ())
    content["ticker"]["day"]["c"] = 1.1701
    (quote,) = quotes(content, symbol="EURUSD")
    assert (quote.price, quote.notes) == (1.1642, ("the reply holds a book and no trade; the price is its bid",))


def test_a_trade_of_crypto_is_stamped_in_milliseconds() -> None:
    """And its `updated` is not trusted."""
    (quote,) = quotes(fixture("polygon", "crypto.json"), symbol="BTC-USD")
    assert (quote.price, quote.event_time, quote.session) == (62011.5, at("2026-08-20T15:27:09.250"), Session.REGULAR)
    assert (quote.volume, quote.currency) == (1234.56780001, "USD")


def test_a_unified_snapshot_holds_every_market_and_its_errors() -> None:
    """One bad ticker fails no other."""
    symbols = ("ACME", "BOLT.B", "BTC-USD", "EURUSD", "^GSPC", "^SPX", "NOPE", "LOCK", "GONE")
    reading = several(fixture("polygon", "unified.json"), *symbols)
    assert tuple(reading) == symbols
    prices = {s: told(*o.value) for s, o in reading.items() if not isinstance(o, Failure)}
    assert prices == {
        "ACME": [("regular", 124.45, "08-20T15:27:08")],
        "BOLT.B": [("regular", 10.25, "08-20T15:12:00")],
        "BTC-USD": [("regular", 62011.5, "08-20T15:27:09")],
        "EURUSD": [("regular", 1.16425, "08-20T15:27:07")],
        "^GSPC": [("regular", 7012.34, "08-20T15:27:09")],
        "^SPX": [("regular", 7012.34, "08-20T15:27:09")],
    }
    kinds = {s: failure_of(reading, s).kind.value for s in ("NOPE", "LOCK", "GONE")}
    assert kinds == {"NOPE": "unknown_symbol", "LOCK": "not_entitled", "GONE": "no_data"}


def test_an_item_says_itself_that_it_is_delayed() -> None:
    """`timeframe` stands at the item or at its trade; its price is of a bar, so its time is coarse."""
    (quote,) = unified("BOLT.B")
    assert (quote.declared_delay_s, quote.event_time_resolution_s, quote.volume) == (900.0, 60.0, 5000.5)
    trade = {"price": 124.45, "timeframe": "DELAYED", "last_updated": stamp(AT)}
    (quote,) = unified("ACME", last_trade=trade)
    assert (quote.declared_delay_s, quote.event_time_resolution_s) == (900.0, 1.0)


def test_the_price_of_late_hours_is_not_the_close() -> None:
    """`session.price` is the newest of all hours and `session.close` that of regular hours."""
    session = {"open": 123.4, "high": 125.02, "low": 122.88, "close": 124.41, "previous_close": 123.4, "price": 124.9}
    told_late = {"session": session, "market_status": "late_trading", "last_updated": stamp("2026-08-20T21:00:00")}
    post, closed = unified("ACME", "2026-08-20T21:00:02", last_trade=None, **told_late)
    assert told(post, closed) == [("post", 124.9, "08-20T21:00:00"), ("closed", 124.41, "08-20T20:00:00")]


def test_a_price_as_old_as_the_snapshot_that_is_the_close_is_no_late_trade() -> None:
    """Nobody traded since, so there is only the close."""
    session = {"open": 123.4, "high": 125.02, "low": 122.88, "close": 124.41, "previous_close": 123.4, "price": 124.41}
    told_late = {"session": session, "market_status": "late_trading", "last_updated": stamp("2026-08-20T21:00:00")}
    (quote,) = unified("ACME", "2026-08-20T21:00:02", last_trade=None, **told_late)
    assert told(quote) == [("closed", 124.41, "08-20T20:00:00")]


def test_a_delayed_item_has_no_official_close_because_the_market_is_over() -> None:
    """The market's state is of now, its prices are of a quarter of an hour ago."""
    trade = {"price": 124.7, "timeframe": "DELAYED", "last_updated": stamp("2026-08-20T19:50:00")}
    late = {"last_trade": trade, "market_status": "late_trading", "last_updated": stamp("2026-08-20T19:50:00")}
    (quote,) = unified("ACME", "2026-08-20T20:05:00", **late)
    assert told(quote) == [("regular", 124.7, "08-20T19:50:00")]
    late["last_trade"] = trade | {"timeframe": "REAL-TIME"}
    (quote,) = unified("ACME", "2026-08-20T20:05:00", **late)
    assert told(quote) == [("closed", 124.41, "08-20T20:00:00")]


def test_a_closed_market_has_its_official_close() -> None:
    """However old the last trade is."""
    (quote,) = unified("ACME", "2026-08-21T01:00:00", market_status="closed")
    assert told(quote) == [("closed", 124.41, "08-20T20:00:00")]


def test_a_price_without_a_time_has_the_session_that_the_reply_tells() -> None:
    """And no event time."""
    (quote,) = unified("ACME", last_trade=None, last_quote=None, last_updated=None)
    assert (quote.session, quote.price, quote.event_time) == (Session.REGULAR, 124.45, None)


@pytest.mark.parametrize(
    ("moment", "value", "expected"),
    [
        ("2026-08-20T20:20:00", 7012.34, ("closed", 7012.34, "08-20T20:00:00")),
        ("2026-08-20T12:00:00", 6998.7, ("closed", 6998.7, "08-19T20:00:00")),
        ("2026-08-20T12:00:00", 7003.0, ("pre", 7003.0, "08-20T12:00:00")),
    ],
)
def test_an_index_stands_at_its_close_outside_its_hours(
    moment: str, value: float, expected: tuple[str, float, str]
) -> None:
    """Unless it moves before the open, as some are computed then."""
    (quote,) = unified("^GSPC", "2026-08-20T20:30:00", value=value, last_updated=stamp(moment))
    assert told(quote) == [expected]
    assert (quote.currency, quote.volume) == (None, None)


def test_an_index_without_prefix_is_the_same() -> None:
    """As replies had it before the prefixes came."""
    (quote,) = unified("^GSPC", ticker="SPX")
    assert (quote.symbol, quote.price) == ("^GSPC", 7012.34)


def test_impossible_figures_are_left_out() -> None:
    """A low above the high."""
    session = {"close": 7012.34, "high": 7020, "low": 70205, "open": 7000, "previous_close": 6998.7}
    (quote,) = unified("^GSPC", session=session)
    assert (quote.high, quote.low, quote.open) == (None, None, 7000.0)
    assert quote.notes == ("left out: the day's low is above its high",)


@pytest.mark.parametrize("results", [None, [], "absent"])
def test_no_results_are_no_data(results: Any) -> None:
    """Null, empty or missing."""
    content = {"status": "OK"} if results == "absent" else {"status": "OK", "results": results}
    assert failure_of(several(content, "ACME"), "ACME").kind is FailureKind.NO_DATA


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"status": "ERROR", "error": "internal"}, FailureKind.SOURCE_ERROR),
        ({"status": "NOT_FOUND", "message": "Ticker not found."}, FailureKind.UNKNOWN_SYMBOL),
        ({"status": "NOT_AUTHORIZED", "message": "You are not entitled"}, FailureKind.NOT_ENTITLED),
        (b"", FailureKind.MALFORMED_REPLY),
        ({"status": "OK", "results": None, "resultsCount": 1}, FailureKind.SOURCE_ERROR),
        (snapshot(day={"c": -1.0}), FailureKind.MALFORMED_REPLY),
    ],
)
def test_an_error_with_a_good_status_is_still_an_error(content: Any, kind: FailureKind) -> None:
    """And counted results that are not sent are a mishap of the vendor, which heals."""
    with pytest.raises(SourceError) as raised:
        quotes(content)
    assert raised.value.kind is kind


def parsed(path: str, content: Any, received_at: str = AT, query: str = "") -> RecordedReading:
    """What a recorded exchange says."""
    body = reply(content, received_at).body
    return read_recorded(
        POLYGON, f"https://api.massive.com{path}{query}", body, status=200, received_at=at(received_at)
    )


def test_a_list_of_snapshots_is_read() -> None:
    """Delayed as a whole."""
    path = "/v2/snapshot/locale/us/markets/stocks/tickers"
    reading = parsed(path, fixture("polygon", "snapshots.json"))
    assert told(*reading.quotes) == [("regular", 124.45, "08-20T15:27:08"), ("regular", 10.2, "08-20T15:19:00")]
    assert {q.declared_delay_s for q in reading.quotes} == {900.0}


def test_last_trades_and_quotes_of_every_generation_are_read() -> None:
    """A book has no trade, so its price is its bid."""
    trade = fixture("polygon", "last_trade.json")
    assert told(*parsed("/v2/last/trade/ACME", trade).quotes) == [("regular", 124.45, "08-20T15:27:08")]
    old = {"status": "success", "symbol": "ACME", "last": {"price": 124.4, "size": 3, "timestamp": 1787239627000}}
    assert told(*parsed("/v1/last/stocks/ACME", old).quotes) == [("regular", 124.4, "08-20T15:27:07")]
    (quote,) = parsed("/v2/last/nbbo/ACME", fixture("polygon", "last_quote.json")).quotes
    assert (quote.price, quote.bid, quote.ask) == (124.44, 124.44, 124.47)
    last = {"askprice": 124.5, "bidprice": 124.4, "timestamp": 1787239627000}
    (quote,) = parsed("/v1/last_quote/stocks/ACME", {"status": "success", "symbol": "ACME", "last": last}).quotes
    assert (quote.price, quote.bid, quote.ask) == (124.4, 124.4, 124.5)
    pair = {"status": "success", "symbol": "EUR/USD", "last": {"bid": 1.16, "ask": 1.1601, "timestamp": 1787239627000}}
    (quote,) = parsed("/v1/last_quote/currencies/EUR/USD", pair).quotes
    assert (quote.symbol, quote.price, quote.ask) == ("EURUSD", 1.16, 1.1601)


def test_a_days_open_and_close_is_an_official_close() -> None:
    """The prices before and after hours in it have no time, and are left."""
    path = "/v1/open-close/ACME/2026-08-19"
    (quote,) = parsed(path, fixture("polygon", "open_close.json")).quotes
    assert told(quote) == [("closed", 123.4, "08-19T20:00:00")]
    assert (quote.open, quote.high, quote.low, quote.volume) == (122.9, 124.0, 122.5, 20123456.5)
    assert quote.event_time_resolution_s == 86400.0
    for spoilt in ({"symbol": "BOLT"}, {"from": "2026-02-31"}, {"from": "1066-10-14"}, {"close": -1}):
        failure = parsed(path, fixture("polygon", "open_close.json") | spoilt).failure
        assert failure is not None
        assert failure.kind is FailureKind.MALFORMED_REPLY


def test_a_last_trade_of_another_symbol_is_refused() -> None:
    """`T` names it."""
    failure = parsed("/v2/last/trade/BOLT.B", fixture("polygon", "last_trade.json")).failure
    assert failure is not None
    assert failure.kind is FailureKind.MALFORMED_REPLY
