"""Whatever becomes of the store of a budget, no sliding window holds more calls than its quota allows."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.budgets import Budget, PrivateStore, StoreError

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
LIVES = 40


class RefusingStore(PrivateStore):
    """A store that is read as ever while it refuses to be written, as on a full disk; writing takes some rounds."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.is_full = False
        self._rng = rng

    async def swap(self, account: str, revision: int, text: str) -> bool:
        if self.is_full:
            raise StoreError("full")
        for _ in range(self._rng.choice((0, 0, 1, 3))):
            await checkpoint()
        return await super().swap(account, revision, text)


class Life:
    """A budget whose servers end and begin, and what it let through.

    Args:
        rng: chance.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._clock, self._store = ManualClock(NOON, settle_rounds=8), RefusingStore(rng)
        self.quotas = (Quota(rng.choice((5, 10, 20)), 60.0, "minute"), Quota(4, 1.0, "second"))[: rng.choice((1, 2))]
        self.sent: list[float] = []
        self._begin()

    def _begin(self) -> None:
        self._budget = Budget("invented", self.quotas, self._clock, self._store)

    async def _ask(self) -> None:
        if (await self._budget.admit(1)).allowed:
            self.sent.append(self._clock.monotonic())

    async def step(self) -> None:
        """Some calls at once, and then some time."""
        rng = self._rng
        if rng.random() < 0.15:
            self._store.is_full = not self._store.is_full
        async with anyio.create_task_group() as tasks:
            for _ in range(rng.choice((1, 1, 2, 5, 9))):
                tasks.start_soon(self._ask)
        if rng.random() < 0.1:
            await self._budget.correct("minute", rng.randint(0, 5))
        if rng.random() < 0.04:
            self._store.is_full = False
            await self._budget.aclose()
            self._begin()
        await self._clock.advance(rng.choice((0.01, 0.5, 2.0, 3.0, 8.0, 20.0)))


@pytest.mark.parametrize("seed", range(LIVES))
async def test_a_store_that_is_full_now_and_then_opens_no_window_early(seed: int) -> None:
    """Also for calls at the same time, a vendor that says what is left, and servers that end and begin."""
    rng = random.Random(seed)
    life = Life(rng)
    for _ in range(rng.randint(30, 90)):
        await life.step()
    assert len(life.sent) > max(quota.limit for quota in life.quotas)
    for quota in life.quotas:
        spans = [last - first for first, last in zip(life.sent, life.sent[quota.limit :], strict=False)]
        assert all(span >= quota.window_s for span in spans)
