"""A wall clock that is set opens no quota early and keeps none shut for longer than a window."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.clock import Uptime
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.quota import EMPTY, Admission, QuotaLog, QuotaUsage, admit, block_until, peek, usage
from mdagent_mcp.resilience.quota_clock import SETTLING_S, SHARED_TOLERANCE_S, TOLERANCE_S, aligned
from mdagent_mcp.resilience.quota_text import from_text, to_text

MINUTE = Quota(2, 60.0, "minute")
DAY = Quota(2, 86_400.0, "day", resets="day")
DAY_S = 86_400.0
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


class Machine:
    """A machine whose wall clock can be set, and a log that goes through text with every step, as between processes."""

    def __init__(self, *quotas: Quota, up_s: float = DAY_S, told: float = NOON) -> None:
        self.quotas = quotas
        self.passed = 0.0
        self._up_s = up_s
        self.boot = "first"
        self._offset = told
        self.log: QuotaLog = EMPTY

    @property
    def told(self) -> float:
        """The wall clock."""
        return self._offset + self.passed

    def set_clock(self, seconds: float) -> None:
        """Set the wall clock by so much."""
        self._offset += seconds

    def restart(self, off_s: float, told: float) -> None:
        """Switch it off for so long; afterwards it begins with another time."""
        self.passed += off_s
        self._up_s, self.boot, self._offset = -self.passed, f"{self.boot} again", told - self.passed

    def now(self) -> float:
        """Bring the log to the present, and the present to the log."""
        log = from_text(to_text(self.log))
        self.log, now = aligned(log, self.told, Uptime(self._up_s + self.passed, self.boot))
        return now

    def admit(self, weight: int = 1) -> Admission:
        """Spend."""
        now = self.now()
        self.log, admission = admit(self.log, self.quotas, now, weight)
        return admission

    def wait_s(self, weight: int = 1) -> float | None:
        """How long a call would have to wait."""
        now = self.now()
        return peek(self.log, self.quotas, now, weight).wait_s


@pytest.mark.parametrize("jump", [-DAY_S, -3600.0, -61.0, -0.4, 0.4, 5.0, 61.0, 3600.0, DAY_S, 40 * 365 * DAY_S])
def test_a_sliding_window_is_as_long_as_it_is_whatever_the_wall_clock_says(jump: float) -> None:
    """Ten seconds after the calls fifty are left, to the millisecond."""
    machine = Machine(MINUTE)
    machine.admit(2)
    machine.passed += 10.0
    machine.set_clock(jump)
    assert machine.wait_s() == pytest.approx(50.0, abs=0.0021)
    machine.passed += 49.99
    assert machine.admit().allowed is False
    machine.passed += 0.0121
    assert machine.admit(2).allowed is True


def test_a_day_that_begins_by_the_new_time_alone_is_not_believed() -> None:
    """Set forwards over midnight ten minutes before: the quota comes back ten minutes later."""
    machine = Machine(DAY)
    machine.admit(2)
    machine.passed += 12 * 3600.0 - 600.0
    machine.set_clock(1200.0)
    assert machine.wait_s() == pytest.approx(600.0, abs=0.01)
    now = machine.now()
    assert usage(machine.log, machine.quotas, now) == (QuotaUsage(DAY, 2, round(now + 600.0, 3)),)
    machine.passed += 600.01
    assert machine.admit(2).allowed is True


def test_what_belongs_to_another_day_by_the_new_time_comes_back_with_that_day() -> None:
    """If the new time is right, it was one in the morning, and the vendor's day lasts until midnight."""
    machine = Machine(DAY)
    machine.admit(2)
    machine.set_clock(13 * 3600.0)
    assert machine.wait_s() == pytest.approx(23 * 3600.0, abs=0.01)


def test_a_day_that_ends_later_by_the_new_time_is_waited_for() -> None:
    """Set back by three hours: midnight by the new time is the later one."""
    machine = Machine(DAY)
    machine.admit(2)
    machine.set_clock(-3 * 3600.0)
    assert machine.wait_s() == pytest.approx(15 * 3600.0, abs=0.01)


def test_there_and_back_is_as_if_nothing_had_been() -> None:
    """A clock that is wrong for a minute: the quota comes back at the midnight that it would have."""
    machine = Machine(DAY)
    machine.admit(2)
    for jump in (3600.0, -3600.0):
        machine.set_clock(jump)
        machine.admit()
        machine.passed += 60.0
    assert machine.wait_s() == pytest.approx(12 * 3600.0 - 120.0, abs=0.01)


def test_a_request_to_rest_lasts_as_long_as_the_vendor_said() -> None:
    """Neither shorter nor longer."""
    machine = Machine(MINUTE)
    now = machine.now()
    machine.log = block_until(machine.log, now, now + 900.0, FailureKind.THROTTLED)
    machine.passed += 100.0
    for jump in (DAY_S, -2 * DAY_S):
        machine.set_clock(jump)
        assert machine.wait_s() == pytest.approx(800.0, abs=0.01)


def test_a_clock_that_is_corrected_soon_after_the_start_is_believed() -> None:
    """Begun at the time of switching off, three days ago: the day's quota of then is not taken for today's."""
    machine = Machine(DAY)
    machine.admit(2)
    machine.restart(3 * DAY_S, told=NOON + 60.0)
    assert machine.admit().allowed is False
    machine.passed += 90.0
    machine.set_clock(3 * DAY_S - 60.0)
    assert machine.admit().allowed is True
    # What was spent since the start is of today, whatever the clock said at first.
    assert machine.wait_s(2) == pytest.approx(12 * 3600.0 - 90.0, abs=0.01)


def test_calls_made_before_the_correction_count_by_the_corrected_day() -> None:
    """They come back at the right midnight and not at that of the wrong clock."""
    machine = Machine(DAY, up_s=20.0, told=NOON - 11 * 3600.0)
    machine.admit(2)
    machine.passed += 10.0
    machine.set_clock(11 * 3600.0)
    assert machine.wait_s() == pytest.approx(12 * 3600.0 - 10.0, abs=0.01)


def test_a_clock_that_begins_in_the_past_keeps_nothing_shut_for_longer_than_a_window() -> None:
    """Without a battery it is 1970; what was spent "in the future" counts as spent at the start."""
    machine = Machine(MINUTE, DAY)
    machine.admit(2)
    machine.restart(5.0, told=3600.0)
    assert machine.wait_s() == pytest.approx(23 * 3600.0, abs=0.01)
    machine.passed += SETTLING_S
    machine.admit()
    machine.set_clock(NOON)
    assert machine.wait_s() == pytest.approx(22 * 3600.0, abs=0.01)


def test_a_wall_clock_that_other_machines_share_is_taken_at_its_word_until_it_was_set() -> None:
    """It is heard a moment late; two seconds are no lateness."""
    log, _ = aligned(EMPTY, NOON, Uptime(5000.0, "here"), shared=True)
    log, admission = admit(log, (MINUTE,), NOON, 2)
    assert admission.allowed
    late, now = aligned(log, NOON + 10.0 + SHARED_TOLERANCE_S - 0.1, Uptime(5010.0, "here"), shared=True)
    assert (late, now) == (log, NOON + 10.0 + SHARED_TOLERANCE_S - 0.1)
    moved, now = aligned(log, NOON + 3610.0, Uptime(5010.0, "here"), shared=True)
    assert peek(moved, (MINUTE,), now).wait_s == pytest.approx(50.0, abs=0.01)


def test_another_machines_log_is_believed_as_it_is_dated() -> None:
    """Nobody can tell how long ago it was by that machine's uptime."""
    log, now = aligned(EMPTY, NOON, Uptime(5000.0, "there"))
    log, _ = admit(log, (MINUTE,), now, 2)
    ours, now = aligned(log, NOON + 10.0, Uptime(7.0, "here"))
    assert peek(ours, (MINUTE,), now).wait_s == pytest.approx(50.0, abs=0.01)
    assert replace(ours, anchor=log.anchor, newest=log.newest) == log


_jumps = st.one_of(st.just(0.0), st.floats(-2.0, 2.0), st.floats(-5000.0, 5000.0), st.floats(-4 * DAY_S, 4 * DAY_S))
_steps = st.one_of(st.just(0.0), st.floats(0.0, 3.0), st.floats(0.0, 500.0), st.floats(0.0, 40_000.0))
_sliding = st.builds(Quota, st.integers(1, 6), st.floats(0.5, 100.0), st.just("q"))
_daily = st.sampled_from([DAY, Quota(3, DAY_S, "day", resets="day", zone="America/New_York")])
_traffic = st.lists(st.tuples(_steps, _jumps, st.integers(1, 3)), max_size=40)


@settings(deadline=None)
@given(st.lists(st.one_of(_sliding, _daily), min_size=1, max_size=3, unique=True), _traffic)
def test_no_window_ever_holds_more_than_its_limit_by_the_time_that_passed(
    quotas: list[Quota], traffic: list[tuple[float, float, int]]
) -> None:
    """Whenever the wall clock is set, by however much, also between two processes; and it all comes back."""
    machine = Machine(*quotas)
    admitted: list[tuple[float, int]] = []
    for step, jump, weight in traffic:
        machine.passed += step
        machine.set_clock(jump)
        if machine.admit(weight).allowed:
            admitted.append((machine.passed, weight))
    for quota in (q for q in quotas if q.resets is None):
        for end, _ in admitted:
            assert sum(w for at, w in admitted if at <= end < at + quota.window_s - 1e-6) <= quota.limit
    # A day may have 25 hours where the clock was set over the end of summer time.
    machine.passed += max(q.window_s + (3600.0 if q.resets else 0.0) for q in quotas) + TOLERANCE_S + 0.1
    assert machine.admit(min(q.limit for q in quotas)) == Admission(allowed=True)
