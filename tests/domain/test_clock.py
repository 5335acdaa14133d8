"""The machine's own clock, as far as it can be checked without waiting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mdagent_mcp.domain import clock as clock_module
from mdagent_mcp.domain.clock import SystemClock

OTHER_PROCESS = "from mdagent_mcp.domain.clock import SystemClock; print(SystemClock().uptime().boot)"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names the start of a machine")
def test_two_processes_of_a_machine_read_the_same_uptime() -> None:
    """It goes on, it is the time since the start with the sleep, and they name the same start."""
    before, after = SystemClock().uptime(), SystemClock().uptime()
    assert before.seconds <= after.seconds
    assert before.seconds >= SystemClock().monotonic() - 1.0
    told = subprocess.run([sys.executable, "-c", OTHER_PROCESS], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == before.boot


def test_where_the_start_has_no_name_each_process_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux readings of two processes are not compared; those of one are."""
    monkeypatch.setattr(clock_module, "_BOOT_ID", Path("/nowhere"))
    clock_module._boot.cache_clear()
    try:
        own = SystemClock().uptime().boot
        assert SystemClock().uptime().boot == own
        clock_module._boot.cache_clear()
        assert SystemClock().uptime().boot != own
    finally:
        clock_module._boot.cache_clear()


def test_a_platform_whose_monotonic_clock_counts_sleep_is_asked_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows."""
    monkeypatch.setattr(sys, "platform", "win32")
    before = SystemClock().monotonic()
    assert before <= SystemClock().uptime().seconds <= SystemClock().monotonic()
