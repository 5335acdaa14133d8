"""The teacher: who is graded by whom, when, and what comes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.quote_building import ACME, MID_SESSION, close_quote, context, judge, quote
from engine.scripted_source import OPEN_MARKET, ScriptedSource, question, quote_desk
from mdagent_mcp.domain.answers import HistoryAnswer
from mdagent_mcp.domain.events import Compared, Event, Stamped, Verified
from mdagent_mcp.domain.prices import Bar, Interval, Quote
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.engine.teacher import SYMBOLS_KEPT, Teacher
from mdagent_mcp.resilience.clock_offset import USUAL_S
from mdagent_mcp.testing import ManualClock

LATER = MID_SESSION + timedelta(minutes=15)


def hear(teacher: Teacher, quotes: list[Quote], now: datetime = MID_SESSION, **given: Any) -> None:
    """Let the teacher hear an answer from these quotes."""
    teacher.hear(ACME, quotes, judge(quotes, now=now, **given), context(now=now, **given))


def authority(price: float, source: str = "cboe", now: datetime = LATER, **given: Any) -> Quote:
    """The delayed tape's price of a quarter of an hour ago."""
    return quote(source, price, 900.0, now=now, declared_delay_s=900.0, **given)


@pytest.fixture
def events() -> list[Event]:
    """What was emitted."""
    return []


def prices(events: list[Event]) -> dict[str, float]:
    """Source -> error of its price in basis points."""
    return {e.source: round(e.error * 1e4, 1) for e in events if isinstance(e, Compared) and e.field == "price"}


def test_a_delayed_tape_grades_what_the_others_said_then(events: list[Event]) -> None:
    """Each once, with the age it had; the answer is verified too; nothing before the authority speaks."""
    teacher = Teacher(events.append)
    hear(teacher, [quote("a", 189.84, 1.0), quote("b", 189.0, 2.0)], weights={"a": 0.95, "b": 0.6})
    assert prices(events) == {}
    hear(teacher, [authority(189.84), quote("a", 190.0, now=LATER)], LATER)
    hear(teacher, [authority(189.84), quote("a", 190.0, now=LATER)], LATER)
    assert prices(events) == {"a": 0.0, "b": -44.3}
    verified = [e for e in events if isinstance(e, Verified)]
    assert [(e.right, e.groups, e.miss) for e in verified] == [(True, 1, 0.0)]
    ages = [e.age_s for e in events if isinstance(e, Compared) and e.field == "price"]
    assert ages == [1.0, 2.0]


def test_an_authority_grades_neither_its_own_group_nor_another_instant(events: list[Event]) -> None:
    """What passes on the same data proves nothing, and a minute's difference is another price."""
    teacher = Teacher(events.append)
    same: dict[str, Any] = {"groups": {"cboe": "tape", "a": "tape"}}
    hear(teacher, [quote("a"), quote("b")], **same)
    hear(teacher, [authority(189.84)], LATER, **same)
    assert set(prices(events)) == {"b"}
    events.clear()
    late = LATER + timedelta(minutes=1)
    hear(teacher, [quote("c", now=LATER)], LATER)
    hear(teacher, [authority(189.84, now=late + timedelta(minutes=15))], late + timedelta(minutes=15))
    assert prices(events) == {}


def test_an_authority_that_two_groups_contradict_grades_nobody(events: list[Event]) -> None:
    """Then the tape's price is the one in error."""
    teacher = Teacher(events.append)
    hear(teacher, [quote("a"), quote("b", 189.85)])
    hear(teacher, [authority(18984.0, open=None, high=None, low=None)], LATER)
    assert prices(events) == {}


def test_the_official_close_grades_the_previous_close_of_the_next_day(events: list[Event]) -> None:
    """Against the close that other groups showed the evening before."""
    teacher = Teacher(events.append)
    evening, close = datetime(2026, 11, 23, 23, 0, tzinfo=UTC), datetime(2026, 11, 23, 21, 0, tzinfo=UTC)
    hear(teacher, [close_quote("a", 190.0, close), close_quote("b", 190.0, close)], evening)
    morning = MID_SESSION + timedelta(days=1)
    stated = [quote("a", previous_close=190.0, now=morning), quote("c", previous_close=188.6, now=morning)]
    hear(teacher, stated, morning)
    errors = {e.source: e.error for e in events if isinstance(e, Compared) and e.field == "previous_close"}
    assert {source: abs(error) <= 1e-4 for source, error in errors.items()} == {"a": True, "c": False}


def test_a_sessions_figures_are_graded_by_two_other_groups(events: list[Event]) -> None:
    """Volume is compared as a ratio, and never with one other alone."""
    teacher = Teacher(events.append)
    hear(teacher, [quote("a"), quote("b", volume=20e6)])
    assert not [e for e in events if isinstance(e, Compared)]
    hear(teacher, [quote("a"), quote("b"), quote("c", volume=20.5e6)])
    volumes = {e.source: round(e.error, 3) for e in events if isinstance(e, Compared) and e.field == "volume"}
    assert volumes == {"c": -0.693}


def test_stamps_to_the_second_show_the_clock(events: list[Event]) -> None:
    """Of sources that declare no delay."""
    hear(Teacher(events.append), [quote("a", age_s=-1.5), quote("b", event_time_resolution_s=60.0), authority(189.0)])
    assert [(e.source, e.behind_s) for e in events if isinstance(e, Stamped)] == [("a", -1.5)]


def history(closes: dict[datetime, float], **given: Any) -> HistoryAnswer:
    """Minute bars that end at the instants, as two independent sources showed them."""
    bars = tuple(Bar(end - timedelta(minutes=1), close, close, close, close, 100.0) for end, close in closes.items())
    values: dict[str, Any] = {"interval": Interval.MIN_1, "grade": Grade.A, "sources_used": ("x", "y"), **given}
    return cast("HistoryAnswer", SimpleNamespace(bars=bars, **values))


def test_minute_bars_grade_what_was_said_at_their_ends(events: list[Event]) -> None:
    """Once each, within twenty seconds of an end, and never what the bars' own upstream said."""
    end = MID_SESSION.replace(second=0, microsecond=0) + timedelta(minutes=1)
    said, later = end - timedelta(seconds=12), end + timedelta(minutes=3)
    teacher = Teacher(events.append)
    hear(teacher, [quote("a", now=said), quote("b", 189.0, now=said), quote("x", now=said)], said)
    hear(teacher, [quote("c", now=end + timedelta(seconds=30))], end + timedelta(seconds=30))
    for _ in range(2):
        teacher.hear_bars(ACME, history({end: 189.84, end + timedelta(minutes=1): 200.0}), context(now=later))
    assert prices(events) == {"a": 0.0, "b": -44.3}
    assert [e.age_s for e in events if isinstance(e, Compared) and e.field == "price"] == [13.0, 13.0]
    assert [e.right for e in events if isinstance(e, Verified)] == [True]


@pytest.mark.parametrize(
    ("minutes", "given"),
    [
        (1, {}),
        (9 * 60, {}),
        (3, {"grade": Grade.C}),
        (3, {"sources_used": ("x",)}),
        (3, {"sources_used": ("yahoo", "nasdaq")}),
        (3, {"interval": Interval.DAY_1}),
    ],
)
def test_bars_that_are_young_old_or_unconfirmed_teach_nothing(
    events: list[Event], minutes: int, given: dict[str, Any]
) -> None:
    """Late prints may be missing, the basis may be another one, or a single source may be wrong."""
    end = MID_SESSION.replace(second=0, microsecond=0)
    teacher = Teacher(events.append)
    hear(teacher, [quote("a", now=end), quote("b", now=end)], end)
    teacher.hear_bars(ACME, history({end: 189.84}, **given), context(now=end + timedelta(minutes=minutes)))
    assert prices(events) == {}


def test_what_is_kept_is_bounded(events: list[Event]) -> None:
    """Symbols heard of longest ago are forgotten."""
    teacher = Teacher(events.append)
    quotes = [quote("a")]
    judged = judge(quotes)
    for number in range(SYMBOLS_KEPT + 5):
        instrument = type(ACME)(**{**{f: getattr(ACME, f) for f in ACME.__dataclass_fields__}, "symbol": f"S{number}"})
        teacher.hear(instrument, quotes, judged, context())
    assert len(teacher._symbols) == SYMBOLS_KEPT


async def test_the_engine_corrects_a_clock_that_memory_learned() -> None:
    """A source whose stamps lie two seconds ahead of us is not seen as younger than it is."""
    clock = ManualClock(OPEN_MARKET, settle_rounds=10)
    ahead = ScriptedSource("one", clock, {"AAPL": 189.5}, lag_s=USUAL_S - 2.0)
    async with quote_desk(clock, ahead) as desk:
        for _ in range(25):
            await desk.engine.answer(question("AAPL", max_age_s=0.0))
            await clock.advance(5.0)
        for event in desk.events:
            desk.parts.memory.listen(event)
        told = desk.parts.quote_context(question("AAPL").instruments[0])
    assert told.clock_offsets["one"] == pytest.approx(2.0, abs=0.05)
