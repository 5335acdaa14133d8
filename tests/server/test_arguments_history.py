"""Arguments of get_history: which trading dates a period means, and how what is wrong is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.questions import HistoryQuestion, InvalidArgumentError
from mdagent_mcp.server.arguments import HistoryRequest, history_request
from mdagent_mcp.server.periods import PERIODS

SOURCES = ("yahoo", "nasdaq")
MONDAY_OPEN = datetime(2026, 11, 23, 15, 4, tzinfo=UTC)
MONDAY_EARLY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
"""07:00 in New York: pre-market trading goes on, the regular session has not begun."""
SUNDAY = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def dates(now: datetime = MONDAY_OPEN, **arguments: Any) -> tuple[date, date]:
    """The first and last trading date that arguments mean."""
    question = history_request({"symbol": "AAPL", **arguments}, SOURCES, now).question
    return question.first, question.last


def test_a_symbol_alone_means_a_year_of_daily_bars() -> None:
    """The defaults of the contract."""
    question = HistoryQuestion(parse_symbol("AAPL"), Interval.DAY_1, date(2025, 11, 23), date(2026, 11, 23))
    assert history_request({"symbol": "aapl"}, SOURCES, MONDAY_OPEN) == HistoryRequest(question, 250, "brief")


def test_every_argument_of_get_history_reaches_the_question() -> None:
    """Dates are taken as they are, the end included."""
    arguments = {
        "symbol": "VOD.L",
        "interval": "5m",
        "start": "2026-11-02",
        "end": "2026-11-20",
        "adjustment": "all",
        "extended_hours": True,
        "max_bars": 5000,
        "min_grade": "C",
        "sources": "yahoo",
        "detail": "full",
    }
    question = HistoryQuestion(
        parse_symbol("VOD.L"),
        Interval.MIN_5,
        date(2026, 11, 2),
        date(2026, 11, 20),
        Adjustment.ALL,
        extended_hours=True,
        min_grade=Grade.C,
        sources=("yahoo",),
    )
    assert history_request(arguments, SOURCES, MONDAY_OPEN) == HistoryRequest(question, 5000, "full")


@pytest.mark.parametrize(
    ("now", "arguments", "expected"),
    [
        (MONDAY_OPEN, {"period": "1d"}, (date(2026, 11, 23), date(2026, 11, 23))),
        (MONDAY_EARLY, {"period": "1d"}, (date(2026, 11, 20), date(2026, 11, 20))),
        (MONDAY_EARLY, {"period": "1d", "extended_hours": True}, (date(2026, 11, 23), date(2026, 11, 23))),
        (SUNDAY, {"period": "1d"}, (date(2026, 11, 20), date(2026, 11, 20))),
        (SUNDAY, {"period": "5d"}, (date(2026, 11, 16), date(2026, 11, 20))),
        (MONDAY_OPEN, {"period": "5d"}, (date(2026, 11, 17), date(2026, 11, 23))),
        # Thanksgiving is no session.
        (datetime(2026, 11, 27, 16, tzinfo=UTC), {"period": "5d"}, (date(2026, 11, 20), date(2026, 11, 27))),
        (SUNDAY, {"period": "1d", "symbol": "BTC-USD"}, (date(2026, 11, 22), date(2026, 11, 22))),
        # Forex: Sunday 18:00 in New York belongs to Monday's session.
        (
            datetime(2026, 11, 22, 23, tzinfo=UTC),
            {"period": "1d", "symbol": "EURUSD"},
            (date(2026, 11, 23), date(2026, 11, 23)),
        ),
        # Tokyo is already on Tuesday while New York trades on Monday.
        (
            datetime(2026, 11, 24, 1, tzinfo=UTC),
            {"period": "1mo", "symbol": "7203.T"},
            (date(2026, 10, 24), date(2026, 11, 24)),
        ),
        (datetime(2026, 3, 31, 15, tzinfo=UTC), {"period": "1mo"}, (date(2026, 2, 28), date(2026, 3, 31))),
        (MONDAY_OPEN, {"period": "ytd"}, (date(2026, 1, 1), date(2026, 11, 23))),
        (MONDAY_OPEN, {"period": "10y"}, (date(2016, 11, 23), date(2026, 11, 23))),
        (MONDAY_OPEN, {"period": "max"}, (date(1900, 1, 1), date(2026, 11, 23))),
        (MONDAY_OPEN, {"period": "max", "interval": "1m"}, (date(2026, 9, 22), date(2026, 11, 23))),
        (MONDAY_OPEN, {"interval": "1m"}, (date(2026, 11, 23), date(2026, 11, 23))),
        (MONDAY_OPEN, {"interval": "15m"}, (date(2026, 11, 17), date(2026, 11, 23))),
        (MONDAY_OPEN, {"interval": "1h"}, (date(2026, 10, 23), date(2026, 11, 23))),
        (MONDAY_OPEN, {"interval": "1wk"}, (date(2021, 11, 23), date(2026, 11, 23))),
        (MONDAY_OPEN, {"interval": "1mo"}, (date(2016, 11, 23), date(2026, 11, 23))),
        (MONDAY_OPEN, {"start": "2026-11-23"}, (date(2026, 11, 23), date(2026, 11, 23))),
        (MONDAY_OPEN, {"start": "2026-11-02", "end": "2027-01-01"}, (date(2026, 11, 2), date(2026, 11, 23))),
    ],
)
def test_a_period_means_these_trading_dates(
    now: datetime, arguments: dict[str, Any], expected: tuple[date, date]
) -> None:
    """Short periods count sessions of the instrument's market, longer ones count from its own date."""
    assert dates(now, **arguments) == expected


def test_a_market_without_a_calendar_counts_weekdays() -> None:
    """The Tel Aviv exchange has no table."""
    assert dates(SUNDAY, symbol="TEVA.TA", period="5d") == (date(2026, 11, 16), date(2026, 11, 20))


ZONE = "America/New_York"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"symbol": None}, 'symbol: is required; write it like "AAPL"'),
    ({"symbol": ["AAPL"]}, 'symbol: should be text, is a list; write it like "AAPL"'),
    (
        {"symbols": "AAPL"},
        (
            "symbols: there is no such argument; did you mean 'symbol'? known: symbol, interval, period, start, end, "
            "adjustment, extended_hours, max_bars, min_grade, sources, detail"
        ),
    ),
    ({"interval": "2m"}, "interval: '2m' is not known; use one of 1m, 5m, 15m, 30m, 1h, 1d, 1wk, 1mo"),
    ({"interval": 5}, 'interval: should be text, is a number; write it like "1m"'),
    (
        {"period": "1week"},
        "period: '1week' is not known; use one of 1d, 5d, 1mo, 3mo, 6mo, 1y, 2y, 5y, 10y, ytd, max",
    ),
    ({"period": "1y", "start": "2026-01-01"}, "period: cannot be combined with start or end; give one or the other"),
    ({"period": "1y", "end": "2026-01-01"}, "period: cannot be combined with start or end; give one or the other"),
    ({"end": "2026-01-01"}, "start: is needed when end is given; write it like 2026-01-31"),
    ({"start": "2026-05-02", "end": "2026-05-01"}, "end: 2026-05-01 is before start 2026-05-02; swap them"),
    ({"start": "2026-11-24"}, f"start: 2026-11-24 is in the future; today is 2026-11-23 ({ZONE})"),
    ({"start": "2026-11-24", "end": "2026-12-01"}, f"start: 2026-11-24 is in the future; today is 2026-11-23 ({ZONE})"),
    ({"start": "01/02/2026"}, "start: '01/02/2026' is not a date; write it like 2026-01-31"),
    ({"start": "2026-11-02T00:00:00Z"}, "start: '2026-11-02T00:00:00Z' is not a date; write it like 2026-01-31"),
    ({"start": "2026-02-30"}, "start: '2026-02-30' is not in the calendar; write it like 2026-01-31"),
    ({"start": "0001-01-01"}, "start: 0001-01-01 is before 1900-01-01, the earliest date that can be asked"),
    ({"start": 20260101}, 'start: should be text, is a number; write it like "2026-01-31"'),
    ({"start": "9" * 10_000}, f"start: '{'9' * 40}…' is not a date; write it like 2026-01-31"),
    (
        {"interval": "1m", "period": "3mo"},
        (
            "period: 1m bars are served for at most 62 days at once; use max for all that can be had, "
            "or use a longer interval"
        ),
    ),
    (
        {"interval": "5m", "start": "2020-01-01", "end": "2026-01-01"},
        (
            "start: 5m bars are served for at most 366 days at once; start at 2024-12-31 or later, "
            "or use a longer interval"
        ),
    ),
    ({"adjustment": "dividends"}, "adjustment: 'dividends' is not known; use one of splits, all, none"),
    (
        {"extended_hours": "yes"},
        "extended_hours: should be true or false, is text; write it without quotes",
    ),
    ({"max_bars": 0}, "max_bars: is out of range; give 1 to 5000"),
    ({"max_bars": 5001}, "max_bars: is out of range; give 1 to 5000"),
    ({"max_bars": 2.5}, "max_bars: should be a whole number; give 1 to 5000"),
    ({"max_bars": "10"}, "max_bars: should be a number, is text; give 1 to 5000, without quotes"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_a_wrong_argument_of_get_history_is_refused_with_its_name_and_remedy(
    arguments: dict[str, Any], message: str
) -> None:
    """One line, no more than 40 characters of what was sent."""
    with pytest.raises(InvalidArgumentError) as caught:
        history_request({"symbol": "AAPL", **arguments}, SOURCES, MONDAY_OPEN)
    assert str(caught.value) == message


@given(
    st.sampled_from([i.value for i in Interval if not i.is_intraday]),
    st.sampled_from(PERIODS),
    st.sampled_from(["AAPL", "VOD.L", "7203.T", "0700.HK", "BTC-USD", "EURUSD", "^GSPC", "TEVA.TA"]),
    st.datetimes(datetime(2004, 2, 29), datetime(2027, 10, 1)),  # noqa: DTZ001 - made aware below
)
def test_whatever_the_period_the_dates_are_in_order_and_end_no_later_than_tomorrow(
    interval: str, period: str, symbol: str, at: datetime
) -> None:
    """Tokyo's date may be one ahead of UTC's; nothing is further in the future."""
    now = at.replace(tzinfo=UTC)
    arguments = {"symbol": symbol, "interval": interval, "period": period}
    question = history_request(arguments, SOURCES, now).question
    assert question.first <= question.last
    assert (question.last - now.date()).days <= 1
