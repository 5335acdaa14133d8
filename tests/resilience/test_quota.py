"""Exact quotas: refusals say how long to wait, all quotas hold at once, and memory stays bounded."""

from __future__ import annotations

import pytest

from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.quota import (
    EMPTY,
    LONGEST_BLOCK_S,
    MAX_ENTRIES,
    Admission,
    QuotaLog,
    QuotaUsage,
    admit,
    block_until,
    margins_of,
    peek,
    usage,
)

MINUTE = Quota(3, 60.0, "minute")
DAY = Quota(5, 86_400.0, "day")


def _spent(quotas: tuple[Quota, ...], instants: list[float]) -> QuotaLog:
    log = EMPTY
    for now in instants:
        log, admission = admit(log, quotas, now)
        assert admission == Admission(allowed=True)
    return log


def test_the_call_beyond_the_limit_is_told_when_there_is_room() -> None:
    """The fourth call in a minute waits until the first one has left the window."""
    log = _spent((MINUTE,), [10.0, 20.0, 30.0])
    assert peek(log, (MINUTE,), 40.0) == Admission(allowed=False, wait_s=30.0, quota=MINUTE)
    assert peek(log, (MINUTE,), 69.999).allowed is False
    assert peek(log, (MINUTE,), 70.0) == Admission(allowed=True)


def test_a_refused_call_is_charged_to_no_quota() -> None:
    """All or nothing: what the minute refuses does not use up the day."""
    log = _spent((MINUTE, DAY), [0.0, 1.0, 2.0])
    for _ in range(10):
        log, admission = admit(log, (MINUTE, DAY), 3.0)
        assert admission == Admission(allowed=False, wait_s=57.0, quota=MINUTE)
    assert [view.used for view in usage(log, (MINUTE, DAY), 3.0)] == [3, 3]


def test_the_quota_that_holds_longest_names_the_wait() -> None:
    """With the day spent, room in the minute does not matter."""
    log = _spent((MINUTE, DAY), [0.0, 1.0, 2.0, 100.0, 101.0])
    assert peek(log, (MINUTE, DAY), 102.0) == Admission(allowed=False, wait_s=86_298.0, quota=DAY)


def test_weights_are_charged_whole() -> None:
    """A call of weight 2 needs room for both; the wait covers as many old calls as it takes."""
    log = _spent((MINUTE,), [0.0, 10.0, 20.0])
    assert peek(log, (MINUTE,), 30.0, 2) == Admission(allowed=False, wait_s=40.0, quota=MINUTE)
    assert admit(log, (MINUTE,), 70.0, 2)[1] == Admission(allowed=True)


def test_a_call_that_costs_more_than_the_quota_never_waits() -> None:
    """No wait is promised where none would help."""
    assert peek(EMPTY, (MINUTE,), 0.0, 4) == Admission(allowed=False, wait_s=None, quota=MINUTE)


def test_the_margin_keeps_windows_apart() -> None:
    """With half a second of margin the window is that much longer."""
    log = _spent((Quota(1, 60.0, "minute"),), [0.0])
    assert peek(log, (Quota(1, 60.0, "minute"),), 60.2, margin_s=0.5).wait_s == pytest.approx(0.3)
    assert peek(log, (Quota(1, 60.0, "minute"),), 60.5, margin_s=0.5).allowed is True


def test_a_vendors_retry_after_is_kept_and_never_shortened() -> None:
    """The longest request to rest holds, whatever room the quotas have."""
    log = block_until(block_until(EMPTY, 0.0, 30.0), 0.0, 5.0)
    assert peek(log, (MINUTE,), 10.0) == Admission(allowed=False, wait_s=20.0)
    assert peek(log, (MINUTE,), 30.0) == Admission(allowed=True)
    assert peek(block_until(EMPTY, 0.0, 1.0), (), 0.5) == Admission(allowed=False, wait_s=0.5)


def test_an_absurd_retry_after_is_believed_for_a_day() -> None:
    """A vendor cannot shut itself out for ever by a slip of a digit."""
    log = block_until(EMPTY, 100.0, 1e12)
    assert peek(log, (MINUTE,), 100.0).wait_s == LONGEST_BLOCK_S


def test_usage_tells_used_and_reset() -> None:
    """Every quota with what is used now and when the next part becomes free; None where nothing is used."""
    log = _spent((MINUTE, DAY), [0.0, 30.0])
    assert usage(log, (MINUTE, DAY), 65.0) == (
        QuotaUsage(MINUTE, 1, 90.0),
        QuotaUsage(DAY, 2, 86_400.0),
    )
    assert usage(log, (MINUTE,), 200.0) == (QuotaUsage(MINUTE, 0, None),)


def test_a_changed_plan_starts_from_what_was_spent() -> None:
    """A quota that comes with a reload does not forget the calls of a minute ago."""
    log = _spent((MINUTE,), [0.0, 1.0, 2.0])
    smaller = Quota(2, 30.0, "half minute")
    assert peek(log, (smaller,), 10.0) == Admission(allowed=False, wait_s=22.0 - 1.0, quota=smaller)


def test_quotas_that_do_not_hold_for_a_call_keep_what_they_know() -> None:
    """A call that only the minute rules does not make the day forget."""
    log = _spent((MINUTE, DAY), [0.0, 1.0])
    log, _ = admit(log, (MINUTE,), 2.0)
    assert [view.used for view in usage(log, (MINUTE, DAY), 3.0)] == [3, 2]


def test_a_large_quota_is_remembered_in_slots() -> None:
    """A hundred thousand calls a day take a bounded log and still never more than the limit."""
    large = Quota(3 * MAX_ENTRIES, 1024.0, "large")
    log, allowed = EMPTY, 0
    for n in range(4 * MAX_ENTRIES):
        log, admission = admit(log, (large,), n * 0.2)
        allowed += admission.allowed
    assert allowed == 3 * MAX_ENTRIES
    assert len(log.windows[large].spendings) <= MAX_ENTRIES + 1


def test_a_slot_is_dated_by_its_last_call() -> None:
    """Calls that share a slot leave the window together with the latest of them, never before."""
    large = Quota(2 * MAX_ENTRIES, 1024.0, "large")
    log, _ = admit(EMPTY, (large,), 0.0, MAX_ENTRIES)
    log, _ = admit(log, (large,), 0.75, MAX_ENTRIES)
    assert len(log.windows[large].spendings) == 1
    assert peek(log, (large,), 1024.5) == Admission(allowed=False, wait_s=0.25, quota=large)


def test_an_earlier_instant_counts_as_the_latest_seen() -> None:
    """A clock that goes back opens no window early."""
    log = _spent((Quota(1, 10.0, "ten"),), [100.0])
    log, admission = admit(log, (Quota(1, 10.0, "ten"),), 50.0)
    assert admission.allowed is False
    assert admission.wait_s == 10.0


def test_nonsense_is_refused() -> None:
    """A weight of zero, a negative margin or an infinite instant is the caller's mistake."""
    with pytest.raises(ValueError, match="at least 1"):
        admit(EMPTY, (MINUTE,), 0.0, 0)
    with pytest.raises(ValueError, match="margin"):
        admit(EMPTY, (MINUTE,), 0.0, margin_s=-1.0)
    with pytest.raises(ValueError, match="finite"):
        block_until(EMPTY, 0.0, float("inf"))


@pytest.mark.parametrize(
    ("quotas", "margins"),
    [
        ((Quota(60, 60.0, "minute"),), [0.5]),
        ((Quota(5, 5.0, "5 s"),), [0.2]),
        ((Quota(4, 4.0, "4 s"),), [0.08]),
        ((Quota(75, 60.0, "minute"), Quota(5, 1.0, "second")), [0.5, 0.5]),
        ((Quota(1200, 60.0, "minute"), Quota(20, 1.0, "second")), [0.5, 0.02]),
        ((Quota(60, 60.0, "minute"), Quota(3, 2.0, "2 s")), [0.5, 0.5]),
        ((Quota(150, 60.0, "minute"), Quota(3, 1.0, "second")), [0.5, 0.1]),
    ],
)
def test_a_short_window_is_held_longer_where_another_quota_is_tighter_anyway(
    quotas: tuple[Quota, ...], margins: list[float]
) -> None:
    """Calls that arrive unevenly are then no burst to the vendor either.

    Where it would cost, a fiftieth is held; a twenty-fifth from five seconds on, as ways differ by tenths of a second.
    """
    assert list(margins_of(quotas, 0.5).values()) == pytest.approx(margins)


def test_the_longer_window_is_what_a_call_waits_for() -> None:
    """Five a second beside seventy-five a minute: the sixth goes half a second after the second is over."""
    quotas = (Quota(75, 60.0, "minute"), Quota(5, 1.0, "second"))
    log, _ = admit(EMPTY, quotas, 0.0, 5, margin_s=0.5)
    assert peek(log, quotas, 0.0, margin_s=0.5) == Admission(allowed=False, wait_s=1.5, quota=quotas[1])
    assert peek(log, quotas, 1.5, margin_s=0.5).allowed
