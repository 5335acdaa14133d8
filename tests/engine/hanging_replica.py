"""A replica that asks a source which never answers, and waits to be killed: `hanging_replica.py URL`."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine.replicas import replica
from engine.scripted_source import question


async def hang(url: str) -> None:
    """Ask, tell that the source is being asked, and never end."""
    async with replica(url, takes_s=None) as leader, anyio.create_task_group() as tasks:
        tasks.start_soon(leader.engine.answer, question("AAPL"))
        await leader.sources[0].began.wait()
        sys.stdout.write("asking\n")
        sys.stdout.flush()


anyio.run(hang, sys.argv[1])
