"""A week or a month is dated by its first trading date, whichever day its source dates it by."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from consensus.series_building import judge, midnight, question, series, trading_days, walk
from mdagent_mcp.domain.prices import Interval

FIRST, LAST = date(2025, 3, 3), date(2025, 8, 29)


def periods(interval: Interval) -> dict[date, date]:
    """The first trading date of every week or month of the range by its first day."""
    dates: dict[date, date] = {}
    for day in trading_days(FIRST, LAST):
        first = day.replace(day=1) if interval is Interval.MONTH_1 else day - timedelta(days=day.weekday())
        dates.setdefault(first, day)
    return dates


@pytest.mark.parametrize(
    ("interval", "moved"), [(Interval.WEEK_1, {date(2025, 5, 26)}), (Interval.MONTH_1, {date(2025, 3, 1)})]
)
def test_bars_are_dated_by_the_first_trading_date(interval: Interval, moved: set[date]) -> None:
    """Memorial Day and the weekend at the first of a month are no days that anybody traded on."""
    dates = periods(interval)
    assert moved <= {day for day, traded in dates.items() if day != traded}
    asked = question(interval, FIRST, LAST)
    wanted = [midnight(day) for day in dates.values()]
    for stated in (list(dates), list(dates.values())):
        judged = judge(series(walk([midnight(day) for day in stated], step=0.03), interval=interval), asked=asked)
        assert [bar.start for bar in judged.series.bars] == wanted


def test_a_bar_that_begins_later_keeps_its_date() -> None:
    """A vendor that cuts a week where the range begins says so by its date."""
    starts: list[datetime] = [midnight(date(2025, 3, 5)), *(midnight(date(2025, 3, 10 + 7 * n)) for n in range(3))]
    asked = question(Interval.WEEK_1, date(2025, 3, 5), date(2025, 3, 28))
    judged = judge(series(walk(starts, step=0.03), interval=Interval.WEEK_1), asked=asked)
    assert [bar.start for bar in judged.series.bars] == starts
