"""What is read as a quote: sessions, times, units and books of the one-day chart and of the batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.vendor import QuoteQuery
from mdagent_mcp.vendors.yahoo import YAHOO
from vendors.yahoo_exchange import chart_of, load, reply_of, utc


def read_chart(payload: Any, received_at: str, symbol: str = "ACME") -> tuple[Quote, ...]:
    """The quotes of one symbol's chart."""
    query = QuoteQuery((parse_symbol(symbol),), utc(received_at))
    (outcome,) = YAHOO.quote.parse(query, reply_of(payload, received_at)).values()
    assert isinstance(outcome, Answered)
    return outcome.value


def read_batch(payload: Any, received_at: str, *symbols: str) -> dict[str, tuple[Quote, ...] | Failure]:
    """The quotes or the reason of every asked symbol."""
    assert YAHOO.quotes is not None
    query = QuoteQuery(tuple(map(parse_symbol, symbols)), utc(received_at))
    reading = YAHOO.quotes.parse(query, reply_of(payload, received_at))
    return {symbol: o.value if isinstance(o, Answered) else o for symbol, o in reading.items()}


OPEN = Quote(
    symbol="ACME",
    source="yahoo",
    price=51.37,
    session=Session.REGULAR,
    received_at=utc("2026-03-18T15:04:11"),
    event_time=utc("2026-03-18T15:04:07"),
    currency="USD",
    open=50.4,
    high=51.9,
    low=50.02,
    previous_close=49.81,
    volume=1234567.0,
)
CLOSED = Quote(
    symbol="ACME",
    source="yahoo",
    price=52.0,
    session=Session.CLOSED,
    received_at=utc("2026-03-18T21:17:05"),
    event_time=utc("2026-03-18T20:00:01"),
    currency="USD",
    open=50.4,
    high=52.4,
    low=50.02,
    previous_close=49.81,
    volume=7654321.0,
)


def test_a_running_session_gives_one_regular_quote_with_the_day_from_meta_and_the_open_from_its_first_bar() -> None:
    """The pre-market bar before it and a minute without prices are not the open."""
    assert read_chart(load("chart_quote_open.json"), "2026-03-18T15:04:11") == (OPEN,)


def test_after_hours_the_last_traded_minute_is_a_post_quote_beside_the_official_close() -> None:
    """Its event time is the start of that minute, known to 60 seconds."""
    post = replace(
        CLOSED,
        price=52.66,
        session=Session.POST,
        event_time=utc("2026-03-18T21:15:00"),
        event_time_resolution_s=60.0,
    )
    assert read_chart(load("chart_quote_after_hours.json"), "2026-03-18T21:17:05") == (CLOSED, post)


def test_before_the_open_the_print_has_no_day_and_the_close_no_previous_close_but_its_own() -> None:
    """`chartPreviousClose` of the coming day is the very price shown, so it is not taken for the close before it."""
    received = utc("2026-03-19T12:42:30")
    closed = replace(CLOSED, received_at=received, open=None, previous_close=None)
    pre = Quote(
        symbol="ACME",
        source="yahoo",
        price=52.35,
        session=Session.PRE,
        received_at=received,
        event_time=utc("2026-03-19T12:41:00"),
        event_time_resolution_s=60.0,
        currency="USD",
    )
    assert read_chart(load("chart_quote_before_open.json"), "2026-03-19T12:42:30") == (closed, pre)


def test_the_close_before_the_range_stands_in_for_a_missing_previous_close_within_the_day() -> None:
    """Only where the range is the one day that the price belongs to."""
    payload = load("chart_quote_open.json")
    del chart_of(payload)["meta"]["previousClose"]
    assert read_chart(payload, "2026-03-18T15:04:11")[0].previous_close == 49.8
    chart_of(payload)["meta"]["range"] = "5d"
    assert read_chart(payload, "2026-03-18T15:04:11")[0].previous_close is None


@pytest.mark.parametrize(
    ("received_at", "session"),
    [
        ("2026-03-18T19:59:58", Session.REGULAR),
        ("2026-03-18T20:20:00", Session.REGULAR),
        ("2026-03-18T20:30:00", Session.CLOSED),
        ("2026-03-21T12:00:00", Session.CLOSED),
    ],
)
def test_a_price_from_before_the_bell_is_the_close_once_late_prices_have_come(
    received_at: str, session: Session
) -> None:
    """Prices come up to twenty minutes late; half an hour after the bell the last one stands."""
    payload = load("chart_quote_open.json")
    chart_of(payload)["meta"]["regularMarketTime"] = int(utc("2026-03-18T19:57:00").timestamp())
    assert read_chart(payload, received_at)[0].session is session


def test_on_a_half_day_the_price_at_the_early_bell_is_the_close() -> None:
    """27 November 2026 ends at 13:00 New York."""
    payload = load("chart_quote_open.json")
    chart_of(payload)["meta"]["regularMarketTime"] = int(utc("2026-11-27T18:00:01").timestamp())
    assert read_chart(payload, "2026-11-27T18:00:05")[0].session is Session.CLOSED


@pytest.mark.parametrize("told", ["tradingPeriods", "currentTradingPeriod"])
@pytest.mark.parametrize(
    ("event", "session"),
    [
        ("2026-03-18T15:00:00", Session.REGULAR),
        ("2026-03-18T16:00:02", Session.CLOSED),
        ("2026-03-17T15:59:00", Session.CLOSED),
    ],
)
def test_a_market_without_calendar_takes_its_hours_from_the_reply(told: str, event: str, session: Session) -> None:
    """Tel Aviv is not in the packaged table; prices in agorot become shekels."""
    payload = load("chart_quote_open.json")
    meta = chart_of(payload)["meta"]
    meta |= {"symbol": "TEVA.TA", "currency": "ILA", "exchangeTimezoneName": "Asia/Jerusalem"}
    meta["regularMarketTime"] = int(utc(event).timestamp())
    start, end = (int(utc(f"2026-03-18T{t}").timestamp()) for t in ("08:00:00", "16:00:00"))
    del meta["tradingPeriods"]
    period = {"start": start, "end": end}
    meta[told] = [[period]] if told == "tradingPeriods" else {"regular": period}
    (quote, *_) = read_chart(payload, "2026-03-18T16:00:10", "TEVA.TA")
    assert (quote.session, quote.price, quote.currency) == (session, 51.37 / 100, "ILS")


def test_an_index_of_another_zone_is_not_judged_by_the_calendar_of_new_york() -> None:
    """Seoul's index at 15:00 local time runs while New York sleeps."""
    payload = load("chart_quote_open.json")
    meta = chart_of(payload)["meta"]
    meta |= {"symbol": "^KS11", "currency": "KRW", "exchangeTimezoneName": "Asia/Seoul", "regularMarketVolume": 0}
    meta["regularMarketTime"] = int(utc("2026-03-18T06:00:00").timestamp())
    start, end = (int(utc(f"2026-03-18T{t}").timestamp()) for t in ("00:00:00", "06:30:00"))
    meta["tradingPeriods"] = [[{"start": start, "end": end}]]
    (quote,) = read_chart(payload, "2026-03-18T06:00:20", "^KS11")
    assert (quote.session, quote.volume) == (Session.REGULAR, None)


def test_coins_never_close() -> None:
    """However old its price, a coin's session is the regular one."""
    payload = load("chart_quote_open.json")
    chart_of(payload)["meta"] |= {"symbol": "BTC-USD", "exchangeTimezoneName": "UTC"}
    chart_of(payload)["meta"]["regularMarketTime"] = int(utc("2026-03-15T04:00:00").timestamp())
    assert read_chart(payload, "2026-03-21T12:00:00", "BTC-USD")[0].session is Session.REGULAR


@pytest.mark.parametrize(
    ("symbol", "answered"), [("ACME", "ACMF"), ("BRK.B", "BRK.B"), ("VOD.L", "VOD"), ("USDJPY", "EURJPY=X")]
)
def test_a_chart_for_another_symbol_is_refused(symbol: str, answered: str) -> None:
    """Whatever it holds, it is not the answer."""
    payload = load("chart_quote_open.json")
    chart_of(payload)["meta"]["symbol"] = answered
    with pytest.raises(SourceError, match=f"answered for another symbol: '{answered}'") as raised:
        read_chart(payload, "2026-03-18T15:04:11", symbol)
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


@pytest.mark.parametrize(("symbol", "answered"), [("ACME", "acme"), ("BRK.B", "BRK-B"), ("USDJPY", "JPY=X")])
def test_a_chart_under_yahoos_own_spelling_is_accepted(symbol: str, answered: str) -> None:
    """The quote carries the canonical symbol."""
    payload = load("chart_quote_open.json")
    chart_of(payload)["meta"]["symbol"] = answered
    assert read_chart(payload, "2026-03-18T15:04:11", symbol)[0].symbol == symbol


@pytest.mark.parametrize("price", [None, 0, -3.5])
def test_a_chart_without_a_price_is_no_data(price: float | None) -> None:
    """Null, zero and less are no prices."""
    payload = load("chart_quote_open.json")
    chart_of(payload)["meta"]["regularMarketPrice"] = price
    with pytest.raises(SourceError) as raised:
        read_chart(payload, "2026-03-18T15:04:11")
    assert raised.value.kind is FailureKind.NO_DATA


def test_a_london_price_without_its_unit_is_refused() -> None:
    """It may be in pounds or in pence: wrong by a hundred or right, and nothing tells."""
    payload = load("chart_quote_open.json")
    chart_of(payload)["meta"] |= {"symbol": "VOD.L", "currency": None}
    with pytest.raises(SourceError, match="no currency is stated") as raised:
        read_chart(payload, "2026-03-18T15:04:11", "VOD.L")
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


BATCH_AT = "2026-03-18T21:14:05"


def test_a_batch_is_matched_by_symbol_and_every_asked_symbol_has_its_quotes_or_its_reason() -> None:
    """Order does not matter; a missing symbol and a stub are unknown, a record without price is no data."""
    symbols = ("BRK.B", "NOPE", "STUB", "GONE", "TEXT", "VOD.L")
    reading = read_batch(load("batch.json"), BATCH_AT, *symbols)
    assert list(reading) == list(symbols)
    kinds = {s: o.kind if isinstance(o, Failure) else len(o) for s, o in reading.items()}
    assert kinds == {
        "BRK.B": 2,
        "NOPE": FailureKind.UNKNOWN_SYMBOL,
        "STUB": FailureKind.UNKNOWN_SYMBOL,
        "GONE": FailureKind.NO_DATA,
        "TEXT": FailureKind.MALFORMED_REPLY,
        "VOD.L": 1,
    }


def test_an_after_hours_record_gives_the_close_and_the_print_and_the_book_goes_with_the_live_one() -> None:
    """The close is not dressed with a bid and ask of hours later."""
    closed = Quote(
        symbol="BRK.B",
        source="yahoo",
        price=480.5,
        session=Session.CLOSED,
        received_at=utc(BATCH_AT),
        event_time=utc("2026-03-18T20:00:02"),
        currency="USD",
        open=478.5,
        high=482.0,
        low=477.0,
        previous_close=478.0,
        volume=3300000.0,
    )
    post = replace(
        closed, price=481.25, session=Session.POST, event_time=utc("2026-03-18T21:12:30"), bid=481.0, ask=481.5
    )
    assert read_batch(load("batch.json"), BATCH_AT, "BRK.B") == {"BRK.B": (closed, post)}


def test_pence_become_pounds_everywhere_in_a_record_and_a_note_says_so() -> None:
    """Price, day, previous close and book are divided; volume is not."""
    expected = Quote(
        symbol="VOD.L",
        source="yahoo",
        price=0.715,
        session=Session.CLOSED,
        received_at=utc(BATCH_AT),
        event_time=utc("2026-03-18T16:35:11"),
        currency="GBP",
        declared_delay_s=900.0,
        bid=71.4 / 100,
        ask=71.6 / 100,
        open=70.5 / 100,
        high=0.72,
        low=0.7,
        previous_close=70.25 / 100,
        volume=4200000.0,
        notes=("prices are quoted in GBp and were divided by 100",),
    )
    assert read_batch(load("batch.json"), BATCH_AT, "VOD.L") == {"VOD.L": (expected,)}


def test_a_dead_record_keeps_its_true_time_and_zeros_are_not_prices() -> None:
    """`REGULAR` beside a time seven years old does not make it the running session's."""
    expected = Quote(
        symbol="OLD",
        source="yahoo",
        price=3.25,
        session=Session.CLOSED,
        received_at=utc(BATCH_AT),
        event_time=utc("2019-06-28T19:58:00"),
        currency="USD",
        volume=0.0,
    )
    assert read_batch(load("batch.json"), BATCH_AT, "OLD") == {"OLD": (expected,)}


def test_a_crossed_forex_book_is_kept_as_sent_and_forex_has_no_volume() -> None:
    """Whether to believe it is for the consensus to say."""
    (quotes,) = read_batch(load("batch.json"), BATCH_AT, "EURUSD").values()
    assert isinstance(quotes, tuple)
    (quote,) = quotes
    assert (quote.session, quote.bid, quote.ask, quote.volume) == (Session.REGULAR, 1.1052, 1.1047, None)


@pytest.mark.parametrize(
    ("state", "books"),
    [
        ("REGULAR", {Session.REGULAR}),
        ("PRE", set()),
        ("POST", {Session.POST}),
        ("POSTPOST", {Session.POST}),
        ("CLOSED", {Session.POST}),
    ],
)
def test_the_book_goes_with_the_session_that_is_live_or_was_last(state: str, books: set[Session]) -> None:
    """A live session without a print of its own leaves its book without a quote to go with."""
    payload = load("batch.json")
    record = payload["quoteResponse"]["result"][2]
    record |= {"marketState": state, "regularMarketTime": int(utc("2026-03-18T19:59:30").timestamp())}
    received_at = "2026-03-18T19:59:40" if state == "REGULAR" else BATCH_AT
    (quotes,) = read_batch(payload, received_at, "BRK.B").values()
    assert isinstance(quotes, tuple)
    assert {q.session for q in quotes if q.bid is not None} == books


@pytest.mark.parametrize(
    ("printed_at", "sessions"),
    [("2026-03-18T21:12:30", [Session.CLOSED, Session.POST]), ("2026-03-17T21:12:30", [Session.CLOSED])],
)
def test_an_extended_print_older_than_the_regular_price_is_no_quote(printed_at: str, sessions: list[Session]) -> None:
    """Yesterday evening's print says nothing once today's price is there."""
    payload = load("batch.json")
    payload["quoteResponse"]["result"][2]["postMarketTime"] = int(utc(printed_at).timestamp())
    (quotes,) = read_batch(payload, BATCH_AT, "BRK.B").values()
    assert isinstance(quotes, tuple)
    assert [q.session for q in quotes] == sessions


def test_a_pre_market_record_gives_the_print_without_a_day_of_its_own() -> None:
    """The day's figures and the previous close in the record are those of the session before."""
    payload = load("batch.json")
    record = payload["quoteResponse"]["result"][2]
    del record["postMarketPrice"]
    printed_at = utc("2026-03-19T12:30:05")
    record |= {"marketState": "PRE", "preMarketPrice": 483.0, "preMarketTime": int(printed_at.timestamp())}
    (quotes,) = read_batch(payload, "2026-03-19T12:30:09", "BRK.B").values()
    assert isinstance(quotes, tuple)
    assert quotes[1] == Quote(
        symbol="BRK.B",
        source="yahoo",
        price=483.0,
        session=Session.PRE,
        received_at=utc("2026-03-19T12:30:09"),
        event_time=printed_at,
        currency="USD",
        bid=481.0,
        ask=481.5,
    )
    assert (quotes[0].session, quotes[0].bid, quotes[0].previous_close) == (Session.CLOSED, None, 478.0)


def test_a_record_without_a_time_has_no_event_time() -> None:
    """The time of receipt is not put in its place."""
    payload = load("batch.json")
    record = payload["quoteResponse"]["result"][2]
    del record["regularMarketTime"], record["postMarketPrice"]
    (quotes,) = read_batch(payload, BATCH_AT, "BRK.B").values()
    assert isinstance(quotes, tuple)
    assert [(q.price, q.event_time, q.session) for q in quotes] == [(480.5, None, Session.CLOSED)]


def test_without_a_calendar_the_market_state_says_whether_the_session_runs() -> None:
    """Nothing in a batch record tells its hours."""
    payload = load("batch.json")
    record = payload["quoteResponse"]["result"][0]
    record |= {"symbol": "TEVA.TA", "currency": "ILA", "exchangeTimezoneName": "Asia/Jerusalem"}
    sessions = []
    for state in ("REGULAR", "CLOSED"):
        record["marketState"] = state
        (quotes,) = read_batch(payload, BATCH_AT, "TEVA.TA").values()
        assert isinstance(quotes, tuple)
        sessions += [quote.session for quote in quotes]
    assert sessions == [Session.REGULAR, Session.CLOSED]


def test_a_price_taken_from_a_second_record_of_the_same_symbol_is_never_served() -> None:
    """The first record of a symbol counts."""
    payload = load("batch.json")
    records = payload["quoteResponse"]["result"]
    records.append(records[2] | {"regularMarketPrice": 1.0})
    (quotes,) = read_batch(payload, BATCH_AT, "BRK.B").values()
    assert isinstance(quotes, tuple)
    assert quotes[0].price == 480.5


def test_an_after_hours_bar_not_newer_than_the_close_is_no_print() -> None:
    """The point stamped with the closing bell repeats the close."""
    payload = load("chart_quote_after_hours.json")
    chart = chart_of(payload)
    chart["timestamp"] = chart["timestamp"][:3]
    chart["indicators"]["quote"] = [{k: v[:3] for k, v in chart["indicators"]["quote"][0].items()}]
    quotes = read_chart(payload, "2026-03-18T20:00:30")
    assert [quote.event_time for quote in quotes] == [utc("2026-03-18T20:00:01")]


@pytest.mark.parametrize(
    ("name", "received_at"),
    [
        ("chart_quote_open.json", "2026-03-18T15:04:11"),
        ("chart_quote_after_hours.json", "2026-03-18T21:17:05"),
        ("chart_quote_before_open.json", "2026-03-19T12:42:30"),
    ],
)
def test_a_chart_whose_stamps_are_no_plain_whole_numbers_reads_the_same(name: str, received_at: str) -> None:
    """Rows are looked up by their stamps, in whichever of JSON's two spellings of a number these come."""
    payload, plain = load(name), read_chart(load(name), received_at)
    result = chart_of(payload)
    result["timestamp"] = [float(stamp) for stamp in result["timestamp"]]
    assert read_chart(payload, received_at) == plain
