"""Polygon's bars and closes of days: stamps, bases, pages, and rows that are not of the question."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval, Quote, Session
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery, QuoteReading, Request
from mdagent_mcp.vendors.polygon import POLYGON
from mdagent_mcp.vendors.polygon_days import DayQuery
from mdagent_mcp.vendors.polygon_history import AskedQuery
from vendors.vendor_exchanges import FIXTURES, at, failure_of, fixture, quotes_of, reply

AT = "2026-08-20T23:00:00"
LISTING = "the reply names no currency; it is that of the listing"
BASIC = POLYGON.offering(POLYGON.plans["basic"].offers)


def ask(
    symbol: str = "ACME",
    interval: Interval = Interval.DAY_1,
    first: str = "2026-08-17",
    last: str = "2026-08-20",
    *,
    adjustment: Adjustment = Adjustment.SPLITS,
    extended_hours: bool = False,
) -> HistoryQuery:
    """A question for bars."""
    days = (date.fromisoformat(first), date.fromisoformat(last))
    return HistoryQuery(parse_symbol(symbol), interval, *days, adjustment, extended_hours, at(AT))


MINUTES = ask(interval=Interval.MIN_5, first="2026-08-20")


def read(query: HistoryQuery, content: Any, received_at: str = AT) -> History:
    """What a page says."""
    assert POLYGON.history is not None
    return POLYGON.history.parse(query, reply(content, received_at))


def refused(query: HistoryQuery, content: Any, received_at: str = AT) -> FailureKind:
    """Why a page is refused."""
    with pytest.raises(SourceError) as raised:
        read(query, content, received_at)
    return raised.value.kind


def page(*rows: dict[str, Any], ticker: str = "ACME", **more: Any) -> dict[str, Any]:
    """A page of rows."""
    return {"ticker": ticker, "status": "OK", "resultsCount": len(rows), "results": list(rows)} | more


def row(stamp: str, close: float = 10.0, **more: Any) -> dict[str, Any]:
    """A row of one price."""
    t = int(at(stamp).timestamp() * 1000)
    return {"t": t, "o": close, "h": close, "l": close, "c": close, "v": 100.0} | more


def starts(history: History) -> list[str]:
    """When bars begin."""
    return [f"{bar.start:%Y-%m-%d %H:%M}" for bar in history.bars]


def test_bars_of_days_are_dated_by_midnight_in_new_york() -> None:
    """Volumes come as exponents and with fractions."""
    history = read(ask(), fixture("polygon", "bars_day.json"))
    assert starts(history) == ["2026-08-17 00:00", "2026-08-18 00:00", "2026-08-19 00:00", "2026-08-20 00:00"]
    assert history.bars[2] == Bar(at("2026-08-19T00:00:00"), 122.9, 124.0, 122.5, 123.4, 20123456.5)
    assert replace(history, bars=()) == History(
        symbol="ACME",
        source="polygon",
        interval=Interval.DAY_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=at(AT),
        bars=(),
        currency="USD",
        notes=(LISTING,),
    )


def test_midnight_in_new_york_follows_summer_time() -> None:
    """04:00 UTC in summer, 05:00 in winter."""
    rows = (row("2026-03-06T05:00:00"), row("2026-03-09T04:00:00"))
    assert starts(read(ask(first="2026-03-06", last="2026-03-09"), page(*rows))) == [
        "2026-03-06 00:00",
        "2026-03-09 00:00",
    ]


def test_the_day_of_today_is_partial_until_the_feed_has_reached_its_close() -> None:
    """A delayed feed reaches it a quarter of an hour later."""
    content = fixture("polygon", "bars_day.json")
    assert read(ask(), content, "2026-08-20T19:59:00").partial_last_bar is True
    assert read(ask(), content, "2026-08-20T20:01:00").partial_last_bar is False
    late = read(ask(), content | {"status": "DELAYED"}, "2026-08-20T20:01:00")
    assert (late.partial_last_bar, late.notes) == (True, (LISTING, "the reply is marked as delayed"))
    assert read(ask(), content | {"status": "DELAYED"}, "2026-08-20T20:16:00").partial_last_bar is False


def test_minutes_outside_regular_hours_are_dropped_unless_they_are_asked() -> None:
    """The vendor sends them all, from 04:00 to 20:00."""
    content = fixture("polygon", "bars_minute.json")
    regular = read(MINUTES, content)
    assert starts(regular) == ["2026-08-20 13:30", "2026-08-20 13:35", "2026-08-20 15:25"]
    assert (regular.extended_hours, regular.bars[0].volume) == (False, 90000.5)
    every = read(replace(MINUTES, extended_hours=True), content)
    assert (starts(every)[0], starts(every)[-1], every.extended_hours) == ("2026-08-20 13:25", "2026-08-20 20:05", True)


def test_a_bar_that_has_not_ended_is_partial() -> None:
    """Also for a feed that is behind."""
    content = page(row("2026-08-20T15:25:00"))
    assert read(MINUTES, content, "2026-08-20T15:27:00").partial_last_bar is True
    assert read(MINUTES, content, "2026-08-20T15:31:00").partial_last_bar is False
    assert read(MINUTES, content | {"status": "DELAYED"}, "2026-08-20T15:31:00").partial_last_bar is True


def test_the_hour_of_the_opening_is_told() -> None:
    """Hours are cut at the clock, so the first holds the end of the early trading."""
    history = read(ask(interval=Interval.HOUR_1, first="2026-08-20"), page(row("2026-08-20T13:00:00")))
    assert history.notes == (LISTING, "the hour from 09:00 holds the last half hour before the open too")


def test_a_week_begins_with_its_first_trading_date() -> None:
    """It is stamped on Sunday; a week of a holiday begins on Tuesday."""
    rows = (row("2026-09-06T04:00:00"), row("2026-09-13T04:00:00"))
    query = ask(interval=Interval.WEEK_1, first="2026-09-09", last="2026-09-18")
    assert starts(read(query, page(*rows), "2026-09-25T12:00:00")) == ["2026-09-08 00:00", "2026-09-14 00:00"]
    months = ask(interval=Interval.MONTH_1, first="2026-08-05", last="2026-08-20")
    history = read(months, page(row("2026-08-01T04:00:00")))
    assert (starts(history), history.partial_last_bar) == (["2026-08-03 00:00"], True)


def test_days_of_currencies_are_those_of_utc_without_their_stubs() -> None:
    """A Sunday holds the first hours of Monday's trading; its volume is a count of quotes."""
    rows = (row("2026-08-16T00:00:00", 1.16), row("2026-08-17T00:00:00", 1.161), row("2026-08-18T00:00:00", 1.162))
    history = read(ask("EURUSD", first="2026-08-16"), page(*rows, ticker="C:EURUSD"))
    assert starts(history) == ["2026-08-17 00:00", "2026-08-18 00:00"]
    assert [bar.volume for bar in history.bars] == [None, None]
    assert history.notes == ("rows of days without a session, such as the first hours of a Sunday, are left out",)


def test_hours_of_currencies_belong_to_the_forex_day() -> None:
    """It begins at 17:00 New York the evening before."""
    query = ask("EURUSD", Interval.HOUR_1, "2026-08-20")
    rows = (row("2026-08-19T21:00:00", 1.16), row("2026-08-20T20:00:00", 1.16))
    assert len(read(query, page(*rows, ticker="C:EURUSD")).bars) == 2
    assert refused(query, page(row("2026-08-19T19:00:00", 1.16), ticker="C:EURUSD")) is FailureKind.MALFORMED_REPLY


def test_days_of_crypto_are_those_of_utc() -> None:
    """With a volume of their own, and weekends."""
    history = read(ask("BTC-USD", first="2026-08-15"), page(row("2026-08-15T00:00:00", 62000.0), ticker="X:BTCUSD"))
    assert (starts(history), history.bars[0].volume, history.timezone) == (["2026-08-15 00:00"], 100.0, "UTC")


def test_an_index_has_no_volume_and_is_stamped_in_chicago() -> None:
    """Midnight there is one o'clock in New York, of the same date."""
    content = page(row("2026-08-19T05:00:00", 7000.0), ticker="I:SPX")
    del content["results"][0]["v"]
    history = read(ask("^GSPC"), content)
    assert (starts(history), history.bars[0].volume, history.currency) == (["2026-08-19 00:00"], None, None)


@pytest.mark.parametrize(
    "spoilt",
    [
        page(row("2026-08-19T04:00:00", T="X:BTCUSD")),
        page(row("2026-08-19T04:00:00"), ticker="BOLT"),
        page(row("2017-08-18T04:00:00"), row("2026-08-19T04:00:00")),
        page(row("2026-08-21T04:00:00")),
        page(row("2026-08-19T04:00:00")) | {"resultsCount": 2},
        page(row("2026-08-19T04:00:00"), adjusted=False),
        page(row("2026-08-19T04:00:00", t=None)),
        page(row("2026-08-19T04:00:00", v=-1)),
        page(row("2026-08-19T04:00:00", t=1787112000)),
    ],
)
def test_rows_that_are_not_of_the_question_spoil_the_reply(spoilt: dict[str, Any]) -> None:
    """Of another symbol, year or basis, miscounted, or without a time: each came with status 200."""
    assert refused(ask(), spoilt) is FailureKind.MALFORMED_REPLY


def test_minutes_of_another_day_spoil_the_reply() -> None:
    """Such rows were seen in a reply about one day."""
    rows = (row("2026-08-19T15:25:00"), row("2026-08-20T15:25:00"))
    assert refused(MINUTES, page(*rows)) is FailureKind.MALFORMED_REPLY


def test_the_basis_of_the_reply_is_the_one_asked() -> None:
    """As traded when that was asked; a pair is the same on every basis."""
    content = page(row("2026-08-19T04:00:00"), adjusted=False)
    assert read(ask(adjustment=Adjustment.NONE), content).adjustment is Adjustment.NONE
    assert refused(ask(adjustment=Adjustment.NONE), content | {"adjusted": True}) is FailureKind.MALFORMED_REPLY
    pair = page(row("2026-08-19T00:00:00"), ticker="X:BTCUSD", adjusted=True)
    assert read(ask("BTC-USD", adjustment=Adjustment.NONE), pair).adjustment is Adjustment.NONE


def test_a_recorded_range_that_is_not_told_bounds_nothing() -> None:
    """Documentation writes none."""
    query = AskedQuery(
        parse_symbol("ACME"),
        Interval.DAY_1,
        date(1970, 1, 2),
        date(2026, 8, 20),
        Adjustment.SPLITS,
        extended_hours=False,
        now=at(AT),
        bounded=False,
    )
    assert starts(read(query, page(row("2026-08-19T04:00:00")))) == ["2026-08-19 00:00"]
    later = page(row("2026-08-21T04:00:00"))
    assert refused(query, later) is FailureKind.NO_DATA
    assert refused(replace(query, bounded=True), later) is FailureKind.MALFORMED_REPLY


@pytest.mark.parametrize("results", [None, [], "absent"])
def test_no_results_are_no_data(results: Any) -> None:
    """Null, empty or missing; with a count beside them they are a mishap that heals."""
    content: dict[str, Any] = {"ticker": "ACME", "status": "OK", "resultsCount": 0}
    content |= {} if results == "absent" else {"results": results}
    assert refused(ask(), content) is FailureKind.NO_DATA
    assert refused(ask(), content | {"resultsCount": 3}) is FailureKind.SOURCE_ERROR


def test_rows_without_prices_are_told_and_order_is_ours() -> None:
    """Zeros are no prices; a reply that was sorted the other way is turned."""
    rows = (row("2026-08-20T04:00:00"), row("2026-08-19T04:00:00", 0.0), row("2026-08-18T04:00:00"))
    history = read(ask(), page(*rows))
    assert starts(history) == ["2026-08-18 00:00", "2026-08-20 00:00"]
    assert history.null_rows == (at("2026-08-19T00:00:00"),)


def follow(link: Any, query: HistoryQuery = MINUTES) -> Request | None:
    """Where a page's link leads."""
    assert POLYGON.history is not None
    assert POLYGON.history.next_page is not None
    body = json.dumps(page(row("2026-08-20T15:25:00")) | {"next_url": link}).encode()
    return POLYGON.history.next_page(query, reply(body, AT))


PATH = "/v2/aggs/ticker/ACME/range/5/minute/1787257500000/1787284799999"


def test_the_next_page_is_asked_by_path_and_query_on_our_own_host() -> None:
    """Whatever host and key the link carries; escaped signs are read."""
    assert POLYGON.history is not None
    assert POLYGON.history.next_page is not None
    received = reply(fixture_bytes("bars_minute.json"), AT)
    asked = POLYGON.history.next_page(MINUTES, received)
    assert asked == Request(PATH, (("cursor", "bGltaXQ9NQ"), ("limit", "50000")))
    assert follow(f"https://evil.example/polygon{PATH}?cursor=x") == Request(PATH, (("cursor", "x"),))
    assert POLYGON.history.next_page(MINUTES, reply(page(), AT)) is None


def fixture_bytes(name: str) -> bytes:
    """A fixture as it stands on the disk."""
    return (FIXTURES / "polygon" / name).read_bytes()


@pytest.mark.parametrize(
    "link",
    [
        "https://api.massive.com/v2/aggs/ticker/BOLT/range/5/minute/1/2?cursor=x",
        "https://api.massive.com/v2/aggs/ticker/ACME/range/1/day/1/2?cursor=x",
        "https://api.massive.com/v3/reference/tickers?cursor=x",
        "http://[bad",
        17,
    ],
)
def test_a_link_to_another_series_is_refused_and_not_followed(link: Any) -> None:
    """Its rows would be taken for ours."""
    assert follow(link) is None
    assert refused(MINUTES, page(row("2026-08-20T15:25:00")) | {"next_url": link}) is FailureKind.MALFORMED_REPLY


def previous(content: Any, symbol: str = "ACME", received_at: str = "2026-08-20T15:00:00") -> tuple[Quote, ...]:
    """What the bar of the previous day says."""
    instrument = parse_symbol(symbol)
    received = reply(content, received_at)
    return quotes_of(BASIC.quote.parse(QuoteQuery((instrument,), received.received_at), received), symbol)


def test_the_previous_day_is_an_official_close_at_the_close() -> None:
    """Its row is stamped at 16:00 New York, not at midnight."""
    assert previous(fixture("polygon", "previous.json")) == (
        Quote(
            symbol="ACME",
            source="polygon",
            price=123.4,
            session=Session.CLOSED,
            received_at=at("2026-08-20T15:00:00"),
            event_time=at("2026-08-19T20:00:00"),
            currency="USD",
            open=122.9,
            high=124.0,
            low=122.5,
            volume=20123456.5,
            notes=(LISTING,),
        ),
    )


def test_a_half_day_closed_before_its_row_is_stamped() -> None:
    """The stamp is always 16:00; the day after Thanksgiving ends at 13:00."""
    content = page(row("2026-11-27T21:00:00", T="ACME"))
    (quote,) = previous(content, received_at="2026-11-28T15:00:00")
    assert (quote.event_time, quote.event_time_resolution_s) == (at("2026-11-27T18:00:00"), 86400.0)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (page(), FailureKind.UNKNOWN_SYMBOL),
        (page(row("2026-08-19T20:00:00", T="BOLT")), FailureKind.MALFORMED_REPLY),
        (page(row("2026-08-19T20:00:00"), row("2026-08-18T20:00:00")), FailureKind.MALFORMED_REPLY),
        (page(row("2026-08-19T20:00:00", 0.0)), FailureKind.NO_DATA),
        (page(row("2026-08-19T20:00:00", t=None)), FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_previous_day_that_is_none_is_refused(content: Any, kind: FailureKind) -> None:
    """No bar, another symbol, several bars, no price, no time."""
    with pytest.raises(SourceError) as raised:
        previous(content)
    assert raised.value.kind is kind


def grouped(content: Any, *symbols: str, day: date | None = None, now: str = "2026-08-20T15:00:00") -> QuoteReading:
    """What a day of the whole market says."""
    assert BASIC.quotes is not None
    instruments, received = tuple(map(parse_symbol, symbols)), reply(content, now)
    plain = QuoteQuery(instruments, received.received_at)
    query = plain if day is None else DayQuery(instruments, received.received_at, day)
    return BASIC.quotes.parse(query, received)


def test_a_day_of_the_whole_market_answers_for_the_symbols_asked() -> None:
    """One call however many they are; a symbol that did not trade has no row."""
    reading = grouped(fixture("polygon", "grouped.json"), "ACME", "BOLT.B", "GONE")
    closes = {s: quotes_of(reading, s)[0] for s in ("ACME", "BOLT.B")}
    assert {s: (q.price, q.volume, q.event_time) for s, q in closes.items()} == {
        "ACME": (123.4, 20123456.5, at("2026-08-19T20:00:00")),
        "BOLT.B": (10.1, 7000.25, at("2026-08-19T20:00:00")),
    }
    assert failure_of(reading, "GONE").kind is FailureKind.NO_DATA


def test_a_row_of_another_day_is_refused_alone() -> None:
    """Such rows have leaked into replies; so has a symbol twice."""
    content = fixture("polygon", "grouped.json")
    content["results"][1]["t"] = int(datetime.fromisoformat("2017-08-18T20:00:00+00:00").timestamp() * 1000)
    reading = grouped(content, "ACME", "BOLT.B")
    assert quotes_of(reading, "ACME")[0].price == 123.4
    assert failure_of(reading, "BOLT.B").kind is FailureKind.MALFORMED_REPLY
    content["results"].append(content["results"][0])
    assert failure_of(grouped(content, "ACME"), "ACME").kind is FailureKind.MALFORMED_REPLY


def test_a_reply_about_another_day_says_so() -> None:
    """Its prices have their own date."""
    reading = grouped(fixture("polygon", "grouped.json"), "ACME", day=date(2026, 8, 18))
    (quote,) = quotes_of(reading, "ACME")
    assert (quote.event_time, quote.notes[-1]) == (
        at("2026-08-19T20:00:00"),
        "the reply is about 2026-08-19, not 2026-08-18",
    )


def test_a_day_without_trading_is_no_data() -> None:
    """A weekend has status 200 and no rows."""
    with pytest.raises(SourceError) as raised:
        grouped({"status": "OK", "queryCount": 0, "resultsCount": 0, "adjusted": True}, "ACME")
    assert raised.value.kind is FailureKind.NO_DATA
