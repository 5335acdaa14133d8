"""Bars of Twelve Data: which are asked for, and what a series says."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, RecordedUrl, Request
from mdagent_mcp.vendors.twelve_data import TWELVE_DATA
from vendors.vendor_exchanges import at, fixture, reply

EVENING = "2026-08-20T22:00:00"
NOW = at(EVENING)
CODES = ("1min", "5min", "15min", "30min", "1h", "1day", "1week", "1month")


def query(
    interval: Interval = Interval.DAY_1, first: str = "2026-08-18", last: str = "2026-08-20", symbol: str = "ACME"
) -> HistoryQuery:
    """Bars of a range, adjusted for splits."""
    return HistoryQuery(
        instrument=parse_symbol(symbol),
        interval=interval,
        first=date.fromisoformat(first),
        last=date.fromisoformat(last),
        adjustment=Adjustment.SPLITS,
        extended_hours=False,
        now=NOW,
    )


def read(content: Any, asked: HistoryQuery | None = None, received_at: str = EVENING) -> History:
    """What a reply says."""
    assert TWELVE_DATA.history is not None
    return TWELVE_DATA.history.parse(asked or query(), reply(content, received_at))


def series(code: str, *moments: str, **meta: Any) -> dict[str, Any]:
    """A reply with one plain bar per moment."""
    told = fixture("twelve_data", "daily.json")["meta"] | {"interval": code} | meta
    bar = {"open": "10.00", "high": "12.00", "low": "9.00", "close": "11.00", "volume": "100"}
    return {"meta": told, "values": [{"datetime": moment} | bar for moment in moments], "status": "ok"}


def starts(history: History) -> list[str]:
    """The starts of a series' bars."""
    return [f"{bar.start:%Y-%m-%dT%H:%M}" for bar in history.bars]


def test_a_daily_series_is_turned_oldest_first() -> None:
    """Numbers come as text; dates are the exchange's."""
    assert read(fixture("twelve_data", "daily.json")) == History(
        symbol="ACME",
        source="twelve_data",
        interval=Interval.DAY_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=NOW,
        bars=(
            Bar(at("2026-08-18"), 1052.0, 1063.0, 1050.0, 1060.5, 1200000.0),
            Bar(at("2026-08-19"), 1053.5, 1064.0, 1049.0, 1059.0, 1100000.0),
            Bar(at("2026-08-20"), 1058.0, 1061.25, 1044.0, 1048.75, 845120.0),
        ),
        currency="USD",
    )


def test_the_basis_asked_for_is_the_basis_told() -> None:
    """The vendor adjusts as it is asked."""
    for adjustment in Adjustment:
        asked = replace(query(), adjustment=adjustment)
        assert read(fixture("twelve_data", "daily.json"), asked).adjustment is adjustment


@pytest.mark.parametrize(
    ("interval", "moment", "received_at", "partial"),
    [
        (Interval.DAY_1, "2026-08-20", "2026-08-20T19:59:59", True),
        (Interval.DAY_1, "2026-08-20", "2026-08-20T20:00:00", False),
        (Interval.WEEK_1, "2026-08-17", "2026-08-21T19:59:59", True),
        (Interval.WEEK_1, "2026-08-17", "2026-08-21T20:00:00", False),
        (Interval.MONTH_1, "2026-08-01", "2026-08-31T19:59:59", True),
        (Interval.MONTH_1, "2026-08-01", "2026-08-31T20:00:00", False),
        (Interval.MIN_5, "2026-08-20 15:00:00", "2026-08-20T15:04:59", True),
        (Interval.MIN_5, "2026-08-20 15:00:00", "2026-08-20T15:05:00", False),
        (Interval.HOUR_1, "2026-08-20 19:30:00", "2026-08-20T19:59:59", True),
        (Interval.HOUR_1, "2026-08-20 19:30:00", "2026-08-20T20:00:00", False),
    ],
)
def test_a_bar_is_partial_until_its_period_is_over(
    interval: Interval, moment: str, received_at: str, *, partial: bool
) -> None:
    """The vendor sends the running bar as if it were finished; the last hour ends with the session."""
    body = series(CODES[list(Interval).index(interval)], moment)
    assert read(body, query(interval), received_at).partial_last_bar is partial


def test_a_forex_day_is_one_of_utc() -> None:
    """It is over at midnight."""
    asked = query(symbol="EURUSD")
    body = series("1day", "2026-08-20", symbol="EUR/USD", mic_code=None, currency=None)
    history = read(body, asked, "2026-08-20T23:59:59")
    assert (history.partial_last_bar, history.currency, history.bars[0].volume) == (True, "USD", None)
    assert read(body, asked, "2026-08-21T00:00:00").partial_last_bar is False


def test_intraday_bars_outside_regular_trading_are_left_out() -> None:
    """Unless they were asked for, and then the series says so."""
    moments = [f"2026-08-20 {hour}:00" for hour in ("12:30", "13:30", "19:30", "20:30")]
    history = read(series("30min", *moments), query(Interval.MIN_30))
    assert (starts(history), history.extended_hours) == (["2026-08-20T13:30", "2026-08-20T19:30"], False)
    asked = replace(query(Interval.MIN_30), extended_hours=True)
    history = read(series("30min", *moments), asked)
    assert (len(history.bars), history.extended_hours, history.notes) == (4, True, ())


def test_an_extended_series_without_extended_bars_says_so() -> None:
    """Smaller plans are sent regular hours without a word."""
    history = read(series("1h", "2026-08-20 13:30:00"), replace(query(Interval.HOUR_1), extended_hours=True))
    assert history.extended_hours is False
    assert history.notes == ("no bars outside regular hours were sent; they need the Pro plan",)


def test_bars_beyond_the_range_are_left_out() -> None:
    """Days by the exchange's date, weeks and months where they overlap."""
    assert starts(read(series("1day", "2026-08-17", "2026-08-18", "2026-08-21"))) == ["2026-08-18T00:00"]
    assert starts(read(series("1week", "2026-08-10", "2026-08-17", "2026-08-24"), query(Interval.WEEK_1))) == [
        "2026-08-17T00:00"
    ]
    nights = ("2026-08-19 23:00:00", "2026-08-20 23:00:00", "2026-08-21 01:00:00", "2026-08-21 22:00:00")
    asked = query(Interval.HOUR_1, "2026-08-21", "2026-08-21", "EURUSD")
    assert starts(read(series("1h", *nights, symbol="EUR/USD"), asked)) == ["2026-08-20T23:00", "2026-08-21T01:00"]


def test_rows_without_prices_are_no_bars() -> None:
    """Null, empty and zero; volume may be missing altogether."""
    body = series("1day", "2026-08-18", "2026-08-19", "2026-08-20")
    body["values"][0]["close"], body["values"][1]["open"] = None, "0.00000"
    del body["values"][2]["volume"]
    history = read(body)
    assert history.bars == (Bar(at("2026-08-20"), 10.0, 12.0, 9.0, 11.0, None),)
    assert history.null_rows == (at("2026-08-18"), at("2026-08-19"))


def test_bars_in_pence_become_pounds() -> None:
    """And the doubt about splits abroad is told."""
    body = series("1day", "2026-08-18", mic_code="XLON", currency="GBX")
    history = read(body, query(symbol="ACME.L"))
    assert history.bars == (Bar(at("2026-08-18"), 0.1, 0.12, 0.09, 0.11, 100.0),)
    assert (history.currency, history.timezone) == ("GBP", "Europe/London")
    assert history.notes == (
        "prices are quoted in GBX and were divided by 100",
        "outside the United States Twelve Data is known to leave some splits out of its adjustment",
    )


def _with_bar(**changes: Any) -> dict[str, Any]:
    body = series("1day", "2026-08-18")
    body["values"][0] |= changes
    return body


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (series("1day"), FailureKind.NO_DATA),
        (series("1day", "2026-08-24"), FailureKind.NO_DATA),
        (series("1week", "2026-08-18"), FailureKind.MALFORMED_REPLY),
        (series("1day", "2026-08-18", symbol="BOLT"), FailureKind.MALFORMED_REPLY),
        (series("1day", "2026-08-18", currency="EUR"), FailureKind.MALFORMED_REPLY),
        (series("1day", "18.08.2026"), FailureKind.MALFORMED_REPLY),
        (series("1day", "9999-08-18"), FailureKind.MALFORMED_REPLY),
        (series("1day", "2026-08-18 09:30:00"), FailureKind.MALFORMED_REPLY),
        (_with_bar(close="NaN"), FailureKind.MALFORMED_REPLY),
        (_with_bar(volume="many"), FailureKind.MALFORMED_REPLY),
        (_with_bar(close=True), FailureKind.MALFORMED_REPLY),
        ({"values": []}, FailureKind.MALFORMED_REPLY),
        ({"code": 400, "message": "No data is available on the dates.", "status": "error"}, FailureKind.NO_DATA),
    ],
)
def test_a_reply_without_bars_is_a_failure_with_its_reason(body: Any, kind: FailureKind) -> None:
    """Bars of another length or another share are none."""
    with pytest.raises(SourceError) as raised:
        read(body)
    assert raised.value.kind is kind


def test_a_date_is_no_start_of_a_minute() -> None:
    """It would become midnight."""
    with pytest.raises(SourceError, match="no start of a bar of 1min"):
        read(series("1min", "2026-08-18"), query(Interval.MIN_1))


def test_daily_bars_are_asked_in_the_exchanges_days_and_minutes_in_utc() -> None:
    """Both ends belong to the range; a list of bars is asked oldest first and as long as may be."""
    assert TWELVE_DATA.history is not None
    rest = (("order", "asc"), ("outputsize", "5000"), ("adjust", "splits"))
    assert TWELVE_DATA.history.build(query()) == (
        Request(
            "/time_series",
            (
                ("symbol", "ACME"),
                ("interval", "1day"),
                ("start_date", "2026-08-18 00:00:00"),
                ("end_date", "2026-08-20 23:59:59"),
                ("timezone", "Exchange"),
                *rest,
            ),
        ),
    )
    assert TWELVE_DATA.history.build(replace(query(Interval.MIN_15), extended_hours=True)) == (
        Request(
            "/time_series",
            (
                ("symbol", "ACME"),
                ("interval", "15min"),
                ("start_date", "2026-08-18 04:00:00"),
                ("end_date", "2026-08-21 03:59:59"),
                ("timezone", "UTC"),
                *rest,
                ("prepost", "true"),
            ),
        ),
    )


def test_a_pair_is_asked_without_adjustment_and_a_forex_day_from_five_in_new_york() -> None:
    """A pair has no splits."""
    assert TWELVE_DATA.history is not None
    (request,) = TWELVE_DATA.history.build(query(Interval.HOUR_1, symbol="EURUSD"))
    asked = dict(request.query)
    assert (asked["symbol"], asked["start_date"], asked["end_date"]) == (
        "EUR/USD",
        "2026-08-17 21:00:00",
        "2026-08-20 20:59:59",
    )
    assert "adjust" not in asked


def test_a_week_is_asked_from_its_monday_and_a_month_from_its_first() -> None:
    """The bar begins before the range does."""
    assert TWELVE_DATA.history is not None
    for interval, begin in ((Interval.WEEK_1, "2026-08-17 00:00:00"), (Interval.MONTH_1, "2026-08-01 00:00:00")):
        (request,) = TWELVE_DATA.history.build(query(interval))
        assert dict(request.query)["start_date"] == begin


@pytest.mark.parametrize(("interval", "code"), list(zip(Interval, CODES, strict=True)))
@pytest.mark.parametrize("symbol", ["ACME", "VOD.L", "EURUSD", "BTC-USD"])
def test_every_interval_is_asked_and_understood_again(interval: Interval, code: str, symbol: str) -> None:
    """From the recorded URL alone."""
    assert TWELVE_DATA.history is not None
    first = "2026-08-01" if interval is Interval.MONTH_1 else "2026-08-17"
    asked = query(interval, first, symbol=symbol)
    (request,) = TWELVE_DATA.history.build(asked)
    assert ("interval", code) in request.query
    understood = TWELVE_DATA.history.recognise(RecordedUrl(request.path, dict(request.query), None, NOW))
    assert understood is not None
    names = ("instrument", "interval", "first", "last", "adjustment", "extended_hours", "now")
    assert [getattr(understood, name) for name in names] == [getattr(asked, name) for name in names]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (query(), None),
        (query(Interval.DAY_1, "2007-07-01"), None),
        (query(Interval.DAY_1, "2000-01-01"), "Twelve Data sends at most 5000 bars at once; this range may have 6950"),
        (query(Interval.MIN_1, "2026-08-05"), None),
        (query(Interval.MIN_1, "2026-07-20"), "Twelve Data sends at most 5000 bars at once; this range may have 9360"),
        (query(Interval.MIN_1, "2026-08-18", "2026-08-20", "BTC-USD"), None),
        (
            query(Interval.MIN_1, "2026-08-17", "2026-08-20", "BTC-USD"),
            "Twelve Data sends at most 5000 bars at once; this range may have 5760",
        ),
        (query(Interval.MONTH_1, "1970-01-01"), None),
        (
            query(symbol="^GSPC"),
            "Twelve Data has shares, currencies and crypto under symbols we can spell, not ^GSPC",
        ),
    ],
)
def test_what_it_cannot_serve_is_refused_without_a_call(asked: HistoryQuery, reason: str | None) -> None:
    """A range cut off by the vendor's limit would look complete."""
    assert TWELVE_DATA.history is not None
    assert TWELVE_DATA.history.refuses(asked) == reason


@pytest.mark.parametrize(
    ("zone", "start"),
    [(None, "2026-08-20T13:30"), ("Exchange", "2026-08-20T13:30"), ("Europe/Paris", "2026-08-20T07:30")],
)
def test_a_recorded_series_is_read_in_the_zone_that_was_asked(zone: str | None, start: str) -> None:
    """Without one, in the exchange's."""
    assert TWELVE_DATA.history is not None
    asked = {"symbol": "ACME", "interval": "1min", "prepost": "true"} | ({} if zone is None else {"timezone": zone})
    understood = TWELVE_DATA.history.recognise(RecordedUrl("/time_series", asked, None, NOW))
    assert understood is not None
    assert understood.first == date(1970, 1, 1)
    body = series("1min", "2026-08-20 09:30:00")
    if zone == "Europe/Paris":
        with pytest.raises(SourceError, match="no bars in the range"):
            read(body, replace(understood, extended_hours=False))
        return
    assert starts(read(body, understood)) == [start]


@pytest.mark.parametrize("zone", ["Nowhere/Else", "America", "../etc", ""])
def test_a_zone_that_is_none_is_malformed(zone: str) -> None:
    """The name is foreign text."""
    assert TWELVE_DATA.history is not None
    url = RecordedUrl("/time_series", {"symbol": "ACME", "interval": "1min"}, None, NOW)
    understood = TWELVE_DATA.history.recognise(url)
    with pytest.raises(SourceError) as raised:
        read(series("1min", "2026-08-20 09:30:00", exchange_timezone=zone), understood)
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [
        ({"interval": "45min"}, FailureKind.UNSUPPORTED),
        ({"adjust": "dividends"}, FailureKind.UNSUPPORTED),
        ({"start_date": "August"}, FailureKind.BAD_REQUEST),
        ({"interval": "1h", "timezone": "Nowhere/Else", "end_date": "2026-08-20 10:00:00"}, FailureKind.BAD_REQUEST),
    ],
)
def test_a_recorded_url_with_odd_parameters_is_told(parameters: dict[str, str], kind: FailureKind) -> None:
    """Rather than misread."""
    assert TWELVE_DATA.history is not None
    with pytest.raises(SourceError) as raised:
        TWELVE_DATA.history.recognise(RecordedUrl("/time_series", {"symbol": "ACME"} | parameters, None, NOW))
    assert raised.value.kind is kind
