"""The packaged table against two yardsticks: the reference calendars beside the project, and exchange_calendars."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mdagent_mcp.domain.calendar import calendar_named, known_calendars

REFERENCE = Path(__file__).resolve().parents[2] / ".." / "shared" / "market_data" / "reference" / "calendars.json"
UNKNOWN_TO_US = {"us_futures"}

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_file(),
    reason=f"no reference calendars at {REFERENCE}: the packaged table stays UNCOMPARED",
)


def reference() -> dict[str, Any]:
    """The reference table; empty without the file, so that collecting the tests works."""
    table: dict[str, Any] = json.loads(REFERENCE.read_text(encoding="utf-8")) if REFERENCE.is_file() else {}
    return table


@needs_reference
def test_all_reference_calendars_but_futures_are_packaged() -> None:
    """Twenty exchanges and more in common."""
    names = set(reference()) - UNKNOWN_TO_US
    assert names <= set(known_calendars())
    assert len(names) >= 21


@needs_reference
@pytest.mark.parametrize("name", sorted(set(reference()) - UNKNOWN_TO_US))
def test_sessions_and_hours_are_those_of_the_reference(name: str) -> None:
    """Every day in common: session or not, opening and close of ordinary and special days."""
    row, ours = reference()[name], calendar_named(name)
    zone = ZoneInfo(row["tz"])
    holidays = {date.fromisoformat(d) for d in row["holidays"]}
    extra = {date.fromisoformat(d) for d in row["extra_sessions"]}
    first = max(date.fromisoformat(row["first"]), ours.first)
    last = min(date.fromisoformat(row["last"]), ours.last)
    different = []
    for number in range(first.toordinal(), last.toordinal() + 1):
        day = date.fromordinal(number)
        open_day = day in extra or ((day.weekday() < 5 or name == "24/7") and day not in holidays)
        expected = _hours(row, day, zone) if open_day else None
        session = ours.session_on(day)
        if expected != (None if session is None else (session.open, session.close)):
            different.append((day, expected, session))
    assert different == []
    assert last.year >= 2026


@pytest.mark.filterwarnings("ignore")  # the library and pandas deprecate each other
@pytest.mark.parametrize("name", ["XNYS", "XTKS", "XHKG"])
def test_the_table_is_what_exchange_calendars_says(name: str) -> None:
    """The library the table was generated from: every session, opening, close and break of the last years."""
    library = pytest.importorskip("exchange_calendars", reason="a test dependency")
    ours = calendar_named(name)
    first, last = date(2012, 1, 3), date(2026, 12, 31)
    theirs = {
        stamp.date(): tuple(
            None if str(row[key]) == "NaT" else row[key].to_pydatetime()
            for key in ("open", "close", "break_start", "break_end")
        )
        for stamp, row in library.get_calendar(name, start=str(first), end=str(last)).schedule.iterrows()
    }
    packaged = {s.day: (s.open, s.close, s.break_start, s.break_end) for s in ours.sessions_between(first, last)}
    assert packaged == theirs


def _hours(row: dict[str, Any], day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    opens, closes = row["special"].get(day.isoformat(), (row["open"], row["close"]))
    following = day + timedelta(days=1) if closes == "00:00" else day
    return (
        datetime.combine(day, time.fromisoformat(opens), zone).astimezone(UTC),
        datetime.combine(following, time.fromisoformat(closes), zone).astimezone(UTC),
    )
