"""Write `src/mdagent_mcp/domain/calendars.json` from the `exchange_calendars` library (a development dependency).

Run `python tools/generate_calendars.py` once a year, or when an exchange announces a change; the test of the calendar
compares the packaged table with the library.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars

TARGET = Path(__file__).parents[1] / "src" / "mdagent_mcp" / "domain" / "calendars.json"
NAMES = (
    "XNYS XLON XPAR XAMS XBRU XETR XFRA XMIL XMAD XLIS XWBO XDUB XSTO XOSL XCSE XHEL XSWX XWAR XTSE XASX XNZE XTKS "
    "XHKG XKRX XTAI XSES XSHG XBOM BVMF XMEX XJSE"
).split()
FIRST, LAST, LAST_RECORDED = "2000-01-03", "2027-11-23", "2026-12-31"
"""The library knows a year ahead by rule; exchanges whose holidays are announced year by year end earlier."""
EXTENDED = {"XNYS": {"pre": "04:00", "post_hours": 4}}
"""Extended hours of the consolidated US market, which the library does not know."""


def main() -> None:
    """Generate and write the table."""
    table = {}
    for name in NAMES:
        try:
            table[name] = describe(name, LAST)
        except ValueError as error:
            print(f"{name}: to {LAST_RECORDED} only, {error}")
            table[name] = describe(name, LAST_RECORDED)
    TARGET.write_text(json.dumps(table, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(table)} calendars, {TARGET.stat().st_size} bytes")


def describe(name: str, last: str) -> dict[str, Any]:
    """One calendar as weekdays, changing regular hours, holidays and special days."""
    calendar = exchange_calendars.get_calendar(name, start=FIRST, end=last)
    zone = ZoneInfo(str(calendar.tz))
    hours: dict[date, tuple[time, time]] = {}
    pause: tuple[time, time] | None = None
    for stamp, row in calendar.schedule.iterrows():
        opened, closed = (row[key].to_pydatetime().astimezone(zone).time() for key in ("open", "close"))
        hours[stamp.date()] = (opened, closed)
        # Only today's midday break is described: Seoul had one until 2000, Hong Kong moved its own in 2012.
        pause = None
        if str(row["break_start"]) not in {"None", "NaT"}:
            start, end = (row[key].to_pydatetime().astimezone(zone).time() for key in ("break_start", "break_end"))
            pause = (start, end)
    del hours[max(hours)]  # the library gives the last day of a range special hours at some exchanges
    weekdays = {day for day, n in Counter(d.weekday() for d in hours).items() if n > len(hours) / 20}
    regular = _regular_hours(hours)
    described: dict[str, Any] = {
        "timezone": str(calendar.tz),
        "first": min(hours).isoformat(),
        "last": max(hours).isoformat(),
        "weekdays": sorted(weekdays),
        "hours": [[d.isoformat(), _text(o), _text(c)] for d, o, c in regular],
        "holidays": _holidays(hours, weekdays),
        "special": _special(hours, regular),
        "extra_sessions": [d.isoformat() for d in hours if d.weekday() not in weekdays],
        **EXTENDED.get(name, {}),
    }
    if pause is not None:
        described["break"] = [_text(at) for at in pause]
    return described


def _regular_hours(hours: dict[date, tuple[time, time]]) -> list[tuple[date, time, time]]:
    """When which hours began to be the usual ones: hours that hold for most of the next 40 sessions."""
    days = sorted(hours)
    result: list[tuple[date, time, time]] = []
    current: tuple[time, time] | None = None
    for index, day in enumerate(days):
        if hours[day] == current:
            continue
        ahead = Counter(hours[d] for d in days[index : index + 40])
        usual, count = ahead.most_common(1)[0]
        lasting = index == 0 or index + 10 < len(days)
        if lasting and usual == hours[day] and usual != current and count > len(days[index : index + 40]) * 0.6:
            current = usual
            result.append((day, *usual))
    return result


def _special(hours: dict[date, tuple[time, time]], regular: list[tuple[date, time, time]]) -> dict[str, list[str]]:
    special = {}
    for day, (opened, closed) in hours.items():
        usual = [row for row in regular if row[0] <= day][-1]
        if (opened, closed) != usual[1:]:
            special[day.isoformat()] = [_text(opened), _text(closed)]
    return special


def _holidays(hours: dict[date, tuple[time, time]], weekdays: set[int]) -> list[str]:
    first, last = min(hours), max(hours)
    days = (date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1))
    return [d.isoformat() for d in days if d.weekday() in weekdays and d not in hours]


def _text(at: time) -> str:
    return at.isoformat("minutes")


if __name__ == "__main__":
    main()
