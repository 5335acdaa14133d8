"""A process that spends a shared budget as fast as it can, and prints between which instants each call was admitted."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import anyio

from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.transport.budget_file import FileStore
from mdagent_mcp.transport.budget_server import ServerStore
from mdagent_mcp.transport.budgets import Budget


async def spend(where: str, quota: Quota, seconds: float) -> None:
    """Spend for so long; one line per admitted call."""
    clock = SystemClock()
    store = ServerStore(where) if "://" in where else FileStore(Path(where))
    budget = Budget("invented", (quota,), clock, store)
    ends_at = clock.monotonic() + seconds
    while clock.monotonic() < ends_at:
        asked = clock.monotonic()
        admission = await budget.admit(1)
        if admission.allowed:
            sys.stdout.write(f"{asked:.6f} {clock.monotonic():.6f}\n")
        await clock.sleep(min(admission.wait_s or 0.0, 0.01) + random.uniform(0.0, 0.002))


if __name__ == "__main__":
    anyio.run(spend, sys.argv[1], Quota(int(sys.argv[2]), float(sys.argv[3]), "window"), float(sys.argv[4]))
