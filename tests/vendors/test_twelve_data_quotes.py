"""What Twelve Data's quotes say."""

from __future__ import annotations

from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading
from mdagent_mcp.vendors.twelve_data import TWELVE_DATA
from vendors.vendor_exchanges import at, failure_of, fixture, quotes_of, read_quotes, reply

OPEN_AT, NOW, EVENING = "2026-08-20T13:30:00", "2026-08-20T15:27:10", "2026-08-20T22:00:00"
START_NOTE = "the time is the start of the daily bar of 2026-08-20 and no time of a price"


def epoch(text: str) -> int:
    """An instant as the vendor writes it."""
    return int(at(text).timestamp())


def changed(**changes: Any) -> Any:
    """The fixture with other values."""
    return fixture("twelve_data", "quote.json") | changes


def without(*names: str, **changes: Any) -> Any:
    """The fixture with fewer values."""
    return {name: value for name, value in changed(**changes).items() if name not in names}


def only(body: Any, received_at: str = NOW, symbol: str = "ACME") -> Quote:
    """The single quote of a reply."""
    (quote,) = read_quotes(TWELVE_DATA, symbol, body, received_at)
    return quote


def placed(quote: Quote) -> tuple[Session, str | None, float]:
    """Session, time and its resolution."""
    event_time = None if quote.event_time is None else f"{quote.event_time:%Y-%m-%dT%H:%M:%S}"
    return quote.session, event_time, quote.event_time_resolution_s


def test_a_running_price_is_timed_by_its_last_minute() -> None:
    """Numbers come as text; `timestamp` is only the start of the day."""
    assert only(changed()) == Quote(
        symbol="ACME",
        source="twelve_data",
        price=1048.75,
        session=Session.REGULAR,
        received_at=at(NOW),
        event_time=at("2026-08-20T15:26:00"),
        event_time_resolution_s=60.0,
        currency="USD",
        open=1058.0,
        high=1061.25,
        low=1044.0,
        previous_close=1060.5,
        volume=845120.0,
    )


def test_after_the_close_the_price_is_the_official_close() -> None:
    """Timed by the last minute of the session."""
    body = changed(is_market_open=False, last_quote_at=epoch("2026-08-20T19:59:00"))
    assert placed(only(body, EVENING)) == (Session.CLOSED, "2026-08-20T19:59:00", 60.0)


@pytest.mark.parametrize(
    "body",
    [
        changed(is_market_open=False, last_quote_at=epoch(OPEN_AT)),
        without("last_quote_at", is_market_open=False),
        without("last_quote_at", is_market_open=False, timestamp=epoch("2026-08-20T04:00:00")),
        without("last_quote_at", is_market_open=False, timestamp=epoch("2026-08-20T00:00:00")),
        without("last_quote_at", "is_market_open"),
    ],
)
def test_a_close_under_the_start_of_its_day_is_timed_by_the_close(body: Any) -> None:
    """The start of the daily bar names the day and not the time of the price."""
    assert placed(only(body, EVENING)) == (Session.CLOSED, "2026-08-20T20:00:00", 86400.0)


@pytest.mark.parametrize("body", [changed(last_quote_at=epoch(OPEN_AT)), without("last_quote_at")])
def test_a_running_price_under_the_start_of_its_day_has_no_known_age(body: Any) -> None:
    """Hours may lie between the two."""
    quote = only(body)
    assert (placed(quote), quote.notes) == ((Session.REGULAR, None, 1.0), (START_NOTE,))


def test_in_the_first_minutes_the_start_of_the_day_is_a_time() -> None:
    """The opening minute is all that was traded."""
    quote = only(changed(last_quote_at=epoch(OPEN_AT)), "2026-08-20T13:31:30")
    assert placed(quote) == (Session.REGULAR, OPEN_AT, 60.0)


def test_a_stamp_of_the_last_second_is_kept() -> None:
    """So older replies were stamped."""
    body = without("last_quote_at", is_market_open=False, timestamp=epoch("2026-08-20T19:59:59"))
    assert placed(only(body, EVENING)) == (Session.CLOSED, "2026-08-20T19:59:59", 1.0)


def test_a_close_told_under_a_later_time_is_timed_by_the_close() -> None:
    """What traded after the close did not change the close."""
    quote = only(changed(is_market_open=False, last_quote_at=epoch("2026-08-20T21:30:00")), EVENING)
    assert placed(quote) == (Session.CLOSED, "2026-08-20T20:00:00", 60.0)
    assert quote.notes == ("the official close is told under a later time, 2026-08-20T21:30:00Z",)


def test_a_closed_flag_during_the_session_makes_no_official_close() -> None:
    """So a midday break or a halt is told."""
    assert only(changed(is_market_open=False)).session is Session.REGULAR


@pytest.mark.parametrize(
    ("told", "received_at", "expected"),
    [
        ("2026-08-20", EVENING, (Session.CLOSED, "2026-08-20T20:00:00", 86400.0)),
        ("2026-08-20", NOW, (Session.REGULAR, "2026-08-20T20:00:00", 86400.0)),
        ("2026-08-22", EVENING, (Session.CLOSED, None, 1.0)),
        ("2026-08-20 11:26:00", NOW, (Session.REGULAR, "2026-08-20T15:26:00", 60.0)),
        ("2026-08-20 15:59:00", EVENING, (Session.CLOSED, "2026-08-20T19:59:00", 60.0)),
        (None, NOW, (Session.REGULAR, None, 1.0)),
    ],
)
def test_replies_of_old_have_a_date_for_a_time(
    told: str | None, received_at: str, expected: tuple[Session, str | None, float]
) -> None:
    """And do not say whether the market is open."""
    body = without("timestamp", "last_quote_at", "is_market_open", datetime=told)
    assert placed(only(body, received_at)) == expected


def test_an_after_hours_print_is_a_quote_of_its_own() -> None:
    """Beside the official close, whose day it follows."""
    body = changed(
        is_market_open=False,
        last_quote_at=epoch("2026-08-20T19:59:00"),
        extended_price="1050.10000",
        extended_timestamp=epoch("2026-08-20T21:41:07"),
    )
    extended, close = read_quotes(TWELVE_DATA, "ACME", body, EVENING)
    assert (extended.price, placed(extended)) == (1050.1, (Session.POST, "2026-08-20T21:41:07", 1.0))
    assert (extended.high, extended.previous_close) == (1061.25, 1060.5)
    assert (close.price, placed(close)) == (1048.75, (Session.CLOSED, "2026-08-20T19:59:00", 60.0))


def test_a_pre_market_print_has_no_day_around_it() -> None:
    """It lies between two sessions."""
    extra = {"extended_price": "1050.1", "extended_timestamp": epoch("2026-08-21T12:00:00")}
    body = changed(is_market_open=False, last_quote_at=epoch("2026-08-20T19:59:00"), **extra)
    extended, _ = read_quotes(TWELVE_DATA, "ACME", body, "2026-08-21T12:00:30")
    assert extended.session is Session.PRE
    assert [extended.open, extended.high, extended.low, extended.previous_close, extended.volume] == [None] * 5


@pytest.mark.parametrize(
    "extra",
    [
        {"extended_price": None, "extended_timestamp": None},
        {"extended_price": "1050.1"},
        {"extended_price": "1050.1", "extended_timestamp": epoch("2026-08-20T18:00:00")},
        {"extended_price": "1050.1", "extended_timestamp": epoch("2026-08-21T03:00:00")},
    ],
)
def test_an_extended_print_that_is_none_is_left_out(extra: dict[str, Any]) -> None:
    """Empty, without time, older than the close, or from the night."""
    body = changed(is_market_open=False, last_quote_at=epoch("2026-08-20T19:59:00"), **extra)
    assert only(body, "2026-08-21T04:00:00").session is Session.CLOSED


def test_pence_become_pounds() -> None:
    """Everything but the volume is divided."""
    body = changed(symbol="ACME", exchange="LSE", mic_code="XLON", currency="GBp")
    quote = only(body, symbol="ACME.L")
    assert (quote.price, quote.open, quote.previous_close, quote.volume) == (10.4875, 10.58, 10.605, 845120.0)
    assert (quote.currency, quote.notes) == ("GBP", ("prices are quoted in GBp and were divided by 100",))


@pytest.mark.parametrize(
    ("symbol", "changes"),
    [
        ("ACME", {"currency": "EUR", "mic_code": "XMIL"}),
        ("ACME", {"currency": "EUR", "mic_code": None}),
        ("ACME", {"mic_code": "XLON"}),
        ("ACME.L", {"mic_code": "XNGS", "currency": "GBP"}),
        ("ACME.L", {"mic_code": None, "currency": "USD"}),
    ],
)
def test_another_listing_of_the_ticker_is_refused(symbol: str, changes: dict[str, Any]) -> None:
    """A ticker alone may be another share elsewhere."""
    with pytest.raises(SourceError, match="answered for another listing of ACME") as raised:
        only(changed(**changes), symbol=symbol)
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


def test_a_foreign_listing_may_trade_in_another_currency_than_most() -> None:
    """The market is the one that was asked, and the currency is told."""
    assert only(changed(mic_code="XLON", currency="USD"), symbol="ACME.L").currency == "USD"


def test_a_pair_is_in_its_own_currency() -> None:
    """It has no listing, and forex has no volume."""
    items = fixture("twelve_data", "quotes.json")
    euro = only(items["EUR/USD"] | {"volume": "0"}, symbol="EURUSD")
    assert (euro.symbol, euro.price, euro.currency, euro.volume) == ("EURUSD", 1.1543, "USD", None)
    assert placed(euro) == (Session.REGULAR, "2026-08-20T15:26:00", 60.0)
    coin = only(items["EUR/USD"] | {"symbol": "BTC/USD", "volume": "12.5"}, "2026-08-22T15:27:00", "BTC-USD")
    assert (coin.symbol, coin.currency, coin.volume, coin.session) == ("BTC-USD", "USD", 12.5, Session.REGULAR)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"close": None}, FailureKind.NO_DATA),
        ({"close": "0"}, FailureKind.NO_DATA),
        ({"close": ""}, FailureKind.NO_DATA),
        ({"close": "-1.5"}, FailureKind.MALFORMED_REPLY),
        ({"close": "NaN"}, FailureKind.MALFORMED_REPLY),
        ({"close": "1e999"}, FailureKind.MALFORMED_REPLY),
        ({"close": "1,048.75"}, FailureKind.MALFORMED_REPLY),
        ({"high": "tall"}, FailureKind.MALFORMED_REPLY),
        ({"close": [1]}, FailureKind.MALFORMED_REPLY),
        ({"is_market_open": "false"}, FailureKind.MALFORMED_REPLY),
        ({"last_quote_at": epoch(NOW) * 1000}, FailureKind.MALFORMED_REPLY),
        ({"symbol": "BOLT"}, FailureKind.MALFORMED_REPLY),
        ({"currency": "dollars"}, FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_quote_that_cannot_be_read_is_a_failure_with_its_reason(changes: dict[str, Any], kind: FailureKind) -> None:
    """No price is guessed."""
    with pytest.raises(SourceError) as raised:
        only(changed(**changes))
    assert raised.value.kind is kind


def test_a_london_price_without_a_currency_may_be_in_pence() -> None:
    """It could be wrong by a factor of 100."""
    with pytest.raises(SourceError, match="in GBP or in hundredths of it"):
        only(without("currency", mic_code="XLON"), symbol="ACME.L")


def batch(content: Any, *symbols: str, received_at: str = NOW) -> QuoteReading:
    """What a reply to a list of symbols says."""
    assert TWELVE_DATA.quotes is not None
    return TWELVE_DATA.quotes.parse(
        QuoteQuery(tuple(map(parse_symbol, symbols)), at(received_at)), reply(content, received_at)
    )


def test_a_list_is_answered_symbol_by_symbol() -> None:
    """Each with its quote or its own reason."""
    reading = batch(fixture("twelve_data", "quotes.json"), "ACME", "EURUSD", "NOSUCH", "BOLT.B", "LOST")
    assert list(reading) == ["ACME", "EURUSD", "NOSUCH", "BOLT.B", "LOST"]
    assert quotes_of(reading, "ACME") == (only(changed()),)
    assert [quote.price for quote in quotes_of(reading, "EURUSD")] == [1.1543]
    assert failure_of(reading, "NOSUCH").kind is FailureKind.UNKNOWN_SYMBOL
    assert (failure_of(reading, "BOLT.B").kind, failure_of(reading, "BOLT.B").retry_after_s) == (
        FailureKind.THROTTLED,
        60.0,
    )
    assert failure_of(reading, "LOST").kind is FailureKind.NO_DATA


def test_an_item_about_another_symbol_is_malformed() -> None:
    """The key says what was asked, the item what was answered."""
    reading = batch({"ACME": changed(symbol="BOLT"), "BOLT": changed()}, "ACME", "BOLT")
    assert {failure_of(reading, name).kind for name in ("ACME", "BOLT")} == {FailureKind.MALFORMED_REPLY}


def test_a_list_of_one_is_answered_without_a_key() -> None:
    """So the vendor does it."""
    assert quotes_of(batch(changed(), "ACME"), "ACME") == (only(changed()),)


def test_one_unknown_symbol_does_not_make_a_whole_list_unknown() -> None:
    """Which one it was is not told."""
    error = {"code": 404, "message": "**symbol** not found: NOSUCH", "status": "error"}
    with pytest.raises(SourceError) as raised:
        batch(error, "ACME", "NOSUCH")
    assert raised.value.kind is FailureKind.NO_DATA
    with pytest.raises(SourceError) as raised:
        batch(error, "NOSUCH")
    assert raised.value.kind is FailureKind.UNKNOWN_SYMBOL
