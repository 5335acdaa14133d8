"""What Finnhub's quote says, and what Finnhub is asked."""

from __future__ import annotations

from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.vendor import Endpoint, Key, Plan, Quota, QuoteQuery, RecordedUrl, Request
from mdagent_mcp.vendors.finnhub import FINNHUB
from vendors.vendor_exchanges import at, fixture, read_quotes

LISTING = "the reply names no currency; it is that of the listing"
NOW = at("2026-08-20T15:26:24")


def only(body: Any, received_at: str = "2026-08-20T15:26:24") -> Quote:
    """The single quote of a reply."""
    (quote,) = read_quotes(FINNHUB, "ACME", body, received_at)
    return quote


def changed(**changes: Any) -> Any:
    """The fixture with other values."""
    return fixture("finnhub", "quote.json") | changes


def epoch(text: str) -> int:
    """An instant as the vendor writes it."""
    return int(at(text).timestamp())


def test_a_quote_is_timed_to_the_second() -> None:
    """It has neither book nor volume; its currency is the listing's."""
    assert only(fixture("finnhub", "quote.json")) == Quote(
        symbol="ACME",
        source="finnhub",
        price=1048.75,
        session=Session.REGULAR,
        received_at=NOW,
        event_time=at("2026-08-20T15:26:23"),
        currency="USD",
        open=1058.0,
        high=1061.25,
        low=1044.0,
        previous_close=1060.5,
        notes=(LISTING,),
    )


@pytest.mark.parametrize(
    ("moment", "session"),
    [
        ("2026-08-20T13:29:59", Session.PRE),
        ("2026-08-20T13:30:00", Session.REGULAR),
        ("2026-08-20T19:59:59", Session.REGULAR),
        ("2026-08-20T20:00:00", Session.CLOSED),
        ("2026-08-20T20:00:01", Session.POST),
        ("2026-11-27T18:00:00", Session.CLOSED),
        ("2026-11-27T18:00:01", Session.POST),
        ("2026-08-22T15:00:00", Session.CLOSED),
    ],
)
def test_the_calendar_decides_the_session(moment: str, session: Session) -> None:
    """The official close is stamped with the very instant of the close, early closes included."""
    quote = only(changed(t=epoch(moment)), "2026-11-30T12:00:00")
    assert (quote.session, quote.event_time) == (session, at(moment))


def test_a_pre_market_print_has_no_day_around_it() -> None:
    """Which session the day's figures are of is not told before the open."""
    quote = only(changed(t=epoch("2026-08-20T12:00:00")))
    assert (quote.open, quote.high, quote.low, quote.previous_close) == (None, None, None, None)


@pytest.mark.parametrize("midnight", ["2026-08-20T00:00:00", "2026-08-20T04:00:00", "2026-01-20T05:00:00"])
@pytest.mark.parametrize(
    ("received_at", "session"), [("2026-08-20T15:00:00", Session.REGULAR), ("2026-08-20T23:30:00", Session.CLOSED)]
)
def test_midnight_is_a_date_and_no_instant(midnight: str, received_at: str, session: Session) -> None:
    """In UTC or in New York: the price is the daily bar's, and nobody knows how old it is."""
    quote = only(changed(t=epoch(midnight)), received_at)
    assert (quote.event_time, quote.session) == (None, session)
    assert quote.notes == (LISTING, f"the time is the date of a daily bar, {midnight[:10]}, and no instant")


@pytest.mark.parametrize("stamp", [0, None])
def test_a_price_without_a_time_is_undated(stamp: int | None) -> None:
    """Zero is how the vendor writes none."""
    quote = only(changed(t=stamp))
    assert (quote.event_time, quote.session, quote.notes) == (None, Session.REGULAR, (LISTING, "the reply has no time"))


def test_zeros_beside_the_price_are_absent_figures() -> None:
    """Nothing was traded in the session yet."""
    quote = only(changed(o=0, h=0, l=0, pc=0, d=None, dp=None))
    assert (quote.price, quote.open, quote.high, quote.low, quote.previous_close) == (1048.75, None, None, None, None)


@pytest.mark.parametrize(
    ("body", "status", "kind", "retry_after_s"),
    [
        (fixture("finnhub", "quote_zeros.json"), 200, FailureKind.UNKNOWN_SYMBOL, None),
        (changed(c=0), 200, FailureKind.NO_DATA, None),
        (changed(c=-1.5), 200, FailureKind.MALFORMED_REPLY, None),
        (changed(c="1048.75"), 200, FailureKind.MALFORMED_REPLY, None),
        (changed(t=1787239583000), 200, FailureKind.MALFORMED_REPLY, None),
        ({"error": "Something went wrong."}, 200, FailureKind.SOURCE_ERROR, None),
        ({"error": "API limit reached."}, 200, FailureKind.THROTTLED, 60.0),
        (b"", 429, FailureKind.THROTTLED, 60.0),
        (b"", 401, FailureKind.UNAUTHORIZED, None),
        ({"error": "Invalid API key"}, 403, FailureKind.UNAUTHORIZED, None),
        ({"error": "Please use an API key."}, 200, FailureKind.UNAUTHORIZED, None),
        ({"error": "You don't have access to this resource."}, 403, FailureKind.NOT_ENTITLED, None),
        (
            {"error": "Market data subscription required for CFD indices."},
            200,
            FailureKind.NOT_ENTITLED,
            None,
        ),
        (b"Symbol not supported", 200, FailureKind.UNSUPPORTED, None),
        (b"<html>", 502, FailureKind.SOURCE_ERROR, None),
    ],
)
def test_a_reply_without_a_price_is_a_failure_with_its_reason(
    body: Any, status: int, kind: FailureKind, retry_after_s: float | None
) -> None:
    """A quota is no outage, and a plan's limit is no wrong key."""
    with pytest.raises(SourceError) as raised:
        read_quotes(FINNHUB, "ACME", body, "2026-08-20T15:26:24", status)
    assert (raised.value.kind, raised.value.retry_after_s) == (kind, retry_after_s)


def test_an_unknown_symbol_is_not_told_without_its_doubt() -> None:
    """An outage looks the same."""
    with pytest.raises(SourceError, match="or Finnhub has an outage"):
        only(fixture("finnhub", "quote_zeros.json"))


def test_a_quote_is_asked_by_symbol_without_the_key() -> None:
    """The key goes into a header, by the transport."""
    assert FINNHUB.quote.build(QuoteQuery((parse_symbol("BRK.B"),), NOW)) == (
        Request("/api/v1/quote", (("symbol", "BRK.B"),)),
    )
    assert FINNHUB.key == Key(
        ("FINNHUB_API_KEY",), "header", "X-Finnhub-Token", signup_url="https://finnhub.io/register"
    )


@pytest.mark.parametrize("symbol", ["^GSPC", "VOD.L", "EURUSD", "BTC-USD"])
def test_only_us_listings_are_quoted(symbol: str) -> None:
    """Everything else needs another subscription."""
    query = QuoteQuery((parse_symbol(symbol),), NOW)
    assert FINNHUB.quote.refuses(query) == f"Finnhub's plans for individuals quote US listings, not {symbol}"
    assert FINNHUB.quote.refuses(QuoteQuery((parse_symbol("ACME"),), NOW)) is None


def recorded(path: str, query: dict[str, str], instrument: Instrument | None = None) -> RecordedUrl:
    """A recorded URL."""
    return RecordedUrl(path, query, instrument, NOW)


def test_a_recorded_quote_names_its_instrument_or_needs_it_named() -> None:
    """The URL's word comes first."""
    named = parse_symbol("MSFT")
    asked = {"symbol": "AAPL", "token": "x"}
    assert FINNHUB.quote.recognise(recorded("/api/v1/quote", asked, named)) == QuoteQuery((parse_symbol("AAPL"),), NOW)
    assert FINNHUB.quote.recognise(recorded("/finnhub/api/v1/quote", {}, named)) == QuoteQuery((named,), NOW)
    assert FINNHUB.quote.recognise(recorded("/api/v1/stock/candle", asked)) is None
    with pytest.raises(SourceError) as raised:
        FINNHUB.quote.recognise(recorded("/api/v1/quote", {}))
    assert raised.value.kind is FailureKind.BAD_REQUEST


def test_the_free_plan_has_no_bars() -> None:
    """Sixty calls a minute and thirty a second hold at once."""
    assert FINNHUB.default_plan == Plan(
        quotas=(Quota(60, 60.0, "minute"), Quota(30, 1.0, "second")),
        cost_per_call=0.017,
        excluded=frozenset({Endpoint.HISTORY}),
    )
    assert list(FINNHUB.plans) == ["free", "premium"]
    assert FINNHUB.plans["premium"].excluded == frozenset()
    assert dict(FINNHUB.hosts) == {"api": "https://finnhub.io"}
    assert FINNHUB.group_of(parse_symbol("AAPL")) == "finnhub"
    assert (FINNHUB.id, FINNHUB.weight, FINNHUB.quotes) == ("finnhub", 0.9, None)
