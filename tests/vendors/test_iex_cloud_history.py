"""Bars in IEX Cloud's format: days on two bases, and minutes in New York time."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, RecordedUrl, Request
from mdagent_mcp.vendors.iex_cloud import IEX_CLOUD
from vendors.vendor_exchanges import at, fixture, reply

NOW = at("2026-08-20T22:00:00")
LISTING = "the reply names no currency; it is that of the listing"


def query(interval: Interval = Interval.DAY_1, first: str = "2026-08-17", last: str = "2026-08-20") -> HistoryQuery:
    """Bars of a range adjusted for splits."""
    return HistoryQuery(
        instrument=parse_symbol("ACME"),
        interval=interval,
        first=date.fromisoformat(first),
        last=date.fromisoformat(last),
        adjustment=Adjustment.SPLITS,
        extended_hours=False,
        now=NOW,
    )


def minutes(first: str = "2026-08-20", last: str = "2026-08-20") -> HistoryQuery:
    """Minutes as traded."""
    return replace(query(Interval.MIN_1, first, last), adjustment=Adjustment.NONE)


def read(content: Any, asked: HistoryQuery, received_at: str = "2026-08-20T22:00:00") -> History:
    """What a reply says."""
    assert IEX_CLOUD.history is not None
    return IEX_CLOUD.history.parse(asked, reply(content, received_at))


def test_days_are_adjusted_for_splits() -> None:
    """A row without prices is a hole."""
    assert read(fixture("iex_cloud", "chart_days.json"), query(first="2026-08-18")) == History(
        symbol="ACME",
        source="iex_cloud",
        interval=Interval.DAY_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=NOW,
        bars=(
            Bar(at("2026-08-18"), 1020.0, 1040.0, 1010.0, 1030.0, 4400.0),
            Bar(at("2026-08-20"), 1058.0, 1061.25, 1044.0, 1048.75, 4500.0),
        ),
        currency="USD",
        null_rows=(at("2026-08-19"),),
        notes=(LISTING,),
    )


def test_prices_as_traded_stand_beside_them() -> None:
    """Under names of their own."""
    history = read(fixture("iex_cloud", "chart_days.json"), replace(query(), adjustment=Adjustment.NONE))
    assert history.bars[0] == Bar(at("2026-08-17"), 4000.0, 4100.0, 3960.0, 4080.0, 1000.0)
    assert history.adjustment is Adjustment.NONE


def test_minutes_are_in_new_york_time_and_of_one_venue() -> None:
    """A minute without a trade there is a hole, one before the open is left out."""
    history = read(fixture("iex_cloud", "chart_minutes.json"), minutes())
    assert history.bars == (
        Bar(at("2026-08-20T13:30"), 1058.0, 1060.0, 1057.0, 1059.5, 900.0),
        Bar(at("2026-08-20T19:59"), 1049.0, 1049.5, 1048.0, 1048.75, 1200.0),
    )
    assert history.null_rows == (at("2026-08-20T13:31"),)
    assert history.notes == (LISTING, "minutes and volume are of trades at IEX alone")


@pytest.mark.parametrize(
    ("name", "asked", "received_at", "partial"),
    [
        ("chart_days.json", query(), "2026-08-20T19:59:59", True),
        ("chart_days.json", query(), "2026-08-20T20:00:00", False),
        ("chart_minutes.json", minutes(), "2026-08-20T19:59:59", True),
        ("chart_minutes.json", minutes(), "2026-08-20T20:00:00", False),
    ],
)
def test_a_bar_is_partial_until_its_period_is_over(
    name: str, asked: HistoryQuery, received_at: str, *, partial: bool
) -> None:
    """A day ends with its close."""
    assert read(fixture("iex_cloud", name), asked, received_at).partial_last_bar is partial


def test_a_range_that_the_vendor_chose_is_unwrapped() -> None:
    """Rows may name their symbol."""
    rows = [row | {"symbol": "ACME"} for row in fixture("iex_cloud", "chart_days.json")]
    assert len(read({"range": "1m", "data": rows}, query()).bars) == 3


def spoilt(**changes: Any) -> Any:
    """A day with other values."""
    return [fixture("iex_cloud", "chart_days.json")[0] | changes]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ([], FailureKind.NO_DATA),
        (spoilt(date="2026-08-24"), FailureKind.NO_DATA),
        (spoilt(close=0), FailureKind.NO_DATA),
        (spoilt(symbol="BOLT"), FailureKind.MALFORMED_REPLY),
        (spoilt(minute="09:30"), FailureKind.MALFORMED_REPLY),
        (spoilt(date="20260817"), FailureKind.MALFORMED_REPLY),
        (spoilt(date="2026-08-32"), FailureKind.MALFORMED_REPLY),
        (spoilt(date="0001-01-01"), FailureKind.MALFORMED_REPLY),
        (spoilt(open="1000"), FailureKind.MALFORMED_REPLY),
        ([{"date": "2026-08-17"}], FailureKind.MALFORMED_REPLY),
        ({"error": "not allowed"}, FailureKind.SOURCE_ERROR),
        ({"range": "1m"}, FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_reply_without_bars_is_a_failure_with_its_reason(body: Any, kind: FailureKind) -> None:
    """Minutes are no days."""
    with pytest.raises(SourceError) as raised:
        read(body, query())
    assert raised.value.kind is kind


@pytest.mark.parametrize("minute", ["9:30", "0930", "25:00", "09:30:00"])
def test_a_minute_that_is_none_is_malformed(minute: str) -> None:
    """Rather than some other minute."""
    rows = [fixture("iex_cloud", "chart_minutes.json")[1] | {"minute": minute}]
    with pytest.raises(SourceError) as raised:
        read(rows, minutes())
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


@pytest.mark.parametrize(
    ("first", "name"),
    [
        ("2026-08-16", "5d"),
        ("2026-08-15", "1m"),
        ("2026-07-24", "1m"),
        ("2026-07-23", "3m"),
        ("2026-05-27", "3m"),
        ("2026-05-26", "6m"),
        ("2026-02-26", "6m"),
        ("2026-02-25", "1y"),
        ("2025-08-25", "1y"),
        ("2025-08-24", "2y"),
        ("2024-08-25", "2y"),
        ("2024-08-24", "5y"),
        ("2021-08-26", "5y"),
        ("2021-08-25", "max"),
    ],
)
def test_the_shortest_range_that_surely_reaches_back_is_asked(first: str, name: str) -> None:
    """Ranges count back from today."""
    assert IEX_CLOUD.history is not None
    assert IEX_CLOUD.history.build(query(first=first)) == (Request(f"/stable/stock/ACME/chart/{name}"),)


def test_minutes_are_asked_by_date() -> None:
    """One at a time."""
    assert IEX_CLOUD.history is not None
    assert IEX_CLOUD.history.build(minutes("2026-08-03", "2026-08-03")) == (
        Request("/stable/stock/ACME/chart/date/20260803"),
    )


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (query(), None),
        (replace(query(), adjustment=Adjustment.NONE), None),
        (minutes("2026-08-03", "2026-08-03"), None),
        (query(Interval.MIN_1, "2026-08-20"), None),
        (replace(query(), adjustment=Adjustment.ALL), "IEX Cloud's bars are not adjusted for dividends"),
        (
            query(Interval.MIN_1, "2026-08-19", "2026-08-19"),
            "IEX Cloud's minutes are as traded, not on the basis 'splits'",
        ),
        (minutes("2026-08-19"), "IEX Cloud sends the minutes of one date at a time"),
        (replace(minutes(), extended_hours=True), "IEX Cloud's minutes cover regular trading only"),
        (query(Interval.MIN_5), "IEX Cloud has daily and one-minute bars, not 5m"),
        (query(Interval.WEEK_1), "IEX Cloud has daily and one-minute bars, not 1wk"),
        (query(first="2011-01-01", last="2011-08-01"), "IEX Cloud keeps fifteen years of daily bars"),
        (replace(query(), instrument=parse_symbol("VOD.L")), "IEX Cloud has bars of US listings, not of VOD.L"),
    ],
)
def test_what_it_cannot_serve_is_refused_without_a_call(asked: HistoryQuery, reason: str | None) -> None:
    """Minutes of the running trading date are on the basis of splits as they are."""
    assert IEX_CLOUD.history is not None
    assert IEX_CLOUD.history.refuses(asked) == reason


@pytest.mark.parametrize(
    ("path", "parameters", "expected"),
    [
        ("/v1/stock/acme/chart", {}, query(first="1970-01-01")),
        ("/stable/stock/ACME/chart/dynamic", {}, query(first="1970-01-01")),
        ("/stable/stock/ACME/chart/1d", {}, minutes("1970-01-01")),
        ("/stable/stock/ACME/chart/date/20260803", {}, minutes("2026-08-03", "2026-08-03")),
        (
            "/stable/stock/ACME/chart/date/20260803",
            {"chartByDay": "true"},
            query(first="2026-08-03", last="2026-08-03"),
        ),
        ("/stable/stock/ACME/chart/date/2026-08-03", {}, None),
        ("/stable/stock/ACME/chart/invalid", {}, None),
    ],
)
def test_a_recorded_url_is_understood(path: str, parameters: dict[str, str], expected: HistoryQuery | None) -> None:
    """Days are adjusted for splits, minutes are as traded."""
    assert IEX_CLOUD.history is not None
    assert IEX_CLOUD.history.recognise(RecordedUrl(path, parameters, None, NOW)) == expected


def test_a_recorded_date_that_is_none_is_told() -> None:
    """Its form is right and its day is not."""
    assert IEX_CLOUD.history is not None
    with pytest.raises(SourceError) as raised:
        IEX_CLOUD.history.recognise(RecordedUrl("/v1/stock/ACME/chart/date/20260832", {}, None, NOW))
    assert raised.value.kind is FailureKind.BAD_REQUEST
