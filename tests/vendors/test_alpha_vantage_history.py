"""What Alpha Vantage's series say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import HistoryQuery
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from vendors.vendor_exchanges import at, fixture, reply

NONE, SPLITS, ALL = Adjustment.NONE, Adjustment.SPLITS, Adjustment.ALL
LISTING = "the reply names no currency; it is that of the listing"
EVENING = "2026-08-20T22:00:00"


def query(
    interval: Interval = Interval.DAY_1, adjustment: Adjustment = NONE, symbol: str = "ACME", first: str = "2026-08-18"
) -> HistoryQuery:
    """Bars up to the twentieth of August."""
    return HistoryQuery(
        instrument=parse_symbol(symbol),
        interval=interval,
        first=date.fromisoformat(first),
        last=date(2026, 8, 20),
        adjustment=adjustment,
        extended_hours=False,
        now=at(EVENING),
    )


def read(content: Any, asked: HistoryQuery | None = None, received_at: str = EVENING) -> History:
    """What a reply says; a text is the name of a fixture."""
    assert ALPHA_VANTAGE.history is not None
    received = reply(fixture("alpha_vantage", content) if isinstance(content, str) else content, received_at)
    refuse_errors(ALPHA_VANTAGE, received)
    return ALPHA_VANTAGE.history.parse(asked or query(), received)


def table(*keys: str, name: str = "Time Series (Daily)", zone: str = "US/Eastern") -> dict[str, Any]:
    """A reply with one plain bar per key."""
    row = {"1. open": "10.0", "2. high": "12.0", "3. low": "9.0", "4. close": "11.0", "5. volume": "100"}
    return {"Meta Data": {"2. Symbol": "ACME", "6. Time Zone": zone}, name: {key: dict(row) for key in keys}}


NAMES = {
    Interval.MIN_1: "Time Series (1min)",
    Interval.MIN_5: "Time Series (5min)",
    Interval.DAY_1: "Time Series (Daily)",
    Interval.WEEK_1: "Weekly Time Series",
    Interval.MONTH_1: "Monthly Time Series",
}


def starts(history: History) -> list[str]:
    """The starts of a series' bars."""
    return [f"{bar.start:%Y-%m-%dT%H:%M}" for bar in history.bars]


def test_daily_bars_are_as_traded_and_oldest_first() -> None:
    """A split shows as a jump, as it was."""
    assert read("daily.json") == History(
        symbol="ACME",
        source="alpha_vantage",
        interval=Interval.DAY_1,
        adjustment=NONE,
        timezone="America/New_York",
        received_at=at(EVENING),
        bars=(
            Bar(at("2026-08-18"), 404.0, 416.0, 400.0, 412.0, 1000.0),
            Bar(at("2026-08-19"), 412.0, 420.0, 408.0, 416.0, 1100.0),
            Bar(at("2026-08-20"), 104.0, 106.0, 103.0, 105.0, 4000.0),
        ),
        currency="USD",
        notes=(LISTING,),
    )


def test_split_adjusted_bars_are_divided_by_all_later_splits() -> None:
    """Not by dividends; volumes are multiplied, and a dividend is told per share of today."""
    history = read("daily_adjusted.json", query(adjustment=SPLITS))
    assert history.bars == (
        Bar(at("2026-08-18"), 101.0, 104.0, 100.0, 103.0, 4000.0),
        Bar(at("2026-08-19"), 103.0, 105.0, 102.0, 104.0, 4400.0),
        Bar(at("2026-08-20"), 104.0, 106.0, 103.0, 105.0, 4000.0),
    )
    assert history.adjustment is SPLITS
    assert history.splits == (Split(date(2026, 8, 20), 4.0),)
    assert history.dividends == (Dividend(date(2026, 8, 19), 2.0),)


def test_fully_adjusted_bars_are_scaled_to_the_adjusted_close() -> None:
    """Open, high and low by the same ratio."""
    history = read("daily_adjusted.json", query(adjustment=ALL))
    assert history.bars == (
        Bar(at("2026-08-18"), 50.5, 52.0, 50.0, 51.5, 4000.0),
        Bar(at("2026-08-19"), 103.0, 105.0, 102.0, 104.0, 4400.0),
        Bar(at("2026-08-20"), 104.0, 106.0, 103.0, 105.0, 4000.0),
    )
    assert history.adjustment is ALL


def test_a_split_after_the_range_still_counts() -> None:
    """The series reaches to today, and prices are per share of today."""
    history = read("daily_adjusted.json", replace(query(adjustment=SPLITS), last=date(2026, 8, 18)))
    assert history.bars == (Bar(at("2026-08-18"), 101.0, 104.0, 100.0, 103.0, 4000.0),)
    assert history.splits == (Split(date(2026, 8, 20), 4.0),)


def test_events_before_the_range_are_left_out() -> None:
    """The dividend fell a day earlier."""
    history = read("daily_adjusted.json", query(adjustment=SPLITS, first="2026-08-20"))
    assert (starts(history), history.dividends) == (["2026-08-20T00:00"], ())
    assert history.splits == (Split(date(2026, 8, 20), 4.0),)


def test_two_splits_multiply() -> None:
    """Each one divides everything before it."""
    body = fixture("alpha_vantage", "daily_adjusted.json")
    body["Time Series (Daily)"]["2026-08-19"]["8. split coefficient"] = "0.5"
    history = read(body, query(adjustment=SPLITS))
    assert [bar.close for bar in history.bars] == [206.0, 104.0, 105.0]
    assert history.splits == (Split(date(2026, 8, 19), 0.5), Split(date(2026, 8, 20), 4.0))


def test_weeks_are_dated_by_their_monday() -> None:
    """Theirs are dated by the last trading day; the running week is not over."""
    history = read("weekly_adjusted.json", query(Interval.WEEK_1, ALL, first="2026-08-12"))
    assert history.bars == (
        Bar(at("2026-08-10"), 48.0, 52.0, 46.0, 50.0, 8000.0),
        Bar(at("2026-08-17"), 100.0, 106.0, 98.0, 105.0, 9000.0),
    )
    assert history.partial_last_bar is True
    assert history.notes == (LISTING, "volumes are as traded, not adjusted for splits")


def test_months_are_dated_by_their_first_day() -> None:
    """As traded there is nothing to say about volumes."""
    body = table("2026-07-31", "2026-06-30", name="Monthly Time Series")
    history = read(body, query(Interval.MONTH_1, first="2026-07-15"))
    assert (starts(history), history.partial_last_bar, history.notes) == (["2026-07-01T00:00"], False, (LISTING,))


@pytest.mark.parametrize(
    ("interval", "key", "received_at", "partial"),
    [
        (Interval.DAY_1, "2026-08-20", "2026-08-20T19:59:59", True),
        (Interval.DAY_1, "2026-08-20", "2026-08-20T20:00:00", False),
        (Interval.WEEK_1, "2026-08-20", "2026-08-21T19:59:59", True),
        (Interval.WEEK_1, "2026-08-20", "2026-08-21T20:00:00", False),
        (Interval.MONTH_1, "2026-08-20", "2026-08-31T19:59:59", True),
        (Interval.MONTH_1, "2026-08-20", "2026-08-31T20:00:00", False),
        (Interval.MIN_5, "2026-08-20 11:00:00", "2026-08-20T15:04:59", True),
        (Interval.MIN_5, "2026-08-20 11:00:00", "2026-08-20T15:05:00", False),
    ],
)
def test_a_bar_is_partial_until_its_period_is_over(
    interval: Interval, key: str, received_at: str, *, partial: bool
) -> None:
    """A week ends with its last session, a month with its own."""
    body = table(key, name=NAMES[interval])
    assert read(body, query(interval), received_at).partial_last_bar is partial


@pytest.mark.parametrize("name", [*NAMES.values(), "Time Series FX (Daily)", "Time Series (Digital Currency Daily)"])
@pytest.mark.parametrize("interval", NAMES)
def test_a_series_of_other_bars_or_of_another_kind_is_refused(interval: Interval, name: str) -> None:
    """The name of the table says what is in it."""
    stamp = "2026-08-20 11:00:00" if interval.is_intraday else "2026-08-20"
    body = table(stamp, name=name)
    if name == NAMES[interval]:
        assert read(body, query(interval)).interval is interval
        return
    with pytest.raises(SourceError) as raised:
        read(body, query(interval))
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


@pytest.mark.parametrize(("received_at", "partial"), [("2026-08-20T23:59:59", True), ("2026-08-21T00:00:00", False)])
@pytest.mark.parametrize(
    ("name", "symbol", "close", "volume"),
    [("fx_daily.json", "EURUSD", 1.2125, None), ("digital_currency_daily.json", "BTC-USD", 81250.0, 512.25)],
)
def test_days_of_pairs_are_those_of_utc(
    name: str, symbol: str, close: float, volume: float | None, received_at: str, *, partial: bool
) -> None:
    """Nothing is adjusted, on whatever basis it is asked."""
    history = read(name, query(adjustment=SPLITS, symbol=symbol), received_at)
    assert starts(history) == ["2026-08-19T00:00", "2026-08-20T00:00"]
    assert (history.bars[-1].close, history.bars[-1].volume) == (close, volume)
    assert (history.adjustment, history.currency, history.partial_last_bar) == (SPLITS, "USD", partial)
    assert history.notes == ("the source's days begin and end at 00:00 UTC",)


def test_the_older_crypto_labels_are_read_in_the_markets_currency() -> None:
    """Every price stood there twice."""
    body = fixture("alpha_vantage", "digital_currency_daily.json")
    body["Meta Data"]["4. Market Code"] = "EUR"
    figures = {"open": "70.0", "high": "80.0", "low": "60.0", "close": "75.0"}
    row = {f"{n}a. {word} (EUR)": value for n, (word, value) in enumerate(figures.items(), start=1)}
    row |= {f"{n}b. {word} (USD)": "1.0" for n, word in enumerate(figures, start=1)}
    body["Time Series (Digital Currency Daily)"] = {"2026-08-20": row | {"5. volume": "3.5"}}
    assert read(body, query(symbol="BTC-EUR")).bars == (Bar(at("2026-08-20"), 70.0, 80.0, 60.0, 75.0, 3.5),)


def test_intraday_times_are_new_yorks_and_only_regular_hours_are_kept() -> None:
    """An hour that begins before the open holds its first half hour."""
    history = read("intraday.json", query(Interval.HOUR_1, ALL))
    assert starts(history) == ["2026-08-20T13:00", "2026-08-20T19:00"]
    assert (history.adjustment, history.extended_hours) == (ALL, False)


def test_extended_hours_are_kept_when_asked() -> None:
    """And the series says so."""
    history = read("intraday.json", replace(query(Interval.HOUR_1), extended_hours=True))
    assert starts(history) == ["2026-08-20T12:00", "2026-08-20T13:00", "2026-08-20T19:00", "2026-08-20T20:00"]
    assert (history.adjustment, history.extended_hours) == (NONE, True)


def test_new_york_is_five_hours_behind_in_winter() -> None:
    """Times have no zone of their own."""
    asked = replace(query(Interval.MIN_1, first="2026-01-20"), last=date(2026, 1, 20))
    body = table("2026-01-20 09:30:00", name=NAMES[Interval.MIN_1])
    assert starts(read(body, asked)) == ["2026-01-20T14:30"]


def test_days_beyond_the_range_are_left_out() -> None:
    """Compact series hold a hundred days, whatever was asked."""
    keys = ("2026-08-17", "2026-08-18", "2026-08-20", "2026-08-21")
    assert starts(read(table(*keys))) == ["2026-08-18T00:00", "2026-08-20T00:00"]


def test_a_row_of_zeros_is_no_bar() -> None:
    """Its day is told."""
    body = table("2026-08-18", "2026-08-19")
    body["Time Series (Daily)"]["2026-08-19"]["1. open"] = "0.0000"
    history = read(body)
    assert (starts(history), history.null_rows) == (["2026-08-18T00:00"], (at("2026-08-19"),))


def test_a_decorated_key_is_understood() -> None:
    """Premium keys see the same table under another key."""
    body = table("2026-08-18", name="Time Series (Daily) - DATA DELAYED BY 15 MINUTES")
    assert starts(read(body)) == ["2026-08-18T00:00"]


def test_a_listing_abroad_has_its_own_calendar_and_currency() -> None:
    """Its symbol is theirs in the reply."""
    body = table("2026-08-20")
    body["Meta Data"]["2. Symbol"] = "ACME.TRV"
    history = read(body, query(symbol="ACME.V"), "2026-08-20T22:00:00")
    assert (history.symbol, history.currency, history.partial_last_bar) == ("ACME.V", "CAD", True)


def _changed(name: str, label: str, value: Any) -> Any:
    body = fixture("alpha_vantage", name)
    body["Time Series (Daily)"]["2026-08-19"][label] = value
    return body


@pytest.mark.parametrize(
    ("body", "adjustment", "kind"),
    [
        ({}, NONE, FailureKind.NO_DATA),
        (table(), NONE, FailureKind.NO_DATA),
        (table("2026-08-24"), NONE, FailureKind.NO_DATA),
        ({"Meta Data": {"2. Symbol": "ACME"}}, NONE, FailureKind.MALFORMED_REPLY),
        ({"Time Series (Daily)": {}}, NONE, FailureKind.MALFORMED_REPLY),
        (table("2026-08-19") | {"Meta Data": {"2. Symbol": "ACNE"}}, NONE, FailureKind.MALFORMED_REPLY),
        (table("August"), NONE, FailureKind.MALFORMED_REPLY),
        (_changed("daily.json", "4. close", "NaN"), NONE, FailureKind.MALFORMED_REPLY),
        (_changed("daily.json", "4. close", None), NONE, FailureKind.MALFORMED_REPLY),
        (_changed("daily.json", "4. close", "-1.0"), NONE, FailureKind.MALFORMED_REPLY),
        (fixture("alpha_vantage", "daily.json"), ALL, FailureKind.MALFORMED_REPLY),
        (fixture("alpha_vantage", "daily.json"), SPLITS, FailureKind.MALFORMED_REPLY),
        (_changed("daily_adjusted.json", "8. split coefficient", "0.0"), SPLITS, FailureKind.MALFORMED_REPLY),
        (_changed("daily_adjusted.json", "8. split coefficient", "x"), ALL, FailureKind.MALFORMED_REPLY),
        ({"Information": "This is a premium endpoint."}, ALL, FailureKind.NOT_ENTITLED),
        ({"Error Message": "Invalid API call."}, NONE, FailureKind.UNKNOWN_SYMBOL),
    ],
)
def test_a_reply_without_bars_is_a_failure_with_its_reason(
    body: Any, adjustment: Adjustment, kind: FailureKind
) -> None:
    """Raw rows are never passed off as adjusted ones."""
    with pytest.raises(SourceError) as raised:
        read(body, query(adjustment=adjustment))
    assert raised.value.kind is kind


def test_intraday_times_of_another_zone_are_refused() -> None:
    """They would move every bar."""
    with pytest.raises(SourceError) as raised:
        read(table("2026-08-20 11:00:00", zone="UTC", name=NAMES[Interval.MIN_1]), query(Interval.MIN_1))
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


@pytest.mark.parametrize(("name", "symbol"), [("fx_daily.json", "EURGBP"), ("digital_currency_daily.json", "ETH-USD")])
def test_a_series_of_another_pair_is_refused(name: str, symbol: str) -> None:
    """Both currencies are compared."""
    with pytest.raises(SourceError) as raised:
        read(name, query(symbol=symbol))
    assert raised.value.kind is FailureKind.MALFORMED_REPLY
