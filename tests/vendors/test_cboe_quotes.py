"""What Cboe's quote file says."""

from __future__ import annotations

from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.vendors.cboe import CBOE
from vendors.vendor_exchanges import FIXTURES, at, fixture, read_quotes

LISTING = "the file names no currency; it is that of the listing"


def only(file: Any, received_at: str, symbol: str = "ACME") -> Quote:
    """The single quote of a file."""
    (quote,) = read_quotes(CBOE, symbol, file, received_at)
    return quote


def changed(name: str, **changes: Any) -> Any:
    """A fixture with other values."""
    file = fixture("cboe", name)
    file["data"] |= changes
    return file


def test_in_session_the_price_is_the_venues_own_print() -> None:
    """Its time is New York's, its delay declared, its previous close the file's."""
    assert only(fixture("cboe", "quote_in_session.json"), "2026-08-20T15:27:11") == Quote(
        symbol="ACME",
        source="cboe",
        price=1048.75,
        session=Session.REGULAR,
        received_at=at("2026-08-20T15:27:11"),
        event_time=at("2026-08-20T15:11:40"),
        currency="USD",
        declared_delay_s=900.0,
        bid=1048.7,
        ask=1048.9,
        open=1058.0,
        high=1061.25,
        low=1044.0,
        previous_close=1060.5,
        volume=845120.0,
        venue_only=True,
        notes=(LISTING,),
    )


def test_after_the_session_the_price_is_the_official_close() -> None:
    """Not the venue's last print; the previous close is not the one that has become the new close."""
    assert only(fixture("cboe", "quote_after_close.json"), "2026-08-20T21:03:00") == Quote(
        symbol="ACME",
        source="cboe",
        price=1050.0,
        session=Session.CLOSED,
        received_at=at("2026-08-20T21:03:00"),
        event_time=at("2026-08-20T19:59:58"),
        currency="USD",
        declared_delay_s=900.0,
        open=1058.0,
        high=1066.05,
        low=1041.2,
        previous_close=1060.5,
        volume=2340001.0,
        notes=(LISTING,),
    )


@pytest.mark.parametrize(
    ("last_trade", "received_at", "session", "price", "venue_only"),
    [
        ("2026-08-20T15:59:00", "2026-08-20T20:14:00", Session.CLOSED, 1050.0, False),
        ("2026-08-20T15:58:59", "2026-08-20T20:14:00", Session.REGULAR, 1050.9, True),
        ("2026-08-20T15:59:30", "2026-08-20T19:59:40", Session.REGULAR, 1050.9, True),
        ("2026-11-27T12:59:58", "2026-11-27T18:15:00", Session.CLOSED, 1050.0, False),
        ("2026-11-27T12:58:10", "2026-11-27T18:15:00", Session.REGULAR, 1050.9, True),
        ("2026-08-20T08:30:00", "2026-08-20T12:45:00", Session.PRE, 1050.9, True),
        ("2026-08-20T16:14:59", "2026-08-20T20:30:00", Session.CLOSED, 1050.0, False),
        ("2026-08-20T15:59:58-04:00", "2026-08-20T20:15:00", Session.CLOSED, 1050.0, False),
        ("2026-08-20T19:59:58+00:00", "2026-08-20T20:15:00", Session.CLOSED, 1050.0, False),
    ],
)
def test_the_close_is_taken_once_the_last_trade_is_from_the_final_minute(
    last_trade: str, received_at: str, session: Session, price: float, *, venue_only: bool
) -> None:
    """The final minute of that day by the calendar, early closes included, once the day is over."""
    quote = only(changed("quote_after_close.json", last_trade_time=last_trade), received_at)
    assert (quote.session, quote.price, quote.venue_only) == (session, price, venue_only)
    assert (quote.bid is None) is (session is Session.CLOSED)


@pytest.mark.parametrize(
    ("changes", "previous_close", "contradicted"),
    [
        ({"price_change": -10.5, "prev_day_close": 1060.5}, 1060.5, False),
        ({"price_change": -10.5, "prev_day_close": 1060.51}, 1060.5, False),
        ({"price_change": -10.5, "prev_day_close": 1050.0}, 1060.5, False),
        ({"price_change": -10.5, "prev_day_close": 0.0}, 1060.5, False),
        ({"price_change": -10.5, "prev_day_close": 990.0}, None, True),
        ({"price_change": None, "prev_day_close": 1060.5}, 1060.5, False),
        ({"price_change": None, "prev_day_close": 1050.0}, None, False),
        ({"price_change": 1050.0, "prev_day_close": 1050.0}, None, False),
    ],
)
def test_the_previous_close_follows_from_the_change(
    changes: dict[str, Any], previous_close: float | None, *, contradicted: bool
) -> None:
    """The file's own figure counts only where it is not the new close."""
    quote = only(changed("quote_after_close.json", **changes), "2026-08-20T21:03:00")
    assert quote.previous_close == previous_close
    assert any("contradicts" in note for note in quote.notes) is contradicted


def test_the_change_is_measured_from_the_close_also_of_a_thin_share() -> None:
    """Its last print of the session was long before the end, so that print is the price."""
    file = changed("quote_after_close.json", last_trade_time="2026-08-20T14:02:00")
    quote = only(file, "2026-08-20T21:03:00")
    assert (quote.price, quote.session, quote.previous_close) == (1050.9, Session.REGULAR, 1060.5)


def test_an_excerpt_without_symbols_is_taken_for_the_one_asked() -> None:
    """The URL named it."""
    file = fixture("cboe", "quote_in_session.json")
    del file["symbol"], file["data"]["symbol"]
    assert only(file, "2026-08-20T15:27:11").price == 1048.75


def test_zeros_are_absent_figures() -> None:
    """A bid of nothing is no bid; no shares traded is a volume."""
    quote = only(
        changed("quote_in_session.json", bid=0.0, ask=0.0, open=0.0, high=0, low=0.0, volume=0), "2026-08-20T15:27:11"
    )
    assert (quote.bid, quote.ask, quote.open, quote.high, quote.low, quote.volume) == (None,) * 5 + (0.0,)


def test_an_index_is_known_under_its_own_spelling_and_has_no_volume() -> None:
    """It is nobody's own print, and has no currency."""
    file = changed("quote_in_session.json", symbol="^SPX", volume=0)
    file["symbol"] = "_SPX"
    quote = only(file, "2026-08-20T15:27:11", "^GSPC")
    assert (quote.symbol, quote.currency, quote.volume, quote.venue_only) == ("^GSPC", None, None, False)
    assert quote.notes == ()


def test_a_yield_is_divided_by_ten_and_dated_by_its_session() -> None:
    """Midnight with an offset is a date; without a session's figures no previous close is believed."""
    assert only(fixture("cboe", "quote_yield.json"), "2026-08-20T11:20:00", "^TNX") == Quote(
        symbol="^TNX",
        source="cboe",
        price=4.315,
        session=Session.CLOSED,
        received_at=at("2026-08-20T11:20:00"),
        event_time=at("2026-08-19T20:00:00"),
        event_time_resolution_s=86400.0,
        declared_delay_s=900.0,
        notes=("the file holds 10 times the value",),
    )


def test_a_bare_date_of_the_running_session_is_no_close() -> None:
    """The day is not over."""
    file = changed("quote_yield.json", last_trade_time="2026-08-20T00:00:00-05:00")
    quote = only(file, "2026-08-20T15:00:00", "^TNX")
    assert (quote.session, quote.event_time, quote.event_time_resolution_s) == (
        Session.REGULAR,
        at("2026-08-20T20:00:00"),
        86400.0,
    )


def test_a_day_without_a_session_is_said() -> None:
    """An index may be settled on a holiday."""
    quote = only(changed("quote_after_close.json", last_trade_time="2026-08-22T12:00:00"), "2026-08-23T12:00:00")
    assert (quote.session, quote.event_time) == (Session.CLOSED, at("2026-08-22T16:00:00"))
    assert quote.notes == ("the calendar has no session on 2026-08-22", LISTING)


@pytest.mark.parametrize(
    ("file", "kind", "detail"),
    [
        (
            changed("quote_dead.json", symbol="ACME") | {"symbol": "ACME"},
            FailureKind.NO_DATA,
            "an empty record: Cboe no longer carries this symbol",
        ),
        (
            changed("quote_in_session.json", current_price=0.0, close=0.0),
            FailureKind.NO_DATA,
            "an empty record: Cboe no longer carries this symbol",
        ),
        (changed("quote_in_session.json", current_price=None), FailureKind.NO_DATA, "the record holds no price"),
        (
            changed("quote_in_session.json", symbol="OTHER"),
            FailureKind.MALFORMED_REPLY,
            "answered for another symbol: 'OTHER' instead of ACME",
        ),
        (
            fixture("cboe", "quote_in_session.json") | {"symbol": "_ACME"},
            FailureKind.MALFORMED_REPLY,
            "answered for another symbol: '_ACME' instead of ACME",
        ),
        (
            changed("quote_in_session.json", last_trade_time="at noon"),
            FailureKind.MALFORMED_REPLY,
            "reply.data.last_trade_time is no date and time",
        ),
        (
            changed("quote_in_session.json", current_price="much"),
            FailureKind.MALFORMED_REPLY,
            "reply.data.current_price should show a number, shows 'much'",
        ),
        ({"symbol": "ACME"}, FailureKind.MALFORMED_REPLY, "reply.data is missing"),
    ],
)
def test_a_file_without_a_usable_price_is_a_failure_with_its_reason(file: Any, kind: FailureKind, detail: str) -> None:
    """HTTP says 200 in every case."""
    with pytest.raises(SourceError) as raised:
        read_quotes(CBOE, "ACME", file, "2026-08-20T15:27:11")
    assert (raised.value.kind, raised.value.detail) == (kind, detail)


def test_a_file_that_does_not_exist_is_an_unknown_symbol() -> None:
    """The store refuses access to it; that is no matter of keys."""
    page = (FIXTURES / "cboe" / "access_denied.xml").read_bytes()
    with pytest.raises(SourceError) as raised:
        read_quotes(CBOE, "NOSUCH", page, "2026-08-20T15:27:11", 403)
    assert raised.value.kind is FailureKind.UNKNOWN_SYMBOL


def test_another_refusal_is_a_block() -> None:
    """A challenge of the content network is not about the symbol."""
    with pytest.raises(SourceError) as raised:
        read_quotes(CBOE, "ACME", b"<html>Just a moment...</html>", "2026-08-20T15:27:11", 403)
    assert (raised.value.kind, raised.value.retry_after_s) == (FailureKind.THROTTLED, 900.0)
