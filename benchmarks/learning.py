"""Does memory make the next session better? Paired worlds, sessions that reload it from disk, and a placebo.

    python benchmarks/learning.py --output learning.json --plot docs/learning.svg

Every arm meets the same questions and the same fate at every source. What is measured and how is told in
`docs/memory.md`; worlds 101 to 108, 301 to 312 and 401 to 412 were used for tuning, those from 801 on are reported.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from learning_plot import plot
from learning_report import report
from learning_sessions import Arm, Outcome, session, shuffled_copy
from learning_world import SOURCES, World

FIRST_WORLD = 801
WORLDS = 24
SWAPPED_WORLDS = 96
"""More than the others, because a ratio of means over twenty questions in 24 worlds is only known to 4 %."""
SESSIONS = 20
QUESTIONS = 40
SWAP_AT = 3
SWAP_QUESTIONS = 130

Played = dict[str, list[list[Outcome]]]
"""Arm -> sessions -> outcomes."""


def derangement(rng: random.Random) -> Mapping[str, str]:
    """Every source's rows go to another source."""
    others = list(SOURCES)
    while any(a == b for a, b in zip(SOURCES, others, strict=True)):
        rng.shuffle(others)
    return dict(zip(SOURCES, others, strict=True))


async def play(
    world: World, questions: Sequence[int], arms: Iterable[Arm], directory: Path, *, compared_from: int = 0
) -> Played:
    """All sessions of a world; `questions` says how many each has, the others play from `compared_from` on.

    Before every session but the first the placebo gets what `persist` has stored by then, renamed.
    """
    played: Played = {arm.value: [] for arm in arms}
    renamed = derangement(world.draw("placebo"))
    stored = {arm: directory / f"{arm.value}.sqlite3" for arm in Arm}
    for number, count in enumerate(questions):
        if Arm.SHUFFLED.value in played and number:
            stored[Arm.SHUFFLED].unlink(missing_ok=True)
            shuffled_copy(stored[Arm.PERSIST], stored[Arm.SHUFFLED], renamed)
        for arm in sorted((Arm(name) for name in played), key=lambda arm: arm is Arm.PERSIST):
            if arm is Arm.COLD:
                stored[arm].unlink(missing_ok=True)
            if arm is Arm.PERSIST or number >= compared_from:
                played[arm.value].append(await session(world, number, arm, stored[arm], count))
    return played


def play_world(seed: int, sessions: int, questions: int, *, swap: bool) -> dict[str, Any]:
    """One world in a process of its own, as plain values."""
    directory = Path(tempfile.mkdtemp(prefix="learning-"))
    try:
        if swap:
            world = World(seed, SWAP_AT + 1, swap_at=SWAP_AT)
            counts = [questions] * SWAP_AT + [SWAP_QUESTIONS]
            arms = (Arm.PERSIST, Arm.COLD, Arm.ORACLE)
            played = asyncio.run(play(world, counts, arms, directory, compared_from=SWAP_AT))
        else:
            played = asyncio.run(play(World(seed, sessions), [questions] * sessions, Arm, directory))
    finally:
        shutil.rmtree(directory)
    return {
        "seed": seed,
        "swap": swap,
        "arms": {arm: [[asdict(o) for o in each] for each in sessions_] for arm, sessions_ in played.items()},
    }


def _job(job: tuple[int, int, int, bool]) -> dict[str, Any]:
    seed, sessions, questions, swap = job
    return play_world(seed, sessions, questions, swap=swap)


def run(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every world, as they come."""
    first, rounds = options.first_world, ((True, options.swapped_worlds), (False, options.worlds))
    jobs = [
        (seed, options.sessions, options.questions, swap)
        for swap, worlds in rounds
        for seed in range(first, first + worlds)
    ]
    # A fresh process for each world: what one leaves in caches must not matter to the next.
    with get_context("spawn").Pool(options.processes, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(_job, jobs)


def main() -> None:
    """Run, keep, report, plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--worlds", type=int, default=WORLDS)
    parser.add_argument("--swapped-worlds", type=int, default=SWAPPED_WORLDS, help="for the harm test")
    parser.add_argument("--first-world", type=int, default=FIRST_WORLD)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--questions", type=int, default=QUESTIONS, help="per session")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, help="keeps every outcome, one world a line")
    parser.add_argument("--read", type=Path, help="reports what an earlier run kept instead of running")
    parser.add_argument("--plot", type=Path, help="writes the learning curve as SVG")
    options = parser.parse_args()
    started = time.perf_counter()
    if options.read is not None:
        results = [json.loads(line) for line in options.read.read_text(encoding="utf-8").splitlines()]
    else:
        results = []
        for done in run(options):
            results.append(done)
            print(f"world {done['seed']}{' swapped' if done['swap'] else ''}: {time.perf_counter() - started:.0f} s")
            if options.output is not None:
                with options.output.open("a", encoding="utf-8") as kept:
                    kept.write(json.dumps(done, separators=(",", ":")) + "\n")
    figures = report(results)
    print(figures.text)
    if options.plot is not None:
        options.plot.write_text(plot(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
