"""What Nasdaq's page of one instrument says."""

from __future__ import annotations

from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.vendors.nasdaq import NASDAQ
from vendors.vendor_exchanges import at, fixture, read_quotes


def primary(**changes: Any) -> dict[str, Any]:
    """A page whose only price block has these fields."""
    page: dict[str, Any] = fixture("nasdaq", "info_open.json")
    page["data"] |= {"primaryData": {"lastSalePrice": "$10.00"} | changes, "keyStats": None}
    return page


def only(page: Any, received_at: str = "2026-08-20T15:26:30", symbol: str = "ACME") -> Quote:
    """The single quote of a page."""
    (quote,) = read_quotes(NASDAQ, symbol, page, received_at)
    return quote


def test_an_open_market_gives_one_regular_print() -> None:
    """Every field of the running print is read, the time to the minute."""
    assert only(fixture("nasdaq", "info_open.json")) == Quote(
        symbol="ACME",
        source="nasdaq",
        price=1048.75,
        session=Session.REGULAR,
        received_at=at("2026-08-20T15:26:30"),
        event_time=at("2026-08-20T15:26:00"),
        event_time_resolution_s=60.0,
        currency="USD",
        bid=1048.7,
        ask=1048.9,
        open=1058.0,
        high=1061.25,
        low=1044.0,
        previous_close=1060.5,
        volume=845120.0,
    )


def test_after_hours_a_print_and_the_official_close_are_two_quotes() -> None:
    """The print keeps the book; the previous close of both is the one before the day's session."""
    received_at = at("2026-08-20T21:41:20")
    print_, close = read_quotes(NASDAQ, "ACME", fixture("nasdaq", "info_after_hours.json"), "2026-08-20T21:41:20")
    assert print_ == Quote(
        symbol="ACME",
        source="nasdaq",
        price=1052.3,
        session=Session.POST,
        received_at=received_at,
        event_time=at("2026-08-20T21:41:00"),
        event_time_resolution_s=60.0,
        currency="USD",
        bid=1052.1,
        ask=1052.6,
        high=1066.05,
        low=1041.2,
        previous_close=1060.5,
        volume=2345678.25,
    )
    assert close == Quote(
        symbol="ACME",
        source="nasdaq",
        price=1050.0,
        session=Session.CLOSED,
        received_at=received_at,
        event_time=at("2026-08-20T20:00:00"),
        event_time_resolution_s=60.0,
        currency="USD",
        high=1066.05,
        low=1041.2,
        previous_close=1060.5,
    )


def test_a_pre_market_print_has_no_day_around_it() -> None:
    """The day's figures and the stated previous close belong to yesterday's session or to today's, and to no print."""
    received_at = at("2026-08-20T12:03:40")
    print_, close = read_quotes(NASDAQ, "ACME", fixture("nasdaq", "info_pre_market.json"), "2026-08-20T12:03:40")
    assert print_ == Quote(
        symbol="ACME",
        source="nasdaq",
        price=1055.0,
        session=Session.PRE,
        received_at=received_at,
        event_time=at("2026-08-20T12:03:00"),
        event_time_resolution_s=60.0,
        currency="USD",
        bid=1054.0,
        ask=1056.0,
    )
    assert close == Quote(
        symbol="ACME",
        source="nasdaq",
        price=1060.5,
        session=Session.CLOSED,
        received_at=received_at,
        event_time=at("2026-08-19T20:00:00"),
        event_time_resolution_s=60.0,
        currency="USD",
        previous_close=1056.25,
    )


def test_a_closed_market_gives_the_official_close_of_the_dated_session() -> None:
    """A bare date is that day's close; no book stands beside it."""
    assert only(fixture("nasdaq", "info_closed.json"), "2026-08-22T12:00:00") == Quote(
        symbol="ACME",
        source="nasdaq",
        price=1050.0,
        session=Session.CLOSED,
        received_at=at("2026-08-22T12:00:00"),
        event_time=at("2026-08-20T20:00:00"),
        event_time_resolution_s=86400.0,
        currency="USD",
        previous_close=1060.5,
        volume=2340001.0,
    )


def test_a_bare_date_closes_early_on_a_half_day() -> None:
    """The day after Thanksgiving ends at one o'clock."""
    quote = only(primary(lastTradeTimestamp="Nov 27, 2026"), "2026-11-28T12:00:00")
    assert (quote.session, quote.event_time) == (Session.CLOSED, at("2026-11-27T18:00:00"))


def test_a_bare_date_of_the_running_session_is_no_close() -> None:
    """The session is not over, so the price is not its official close, and the answer says so."""
    quote = only(primary(lastTradeTimestamp="Aug 20, 2026"), "2026-08-20T15:00:00")
    assert (quote.session, quote.event_time_resolution_s) == (Session.REGULAR, 86400.0)
    assert quote.notes == ("dated today without a time while the session is not over",)


@pytest.mark.parametrize(
    ("stamp", "status", "session", "event_time"),
    [
        ("Aug 20, 2026 9:29 AM ET", "Open", Session.PRE, "2026-08-20T13:29:00"),
        ("Aug 20, 2026 9:30 AM ET", "Pre-Market", Session.REGULAR, "2026-08-20T13:30:00"),
        ("Aug 20, 2026 3:59 PM ET", "Closed", Session.REGULAR, "2026-08-20T19:59:00"),
        ("Aug 20, 2026 4:00 PM ET", "Open", Session.REGULAR, "2026-08-20T20:00:00"),
        ("Aug 20, 2026 4:00 PM ET", "After-Hours", Session.POST, "2026-08-20T20:00:00"),
        ("Nov 27, 2026 1:05 PM ET", "Market Open", Session.POST, "2026-11-27T18:05:00"),
        ("Jan 7, 2026 12:15 PM ET", None, Session.REGULAR, "2026-01-07T17:15:00"),
        ("Jan 7, 2026 12:15:09 AM ET", "Pre Market", Session.PRE, "2026-01-07T05:15:09"),
        ("Jan 7, 2026 12:15 AM ET", None, Session.POST, "2026-01-07T05:15:00"),
        ("CLOSED AT 4:00 PM ET ON Aug 19, 2026", "Open", Session.CLOSED, "2026-08-19T20:00:00"),
        ("DATA AS OF Aug 20, 2026 9:27 AM ET - PRE-MARKET", "Pre Market", Session.PRE, "2026-08-20T13:27:00"),
    ],
)
def test_the_calendar_decides_the_session_of_a_timed_print(
    stamp: str, status: str | None, session: Session, event_time: str
) -> None:
    """The source's own word counts where the calendar has none, and in the minute of the close."""
    page = primary(lastTradeTimestamp=stamp)
    page["data"]["marketStatus"] = status
    quote = only(page, "2026-11-30T12:00:00")
    assert (quote.session, quote.event_time) == (session, at(event_time))
    assert quote.event_time_resolution_s == (1.0 if event_time.endswith("09") else 60.0)


@pytest.mark.parametrize(
    ("received_at", "status", "session"),
    [
        ("2026-08-20T15:00:00", None, Session.REGULAR),
        ("2026-08-20T21:00:00", None, Session.POST),
        ("2026-08-22T15:00:00", None, Session.CLOSED),
        ("2026-08-20T15:00:00", "Closed", Session.CLOSED),
    ],
)
def test_a_price_without_a_time_is_undated(received_at: str, status: str | None, session: Session) -> None:
    """Its session is the one that runs at receipt; its time is not made up."""
    page = primary(lastTradeTimestamp="")
    page["data"]["marketStatus"] = status
    quote = only(page, received_at)
    assert (quote.session, quote.event_time) == (session, None)
    assert quote.notes == ("the source gives no time; the session is the one at receipt",)


@pytest.mark.parametrize(
    ("change", "previous_close"),
    [("+0.25", 9.75), ("-1,000.00", 1010.0), ("UNCH", 10.0), ("0.25", None), ("N/A", None), ("", None), (None, None)],
)
def test_only_a_signed_change_tells_the_previous_close(change: str | None, previous_close: float | None) -> None:
    """Pages of 2019 showed the change without its direction."""
    quote = only(primary(lastTradeTimestamp="Aug 20, 2026 11:26 AM ET", netChange=change))
    assert quote.previous_close == previous_close


def test_contradicting_previous_closes_are_both_refused() -> None:
    """The stated one has become the new close, or belongs elsewhere: nobody can say."""
    page = fixture("nasdaq", "info_open.json")
    page["data"]["keyStats"]["PreviousClose"]["value"] = "$1,048.75"
    quote = only(page)
    assert quote.previous_close is None
    assert quote.notes == ("two previous closes were told: 1048.75 and 1060.5; none is taken",)


def test_figures_beside_the_price_that_cannot_be_read_are_left_out() -> None:
    """A cosmetic change of the website costs the figure and is said, the price stays."""
    page = fixture("nasdaq", "info_open.json")
    page["data"]["primaryData"] |= {"bidPrice": "$1,048.70 x 3", "volume": "none yet"}
    quote = only(page)
    assert (quote.price, quote.bid, quote.ask, quote.volume) == (1048.75, None, 1048.9, None)
    assert len([note for note in quote.notes if note.startswith("left out: ")]) == 2


def test_a_print_that_is_not_real_time_says_so() -> None:
    """The source's own mark reaches the evidence."""
    quote = only(primary(lastTradeTimestamp="Aug 20, 2026 11:26 AM ET", isRealTime=False))
    assert quote.notes == ("the source marks this print as not real time",)


def test_without_a_running_print_the_official_close_is_left() -> None:
    """Nobody has traded before the open yet."""
    page = fixture("nasdaq", "info_pre_market.json")
    page["data"]["primaryData"]["lastSalePrice"] = "N/A"
    assert (only(page, "2026-08-20T09:00:00").session, only(page).price) == (Session.CLOSED, 1060.5)


def test_an_index_has_no_currency_and_no_extended_hours() -> None:
    """After the bell its value is the close, whenever the page dates it."""
    page = primary(lastSalePrice="22,100.50", lastTradeTimestamp="Aug 20, 2026 5:15 PM ET")
    page["data"]["symbol"] = "COMP"
    quote = only(page, "2026-08-20T21:30:00", "^IXIC")
    assert (quote.symbol, quote.price, quote.currency) == ("^IXIC", 22100.5, None)
    assert (quote.session, quote.event_time) == (Session.CLOSED, at("2026-08-20T21:15:00"))


def test_crypto_trades_around_the_clock() -> None:
    """There is no official close before it either."""
    page = primary(lastSalePrice="$61,000.50", lastTradeTimestamp="Aug 22, 2026 11:26 PM ET", netChange="+10.00")
    page["data"]["symbol"] = "BTC"
    quote = only(page, "2026-08-23T03:26:30", "BTC-USD")
    assert (quote.session, quote.event_time) == (Session.REGULAR, at("2026-08-23T03:26:00"))
    assert (quote.price, quote.currency, quote.previous_close) == (61000.5, "USD", None)


@pytest.mark.parametrize("named", ["BRK/B", "BRK.B", "brk%sl%b", "BRK-B"])
def test_a_share_class_is_known_by_any_spelling(named: str) -> None:
    """Pages spell it in several ways."""
    page = primary(lastTradeTimestamp="Aug 20, 2026 11:26 AM ET")
    page["data"]["symbol"] = named
    assert only(page, symbol="BRK.B").symbol == "BRK.B"


def test_a_stated_previous_close_that_is_the_new_close_is_not_the_previous_one() -> None:
    """After hours some pages have moved on already; the change of the close tells the real one."""
    page = fixture("nasdaq", "info_after_hours.json")
    page["data"]["keyStats"]["PreviousClose"] = {"label": "Previous Close", "value": "$1,050.00"}
    print_, close = read_quotes(NASDAQ, "ACME", page, "2026-08-20T21:41:20")
    assert (print_.previous_close, close.previous_close, print_.notes) == (1060.5, 1060.5, ())


def test_after_hours_without_the_official_close_the_stated_previous_close_is_left() -> None:
    """The print's own change is measured from the close of its own day."""
    page = fixture("nasdaq", "info_after_hours.json")
    page["data"] |= {"secondaryData": None, "keyStats": {"PreviousClose": {"value": "$1,060.50"}}}
    assert only(page, "2026-08-20T21:41:20").previous_close == 1060.5


def test_two_closes_are_one_quote() -> None:
    """A page of a closed market that repeats the close beside itself."""
    page = fixture("nasdaq", "info_closed.json")
    page["data"]["secondaryData"] = fixture("nasdaq", "info_after_hours.json")["data"]["secondaryData"]
    assert only(page, "2026-08-22T12:00:00").event_time_resolution_s == 86400.0


def test_an_extended_print_in_the_second_block_has_no_previous_close() -> None:
    """Its change is measured from the close of its own day."""
    page = fixture("nasdaq", "info_closed.json")
    page["data"]["secondaryData"] = {
        "lastSalePrice": "$1,052.30",
        "netChange": "+2.30",
        "lastTradeTimestamp": "Aug 20, 2026 5:41 PM ET",
    }
    close, print_ = read_quotes(NASDAQ, "ACME", page, "2026-08-22T12:00:00")
    assert (close.session, close.previous_close) == (Session.CLOSED, 1060.5)
    assert (print_.session, print_.price, print_.previous_close) == (Session.POST, 1052.3, None)


def test_the_range_of_another_day_is_not_the_closes_own() -> None:
    """The print is of last evening, the close of the session before."""
    page = fixture("nasdaq", "info_after_hours.json")
    page["data"]["secondaryData"]["lastTradeTimestamp"] = "Closed at Aug 19, 2026 4:00 PM ET"
    print_, close = read_quotes(NASDAQ, "ACME", page, "2026-08-20T21:41:20")
    assert (print_.high, print_.low) == (1066.05, 1041.2)
    assert (close.high, close.low) == (None, None)


def test_a_date_without_a_session_is_no_time() -> None:
    """Nothing closed on a Saturday."""
    quote = only(primary(lastTradeTimestamp="Aug 22, 2026"), "2026-08-23T12:00:00")
    assert (quote.session, quote.event_time, quote.event_time_resolution_s) == (Session.CLOSED, None, 1.0)
    assert quote.notes == ("dated 2026-08-22, which the calendar has no session for",)


def test_a_coin_dated_without_a_time_is_from_some_time_of_that_day() -> None:
    """Its day ends at midnight UTC."""
    page = primary(lastSalePrice="$61,000.50", lastTradeTimestamp="Aug 22, 2026")
    page["data"]["symbol"] = "BTC"
    quote = only(page, "2026-08-22T12:00:00", "BTC-USD")
    assert (quote.session, quote.event_time) == (Session.REGULAR, at("2026-08-23T00:00:00"))
    assert quote.event_time_resolution_s == 86400.0


def test_negative_figures_are_left_out() -> None:
    """A volume below zero is none."""
    assert only(primary(lastTradeTimestamp="Aug 20, 2026 11:26 AM ET", volume="-5")).volume is None


def _failing(changes: dict[str, Any], status: dict[str, Any] | None = None) -> Any:
    page = fixture("nasdaq", "info_open.json")
    page["data"] |= changes
    page["status"] |= status or {}
    return page


@pytest.mark.parametrize(
    ("page", "kind", "detail"),
    [
        (
            fixture("nasdaq", "unknown_symbol.json"),
            FailureKind.UNKNOWN_SYMBOL,
            'rCode 400, it says "Symbol not exists."',
        ),
        (_failing({}, {"rCode": 400}), FailureKind.UNKNOWN_SYMBOL, "rCode 400, it says nothing"),
        (
            _failing({}, {"rCode": 400, "bCodeMessage": [{"code": 1003, "errorMessage": "assetclass is missing"}]}),
            FailureKind.BAD_REQUEST,
            'rCode 400, it says "assetclass is missing"',
        ),
        (_failing({}, {"rCode": 500}), FailureKind.SOURCE_ERROR, "rCode 500, it says nothing"),
        ({"data": None, "status": {"rCode": 200}}, FailureKind.NO_DATA, "the reply holds no data"),
        (_failing({"primaryData": None}), FailureKind.NO_DATA, "the reply shows no price"),
        (
            _failing({"symbol": "OTHER"}),
            FailureKind.MALFORMED_REPLY,
            "answered for another symbol: 'OTHER' instead of ACME",
        ),
        (
            primary(lastSalePrice="$0.00"),
            FailureKind.MALFORMED_REPLY,
            "reply.data.primaryData.lastSalePrice is not positive: '$0.00'",
        ),
        (
            primary(lastTradeTimestamp="Aug 20, 2026 11:26 AM CT"),
            FailureKind.MALFORMED_REPLY,
            "reply.data.primaryData.lastTradeTimestamp holds no New York time: 'Aug 20, 2026 11:26 AM CT'",
        ),
        (
            primary(lastTradeTimestamp="yesterday"),
            FailureKind.MALFORMED_REPLY,
            "reply.data.primaryData.lastTradeTimestamp holds no date: 'yesterday'",
        ),
        (
            primary(lastTradeTimestamp="Feb 30, 2026"),
            FailureKind.MALFORMED_REPLY,
            "reply.data.primaryData.lastTradeTimestamp is no date or time: 'Feb 30, 2026'",
        ),
    ],
)
def test_a_page_without_a_usable_price_is_a_failure_with_its_reason(page: Any, kind: FailureKind, detail: str) -> None:
    """HTTP says 200 in every case."""
    with pytest.raises(SourceError) as raised:
        read_quotes(NASDAQ, "ACME", page, "2026-08-20T15:26:30")
    assert (raised.value.kind, raised.value.detail) == (kind, detail)


@pytest.mark.parametrize("status", [200, 403])
def test_a_block_page_rests_the_source_for_long(status: int) -> None:
    """The content network's refusal is HTML, whatever its status."""
    page = b"<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY></BODY></HTML>"
    with pytest.raises(SourceError) as raised:
        read_quotes(NASDAQ, "ACME", page, "2026-08-20T15:26:30", status)
    assert (raised.value.kind, raised.value.retry_after_s) == (FailureKind.THROTTLED, 900.0)
