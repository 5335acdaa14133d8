"""Quotas that a vendor resets at its own midnight, clocks that are set back, and logs that are kept as text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.quota import EMPTY, Admission, QuotaUsage, admit, block_until, charge, peek, usage
from mdagent_mcp.resilience.quota_text import from_text, to_text

UTC_DAY = Quota(3, 86_400.0, "day", resets="day")
NEW_YORK_DAY = Quota(3, 86_400.0, "day", resets="day", zone="America/New_York")
MONTH = Quota(3, 30 * 86_400.0, "month", resets="month")


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("quota", "spent", "reset"),
    [
        (UTC_DAY, "2026-11-24T17:00", "2026-11-25T00:00"),
        (NEW_YORK_DAY, "2026-11-24T17:00", "2026-11-25T05:00"),
        (NEW_YORK_DAY, "2026-03-07T17:00", "2026-03-08T05:00"),
        (NEW_YORK_DAY, "2026-03-08T17:00", "2026-03-09T04:00"),
        (MONTH, "2026-12-31T23:59", "2027-01-01T00:00"),
        (MONTH, "2026-02-01T00:00", "2026-03-01T00:00"),
    ],
)
def test_a_calendar_quota_begins_anew_at_the_vendors_midnight(quota: Quota, spent: str, reset: str) -> None:
    """However late in its period it was spent, also over a change of summer time."""
    log, admission = admit(EMPTY, (quota,), _at(spent), 3)
    assert admission == Admission(allowed=True)
    wait = _at(reset) - _at(spent)
    assert peek(log, (quota,), _at(spent)) == Admission(allowed=False, wait_s=wait, quota=quota)
    assert usage(log, (quota,), _at(spent)) == (QuotaUsage(quota, 3, _at(reset)),)
    assert peek(log, (quota,), _at(reset), 3) == Admission(allowed=True)


def test_a_calendar_quota_is_remembered_as_one_sum() -> None:
    """Thousands of calls a day take one entry."""
    large = Quota(5000, 86_400.0, "day", resets="day")
    log = EMPTY
    for n in range(500):
        log, _ = admit(log, (large,), _at("2026-11-24T00:00") + n)
    assert [len(window.spendings) for window in log.windows.values()] == [1]
    assert [view.used for view in usage(log, (large,), _at("2026-11-24T12:00"))] == [500]


def test_a_clock_that_was_set_back_frees_nothing_and_freezes_nothing() -> None:
    """What was spent "in the future" counts as spent now, for one window and no longer."""
    minute = Quota(1, 60.0, "minute")
    log, _ = admit(EMPTY, (minute,), 100_000.0)
    log, admission = admit(log, (minute,), 50_000.0)
    assert admission == Admission(allowed=False, wait_s=60.0, quota=minute)
    assert peek(log, (minute,), 50_060.0) == Admission(allowed=True)


def test_what_was_spent_without_leave_is_charged_even_beyond_the_limit() -> None:
    """The key is used elsewhere as well; the window is simply over-full."""
    minute = Quota(2, 60.0, "minute")
    log = charge(EMPTY, (minute,), 10.0, 5)
    assert [view.used for view in usage(log, (minute,), 10.0)] == [5]
    assert charge(log, (minute,), 10.0, 0) == log
    assert peek(log, (minute,), 69.0).allowed is False
    assert peek(log, (minute,), 70.0).allowed is True


_quota = st.builds(
    Quota, st.integers(1, 2000), st.floats(0.5, 1e5), st.text(max_size=5), st.sampled_from([None, "day", "month"])
)
_spendings = st.lists(st.tuples(st.floats(0.0, 500.0), st.integers(1, 3)), max_size=20)


@settings(deadline=None)
@given(st.lists(_quota, min_size=1, max_size=3, unique=True), _spendings, st.sampled_from([None, 30.0]))
def test_a_log_read_back_is_never_more_generous(
    quotas: list[Quota], spendings: list[tuple[float, int]], rest: float | None
) -> None:
    """As text and back: as much is used, and nothing becomes free earlier; two milliseconds later at most."""
    log, now = EMPTY, 1_700_000_000.0
    for step, weight in spendings:
        now += step
        log, _ = admit(log, quotas, now, weight)
    if rest is not None:
        log = block_until(log, now, now + rest, FailureKind.THROTTLED)
    back = from_text(to_text(log))
    assert [v.used for v in usage(back, quotas, now)] == [v.used for v in usage(log, quotas, now)]
    assert back.blocked_because == log.blocked_because
    before, after = peek(log, quotas, now).wait_s, peek(back, quotas, now).wait_s
    if before is None or after is None:
        assert before == after
    else:
        # Seen from the newest instant, which is kept to the millisecond as well.
        seen = max(now, back.newest)
        assert now + before <= seen + after + 1e-6
        assert seen + after <= now + before + 0.0031
    assert to_text(from_text(to_text(log))) == to_text(log)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"version":2}',
        '{"version":1}',
        '{"version":1,"newest":0,"blocked":[0,"nonsense"],"windows":[]}',
        '{"version":1,"newest":true,"blocked":[0,""],"windows":[]}',
        '{"version":1,"newest":0,"blocked":[0,""],"windows":[[[1,60,"m","","UTC"],[[1,2,0]]]]}',
        '{"version":1,"newest":0,"blocked":[0,""],"windows":[[[0,60,"m","","UTC"],[]]]}',
        '{"version":1,"newest":0,"blocked":[0,""],"windows":[[[1,60,"m","week","UTC"],[]]]}',
    ],
)
def test_what_is_no_log_is_refused(text: str) -> None:
    """A wrong log is worse than none."""
    with pytest.raises(ValueError, match=r"quota|log|JSON|value|valid"):
        from_text(text)
