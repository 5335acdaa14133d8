"""Quotes and bars: two instants, both in UTC; units and intervals."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from mdagent_mcp.domain.prices import (
    MINOR_UNITS,
    Adjustment,
    Bar,
    History,
    Interval,
    Quote,
    Session,
    major_unit,
    require_utc,
)

NOW = datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC)
NAIVE = NOW.replace(tzinfo=None)
BERLIN = NOW.astimezone(timezone(timedelta(hours=1)))


@pytest.mark.parametrize("instant", [NAIVE, BERLIN])
def test_an_instant_that_is_not_utc_is_refused_by_name(instant: datetime) -> None:
    """Everywhere an instant enters."""
    with pytest.raises(ValueError, match="when must be an aware datetime in UTC"):
        require_utc("when", instant)
    with pytest.raises(ValueError, match="received_at must be"):
        Quote(symbol="ACME", source="a", price=1.0, session=Session.REGULAR, received_at=instant)
    with pytest.raises(ValueError, match="event_time must be"):
        Quote(symbol="ACME", source="a", price=1.0, session=Session.REGULAR, received_at=NOW, event_time=instant)
    with pytest.raises(ValueError, match="start must be"):
        Bar(instant, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="received_at must be"):
        History(
            symbol="ACME",
            source="a",
            interval=Interval.DAY_1,
            adjustment=Adjustment.NONE,
            timezone="UTC",
            received_at=instant,
            bars=(),
        )


def test_the_age_is_computed_from_the_event_and_negative_when_a_clock_runs_ahead() -> None:
    """Never stored; unknown without an event time."""
    quote = Quote(
        symbol="ACME",
        source="a",
        price=1.0,
        session=Session.REGULAR,
        received_at=NOW,
        event_time=NOW - timedelta(seconds=1.5),
    )
    timeless = Quote(symbol="ACME", source="a", price=1.0, session=Session.REGULAR, received_at=NOW)
    assert quote.age_s(NOW) == 1.5
    assert quote.age_s(NOW - timedelta(seconds=3)) == -1.5
    assert timeless.age_s(NOW) is None


@pytest.mark.parametrize(
    ("interval", "intraday", "length"),
    [
        (Interval.MIN_1, True, timedelta(minutes=1)),
        (Interval.MIN_5, True, timedelta(minutes=5)),
        (Interval.MIN_15, True, timedelta(minutes=15)),
        (Interval.MIN_30, True, timedelta(minutes=30)),
        (Interval.HOUR_1, True, timedelta(hours=1)),
        (Interval.DAY_1, False, timedelta(days=1)),
        (Interval.WEEK_1, False, timedelta(days=1)),
        (Interval.MONTH_1, False, timedelta(days=1)),
    ],
)
def test_short_bars_have_their_length_and_longer_ones_are_dated(
    interval: Interval, intraday: bool, length: timedelta
) -> None:
    """A day and more is named by a date."""
    assert (interval.is_intraday, interval.length) == (intraday, length)


def test_every_interval_of_the_contract_is_there() -> None:
    """In its order."""
    assert [i.value for i in Interval] == ["1m", "5m", "15m", "30m", "1h", "1d", "1wk", "1mo"]


def test_the_trading_date_of_a_daily_bar_is_its_date() -> None:
    """00:00 UTC of that date."""
    assert Bar(datetime(2026, 11, 23, tzinfo=UTC), 1.0, 1.0, 1.0, 1.0).day == date(2026, 11, 23)


@pytest.mark.parametrize(
    ("label", "unit"),
    [
        ("GBp", ("GBP", 100.0)),
        ("GBX", ("GBP", 100.0)),
        ("ZAc", ("ZAR", 100.0)),
        ("ILA", ("ILS", 100.0)),
        ("GBP", ("GBP", 1.0)),
        ("USD", ("USD", 1.0)),
        ("usd", ("USD", 1.0)),
    ],
)
def test_hundredths_are_told_by_the_vendors_label(label: str, unit: tuple[str, float]) -> None:
    """GBp is pence and GBP is pounds: the case of one letter is a factor of a hundred."""
    assert major_unit(label) == unit
    assert set(MINOR_UNITS) == {"GBp", "GBX", "ZAc", "ILA"}
