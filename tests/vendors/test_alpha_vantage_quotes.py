"""What Alpha Vantage's current prices say, and which notice means what."""

from __future__ import annotations

from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.vendor import QuoteQuery
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from vendors.vendor_exchanges import at, fixture, quotes_of, read_quotes, reply

LISTING = "the reply names no currency; it is that of the listing"
NOON = "2026-08-20T16:00:00"


def only(body: Any, received_at: str = NOON, symbol: str = "ACME") -> Quote:
    """The single quote of a reply."""
    (quote,) = read_quotes(ALPHA_VANTAGE, symbol, body, received_at)
    return quote


def changed(**changes: Any) -> Any:
    """The fixture with other values, by the words of their labels; None takes one away."""
    body = fixture("alpha_vantage", "global_quote.json")
    block = body["Global Quote"]
    for key in list(block):
        name = key.partition(". ")[2].replace(" ", "_")
        if name in changes:
            block[key] = changes[name]
    return {"Global Quote": {key: value for key, value in block.items() if value is not None}}


def rate(**changes: Any) -> Any:
    """The rate fixture with other values by the words of their labels."""
    block = fixture("alpha_vantage", "exchange_rate.json")["Realtime Currency Exchange Rate"]
    words = {key.partition(". ")[2].replace(" ", "_").lower(): key for key in block}
    return {"Realtime Currency Exchange Rate": block | {words[name]: value for name, value in changes.items()}}


def test_a_dated_price_is_the_close_of_that_day() -> None:
    """While the next session runs, the price is yesterday's close and says so."""
    assert only(fixture("alpha_vantage", "global_quote.json")) == Quote(
        symbol="ACME",
        source="alpha_vantage",
        price=1048.75,
        session=Session.CLOSED,
        received_at=at(NOON),
        event_time=at("2026-08-19T20:00:00"),
        event_time_resolution_s=86400.0,
        currency="USD",
        open=1058.0,
        high=1061.25,
        low=1044.0,
        previous_close=1060.5,
        volume=845120.0,
        notes=(LISTING,),
    )


@pytest.mark.parametrize(
    ("received_at", "session"),
    [
        ("2026-08-20T12:00:00", Session.PRE),
        ("2026-08-20T13:30:00", Session.REGULAR),
        ("2026-08-20T19:59:59", Session.REGULAR),
        ("2026-08-20T20:00:00", Session.CLOSED),
        ("2026-08-20T06:00:00", Session.REGULAR),
    ],
)
def test_a_day_that_is_not_over_has_no_close(received_at: str, session: Session) -> None:
    """The date is today's; only after the close is it the official one."""
    quote = only(changed(latest_trading_day="2026-08-20"), received_at)
    assert (quote.session, quote.event_time, quote.event_time_resolution_s) == (
        session,
        at("2026-08-20T20:00:00"),
        86400.0,
    )
    running = "dated today without a time while the session is not over"
    assert (running in quote.notes) is (session is not Session.CLOSED)


def test_an_early_close_is_that_days_close() -> None:
    """By the calendar."""
    quote = only(changed(latest_trading_day="2026-11-27"), "2026-11-27T18:00:00")
    assert (quote.session, quote.event_time) == (Session.CLOSED, at("2026-11-27T18:00:00"))


def test_a_date_without_a_session_is_no_time() -> None:
    """A Saturday."""
    quote = only(changed(latest_trading_day="2026-08-15"))
    assert (quote.session, quote.event_time) == (Session.CLOSED, None)
    assert quote.notes == (LISTING, "dated 2026-08-15, which the calendar has no session for")


@pytest.mark.parametrize(("day", "session"), [("2026-08-19", Session.CLOSED), ("2026-08-20", Session.REGULAR)])
def test_a_market_without_a_table_is_not_called_closed_today(day: str, session: Session) -> None:
    """Toronto's venture exchange has no calendar here."""
    quote = only(changed(symbol="ACME.TRV", latest_trading_day=day), symbol="ACME.V")
    assert (quote.session, quote.event_time, quote.currency) == (session, None, "CAD")


@pytest.mark.parametrize(("received_at", "session"), [(NOON, Session.REGULAR), ("2026-08-20T23:00:00", Session.CLOSED)])
def test_a_price_without_a_day_is_undated(received_at: str, session: Session) -> None:
    """Its session is the one at receipt."""
    quote = only(changed(latest_trading_day=None), received_at)
    assert (quote.session, quote.event_time) == (session, None)
    assert quote.notes == (LISTING, "the reply has no trading day; the session is the one at receipt")


@pytest.mark.parametrize(
    ("key", "delay_s"),
    [("Global Quote - DATA DELAYED BY 15 MINUTES", 900.0), ("Global Quote - REALTIME", 0.0), ("Global Quote", 0.0)],
)
def test_a_decorated_key_is_understood_and_its_delay_told(key: str, delay_s: float) -> None:
    """Premium keys see the same block under another key."""
    quote = only({key: changed()["Global Quote"]})
    assert (quote.price, quote.declared_delay_s) == (1048.75, delay_s)


def test_figures_beside_the_price_do_not_cost_it() -> None:
    """What cannot be read is left out and told; 0 is none."""
    quote = only(changed(open="0.0000", high="?", low=None, previous_close="-", volume=["1"]))
    assert (quote.price, quote.open, quote.high, quote.low, quote.previous_close, quote.volume) == (
        1048.75,
        *(None,) * 5,
    )
    assert [note.partition(":")[0] for note in quote.notes] == [LISTING.partition(":")[0], "left out", "left out"]


@pytest.mark.parametrize(
    ("symbol", "theirs", "currency"),
    [
        ("VOD.L", "VOD.LON", None),
        ("SHOP.TO", "SHOP.TRT", "CAD"),
        ("AIR.PA", "AIR.PAR", "EUR"),
        ("SAP.DE", "SAP.DEX", "EUR"),
        ("TCS.BO", "TCS.BSE", "INR"),
        ("600519.SS", "600519.SHH", "CNY"),
        ("000002.SZ", "000002.SHZ", "CNY"),
        ("BRK.B", "BRK-B", "USD"),
    ],
)
def test_their_spelling_is_ours(symbol: str, theirs: str, currency: str | None) -> None:
    """London's unit differs from listing to listing and is not told, so no currency is claimed."""
    quote = only(changed(symbol=theirs), symbol=symbol)
    assert (quote.symbol, quote.currency) == (symbol, currency)
    told = (
        LISTING if currency else "the reply names no currency; London listings are quoted in pence, pounds or dollars"
    )
    assert quote.notes == (told,)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (fixture("alpha_vantage", "unknown_symbol.json"), FailureKind.UNKNOWN_SYMBOL),
        ({}, FailureKind.NO_DATA),
        (changed(price="0.0000"), FailureKind.NO_DATA),
        (changed(price="-1.0"), FailureKind.MALFORMED_REPLY),
        (changed(price="NaN"), FailureKind.MALFORMED_REPLY),
        (changed(price="n/a"), FailureKind.MALFORMED_REPLY),
        (changed(price=True), FailureKind.MALFORMED_REPLY),
        (changed(price="9e999"), FailureKind.MALFORMED_REPLY),
        (changed(price=None), FailureKind.MALFORMED_REPLY),
        (changed(symbol="ACNE"), FailureKind.MALFORMED_REPLY),
        (changed(latest_trading_day="20260819"), FailureKind.MALFORMED_REPLY),
        (changed(latest_trading_day="2026-02-30"), FailureKind.MALFORMED_REPLY),
        (fixture("alpha_vantage", "daily.json"), FailureKind.MALFORMED_REPLY),
        (b"symbol,price\r\nACME,1\r\n", FailureKind.MALFORMED_REPLY),
        ({"Information": "Ask for a Premium key."}, FailureKind.NOT_ENTITLED),
        ({"Information": "The service is being repaired."}, FailureKind.SOURCE_ERROR),
    ],
)
def test_a_reply_without_a_price_is_a_failure_with_its_reason(body: Any, kind: FailureKind) -> None:
    """An empty quote is an unknown symbol; another symbol's quote is nobody's."""
    with pytest.raises(SourceError) as raised:
        only(body)
    assert raised.value.kind is kind


@pytest.mark.parametrize(
    ("text", "kind", "retry_after_s"),
    [
        (
            "Limit: 25 requests per day, see https://www.alphavantage.co/premium/. Keep to 1 request per second.",
            FailureKind.THROTTLED,
            5.0,
        ),
        ("Please try spreading out your calls; 25 requests per day are free.", FailureKind.THROTTLED, 5.0),
        ("25 requests per day. BURST PATTERN detected. Premium plans differ.", FailureKind.THROTTLED, 5.0),
        ("5 calls per minute and 500 calls per day; https://www.alphavantage.co/premium/", FailureKind.THROTTLED, 60.0),
        ("For a higher API call volume see https://www.alphavantage.co/premium/", FailureKind.THROTTLED, 60.0),
        (
            "Your API key as K0000 is limited to 25 requests per day; https://www.alphavantage.co/premium/",
            FailureKind.QUOTA_EXHAUSTED,
            21600.0,
        ),
        ("That is a premium endpoint.", FailureKind.NOT_ENTITLED, 86400.0),
        ("outputsize=full: see https://www.alphavantage.co/premium/", FailureKind.NOT_ENTITLED, 86400.0),
        ("The demo API key is for demo purposes only.", FailureKind.UNAUTHORIZED, None),
    ],
)
@pytest.mark.parametrize("name", ["Information", "Note"])
def test_notices_that_quote_each_others_words_are_told_apart(
    name: str, text: str, kind: FailureKind, retry_after_s: float | None
) -> None:
    """A burst waits seconds, the day's quota hours; the premium notice is about one function."""
    with pytest.raises(SourceError) as raised:
        only({name: text})
    assert (raised.value.kind, raised.value.retry_after_s) == (kind, retry_after_s)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("the parameter apikey is invalid or missing.", FailureKind.UNAUTHORIZED),
        ("Invalid API call. Read the documentation.", FailureKind.UNKNOWN_SYMBOL),
        ("This API function does not exist.", FailureKind.BAD_REQUEST),
    ],
)
def test_error_messages_tell_key_symbol_and_request_apart(text: str, kind: FailureKind) -> None:
    """What is invalid in our calls is the symbol, unless the message names the key."""
    with pytest.raises(SourceError) as raised:
        only({"Error Message": text})
    assert raised.value.kind is kind


@pytest.mark.parametrize("symbol", ["DEMO", "PREM", "NOTE"])
def test_a_symbol_is_no_notice(symbol: str) -> None:
    """The error table looks for phrases, and a quote holds none."""
    assert only(changed(symbol=symbol), symbol=symbol).price == 1048.75


def test_a_rate_is_timed_in_utc() -> None:
    """To the second, with bid and ask."""
    assert only(rate(), NOON, "BTC-USD") == Quote(
        symbol="BTC-USD",
        source="alpha_vantage",
        price=81234.5,
        session=Session.REGULAR,
        received_at=at(NOON),
        event_time=at("2026-08-20T15:26:03"),
        currency="USD",
        bid=81234.4,
        ask=81234.6,
    )


@pytest.mark.parametrize(
    ("moment", "session"), [("2026-08-20 15:26:03", Session.REGULAR), ("2026-08-22 15:26:03", Session.CLOSED)]
)
def test_a_currency_rate_of_the_weekend_is_the_close(moment: str, session: Session) -> None:
    """Currencies do not trade on a Saturday."""
    body = rate(
        from_currency_code="EUR", exchange_rate="1.21250000", last_refreshed=moment, bid_price="-", ask_price="-"
    )
    quote = only(body, "2026-08-22T16:00:00", "EURUSD")
    assert (quote.symbol, quote.price, quote.session, quote.bid, quote.ask, quote.notes) == (
        *("EURUSD", 1.2125, session),
        *(None, None, ()),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"from_currency_code": "ETH"},
        {"to_currency_code": "EUR"},
        {"time_zone": "US/Eastern"},
        {"time_zone": None},
        {"last_refreshed": "2026-08-20"},
        {"last_refreshed": None},
        {"exchange_rate": "NaN"},
    ],
)
def test_a_rate_of_another_pair_or_time_is_refused(changes: dict[str, Any]) -> None:
    """A time of an unknown zone is no time."""
    with pytest.raises(SourceError) as raised:
        only(rate(**changes), NOON, "BTC-USD")
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


def test_a_recorded_quote_without_parameters_names_its_own_symbol() -> None:
    """As bug reports shorten URLs."""
    received = reply(changed(symbol="ACME.TRV"), NOON)
    (quote,) = quotes_of(ALPHA_VANTAGE.quote.parse(QuoteQuery((), received.received_at), received), "ACME.V")
    assert (quote.price, quote.currency) == (1048.75, parse_symbol("ACME.V").currency)
