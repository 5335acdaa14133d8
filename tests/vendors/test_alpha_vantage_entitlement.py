"""Alpha Vantage under an entitlement: what its calls say then, and bulk quotes."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval, Quote, Session
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery, QuoteReading, RecordedUrl, Request, Vendor
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from vendors.test_keyless_robustness import _is_sane, places, with_scrap
from vendors.vendor_exchanges import at, failure_of, fixture, quotes_of, read_quotes, reply

AT = "2026-08-20T15:27:10"
NOW = at(AT)
NOTE = "the reply names no currency; it is that of the listing"
REALTIME = ALPHA_VANTAGE.offering(ALPHA_VANTAGE.entitlements["realtime"].offers)
DELAYED = ALPHA_VANTAGE.offering(ALPHA_VANTAGE.entitlements["delayed"].offers)


def ask(*symbols: str) -> QuoteQuery:
    """A question for prices."""
    return QuoteQuery(tuple(map(parse_symbol, symbols)), NOW)


def bars(symbol: str, interval: Interval, adjustment: Adjustment = Adjustment.NONE) -> HistoryQuery:
    """A question for bars."""
    days = (date(2026, 8, 17), date(2026, 8, 20))
    return HistoryQuery(parse_symbol(symbol), interval, *days, adjustment, extended_hours=False, now=NOW)


def entitlement(requests: tuple[Request, ...]) -> str | None:
    """What the one call says the key was cleared for."""
    (request,) = requests
    return dict(request.query).get("entitlement")


@pytest.mark.parametrize(("vendor", "name"), [(ALPHA_VANTAGE, None), (DELAYED, "delayed"), (REALTIME, "realtime")])
def test_calls_about_listings_name_the_entitlement(vendor: Vendor, name: str | None) -> None:
    """Prices of exchanges need a clearance, currencies and crypto do not."""
    assert vendor.history is not None
    assert entitlement(vendor.quote.build(ask("ACME"))) == name
    for interval in (Interval.MIN_5, Interval.DAY_1, Interval.WEEK_1):
        assert entitlement(vendor.history.build(bars("ACME", interval))) == name
    assert entitlement(vendor.quote.build(ask("EURUSD"))) is None
    assert entitlement(vendor.history.build(bars("BTC-USD", Interval.DAY_1))) is None


def test_an_entitlement_leaves_the_rest_of_a_call_as_it_was() -> None:
    """It is one more parameter."""
    (plain,), (entitled,) = ALPHA_VANTAGE.quote.build(ask("ACME")), DELAYED.quote.build(ask("ACME"))
    assert entitled == replace(plain, query=(*plain.query, ("entitlement", "delayed")))


def test_bulk_quotes_come_with_real_time_prices_only() -> None:
    """A hundred symbols at most; more would be dropped without a word."""
    assert (ALPHA_VANTAGE.quotes, DELAYED.quotes) == (None, None)
    bulk = REALTIME.quotes
    assert bulk is not None
    assert bulk.max_batch == 100
    parameters = (("function", "REALTIME_BULK_QUOTES"), ("symbol", "ACME,BOLT.B"), ("entitlement", "realtime"))
    assert bulk.build(ask("ACME", "BOLT.B")) == (Request("/query", parameters),)
    reason = "Alpha Vantage's bulk quotes are of US listings, not of VOD.L"
    assert (bulk.refuses(ask("ACME")), bulk.refuses(ask("ACME", "VOD.L"))) == (None, reason)
    assert bulk.recognise(RecordedUrl("/query", dict(parameters), None, NOW)) == ask("ACME", "BOLT.B")
    assert bulk.recognise(RecordedUrl("/query", {"function": "GLOBAL_QUOTE", "symbol": "ACME"}, None, NOW)) is None


def test_the_delays_of_the_entitlements() -> None:
    """A quarter of an hour, or none."""
    delays = {name: e.declared_delay_s for name, e in ALPHA_VANTAGE.entitlements.items()}
    assert delays == {"delayed": 900.0, "realtime": 0.0}


@pytest.mark.parametrize(
    "key", ["Global Quote", "Global Quote - DATA DELAYED BY 15 MINUTES", "Global Quote - REALTIME"]
)
def test_a_decorated_quote_is_read(key: str) -> None:
    """Entitled keys see another name above the same figures; a delay in it is the price's own."""
    block = {"01. symbol": "ACME", "05. price": "124.45", "07. latest trading day": "2026-08-20"}
    (quote,) = read_quotes(ALPHA_VANTAGE, "ACME", {key: block}, AT)
    assert (quote.price, quote.session) == (124.45, Session.REGULAR)
    assert quote.declared_delay_s == (900.0 if "15" in key else 0.0)


def bulk(content: Any, *symbols: str, received_at: str = AT) -> QuoteReading:
    """What a bulk reply says about symbols."""
    assert REALTIME.quotes is not None
    received = reply(content, received_at)
    return REALTIME.quotes.parse(QuoteQuery(tuple(map(parse_symbol, symbols)), received.received_at), received)


def spoilt(**changes: Any) -> Any:
    """The bulk reply with members of its first row replaced."""
    content = fixture("alpha_vantage", "bulk.json")
    content["data"][0] |= changes
    return content


def test_bulk_quotes_are_read_by_symbol() -> None:
    """Times are New York's; a symbol without a row has no data."""
    reading = bulk(spoilt(), "ACME", "BOLT.B", "GONE")
    assert quotes_of(reading, "ACME") == (
        Quote(
            symbol="ACME",
            source="alpha_vantage",
            price=124.45,
            session=Session.REGULAR,
            received_at=NOW,
            event_time=at("2026-08-20T15:27:05"),
            currency="USD",
            open=123.4,
            high=125.02,
            low=122.88,
            previous_close=123.4,
            volume=10345678.0,
            notes=(NOTE,),
        ),
    )
    assert quotes_of(reading, "BOLT.B")[0].price == 10.2
    assert failure_of(reading, "GONE").kind is FailureKind.NO_DATA
    assert set(bulk(spoilt())) == {"ACME", "BOLT.B"}


def told(*read: Quote) -> list[tuple[str, float, str]]:
    """Session, price and time of quotes."""
    return [(q.session.value, q.price, f"{q.event_time:%m-%dT%H:%M:%S}") for q in read]


def test_outside_regular_hours_the_close_and_the_extended_price_are_two_quotes() -> None:
    """The time is that of the extended price; the close is the last session's."""
    late = spoilt(timestamp="2026-08-20 17:30:00.5", extended_hours_quote="124.9")
    assert told(*quotes_of(bulk(late, "ACME"), "ACME")) == [
        ("post", 124.9, "08-20T21:30:00"),
        ("closed", 124.45, "08-20T20:00:00"),
    ]
    early = spoilt(timestamp="2026-08-20 08:30:00", extended_hours_quote="124.9")
    pre, closed = quotes_of(bulk(early, "ACME"), "ACME")
    assert told(pre, closed) == [("pre", 124.9, "08-20T12:30:00"), ("closed", 124.45, "08-19T20:00:00")]
    assert (pre.previous_close, pre.open) == (124.45, None)
    alone = spoilt(timestamp="2026-08-20 17:30:00")
    assert told(*quotes_of(bulk(alone, "ACME"), "ACME")) == [("closed", 124.45, "08-20T20:00:00")]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"close": "0.0"}, FailureKind.NO_DATA),
        ({"close": "N/A"}, FailureKind.MALFORMED_REPLY),
        ({"timestamp": "N/A"}, FailureKind.MALFORMED_REPLY),
        ({"timestamp": "2026-02-31 10:00:00"}, FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_bad_row_fails_alone(changes: dict[str, str], kind: FailureKind) -> None:
    """The others are answered."""
    reading = bulk(spoilt(**changes), "ACME", "BOLT.B")
    assert failure_of(reading, "ACME").kind is kind
    assert quotes_of(reading, "BOLT.B")[0].price == 10.2


def test_a_spoilt_bulk_reply_is_read_or_refused_and_nothing_else() -> None:
    """One to three values of a good reply are replaced; what is still answered is finite and positive."""
    chance = random.Random(7)
    scraps: list[Any] = [None, True, 0, -1, 1e308, 10**400, "", "N/A", "1e999", "-1", "9999-12-31 23:59:59", [], {}]
    for _ in range(300):
        content = spoilt()
        for _ in range(chance.randint(1, 3)):
            with_scrap(content, chance.choice(sorted(places(content), key=str)), chance.choice(scraps))
        try:
            reading = bulk(content, "ACME", "BOLT.B")
        except SourceError:
            continue
        for outcome in reading.values():
            assert all(map(_is_sane, getattr(outcome, "value", ())))
