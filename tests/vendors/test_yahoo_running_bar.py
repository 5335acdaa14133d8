"""The bar that has not ended: when it is partial, and how its separate row joins the series."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.vendor import HistoryQuery
from mdagent_mcp.vendors.yahoo import YAHOO
from vendors.yahoo_exchange import chart_of, load, reply_of, utc

RUNNING = "2026-03-18T15:04:11"
DAILY = HistoryQuery(
    parse_symbol("ACME"),
    Interval.DAY_1,
    date(2026, 3, 12),
    date(2026, 3, 18),
    Adjustment.SPLITS,
    extended_hours=False,
    now=utc(RUNNING),
)
MINUTES = replace(DAILY, interval=Interval.MIN_1, first=date(2026, 3, 17), last=date(2026, 3, 17))
WEEKLY = replace(DAILY, instrument=parse_symbol("VOD.L"), interval=Interval.WEEK_1, first=date(2026, 3, 11))
CLOSING_MINUTE = Bar(utc("2026-03-17T19:59:00"), 41.9, 42.0, 41.8, 41.95, 9000.0)
RUNNING_POINT = Bar(utc("2026-03-17T19:59:00"), 42.0, 42.0, 42.0, 42.0, 0.0)


def read(query: HistoryQuery, payload: Any, received_at: str = RUNNING) -> History:
    """The series read from a payload."""
    assert YAHOO.history is not None
    return YAHOO.history.parse(query, reply_of(payload, received_at))


def midnight(day: int) -> datetime:
    """A day of March 2026 as daily bars are stamped."""
    return datetime(2026, 3, day, tzinfo=UTC)


def minutes(*times: str) -> Any:
    """The fixture's last two rows of the day alone, stamped anew: the closing minute and the running point."""
    payload = load("minutes.json")
    chart = chart_of(payload)
    count = len(times)
    chart["timestamp"] = [int(utc(f"2026-03-17T{t}").timestamp()) for t in times]
    prices = chart["indicators"]["quote"][0]
    chart["indicators"]["quote"][0] = {name: values[5 - count : 5] for name, values in prices.items()}
    return payload


@pytest.mark.parametrize(("received_at", "partial"), [("2026-03-18T19:59:59", True), ("2026-03-18T20:00:00", False)])
def test_the_last_daily_bar_is_partial_until_its_session_ends(received_at: str, partial: bool) -> None:
    """By the exchange's calendar, not by midnight."""
    assert read(DAILY, load("daily_split.json"), received_at).partial_last_bar is partial


def test_a_running_day_sent_twice_is_served_once_with_its_newer_row() -> None:
    """Yahoo may append the running day after its own row."""
    payload = load("daily_split.json")
    chart = chart_of(payload)
    chart["timestamp"][3] = int(utc("2026-03-18T13:30:00").timestamp())
    history = read(DAILY, payload)
    assert [bar.start for bar in history.bars] == [midnight(12), midnight(16), midnight(18)]
    assert history.bars[-1] == Bar(midnight(18), 41.8, 42.0, 41.2, 41.5, 450000.0)
    chart["indicators"]["quote"][0]["close"][4] = None
    assert read(DAILY, payload).bars[-1] == Bar(midnight(18), 41.1, 42.3, 40.8, 42.0, 900000.0)


@pytest.mark.parametrize(("received_at", "partial"), [("2026-03-20T16:29:00", True), ("2026-03-20T16:30:00", False)])
def test_a_week_is_partial_until_its_last_session_ends(received_at: str, partial: bool) -> None:
    """Friday's close ends it, not Sunday."""
    assert read(WEEKLY, load("weekly_pence.json"), received_at).partial_last_bar is partial


def test_the_running_minute_is_joined_with_the_bar_it_falls_into() -> None:
    """Yahoo stamps it with the time of its last trade; it is partial until the minute ends."""
    payload = minutes("19:59:00", "19:59:31")
    history = read(MINUTES, payload, "2026-03-17T19:59:33")
    assert history.bars == (Bar(utc("2026-03-17T19:59:00"), 41.9, 42.0, 41.8, 42.0, 9000.0),)
    assert history.partial_last_bar
    assert not read(MINUTES, payload, "2026-03-17T20:00:00").partial_last_bar


def test_the_last_hour_of_a_session_ends_with_it() -> None:
    """The hour from 15:30 New York is done at 16:00."""
    payload = load("minutes.json")
    chart = chart_of(payload)
    chart["meta"]["dataGranularity"] = "60m"
    chart["timestamp"][3] = int(utc("2026-03-17T19:30:00").timestamp())
    query = replace(MINUTES, interval=Interval.HOUR_1)
    assert [read(query, payload, f"2026-03-17T{t}").partial_last_bar for t in ("19:59:59", "20:00:00")] == [True, False]


@pytest.mark.parametrize(
    ("times", "interval", "expected"),
    [
        (("19:58:00", "19:59:31"), Interval.MIN_1, ["19:58:00", "19:59:00"]),
        (("19:50:00", "19:57:12"), Interval.MIN_5, ["19:50:00", "19:55:00"]),
        (("19:59:31",), Interval.MIN_1, ["19:59:00"]),
        (("19:59:31", "19:58:12"), Interval.MIN_1, ["19:59:31", "19:58:00"]),
        (("19:50:00", "19:57:00"), Interval.MIN_5, ["19:50:00", "19:57:00"]),
    ],
)
def test_a_running_point_without_its_bar_starts_the_bar_it_falls_into(
    times: tuple[str, ...], interval: Interval, expected: list[str]
) -> None:
    """Rows out of order stay where they were sent: that is for validation to see."""
    payload = minutes(*times)
    chart_of(payload)["meta"]["dataGranularity"] = interval.value
    history = read(replace(MINUTES, interval=interval), payload)
    assert [f"{bar.start:%H:%M:%S}" for bar in history.bars] == expected


def test_a_minute_sent_twice_is_served_once_with_its_newer_row() -> None:
    """Unless the newer row has no prices."""
    payload = minutes("19:59:00", "19:59:00")
    assert read(MINUTES, payload).bars == (RUNNING_POINT,)
    chart_of(payload)["indicators"]["quote"][0]["low"][1] = None
    assert read(MINUTES, payload).bars == (CLOSING_MINUTE,)


@pytest.mark.parametrize(("empty", "served"), [(0, RUNNING_POINT), (1, CLOSING_MINUTE)])
def test_a_running_point_and_an_empty_bar_leave_the_one_that_has_prices(empty: int, served: Bar) -> None:
    """Under the start of the bar."""
    payload = minutes("19:59:00", "19:59:31")
    chart_of(payload)["indicators"]["quote"][0]["close"][empty] = None
    history = read(MINUTES, payload)
    assert (history.bars, history.null_rows) == ((served,), ())


@pytest.mark.parametrize(("stamp", "expected"), [("20:00:00", ["19:30", "20:00"]), ("19:45:12", ["19:30"])])
def test_in_extended_hours_a_bar_cut_short_by_the_close_is_not_joined_with_the_next(
    stamp: str, expected: list[str]
) -> None:
    """The hour from 15:30 ends at 16:00 New York, where the first bar after the close begins."""
    payload = minutes("19:30:00", stamp)
    chart_of(payload)["meta"]["dataGranularity"] = "1h"
    history = read(replace(MINUTES, interval=Interval.HOUR_1, extended_hours=True), payload)
    assert [f"{bar.start:%H:%M}" for bar in history.bars] == expected


@pytest.mark.parametrize(("received_at", "partial"), [("2026-03-18T23:59:59", True), ("2026-03-19T00:00:00", False)])
def test_a_forex_day_is_londons(received_at: str, partial: bool) -> None:
    """It goes on after 17:00 New York, where the trading day ends."""
    payload = load("daily_split.json")
    chart_of(payload)["meta"] |= {"symbol": "EURUSD=X", "exchangeTimezoneName": "Europe/London"}
    query = replace(DAILY, instrument=parse_symbol("EURUSD"))
    assert read(query, payload, received_at).partial_last_bar is partial


@pytest.mark.parametrize(("received_at", "partial"), [("2026-03-31T19:59:59", True), ("2026-03-31T20:00:00", False)])
def test_a_month_is_partial_until_its_last_session_ends(received_at: str, partial: bool) -> None:
    """The running day is joined with the month it belongs to."""
    payload = load("daily_split.json")
    chart = chart_of(payload)
    chart["meta"]["dataGranularity"] = "1mo"
    chart["timestamp"][:4] = [
        int(utc(f"{t}T05:00:00").timestamp()) for t in ("2025-12-01", "2026-01-01", "2026-02-01", "2026-03-01")
    ]
    history = read(replace(DAILY, interval=Interval.MONTH_1, first=date(2026, 2, 10)), payload, received_at)
    assert history.bars == (
        Bar(datetime(2026, 2, 1, tzinfo=UTC), 40.2, 42.0, 39.9, 41.0, 3600000.0),
        Bar(datetime(2026, 3, 1, tzinfo=UTC), 41.1, 42.3, 40.8, 41.5, 1350000.0),
    )
    assert history.partial_last_bar is partial
