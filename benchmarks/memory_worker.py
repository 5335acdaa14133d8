"""A process that writes to memory and says what it did: for tests and figures of several processes, kills and outages.

Run as `python memory_worker.py PLACE NAME SEED --rounds N | --seconds S`; PLACE is a file or a `postgresql://…`
address. After every flush that succeeded it prints one line of JSON: what is in the store by now for certain.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.events import Graded, Verified
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.memory.archive import ArchiveLimits
from mdagent_mcp.memory.connection import Connection
from mdagent_mcp.memory.database import Database, FileDatabase
from mdagent_mcp.memory.postgres import PostgresDatabase
from mdagent_mcp.memory.store import Memory, MemoryOptions, open_memory
from memory.memory_samples import NOON, fetched, judged, quote_answer

SOURCES: Final = ("alpha", "beta", "gamma")
SYMBOLS: Final = tuple(f"S{chr(65 + n)}" for n in range(20))
EVENTS_PER_ROUND: Final = 20
FLUSH_S: Final = 0.05
RETRY_S: Final = 0.2


class Teller:
    """Tells memory things by chance, and counts them under the names that `totals_of` uses.

    Args:
        memory: who is told.
        name: of the process.
        seed: of the chance.
    """

    def __init__(self, memory: Memory, name: str, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._memory = memory
        self._name = name
        self._rng = random.Random(seed)

    def tell(self) -> None:
        """One thing of some kind."""
        rng, counts, memory = self._rng, self.counts, self._memory
        source, symbol = rng.choice(SOURCES), rng.choice(SYMBOLS)
        at = NOON + timedelta(seconds=rng.randrange(3600))
        kind = rng.randrange(6)
        if kind == 0:
            counts["quotes"] += 1
            memory.keep(quote_answer(f"q-{self._name}-{counts['quotes']}", symbol, at=at))
        elif kind == 1:
            counts["fault unit"] += 1
            memory.listen(judged(source, agreed=False, fault="unit", symbol=symbol))
        elif kind == 2:
            grade = rng.choice((Grade.A, None))
            counts["unanswered" if grade is None else "answers"] += 1
            memory.listen(Graded(symbol, Endpoint.QUOTE, at, grade, cached=False, elapsed_s=0.1))
        elif kind == 3:
            counts["verified"] += 1
            memory.listen(Verified(symbol, at, 0.95, rng.random() < 0.9, 2, 0.4))
        else:
            counts[f"outcomes {source}"] += 1
            counts["symbol outcomes"] += 1
            counts["fault timeout"] += kind == 4
            memory.listen(fetched(source, FailureKind.TIMEOUT if kind == 4 else None, symbol, at=at))


async def totals_of(connection: Connection) -> dict[str, int]:
    """What a store holds of everything that is a plain sum."""

    async def one(query: str) -> int:
        ((number,),) = await connection.execute_fetchall(query)
        return round(number or 0)

    sources = await connection.execute_fetchall("SELECT source, outcomes FROM cell WHERE scope = ''")
    faults = await connection.execute_fetchall("SELECT fault, sum(n) FROM fault GROUP BY fault")
    found = {f"outcomes {source}": int(n) for source, n in sources}
    found |= {f"fault {fault}": int(n) for fault, n in faults}
    found["symbol outcomes"] = await one("SELECT sum(outcomes) FROM cell WHERE scope LIKE 'symbol:%'")
    found["answers"] = await one("SELECT sum(answers) FROM session")
    found["unanswered"] = await one("SELECT sum(unanswered) FROM session")
    found["quotes"] = await one("SELECT count(*) FROM evidence")
    found["verified"] = await one("SELECT sum(trials) FROM confidence")
    if found["quotes"] != await one("SELECT sum(observations) FROM symbol"):
        raise AssertionError("every kept quote is one observation of its symbol")
    return {name: n for name, n in found.items() if n}


async def totals_at(place: str) -> dict[str, int]:
    """The same of the store at a place."""
    opened = await database_at(place).open()
    try:
        return await totals_of(opened.connection)
    finally:
        await opened.close()


def database_at(place: str) -> Database:
    """The store that a file's name or an address means."""
    clock = SystemClock()
    return PostgresDatabase(place, clock) if place.startswith("postgresql://") else FileDatabase(Path(place), clock)


async def work(place: str, name: str, seed: int, rounds: int | None, seconds: float) -> None:
    """Tell memory things and flush, over and over, and print what is written."""
    ends = time.monotonic() + seconds
    options = MemoryOptions(flush_s=FLUSH_S, retry_s=RETRY_S, archive=ArchiveLimits(quotes=10**9))
    async with open_memory(database_at(place), SystemClock(), options) as memory:
        teller, done = Teller(memory, name, seed), 0
        while done != rounds and time.monotonic() < ends:
            done += 1
            for _ in range(EVENTS_PER_ROUND):
                teller.tell()
            told = dict(teller.counts)
            await memory.flush()
            if memory.state == "ok":
                print(json.dumps(told), flush=True)
        told = dict(teller.counts)
    print(json.dumps(told), flush=True)
    if memory.dropped:
        raise SystemExit(f"{memory.dropped} entries were lost")


def main() -> None:
    """Read the command line and work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("place")
    parser.add_argument("name")
    parser.add_argument("seed", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, default=3600.0)
    given = parser.parse_args()
    asyncio.run(work(given.place, given.name, given.seed, given.rounds, given.seconds))


if __name__ == "__main__":
    main()
